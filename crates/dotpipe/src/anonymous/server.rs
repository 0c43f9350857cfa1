//! The server's end of an anonymous pipe.

use std::sync::Arc;

use super::handle::ClientHandle;
use super::system;
use crate::connection::{Connection, Way};
use crate::error::{Error, ErrorKind, Result};
use crate::options::{HandleInheritability, PipeDirection, check_buffer_size};
use crate::stream::{PipeStream, is_pipe_stream};
use crate::sys::OwnedDescriptor;
use crate::transport::Transport;

/// The server's end of an anonymous pipe: makes the pipe, and hands the other end to a child process.
///
/// ```no_run
/// use std::io::Write;
/// use std::process::Command;
/// use dotpipe::{AnonymousPipeServerStream, CommandExt, PipeDirection};
///
/// let mut pipe = AnonymousPipeServerStream::new(PipeDirection::Out)?;
/// let mut child = Command::new("./client")
///     .arg(pipe.get_client_handle_as_string())
///     .inherit_client_handle(&pipe)
///     .spawn()?;
/// pipe.dispose_local_copy_of_client_handle();
/// writeln!(pipe, "SYNC")?;
/// pipe.wait_for_pipe_drain()?;
/// drop(pipe);
/// child.wait()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Dropping it closes both handles that it still holds: the server's, and the local copy of the client's. Source:
/// [AnonymousPipeServerStream](https://learn.microsoft.com/dotnet/api/system.io.pipes.anonymouspipeserverstream).
#[derive(Debug)]
pub struct AnonymousPipeServerStream {
    stream: PipeStream,
    connection: Arc<Connection>,
    client: Arc<ClientHandle>,
}

is_pipe_stream!(AnonymousPipeServerStream);

/// Choices for an [`AnonymousPipeServerStream`]; see [`builder`](AnonymousPipeServerStream::builder).
#[derive(Clone, Debug)]
#[must_use]
pub struct AnonymousPipeServerBuilder {
    direction: PipeDirection,
    inheritability: HandleInheritability,
    buffer_size: usize,
}

impl AnonymousPipeServerBuilder {
    /// Whether all children inherit the client handle. `None` at first: only those chosen by
    /// [`inherit_client_handle`](crate::CommandExt::inherit_client_handle) do.
    pub fn inheritability(mut self, inheritability: HandleInheritability) -> Self {
        self.inheritability = inheritability;
        self
    }

    /// The wish for a size of the kernel's buffer, in bytes; 0 leaves the choice to the system.
    ///
    /// The kernel rounds up to whole pages. A size over the system's limit is not granted, without an error, as in .NET.
    pub fn buffer_size(mut self, bytes: usize) -> Self {
        self.buffer_size = bytes;
        self
    }

    /// Makes the pipe.
    ///
    /// # Errors
    ///
    /// ArgumentOutOfRange for a buffer size over `i32::MAX`; NotSupported for [`InOut`](PipeDirection::InOut); Io if the
    /// process has no descriptor left.
    pub fn create(self) -> Result<AnonymousPipeServerStream> {
        check_buffer_size("bufferSize", self.buffer_size)?;
        super::check_direction(self.direction)?;
        let failed = |error| Error::new(ErrorKind::Io, "The anonymous pipe could not be made.").with_source(error);
        let (transport, client) =
            system::make(self.direction, self.buffer_size, self.inheritability).map_err(failed)?;
        Ok(AnonymousPipeServerStream::over(transport, client, self.direction))
    }
}

impl AnonymousPipeServerStream {
    /// Makes a pipe whose client handle children do not inherit by themselves.
    ///
    /// # Errors
    ///
    /// NotSupported for [`InOut`](PipeDirection::InOut); Io if the process has no descriptor left.
    pub fn new(direction: PipeDirection) -> Result<Self> {
        Self::builder(direction).create()
    }

    /// Makes a pipe and says whether all children inherit its client handle.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn with_inheritability(direction: PipeDirection, inheritability: HandleInheritability) -> Result<Self> {
        Self::builder(direction).inheritability(inheritability).create()
    }

    /// Starts a list of choices.
    pub fn builder(direction: PipeDirection) -> AnonymousPipeServerBuilder {
        AnonymousPipeServerBuilder {
            direction,
            inheritability: HandleInheritability::None,
            buffer_size: 0,
        }
    }

    /// Makes a stream from the two ends of a pipe that exists already.
    ///
    /// # Errors
    ///
    /// NotSupported for [`InOut`](PipeDirection::InOut), Io for a descriptor that is no pipe or Unix stream socket,
    /// Argument for the wrong end of a pipe.
    pub fn from_handles(direction: PipeDirection, server: OwnedDescriptor, client: OwnedDescriptor) -> Result<Self> {
        super::check_direction(direction)?;
        let transport = system::transport_of(server, direction, "serverSafePipeHandle")?;
        Ok(Self::over(transport, client, direction))
    }

    fn over(transport: Transport, client: OwnedDescriptor, direction: PipeDirection) -> Self {
        let (stream, connection) = super::connected(transport, direction);
        Self {
            stream,
            connection,
            client: ClientHandle::new(client),
        }
    }

    /// The client handle as a decimal number, to be given to the child, which makes a client stream from it.
    ///
    /// It keeps telling the number after [`dispose_local_copy_of_client_handle`](Self::dispose_local_copy_of_client_handle).
    #[must_use]
    pub fn get_client_handle_as_string(&self) -> String {
        self.client.number().to_string()
    }

    /// Closes this process's copy of the client handle; does nothing the second time.
    ///
    /// To be called once the child has started: while the copy is open, this end never sees the child's end go.
    pub fn dispose_local_copy_of_client_handle(&self) {
        drop(self.client.take());
    }

    /// A duplicate of the client handle, which children do not inherit: .NET's `ClientSafePipeHandle`.
    ///
    /// It keeps the client's end open, and the server from seeing its end, until it is dropped or given away.
    ///
    /// # Errors
    ///
    /// ObjectDisposed after [`dispose_local_copy_of_client_handle`](Self::dispose_local_copy_of_client_handle), and once
    /// a client of this process has taken the handle; Io if the process has no descriptor left.
    pub fn client_safe_pipe_handle(&self) -> Result<OwnedDescriptor> {
        let failed = |error| Error::new(ErrorKind::Io, "The client handle could not be duplicated.").with_source(error);
        self.client.duplicate().map_err(failed)?.ok_or_else(Error::closed)
    }

    pub(super) fn client(&self) -> &Arc<ClientHandle> {
        &self.client
    }

    /// The size of the pipe's buffer in bytes, on a server that reads.
    ///
    /// # Errors
    ///
    /// NotSupported on a server that writes, Broken after a failed write.
    pub fn in_buffer_size(&self) -> Result<usize> {
        self.stream
            .kernel_buffer_size(Way::Reading)
            .map(Option::unwrap_or_default)
    }

    /// The size of the pipe's buffer in bytes, on a server that writes.
    ///
    /// # Errors
    ///
    /// NotSupported on a server that reads, Broken after a failed write.
    pub fn out_buffer_size(&self) -> Result<usize> {
        self.stream
            .kernel_buffer_size(Way::Writing)
            .map(Option::unwrap_or_default)
    }
}

#[cfg(unix)]
impl std::os::fd::AsFd for AnonymousPipeServerStream {
    /// The server's end. Whether it is in non-blocking mode changes with its use, and is not to be relied on.
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        super::borrowed(&self.connection)
    }
}

#[cfg(windows)]
impl std::os::windows::io::AsHandle for AnonymousPipeServerStream {
    /// The server's end. It was opened for overlapped operations, and must be used with them.
    fn as_handle(&self) -> std::os::windows::io::BorrowedHandle<'_> {
        super::borrowed(&self.connection)
    }
}

#[cfg(unix)]
impl From<AnonymousPipeServerStream> for OwnedDescriptor {
    /// Takes the server's end out, in blocking mode, and closes the local copy of the client handle.
    fn from(server: AnonymousPipeServerStream) -> Self {
        super::into_handle(server.stream, server.connection)
    }
}

#[cfg(windows)]
impl TryFrom<AnonymousPipeServerStream> for OwnedDescriptor {
    type Error = std::io::Error;

    /// Takes the server's end out, and closes the local copy of the client handle. Fails if the process has no handle left.
    fn try_from(server: AnonymousPipeServerStream) -> std::io::Result<Self> {
        super::into_handle(server.stream, server.connection)
    }
}
