//! Child processes that do not outlive us.

use std::ffi::OsStr;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid};

use crate::failure::{Attempt, Failure, Result};
use crate::signals::{Finish, Kept, keep};

/// Whom a signal reaches when a child has to be ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// The child alone. It shares our terminal and gets Ctrl-C from there.
    Child,
    /// Everything that it started; it gets a process group of its own for that.
    Group,
}

/// A child that runs. It is ended when this is dropped, or when a signal ends us.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    pid: Kept<Pid>,
}

impl Running {
    pub(crate) fn start(command: &mut Command, reach: Reach) -> Result<Self> {
        let mut child = None;
        if reach == Reach::Group {
            command.process_group(0);
        }
        let start = || {
            let started = child.insert(command.spawn()?);
            io::Result::Ok(Pid::from_child(started))
        };
        let pid = keep(start, move |pid| Some(end(*pid, reach)));
        let program = command.get_program().display().to_string();
        let pid = pid.attempt(|| format!("cannot start '{program}'"))?;
        let child = child.ok_or_else(|| Failure::text(format!("cannot start '{program}'")))?;
        Ok(Self { child, pid })
    }

    /// Its piped stdin and stdout, as far as it has them.
    pub(crate) fn take_streams(&mut self) -> (Option<ChildStdin>, Option<ChildStdout>) {
        (self.child.stdin.take(), self.child.stdout.take())
    }

    /// Waits until the child has ended. It stays a zombie, so that its number is nobody else's as long as it is kept.
    pub(crate) fn wait(mut self) -> Result<ExitStatus> {
        wait_for_exit(*self.pid);
        self.pid.release();
        self.child.wait().attempt(|| "cannot learn how the child ended".into())
    }
}

/// Ends a child, politely at first.
fn end(pid: Pid, reach: Reach) -> Finish {
    let send = move |signal| {
        // It may have ended by itself.
        let _ = match reach {
            Reach::Child => kill_process(pid, signal),
            Reach::Group => kill_process_group(pid, signal),
        };
    };
    send(Signal::TERM);
    // A stopped child would not see the signal.
    send(Signal::CONT);
    Box::new(move |deadline| {
        let (ended, end) = mpsc::channel();
        let waits = thread::Builder::new().name("child".into()).spawn(move || {
            wait_for_exit(pid);
            let _ = ended.send(());
        });
        let left = deadline.saturating_duration_since(Instant::now());
        if waits.is_err() || end.recv_timeout(left).is_err() {
            send(Signal::KILL);
        }
    })
}

fn wait_for_exit(pid: Pid) {
    let wait = || waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
    while let Err(rustix::io::Errno::INTR) = wait() {}
}

/// How a child failed, if it did. The end of its reader (SIGPIPE) is no failure.
pub(crate) fn check(program: &OsStr, status: ExitStatus) -> Result<()> {
    const SIGPIPE: i32 = signal_hook::consts::SIGPIPE;
    let program = program.display();
    match (status.code(), status.signal()) {
        (Some(0), _) | (_, Some(SIGPIPE)) => Ok(()),
        (Some(code), _) => Err(Failure::text(format!("'{program}' ended with exit status {code}"))),
        (None, Some(signal)) => {
            let name = signal_hook::low_level::signal_name(signal).unwrap_or("unknown");
            Err(Failure::text(format!(
                "'{program}' was ended by signal {signal} ({name})"
            )))
        }
        (None, None) => Err(Failure::text(format!("'{program}' failed: {status}"))),
    }
}
