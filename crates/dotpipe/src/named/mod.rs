//! Named pipes: between any two processes of the machine.

mod client;
mod server;
mod split;

pub use client::{NamedPipeClientBuilder, NamedPipeClientStream};
pub use server::{NamedPipeServerBuilder, NamedPipeServerStream};
pub use split::{ReadHalf, ReuniteError, WriteHalf};

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use crate::connection::{Connection, Way};
use crate::error::{Error, ErrorKind, Result};
use crate::name::PipeName;
use crate::options::{HandleInheritability, PipeDirection};
use crate::stream::{Kind, PipeStream, State};
use crate::sys;
use crate::transport::{Socket, Transport};
use crate::wait::Control;

/// Makes a connection of a socket that was just connected or accepted.
fn connection_over(
    stream: &PipeStream,
    socket: OwnedFd,
    inheritability: HandleInheritability,
) -> Result<Arc<Connection>> {
    let failed = |error| Error::system("setting up the connection of", stream.path(), error);
    if inheritability == HandleInheritability::Inheritable {
        sys::set_inheritable(socket.as_fd(), true).map_err(failed)?;
    }
    let socket = Socket::new(socket);
    socket.restrict(stream.direction()).map_err(failed)?;
    let control = Arc::clone(stream.control());
    Ok(Arc::new(Connection::new(
        Transport::Socket(socket),
        stream.direction(),
        control,
        stream.path().to_owned(),
    )))
}

/// A connected stream over a socket that the caller owns, and the name that it goes by.
fn connected_over(kind: Kind, fd: OwnedFd, direction: PipeDirection) -> Result<(PipeStream, PipeName)> {
    let path = PathBuf::from(format!("/proc/self/fd/{}", sys::number(&fd)));
    if !sys::is_unix_stream(fd.as_fd()) {
        return Err(Error::new(ErrorKind::Io, "Invalid pipe handle.")
            .attempted_on("making a named pipe stream from", &path)
            .advice("A named pipe's handle is a Unix stream socket."));
    }
    let name = PipeName::parse(&path)?;
    let stream = PipeStream::new(
        kind,
        State::WaitingToConnect,
        Arc::new(Control::default()),
        direction,
        path,
    );
    let connection = connection_over(&stream, fd, HandleInheritability::None)?;
    *crate::wait::lock(stream.state()) = State::Connected(connection);
    Ok((stream, name))
}

/// A duplicate of a connected stream's handle, which children inherit if they inherit the stream's own.
fn duplicate_handle(stream: &PipeStream, inheritability: HandleInheritability) -> Result<OwnedFd> {
    let connection = stream.connection()?;
    let duplicate = connection.transport().as_fd().try_clone_to_owned().and_then(|fd| {
        if inheritability == HandleInheritability::Inheritable {
            sys::set_inheritable(fd.as_fd(), true)?;
        }
        Ok(fd)
    });
    duplicate.map_err(|error| Error::system("duplicating the handle of", stream.path(), error))
}

/// The buffer size that a property reports: the kernel's when there is a connection, else `otherwise`.
fn buffer_size(stream: &PipeStream, way: Way, otherwise: impl FnOnce() -> Result<usize>) -> Result<usize> {
    stream.kernel_buffer_size(way)?.map_or_else(otherwise, Ok)
}
