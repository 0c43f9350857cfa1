//! The far side of a measurement: this program, started again as another process.

use std::env;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::peer::Peer;
use crate::peers;
use crate::placement;
use crate::test::Test;

/// The environment variable that tells a process that it is a far side, and which.
const VARIABLE: &str = "DOTPIPE_BENCH_FAR_SIDE";

/// The line by which a far side says that it can be connected to.
const READY: &str = "ready";

/// What a far side has to know.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Role {
    peer: String,
    test: Test,
    place: PathBuf,
    cpu: Option<usize>,
}

/// Runs the far side of a measurement if this process was started for that, and returns its exit status; otherwise
/// returns None. Call it first thing in `main`, before anything is written or read.
pub fn run_far_side_if_asked() -> Option<ExitCode> {
    let role = env::var_os(VARIABLE)?;
    let outcome = serde_json::from_slice::<Role>(role.as_encoded_bytes())
        .map_err(io::Error::from)
        .and_then(|role| {
            let peer = peers::find(&role.peer)
                .ok_or_else(|| io::Error::other(format!("no peer is called {:?}", role.peer)))?;
            placement::pin(role.cpu)?;
            peer.far(&role.place, role.test)
        });
    Some(match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("far side: {error}");
            ExitCode::FAILURE
        }
    })
}

/// Tells the near side that this one can be connected to.
pub(crate) fn say_ready() {
    println!("{READY}");
}

/// Starts the far side of one sample. It has a folder for both sides' use, and a time limit.
#[derive(Debug)]
pub struct Launcher {
    program: PathBuf,
    role: Role,
    limit: Duration,
}

impl Launcher {
    pub(crate) fn new(
        program: &Path,
        peer: &dyn Peer,
        test: Test,
        place: &Path,
        cpu: Option<usize>,
        limit: Duration,
    ) -> Self {
        let role = Role {
            peer: peer.name().to_owned(),
            test,
            place: place.to_owned(),
            cpu,
        };
        Self {
            program: program.to_owned(),
            role,
            limit,
        }
    }

    /// The folder that both sides know; nobody else uses it during the sample.
    pub fn place(&self) -> &Path {
        &self.role.place
    }

    /// The command that starts the far side, with no input and no output except to stderr.
    pub fn command(&self) -> io::Result<Command> {
        let mut command = Command::new(&self.program);
        command
            .env(VARIABLE, serde_json::to_string(&self.role)?)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        Ok(command)
    }

    /// Watches over a started far side.
    pub(crate) fn watch(&self, child: Child) -> io::Result<FarSide> {
        FarSide::new(child, self.limit)
    }
}

/// A running far side. It is killed when its time is over, so that whatever waits for it fails instead of hanging, and
/// when this is dropped.
#[derive(Debug)]
pub(crate) struct FarSide {
    child: Arc<Mutex<Child>>,
    output: Option<ChildStdout>,
    deadline: Instant,
    limit: Duration,
    /// Dropping it ends the watchdog.
    watchdog: Option<mpsc::Sender<()>>,
}

impl FarSide {
    fn new(mut child: Child, limit: Duration) -> io::Result<Self> {
        let output = child.stdout.take();
        let child = Arc::new(Mutex::new(child));
        let (watchdog, over) = mpsc::channel::<()>();
        let watched = Arc::clone(&child);
        let side = Self {
            child,
            output,
            deadline: Instant::now() + limit,
            limit,
            watchdog: Some(watchdog),
        };
        thread::Builder::new().name("watchdog".to_owned()).spawn(move || {
            if over.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                // It fails only if the far side has ended by itself.
                let _ = watched.lock().unwrap_or_else(PoisonError::into_inner).kill();
            }
        })?;
        Ok(side)
    }

    /// Waits until the far side says that it can be connected to. Its command must have had a pipe for stdout.
    pub(crate) fn wait_until_ready(&mut self) -> io::Result<()> {
        let mut line = String::new();
        if let Some(output) = &mut self.output {
            BufReader::new(output).read_line(&mut line)?;
        }
        if line.trim_end() == READY {
            Ok(())
        } else {
            Err(io::Error::other("the far side ended before it was ready"))
        }
    }

    /// Waits for the end of the far side, which must be a good one.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.watchdog = None;
        loop {
            // With the lock held no longer than this the watchdog can always do its work.
            let ended = self.lock().try_wait()?;
            match ended {
                Some(status) if status.success() => return Ok(()),
                Some(status) => {
                    return Err(io::Error::other(format!("the far side ended with {status}")));
                }
                None if Instant::now() > self.deadline => return Err(self.out_of_time()),
                None => thread::sleep(Duration::from_micros(200)),
            }
        }
    }

    /// The error to report for one that happened while this side ran: that the time was over, if it was.
    pub(crate) fn explain(&self, error: io::Error) -> io::Error {
        if Instant::now() > self.deadline {
            self.out_of_time()
        } else {
            error
        }
    }

    fn out_of_time(&self) -> io::Error {
        io::Error::new(
            io::ErrorKind::TimedOut,
            format!("no result within {} s", self.limit.as_secs_f32()),
        )
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for FarSide {
    fn drop(&mut self) {
        let mut child = self.lock();
        // Both fail only if it has ended and been waited for already.
        let _ = child.kill();
        let _ = child.wait();
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn started(program: &str, arguments: &[&str], limit: Duration) -> FarSide {
        let child = Command::new(program)
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        FarSide::new(child, limit).unwrap()
    }

    #[test]
    fn a_far_side_says_when_it_is_ready_and_ends_well() {
        let mut side = started("echo", &[READY], Duration::from_secs(20));
        side.wait_until_ready().unwrap();
        side.finish().unwrap();
    }

    #[test]
    fn one_that_ends_early_or_badly_is_an_error() {
        let mut side = started("false", &[], Duration::from_secs(20));
        assert!(side.wait_until_ready().unwrap_err().to_string().contains("ready"));
        assert!(side.finish().unwrap_err().to_string().contains("exit status"));
    }

    #[test]
    fn one_that_hangs_is_killed_and_the_error_says_so() {
        let mut side = started("sleep", &["1000"], Duration::from_millis(50));
        let start = Instant::now();
        let error = side.wait_until_ready().unwrap_err();
        assert_eq!(side.explain(error).kind(), io::ErrorKind::TimedOut);
        assert!(start.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn one_that_does_not_end_when_it_should_is_an_error() {
        let side = started("sleep", &["1000"], Duration::from_millis(50));
        assert_eq!(side.finish().unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
