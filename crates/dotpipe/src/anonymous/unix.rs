//! Anonymous pipes of Unix: pipes of the kernel.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use crate::error::{Error, ErrorKind, Result};
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
pub(super) fn transport_of(fd: OwnedFd, direction: PipeDirection, parameter: &'static str) -> Result<Transport> {
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
