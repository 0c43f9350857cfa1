//! Who is at the other end of a Unix socket.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::OnceLock;

/// The process that called `connect` or `listen` at the other end, as the kernel saw it then (`SO_PEERCRED`, `unix(7)`).
///
/// It says nothing of who holds the descriptor now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PeerCredentials {
    /// `None` for a process that this one cannot see, in another process namespace.
    pub(crate) pid: Option<u32>,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

pub(crate) fn peer_credentials(socket: BorrowedFd<'_>) -> io::Result<PeerCredentials> {
    // Not rustix's getter: it forms a process number that must not be zero, which the kernel does not promise.
    let mut found = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the kernel writes no more than `length` bytes to `found`; both live through the call.
    let status = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut found).cast(),
            &raw mut length,
        )
    };
    if status == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(PeerCredentials {
        pid: u32::try_from(found.pid).ok().filter(|&pid| pid != 0),
        uid: found.uid,
        gid: found.gid,
    })
}

/// The supplementary groups of the process at the other end when it connected (`SO_PEERGROUPS`).
pub(crate) fn peer_groups(socket: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    let mut groups: Vec<libc::gid_t> = vec![0; 32];
    loop {
        let mut length = size_of_val(groups.as_slice()) as libc::socklen_t;
        // SAFETY: the kernel writes no more than `length` bytes to the vector's memory; both live through the call.
        let status = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        let count = length as usize / size_of::<libc::gid_t>();
        if status == 0 {
            groups.truncate(count);
            return Ok(groups);
        }
        match io::Error::last_os_error() {
            // The kernel has put the length that it needs in place.
            error if error.raw_os_error() == Some(libc::ERANGE) && count > groups.len() => groups.resize(count, 0),
            error => return Err(error),
        }
    }
}

/// A handle on the process at the other end, which stays on that process even if its number is given to another (`SO_PEERPIDFD`, Linux 6.5).
pub(crate) fn peer_process(socket: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    const SO_PEERPIDFD: libc::c_int = 77;
    let mut fd: libc::c_int = -1;
    let mut length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the kernel writes no more than `length` bytes to `fd`; both live through the call.
    let status = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_PEERPIDFD,
            (&raw mut fd).cast(),
            &raw mut length,
        )
    };
    if status == -1 || fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for this process, close-on-exec, and nothing else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Whether this number stands for all users who have none in this user namespace (`user_namespaces(7)`).
///
/// Two such users look alike, so that it must never be compared with anything. Where every user has a number, it is one
/// user's as any other. The namespace may change while the process runs.
pub(crate) fn is_unmapped(uid: u32) -> bool {
    static OVERFLOW: OnceLock<u32> = OnceLock::new();
    uid == *OVERFLOW.get_or_init(|| overflow_number("overflowuid")) && !maps_all("uid_map")
}

/// As [`is_unmapped`], for a group.
pub(crate) fn is_unmapped_group(gid: u32) -> bool {
    static OVERFLOW: OnceLock<u32> = OnceLock::new();
    gid == *OVERFLOW.get_or_init(|| overflow_number("overflowgid")) && !maps_all("gid_map")
}

fn overflow_number(file: &str) -> u32 {
    let text = std::fs::read_to_string(format!("/proc/sys/kernel/{file}")).unwrap_or_default();
    text.trim().parse().unwrap_or(65534)
}

fn maps_all(file: &str) -> bool {
    let map = std::fs::read_to_string(format!("/proc/self/{file}")).unwrap_or_default();
    map.split_ascii_whitespace().eq(["0", "0", "4294967295"])
}
