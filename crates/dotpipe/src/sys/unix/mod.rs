//! What all Unix systems share.

mod fifo;
mod files;
mod poll;
mod socket;
mod users;

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::atomic::AtomicI32;

pub(crate) use fifo::*;
pub(crate) use files::*;
pub(crate) use poll::*;
pub(crate) use socket::*;
pub(crate) use users::*;

/// What the system calls an open pipe or socket by.
pub(crate) type OwnedDescriptor = OwnedFd;
/// As [`OwnedDescriptor`], for as long as somebody else owns it.
pub(crate) type BorrowedDescriptor<'a> = BorrowedFd<'a>;
/// What becomes of taking a descriptor out of a stream, which cannot fail here.
pub(crate) type Taken = OwnedFd;
/// As [`OwnedDescriptor`], as one writes it down for another process.
pub(crate) type Number = RawFd;
pub(crate) type AtomicNumber = AtomicI32;
/// Whether the system's own pipes carry messages.
pub(crate) const HAS_MESSAGES: bool = false;
/// What users are told apart by.
pub(crate) type UserId = u32;
/// What groups are told apart by.
pub(crate) type GroupId = u32;

/// A descriptor as one writes it down. Two that stand for the same open pipe are told apart by nothing else.
pub(crate) fn number(fd: impl AsFd) -> Number {
    fd.as_fd().as_raw_fd()
}

pub(crate) fn borrow(owned: &OwnedFd) -> BorrowedFd<'_> {
    owned.as_fd()
}

pub(crate) fn taken(descriptor: Taken) -> std::io::Result<OwnedFd> {
    Ok(descriptor)
}

/// A path that means the same after the process has changed its folder.
pub(crate) fn absolute(path: PathBuf) -> std::io::Result<PathBuf> {
    std::path::absolute(path)
}

/// What stands for the path of a pipe that has none.
pub(crate) fn path_of(fd: impl AsFd) -> PathBuf {
    let folder = if cfg!(target_os = "linux") {
        "/proc/self/fd"
    } else {
        "/dev/fd"
    };
    PathBuf::from(format!("{folder}/{}", number(fd)))
}

/// Another descriptor for the same open pipe or socket, inherited by children or not.
pub(crate) fn duplicate(fd: BorrowedFd<'_>, inheritable: bool) -> std::io::Result<OwnedFd> {
    let duplicate = fd.try_clone_to_owned()?;
    if inheritable {
        set_inheritable(duplicate.as_fd(), true)?;
    }
    Ok(duplicate)
}

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

/// The end of a text, from a position behind an ASCII character on.
pub(crate) fn end_of(text: &OsStr, start: usize) -> &OsStr {
    OsStr::from_bytes(&text.as_bytes()[start..])
}

#[cfg(not(target_os = "linux"))]
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
