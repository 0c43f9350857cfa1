//! Users and groups by number and by name.

use std::ffi::{CStr, CString};
use std::io;

/// This process's effective user.
pub(crate) fn effective_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The log-in name of a user, if the user database has one (`getpwuid_r(3)`).
pub(crate) fn user_name(uid: u32) -> io::Result<Option<String>> {
    // SAFETY: the arguments are those that the signature of getpwuid_r asks for, and `look_up` keeps them alive.
    look_up(
        |entry, buffer, length, found| unsafe { libc::getpwuid_r(uid, entry, buffer, length, found) },
        |entry: &libc::passwd| {
            // SAFETY: a found entry's name is a C string inside the buffer, which is alive here.
            unsafe { CStr::from_ptr(entry.pw_name) }.to_string_lossy().into_owned()
        },
    )
}

/// The number of the user with this log-in name (`getpwnam_r(3)`).
pub(crate) fn user_number(name: &str) -> io::Result<Option<u32>> {
    let name = CString::new(name)?;
    // SAFETY: the arguments are those that the signature of getpwnam_r asks for, and `look_up` keeps them alive.
    look_up(
        |entry, buffer, length, found| unsafe { libc::getpwnam_r(name.as_ptr(), entry, buffer, length, found) },
        |entry: &libc::passwd| entry.pw_uid,
    )
}

/// The number of the group with this name (`getgrnam_r(3)`).
pub(crate) fn group_number(name: &str) -> io::Result<Option<u32>> {
    let name = CString::new(name)?;
    // SAFETY: the arguments are those that the signature of getgrnam_r asks for, and `look_up` keeps them alive.
    look_up(
        |entry, buffer, length, found| unsafe { libc::getgrnam_r(name.as_ptr(), entry, buffer, length, found) },
        |entry: &libc::group| entry.gr_gid,
    )
}

/// Calls one of the `get*_r` functions with a buffer that grows until the entry fits, and converts what it found.
fn look_up<E, T>(
    call: impl Fn(*mut E, *mut libc::c_char, usize, *mut *mut E) -> libc::c_int,
    convert: impl FnOnce(&E) -> T,
) -> io::Result<Option<T>> {
    let mut buffer = vec![0 as libc::c_char; 1024];
    loop {
        let mut entry = std::mem::MaybeUninit::<E>::uninit();
        let mut found = std::ptr::null_mut();
        match call(entry.as_mut_ptr(), buffer.as_mut_ptr(), buffer.len(), &raw mut found) {
            0 if found.is_null() => return Ok(None),
            // SAFETY: with status 0 and a result the function has filled the entry that `found` points to.
            0 => return Ok(Some(convert(unsafe { &*found }))),
            libc::ERANGE if buffer.len() < 1 << 20 => buffer.resize(buffer.len() * 4, 0),
            libc::EINTR => {}
            // These three say "no such entry" on some systems (getpwnam(3), NOTES).
            libc::ENOENT | libc::ESRCH | libc::EBADF => return Ok(None),
            error => return Err(io::Error::from_raw_os_error(error)),
        }
    }
}
