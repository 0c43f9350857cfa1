//! Unix stream sockets.

use std::io;
#[cfg(target_vendor = "apple")]
use std::os::fd::AsFd;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;
#[cfg(not(target_vendor = "apple"))]
use rustix::net::SocketFlags;
use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, Shutdown, SocketAddrUnix, SocketType, sockopt};

/// Which direction of a socket to end.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Half {
    Reading,
    Writing,
    Both,
}

/// A new Unix stream socket, non-blocking, that children do not inherit.
#[cfg(not(target_vendor = "apple"))]
pub(crate) fn stream_socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?)
}

/// A new Unix stream socket, non-blocking, that children do not inherit.
#[cfg(target_vendor = "apple")]
pub(crate) fn stream_socket() -> io::Result<OwnedFd> {
    let socket = net::socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
    make_private(socket.as_fd())?;
    super::set_nonblocking(socket.as_fd(), true)?;
    Ok(socket)
}

/// Keeps a socket from children, and from raising SIGPIPE, where the system can do neither in the call that makes it.
///
/// A child that another thread starts in between inherits the socket; this system has nothing against that.
#[cfg(target_vendor = "apple")]
fn make_private(socket: BorrowedFd<'_>) -> io::Result<()> {
    super::set_inheritable(socket, false)?;
    Ok(sockopt::set_socket_nosigpipe(socket, true)?)
}

/// Two connected stream sockets, for tests of the transport.
#[cfg(test)]
pub(crate) fn socket_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (one, other) = std::os::unix::net::UnixStream::pair()?;
    Ok((one.into(), other.into()))
}

/// Binds a socket to a path, which must not exist.
pub(crate) fn bind(socket: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    Ok(net::bind(socket, &SocketAddrUnix::new(path)?)?)
}

/// Makes a bound socket listen, with the longest backlog that the system allows.
pub(crate) fn listen(socket: BorrowedFd<'_>) -> io::Result<()> {
    Ok(net::listen(socket, i32::MAX)?)
}

/// Takes the next queued connection; `WouldBlock` when there is none.
#[cfg(not(target_vendor = "apple"))]
pub(crate) fn accept(listener: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    Ok(rustix::io::retry_on_intr(|| {
        net::accept_with(listener, SocketFlags::CLOEXEC)
    })?)
}

/// Takes the next queued connection; `WouldBlock` when there is none.
#[cfg(target_vendor = "apple")]
pub(crate) fn accept(listener: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let socket = rustix::io::retry_on_intr(|| net::accept(listener))?;
    make_private(socket.as_fd())?;
    // It inherits this from the listener (accept(2)).
    super::set_nonblocking(socket.as_fd(), false)?;
    Ok(socket)
}

/// What became of an attempt to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Connecting {
    Done,
    /// Nothing is at the path.
    Missing,
    /// Something is at the path, but nobody listens: a socket whose process has ended, or a plain file.
    Refused,
    /// The server's queue is full.
    QueueFull,
}

/// Tries to connect a new socket once, without waiting.
///
/// A connected socket is put into blocking mode, for those who take its handle.
pub(crate) fn try_connect(socket: BorrowedFd<'_>, path: &Path) -> io::Result<Connecting> {
    let address = SocketAddrUnix::new(path)?;
    let outcome = connecting(net::connect(socket, &address))?;
    if matches!(outcome, Connecting::Done | Connecting::QueueFull) {
        super::set_nonblocking(socket, false)?;
    }
    Ok(outcome)
}

/// Waits in the kernel, no longer than `limit`, for room in a server's queue, after [`try_connect`] found it full.
///
/// A non-blocking connect gives EAGAIN and nothing to poll for; a blocking one with a send time-out waits, keeps the
/// limit and wakes at the server's next `accept` (`unix(7)`, `SO_SNDTIMEO` in `socket(7)`).
pub(crate) fn connect_within(socket: BorrowedFd<'_>, path: &Path, limit: Duration) -> io::Result<Connecting> {
    let address = SocketAddrUnix::new(path)?;
    // Zero would mean for ever.
    sockopt::set_socket_timeout(
        socket,
        sockopt::Timeout::Send,
        Some(limit.max(Duration::from_micros(1))),
    )?;
    let outcome = connecting(net::connect(socket, &address));
    sockopt::set_socket_timeout(socket, sockopt::Timeout::Send, None)?;
    outcome
}

fn connecting(outcome: Result<(), Errno>) -> io::Result<Connecting> {
    match outcome {
        Ok(()) | Err(Errno::ISCONN) => Ok(Connecting::Done),
        // A folder on the way that is no folder hides the name as well as one that is not there.
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(Connecting::Missing),
        Err(Errno::CONNREFUSED) => Ok(Connecting::Refused),
        Err(Errno::AGAIN | Errno::INTR) => Ok(Connecting::QueueFull),
        Err(error) => Err(error.into()),
    }
}

/// The error of an address that something else has.
pub(crate) fn address_in_use() -> io::Error {
    Errno::ADDRINUSE.into()
}

/// Takes what has arrived; `Ok(0)` is the end, `WouldBlock` when nothing is there yet.
pub(crate) fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    receive_with(socket, buffer, RecvFlags::DONTWAIT)
}

/// As [`receive`], but waits in the call, unless the socket itself is non-blocking.
#[inline]
pub(crate) fn receive_waiting(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    receive_with(socket, buffer, RecvFlags::empty())
}

#[inline]
fn receive_with(socket: BorrowedFd<'_>, buffer: &mut [u8], flags: RecvFlags) -> io::Result<usize> {
    let (taken, _) = rustix::io::retry_on_intr(|| net::recv(socket, &mut *buffer, flags))?;
    Ok(taken)
}

/// Looks whether data or the end has arrived, without taking it; `WouldBlock` when nothing is there yet.
pub(crate) fn receive_peek(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    let (seen, _) =
        rustix::io::retry_on_intr(|| net::recv(socket, &mut *buffer, RecvFlags::DONTWAIT | RecvFlags::PEEK))?;
    Ok(seen)
}

/// Sends what there is room for; `WouldBlock` when there is none. Raises no signal.
pub(crate) fn send(socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    send_with(socket, bytes, SendFlags::DONTWAIT)
}

/// As [`send`], but waits in the call for room for everything, unless the socket itself is non-blocking.
#[inline]
pub(crate) fn send_waiting(socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    send_with(socket, bytes, SendFlags::empty())
}

#[inline]
fn send_with(socket: BorrowedFd<'_>, bytes: &[u8], flags: SendFlags) -> io::Result<usize> {
    // On Apple's systems the socket itself was told to raise none.
    #[cfg(not(target_vendor = "apple"))]
    let flags = flags | SendFlags::NOSIGNAL;
    Ok(rustix::io::retry_on_intr(|| net::send(socket, bytes, flags))?)
}

pub(crate) fn shutdown(socket: BorrowedFd<'_>, half: Half) -> io::Result<()> {
    let how = match half {
        Half::Reading => Shutdown::Read,
        Half::Writing => Shutdown::Write,
        Half::Both => Shutdown::Both,
    };
    match net::shutdown(socket, how) {
        // The other side was quicker.
        Ok(()) | Err(Errno::NOTCONN) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The error that waits on a socket, which this takes from it.
pub(crate) fn take_error(socket: BorrowedFd<'_>) -> io::Result<Option<io::Error>> {
    Ok(sockopt::socket_error(socket)?.err().map(io::Error::from))
}

/// Bytes of kernel memory that hold what the peer has not read: zero exactly when it has read all (`SIOCOUTQ`, `unix(7)`).
#[cfg(not(target_vendor = "apple"))]
pub(crate) fn outstanding(socket: BorrowedFd<'_>) -> io::Result<usize> {
    #[cfg(any(target_os = "freebsd", target_os = "netbsd"))]
    const OUTSTANDING: libc::c_ulong = libc::FIONWRITE;
    // On Linux the number of SIOCOUTQ.
    #[cfg(not(any(target_os = "freebsd", target_os = "netbsd")))]
    const OUTSTANDING: libc::c_ulong = libc::TIOCOUTQ;
    let mut bytes: libc::c_int = 0;
    // SAFETY: the request writes one c_int to the address given, which lives through the call.
    let status = unsafe { libc::ioctl(socket.as_raw_fd(), OUTSTANDING as _, &raw mut bytes) };
    if status == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(usize::try_from(bytes).unwrap_or(0))
}

/// Bytes that were sent and have not reached the peer's buffer (`SO_NWRITE`).
///
/// For a Unix socket that buffer is the peer's own, so that this system tells less than Linux does.
#[cfg(target_vendor = "apple")]
pub(crate) fn outstanding(socket: BorrowedFd<'_>) -> io::Result<usize> {
    let mut bytes: libc::c_int = 0;
    let mut length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the kernel writes no more than `length` bytes to `bytes`; both live through the call.
    let status = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NWRITE,
            (&raw mut bytes).cast(),
            &raw mut length,
        )
    };
    if status == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(usize::try_from(bytes).unwrap_or(0))
}

pub(crate) fn receive_buffer_size(socket: BorrowedFd<'_>) -> io::Result<usize> {
    Ok(sockopt::socket_recv_buffer_size(socket)?)
}

pub(crate) fn send_buffer_size(socket: BorrowedFd<'_>) -> io::Result<usize> {
    Ok(sockopt::socket_send_buffer_size(socket)?)
}

pub(crate) fn set_receive_buffer_size(socket: BorrowedFd<'_>, bytes: usize) -> io::Result<()> {
    Ok(sockopt::set_socket_recv_buffer_size(socket, bytes)?)
}

pub(crate) fn set_send_buffer_size(socket: BorrowedFd<'_>, bytes: usize) -> io::Result<()> {
    Ok(sockopt::set_socket_send_buffer_size(socket, bytes)?)
}

/// Whether a descriptor is a stream socket of the Unix family.
pub(crate) fn is_unix_stream(fd: BorrowedFd<'_>) -> bool {
    let of_family = net::getsockname(fd).is_ok_and(|name| name.address_family() == AddressFamily::UNIX);
    of_family && sockopt::socket_type(fd).is_ok_and(|kind| kind == SocketType::STREAM)
}
