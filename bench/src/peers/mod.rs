//! The peers: one file each. A new one is a file here and a line in [`all`].

#[cfg(unix)]
mod control;
#[cfg(unix)]
mod dotpipe_anonymous;
#[cfg(unix)]
mod dotpipe_raw;
#[cfg(unix)]
mod pipe;
#[cfg(unix)]
mod unix_stream;

use crate::peer::Peer;
#[cfg(unix)]
use crate::peer::{Anonymous, Named};

/// The most that a pipe without shared memory may cost compared with the bare system calls.
#[cfg(unix)]
const GATE: f64 = 1.03;

/// All peers that are built in, in the order in which tables show them: each baseline before what is compared with it.
pub fn all() -> &'static [&'static dyn Peer] {
    &[
        #[cfg(unix)]
        &Named(unix_stream::UnixStreamPeer),
        #[cfg(unix)]
        &Named(dotpipe_raw::DotpipeRaw),
        #[cfg(unix)]
        &Anonymous(pipe::PipePeer),
        #[cfg(unix)]
        &Anonymous(dotpipe_anonymous::DotpipeAnonymous),
    ]
}

/// The baselines once more, compared with themselves: their cost is what the machine's noise makes of none.
pub fn controls() -> &'static [&'static dyn Peer] {
    &[
        #[cfg(unix)]
        &control::Again {
            name: "unix_stream_again",
            peer: &Named(unix_stream::UnixStreamPeer),
            gate: GATE,
        },
        #[cfg(unix)]
        &control::Again {
            name: "pipe_again",
            peer: &Anonymous(pipe::PipePeer),
            gate: GATE,
        },
    ]
}

/// The peer of this name, controls included.
pub(crate) fn find(name: &str) -> Option<&'static dyn Peer> {
    all().iter().chain(controls()).copied().find(|peer| peer.name() == name)
}
