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

use crate::error::{Error, Result};
use crate::options::PipeDirection;
use crate::transport::{Transport, Unread};
use crate::wait::{Backoff, Control, Deadline, Side, Turn, Woken};

/// A connected pipe. Threads may share it; a direction's calls are put in order by the caller, with [`Connection::turn`] or by owning it alone.
#[derive(Debug)]
pub(crate) struct Connection {
    transport: Transport,
    direction: PipeDirection,
    control: Arc<Control>,
    /// Where this connection was made, for the texts of errors.
    path: PathBuf,
    /// A write has failed, or what was written will never be read.
    broken: AtomicBool,
    /// Why this side ended the connection, an [`Ended`].
    ended: AtomicU8,
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
    /// Then nothing has to end the wait but the pipe itself, unless a limit or a canceller was set up before, and the
    /// wait can be left to the system call.
    #[inline]
    pub(crate) fn read_alone(&self, buffer: &mut [u8]) -> Result<usize> {
        if self.control.only_the_pipe_ends(&self.control.reading) {
            self.read_until(buffer, None, Transport::read_waiting)
        } else {
            self.read(buffer)
        }
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
        if self.control.only_the_pipe_ends(&self.control.writing) {
            self.write_until(bytes, None, Transport::write_waiting)
        } else {
            self.write(bytes)
        }
    }

    /// The clock is asked only when there is something to wait for: a deadline of `None` starts the limit then.
    #[inline]
    fn read_until(
        &self,
        buffer: &mut [u8],
        mut deadline: Option<Deadline>,
        attempt: impl Fn(&Transport, &mut [u8]) -> io::Result<usize>,
    ) -> Result<usize> {
        self.check(Way::Reading)?;
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

    #[inline]
    fn write_until(
        &self,
        bytes: &[u8],
        mut deadline: Option<Deadline>,
        attempt: impl Fn(&Transport, &[u8]) -> io::Result<usize>,
    ) -> Result<usize> {
        self.check(Way::Writing)?;
        let mut written = 0;
        while written < bytes.len() {
            let outcome = match attempt(&self.transport, &bytes[written..]) {
                Ok(count) => {
                    written += count;
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait(Way::Writing, &mut deadline),
                Err(error) => Err(self.write_failed(error)),
            };
            match outcome {
                Ok(()) => {}
                Err(_) if written > 0 => return Ok(written),
                Err(error) => return Err(error),
            }
        }
        Ok(written)
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
        if way == Way::Writing && self.is_broken() {
            return Err(Error::broken().attempted_on("writing to", &self.path));
        }
        Ok(())
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
        self.transport.shut_down();
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
