//! Anonymous pipes of Unix: pipes of the kernel.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::invalid_handle;
use crate::error::{Error, Result};
use crate::options::{HandleInheritability, PipeDirection};
use crate::sys::{self, DescriptorKind};
use crate::transport::{Fifo, Socket, Transport};

/// Makes a pipe: the server's end, which has this direction, and the client's handle.
pub(super) fn make(
    direction: PipeDirection,
    buffer_size: usize,
    inheritability: HandleInheritability,
) -> io::Result<(Transport, OwnedFd)> {
    let (reader, writer) = sys::pipe()?;
    if buffer_size > 0 {
        // Refusals are no errors: the size is a wish (the same in .NET).
        let _ = sys::set_pipe_size(writer.as_fd(), buffer_size);
    }
    let (own, client) = if direction == PipeDirection::In {
        (reader, writer)
    } else {
        (writer, reader)
    };
    if inheritability == HandleInheritability::Inheritable {
        sys::set_inheritable(client.as_fd(), true)?;
    }
    Ok((Transport::Fifo(Fifo::own(own)?), client))
}

/// Checks that a descriptor from elsewhere is an end of a pipe, or a socket, of the direction asked for.
pub(super) fn check_end(
    fd: BorrowedFd<'_>,
    direction: PipeDirection,
    parameter: &'static str,
) -> Result<DescriptorKind> {
    let kind = sys::descriptor_kind(fd).map_err(|error| invalid_handle().with_source(error))?;
    match kind {
        DescriptorKind::Pipe => {
            let (readable, writable) = sys::access(fd).map_err(|error| invalid_handle().with_source(error))?;
            let (fits, end, other) = if direction == PipeDirection::In {
                (readable, "writing", "Out")
            } else {
                (writable, "reading", "In")
            };
            if !fits {
                return Err(Error::argument(parameter, "The handle is the wrong end of the pipe.")
                    .advice(format!("It is the pipe's {end} end: use the direction {other}.")));
            }
        }
        DescriptorKind::Socket if sys::is_unix_stream(fd) => {}
        DescriptorKind::Socket | DescriptorKind::Other => {
            return Err(invalid_handle().advice("It is open, but is neither a pipe nor a Unix stream socket."));
        }
    }
    Ok(kind)
}

/// Makes a transport of a descriptor from elsewhere, which is checked.
pub(super) fn transport_of(fd: OwnedFd, direction: PipeDirection, parameter: &'static str) -> Result<Transport> {
    if check_end(fd.as_fd(), direction, parameter)? == DescriptorKind::Pipe {
        return Ok(Transport::Fifo(Fifo::shared(fd)));
    }
    let socket = Socket::new(fd);
    socket
        .restrict(direction)
        .map_err(|error| invalid_handle().with_source(error))?;
    Ok(Transport::Socket(socket))
}
