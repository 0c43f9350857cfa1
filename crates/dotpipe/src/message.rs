//! Messages: what a pipe of `PipeTransmissionMode::Message` carries, written and read whole.

use crate::connection::{Way, check_direction};
use crate::error::Result;
use crate::stream::PipeStream;
use crate::transport::Peek;

impl PipeStream {
    /// Reads the next message whole, or the rest of one that was read in part; `None` is the end of the pipe.
    ///
    /// `Some` of nothing is an empty message, which a plain read cannot tell from the end. Blocks until a message has come,
    /// no longer than the [read time-out](Self::set_read_timeout); a [`Canceller`](crate::Canceller), `disconnect` and
    /// `close` end it too. A call that ended so has taken nothing.
    ///
    /// # Errors
    ///
    /// MessageTooLarge for one of more than `limit` bytes, which stays to be read; InvalidOperation without a connection,
    /// and on a stream that does not [read messages](Self::set_read_mode); NotSupported on a stream that cannot be read;
    /// TimedOut, Canceled, Io.
    pub fn read_message(&self, limit: usize) -> Result<Option<Vec<u8>>> {
        check_direction(self.direction(), Way::Reading)?;
        self.connection()?.read_message(limit)
    }

    /// Writes one message, which may be empty, whole or not at all.
    ///
    /// Blocks until there is room, no longer than the [write time-out](Self::set_write_timeout); a
    /// [`Canceller`](crate::Canceller), `disconnect` and `close` end it too. If the message was on its way by then it is
    /// sent, and the call has succeeded.
    ///
    /// # Errors
    ///
    /// InvalidOperation without a connection, and on a pipe that carries bytes; NotSupported on a stream that cannot be
    /// written; Broken if the other end has gone; TimedOut, Canceled, Io.
    pub fn write_message(&self, message: &[u8]) -> Result<()> {
        check_direction(self.direction(), Way::Writing)?;
        self.connection()?.write_message(message)
    }

    /// Writes a message and reads the next one, the answer, with no other thread's messages in between.
    ///
    /// Blocks as [`write_message`](Self::write_message), then as [`read_message`](Self::read_message). After a call that
    /// ended before its answer came, the answer is the next message: read it before the next call. Source:
    /// [TransactNamedPipe](https://learn.microsoft.com/windows/win32/api/namedpipeapi/nf-namedpipeapi-transactnamedpipe).
    ///
    /// # Errors
    ///
    /// As both.
    pub fn transact(&self, message: &[u8], limit: usize) -> Result<Option<Vec<u8>>> {
        check_direction(self.direction(), Way::Writing)?;
        check_direction(self.direction(), Way::Reading)?;
        self.connection()?.transact(message, limit)
    }

    /// Copies what has arrived into `buffer` without taking it, and says how much there is. Never blocks.
    ///
    /// On a pipe that carries messages only bytes of the first message are copied. Source:
    /// [PeekNamedPipe](https://learn.microsoft.com/windows/win32/api/namedpipeapi/nf-namedpipeapi-peeknamedpipe).
    ///
    /// # Errors
    ///
    /// InvalidOperation without a connection; NotSupported on a stream that cannot be read, and for a buffer that is not
    /// empty on an anonymous pipe of Unix, which only tells how much there is; Broken if the other end has gone and nothing
    /// is left; Io.
    pub fn peek(&self, buffer: &mut [u8]) -> Result<Peek> {
        check_direction(self.direction(), Way::Reading)?;
        self.connection()?.peek(buffer)
    }
}
