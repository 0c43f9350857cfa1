//! `dotpipe anonymous`: a parent, a child, and a pipe without a name between them.

use std::ffi::{OsStr, OsString};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::{Arc, Weak, mpsc};
use std::thread;

use dotpipe::{AnonymousPipeClientStream, AnonymousPipeServerStream, CommandExt, PipeDirection};
use rustix::event::{PollFd, PollFlags};

use crate::args::{Anonymous, OneWay};
use crate::child::{self, Reach, Running};
use crate::copy::{send_stdin, to_stdout, wait_for_one};
use crate::failure::{Attempt, Failure, Result};
use crate::signals::{AfterSignal, watch};

pub(crate) fn run(side: &Anonymous) -> Result<()> {
    match side {
        Anonymous::Server { command } => serve(command),
        Anonymous::Client { handle, direction } => connect(handle, *direction),
    }
}

fn serve(command: &[OsString]) -> Result<()> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(Failure::Usage("a command to start is needed after '--'".into()));
    };
    if !arguments.iter().any(|argument| has_handle(argument)) {
        return Err(Failure::Usage(
            "none of the arguments has {handle} in it, so the child could not know its end of the pipe.\n\
             For example: dotpipe anonymous server -- dotpipe anonymous client {handle}"
                .into(),
        ));
    }
    watch(AfterSignal::DieOfIt)?;
    let pipe = AnonymousPipeServerStream::new(PipeDirection::Out)?;
    let handle = pipe.get_client_handle_as_string();
    let mut command = Command::new(program);
    command.args(arguments.iter().map(|argument| with_handle(argument, &handle)));
    // Two readers of one stdin would each get a part of it.
    command.stdin(Stdio::null()).inherit_client_handle(&pipe);
    let child = Running::start(&mut command, Reach::Child)?;
    pipe.dispose_local_copy_of_client_handle();
    let feeder = Feeder::start(pipe)?;
    child::check(program, child.wait()?)?;
    // It may have left a child of its own that goes on reading.
    feeder.wait()
}

fn has_handle(argument: &OsStr) -> bool {
    argument.to_str().is_some_and(|argument| argument.contains("{handle}"))
}

fn with_handle(argument: &OsStr, handle: &str) -> OsString {
    match argument.to_str() {
        Some(argument) => argument.replace("{handle}", handle).into(),
        None => argument.to_owned(),
    }
}

/// The thread that sends stdin through the pipe. It cannot be ended while it waits for input, only left behind.
struct Feeder {
    /// The thread alone keeps the pipe: the reader sees the end of the stream when the thread is done.
    pipe: Weak<AnonymousPipeServerStream>,
    outcome: mpsc::Receiver<Result<()>>,
    /// Ends when the thread does.
    over: UnixStream,
}

impl Feeder {
    fn start(pipe: AnonymousPipeServerStream) -> Result<Self> {
        let (over, at_end) = UnixStream::pair().attempt(|| "cannot make a pair of sockets".into())?;
        let (told, outcome) = mpsc::channel();
        let pipe = Arc::new(pipe);
        let feeder = Self {
            pipe: Arc::downgrade(&pipe),
            outcome,
            over,
        };
        let feed = move || {
            let _at_end = at_end;
            let sent = send_stdin(&pipe);
            drop(pipe);
            let _ = told.send(match sent {
                // The child has had enough. If that is a failure, its exit status says so.
                Err(failure) if failure.is_broken_pipe() => Ok(()),
                sent => sent,
            });
        };
        let thread = thread::Builder::new().name("input".into()).spawn(feed);
        thread.attempt(|| "cannot start the thread that reads standard input".into())?;
        Ok(feeder)
    }

    /// Waits until all input is delivered or nobody reads it any more.
    fn wait(self) -> Result<()> {
        let pipe = self.pipe.upgrade();
        let mut watched = vec![PollFd::new(&self.over, PollFlags::IN)];
        if let Some(pipe) = &pipe {
            // Without an event asked for, the loss of the last reader is still told.
            watched.push(PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::empty()));
        }
        wait_for_one(&mut watched)?;
        self.outcome.try_recv().unwrap_or(Ok(()))
    }
}

fn connect(handle: &str, direction: OneWay) -> Result<()> {
    let pipe = AnonymousPipeClientStream::from_handle_string(direction.into(), handle)?;
    match direction {
        OneWay::In => to_stdout(&pipe),
        OneWay::Out => send_stdin(&pipe),
    }
}
