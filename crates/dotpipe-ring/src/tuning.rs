//! Numbers that decide about speed and never about correctness. The two sides may have different ones.

/// How a side of a direction goes about its work. The defaults were measured; see `docs/benchmarks.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// A producer goes back to the start of an empty ring when the next bytes would lie beyond this many. A page is enough for
    /// small messages, and makes a round trip some 1.5 times as fast as a ring without: both sides keep using the
    /// same lines.
    pub reset: u32,
    /// A producer publishes long writes in pieces of this many bytes, not 0.
    pub batch: u32,
    /// A consumer gives room back when it has read everything it knows of, or this many bytes.
    pub give_back: u32,
}

impl Tuning {
    /// The defaults for a direction of `capacity` bytes.
    #[must_use]
    pub const fn for_capacity(capacity: u32) -> Self {
        let eighth = if capacity < 8 { 1 } else { capacity / 8 };
        Self {
            reset: 4096,
            batch: eighth,
            give_back: eighth,
        }
    }
}

/// When a writer that has room should look whether its reader still lives.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    writes: u32,
    head: u32,
    tail: u32,
    time: u64,
}

impl Watch {
    const WRITES: u32 = 16;
    const BYTES: u32 = 64 << 10;

    /// Counts a write; whether enough has been written, or time has passed, since the last look.
    #[inline]
    pub(crate) fn is_due(&mut self, head: u32) -> bool {
        self.writes += 1;
        self.writes >= Self::WRITES || head.wrapping_sub(self.head) >= Self::BYTES || clock::millisecond() != self.time
    }

    /// Whether the reader has taken nothing since the last look, and there was something to take.
    #[inline]
    pub(crate) fn stands_still(&mut self, head: u32, tail: u32) -> bool {
        let still = tail == self.tail && tail != head;
        *self = Self {
            writes: 0,
            head,
            tail,
            time: clock::millisecond(),
        };
        still
    }
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
mod clock {
    /// A number that changes about every millisecond: the processor's counter in units of 2^21, at 1 to 5 GHz 0.4 to 2 ms.
    /// Reading it takes a fraction of what asking the system does.
    #[inline]
    pub(super) fn millisecond() -> u64 {
        // SAFETY: every x86-64 processor has the instruction.
        let ticks = unsafe { core::arch::x86_64::_rdtsc() };
        ticks >> 21
    }
}

#[cfg(not(all(target_arch = "x86_64", not(miri))))]
mod clock {
    use std::sync::OnceLock;
    use std::time::Instant;

    /// A number that changes every millisecond.
    pub(super) fn millisecond() -> u64 {
        static START: OnceLock<Instant> = OnceLock::new();
        START.get_or_init(Instant::now).elapsed().as_millis() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Until the watch is due, and how many writes of `size` bytes that took.
    fn writes_until_due(watch: &mut Watch, head: &mut u32, size: u32) -> u32 {
        for count in 1.. {
            *head += size;
            if watch.is_due(*head) {
                return count;
            }
        }
        unreachable!()
    }

    #[test]
    fn a_look_is_due_after_some_writes_or_bytes() {
        let (mut watch, mut head) = (Watch::default(), 0);
        assert!(writes_until_due(&mut watch, &mut head, 64) <= 16);
        watch.stands_still(head, 0);
        assert!(writes_until_due(&mut watch, &mut head, 40 << 10) <= 2);
    }

    #[test]
    fn only_a_tail_that_stands_still_before_unread_bytes_is_suspicious() {
        let mut watch = Watch::default();
        assert!(watch.stands_still(100, 0));
        assert!(!watch.stands_still(200, 50));
        assert!(watch.stands_still(300, 50));
        assert!(!watch.stands_still(300, 300));
        assert!(!watch.stands_still(300, 300));
        assert!(watch.stands_still(301, 300));
    }
}
