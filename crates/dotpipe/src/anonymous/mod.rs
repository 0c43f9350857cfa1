//! Anonymous pipes: one direction, between a parent and its child.

mod client;
mod command;
mod handle;
mod server;

pub use client::AnonymousPipeClientStream;
pub use command::CommandExt;
pub use server::{AnonymousPipeServerBuilder, AnonymousPipeServerStream};

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use crate::connection::Connection;
use crate::error::{Error, ErrorKind, Result};
use crate::options::PipeDirection;
use crate::stream::{Kind, PipeStream, State};
use crate::sys::{self, DescriptorKind};
use crate::transport::{Fifo, Socket, Transport};
use crate::wait::Control;

/// Refuses the direction that anonymous pipes do not have, before anything else is looked at.
fn check_direction(direction: PipeDirection) -> Result<()> {
    if direction == PipeDirection::InOut {
        return Err(Error::not_supported("Anonymous pipes can only be in one direction.")
            .advice("Use two anonymous pipes, or a named pipe."));
    }
    Ok(())
}

/// A stream over a transport; anonymous streams are connected from the start.
///
/// The connection stands beside the stream so that it can be borrowed: it never changes while the stream lives.
fn connected(transport: Transport, direction: PipeDirection) -> (PipeStream, Arc<Connection>) {
    let path = PathBuf::from(format!("/proc/self/fd/{}", sys::number(transport.as_fd())));
    let control = Arc::new(Control::default());
    let connection = Arc::new(Connection::new(
        transport,
        direction,
        Arc::clone(&control),
        path.clone(),
    ));
    (
        PipeStream::new(
            Kind::Anonymous,
            State::Connected(Arc::clone(&connection)),
            control,
            direction,
            path,
        ),
        connection,
    )
}

/// Checks that a descriptor from elsewhere is an end of a pipe, or a socket, of the direction asked for.
fn transport_of(fd: OwnedFd, direction: PipeDirection, parameter: &'static str) -> Result<Transport> {
    let invalid = || Error::new(ErrorKind::Io, "Invalid pipe handle.");
    match sys::descriptor_kind(fd.as_fd()).map_err(|error| invalid().with_source(error))? {
        DescriptorKind::Pipe => {
            let (readable, writable) = sys::access(fd.as_fd()).map_err(|error| invalid().with_source(error))?;
            let fits = if direction == PipeDirection::In {
                readable
            } else {
                writable
            };
            if !fits {
                let (end, other) = if direction == PipeDirection::In {
                    ("writing", "Out")
                } else {
                    ("reading", "In")
                };
                return Err(Error::argument(parameter, "The handle is the wrong end of the pipe.")
                    .advice(format!("It is the pipe's {end} end: use the direction {other}.")));
            }
            Ok(Transport::Fifo(Fifo::shared(fd)))
        }
        DescriptorKind::Socket if sys::is_unix_stream(fd.as_fd()) => {
            let socket = Socket::new(fd);
            socket
                .restrict(direction)
                .map_err(|error| invalid().with_source(error))?;
            Ok(Transport::Socket(socket))
        }
        DescriptorKind::Socket | DescriptorKind::Other => {
            Err(invalid().advice("It is open, but is neither a pipe nor a Unix stream socket."))
        }
    }
}

/// Takes the descriptor back out of a stream, in blocking mode.
fn into_fd(stream: PipeStream, connection: Arc<Connection>) -> OwnedFd {
    drop(stream);
    match Arc::try_unwrap(connection) {
        Ok(connection) => connection.into_transport().into_fd(),
        Err(_) => unreachable!("an anonymous stream shares its connection only with its own state"),
    }
}

fn borrowed(connection: &Connection) -> BorrowedFd<'_> {
    connection.transport().as_fd()
}
