//! One connection between two ends: reading, writing and draining over a transport, with waiting, limits and ends.
//!
//! From the public `read` and `write` down to the system call, all functions on the way of a stream's only owner are
//! `#[inline]`, and what is rare is kept out of them. It is not the calls that cost, but the returns: the first one after
//! a system call took 90 ns on a machine with mitigations against speculation, each further one 5 to 10, where a small
//! write to a pipe takes 210.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::options::PipeDirection;
use crate::transport::{Peek, Transport, Unread};
use crate::wait::{Backoff, Control, Deadline, Side, Turn, Woken};

/// A connected pipe. Threads may share it; a direction's calls are put in order by the caller, with [`Connection::turn`] or by owning it alone.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Connection {
    // As in `PipeStream`, what each call needs comes first.
    direction: PipeDirection,
    /// A write has failed, or what was written will never be read.
    broken: AtomicBool,
    /// Why this side ended the connection, an [`Ended`].
    ended: AtomicU8,
    transport: Transport,
    control: Arc<Control>,
    /// Where this connection was made, for the texts of errors.
    path: PathBuf,
}

/// Why this side ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Ended {
    Disconnected = 1,
    Closed = 2,
}

/// The direction of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Reading,
    Writing,
}

impl Connection {
    pub(crate) fn new(transport: Transport, direction: PipeDirection, control: Arc<Control>, path: PathBuf) -> Self {
        Self {
            transport,
            direction,
            control,
            path,
            broken: AtomicBool::new(false),
            ended: AtomicU8::new(0),
        }
    }

    pub(crate) fn transport(&self) -> &Transport {
        &self.transport
    }

    pub(crate) fn into_transport(self) -> Transport {
        self.transport
    }

    #[inline]
    pub(crate) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }

    fn side(&self, way: Way) -> &Side {
        match way {
            Way::Reading => &self.control.reading,
            Way::Writing => &self.control.writing,
        }
    }

    /// Waits for this thread's turn in a direction that several threads share.
    fn turn(&self, way: Way, deadline: Deadline) -> Result<Turn<'_>> {
        let side = self.side(way);
        side.turn
            .take(deadline)
            .ok_or_else(|| self.timed_out(way, side.limit()))
    }

    /// As [`read`](Self::read), in turn with other threads; waiting for the turn counts against the limit.
    pub(crate) fn read_in_turn(&self, buffer: &mut [u8]) -> Result<usize> {
        let deadline = Deadline::of_limit(self.side(Way::Reading).limit());
        let _turn = self.turn(Way::Reading, deadline)?;
        self.read_until(buffer, Some(deadline), Transport::try_read)
    }

    /// As [`write`](Self::write), in turn with other threads; waiting for the turn counts against the limit.
    pub(crate) fn write_in_turn(&self, bytes: &[u8]) -> Result<usize> {
        let deadline = Deadline::of_limit(self.side(Way::Writing).limit());
        let _turn = self.turn(Way::Writing, deadline)?;
        self.write_until(bytes, Some(deadline), Transport::try_write)
    }

    /// Reads what has arrived, or waits for it within the limit. `Ok(0)` is the end, and at once for an empty buffer.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> Result<usize> {
        self.read_until(buffer, None, Transport::try_read)
    }

    /// As [`read`](Self::read), for a caller that owns the stream, so that no other thread can reach it meanwhile.
    ///
    /// The caller has also seen to it that no limit and no canceller was set up before. Then nothing has to end the wait but
    /// the pipe itself, and it can be left to the system call.
    #[inline]
    pub(crate) fn read_alone(&self, buffer: &mut [u8]) -> Result<usize> {
        // Nobody else can have ended the connection, nor cancelled the call.
        self.check_direction(Way::Reading)?;
        self.take(buffer, None, Transport::read_waiting)
    }

    /// Writes all of `bytes`, waiting for room within the limit.
    ///
    /// If the limit, a cancellation or an error comes after a part was written, that part's length is the result.
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<usize> {
        self.write_until(bytes, None, Transport::try_write)
    }

    /// As [`write`](Self::write), for a caller that owns the stream; see [`read_alone`](Self::read_alone).
    #[inline]
    pub(crate) fn write_alone(&self, bytes: &[u8]) -> Result<usize> {
        self.check_direction(Way::Writing)?;
        self.check_broken()?;
        self.give(bytes, None, Transport::write_waiting)
    }

    fn read_until(
        &self,
        buffer: &mut [u8],
        deadline: Option<Deadline>,
        attempt: impl Fn(&Transport, &mut [u8]) -> io::Result<usize>,
    ) -> Result<usize> {
        self.check(Way::Reading)?;
        self.take(buffer, deadline, attempt)
    }

    /// The clock is asked only when there is something to wait for: a deadline of `None` starts the limit then.
    #[inline]
    fn take(
        &self,
        buffer: &mut [u8],
        mut deadline: Option<Deadline>,
        attempt: impl Fn(&Transport, &mut [u8]) -> io::Result<usize>,
    ) -> Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            match attempt(&self.transport, buffer) {
                // This side's own end looks like the peer's.
                Ok(0) => {
                    self.check_ended()?;
                    return Ok(0);
                }
                Ok(count) => return Ok(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait(Way::Reading, &mut deadline)?,
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                    // The peer left without reading all: nothing more can be written, but what it wrote may still be here.
                    self.broken.store(true, Ordering::Release);
                }
                Err(error) => return Err(Error::system("reading from", &self.path, error)),
            }
        }
    }

    fn write_until(
        &self,
        bytes: &[u8],
        deadline: Option<Deadline>,
        attempt: impl Fn(&Transport, &[u8]) -> io::Result<usize>,
    ) -> Result<usize> {
        self.check(Way::Writing)?;
        self.give(bytes, deadline, attempt)
    }

    #[inline]
    fn give(
        &self,
        bytes: &[u8],
        mut deadline: Option<Deadline>,
        attempt: impl Fn(&Transport, &[u8]) -> io::Result<usize>,
    ) -> Result<usize> {
        // What the transport has taken, and how much of that has certainly gone out.
        let (mut written, mut settled) = (0, 0);
        loop {
            let outcome = if written < bytes.len() {
                attempt(&self.transport, &bytes[written..]).map(|count| {
                    settled = written;
                    written += count;
                })
            } else {
                match self.transport.try_settle() {
                    Ok(()) => return Ok(written),
                    Err(error) => Err(error),
                }
            };
            match outcome {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if let Err(error) = self.wait(Way::Writing, &mut deadline) {
                        // What the transport has taken it will send: the caller must not send it again.
                        return if written > 0 { Ok(written) } else { Err(error) };
                    }
                }
                Err(error) => {
                    let error = self.write_failed(error);
                    return if settled > 0 { Ok(settled) } else { Err(error) };
                }
            }
        }
    }

    /// Reads the next message, in turn with other threads. `None` is the end.
    pub(crate) fn read_message(&self, limit: usize) -> Result<Option<Vec<u8>>> {
        let deadline = Deadline::of_limit(self.side(Way::Reading).limit());
        let _turn = self.turn(Way::Reading, deadline)?;
        self.read_message_until(limit, Some(deadline))
    }

    /// Writes a message whole or not at all, in turn with other threads.
    pub(crate) fn write_message(&self, message: &[u8]) -> Result<()> {
        let deadline = Deadline::of_limit(self.side(Way::Writing).limit());
        let _turn = self.turn(Way::Writing, deadline)?;
        self.write_message_until(message, Some(deadline))
    }

    /// Writes a message and reads the next one, with nobody else's reads and writes in between.
    pub(crate) fn transact(&self, message: &[u8], limit: usize) -> Result<Option<Vec<u8>>> {
        let deadline = Deadline::of_limit(self.side(Way::Writing).limit());
        let _writing = self.turn(Way::Writing, deadline)?;
        let _reading = self.turn(Way::Reading, Deadline::of_limit(self.side(Way::Reading).limit()))?;
        self.check(Way::Reading)?;
        self.write_message_until(message, Some(deadline))?;
        self.read_message_until(limit, None)
    }

    fn read_message_until(&self, limit: usize, mut deadline: Option<Deadline>) -> Result<Option<Vec<u8>>> {
        self.check(Way::Reading)?;
        loop {
            match self.transport.try_read_message(limit) {
                Ok(None) => {
                    self.check_ended()?;
                    return Ok(None);
                }
                Ok(message) => return Ok(message),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait(Way::Reading, &mut deadline)?,
                Err(error) => return Err(self.message_failed("reading a message from", error)),
            }
        }
    }

    fn write_message_until(&self, message: &[u8], mut deadline: Option<Deadline>) -> Result<()> {
        self.check(Way::Writing)?;
        let mut taken = false;
        loop {
            let outcome = if taken {
                match self.transport.try_settle() {
                    Ok(()) => return Ok(()),
                    Err(error) => Err(error),
                }
            } else {
                self.transport.try_write_message(message)
            };
            match outcome {
                Ok(()) => taken = true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if let Err(error) = self.wait(Way::Writing, &mut deadline) {
                        return if taken { Ok(()) } else { Err(error) };
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                    return Err(self.message_failed("writing a message to", error));
                }
                Err(error) => return Err(self.write_failed(error)),
            }
        }
    }

    fn message_failed(&self, attempt: &str, error: io::Error) -> Error {
        match error.kind() {
            io::ErrorKind::Unsupported => Error::invalid_operation("ReadMode is not of PipeTransmissionMode.Message.")
                .attempted_on(attempt, &self.path)
                .advice(
                    "Messages need a pipe of PipeTransmissionMode::Message on the server, and that read mode here.",
                ),
            io::ErrorKind::FileTooLarge => {
                Error::new(ErrorKind::MessageTooLarge, "The message is larger than the limit.")
                    .attempted_on(attempt, &self.path)
                    .advice("It is still there: allow more, or read it in parts.")
            }
            _ => Error::system(attempt, &self.path, error),
        }
    }

    /// Looks at what has arrived without taking it. Does not wait.
    pub(crate) fn peek(&self, buffer: &mut [u8]) -> Result<Peek> {
        self.check(Way::Reading)?;
        match self.transport.peek(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Peek::default()),
            outcome => outcome.map_err(|error| Error::system("looking ahead in", &self.path, error)),
        }
    }

    #[cold]
    fn write_failed(&self, error: io::Error) -> Error {
        if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) {
            if let Err(ended) = self.check_ended() {
                return ended;
            }
            self.broken.store(true, Ordering::Release);
        }
        Error::system("writing to", &self.path, error)
    }

    /// Waits until the other end has read everything that was written, within the limit for writes.
    ///
    /// The kernel gives no sign for this, so that the wait looks again and again, at least every two milliseconds.
    pub(crate) fn drain(&self) -> Result<()> {
        self.check(Way::Writing)?;
        let limit = self.side(Way::Writing).limit();
        let deadline = Deadline::of_limit(limit);
        let mut backoff = Backoff::new(Duration::from_micros(20), Duration::from_millis(2));
        loop {
            match self
                .transport
                .unread()
                .map_err(|error| Error::system("draining", &self.path, error))?
            {
                Unread::Nothing => break,
                Unread::Abandoned => {
                    self.broken.store(true, Ordering::Release);
                    self.check_ended()?;
                    break;
                }
                Unread::Something => {}
            }
            if deadline.has_passed() {
                return Err(self.timed_out(Way::Writing, limit));
            }
            backoff.wait(&self.control, deadline, || self.check_ended().is_ok())?;
            self.check_ended()?;
        }
        if self.is_broken() {
            return Err(Error::broken()
                .attempted_on("waiting until the other end has read everything written to", &self.path)
                .advice("The other end has left and what it had not read is lost."));
        }
        Ok(())
    }

    /// Fails for a direction that the stream does not have, an end that this side made, a cancellation, or a write after a break.
    #[inline]
    fn check(&self, way: Way) -> Result<()> {
        self.check_direction(way)?;
        self.check_ended()?;
        self.control.check()?;
        if way == Way::Writing {
            self.check_broken()
        } else {
            Ok(())
        }
    }

    #[inline]
    fn check_broken(&self) -> Result<()> {
        if self.is_broken() {
            Err(Error::broken().attempted_on("writing to", &self.path))
        } else {
            Ok(())
        }
    }

    /// Fails for a direction that the stream does not have.
    #[inline]
    pub(crate) fn check_direction(&self, way: Way) -> Result<()> {
        check_direction(self.direction, way)
    }

    #[inline]
    fn check_ended(&self) -> Result<()> {
        match self.ended.load(Ordering::Acquire) {
            0 => Ok(()),
            ended if ended == Ended::Closed as u8 => Err(Error::closed()),
            _ => Err(Error::invalid_operation("Pipe is in a disconnected state.")),
        }
    }

    #[inline(never)]
    fn wait(&self, way: Way, deadline: &mut Option<Deadline>) -> Result<()> {
        let limit = self.side(way).limit();
        let deadline = *deadline.get_or_insert_with(|| Deadline::of_limit(limit));
        let interest = match way {
            Way::Reading => self.transport.readable(),
            Way::Writing => self.transport.writable(),
        };
        match self
            .control
            .wait(&[interest], deadline, || self.check_ended().is_ok())?
        {
            Woken::TimedOut => Err(self.timed_out(way, limit)),
            Woken::Look => self.check_ended(),
        }
    }

    #[cold]
    fn timed_out(&self, way: Way, limit: Option<Duration>) -> Error {
        let (attempt, what) = match way {
            Way::Reading => ("reading from", "The other end has written nothing"),
            Way::Writing => ("writing to", "The other end has read nothing"),
        };
        let limit = limit.unwrap_or_default();
        Error::timed_out()
            .attempted_on(attempt, &self.path)
            .advice(format!("{what} for {limit:?}."))
    }

    /// Ends the connection from this side: the peer sees the end, and calls that wait here fail.
    pub(crate) fn end(&self, why: Ended) {
        self.ended.fetch_max(why as u8, Ordering::AcqRel);
        self.transport.end(why);
        self.control.wake();
    }
}

/// Fails for a direction that a stream does not have.
#[inline]
pub(crate) fn check_direction(direction: PipeDirection, way: Way) -> Result<()> {
    match way {
        Way::Reading if !direction.can_read() => Err(Error::not_supported("Stream does not support reading.")),
        Way::Writing if !direction.can_write() => Err(Error::not_supported("Stream does not support writing.")),
        _ => Ok(()),
    }
}
