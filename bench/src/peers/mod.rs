//! The peers: one file each. A new one is a file here and a line in [`all`].

#[cfg(unix)]
mod pipe;
#[cfg(unix)]
mod unix_stream;

use crate::peer::Peer;
#[cfg(unix)]
use crate::peer::{Anonymous, Named};

/// All peers that are built in, in the order in which tables show them: each baseline before what is compared with it.
pub fn all() -> &'static [&'static dyn Peer] {
    &[
        #[cfg(unix)]
        &Named(unix_stream::UnixStreamPeer),
        #[cfg(unix)]
        &Anonymous(pipe::PipePeer),
    ]
}
