//! Windows.

mod handle;
mod overlapped;
mod pipe;
mod poll;
mod process;
mod sending;
mod users;

use std::ffi::OsStr;
use std::os::windows::ffi::OsStrExt;
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, OwnedHandle};
use std::path::PathBuf;
use std::sync::atomic::AtomicIsize;

use windows_sys::Win32::Foundation::{ERROR_NO_SYSTEM_RESOURCES, ERROR_NOT_ENOUGH_MEMORY, ERROR_TOO_MANY_OPEN_FILES};

pub(crate) use handle::*;
pub(crate) use overlapped::*;
pub(crate) use pipe::*;
pub(crate) use poll::*;
pub(crate) use process::*;
pub(crate) use sending::*;
pub(crate) use users::*;

/// What the system calls an open pipe by.
pub(crate) type OwnedDescriptor = OwnedHandle;
/// As [`OwnedDescriptor`], for as long as somebody else owns it.
pub(crate) type BorrowedDescriptor<'a> = BorrowedHandle<'a>;
/// What becomes of taking a handle out of a stream: one that an operation still uses has to be duplicated.
pub(crate) type Taken = std::io::Result<OwnedHandle>;
/// As [`OwnedDescriptor`], as one writes it down for another process.
pub(crate) type Number = isize;
pub(crate) type AtomicNumber = AtomicIsize;
/// Whether the system's own pipes carry messages.
pub(crate) const HAS_MESSAGES: bool = true;
/// What users are told apart by.
pub(crate) type UserId = Sid;
/// What groups are told apart by.
pub(crate) type GroupId = Sid;

/// The longest path of a pipe ([Pipe Names](https://learn.microsoft.com/windows/win32/ipc/pipe-names)).
pub(crate) const LONGEST_PIPE_PATH: usize = 256;

/// The length of a text in the system's characters.
pub(crate) fn length_of(text: &OsStr) -> usize {
    text.encode_wide().count()
}

pub(crate) fn borrow(owned: &OwnedHandle) -> BorrowedHandle<'_> {
    owned.as_handle()
}

pub(crate) fn taken(descriptor: Taken) -> Taken {
    descriptor
}

/// A handle as one writes it down.
pub(crate) fn number(handle: impl AsHandle) -> Number {
    handle.as_handle().as_raw_handle() as isize
}

/// A path that means the same after the process has changed its folder, as all paths of pipes do.
pub(crate) fn absolute(path: PathBuf) -> std::io::Result<PathBuf> {
    Ok(path)
}

/// What stands for the path of a pipe that has none.
pub(crate) fn path_of(handle: impl AsHandle) -> PathBuf {
    PathBuf::from(format!("handle {}", number(handle)))
}

/// The end of a text, from a position behind an ASCII character on.
pub(crate) fn end_of(text: &OsStr, start: usize) -> &OsStr {
    let bytes = &text.as_encoded_bytes()[start..];
    debug_assert!(start == 0 || text.as_encoded_bytes()[start - 1].is_ascii());
    // SAFETY: these are the encoded bytes of an `OsStr`, split right after a character that is valid UTF-8.
    unsafe { OsStr::from_encoded_bytes_unchecked(bytes) }
}

/// Whether a call failed for want of handles or memory, which may be given back at any moment.
pub(crate) fn is_shortage(error: &std::io::Error) -> bool {
    let shortages = [
        ERROR_TOO_MANY_OPEN_FILES,
        ERROR_NOT_ENOUGH_MEMORY,
        ERROR_NO_SYSTEM_RESOURCES,
    ];
    error
        .raw_os_error()
        .is_some_and(|number| shortages.contains(&(number as u32)))
}

/// A text as the system takes it, with its end.
fn wide(text: &OsStr) -> Vec<u16> {
    text.encode_wide().chain([0]).collect()
}

/// A text that the system has put into a buffer, up to its end.
fn narrow(wide: &[u16]) -> String {
    let end = wide.iter().position(|&unit| unit == 0).unwrap_or(wide.len());
    String::from_utf16_lossy(&wide[..end])
}

/// The error of a call that has just failed on this thread.
fn checked(status: windows_sys::core::BOOL) -> std::io::Result<()> {
    if status == 0 {
        Err(std::io::Error::last_os_error())
    } else {
        Ok(())
    }
}
