//! One direction's words and bytes as its two sides reach them: in mapped memory, or in loom's model of memory.
//!
//! The rest of the crate knows only what both versions offer: [`Word`] with loads, stores and swaps, [`Bytes`] with copies in and
//! out, and [`Lane`], which holds them.

#[cfg(not(loom))]
mod mapped;
#[cfg(loom)]
mod modelled;

#[cfg(not(loom))]
pub(crate) use mapped::{Bytes, Memory, Word};
#[cfg(loom)]
pub(crate) use modelled::{Bytes, Memory, Word};

use crate::order::Site;
use crate::wake::Bell;

/// One direction of a ring.
#[derive(Clone, Debug)]
pub(crate) struct Lane {
    pub(crate) head: Word,
    pub(crate) base: Word,
    pub(crate) ended: Word,
    pub(crate) tail: Word,
    pub(crate) reader_sleeps: Word,
    pub(crate) abandoned: Word,
    pub(crate) writer_sleeps: Word,
    pub(crate) bytes: Bytes,
    /// A power of two; never read from the shared memory after the start.
    pub(crate) capacity: u32,
    _memory: Memory,
}

impl Lane {
    /// Rings if the reader sleeps, behind a change that it waits for; `false` if it has gone.
    #[inline]
    pub(crate) fn wake_reader(&self, behind: Site, bell: &impl Bell) -> bool {
        wake(&self.reader_sleeps, behind, bell)
    }

    /// Rings if the writer sleeps, behind a change that it waits for; `false` if it has gone.
    #[inline]
    pub(crate) fn wake_writer(&self, behind: Site, bell: &impl Bell) -> bool {
        wake(&self.writer_sleeps, behind, bell)
    }
}

/// The flag is taken by a swap, so that there is one bell for one sleep, whoever of this side sees it first. It is set by swaps too:
/// then all its values stand in one order, and a swap for an earlier sleep cannot hide a later one.
#[inline]
fn wake(sleeps: &Word, behind: Site, bell: &impl Bell) -> bool {
    behind.fence();
    sleeps.load() == 0 || sleeps.swap(0) == 0 || bell.ring()
}
