//! What all Unix systems share.

mod fifo;
mod files;
mod poll;
mod socket;
mod users;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

pub(crate) use fifo::*;
pub(crate) use files::*;
pub(crate) use poll::*;
pub(crate) use socket::*;
pub(crate) use users::*;

/// The longest path that fits a socket's address and leaves room for its end (`unix(7)`): 108 bytes with the NUL on Linux.
#[cfg(target_os = "linux")]
pub(crate) const LONGEST_SOCKET_PATH: usize = 107;
/// The longest path that fits a socket's address and leaves room for its end: 104 bytes with the NUL on macOS and the BSDs.
#[cfg(not(target_os = "linux"))]
pub(crate) const LONGEST_SOCKET_PATH: usize = 103;

/// This machine's name, as `gethostname(2)` and .NET's `Interop.Sys.GetHostName` give it.
pub(crate) fn host_name() -> Option<String> {
    rustix::system::uname().nodename().to_str().ok().map(str::to_owned)
}

pub(crate) fn os_str_from_bytes(bytes: &[u8]) -> &OsStr {
    OsStr::from_bytes(bytes)
}

/// Whether a call failed for want of descriptors or memory, which may be given back at any moment.
pub(crate) fn is_shortage(error: &std::io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)
    )
}
