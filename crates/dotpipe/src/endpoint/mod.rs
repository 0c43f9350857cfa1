//! The places where a server's name can be reached, and where a client looks for it.

#[cfg(unix)]
mod connect;
#[cfg(unix)]
mod folder;
#[cfg(unix)]
mod listener;
#[cfg(unix)]
mod liveness;
#[cfg(unix)]
mod owner;
#[cfg(unix)]
mod publish;
#[cfg(unix)]
mod registry;

#[cfg_attr(unix, path = "unix.rs")]
#[cfg_attr(windows, path = "windows.rs")]
mod system;

use std::path::Path;

pub(crate) use system::{Instance, adopt, connect, instances};

use crate::options::{HandleInheritability, PipeDirection, PipeTransmissionMode, TokenImpersonationLevel};
use crate::security::PipeSecurity;

/// Which servers a client accepts. Anybody may create a name first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ServerPolicy {
    /// The client's own user's and the system's (root's).
    #[default]
    OwnOrRoot,
    /// The client's own user's only.
    Own,
    Any,
}

/// What a client asks for when it connects.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) path: &'a Path,
    pub(crate) policy: ServerPolicy,
    pub(crate) direction: PipeDirection,
    #[cfg_attr(
        unix,
        expect(dead_code, reason = "on Unix the server learns who the client is in any case")
    )]
    pub(crate) impersonation_level: TokenImpersonationLevel,
    pub(crate) inheritability: HandleInheritability,
}

/// What a server asks for when it creates an instance.
#[derive(Clone, Debug)]
pub(crate) struct Instances {
    /// How many instances the name may have; `None` for any number.
    pub(crate) max: Option<u32>,
    /// Fail if the name exists already.
    pub(crate) first: bool,
    pub(crate) security: PipeSecurity,
    pub(crate) direction: PipeDirection,
    pub(crate) mode: PipeTransmissionMode,
    pub(crate) inheritability: HandleInheritability,
    /// Wishes for the sizes of the system's buffers; 0 leaves the choice to it.
    pub(crate) in_buffer_size: usize,
    pub(crate) out_buffer_size: usize,
}
