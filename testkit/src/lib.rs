//! What the tests of all dotpipe crates share: child processes whose every wait has a limit, folders for sockets,
//! and skips that nobody can overlook.
//!
//! No test sleeps to wait. A test waits for an event (a line, an exit, an end of stream), and when the event does not
//! come within [`limit`] the test fails with all that its children have said so far.

#![forbid(unsafe_code)]

mod output;
mod process;
mod skip;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

pub use process::{Finished, Process};
pub use skip::{not_shown, skip};
pub use tempfile::TempDir;

/// How long a test waits for one event before it fails, on a machine of ordinary speed. Waits use [`limit`].
pub const LIMIT: Duration = Duration::from_secs(30);

/// [`LIMIT`] times the number in `$DOTPIPE_TEST_LIMIT_FACTOR`: slow machines, emulators and sanitizers raise it.
///
/// # Panics
/// When the variable is set to something that is not a positive number.
pub fn limit() -> Duration {
    match std::env::var("DOTPIPE_TEST_LIMIT_FACTOR") {
        Ok(text) => match text.parse::<f64>() {
            Ok(factor) if factor.is_finite() && factor > 0.0 => LIMIT.mul_f64(factor),
            _ => panic!("DOTPIPE_TEST_LIMIT_FACTOR is '{text}'; set it to a positive number such as 4, or unset it"),
        },
        Err(_) => LIMIT,
    }
}

/// A new empty folder, removed on drop, whose path is short enough for the sockets in it (a socket's path has at most
/// 107 bytes). Give it to children as `TMPDIR`; in the test's own process use the rooted name `FOLDER/CoreFxPipe_NAME`.
///
/// # Panics
/// When the folder cannot be made, or `$TMPDIR` is so long that no socket would fit.
pub fn pipe_folder() -> TempDir {
    let folder = tempfile::Builder::new()
        .prefix("p")
        .rand_bytes(6)
        .tempdir()
        .unwrap_or_else(|error| {
            panic!(
                "cannot make a folder for a test in {}: {error}; check TMPDIR",
                std::env::temp_dir().display()
            )
        });
    let length = folder.path().as_os_str().len();
    assert!(
        length <= 64,
        "the test folder {} has {length} bytes, which leaves too few of a socket path's 107; set TMPDIR to a short path",
        folder.path().display()
    );
    folder
}

/// Polls a condition that has no event to wait for (a file's mode, another process's table), until it holds.
///
/// # Panics
/// When `condition` is still false after [`limit`]; `what` says in the message what did not happen.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let (start, limit) = (Instant::now(), limit());
    let mut pause = Duration::from_micros(100);
    while !condition() {
        assert!(start.elapsed() < limit, "after {limit:?} still not so: {what}");
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// Calls `f` on a thread and returns what it returns, for calls that have no time limit of their own.
///
/// # Panics
/// When `f` panics, with its panic. When it has not returned after [`limit`]; the thread then stays behind. `what`
/// says in the message what did not end.
#[track_caller]
pub fn within_limit<T: Send + 'static>(what: &str, f: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, result) = mpsc::channel();
    thread::spawn(move || sender.send(catch_unwind(AssertUnwindSafe(f))));
    match result.recv_timeout(limit()) {
        Ok(Ok(value)) => value,
        Ok(Err(panic)) => resume_unwind(panic),
        Err(RecvTimeoutError::Timeout) => panic!("after {:?} still not ended: {what}", limit()),
        Err(RecvTimeoutError::Disconnected) => unreachable!("the thread always sends"),
    }
}

/// Copies a program for another user to run, in a process of its own.
///
/// A copy made in this process could not be run for a moment ("Text file busy"): a child that another test's thread starts
/// meanwhile holds the half-written file open until it executes its own program.
///
/// # Panics
/// When it cannot be copied.
pub fn copy_program(from: &std::path::Path, to: &std::path::Path) {
    let copied = std::process::Command::new("cp").arg("--").arg(from).arg(to).status();
    assert!(
        copied.as_ref().is_ok_and(std::process::ExitStatus::success),
        "cannot copy {} to {}: {copied:?}",
        from.display(),
        to.display()
    );
}
