//! Words and bytes in loom's model of memory. A data race on a byte fails the model.

// Not loom's: how the model's memory is kept is not a part of the protocol.
use std::sync::Arc;

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicU32, Ordering};

use super::Lane;

/// The words and bytes keep themselves.
pub(crate) type Memory = ();

/// A word of 32 bits.
#[derive(Clone, Debug)]
pub(crate) struct Word(Arc<AtomicU32>);

impl Word {
    fn new() -> Self {
        Self(Arc::new(AtomicU32::new(0)))
    }

    pub(crate) fn load(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn load_with(&self, order: Ordering) -> u32 {
        self.0.load(order)
    }

    pub(crate) fn store(&self, value: u32) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub(crate) fn store_with(&self, value: u32, order: Ordering) {
        self.0.store(value, order);
    }

    pub(crate) fn swap(&self, value: u32) -> u32 {
        self.0.swap(value, Ordering::Relaxed)
    }
}

/// The bytes of a direction.
#[derive(Clone, Debug)]
pub(crate) struct Bytes(Arc<[Byte]>);

#[derive(Debug)]
struct Byte(UnsafeCell<u8>);

// SAFETY: loom fails the model when two threads reach the same byte without order between them.
unsafe impl Sync for Byte {}

impl Bytes {
    fn cell(&self, position: u32, at: usize) -> &UnsafeCell<u8> {
        &self.0[(position as usize + at) & (self.0.len() - 1)].0
    }

    pub(crate) fn put(&self, position: u32, bytes: &[u8]) {
        for (at, &byte) in bytes.iter().enumerate() {
            // SAFETY: the pointer is that of the cell, and loom watches who else uses it.
            self.cell(position, at).with_mut(|cell| unsafe { *cell = byte });
        }
    }

    pub(crate) fn get(&self, position: u32, buffer: &mut [u8]) {
        for (at, byte) in buffer.iter_mut().enumerate() {
            // SAFETY: the pointer is that of the cell, and loom watches who else uses it.
            *byte = self.cell(position, at).with(|cell| unsafe { *cell });
        }
    }
}

impl Lane {
    /// A direction of `capacity` bytes, a power of two.
    pub(crate) fn modelled(capacity: u32) -> Self {
        Self {
            head: Word::new(),
            base: Word::new(),
            ended: Word::new(),
            tail: Word::new(),
            reader_sleeps: Word::new(),
            abandoned: Word::new(),
            writer_sleeps: Word::new(),
            bytes: Bytes((0..capacity).map(|_| Byte(UnsafeCell::new(0))).collect()),
            capacity,
            _memory: (),
        }
    }
}
