//! Every place where one side's memory accesses must be in order for the other side, and why.
//!
//! There are two kinds. A *hand-over* is a `Release` store that the other side reads with `Acquire`: what was done before the
//! store is visible behind the load. A *crossing* is a `SeqCst` fence between a store and a load of another word, on both
//! sides: of two sides that each store and then look at what the other stores, at least one sees the other's store.
//!
//! The places have names, so that the models in `tests/loom.rs` can weaken one at a time and show that it matters.

#[cfg(not(loom))]
use std::sync::atomic::{Ordering, fence};

#[cfg(loom)]
use loom::sync::atomic::{Ordering, fence};

/// A place where order matters, or a step of the protocol that cannot be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[cfg_attr(not(loom), expect(unreachable_pub, reason = "the models alone can name it"))]
pub enum Site {
    /// Hand-over of bytes to the reader: the producer stores the head behind the bytes and the base.
    HeadPublished = 1,
    /// The consumer's side of it: bytes and base are read behind the head.
    HeadSeen,
    /// Hand-over of room to the writer: the consumer stores the tail behind its last read of the bytes.
    TailPublished,
    /// The producer's side of it: bytes are overwritten, and the base is changed, behind the tail.
    TailSeen,
    /// The end is stored behind the last head.
    EndPublished,
    /// Who sees the end sees the last head.
    EndSeen,
    /// "No more will be read" is stored behind the last tail.
    AbandonPublished,
    /// Who sees that no more will be read sees the last tail.
    AbandonSeen,
    /// Crossing: the producer has stored the head, and looks whether the reader sleeps.
    HeadBeforeBell,
    /// Crossing: the producer has stored the end, and looks whether the reader sleeps.
    EndBeforeBell,
    /// Crossing: the consumer has published its sleep, and looks for bytes and for the end.
    ReaderSleepBeforeLook,
    /// Crossing: the consumer has stored the tail, and looks whether the writer sleeps.
    TailBeforeBell,
    /// Crossing: the consumer has stored that it reads no more, and looks whether the writer sleeps.
    AbandonBeforeBell,
    /// Crossing: the producer has published its sleep, and looks for room and for the reader's leave.
    WriterSleepBeforeLook,
    /// A step: the reader looks once more after it has published its sleep.
    ReaderSecondLook,
    /// A step: the writer looks once more after it has published its sleep.
    WriterSecondLook,
    /// A step: the base moves only when everything has been read.
    ResetWhenEmpty,
    /// A step: who sees the end looks at the head once more.
    LookBehindEnd,
}

impl Site {
    /// All of them, in the order of their numbers.
    #[cfg(loom)]
    pub const ALL: [Self; 18] = [
        Self::HeadPublished,
        Self::HeadSeen,
        Self::TailPublished,
        Self::TailSeen,
        Self::EndPublished,
        Self::EndSeen,
        Self::AbandonPublished,
        Self::AbandonSeen,
        Self::HeadBeforeBell,
        Self::EndBeforeBell,
        Self::ReaderSleepBeforeLook,
        Self::TailBeforeBell,
        Self::AbandonBeforeBell,
        Self::WriterSleepBeforeLook,
        Self::ReaderSecondLook,
        Self::WriterSecondLook,
        Self::ResetWhenEmpty,
        Self::LookBehindEnd,
    ];

    /// The order of a store that hands over.
    #[inline]
    pub(crate) fn store(self) -> Ordering {
        if self.is_weakened() {
            Ordering::Relaxed
        } else {
            Ordering::Release
        }
    }

    /// The order of a load that takes over.
    #[inline]
    pub(crate) fn load(self) -> Ordering {
        if self.is_weakened() {
            Ordering::Relaxed
        } else {
            Ordering::Acquire
        }
    }

    /// The fence of a crossing.
    #[inline]
    pub(crate) fn fence(self) {
        fence(if self.is_weakened() {
            Ordering::AcqRel
        } else {
            Ordering::SeqCst
        });
    }

    /// Whether a step is taken.
    #[inline]
    pub(crate) fn step(self) -> bool {
        !self.is_weakened()
    }

    #[cfg(not(loom))]
    #[inline]
    #[expect(clippy::unused_self, reason = "the models' version asks which place this is")]
    const fn is_weakened(self) -> bool {
        false
    }

    #[cfg(loom)]
    fn is_weakened(self) -> bool {
        weakened::get() == self as u8
    }
}

#[cfg(loom)]
pub(crate) mod weakened {
    //! Which place the running model has weakened. Outside the model's own memory, as it never changes during a run.

    use std::sync::atomic::{AtomicU8, Ordering};

    static WEAKENED: AtomicU8 = AtomicU8::new(0);

    pub(crate) fn get() -> u8 {
        WEAKENED.load(Ordering::Relaxed)
    }

    pub(crate) fn set(site: Option<super::Site>) {
        WEAKENED.store(site.map_or(0, |site| site as u8), Ordering::Relaxed);
    }
}
