//! Between a pipe and our stdin and stdout, both ways at once.

use std::fs::File;
use std::io::{self, Read, Write};
use std::ops::ControlFlow;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use dotpipe::{NamedPipeClientStream, NamedPipeServerStream, PipeStream};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{Shutdown, shutdown};

use crate::failure::{Attempt, Failure, Result};
use crate::signals::Kept;

/// As much as one call moves.
const CHUNK: usize = 64 * 1024;

/// The two ends of a named pipe, as far as a conversation needs them.
pub(crate) trait End: AsRef<PipeStream> + Send + Sync + 'static {
    /// A descriptor of the connection, on which its end can be seen and one direction ended.
    fn line(&self) -> dotpipe::Result<OwnedFd>;
}

impl End for NamedPipeServerStream {
    fn line(&self) -> dotpipe::Result<OwnedFd> {
        self.safe_pipe_handle()
    }
}

impl End for NamedPipeClientStream {
    fn line(&self) -> dotpipe::Result<OwnedFd> {
        self.safe_pipe_handle()
    }
}

/// Everything from stdin into the pipe, everything from the pipe to stdout. It returns when the other side has gone, or
/// when both sides have ended what they send.
///
/// # Errors
///
/// Bytes that were sent and not read by the other side are a failure, whichever side has ended first.
pub(crate) fn converse<E: End>(end: &Kept<E>) -> Result<()> {
    let pipe: &PipeStream = (**end).as_ref();
    let input = if pipe.can_write() {
        Some(Input::start(end.share())?)
    } else {
        None
    };
    if pipe.can_read() {
        to_stdout(pipe)?;
    }
    input.map_or(Ok(()), |input| input.wait(&**end))
}

/// Everything from the pipe to stdout, until its end.
pub(crate) fn to_stdout(mut pipe: &PipeStream) -> Result<()> {
    // Past std's buffer: each piece is seen as soon as it is there.
    let stdout = io::stdout().as_fd().try_clone_to_owned();
    let mut stdout = File::from(stdout.attempt(|| "cannot write to standard output".into())?);
    let mut buffer = vec![0; CHUNK];
    loop {
        match pipe.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => stdout.write_all(&buffer[..length]).map_err(Failure::of_stdout)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Failure::of_pipe(error)),
        }
    }
}

/// Everything from stdin, piece by piece, until it ends or `send` breaks it off with a reason.
pub(crate) fn from_stdin<B>(mut send: impl FnMut(&[u8]) -> ControlFlow<B>) -> Result<Option<B>> {
    let stdin = io::stdin().as_fd().try_clone_to_owned();
    let mut stdin = File::from(stdin.attempt(|| "cannot read standard input".into())?);
    let mut buffer = vec![0; CHUNK];
    loop {
        match stdin.read(&mut buffer) {
            Ok(0) => return Ok(None),
            Ok(length) => {
                if let ControlFlow::Break(reason) = send(&buffer[..length]) {
                    return Ok(Some(reason));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error).attempt(|| "cannot read standard input".into()),
        }
    }
}

/// Everything from stdin into the pipe, and not before the other side has read it all does it return.
pub(crate) fn send_stdin(mut pipe: &PipeStream) -> Result<()> {
    let broken = from_stdin(|bytes| match pipe.write_all(bytes) {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(error),
    })?;
    match broken {
        Some(error) => Err(Failure::of_pipe(error)),
        None => Ok(pipe.wait_for_pipe_drain()?),
    }
}

/// The thread that feeds a pipe from stdin. It cannot be ended while it waits for input, only left behind.
struct Input {
    /// Locked while there is something to deliver; the failure of that, if there was one.
    failure: Arc<Mutex<Option<Failure>>>,
    /// Ends when the thread does.
    over: UnixStream,
}

impl Input {
    fn start<E: End>(end: Arc<E>) -> Result<Self> {
        let (over, at_end) = UnixStream::pair().attempt(|| "cannot make a pair of sockets".into())?;
        let failure = Arc::new(Mutex::new(None));
        let told = Arc::clone(&failure);
        let feed = move || {
            let _at_end = at_end;
            let mut pipe: &PipeStream = (*end).as_ref();
            let fed = from_stdin(|bytes| {
                let mut failure = locked(&told);
                *failure = pipe.write_all(bytes).err().map(Failure::of_pipe);
                if failure.is_some() {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            });
            let mut failure = locked(&told);
            match fed {
                Ok(None) => *failure = finish(&*end).err(),
                Ok(Some(())) => {}
                Err(unreadable) => {
                    *failure = Some(unreadable);
                    // What could be read is all that the other side will get.
                    let _ = finish(&*end);
                }
            }
        };
        let thread = thread::Builder::new().name("input".into()).spawn(feed);
        thread.attempt(|| "cannot start the thread that reads standard input".into())?;
        Ok(Self { failure, over })
    }

    /// Waits until all input is delivered or the other side has gone.
    fn wait(self, end: &impl End) -> Result<()> {
        let line = end.line()?;
        // Without an event asked for, a hang-up is still told: both directions are over.
        let mut watched = [
            PollFd::new(&self.over, PollFlags::IN),
            PollFd::new(&line, PollFlags::empty()),
        ];
        wait_for_one(&mut watched)?;
        let input_is_over = !watched[0].revents().is_empty();
        if let Some(failure) = locked(&self.failure).take() {
            return Err(failure);
        }
        if input_is_over {
            return Ok(());
        }
        // Whoever has gone may have left something unread.
        Ok(end.as_ref().wait_for_pipe_drain()?)
    }
}

/// Waits for an event on any of the descriptors.
pub(crate) fn wait_for_one(watched: &mut [PollFd<'_>]) -> Result<()> {
    loop {
        match poll(watched, None) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error).attempt(|| "cannot wait for the end of the input".into()),
        }
    }
}

/// The end of the input. The other side is told of it once it has read everything, and may go on sending.
fn finish(end: &impl End) -> Result<()> {
    end.as_ref().wait_for_pipe_drain()?;
    if end.as_ref().can_read() {
        // It fails if the other side has gone, which is seen where it is read from.
        let _ = shutdown(end.line()?, Shutdown::Write);
    }
    Ok(())
}

fn locked(failure: &Mutex<Option<Failure>>) -> MutexGuard<'_, Option<Failure>> {
    failure.lock().unwrap_or_else(PoisonError::into_inner)
}
