//! Who is at the other end of a Unix socket.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The process that called `connect` or `listen` at the other end, as the kernel saw it then (`getpeereid(3)`).
///
/// It says nothing of who holds the descriptor now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PeerCredentials {
    /// `None` where the system does not tell.
    pub(crate) pid: Option<u32>,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

pub(crate) fn peer_credentials(socket: BorrowedFd<'_>) -> io::Result<PeerCredentials> {
    let (mut uid, mut gid) = (0, 0);
    // SAFETY: both addresses live through the call, which writes one number to each.
    if unsafe { libc::getpeereid(socket.as_raw_fd(), &raw mut uid, &raw mut gid) } == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(PeerCredentials {
        pid: peer_pid(socket).filter(|&pid| pid != 0),
        uid,
        gid,
    })
}

/// Reads a socket option of a fixed size, `None` if the system has not filled all of it.
fn option<T>(socket: BorrowedFd<'_>, level: libc::c_int, name: libc::c_int) -> io::Result<Option<T>> {
    let mut value = std::mem::MaybeUninit::<T>::zeroed();
    let mut length = size_of::<T>() as libc::socklen_t;
    // SAFETY: the kernel writes no more than `length` bytes to `value`; both live through the call.
    let status = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            level,
            name,
            value.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if status == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: every T asked for here is a C structure of numbers, for which zeroes and whatever the kernel wrote are valid.
    Ok((length as usize == size_of::<T>()).then(|| unsafe { value.assume_init() }))
}

#[cfg(target_vendor = "apple")]
fn peer_pid(socket: BorrowedFd<'_>) -> Option<u32> {
    let pid: libc::pid_t = option(socket, libc::SOL_LOCAL, libc::LOCAL_PEERPID).ok()??;
    u32::try_from(pid).ok()
}

#[cfg(target_os = "freebsd")]
fn peer_pid(socket: BorrowedFd<'_>) -> Option<u32> {
    let peer: libc::xucred = option(socket, libc::SOL_LOCAL, libc::LOCAL_PEERCRED).ok()??;
    // SAFETY: every bit pattern of the union is a valid process number; the kernel has put one there, or left zero.
    u32::try_from(unsafe { peer.cr_pid__c_anonymous_union.cr_pid }).ok()
}

#[cfg(target_os = "netbsd")]
fn peer_pid(socket: BorrowedFd<'_>) -> Option<u32> {
    let peer: libc::unpcbid = option(socket, 0, libc::LOCAL_PEEREID).ok()??;
    u32::try_from(peer.unp_pid).ok()
}

#[cfg(target_os = "openbsd")]
fn peer_pid(socket: BorrowedFd<'_>) -> Option<u32> {
    let peer: libc::sockpeercred = option(socket, libc::SOL_SOCKET, libc::SO_PEERCRED).ok()??;
    u32::try_from(peer.pid).ok()
}

#[cfg(not(any(
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd"
)))]
fn peer_pid(_: BorrowedFd<'_>) -> Option<u32> {
    None
}

/// The groups of the process at the other end when it connected, at most 16 of them (`LOCAL_PEERCRED`, `unix(4)`).
#[cfg(any(target_vendor = "apple", target_os = "freebsd"))]
pub(crate) fn peer_groups(socket: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    let peer: Option<libc::xucred> = option(socket, libc::SOL_LOCAL, libc::LOCAL_PEERCRED)?;
    let peer = peer.filter(|peer| peer.cr_version == libc::XUCRED_VERSION);
    let peer = peer.ok_or(io::ErrorKind::InvalidData)?;
    let count = usize::try_from(peer.cr_ngroups).unwrap_or(0).min(peer.cr_groups.len());
    Ok(peer.cr_groups[..count].to_vec())
}

/// This system does not tell the groups.
#[cfg(not(any(target_vendor = "apple", target_os = "freebsd")))]
pub(crate) fn peer_groups(_: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    Err(io::ErrorKind::Unsupported.into())
}

/// There are no user namespaces here, so that every user has a number.
pub(crate) fn is_unmapped(_: u32) -> bool {
    false
}

/// As [`is_unmapped`], for a group.
pub(crate) fn is_unmapped_group(_: u32) -> bool {
    false
}
