//! The client's end of a named pipe.

use std::ffi::{OsStr, OsString};
use std::sync::Arc;
use std::time::Duration;

use super::split::{self, ReadHalf, WriteHalf};
use crate::connection::{Ended, Way};
use crate::endpoint::{self, ServerPolicy, Wanted};
use crate::error::{Error, Result};
use crate::name::PipeName;
use crate::options::{HandleInheritability, PipeDirection, PipeOptions, TokenImpersonationLevel};
use crate::stream::{Kind, PipeStream, State, is_pipe_stream};
use crate::sys::OwnedDescriptor;
use crate::wait::{Control, Deadline, lock};

/// The client's end of a named pipe.
///
/// ```no_run
/// use std::io::{BufRead, BufReader, Write};
/// use std::time::Duration;
/// use dotpipe::NamedPipeClientStream;
///
/// let mut client = NamedPipeClientStream::new("testpipe")?;
/// client.connect_timeout(Duration::from_secs(5))?;
/// let mut line = String::new();
/// BufReader::new(&client).read_line(&mut line)?;
/// writeln!(client, "Client received: {line}")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A client accepts only servers of its own user or root, since anybody may create a name first in a folder like `/tmp`;
/// [`any_server_user`](NamedPipeClientBuilder::any_server_user) lifts that. .NET does not look. Source:
/// [NamedPipeClientStream](https://learn.microsoft.com/dotnet/api/system.io.pipes.namedpipeclientstream).
#[derive(Debug)]
pub struct NamedPipeClientStream {
    stream: PipeStream,
    name: PipeName,
    policy: ServerPolicy,
    impersonation_level: TokenImpersonationLevel,
    inheritability: HandleInheritability,
}

is_pipe_stream!(NamedPipeClientStream);

/// Choices for a [`NamedPipeClientStream`]; see [`builder`](NamedPipeClientStream::builder).
#[derive(Clone, Debug)]
#[must_use]
pub struct NamedPipeClientBuilder {
    name: OsString,
    server_name: Option<String>,
    direction: PipeDirection,
    options: PipeOptions,
    impersonation_level: TokenImpersonationLevel,
    inheritability: HandleInheritability,
    any_server_user: bool,
}

impl NamedPipeClientBuilder {
    /// The machine of the server, `.` for this one. To be used with a plain name, not one that names a machine itself.
    pub fn server_name(mut self, server: &str) -> Self {
        self.server_name = Some(server.to_owned());
        self
    }

    /// Which way bytes flow, seen from the client. `InOut` at first.
    pub fn direction(mut self, direction: PipeDirection) -> Self {
        self.direction = direction;
        self
    }

    /// Further options. None at first.
    pub fn options(mut self, options: PipeOptions) -> Self {
        self.options = options;
        self
    }

    /// How far the server may act in the client's name. `None` at first.
    pub fn impersonation_level(mut self, level: TokenImpersonationLevel) -> Self {
        self.impersonation_level = level;
        self
    }

    /// Whether children inherit the handle of the connection. They do not at first.
    pub fn inheritability(mut self, inheritability: HandleInheritability) -> Self {
        self.inheritability = inheritability;
        self
    }

    /// Accepts a server whichever user runs it.
    pub fn any_server_user(mut self) -> Self {
        self.any_server_user = true;
        self
    }

    /// Makes the stream, not yet connected.
    ///
    /// # Errors
    ///
    /// Argument and ArgumentOutOfRange for a name that cannot be, and for an option that clients do not have; NotSupported for
    /// a name on another machine.
    pub fn create(self) -> Result<NamedPipeClientStream> {
        let name = match &self.server_name {
            Some(server) => PipeName::with_server(server, &self.name)?,
            None => PipeName::parse(&self.name)?,
        };
        self.options
            .check(PipeOptions::all() - PipeOptions::FIRST_PIPE_INSTANCE)?;
        let policy = if self.options.contains(PipeOptions::CURRENT_USER_ONLY) {
            ServerPolicy::Own
        } else if self.any_server_user {
            ServerPolicy::Any
        } else {
            ServerPolicy::OwnOrRoot
        };
        let path = name.path()?;
        Ok(NamedPipeClientStream {
            stream: PipeStream::new(
                Kind::NamedClient,
                State::WaitingToConnect,
                Arc::new(Control::default()),
                self.direction,
                path,
            ),
            name,
            policy,
            impersonation_level: self.impersonation_level,
            inheritability: self.inheritability,
        })
    }
}

impl NamedPipeClientStream {
    /// Makes an unconnected client for both directions. `name` may have any form that [`PipeName`] reads.
    ///
    /// # Errors
    ///
    /// As [`create`](NamedPipeClientBuilder::create).
    pub fn new(name: impl AsRef<OsStr>) -> Result<Self> {
        Self::builder(name).create()
    }

    /// Starts a list of choices for a client of a name.
    pub fn builder(name: impl AsRef<OsStr>) -> NamedPipeClientBuilder {
        NamedPipeClientBuilder {
            name: name.as_ref().to_owned(),
            server_name: None,
            direction: PipeDirection::InOut,
            options: PipeOptions::NONE,
            impersonation_level: TokenImpersonationLevel::None,
            inheritability: HandleInheritability::None,
            any_server_user: false,
        }
    }

    /// Makes a connected client stream from the handle of a named pipe: a Unix stream socket, on Windows a pipe.
    ///
    /// # Errors
    ///
    /// Io for a handle of something else.
    pub fn from_handle(direction: PipeDirection, handle: OwnedDescriptor) -> Result<Self> {
        let (stream, name) = super::connected_over(Kind::NamedClient, handle, direction)?;
        Ok(Self {
            stream,
            name,
            policy: ServerPolicy::default(),
            impersonation_level: TokenImpersonationLevel::None,
            inheritability: HandleInheritability::None,
        })
    }

    /// The name of the pipe.
    #[must_use]
    pub fn name(&self) -> &PipeName {
        &self.name
    }

    /// How far the server may act in the client's name, as asked for.
    #[must_use]
    pub fn impersonation_level(&self) -> TokenImpersonationLevel {
        self.impersonation_level
    }

    /// Connects, waiting for the server for as long as it takes.
    ///
    /// Waits for a missing server at next to no cost, and for room where a server's queue is full. A server that exists queues
    /// its clients: the connection stands, and may be written to, before the server has waited for it. A
    /// [`Canceller`](crate::Canceller) and [`close`](Self::close) end the wait. A stream found broken may connect again.
    ///
    /// # Errors
    ///
    /// InvalidOperation if the stream is connected; UnauthorizedAccess, at once, if this user may not connect or the server is
    /// neither this user's nor root's; Canceled; ObjectDisposed; Io for other failures of the system.
    pub fn connect(&self) -> Result<()> {
        self.connect_until(Deadline::NEVER)
    }

    /// As [`connect`](Self::connect), but no longer than `limit`. Zero tries once, and never waits.
    ///
    /// # Errors
    ///
    /// TimedOut, and as [`connect`](Self::connect).
    pub fn connect_timeout(&self, limit: Duration) -> Result<()> {
        self.connect_until(Deadline::after(limit))
    }

    fn connect_until(&self, deadline: Deadline) -> Result<()> {
        let Some(_turn) = self.stream.control().connecting.take(deadline) else {
            return Err(Error::timed_out()
                .attempted_on("connecting to", self.stream.path())
                .advice("Another thread connects the same stream."));
        };
        let ended = || may_connect(&lock(self.stream.state()));
        let wanted = Wanted {
            path: self.stream.path(),
            policy: self.policy,
            direction: self.stream.direction(),
            impersonation_level: self.impersonation_level,
            inheritability: self.inheritability,
        };
        let transport = endpoint::connect(&wanted, self.stream.control(), deadline, ended)?;
        let connection = super::connection_over(&self.stream, transport)?;
        let mut state = lock(self.stream.state());
        may_connect(&state)?;
        *state = State::Connected(connection);
        Ok(())
    }

    /// Closes the stream as dropping it does, but from any thread: .NET's `Dispose`.
    ///
    /// Pending calls end, and later ones fail with [`ErrorKind::ObjectDisposed`](crate::ErrorKind::ObjectDisposed).
    pub fn close(&self) {
        self.stream.end(Ended::Closed, State::Closed);
    }

    /// How many instances of the pipe the server's process has now.
    ///
    /// # Errors
    ///
    /// InvalidOperation without a connection; NotSupported if the server does not tell: it is no dotpipe server, or another user's.
    pub fn number_of_server_instances(&self) -> Result<u32> {
        let connection = self.stream.connection()?;
        endpoint::instances(connection.transport(), self.stream.path())
    }

    /// The size of the kernel's buffer for what the server writes, in bytes.
    ///
    /// # Errors
    ///
    /// InvalidOperation without a connection, NotSupported on a client that only writes, Broken after a failed write.
    pub fn in_buffer_size(&self) -> Result<usize> {
        super::buffer_size(&self.stream, Way::Reading, || Err(self.not_connected()))
    }

    /// The size of the kernel's buffer for what the client writes, in bytes.
    ///
    /// # Errors
    ///
    /// InvalidOperation without a connection, NotSupported on a client that only reads, Broken after a failed write.
    pub fn out_buffer_size(&self) -> Result<usize> {
        super::buffer_size(&self.stream, Way::Writing, || Err(self.not_connected()))
    }

    fn not_connected(&self) -> Error {
        self.stream.connection().err().unwrap_or_else(Error::closed)
    }

    /// A duplicate of the connection's handle. It shares the connection: what one reads the other does not see.
    ///
    /// It is as [inheritable](HandleInheritability) as the stream: the number of an inheritable one may be told to a child.
    ///
    /// # Errors
    ///
    /// InvalidOperation without a connection, Io if the process has no descriptor left.
    pub fn safe_pipe_handle(&self) -> Result<OwnedDescriptor> {
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

fn may_connect(state: &State) -> Result<()> {
    match state {
        State::Connected(connection) if !connection.is_broken() => {
            Err(Error::invalid_operation("Already in a connected state."))
        }
        State::Closed => Err(Error::closed()),
        _ => Ok(()),
    }
}

impl TryFrom<OwnedDescriptor> for NamedPipeClientStream {
    type Error = Error;

    /// Makes a connected stream for both directions; see [`from_handle`](Self::from_handle).
    fn try_from(handle: OwnedDescriptor) -> Result<Self> {
        Self::from_handle(PipeDirection::InOut, handle)
    }
}

impl TryFrom<NamedPipeClientStream> for OwnedDescriptor {
    type Error = Error;

    /// Takes the connection's handle out.
    fn try_from(client: NamedPipeClientStream) -> Result<Self> {
        super::into_handle(client.stream)
    }
}
