//! What all pipe streams have in common: .NET's `PipeStream`, its states and its members.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::connection::{Connection, Ended, Way, check_direction};
use crate::error::{Error, Result};
use crate::options::{PipeDirection, PipeTransmissionMode};
use crate::sys;
use crate::wait::{Canceller, Control, lock};

/// What the four pipe streams have in common; each of them derefs to it.
///
/// It is .NET's abstract class [`PipeStream`](https://learn.microsoft.com/dotnet/api/system.io.pipes.pipestream). A function
/// that takes `&PipeStream` works for servers and clients, named and anonymous. `Read` and `Write` are implemented for
/// `&PipeStream`, so that one thread may read while another writes; calls in one direction from several threads take
/// their turns in the order in which they came.
///
/// A read that finds the end returns `Ok(0)`. A write sends everything, waiting for the other end to make room. Flushing
/// does nothing, since nothing is buffered here; [`wait_for_pipe_drain`](Self::wait_for_pipe_drain) waits for the reader.
#[derive(Debug)]
#[repr(C)]
pub struct PipeStream {
    // What each call of the only owner needs comes first and stands together: the kernel's copies push all but little out
    // of the nearest cache between two calls.
    state: Mutex<State>,
    /// A limit was set or a canceller made, so that not only the pipe ends a wait.
    endable: AtomicBool,
    direction: PipeDirection,
    control: Arc<Control>,
    kind: Kind,
    path: PathBuf,
    transmission_mode: PipeTransmissionMode,
    /// How the next connection's reads shall take what was written.
    reads_messages: AtomicBool,
}

/// Which stream this is the common part of, where that makes a difference to the members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Anonymous,
    NamedServer,
    NamedClient,
}

/// Where a stream is in its life.
///
/// .NET's `Broken` is a connected stream whose connection says that it is broken.
#[derive(Debug)]
pub(crate) enum State {
    WaitingToConnect,
    Connected(Arc<Connection>),
    Disconnected,
    Closed,
}

impl State {
    #[inline]
    fn connection(&self) -> Result<&Arc<Connection>> {
        match self {
            Self::Connected(connection) => Ok(connection),
            Self::WaitingToConnect => Err(Error::invalid_operation("Pipe hasn't been connected yet.")
                .advice("Call wait_for_connection on a server, connect on a client.")),
            Self::Disconnected => Err(Error::invalid_operation("Pipe is in a disconnected state.")),
            Self::Closed => Err(Error::closed()),
        }
    }
}

impl PipeStream {
    pub(crate) fn new(
        kind: Kind,
        state: State,
        control: Arc<Control>,
        direction: PipeDirection,
        path: PathBuf,
    ) -> Self {
        Self {
            state: Mutex::new(state),
            endable: AtomicBool::new(false),
            control,
            direction,
            kind,
            path,
            transmission_mode: PipeTransmissionMode::Byte,
            reads_messages: AtomicBool::new(false),
        }
    }

    /// Sets the transmission mode and the read mode that the stream has before it is connected.
    pub(crate) fn with_modes(self, (transmission, read): (PipeTransmissionMode, PipeTransmissionMode)) -> Self {
        Self {
            transmission_mode: transmission,
            reads_messages: AtomicBool::new(read == PipeTransmissionMode::Message),
            ..self
        }
    }

    /// Gives a new connection the read mode that was set before.
    pub(crate) fn prepare(&self, connection: &Connection) -> Result<()> {
        let wanted = self.wanted_read_mode();
        if connection.transport().read_mode() != wanted {
            let failed = |error| Error::system("setting the read mode of", &self.path, error);
            connection.transport().set_read_mode(wanted).map_err(failed)?;
        }
        Ok(())
    }

    fn wanted_read_mode(&self) -> PipeTransmissionMode {
        if self.reads_messages.load(Ordering::Acquire) {
            PipeTransmissionMode::Message
        } else {
            PipeTransmissionMode::Byte
        }
    }

    pub(crate) fn control(&self) -> &Arc<Control> {
        &self.control
    }

    pub(crate) fn state(&self) -> &Mutex<State> {
        &self.state
    }

    /// The connection, or why there is none.
    pub(crate) fn connection(&self) -> Result<Arc<Connection>> {
        lock(&self.state).connection().cloned()
    }

    /// The connection, for the one caller that owns the stream.
    #[inline]
    fn connection_mut(&mut self) -> Result<&Connection> {
        let state = self.state.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        state.connection().map(|connection| &**connection)
    }

    /// The connection, for properties that a broken pipe no longer has.
    fn unbroken_connection(&self, attempt: &str) -> Result<Arc<Connection>> {
        let connection = self.connection()?;
        if connection.is_broken() {
            Err(Error::broken().attempted_on(attempt, &self.path))
        } else {
            Ok(connection)
        }
    }

    /// Ends the connection, and leaves the stream in `next`.
    pub(crate) fn end(&self, why: Ended, next: State) {
        let previous = std::mem::replace(&mut *lock(&self.state), next);
        if let State::Connected(connection) = previous {
            connection.end(why);
        }
        self.control.wake();
    }

    /// Takes the connection out, for conversions; `Err` if it is shared.
    pub(crate) fn into_connection(self) -> Result<Connection> {
        let state = self
            .state
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let connection = Arc::clone(state.connection()?);
        drop(state);
        Arc::try_unwrap(connection).map_err(|_| Error::invalid_operation("The pipe is in use by another thread."))
    }

    /// The path of the pipe's socket, for a named pipe; `/proc/self/fd/NUMBER` or the like for one without a name.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The direction that the stream was made with.
    #[must_use]
    pub fn direction(&self) -> PipeDirection {
        self.direction
    }

    /// Whether the direction allows reading. Says nothing about the connection.
    #[must_use]
    pub fn can_read(&self) -> bool {
        self.direction.can_read()
    }

    /// Whether the direction allows writing. Says nothing about the connection.
    #[must_use]
    pub fn can_write(&self) -> bool {
        self.direction.can_write()
    }

    /// Whether the stream was connected, and has not since been disconnected, closed, or found broken by a write.
    ///
    /// As in .NET it does not look at the other side: a peer that has left shows at the next read or write.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        matches!(&*lock(&self.state), State::Connected(connection) if !connection.is_broken())
    }

    /// How the pipe carries what is written, which its server has chosen. Always [`Byte`](PipeTransmissionMode::Byte) on Unix.
    ///
    /// # Errors
    ///
    /// ObjectDisposed after closing. InvalidOperation on a client that is not connected, Broken after a failed write.
    pub fn transmission_mode(&self) -> Result<PipeTransmissionMode> {
        match self.check_property("asking for the transmission mode of")? {
            Some(connection) => Ok(connection.transport().transmission_mode()),
            None => Ok(self.transmission_mode),
        }
    }

    /// How reads take what was written: in messages on a server whose pipe carries messages, in bytes on every client, until
    /// it is [set](Self::set_read_mode).
    ///
    /// # Errors
    ///
    /// As [`transmission_mode`](Self::transmission_mode).
    pub fn read_mode(&self) -> Result<PipeTransmissionMode> {
        match self.check_property("asking for the read mode of")? {
            Some(connection) => Ok(connection.transport().read_mode()),
            None => Ok(self.wanted_read_mode()),
        }
    }

    /// Sets how reads take what was written. [`Byte`](PipeTransmissionMode::Byte) is always possible.
    ///
    /// Does not block. Source: [ReadMode](https://learn.microsoft.com/dotnet/api/system.io.pipes.pipestream.readmode).
    ///
    /// # Errors
    ///
    /// NotSupported for [`Message`](PipeTransmissionMode::Message) on a pipe that carries bytes, and as
    /// [`transmission_mode`](Self::transmission_mode).
    pub fn set_read_mode(&self, mode: PipeTransmissionMode) -> Result<()> {
        const ATTEMPT: &str = "setting the read mode of";
        let message = mode == PipeTransmissionMode::Message;
        let connection = self.check_property(ATTEMPT)?;
        let carried = connection
            .as_ref()
            .map_or(self.transmission_mode, |there| there.transport().transmission_mode());
        if message && carried == PipeTransmissionMode::Byte {
            let text = match self.kind {
                Kind::Anonymous => "Anonymous pipes do not support PipeTransmissionMode.Message ReadMode.",
                _ if sys::HAS_MESSAGES => "The pipe carries bytes, and has no messages to read.",
                _ => "Message transmission mode is not supported on this platform.",
            };
            return Err(Error::not_supported(text).attempted_on(ATTEMPT, &self.path));
        }
        if let Some(connection) = connection {
            let failed = |error| Error::system(ATTEMPT, &self.path, error);
            connection.transport().set_read_mode(mode).map_err(failed)?;
        }
        self.reads_messages.store(message, Ordering::Release);
        Ok(())
    }

    /// Whether the last read took the rest of a message. Speaks of the last read of any thread.
    ///
    /// # Errors
    ///
    /// InvalidOperation on a stream that is not connected, or that does not read messages.
    pub fn is_message_complete(&self) -> Result<bool> {
        let connection = self.unbroken_connection("asking for the rest of a message on")?;
        match connection.transport().read_mode() {
            PipeTransmissionMode::Message => Ok(connection.transport().is_message_complete()),
            PipeTransmissionMode::Byte => Err(Error::invalid_operation(
                "ReadMode is not of PipeTransmissionMode.Message.",
            )),
        }
    }

    /// The connection that a property is about. A server has its properties before the connection, a client has not.
    fn check_property(&self, attempt: &str) -> Result<Option<Arc<Connection>>> {
        let state = lock(&self.state);
        match &*state {
            State::Connected(connection) if connection.is_broken() => {
                Err(Error::broken().attempted_on(attempt, &self.path))
            }
            State::Connected(connection) => Ok(Some(Arc::clone(connection))),
            State::WaitingToConnect if self.kind == Kind::NamedClient => state.connection().cloned().map(Some),
            State::Closed => Err(Error::closed()),
            State::WaitingToConnect | State::Disconnected => Ok(None),
        }
    }

    /// The kernel's buffer size for a direction, `None` while there is no connection.
    pub(crate) fn kernel_buffer_size(&self, way: Way) -> Result<Option<usize>> {
        check_direction(self.direction, way)?;
        match &*lock(&self.state) {
            State::Connected(connection) if connection.is_broken() => {
                Err(Error::broken().attempted_on("asking for the buffer size of", &self.path))
            }
            State::Connected(connection) => {
                let direction = if way == Way::Reading {
                    PipeDirection::In
                } else {
                    PipeDirection::Out
                };
                let size = connection.transport().buffer_size(direction);
                size.map(Some)
                    .map_err(|error| Error::system("asking for the buffer size of", &self.path, error))
            }
            State::Closed => Err(Error::closed()),
            State::WaitingToConnect | State::Disconnected => Ok(None),
        }
    }

    /// Waits until the other end has read everything that was written.
    ///
    /// Blocks no longer than the [write time-out](Self::set_write_timeout); a [`Canceller`] and a disconnect end it too.
    /// What one call has waited for stays read, so that it may be called again. .NET has this on Windows only. There an end
    /// that had gone before the call is taken to have read everything, since the system does not tell. Source:
    /// [WaitForPipeDrain](https://learn.microsoft.com/dotnet/api/system.io.pipes.pipestream.waitforpipedrain).
    ///
    /// # Errors
    ///
    /// Broken if the other end left without reading all, TimedOut, Canceled, InvalidOperation without a connection,
    /// NotSupported on a stream that cannot be written.
    pub fn wait_for_pipe_drain(&self) -> Result<()> {
        self.connection()?.drain()
    }

    /// The time limit of reads; `None` waits for ever.
    #[must_use]
    pub fn read_timeout(&self) -> Option<Duration> {
        self.control.reading.limit()
    }

    /// The time limit of writes and drains; `None` waits for ever.
    #[must_use]
    pub fn write_timeout(&self) -> Option<Duration> {
        self.control.writing.limit()
    }

    /// Sets the time limit of each later read. Zero takes what is there and never waits.
    ///
    /// A read whose time is over fails with [`io::ErrorKind::TimedOut`] and has taken nothing.
    pub fn set_read_timeout(&self, limit: Option<Duration>) {
        self.endable.store(true, Ordering::Relaxed);
        self.control.reading.set_limit(limit);
    }

    /// Sets the time limit of each later write and drain. Zero writes what there is room for and never waits.
    ///
    /// A write whose time is over reports the part that it sent, or fails with [`io::ErrorKind::TimedOut`] if that is nothing.
    pub fn set_write_timeout(&self, limit: Option<Duration>) {
        self.endable.store(true, Ordering::Relaxed);
        self.control.writing.set_limit(limit);
    }

    /// A handle by which another thread ends this stream's waiting calls and leaves the connection as it is.
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        self.endable.store(true, Ordering::Relaxed);
        Canceller(Arc::clone(&self.control))
    }

    #[inline]
    pub(crate) fn read_exclusive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let endable = *self.endable.get_mut();
        match self.connection_mut() {
            Ok(connection) if endable => Ok(connection.read(buffer)?),
            Ok(connection) => Ok(connection.read_alone(buffer)?),
            Err(error) => Err(check_direction(self.direction, Way::Reading)
                .err()
                .unwrap_or(error)
                .into()),
        }
    }

    #[inline]
    pub(crate) fn write_exclusive(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let endable = *self.endable.get_mut();
        match self.connection_mut() {
            Ok(connection) if endable => Ok(connection.write(bytes)?),
            Ok(connection) => Ok(connection.write_alone(bytes)?),
            Err(error) => Err(check_direction(self.direction, Way::Writing)
                .err()
                .unwrap_or(error)
                .into()),
        }
    }

    fn read_shared(&self, buffer: &mut [u8]) -> io::Result<usize> {
        check_direction(self.direction, Way::Reading)?;
        Ok(self.connection()?.read_in_turn(buffer)?)
    }

    fn write_shared(&self, bytes: &[u8]) -> io::Result<usize> {
        check_direction(self.direction, Way::Writing)?;
        Ok(self.connection()?.write_in_turn(bytes)?)
    }

    /// Fails where .NET's `Flush` does; there is nothing to flush.
    pub(crate) fn check_flush(&self) -> io::Result<()> {
        let connection = self.connection()?;
        if self.can_write() && connection.is_broken() {
            return Err(Error::broken().attempted_on("flushing", &self.path).into());
        }
        Ok(self.control.check()?)
    }
}

impl Read for &PipeStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_shared(buffer)
    }
}

impl Write for &PipeStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_shared(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.check_flush()
    }
}

/// Gives a stream type the members of its `PipeStream` in the field `stream`, and std's reading and writing in both forms.
macro_rules! is_pipe_stream {
    ($stream:ty) => {
        impl std::ops::Deref for $stream {
            type Target = $crate::PipeStream;

            fn deref(&self) -> &$crate::PipeStream {
                &self.stream
            }
        }

        impl AsRef<$crate::PipeStream> for $stream {
            fn as_ref(&self) -> &$crate::PipeStream {
                &self.stream
            }
        }

        impl std::io::Read for $stream {
            #[inline]
            fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
                self.stream.read_exclusive(buffer)
            }
        }

        impl std::io::Write for $stream {
            #[inline]
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.stream.write_exclusive(bytes)
            }

            fn flush(&mut self) -> std::io::Result<()> {
                self.stream.check_flush()
            }
        }

        impl std::io::Read for &$stream {
            fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
                (&self.stream).read(buffer)
            }
        }

        impl std::io::Write for &$stream {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                (&self.stream).write(bytes)
            }

            fn flush(&mut self) -> std::io::Result<()> {
                self.stream.check_flush()
            }
        }
    };
}
pub(crate) use is_pipe_stream;

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::thread;

    use super::*;
    use crate::{AnonymousPipeClientStream, AnonymousPipeServerStream, ErrorKind, NamedPipeClientStream};

    /// Streams that will never read anything, and what keeps them from ending.
    fn silent_streams() -> (NamedPipeClientStream, AnonymousPipeServerStream, impl Sized) {
        let (one, other) = UnixStream::pair().unwrap();
        let named = NamedPipeClientStream::from_handle(PipeDirection::InOut, one.into()).unwrap();
        // The local copy of the client handle stands for a client that writes nothing.
        let anonymous = AnonymousPipeServerStream::new(PipeDirection::In).unwrap();
        (named, anonymous, other)
    }

    /// The only owner's calls may wait inside a system call: not when something else was set up to end them.
    #[test]
    fn a_limit_holds_for_the_only_owner() {
        fn check(stream: &mut (impl Read + AsRef<PipeStream>)) {
            stream.as_ref().set_read_timeout(Some(Duration::from_millis(1)));
            assert_eq!(stream.read(&mut [0; 8]).unwrap_err().kind(), io::ErrorKind::TimedOut);
            stream.as_ref().set_read_timeout(Some(Duration::ZERO));
            assert_eq!(stream.read(&mut [0; 8]).unwrap_err().kind(), io::ErrorKind::TimedOut);
        }
        let (mut named, mut anonymous, _other) = silent_streams();
        check(&mut named);
        check(&mut anonymous);
    }

    #[test]
    fn a_canceller_ends_calls_of_the_only_owner() {
        fn check(mut stream: impl Read + AsRef<PipeStream> + Send) {
            let canceller = stream.as_ref().canceller();
            thread::scope(|scope| {
                let reader = scope.spawn(move || stream.read(&mut [0; 8]).unwrap_err());
                // Before or in the middle of the read: both end it.
                canceller.cancel();
                let error = reader.join().unwrap();
                assert_eq!(Error::of(&error).map(Error::kind), Some(ErrorKind::Canceled));
            });
        }
        let (named, anonymous, _other) = silent_streams();
        check(named);
        check(anonymous);
    }

    #[test]
    fn the_only_owner_and_others_take_turns() {
        let server = AnonymousPipeServerStream::new(PipeDirection::Out).unwrap();
        let handle = server.get_client_handle_as_string();
        let mut client = AnonymousPipeClientStream::from_handle_string(PipeDirection::In, &handle).unwrap();
        let echo = thread::spawn(move || {
            let mut server = server;
            for number in 0..100_u8 {
                if number % 2 == 0 {
                    server.write_all(&[number]).unwrap();
                } else {
                    (&server).write_all(&[number]).unwrap();
                }
            }
        });
        for number in 0..100_u8 {
            let mut byte = [0];
            if number % 3 == 0 {
                client.read_exact(&mut byte).unwrap();
            } else {
                (&client).read_exact(&mut byte).unwrap();
            }
            assert_eq!(byte, [number]);
        }
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        echo.join().unwrap();
    }
}
