//! The memory that two processes share: made and sealed by one, checked and mapped by the other.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::fmt;
use std::ptr::NonNull;
use std::sync::Arc;

use crate::cells::Lane;
use crate::ends::{Ends, Framing, Side};
use crate::layout::Geometry;

#[cfg(target_os = "linux")]
mod memfd;

/// The memory of one ring, as one of its two sides has it.
///
/// On Linux, [`create`](Self::create) makes it and gives a descriptor for the other process, which [`receive`](Self::receive)s it;
/// both close the descriptor then. [`private`](Self::private) makes memory for two sides within one process.
pub struct Memory {
    region: Arc<Region>,
    geometry: Geometry,
}

impl Memory {
    /// Memory for both sides within this process, on every system.
    #[must_use]
    pub fn private(geometry: Geometry) -> (Self, Self) {
        let region = Arc::new(Region::allocate(geometry));
        let memory = |region| Self { region, geometry };
        (memory(Arc::clone(&region)), memory(region))
    }

    /// How many bytes each direction holds.
    #[must_use]
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// What one side of the ring works with. Each side of a ring is taken once, by whoever owns that side.
    #[must_use]
    pub fn into_ends(self, side: Side, framing: Framing) -> Ends {
        let lane = |direction| Lane::new(&self.region, self.geometry, direction);
        let (outbound, inbound) = match side {
            Side::Creator => (lane(0), lane(1)),
            Side::Receiver => (lane(1), lane(0)),
        };
        Ends::new(outbound, inbound, framing)
    }

    /// The shared bytes themselves, for tests that play a peer that lies. The pointer is good as long as `self`, and the memory is
    /// [`Geometry::length`] bytes long.
    #[doc(hidden)]
    #[must_use]
    pub fn start(&self) -> NonNull<u8> {
        self.region.start()
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory")
            .field("geometry", &self.geometry)
            .finish_non_exhaustive()
    }
}

/// A piece of the address space, given back when the last side drops it.
#[derive(Debug)]
pub(crate) struct Region {
    start: NonNull<u8>,
    length: usize,
    origin: Origin,
}

#[derive(Debug)]
enum Origin {
    Allocated(Layout),
    #[cfg(target_os = "linux")]
    Mapped,
}

// SAFETY: it owns a piece of the address space, whichever thread gives it back.
unsafe impl Send for Region {}
// SAFETY: a shared region only tells where it is.
unsafe impl Sync for Region {}

impl Region {
    /// Zeroed memory of this process.
    fn allocate(geometry: Geometry) -> Self {
        let length = usize::try_from(geometry.length()).unwrap_or(usize::MAX);
        let layout = Layout::from_size_align(length, 4096).expect("two capacities are less than half an address space");
        // SAFETY: the length is not 0.
        let start = unsafe { alloc_zeroed(layout) };
        let start = NonNull::new(start).unwrap_or_else(|| handle_alloc_error(layout));
        Self {
            start,
            length,
            origin: Origin::Allocated(layout),
        }
    }

    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }

    pub(crate) fn length(&self) -> usize {
        self.length
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        match self.origin {
            // SAFETY: allocated with this layout, and nobody has it any more.
            Origin::Allocated(layout) => unsafe { dealloc(self.start.as_ptr(), layout) },
            #[cfg(target_os = "linux")]
            Origin::Mapped => memfd::unmap(self.start, self.length),
        }
    }
}
