//! What the system tells of a process.

use std::os::fd::BorrowedFd;
use std::path::PathBuf;

/// The file of the program that a process runs, if that may be known.
#[cfg(target_os = "macos")]
pub(crate) fn program_of(pid: u32) -> Option<PathBuf> {
    let mut path = vec![0_u8; libc::PROC_PIDPATHINFO_MAXSIZE as usize];
    let pid = libc::c_int::try_from(pid).ok()?;
    // SAFETY: the call writes no more bytes than the vector has.
    let length = unsafe { libc::proc_pidpath(pid, path.as_mut_ptr().cast(), path.len() as u32) };
    path.truncate(usize::try_from(length).ok().filter(|&length| length > 0)?);
    Some(PathBuf::from(super::super::os_str_from_bytes(&path)))
}

/// The file of the program that a process runs, if that may be known (`KERN_PROC_PATHNAME`, `sysctl(3)`).
#[cfg(any(target_os = "freebsd", target_os = "dragonfly"))]
pub(crate) fn program_of(pid: u32) -> Option<PathBuf> {
    let name = [
        libc::CTL_KERN,
        libc::KERN_PROC,
        libc::KERN_PROC_PATHNAME,
        libc::c_int::try_from(pid).ok()?,
    ];
    let mut path = vec![0_u8; libc::PATH_MAX as usize];
    let mut length = path.len();
    // SAFETY: the name has the length given, and the call writes no more bytes than the vector has.
    let status = unsafe {
        libc::sysctl(
            name.as_ptr().cast_mut(),
            name.len() as libc::c_uint,
            path.as_mut_ptr().cast(),
            &raw mut length,
            std::ptr::null_mut(),
            0,
        )
    };
    path.truncate(length);
    while path.last() == Some(&0) {
        path.pop();
    }
    (status == 0 && !path.is_empty()).then(|| PathBuf::from(super::super::os_str_from_bytes(&path)))
}

/// This system's way to tell is not one call.
#[cfg(not(any(target_os = "macos", target_os = "freebsd", target_os = "dragonfly")))]
pub(crate) fn program_of(_: u32) -> Option<PathBuf> {
    None
}

/// As [`program_of`]; nothing here tells whether the number was given to another process since.
pub(crate) fn program_of_peer(pid: u32, _: BorrowedFd<'_>) -> Option<PathBuf> {
    program_of(pid)
}

/// Nothing here tells who holds a socket.
pub(crate) fn holder_of_socket(_: u32) -> Option<u32> {
    None
}
