//! Named pipes: between any two processes of the machine.

mod client;
mod server;
mod split;

pub use client::{NamedPipeClientBuilder, NamedPipeClientStream};
pub use server::{NamedPipeServerBuilder, NamedPipeServerStream};
pub use split::{ReadHalf, ReuniteError, WriteHalf};

use std::sync::Arc;

use crate::connection::{Connection, Way};
use crate::endpoint;
use crate::error::{Error, Result};
use crate::name::PipeName;
use crate::options::{HandleInheritability, PipeDirection};
use crate::stream::{Kind, PipeStream, State};
use crate::sys::{self, OwnedDescriptor};
use crate::transport::Transport;
use crate::wait::Control;

/// Makes a connection of a transport that has just been made.
fn connection_over(stream: &PipeStream, transport: Transport) -> Result<Arc<Connection>> {
    let control = Arc::clone(stream.control());
    let path = stream.path().to_owned();
    let connection = Connection::new(transport, stream.direction(), control, path);
    stream.prepare(&connection)?;
    Ok(Arc::new(connection))
}

/// A connected stream over a handle that the caller owns, and the name that it goes by.
fn connected_over(kind: Kind, handle: OwnedDescriptor, direction: PipeDirection) -> Result<(PipeStream, PipeName)> {
    let path = sys::path_of(&handle);
    let name = PipeName::parse(&path)?;
    let transport = endpoint::adopt(handle, &path, direction)?;
    let modes = (transport.transmission_mode(), transport.read_mode());
    let control = Arc::new(Control::default());
    let stream = PipeStream::new(kind, State::WaitingToConnect, control, direction, path).with_modes(modes);
    let connection = connection_over(&stream, transport)?;
    *crate::wait::lock(stream.state()) = State::Connected(connection);
    Ok((stream, name))
}

/// A duplicate of a connected stream's handle, which children inherit if they inherit the stream's own.
fn duplicate_handle(stream: &PipeStream, inheritability: HandleInheritability) -> Result<OwnedDescriptor> {
    let connection = stream.connection()?;
    let inheritable = inheritability == HandleInheritability::Inheritable;
    sys::duplicate(connection.transport().descriptor(), inheritable)
        .map_err(|error| Error::system("duplicating the handle of", stream.path(), error))
}

/// Takes the handle out of a stream.
fn into_handle(stream: PipeStream) -> Result<OwnedDescriptor> {
    let path = stream.path().to_owned();
    let taken = stream.into_connection()?.into_transport().into_descriptor();
    sys::taken(taken).map_err(|error| Error::system("taking the handle out of", &path, error))
}

/// The buffer size that a property reports: the kernel's when there is a connection, else `otherwise`.
fn buffer_size(stream: &PipeStream, way: Way, otherwise: impl FnOnce() -> Result<usize>) -> Result<usize> {
    stream.kernel_buffer_size(way)?.map_or_else(otherwise, Ok)
}
