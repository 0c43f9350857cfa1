//! How a side that has nothing to do sleeps, and is woken.
//!
//! Each direction has two bells: the *data bell*, rung by its producer for its consumer, and the *space bell*, rung by its consumer
//! for its producer. A bell is something that a thread can wait for in the kernel, such as one way of a socket. **Nobody else
//! waits for it**: two waiters on one bell lose wake-ups, as the first takes what was meant for the second.
//!
//! Who sleeps does five things in this order: take what the bell has rung, look, publish that it sleeps, look again, wait. The first
//! four are [`Consumer::prepare_wait`](crate::Consumer::prepare_wait) and
//! [`Producer::prepare_wait`](crate::Producer::prepare_wait); the wait itself is the caller's. Who changes something then looks whether the other sleeps, takes
//! its flag, and rings once. Between publishing and looking again stands a `SeqCst` fence, as between changing and looking at
//! the flag: one of the two sees the other.

/// The two bells of one direction, as one of its sides has them.
///
/// For a consumer, [`ring`](Self::ring) rings the space bell and [`silence`](Self::silence) takes the data bell's rings. For a
/// producer it is the other way round.
///
/// With sockets, `ring` is one byte with `MSG_DONTWAIT | MSG_NOSIGNAL`, never an empty packet, and a socket that is full counts as
/// rung: it is readable, so the other side will wake. `silence` receives into some scratch space; a bell that is rung again
/// meanwhile may stay, and costs one needless look.
pub trait Bell {
    /// Wakes the other side, without waiting. `false` if it is known to have gone.
    fn ring(&self) -> bool;

    /// Takes what the other side has rung, without waiting. `false` if the other side has gone: end of file, or a reset.
    fn silence(&self) -> bool;
}

impl<B: Bell + ?Sized> Bell for &B {
    fn ring(&self) -> bool {
        (**self).ring()
    }

    fn silence(&self) -> bool {
        (**self).silence()
    }
}

/// What to do after a look that found nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Wait {
    /// Wait for the bell, then call the operation again. The other side knows that it has to ring.
    MustWait,
    /// Something has changed: call the operation again, now.
    Ready,
    /// The other side has gone, and all that it left has been taken: there is nothing to wait for. The operation now reports the end,
    /// or that the pipe is broken.
    PeerGone,
}
