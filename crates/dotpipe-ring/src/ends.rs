//! The two ends of a ring, and closing one of them.

use crate::cells::Lane;
use crate::order::Site;
use crate::wake::Bell;
use crate::{Consumer, Producer};

/// Which of the two processes this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The one that made the memory.
    Creator,
    /// The one that was given it.
    Receiver,
}

/// What the bytes in a ring are. Both sides must mean the same; they agree on it before there is a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// The users' bytes and nothing else.
    Bytes,
    /// Messages, each behind its length in four bytes.
    Messages,
}

/// One side of a ring. The parts are used by different threads at once.
#[derive(Debug)]
pub struct Ends {
    /// Writes to the other side.
    pub producer: Producer,
    /// Reads from the other side.
    pub consumer: Consumer,
    /// Ends one or both directions.
    pub closer: Closer,
}

impl Ends {
    pub(crate) fn new(outbound: Lane, inbound: Lane, framing: Framing) -> Self {
        Self {
            producer: Producer::new(outbound.clone(), framing),
            consumer: Consumer::new(inbound.clone(), framing),
            closer: Closer {
                outbound,
                inbound,
                process: std::process::id(),
            },
        }
    }

    /// Both sides of a ring in loom's memory.
    #[cfg(loom)]
    #[must_use]
    pub fn modelled(capacity: u32, tuning: crate::Tuning) -> [Self; 2] {
        let lanes = [Lane::modelled(capacity), Lane::modelled(capacity)];
        let mut ends = [
            Self::new(lanes[0].clone(), lanes[1].clone(), Framing::Bytes),
            Self::new(lanes[1].clone(), lanes[0].clone(), Framing::Bytes),
        ];
        for end in &mut ends {
            end.producer.tune(tuning);
            end.consumer.tune(tuning);
        }
        ends
    }
}

/// Tells the other side that this one has ended, from any thread, also while others read and write.
///
/// Dropping it, or the other parts, tells nothing: a copy of this process made by `fork` must not end its parent's connection. For
/// the same reason a copy's calls here do nothing.
#[derive(Debug)]
pub struct Closer {
    outbound: Lane,
    inbound: Lane,
    process: u32,
}

impl Closer {
    /// Ends what this side writes. The other side reads what was written before, and then the end. `bell` is the producer's.
    ///
    /// A write that another thread has not finished by now may be lost.
    pub fn end_writing(&self, bell: &impl Bell) {
        if self.is_a_copy() {
            return;
        }
        self.outbound.ended.store_with(1, Site::EndPublished.store());
        let _ = self.outbound.wake_reader(Site::EndBeforeBell, bell);
    }

    /// Ends what this side reads. The other side's writes fail from now on. `bell` is the consumer's.
    pub fn end_reading(&self, bell: &impl Bell) {
        if self.is_a_copy() {
            return;
        }
        self.inbound.abandoned.store_with(1, Site::AbandonPublished.store());
        let _ = self.inbound.wake_writer(Site::AbandonBeforeBell, bell);
    }

    /// Whether the other side has ended what it writes; there may yet be something to read.
    #[must_use]
    pub fn peer_ended_writing(&self) -> bool {
        self.inbound.ended.load() != 0
    }

    /// Whether the other side has ended what it reads.
    #[must_use]
    pub fn peer_ended_reading(&self) -> bool {
        self.outbound.abandoned.load() != 0
    }

    /// Whether `fork` has made this process out of the one that opened the ring.
    fn is_a_copy(&self) -> bool {
        std::process::id() != self.process
    }
}
