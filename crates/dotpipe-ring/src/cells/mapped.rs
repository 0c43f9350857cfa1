//! Words and bytes in memory that is shared with another process, or with another thread in tests.
//!
//! The other side may change everything here at any moment. Words are atomics. Bytes are copied by [`crate::copy`], and no
//! Rust reference to them is ever made.

use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::Lane;
use crate::copy::copy;
use crate::layout::{Geometry, WORDS, word};
use crate::memory::Region;

/// What a lane keeps so that its words and bytes stay.
pub(crate) type Memory = Arc<Region>;

/// A little-endian word of 32 bits. It lives in a [`Lane`], which keeps the memory.
#[derive(Clone, Debug)]
pub(crate) struct Word(NonNull<AtomicU32>);

// SAFETY: it is a pointer to an atomic that lives as long as the lane does.
unsafe impl Send for Word {}
// SAFETY: as above; atomics may be shared.
unsafe impl Sync for Word {}

impl Word {
    /// The word at `offset` bytes, a multiple of four.
    fn new(region: &Arc<Region>, offset: usize) -> Self {
        assert!(offset % 4 == 0 && offset + 4 <= region.length());
        // The region begins at a page.
        Self(region.start().map_addr(|start| start.saturating_add(offset)).cast())
    }

    #[inline]
    fn atomic(&self) -> &AtomicU32 {
        // SAFETY: `new` has checked that the word lies in the region, which the lane keeps, and is aligned. A reference to an
        // atomic claims nothing about its value.
        unsafe { self.0.as_ref() }
    }

    #[inline]
    pub(crate) fn load(&self) -> u32 {
        self.load_with(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn load_with(&self, order: Ordering) -> u32 {
        u32::from_le(self.atomic().load(order))
    }

    #[inline]
    pub(crate) fn store(&self, value: u32) {
        self.store_with(value, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn store_with(&self, value: u32, order: Ordering) {
        self.atomic().store(value.to_le(), order);
    }

    /// Sets it and returns what it was, whatever other threads have set meanwhile.
    #[inline]
    pub(crate) fn swap(&self, value: u32) -> u32 {
        u32::from_le(self.atomic().swap(value.to_le(), Ordering::Relaxed))
    }
}

/// The bytes of a direction. They live in a [`Lane`], which keeps the memory.
#[derive(Clone, Debug)]
pub(crate) struct Bytes {
    start: NonNull<u8>,
    capacity: u32,
}

// SAFETY: all access is by copies that make no assumption about what other threads and processes do there.
unsafe impl Send for Bytes {}
// SAFETY: as above.
unsafe impl Sync for Bytes {}

impl Bytes {
    /// Copies `bytes`, no more than the capacity, to the place of `position`, going on at the start behind the end.
    #[inline]
    pub(crate) fn put(&self, position: u32, bytes: &[u8]) {
        assert!(bytes.len() <= self.capacity as usize);
        let offset = (position & (self.capacity - 1)) as usize;
        let first = bytes.len().min(self.capacity as usize - offset);
        let to = self.start.as_ptr();
        // SAFETY: `offset + first` is at most the capacity, which lies within the region.
        unsafe { copy(to.wrapping_add(offset), bytes.as_ptr(), first) };
        if first < bytes.len() {
            // SAFETY: what is left is less than the capacity, and within `bytes`.
            unsafe { copy(to, bytes.as_ptr().wrapping_add(first), bytes.len() - first) };
        }
    }

    /// Copies bytes from the place of `position` into `buffer`, which is no longer than the capacity.
    #[inline]
    pub(crate) fn get(&self, position: u32, buffer: &mut [u8]) {
        assert!(buffer.len() <= self.capacity as usize);
        let offset = (position & (self.capacity - 1)) as usize;
        let first = buffer.len().min(self.capacity as usize - offset);
        let from = self.start.as_ptr();
        // SAFETY: `offset + first` is at most the capacity, which lies within the region.
        unsafe { copy(buffer.as_mut_ptr(), from.wrapping_add(offset), first) };
        if first < buffer.len() {
            // SAFETY: what is left is less than the capacity, and within `buffer`.
            unsafe { copy(buffer.as_mut_ptr().wrapping_add(first), from, buffer.len() - first) };
        }
    }
}

impl Lane {
    pub(crate) fn new(region: &Arc<Region>, geometry: Geometry, direction: usize) -> Self {
        let word = |offset| Word::new(region, WORDS[direction] + offset);
        let (data, capacity) = (geometry.data(direction), geometry.capacity(direction));
        assert!(data + capacity as usize <= region.length());
        Self {
            head: word(word::HEAD),
            base: word(word::BASE),
            ended: word(word::ENDED),
            tail: word(word::TAIL),
            reader_sleeps: word(word::READER_SLEEPS),
            abandoned: word(word::ABANDONED),
            writer_sleeps: word(word::WRITER_SLEEPS),
            bytes: Bytes {
                start: region.start().map_addr(|start| start.saturating_add(data)),
                capacity,
            },
            capacity,
            _memory: Arc::clone(region),
        }
    }
}
