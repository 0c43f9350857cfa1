//! A child and its process group.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

/// Puts the child into a process group of its own.
pub(super) fn prepare(command: &mut Command) {
    command.process_group(0);
}

/// Tells when a child has exited.
pub(super) struct Watch {
    /// Gets one message when the child has exited (and still is a zombie, so its pid cannot be anybody else's).
    exited: Receiver<()>,
    watcher: Option<JoinHandle<()>>,
}

impl Watch {
    pub(super) fn start(child: &Child) -> Self {
        let (sender, exited) = mpsc::channel();
        let pid = Pid::from_child(child);
        let watcher = thread::spawn(move || {
            // NOWAIT leaves the zombie, and with it the pid, for the owner to reap.
            while let Err(rustix::io::Errno::INTR) =
                rustix::process::waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)
            {}
            let _ = sender.send(());
        });
        Self {
            exited,
            watcher: Some(watcher),
        }
    }

    /// Whether the child exits within `limit`.
    pub(super) fn wait(&mut self, _: &mut Child, limit: Duration) -> bool {
        self.exited.recv_timeout(limit) != Err(RecvTimeoutError::Timeout)
    }

    /// Kills what is left of the child's group, once.
    pub(super) fn kill_group(&mut self, child: &mut Child) {
        if let Some(watcher) = self.watcher.take() {
            // The child is not reaped yet, so this id still is its group's and no stranger can be hit.
            let _ = rustix::process::kill_process_group(Pid::from_child(child), Signal::KILL);
            let _ = watcher.join();
        }
    }
}

pub(super) fn signal(child: &Child, signal: i32) -> Result<(), String> {
    let signal = Signal::from_named_raw(signal).ok_or_else(|| format!("{signal} is no signal's number"))?;
    rustix::process::kill_process(Pid::from_child(child), signal)
        .map_err(|error| format!("cannot send it {signal:?}: {error}"))
}
