//! The shared-memory ring of dotpipe: two queues of bytes or messages between two processes, and the protocol by which a side that
//! has nothing to do sleeps and is woken.
//!
//! This crate knows no sockets and no names. It makes and checks the [`Memory`], and gives each side its [`Ends`]: a
//! [`Producer`], a [`Consumer`] and a [`Closer`]. None of their calls waits, takes a lock or, but for ringing a [`Bell`], makes
//! a system call. The waiting is the caller's, on something that a bell can reach, and goes like this:
//!
//! ```
//! use dotpipe_ring::{Bell, Consumer, Error, Wait};
//!
//! /// Reads something, or the end.
//! fn read(consumer: &mut Consumer, bell: &impl Bell, buffer: &mut [u8], wait: impl Fn()) -> Result<usize, Error> {
//!     loop {
//!         match consumer.try_read(buffer, bell) {
//!             Err(Error::WouldBlock) => match consumer.prepare_wait(bell)? {
//!                 // For example `poll` on the bell's socket.
//!                 Wait::MustWait => wait(),
//!                 Wait::Ready | Wait::PeerGone => {}
//!             },
//!             done => return done,
//!         }
//!     }
//! }
//! ```
//!
//! # What the other side can do
//!
//! Everything in shared memory is hostile. Each index and each length is copied once, checked against what this side knows by itself,
//! and only the copy is used; what this side wrote it never reads back. A peer that lies gets [`Error::Corrupt`], or wrong bytes, which
//! it could have sent anyway. It can make this side sleep or look in vain, which a silent or talkative peer can do on
//! any pipe. No lie leads to a panic, to an access outside the memory, or to a loop without end.
//!
//! # Giving up
//!
//! Every call does all that it reports and nothing else, so that a time-out, a cancellation or a dropped future between two calls tears
//! and doubles nothing. The one exception is a message that is longer than the ring: when its writer gives up in the middle
//! ([`Producer::unfinished`]), the connection cannot be used for another one and must be closed; its reader then sees
//! [`Error::Torn`].
//!
//! # Forks
//!
//! A copy that `fork` makes of a process must not use the ring. Dropping its parts there is harmless.

mod cells;
mod consumer;
#[cfg(not(loom))]
mod copy;
mod ends;
mod error;
#[cfg_attr(loom, expect(dead_code, reason = "a model's memory has no layout"))]
mod layout;
#[cfg(not(loom))]
mod memory;
mod order;
mod producer;
mod spin;
mod tuning;
mod wake;

pub use consumer::{Consumer, Part, Peeked};
pub use ends::{Closer, Ends, Framing, Side};
pub use error::Error;
pub use layout::{BadGeometry, Geometry};
#[cfg(not(loom))]
pub use memory::Memory;
pub use producer::Producer;
pub use spin::Spin;
pub use tuning::Tuning;
pub use wake::{Bell, Wait};

/// What the models in `tests/loom.rs` need beside the crate's interface.
#[cfg(loom)]
pub mod model {
    pub use crate::order::Site;

    /// Weakens one place in every model of this process from now on, or none.
    pub fn weaken(site: Option<Site>) {
        crate::order::weakened::set(site);
    }
}
