//! A pipe of Windows, by operations that go on without their callers.
//!
//! An operation that is under way belongs to this transport, never to the call that started it. A call that waits for data
//! leaves a read of nothing behind, so that nothing is read ahead, and what arrives is there for the next call, for a look
//! ahead, and for a change of the read mode. A write leaves a copy of its bytes behind, one at a time, which the system
//! sends when there is room, also after the stream was dropped.

use std::io;
use std::os::windows::io::{AsHandle, BorrowedHandle, OwnedHandle};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::flush::Flush;
use super::{Peek, Unread, is_gone};
use crate::connection::Ended;
use crate::options::{PipeDirection, PipeTransmissionMode};
use crate::sys::{self, Event, Interest, Operation, Outcome, PipeInfo, Sending};
use crate::wait::lock;

/// The most that one write of bytes takes over from its caller.
const LARGEST_WRITE: usize = 64 * 1024;

#[derive(Debug)]
pub(crate) struct Handle {
    pipe: Arc<OwnedHandle>,
    info: PipeInfo,
    reads_messages: AtomicBool,
    /// The last read took the rest of a message.
    complete: AtomicBool,
    data: Arc<Event>,
    room: Arc<Event>,
    reading: Mutex<Reading>,
    writing: Mutex<Writing>,
    flush: Flush,
    /// This side has ended the connection. A server's pipe may by then have another client.
    ended: AtomicBool,
}

#[derive(Debug)]
struct Reading {
    operation: Operation,
    /// The read of nothing that is under way was started in this mode, which its result depends on.
    awaits_message: bool,
    /// An empty message has been taken by a read of nothing.
    empty_message: bool,
}

#[derive(Debug)]
struct Writing {
    /// `None` once it was left to itself.
    writer: Option<Writer>,
    /// How many writes have been started.
    count: u64,
}

/// How bytes are handed to the system.
#[derive(Debug)]
enum Writer {
    Sending(Sending),
    /// For a handle from elsewhere that tells somebody else of its operations. What is under way when its thread ends is lost.
    Operation(Operation),
}

impl Writer {
    fn is_pending(&self) -> bool {
        match self {
            Self::Sending(sending) => sending.is_pending(),
            Self::Operation(operation) => operation.is_pending(),
        }
    }

    fn start(&mut self, pipe: &Arc<OwnedHandle>, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Sending(sending) => sending.start(pipe, bytes),
            Self::Operation(operation) => operation.start_writing(pipe, bytes),
        }
    }

    fn finish(&mut self) -> Option<io::Result<()>> {
        match self {
            Self::Sending(sending) => sending.finish(),
            Self::Operation(operation) => operation.finish().map(|outcome| outcome.map(drop)),
        }
    }

    fn cancel(&mut self) {
        match self {
            Self::Sending(sending) => sending.cancel(),
            Self::Operation(operation) => drop(operation.cancel()),
        }
    }

    fn outlive(self) {
        if let Self::Operation(operation) = self {
            operation.outlive();
        }
    }
}

/// What a read finds before it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arrival {
    Data,
    EmptyMessage,
    End,
}

impl Handle {
    /// Takes a connected pipe that was opened for overlapped operations.
    ///
    /// What it was made like is told by whoever made it, since an end that only writes may not ask.
    pub(crate) fn new(pipe: Arc<OwnedHandle>, info: PipeInfo) -> io::Result<Self> {
        let bound = sys::bind_writes(&pipe).is_ok();
        Self::bound(pipe, info, bound)
    }

    /// As [`new`](Self::new), for a pipe that had its binding when it was made.
    pub(crate) fn bound(pipe: Arc<OwnedHandle>, info: PipeInfo, bound: bool) -> io::Result<Self> {
        // Without the right to ask, the end is one that cannot have been changed.
        let read_mode = sys::pipe_state(pipe.as_handle()).map_or(PipeTransmissionMode::Byte, |(mode, _)| mode);
        let (data, room) = (Arc::new(Event::new()?), Arc::new(Event::new()?));
        Ok(Self {
            reading: Mutex::new(Reading {
                operation: Operation::new(Arc::clone(&data)),
                awaits_message: false,
                empty_message: false,
            }),
            writing: Mutex::new(Writing {
                writer: Some(if bound {
                    Writer::Sending(Sending::new(Arc::clone(&room)))
                } else {
                    Writer::Operation(Operation::new(Arc::clone(&room)))
                }),
                count: 0,
            }),
            pipe,
            info,
            reads_messages: AtomicBool::new(read_mode == PipeTransmissionMode::Message),
            complete: AtomicBool::new(true),
            data,
            room,
            flush: Flush::default(),
            ended: AtomicBool::new(false),
        })
    }

    fn reads_messages(&self) -> bool {
        self.reads_messages.load(Ordering::Acquire)
    }

    fn carries_messages(&self) -> bool {
        self.info.mode == PipeTransmissionMode::Message
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// What there is to read, or `WouldBlock` with an operation under way that tells.
    fn arrival(&self, reading: &mut Reading) -> io::Result<Arrival> {
        loop {
            if self.has_ended() {
                return Ok(Arrival::End);
            }
            if std::mem::take(&mut reading.empty_message) && self.reads_messages() {
                return Ok(Arrival::EmptyMessage);
            }
            if !reading.operation.is_pending() {
                match sys::look_ahead(&self.pipe, &mut []) {
                    Ok(ahead) if ahead.available > 0 => return Ok(Arrival::Data),
                    Ok(_) => {}
                    Err(error) if is_gone(&error) => return Ok(Arrival::End),
                    Err(error) => return Err(error),
                }
                reading.awaits_message = self.reads_messages();
                match reading.operation.start_awaiting_data(&self.pipe) {
                    Ok(()) => {}
                    Err(error) if is_gone(&error) => return Ok(Arrival::End),
                    Err(error) => return Err(error),
                }
            }
            match reading.operation.finish() {
                None => return Err(io::ErrorKind::WouldBlock.into()),
                Some(Ok(Outcome { more: false, .. })) if reading.awaits_message => reading.empty_message = true,
                Some(Ok(_)) => return Ok(Arrival::Data),
                Some(Err(error)) if sys::was_aborted(&error) => {}
                Some(Err(error)) if is_gone(&error) => return Ok(Arrival::End),
                Some(Err(error)) => return Err(error),
            }
        }
    }

    /// Reads what has arrived; `None` if another reader of the same pipe was quicker.
    fn take(&self, reading: &mut Reading, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match reading.operation.read_now(&self.pipe, buffer) {
            // An empty message has no bytes, and to a reader of bytes it would look like the end.
            Ok(Some(Outcome { count: 0, more: false })) if !self.reads_messages() => Ok(None),
            Ok(Some(Outcome { count, more })) => {
                self.complete.store(!more, Ordering::Release);
                Ok(Some(count))
            }
            Ok(None) => Ok(None),
            Err(error) if is_gone(&error) => Ok(Some(0)),
            Err(error) => Err(error),
        }
    }

    pub(super) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut reading = lock(&self.reading);
        loop {
            match self.arrival(&mut reading)? {
                Arrival::End => return Ok(0),
                Arrival::EmptyMessage => {
                    self.complete.store(true, Ordering::Release);
                    return Ok(0);
                }
                Arrival::Data => {
                    if let Some(count) = self.take(&mut reading, buffer)? {
                        return Ok(count);
                    }
                }
            }
        }
    }

    pub(super) fn try_read_message(&self, limit: usize) -> io::Result<Option<Vec<u8>>> {
        if !self.reads_messages() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let mut reading = lock(&self.reading);
        loop {
            match self.arrival(&mut reading)? {
                Arrival::End => return Ok(None),
                Arrival::EmptyMessage => {
                    self.complete.store(true, Ordering::Release);
                    return Ok(Some(Vec::new()));
                }
                Arrival::Data => {}
            }
            // A local pipe holds a message whole, so that all of it is there with its first byte.
            let length = sys::look_ahead(&self.pipe, &mut [])?.left_in_message;
            if length > limit {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            let mut message = vec![0; length];
            let Some(mut count) = self.take(&mut reading, &mut message)? else {
                continue;
            };
            // Through a redirector the look ahead may have told less than there is. What was taken is not given back.
            while !self.complete.load(Ordering::Acquire) {
                message.resize(count + LARGEST_WRITE, 0);
                match self.take(&mut reading, &mut message[count..])? {
                    Some(0) | None => break,
                    Some(more) => count += more,
                }
            }
            message.truncate(count);
            return Ok(Some(message));
        }
    }

    /// Hands bytes to the system, unless those of an earlier call still wait for room.
    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        let mut writing = lock(&self.writing);
        self.settle(&mut writing)?;
        writing.count += 1;
        let writer = writing.writer.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        writer.start(&self.pipe, bytes).map_err(broken)?;
        // What is under way is the writer's.
        writer.finish().unwrap_or(Ok(())).map_err(broken)
    }

    fn settle(&self, writing: &mut Writing) -> io::Result<()> {
        if self.has_ended() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        match &mut writing.writer {
            Some(writer) if writer.is_pending() => match writer.finish() {
                None => Err(io::ErrorKind::WouldBlock.into()),
                Some(outcome) => outcome.map_err(broken),
            },
            _ => Ok(()),
        }
    }

    /// Never waits here: the system's call could not be given a buffer of its own.
    pub(super) fn read_waiting(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.try_read(buffer)
    }

    pub(super) fn write_waiting(&self, bytes: &[u8]) -> io::Result<usize> {
        self.try_write(bytes)
    }

    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let part = if self.carries_messages() {
            bytes
        } else {
            &bytes[..bytes.len().min(LARGEST_WRITE)]
        };
        self.send(part).map(|()| part.len())
    }

    pub(super) fn try_write_message(&self, message: &[u8]) -> io::Result<()> {
        if !self.carries_messages() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        self.send(message)
    }

    pub(super) fn try_settle(&self) -> io::Result<()> {
        self.settle(&mut lock(&self.writing))
    }

    pub(super) fn transmission_mode(&self) -> PipeTransmissionMode {
        self.info.mode
    }

    pub(super) fn read_mode(&self) -> PipeTransmissionMode {
        mode(self.reads_messages())
    }

    pub(super) fn set_read_mode(&self, mode: PipeTransmissionMode) -> io::Result<()> {
        let mut reading = lock(&self.reading);
        if reading.operation.is_pending() {
            // It may have taken an empty message in the moment before it was given up.
            let outcome = reading.operation.cancel();
            reading.empty_message |= reading.awaits_message && matches!(outcome, Ok(Outcome { more: false, .. }));
        }
        sys::set_pipe_read_mode(&self.pipe, mode)?;
        self.reads_messages
            .store(mode == PipeTransmissionMode::Message, Ordering::Release);
        Ok(())
    }

    pub(super) fn is_message_complete(&self) -> bool {
        self.complete.load(Ordering::Acquire)
    }

    pub(super) fn peek(&self, buffer: &mut [u8]) -> io::Result<Peek> {
        let ahead = sys::look_ahead(&self.pipe, buffer).map_err(broken)?;
        Ok(Peek {
            read: ahead.read,
            available: ahead.available,
            left_in_message: if self.carries_messages() {
                ahead.left_in_message
            } else {
                0
            },
        })
    }

    pub(super) fn readable(&self) -> Interest<'_> {
        self.data.interest()
    }

    pub(super) fn writable(&self) -> Interest<'_> {
        self.room.interest()
    }

    /// An end that had gone before this began is taken to have read everything: the system does not tell.
    pub(super) fn unread(&self) -> io::Result<Unread> {
        let count = {
            let mut writing = lock(&self.writing);
            match self.settle(&mut writing) {
                Ok(()) => writing.count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Unread::Something),
                Err(error) if is_gone(&error) => return Ok(Unread::Abandoned),
                Err(error) => return Err(error),
            }
        };
        self.flush.unread(&self.pipe, count)
    }

    /// A server that disconnects takes the pipe away from its client, with all that was not read. A closed end goes when
    /// nothing uses it any more, and leaves to the other side what it had written.
    pub(super) fn end(&self, why: Ended) {
        self.ended.store(true, Ordering::Release);
        // Whoever holds a lock looked before the line above; whoever comes later finds the end.
        let _ = lock(&self.reading).operation.cancel();
        let mut writing = lock(&self.writing);
        if why == Ended::Closed || !self.info.is_server {
            if let Some(writer) = writing.writer.take() {
                writer.outlive();
            }
            return;
        }
        if let Some(writer) = &mut writing.writer {
            writer.cancel();
        }
        // It can only fail if the pipe has no client any more.
        let _ = sys::disconnect(&self.pipe);
    }

    pub(super) fn buffer_size(&self, direction: PipeDirection) -> io::Result<usize> {
        Ok(self.info.buffer_size(direction))
    }

    /// How many instances the pipe has.
    pub(crate) fn instances(&self) -> io::Result<u32> {
        sys::pipe_state(self.pipe.as_handle()).map(|(_, instances)| instances)
    }

    pub(super) fn descriptor(&self) -> BorrowedHandle<'_> {
        self.pipe.as_handle()
    }

    pub(super) fn into_descriptor(self) -> io::Result<OwnedHandle> {
        let pipe = Arc::clone(&self.pipe);
        drop(self);
        Arc::try_unwrap(pipe).or_else(|pipe| pipe.try_clone())
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Some(writer) = lock(&self.writing).writer.take() {
            writer.outlive();
        }
    }
}

fn mode(messages: bool) -> PipeTransmissionMode {
    if messages {
        PipeTransmissionMode::Message
    } else {
        PipeTransmissionMode::Byte
    }
}

/// Gives the errors that mean that the other end has gone one kind.
fn broken(error: io::Error) -> io::Error {
    if is_gone(&error) {
        io::Error::new(io::ErrorKind::BrokenPipe, error)
    } else {
        error
    }
}
