//! Where everything lies in the shared memory. `docs/protocol.md`, "The ring", says the same for other implementations.
//!
//! | offset | what |
//! |---|---|
//! | 0 | header: magic, version, sizes; written once, before the memory is handed over |
//! | 512 | words of direction 0, from the creator of the memory to its receiver |
//! | 1536 | words of direction 1, from the receiver to the creator |
//! | 4096 | bytes of direction 0 |
//! | 4096 + capacity 0 | bytes of direction 1 |
//!
//! All numbers are 32 bits wide and little-endian, whatever the processor. Words that different sides write, or that are
//! written at different times, are 128 bytes apart: two lines, as processors fetch lines in pairs.

use std::fmt;

/// Bytes of the control page.
pub(crate) const CONTROL: usize = 4096;

/// The first bytes of the memory.
pub(crate) const MAGIC: [u8; 8] = *b"dotpring";

/// The version of this layout. A reader refuses every other.
pub(crate) const VERSION: u32 = 1;

/// Offsets of the header's numbers; the magic is at 0.
pub(crate) mod header {
    pub(crate) const VERSION: usize = 8;
    pub(crate) const CONTROL: usize = 12;
    pub(crate) const CAPACITY: [usize; 2] = [16, 20];
}

/// Offsets of the words of a direction.
pub(crate) const WORDS: [usize; 2] = [512, 1536];

/// Offsets of a direction's words from the first of them.
pub(crate) mod word {
    // Written by the producer when it writes, and read together.
    /// How many bytes have been written, modulo 2^32.
    pub(crate) const HEAD: usize = 0;
    /// The count at which the byte at offset 0 of the ring was written, modulo the capacity.
    pub(crate) const BASE: usize = 4;
    /// Not 0: the producer will write no more.
    pub(crate) const ENDED: usize = 8;

    // Written by the consumer when it reads.
    /// How many bytes have been read, modulo 2^32.
    pub(crate) const TAIL: usize = 128;

    // Looked at by the producer at every write, and seldom changed.
    /// Not 0: the consumer sleeps, and wants a bell. Stored by the consumer, taken by the producer.
    pub(crate) const READER_SLEEPS: usize = 256;
    /// Not 0: the consumer will read no more.
    pub(crate) const ABANDONED: usize = 260;

    // Looked at by the consumer when it gives room back, and seldom changed.
    /// Not 0: the producer sleeps, and wants a bell. Stored by the producer, taken by the consumer.
    pub(crate) const WRITER_SLEEPS: usize = 384;
}

/// How many bytes each direction of a ring holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    capacity: [u32; 2],
}

impl Geometry {
    /// The smallest capacity of a direction, in bytes.
    pub const MIN: u32 = 4096;
    /// The largest capacity of a direction, in bytes.
    pub const MAX: u32 = 1 << 30;
    /// The capacity of a direction that nobody has set, in bytes: larger ones gain nothing, smaller ones cost speed from 4 KiB
    /// writes on. Memory is taken when it is used, so that an idle ring of any size holds three pages.
    pub const DEFAULT: u32 = 1 << 20;

    /// A ring that holds `to_receiver` bytes from the memory's creator to its receiver, and `to_creator` bytes the other way.
    ///
    /// # Errors
    ///
    /// A capacity that is not a power of two from [`MIN`](Self::MIN) to [`MAX`](Self::MAX).
    pub const fn new(to_receiver: u32, to_creator: u32) -> Result<Self, BadGeometry> {
        if Self::is_capacity(to_receiver) && Self::is_capacity(to_creator) {
            Ok(Self {
                capacity: [to_receiver, to_creator],
            })
        } else {
            Err(BadGeometry(()))
        }
    }

    const fn is_capacity(bytes: u32) -> bool {
        bytes.is_power_of_two() && Self::MIN <= bytes && bytes <= Self::MAX
    }

    /// How many bytes fit on the way from the memory's creator to its receiver.
    #[must_use]
    pub const fn to_receiver(self) -> u32 {
        self.capacity[0]
    }

    /// How many bytes fit on the way from the memory's receiver to its creator.
    #[must_use]
    pub const fn to_creator(self) -> u32 {
        self.capacity[1]
    }

    /// How long the memory is, in bytes.
    #[must_use]
    pub const fn length(self) -> u64 {
        CONTROL as u64 + self.capacity[0] as u64 + self.capacity[1] as u64
    }

    /// Where the bytes of a direction begin.
    pub(crate) const fn data(self, direction: usize) -> usize {
        if direction == 0 {
            CONTROL
        } else {
            CONTROL + self.capacity[0] as usize
        }
    }

    pub(crate) const fn capacity(self, direction: usize) -> u32 {
        self.capacity[direction]
    }
}

impl Default for Geometry {
    fn default() -> Self {
        Self {
            capacity: [Self::DEFAULT; 2],
        }
    }
}

/// A capacity that is not a power of two within the limits of [`Geometry`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadGeometry(());

impl fmt::Display for BadGeometry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the capacity of a ring is a power of two from 4 KiB to 1 GiB")
    }
}

impl std::error::Error for BadGeometry {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capacities_are_powers_of_two_within_limits() {
        for good in [4096, 1 << 20, 1 << 30] {
            assert!(Geometry::new(good, 4096).is_ok());
        }
        for bad in [0, 1, 2048, 4095, 4097, 3 << 20, 1 << 31, u32::MAX] {
            assert!(Geometry::new(4096, bad).is_err(), "{bad}");
        }
    }

    /// Golden numbers: another build or another processor must not lay the memory out in another way.
    #[test]
    fn the_layout_is_the_documented_one() {
        let geometry = Geometry::new(8192, 4096).unwrap();
        assert_eq!(geometry.length(), 16384);
        assert_eq!((geometry.data(0), geometry.data(1)), (4096, 12288));
        assert_eq!(WORDS, [512, 1536]);
        let words = [
            word::HEAD,
            word::BASE,
            word::ENDED,
            word::TAIL,
            word::READER_SLEEPS,
            word::ABANDONED,
            word::WRITER_SLEEPS,
        ];
        assert_eq!(words, [0, 4, 8, 128, 256, 260, 384]);
        assert_eq!(Geometry::default().length(), 4096 + (2 << 20));
    }
}
