//! The endpoints of Unix as the streams see them: what listens and connects here becomes a transport.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use super::{Instances, Wanted, connect as place, registry};
use crate::error::{Error, ErrorKind, Result};
use crate::options::{HandleInheritability, PipeDirection};
use crate::sys;
use crate::transport::{Socket, Transport};
use crate::wait::{Control, Deadline};

/// One server instance of a name: where its clients come from.
#[derive(Debug)]
pub(crate) struct Instance {
    shared: registry::Instance,
    direction: PipeDirection,
    inheritability: HandleInheritability,
    in_buffer_size: usize,
    out_buffer_size: usize,
}

impl Instance {
    /// Makes an instance, and takes the name with the first.
    pub(crate) fn create(path: &Path, asked: Instances) -> Result<Self> {
        Ok(Self {
            direction: asked.direction,
            inheritability: asked.inheritability,
            in_buffer_size: asked.in_buffer_size,
            out_buffer_size: asked.out_buffer_size,
            shared: registry::Instance::create(path, asked)?,
        })
    }

    /// Gives the instance up, and the name with the last one, though a thread may still be on its way out of `accept`.
    pub(crate) fn give_up(&self) {
        self.shared.give_up();
    }

    /// Lets the next client connect: here clients always can.
    pub(crate) fn listen_again(&self) {}

    /// Waits for the next client.
    pub(crate) fn accept(
        &self,
        path: &Path,
        control: &Arc<Control>,
        deadline: Deadline,
        ended: impl Fn() -> Result<()>,
    ) -> Result<Transport> {
        let socket = self.shared.accept(control, deadline, ended)?.socket;
        let failed = |error| Error::system("setting the buffer sizes of", path, error);
        if self.in_buffer_size > 0 && self.direction.can_read() {
            sys::set_receive_buffer_size(socket.as_fd(), self.in_buffer_size).map_err(failed)?;
        }
        if self.out_buffer_size > 0 && self.direction.can_write() {
            sys::set_send_buffer_size(socket.as_fd(), self.out_buffer_size).map_err(failed)?;
        }
        transport_over(socket, path, self.direction, self.inheritability)
    }
}

/// Connects to the server of a name; see [`connect`](place::connect).
pub(crate) fn connect(
    wanted: &Wanted<'_>,
    control: &Control,
    deadline: Deadline,
    ended: impl Fn() -> Result<()>,
) -> Result<Transport> {
    let socket = place::connect(wanted.path, wanted.policy, control, deadline, ended)?;
    transport_over(socket, wanted.path, wanted.direction, wanted.inheritability)
}

/// Takes over a socket that the caller owns.
pub(crate) fn adopt(socket: OwnedFd, path: &Path, direction: PipeDirection) -> Result<Transport> {
    if !sys::is_unix_stream(socket.as_fd()) {
        return Err(Error::new(ErrorKind::Io, "Invalid pipe handle.")
            .attempted_on("making a named pipe stream from", path)
            .advice("A named pipe's handle is a Unix stream socket."));
    }
    transport_over(socket, path, direction, HandleInheritability::None)
}

fn transport_over(
    socket: OwnedFd,
    path: &Path,
    direction: PipeDirection,
    inheritability: HandleInheritability,
) -> Result<Transport> {
    let failed = |error| Error::system("setting up the connection of", path, error);
    if inheritability == HandleInheritability::Inheritable {
        sys::set_inheritable(socket.as_fd(), true).map_err(failed)?;
    }
    let socket = Socket::new(socket);
    socket.restrict(direction).map_err(failed)?;
    Ok(Transport::Socket(socket))
}

/// How many instances of a name its server has. Another user's server does not say.
pub(crate) fn instances(_: &Transport, path: &Path) -> Result<u32> {
    let there = sys::entry(path).ok().flatten();
    let record = there.and_then(|there| super::folder::PrivateFolder::record_of(path, there.owner));
    let instances = record.and_then(|record| record.instances);
    instances.map(|(count, _)| count).ok_or_else(|| {
        Error::not_supported("The server does not tell how many instances it has.")
            .attempted_on("counting the server instances of", path)
            .advice("Only dotpipe servers of the same user tell.")
    })
}
