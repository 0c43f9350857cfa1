//! A pipe of Windows that was opened for operations that wait: the client's end of an anonymous pipe.
//!
//! What would wait is done by a thread of this transport's, one for each direction that is used. To wait for data it reads
//! nothing, so that nothing is read ahead.

use std::io;
use std::os::windows::io::{AsHandle, BorrowedHandle, OwnedHandle};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::flush::Flush;
use super::{Peek, Unread, is_gone};
use crate::connection::Ended;
use crate::options::{PipeDirection, PipeTransmissionMode};
use crate::sys::{self, Event, Interest};
use crate::wait::lock;

/// The most that one write takes over from its caller.
const LARGEST_WRITE: usize = 64 * 1024;

#[derive(Debug)]
pub(crate) struct Plain {
    pipe: Arc<OwnedHandle>,
    reading: Worker,
    writing: Worker,
    flush: Flush,
    writes: Mutex<u64>,
}

impl Plain {
    pub(crate) fn new(pipe: OwnedHandle) -> io::Result<Self> {
        let pipe = Arc::new(pipe);
        Ok(Self {
            reading: Worker::new(Arc::clone(&pipe))?,
            writing: Worker::new(Arc::clone(&pipe))?,
            pipe,
            flush: Flush::default(),
            writes: Mutex::default(),
        })
    }

    pub(super) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.reading.finish() {
                Progress::Running => return Err(io::ErrorKind::WouldBlock.into()),
                Progress::Finished(Err(error)) if is_gone(&error) => return Ok(0),
                Progress::Finished(Err(error)) => return Err(error),
                Progress::Finished(Ok(())) | Progress::Idle => {}
            }
            match sys::look_ahead(&self.pipe, &mut []) {
                Ok(ahead) if ahead.available > 0 => return sys::read_synchronously(&self.pipe, buffer),
                Ok(_) => self.reading.start(Job::AwaitData)?,
                Err(error) if is_gone(&error) => return Ok(0),
                Err(error) => return Err(error),
            }
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
        self.try_settle()?;
        let part = &bytes[..bytes.len().min(LARGEST_WRITE)];
        *lock(&self.writes) += 1;
        self.writing.start(Job::Write(part.to_vec()))?;
        Ok(part.len())
    }

    pub(super) fn try_settle(&self) -> io::Result<()> {
        match self.writing.finish() {
            Progress::Running => Err(io::ErrorKind::WouldBlock.into()),
            Progress::Finished(Err(error)) if is_gone(&error) => Err(io::Error::new(io::ErrorKind::BrokenPipe, error)),
            Progress::Finished(outcome) => outcome,
            Progress::Idle => Ok(()),
        }
    }

    super::carries_bytes!();

    pub(super) fn peek(&self, buffer: &mut [u8]) -> io::Result<Peek> {
        // A call on the handle would wait for the one that waits for data.
        if matches!(self.reading.finish(), Progress::Running) {
            return Ok(Peek::default());
        }
        let ahead = sys::look_ahead(&self.pipe, buffer)?;
        Ok(Peek {
            read: ahead.read,
            available: ahead.available,
            left_in_message: 0,
        })
    }

    pub(super) fn readable(&self) -> Interest<'_> {
        self.reading.shared.done.interest()
    }

    pub(super) fn writable(&self) -> Interest<'_> {
        self.writing.shared.done.interest()
    }

    pub(super) fn unread(&self) -> io::Result<Unread> {
        match self.try_settle() {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Unread::Something),
            Err(error) if is_gone(&error) => return Ok(Unread::Abandoned),
            Err(error) => return Err(error),
        }
        let writes = *lock(&self.writes);
        self.flush.unread(&self.pipe, writes)
    }

    /// The end shows when the handle is closed, and only then.
    pub(super) fn end(&self, _: Ended) {}

    pub(super) fn buffer_size(&self, direction: PipeDirection) -> io::Result<usize> {
        // An end that only writes may not ask; it tells no size.
        Ok(sys::pipe_info(self.pipe.as_handle()).map_or(0, |info| info.buffer_size(direction)))
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

/// A call that may wait.
#[derive(Debug)]
enum Job {
    AwaitData,
    Write(Vec<u8>),
}

impl Job {
    fn run(self, pipe: &OwnedHandle) -> io::Result<()> {
        match self {
            Self::AwaitData => sys::read_synchronously(pipe, &mut []).map(drop),
            Self::Write(bytes) => {
                let mut rest = &bytes[..];
                while !rest.is_empty() {
                    rest = &rest[sys::write_synchronously(pipe, rest)?..];
                }
                Ok(())
            }
        }
    }
}

/// How far a worker is.
#[derive(Debug)]
enum Progress {
    Idle,
    Running,
    Finished(io::Result<()>),
}

/// A thread that makes one call after the other, started with the first.
#[derive(Debug)]
struct Worker {
    shared: Arc<Shared>,
    pipe: Arc<OwnedHandle>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<WorkerState>,
    changed: Condvar,
    /// Set when a call has ended.
    done: Event,
}

#[derive(Debug)]
struct WorkerState {
    job: Option<Job>,
    progress: Progress,
    awaits_data: bool,
    quit: bool,
}

impl Worker {
    fn new(pipe: Arc<OwnedHandle>) -> io::Result<Self> {
        Ok(Self {
            shared: Arc::new(Shared {
                state: Mutex::new(WorkerState {
                    job: None,
                    progress: Progress::Idle,
                    awaits_data: false,
                    quit: false,
                }),
                changed: Condvar::new(),
                done: Event::new()?,
            }),
            pipe,
            thread: Mutex::default(),
        })
    }

    /// What has become of the last call; one that has ended is told once.
    fn finish(&self) -> Progress {
        let mut state = lock(&self.shared.state);
        match state.progress {
            Progress::Running => Progress::Running,
            _ => std::mem::replace(&mut state.progress, Progress::Idle),
        }
    }

    fn start(&self, job: Job) -> io::Result<()> {
        let mut thread = lock(&self.thread);
        if thread.is_none() {
            let (shared, pipe) = (Arc::clone(&self.shared), Arc::clone(&self.pipe));
            let builder = thread::Builder::new().name("dotpipe-wait".to_owned());
            *thread = Some(builder.spawn(move || work(&shared, &pipe))?);
        }
        let mut state = lock(&self.shared.state);
        self.shared.done.reset();
        state.awaits_data = matches!(job, Job::AwaitData);
        state.job = Some(job);
        state.progress = Progress::Running;
        self.shared.changed.notify_one();
        Ok(())
    }
}

fn work(shared: &Shared, pipe: &OwnedHandle) {
    let mut state = lock(&shared.state);
    loop {
        if let Some(job) = state.job.take() {
            drop(state);
            let outcome = job.run(pipe);
            state = lock(&shared.state);
            state.progress = Progress::Finished(outcome);
            shared.done.set();
        } else if state.quit {
            return;
        } else {
            state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Worker {
    /// A write that is under way goes on, and closes the pipe behind it. Waiting for data is given up.
    fn drop(&mut self) {
        let awaits_data = {
            let mut state = lock(&self.shared.state);
            state.quit = true;
            self.shared.changed.notify_one();
            state.awaits_data
        };
        let Some(thread) = lock(&self.thread).take() else {
            return;
        };
        // The thread may be on its way into the call, where cancelling does not reach it yet.
        while awaits_data && !thread.is_finished() {
            sys::cancel_synchronous(&thread);
            thread::sleep(Duration::from_millis(1));
        }
    }
}
