//! The server's end of a named pipe.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use super::split::{self, ReadHalf, WriteHalf};
use crate::connection::{Ended, Way};
use crate::endpoint::{Instance, Instances};
use crate::error::{Error, ErrorKind, Result};
use crate::identity::ClientIdentity;
use crate::name::PipeName;
use crate::options::{HandleInheritability, PipeDirection, PipeOptions, PipeTransmissionMode, check_buffer_size};
use crate::security::PipeSecurity;
use crate::stream::{Kind, PipeStream, State, is_pipe_stream};
use crate::sys;
use crate::wait::{Control, Deadline, lock};
use std::sync::{Arc, Mutex};

/// One server instance of a named pipe: waits for a client, talks with it, and may then wait for the next.
///
/// ```no_run
/// use std::io::{BufRead, BufReader, Write};
/// use dotpipe::NamedPipeServerStream;
///
/// let mut server = NamedPipeServerStream::new("testpipe")?;
/// server.wait_for_connection()?;
/// println!("Client connected. {}", server.get_impersonation_user_name()?);
/// writeln!(server, "hello")?;
/// let mut reply = String::new();
/// BufReader::new(&server).read_line(&mut reply)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The instances of a name share its listening socket; the process that created the first owns the name until the last
/// is dropped. Another process is refused with [`ErrorKind::InstancesBusy`](crate::ErrorKind::InstancesBusy), whether the
/// owner is a dotpipe or a .NET server. Only processes of the same user and root can connect, unless a [`PipeSecurity`]
/// lets others in. Dropping a server closes its connection and removes the socket if it is still this server's.
/// Source: [NamedPipeServerStream](https://learn.microsoft.com/dotnet/api/system.io.pipes.namedpipeserverstream).
#[derive(Debug)]
pub struct NamedPipeServerStream {
    stream: PipeStream,
    name: PipeName,
    /// `None` for a stream that was made from a handle, and after closing.
    instance: Mutex<Option<Arc<Instance>>>,
    in_buffer_size: usize,
    out_buffer_size: usize,
    inheritability: HandleInheritability,
}

is_pipe_stream!(NamedPipeServerStream);

/// Choices for a [`NamedPipeServerStream`]; see [`builder`](NamedPipeServerStream::builder).
#[derive(Clone, Debug)]
#[must_use]
pub struct NamedPipeServerBuilder {
    name: std::ffi::OsString,
    direction: PipeDirection,
    max_instances: i32,
    mode: PipeTransmissionMode,
    options: PipeOptions,
    in_buffer_size: usize,
    out_buffer_size: usize,
    security: Option<PipeSecurity>,
    inheritability: HandleInheritability,
}

impl NamedPipeServerBuilder {
    /// Which way bytes flow, seen from the server. `InOut` at first.
    pub fn direction(mut self, direction: PipeDirection) -> Self {
        self.direction = direction;
        self
    }

    /// How many instances the name may have: 1 to 254, or [`MAX_ALLOWED_SERVER_INSTANCES`](NamedPipeServerStream::MAX_ALLOWED_SERVER_INSTANCES)
    /// for any number. 1 at first. The first instance's choice holds for the name.
    pub fn max_number_of_server_instances(mut self, max: i32) -> Self {
        self.max_instances = max;
        self
    }

    /// Whether the pipe carries bytes or messages. `Byte` at first.
    pub fn transmission_mode(mut self, mode: PipeTransmissionMode) -> Self {
        self.mode = mode;
        self
    }

    /// Further options. None at first.
    pub fn options(mut self, options: PipeOptions) -> Self {
        self.options = options;
        self
    }

    /// The wish for a size of the kernel's buffer for what clients write, in bytes; 0 leaves the choice to the system.
    ///
    /// Linux doubles the size and limits it (`SO_RCVBUF`, `socket(7)`).
    pub fn in_buffer_size(mut self, bytes: usize) -> Self {
        self.in_buffer_size = bytes;
        self
    }

    /// The wish for a size of the kernel's buffer for what the server writes, in bytes; 0 leaves the choice to the system.
    ///
    /// Linux doubles the size and limits it (`SO_SNDBUF`, `socket(7)`).
    pub fn out_buffer_size(mut self, bytes: usize) -> Self {
        self.out_buffer_size = bytes;
        self
    }

    /// Who may connect. The server's own user and root at first. All instances of a name must agree.
    pub fn security(mut self, security: PipeSecurity) -> Self {
        self.security = Some(security);
        self
    }

    /// Whether children inherit the handle of a connection. They do not at first.
    pub fn inheritability(mut self, inheritability: HandleInheritability) -> Self {
        self.inheritability = inheritability;
        self
    }

    /// Creates the instance, and the name with it if this is the first.
    ///
    /// Does not wait. From then on clients can connect; they are queued until an instance waits for them.
    ///
    /// # Errors
    ///
    /// Argument and ArgumentOutOfRange for a name or number that cannot be; NotSupported for a remote name and, on this
    /// system, for [`Message`](PipeTransmissionMode::Message); InstancesBusy if all instances exist already or another
    /// process has the name; UnauthorizedAccess if the name exists against
    /// [`FIRST_PIPE_INSTANCE`](PipeOptions::FIRST_PIPE_INSTANCE), or another user's folder or socket is in the way; Io if
    /// something else than a socket is there, and for the system's failures.
    pub fn create(self) -> Result<NamedPipeServerStream> {
        let name = PipeName::parse(&self.name)?;
        self.options.check(PipeOptions::all())?;
        check_buffer_size("inBufferSize", self.in_buffer_size)?;
        check_buffer_size("outBufferSize", self.out_buffer_size)?;
        let max = match self.max_instances {
            NamedPipeServerStream::MAX_ALLOWED_SERVER_INSTANCES => None,
            1..=254 => Some(self.max_instances.unsigned_abs()),
            _ => {
                return Err(Error::out_of_range(
                    "maxNumberOfServerInstances",
                    "maxNumberOfServerInstances must either be a value between 1 and 254, or MAX_ALLOWED_SERVER_INSTANCES (to obtain the maximum number allowed by system resources).",
                ));
            }
        };
        let security = match (self.options.contains(PipeOptions::CURRENT_USER_ONLY), self.security) {
            (true, Some(_)) => {
                return Err(Error::argument(
                    "pipeSecurity",
                    "A pipe security and CURRENT_USER_ONLY exclude each other.",
                )
                .advice("Leave one of them out."));
            }
            (true, None) => PipeSecurity::strictly_current_user(),
            (false, security) => security.unwrap_or_default(),
        };
        if self.mode == PipeTransmissionMode::Message {
            return Err(
                Error::not_supported("Message transmission mode is not supported on this platform.")
                    .attempted(format!("creating {name}"))
                    .advice("Use PipeTransmissionMode::Byte."),
            );
        }
        // A server must find its socket again after the process has changed its folder.
        let path = std::path::absolute(name.socket_path()?)
            .map_err(|error| Error::new(ErrorKind::Io, "The current folder cannot be told.").with_source(error))?;
        let first = self.options.contains(PipeOptions::FIRST_PIPE_INSTANCE);
        let instance = Instance::create(
            &path,
            Instances {
                max,
                first,
                security,
                direction: self.direction,
                mode: self.mode,
            },
        )?;
        Ok(NamedPipeServerStream {
            stream: PipeStream::new(
                Kind::NamedServer,
                State::WaitingToConnect,
                Arc::new(Control::default()),
                self.direction,
                path,
            ),
            name,
            instance: Mutex::new(Some(Arc::new(instance))),
            in_buffer_size: self.in_buffer_size,
            out_buffer_size: self.out_buffer_size,
            inheritability: self.inheritability,
        })
    }
}

impl NamedPipeServerStream {
    /// Any number of instances, for [`max_number_of_server_instances`](NamedPipeServerBuilder::max_number_of_server_instances).
    pub const MAX_ALLOWED_SERVER_INSTANCES: i32 = -1;

    /// Creates the only instance of a name, for both directions. `name` may have any form that [`PipeName`] reads.
    ///
    /// # Errors
    ///
    /// As [`create`](NamedPipeServerBuilder::create).
    pub fn new(name: impl AsRef<OsStr>) -> Result<Self> {
        Self::builder(name).create()
    }

    /// Starts a list of choices for an instance of a name.
    pub fn builder(name: impl AsRef<OsStr>) -> NamedPipeServerBuilder {
        NamedPipeServerBuilder {
            name: name.as_ref().to_owned(),
            direction: PipeDirection::InOut,
            max_instances: 1,
            mode: PipeTransmissionMode::Byte,
            options: PipeOptions::NONE,
            in_buffer_size: 0,
            out_buffer_size: 0,
            security: None,
            inheritability: HandleInheritability::None,
        }
    }

    /// Makes a connected server stream from a Unix stream socket. It can talk and disconnect, but not wait for a client.
    ///
    /// # Errors
    ///
    /// Io for a descriptor that is no Unix stream socket.
    pub fn from_handle(direction: PipeDirection, handle: OwnedFd) -> Result<Self> {
        let (stream, name) = super::connected_over(Kind::NamedServer, handle, direction)?;
        let inheritability = HandleInheritability::None;
        Ok(Self {
            stream,
            name,
            instance: Mutex::new(None),
            in_buffer_size: 0,
            out_buffer_size: 0,
            inheritability,
        })
    }

    /// The name of the pipe.
    #[must_use]
    pub fn name(&self) -> &PipeName {
        &self.name
    }

    /// Waits until a client has connected.
    ///
    /// Clients that were queued are served in their order. One that gave up while it was queued is passed over, and one that
    /// may not connect is refused, both without an end of the wait. Blocks for ever; a [`Canceller`](crate::Canceller),
    /// [`close`](Self::close) and a loss of the name end it.
    ///
    /// # Errors
    ///
    /// InvalidOperation if a client is connected already; Broken if the last client has left and
    /// [`disconnect`](Self::disconnect) was not called; NameLost if the socket's path was removed or taken over, as .NET
    /// servers do without asking (whoever queued before that is still served); Canceled; ObjectDisposed.
    pub fn wait_for_connection(&self) -> Result<()> {
        self.wait_until(Deadline::NEVER)
    }

    /// As [`wait_for_connection`](Self::wait_for_connection), but no longer than `limit`. Zero takes a client that is queued, and never waits.
    ///
    /// # Errors
    ///
    /// TimedOut, and as [`wait_for_connection`](Self::wait_for_connection).
    pub fn wait_for_connection_timeout(&self, limit: Duration) -> Result<()> {
        self.wait_until(Deadline::after(limit))
    }

    fn wait_until(&self, deadline: Deadline) -> Result<()> {
        self.check_may_wait()?;
        let Some(_turn) = self.stream.control().connecting.take(deadline) else {
            return Err(Error::timed_out()
                .attempted_on("waiting for a connection on", self.stream.path())
                .advice("Another thread waits for a connection on the same stream."));
        };
        let instance = lock(&self.instance).clone();
        let Some(instance) = instance else {
            // Another thread may have closed the stream while this one waited for its turn.
            self.check_may_wait()?;
            self.check_may_wait()?;
            return Err(Error::invalid_operation(
                "A stream made from a handle cannot wait for a connection.",
            ));
        };
        let accepted = instance.accept(self.stream.control(), deadline, || self.check_may_wait())?;
        drop(instance);
        let failed = |error| Error::system("setting the buffer sizes of", self.stream.path(), error);
        if self.in_buffer_size > 0 && self.stream.can_read() {
            sys::set_receive_buffer_size(accepted.socket.as_fd(), self.in_buffer_size).map_err(failed)?;
        }
        if self.out_buffer_size > 0 && self.stream.can_write() {
            sys::set_send_buffer_size(accepted.socket.as_fd(), self.out_buffer_size).map_err(failed)?;
        }
        let connection = super::connection_over(&self.stream, accepted.socket, self.inheritability)?;
        let mut state = lock(self.stream.state());
        may_wait(&state, &self.stream)?;
        *state = State::Connected(connection);
        Ok(())
    }

    fn check_may_wait(&self) -> Result<()> {
        may_wait(&lock(self.stream.state()), &self.stream)
    }

    /// Ends the connection, so that the next client can be waited for. What was written stays readable for the client.
    ///
    /// Pending calls of other threads on the connection fail. Does not wait for the client to read;
    /// [`wait_for_pipe_drain`](PipeStream::wait_for_pipe_drain) does.
    ///
    /// # Errors
    ///
    /// InvalidOperation if no client was ever connected, or it was disconnected already; ObjectDisposed.
    pub fn disconnect(&self) -> Result<()> {
        let mut state = lock(self.stream.state());
        match &*state {
            State::Connected(connection) => connection.end(Ended::Disconnected),
            State::WaitingToConnect => return Err(Error::invalid_operation("Pipe hasn't been connected yet.")),
            State::Disconnected => return Err(Error::invalid_operation("Already in a disconnected state.")),
            State::Closed => return Err(Error::closed()),
        }
        *state = State::Disconnected;
        Ok(())
    }

    /// Closes the stream as dropping it does, but from any thread: .NET's `Dispose`.
    ///
    /// Pending calls end, and later ones fail with [`ErrorKind::ObjectDisposed`](crate::ErrorKind::ObjectDisposed). The last
    /// instance of a name gives the name up: its socket is gone when this returns.
    pub fn close(&self) {
        self.stream.end(Ended::Closed, State::Closed);
        if let Some(instance) = lock(&self.instance).take() {
            instance.give_up();
        }
    }

    /// The log-in name of the user whose process has connected; for a user without one, the user's number.
    ///
    /// Known at once, for every impersonation level, and also after the client has left.
    ///
    /// # Errors
    ///
    /// InvalidOperation without a connection, Broken after a failed write, Io if the user database cannot be asked.
    pub fn get_impersonation_user_name(&self) -> Result<String> {
        self.client_identity().map(|client| client.user_name().to_owned())
    }

    /// Who has connected: user, groups, process and program.
    ///
    /// # Errors
    ///
    /// As [`get_impersonation_user_name`](Self::get_impersonation_user_name).
    pub fn client_identity(&self) -> Result<ClientIdentity> {
        let connection = self.stream.connection()?;
        if connection.is_broken() {
            return Err(Error::broken().attempted_on("asking for the client of", self.stream.path()));
        }
        ClientIdentity::of(connection.transport().as_fd())
            .map_err(|error| Error::system("asking for the client of", self.stream.path(), error))
    }

    /// Runs `action` with the rights of the client's user: effective user, group and supplementary groups, and no capabilities.
    ///
    /// Only this thread changes, and only while `action` runs; it is changed back also when `action` panics. Threads and
    /// processes that `action` starts keep the client's rights. If the thread cannot be changed back, the process is ended.
    ///
    /// # Errors
    ///
    /// UnauthorizedAccess, and `action` does not run, if this process may not act as other users (it needs CAP_SETUID and
    /// CAP_SETGID), or the client's user has no number here; InvalidOperation without a connection.
    pub fn run_as_client<R>(&self, action: impl FnOnce() -> R) -> Result<R> {
        let client = self.client_identity()?;
        let acting = crate::identity::impersonate(&client).map_err(|error| {
            Error::system("taking the client's identity on", self.stream.path(), error).advice(format!(
                "To act as {} this process needs the capabilities CAP_SETUID and CAP_SETGID.",
                crate::identity::user_for_text(client.uid().unwrap_or_default())
            ))
        })?;
        let result = action();
        drop(acting);
        Ok(result)
    }

    /// The size of the buffer for what the client writes, in bytes: the kernel's with a connection, else the one asked for.
    ///
    /// # Errors
    ///
    /// NotSupported on a server that only writes, ObjectDisposed, Broken after a failed write.
    pub fn in_buffer_size(&self) -> Result<usize> {
        super::buffer_size(&self.stream, Way::Reading, || Ok(self.in_buffer_size))
    }

    /// The size of the buffer for what the server writes, in bytes: the kernel's with a connection, else the one asked for.
    ///
    /// # Errors
    ///
    /// NotSupported on a server that only reads, ObjectDisposed, Broken after a failed write.
    pub fn out_buffer_size(&self) -> Result<usize> {
        super::buffer_size(&self.stream, Way::Writing, || Ok(self.out_buffer_size))
    }

    /// A duplicate of the connection's handle. It shares the connection: what one reads the other does not see.
    ///
    /// It is as [inheritable](HandleInheritability) as the stream: the number of an inheritable one may be told to a child.
    ///
    /// # Errors
    ///
    /// InvalidOperation without a connection, Io if the process has no descriptor left.
    pub fn safe_pipe_handle(&self) -> Result<OwnedFd> {
        super::duplicate_handle(&self.stream, self.inheritability)
    }

    /// Splits a connected stream into an owned reading and an owned writing half, for two threads.
    ///
    /// # Errors
    ///
    /// InvalidOperation without a connection.
    pub fn split(self) -> Result<(ReadHalf<Self>, WriteHalf<Self>)> {
        split::split(self)
    }
}

fn may_wait(state: &State, stream: &PipeStream) -> Result<()> {
    match state {
        State::WaitingToConnect | State::Disconnected => Ok(()),
        State::Connected(connection) if connection.is_broken() => Err(Error::broken()
            .attempted_on("waiting for a connection on", stream.path())
            .advice("The last client has left: call disconnect first.")),
        State::Connected(_) => Err(Error::invalid_operation("Already in a connected state.")),
        State::Closed => Err(Error::closed()),
    }
}

impl TryFrom<OwnedFd> for NamedPipeServerStream {
    type Error = Error;

    /// Makes a connected stream for both directions; see [`from_handle`](Self::from_handle).
    fn try_from(handle: OwnedFd) -> Result<Self> {
        Self::from_handle(PipeDirection::InOut, handle)
    }
}

impl TryFrom<NamedPipeServerStream> for OwnedFd {
    type Error = Error;

    /// Takes the connection's handle out and gives the name up, if this was its last instance.
    fn try_from(server: NamedPipeServerStream) -> Result<Self> {
        Ok(server.stream.into_connection()?.into_transport().into_fd())
    }
}
