//! How bytes travel once two ends are connected.
//!
//! A transport's `try_` operations never wait. They say `WouldBlock`, and the transport names for each direction what to
//! wait for. The `_waiting` ones may wait in the system call itself, where nothing but the other side can end that. To
//! add a transport is to add a file here and a line in [`Transport`].

#[cfg(unix)]
mod fifo;
#[cfg(windows)]
mod flush;
#[cfg(windows)]
mod handle;
#[cfg(windows)]
mod plain;
#[cfg(unix)]
mod socket;

use std::io;

#[cfg(unix)]
pub(crate) use fifo::Fifo;
#[cfg(windows)]
pub(crate) use handle::Handle;
#[cfg(windows)]
pub(crate) use plain::Plain;
#[cfg(unix)]
pub(crate) use socket::Socket;

use crate::connection::Ended;
use crate::options::{PipeDirection, PipeTransmissionMode};
use crate::sys::{BorrowedDescriptor, Interest, Taken};

/// One connection's way of carrying bytes.
#[derive(Debug)]
pub(crate) enum Transport {
    /// A pipe of the kernel, for anonymous pipes.
    #[cfg(unix)]
    Fifo(Fifo),
    /// A Unix stream socket with nothing but the users' bytes on it, as .NET uses it.
    #[cfg(unix)]
    Socket(Socket),
    /// A pipe of Windows whose operations need not wait.
    #[cfg(windows)]
    Handle(Handle),
    /// A pipe of Windows that was opened for operations that wait, as the clients of anonymous pipes are.
    #[cfg(windows)]
    Plain(Plain),
}

/// What lies ahead in a pipe, without having been taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peek {
    /// How many bytes were copied into the buffer.
    pub read: usize,
    /// How many bytes the pipe holds, of all messages.
    pub available: usize,
    /// How many bytes of the first message come after those that were copied; 0 on a pipe that carries bytes.
    pub left_in_message: usize,
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
            #[cfg(unix)]
            Transport::Fifo($transport) => $call,
            #[cfg(unix)]
            Transport::Socket($transport) => $call,
            #[cfg(windows)]
            Transport::Handle($transport) => $call,
            #[cfg(windows)]
            Transport::Plain($transport) => $call,
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

    /// Whether what [`try_write`](Self::try_write) took has gone out, or `WouldBlock`. Until then it is this transport's,
    /// which may yet fail to send it.
    pub(crate) fn try_settle(&self) -> io::Result<()> {
        each!(self, transport => transport.try_settle())
    }

    /// How the pipe carries what is written.
    pub(crate) fn transmission_mode(&self) -> PipeTransmissionMode {
        each!(self, transport => transport.transmission_mode())
    }

    /// How reads take what was written.
    pub(crate) fn read_mode(&self) -> PipeTransmissionMode {
        each!(self, transport => transport.read_mode())
    }

    /// Sets how reads take what was written; `Unsupported` for messages on a pipe that carries bytes.
    pub(crate) fn set_read_mode(&self, mode: PipeTransmissionMode) -> io::Result<()> {
        each!(self, transport => transport.set_read_mode(mode))
    }

    /// Whether the last read took the rest of a message.
    pub(crate) fn is_message_complete(&self) -> bool {
        each!(self, transport => transport.is_message_complete())
    }

    /// Takes the next message, or the rest of one that was read in part. `None` is the end, `FileTooLarge` a message of
    /// more than `limit` bytes, which stays.
    pub(crate) fn try_read_message(&self, limit: usize) -> io::Result<Option<Vec<u8>>> {
        each!(self, transport => transport.try_read_message(limit))
    }

    /// Takes a whole message to send, which may be empty, or `WouldBlock` and nothing.
    pub(crate) fn try_write_message(&self, message: &[u8]) -> io::Result<()> {
        each!(self, transport => transport.try_write_message(message))
    }

    /// Looks at what has arrived without taking it.
    pub(crate) fn peek(&self, buffer: &mut [u8]) -> io::Result<Peek> {
        each!(self, transport => transport.peek(buffer))
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
        each!(self, transport => transport.readable())
    }

    /// What to wait for when a write would block.
    pub(crate) fn writable(&self) -> Interest<'_> {
        each!(self, transport => transport.writable())
    }

    /// Whether the other end has taken all that was written.
    pub(crate) fn unread(&self) -> io::Result<Unread> {
        each!(self, transport => transport.unread())
    }

    /// Ends the connection, for `why`. Calls of other threads that wait see it.
    pub(crate) fn end(&self, why: Ended) {
        each!(self, transport => transport.end(why));
    }

    /// The size of the buffer that this direction has in the kernel, in bytes.
    pub(crate) fn buffer_size(&self, direction: PipeDirection) -> io::Result<usize> {
        each!(self, transport => transport.buffer_size(direction))
    }

    pub(crate) fn descriptor(&self) -> BorrowedDescriptor<'_> {
        each!(self, transport => transport.descriptor())
    }

    /// A descriptor for other code to use, in blocking mode where that can be changed.
    pub(crate) fn into_descriptor(self) -> Taken {
        each!(self, transport => transport.into_descriptor())
    }
}

/// Fails for the read mode that a transport without messages does not have.
fn bytes_only(mode: PipeTransmissionMode) -> io::Result<()> {
    match mode {
        PipeTransmissionMode::Byte => Ok(()),
        PipeTransmissionMode::Message => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// The members of a transport that carries bytes and knows no messages.
macro_rules! carries_bytes {
    () => {
        pub(super) fn transmission_mode(&self) -> PipeTransmissionMode {
            PipeTransmissionMode::Byte
        }

        pub(super) fn read_mode(&self) -> PipeTransmissionMode {
            PipeTransmissionMode::Byte
        }

        pub(super) fn set_read_mode(&self, mode: PipeTransmissionMode) -> io::Result<()> {
            super::bytes_only(mode)
        }

        pub(super) fn is_message_complete(&self) -> bool {
            true
        }

        pub(super) fn try_read_message(&self, _: usize) -> io::Result<Option<Vec<u8>>> {
            Err(io::ErrorKind::Unsupported.into())
        }

        pub(super) fn try_write_message(&self, _: &[u8]) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }
    };
}
use carries_bytes;

/// Whether an error of Windows says that the other end of a pipe has gone, or that there was none.
#[cfg(windows)]
fn is_gone(error: &io::Error) -> bool {
    /// `ERROR_BAD_PIPE`, `ERROR_NO_DATA` and `ERROR_PIPE_NOT_CONNECTED`, beside those that std tells as broken pipes.
    const GONE: [i32; 3] = [230, 232, 233];
    error.kind() == io::ErrorKind::BrokenPipe || error.raw_os_error().is_some_and(|number| GONE.contains(&number))
}
