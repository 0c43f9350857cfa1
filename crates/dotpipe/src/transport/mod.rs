//! How bytes travel once two ends are connected.
//!
//! A transport's `try_` operations never wait. They say `WouldBlock`, and the transport names for each direction what to
//! wait for. The `_waiting` ones may wait in the system call itself, where nothing but the other side can end that. To
//! add a transport is to add a file here and a line in [`Transport`].

mod fifo;
mod socket;

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

pub(crate) use fifo::Fifo;
pub(crate) use socket::Socket;

use crate::options::PipeDirection;
use crate::sys::Interest;

/// One connection's way of carrying bytes.
#[derive(Debug)]
pub(crate) enum Transport {
    /// A pipe of the kernel, for anonymous pipes.
    Fifo(Fifo),
    /// A Unix stream socket with nothing but the users' bytes on it, as .NET uses it.
    Socket(Socket),
}

/// How far the reader at the other end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    /// It has taken everything.
    Nothing,
    /// It has yet to take something.
    Something,
    /// It has gone and left something.
    Abandoned,
}

macro_rules! each {
    ($self:expr, $transport:ident => $call:expr) => {
        match $self {
            Transport::Fifo($transport) => $call,
            Transport::Socket($transport) => $call,
        }
    };
}

impl Transport {
    /// Takes what has arrived into `buffer`, which is not empty. `Ok(0)` is the end.
    pub(crate) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        each!(self, transport => transport.try_read(buffer))
    }

    /// Sends as much of `bytes`, which are not empty, as there is room for.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        each!(self, transport => transport.try_write(bytes))
    }

    /// As [`try_read`](Self::try_read), but may wait in the call instead of saying `WouldBlock`.
    ///
    /// For a caller whose wait nothing needs to end: a wait in `poll` costs two more system calls.
    #[inline]
    pub(crate) fn read_waiting(&self, buffer: &mut [u8]) -> io::Result<usize> {
        each!(self, transport => transport.read_waiting(buffer))
    }

    /// As [`try_write`](Self::try_write), but may wait in the call instead of saying `WouldBlock`.
    #[inline]
    pub(crate) fn write_waiting(&self, bytes: &[u8]) -> io::Result<usize> {
        each!(self, transport => transport.write_waiting(bytes))
    }

    /// What to wait for when a read would block.
    pub(crate) fn readable(&self) -> Interest<'_> {
        Interest::readable(self.as_fd())
    }

    /// What to wait for when a write would block.
    pub(crate) fn writable(&self) -> Interest<'_> {
        Interest::writable(self.as_fd())
    }

    /// Whether the other end has taken all that was written.
    pub(crate) fn unread(&self) -> io::Result<Unread> {
        each!(self, transport => transport.unread())
    }

    /// Ends both directions for both sides. What was sent stays readable. Calls of other threads that wait see it.
    pub(crate) fn shut_down(&self) {
        match self {
            // The end of a kernel pipe shows when its descriptor is closed, and only then.
            Self::Fifo(_) => {}
            Self::Socket(socket) => socket.shut_down(),
        }
    }

    /// The size of the buffer that this direction has in the kernel, in bytes.
    pub(crate) fn buffer_size(&self, direction: PipeDirection) -> io::Result<usize> {
        each!(self, transport => transport.buffer_size(direction))
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        each!(self, transport => transport.as_fd())
    }

    /// A descriptor for other code to use, in blocking mode.
    pub(crate) fn into_fd(self) -> OwnedFd {
        each!(self, transport => transport.into_fd())
    }
}
