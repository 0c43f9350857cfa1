//! The client's end of an anonymous pipe.

use std::sync::Arc;

use crate::connection::{Connection, Way};
use crate::error::{Error, ErrorKind, Result};
use crate::options::PipeDirection;
use crate::stream::{PipeStream, is_pipe_stream};
use crate::sys::{self, Adopted, BorrowedDescriptor, Number, OwnedDescriptor};

/// The client's end of an anonymous pipe: the one that a child process makes from the handle its parent gave it.
///
/// ```no_run
/// use std::io::{BufRead, BufReader};
/// use dotpipe::{AnonymousPipeClientStream, PipeDirection};
///
/// let handle = std::env::args().nth(1).unwrap();
/// let pipe = AnonymousPipeClientStream::from_handle_string(PipeDirection::In, &handle)?;
/// for line in BufReader::new(pipe).lines() {
///     println!("[CLIENT] Echo: {}", line?);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Source: [AnonymousPipeClientStream](https://learn.microsoft.com/dotnet/api/system.io.pipes.anonymouspipeclientstream).
#[derive(Debug)]
pub struct AnonymousPipeClientStream {
    stream: PipeStream,
    connection: Arc<Connection>,
}

is_pipe_stream!(AnonymousPipeClientStream);

impl AnonymousPipeClientStream {
    /// Makes a stream from the handle that a server's `get_client_handle_as_string` gave: a descriptor in decimal digits.
    ///
    /// Takes the descriptor over: it is closed with the stream, and this process's own children do not inherit it. In
    /// the process of the server itself, the server's copy is taken over. A descriptor that something in this process has
    /// opened for itself is refused. A descriptor that is refused stays open. One that was opened here and then made
    /// inheritable by other means than dotpipe's cannot be told from an inherited one, and is taken from its owner.
    ///
    /// # Errors
    ///
    /// NotSupported for [`InOut`](PipeDirection::InOut); Argument for a text that is no such number, for a handle of this
    /// process's own and for the wrong end of a pipe; UnauthorizedAccess for a number that is not open; Io for a
    /// descriptor that is neither a pipe nor a Unix stream socket.
    pub fn from_handle_string(direction: PipeDirection, handle: &str) -> Result<Self> {
        const PARAMETER: &str = "pipeHandleAsString";
        super::check_direction(direction)?;
        let number: Number = handle
            .trim()
            .parse()
            .ok()
            .filter(|&number| number >= 0)
            .ok_or_else(|| {
                let shown = crate::text::printable(handle.as_ref());
                Error::argument(PARAMETER, "Handle has been disposed or is invalid.")
                    .attempted(format!("reading the handle '{shown}'"))
                    .advice("A handle is a decimal number, as the server's get_client_handle_as_string gives it.")
            })?;
        let fits = |fd: BorrowedDescriptor<'_>| super::system::check_end(fd, direction, PARAMETER).map(drop);
        if let Some(fd) = super::handle::take_from_server_here(number, fits)? {
            return Self::over(direction, fd, PARAMETER);
        }
        let attempt = || format!("taking over the handle {number}");
        match sys::adopt(number, fits) {
            Ok(Adopted::Descriptor(fd)) => Self::over(direction, fd, PARAMETER),
            Ok(Adopted::Unfit(error)) => Err(error.attempted(attempt())),
            Ok(Adopted::NotOpen) => Err(Error::new(ErrorKind::UnauthorizedAccess, "Access to the path is denied.")
                .attempted(attempt())
                .advice(format!("No handle {number} is open in this process: it has inherited none of that number. The parent must make it inheritable, and keep its copy until the child has started."))),
            Ok(Adopted::OwnedHere) => Err(Error::argument(PARAMETER, "Handle has been disposed or is invalid.")
                .attempted(attempt())
                .advice("It was not inherited: something in this process has opened it.")),
            Err(error) => Err(Error::new(ErrorKind::Io, "Invalid pipe handle.").attempted(attempt()).with_source(error)),
        }
    }

    /// Makes a stream from a descriptor that this process owns.
    ///
    /// # Errors
    ///
    /// NotSupported for [`InOut`](PipeDirection::InOut), Io for a descriptor that is neither a pipe nor a Unix stream
    /// socket, Argument for the wrong end of a pipe.
    pub fn from_handle(direction: PipeDirection, handle: OwnedDescriptor) -> Result<Self> {
        super::check_direction(direction)?;
        Self::over(direction, handle, "safePipeHandle")
    }

    fn over(direction: PipeDirection, fd: OwnedDescriptor, parameter: &'static str) -> Result<Self> {
        let transport = super::system::transport_of(fd, direction, parameter)?;
        let (stream, connection) = super::connected(transport, direction);
        Ok(Self { stream, connection })
    }

    /// The size of the pipe's buffer in bytes, on a client that reads.
    ///
    /// # Errors
    ///
    /// NotSupported on a client that writes, Broken after a failed write.
    pub fn in_buffer_size(&self) -> Result<usize> {
        self.stream
            .kernel_buffer_size(Way::Reading)
            .map(Option::unwrap_or_default)
    }

    /// The size of the pipe's buffer in bytes, on a client that writes.
    ///
    /// # Errors
    ///
    /// NotSupported on a client that reads, Broken after a failed write.
    pub fn out_buffer_size(&self) -> Result<usize> {
        self.stream
            .kernel_buffer_size(Way::Writing)
            .map(Option::unwrap_or_default)
    }
}

#[cfg(unix)]
impl std::os::fd::AsFd for AnonymousPipeClientStream {
    /// The client's end. Whether it is in non-blocking mode changes with its use, and is not to be relied on.
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        super::borrowed(&self.connection)
    }
}

#[cfg(windows)]
impl std::os::windows::io::AsHandle for AnonymousPipeClientStream {
    fn as_handle(&self) -> std::os::windows::io::BorrowedHandle<'_> {
        super::borrowed(&self.connection)
    }
}

#[cfg(unix)]
impl From<AnonymousPipeClientStream> for OwnedDescriptor {
    /// Takes the client's end out, in blocking mode.
    fn from(client: AnonymousPipeClientStream) -> Self {
        super::into_handle(client.stream, client.connection)
    }
}

#[cfg(windows)]
impl TryFrom<AnonymousPipeClientStream> for OwnedDescriptor {
    type Error = std::io::Error;

    /// Takes the client's end out. Fails if the process has no handle left.
    fn try_from(client: AnonymousPipeClientStream) -> std::io::Result<Self> {
        super::into_handle(client.stream, client.connection)
    }
}
