//! Anonymous pipes: one direction, between a parent and its child.

mod client;
mod command;
mod handle;
mod server;
#[cfg_attr(unix, path = "unix.rs")]
#[cfg_attr(windows, path = "windows.rs")]
mod system;

pub use client::AnonymousPipeClientStream;
pub use command::CommandExt;
pub use server::{AnonymousPipeServerBuilder, AnonymousPipeServerStream};

use std::sync::Arc;

use crate::connection::Connection;
use crate::error::{Error, ErrorKind, Result};
use crate::options::PipeDirection;
use crate::stream::{Kind, PipeStream, State};
use crate::sys::{self, BorrowedDescriptor};
use crate::transport::Transport;
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
    let path = sys::path_of(transport.descriptor());
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

fn invalid_handle() -> Error {
    Error::new(ErrorKind::Io, "Invalid pipe handle.")
}

/// Takes the handle back out of a stream, in blocking mode.
fn into_handle(stream: PipeStream, connection: Arc<Connection>) -> sys::Taken {
    drop(stream);
    match Arc::try_unwrap(connection) {
        Ok(connection) => connection.into_transport().into_descriptor(),
        Err(_) => unreachable!("an anonymous stream shares its connection only with its own state"),
    }
}

fn borrowed(connection: &Connection) -> BorrowedDescriptor<'_> {
    connection.transport().descriptor()
}
