//! A child process of a test.

#[cfg_attr(unix, path = "process/unix.rs")]
#[cfg_attr(windows, path = "process/windows.rs")]
mod system;

use std::fmt;
use std::io::Write;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use self::system::Watch;
use crate::limit;
use crate::output::{Missing, Output};

/// A running child with piped stdin, stdout and stderr, in a process group of its own.
///
/// Its output is collected all the time, so it never blocks on a full pipe. Dropping it kills the whole group, so a
/// test that fails leaves nothing behind. Every wait has [`limit`], and panics with all output so far when it is hit.
pub struct Process {
    child: Child,
    /// The command line, for messages.
    command: String,
    stdin: Option<Stdin>,
    stdout: Output,
    stderr: Output,
    watch: Watch,
}

/// How a child ended and all that it wrote.
#[derive(Debug)]
pub struct Finished {
    /// The exit status; on Unix it also tells the signal that killed the child.
    pub status: ExitStatus,
    /// Everything from stdout.
    pub stdout: Vec<u8>,
    /// Everything from stderr; bytes that are not UTF-8 are replaced.
    pub stderr: String,
    command: String,
}

/// The thread that feeds the child's stdin, so that a child that does not read cannot hang the test.
struct Stdin {
    bytes: Sender<Vec<u8>>,
    written: Receiver<std::io::Result<()>>,
}

impl Process {
    /// Starts `command` with its three standard streams piped.
    ///
    /// # Panics
    /// When the program cannot be started.
    #[track_caller]
    pub fn start(command: &mut Command) -> Self {
        let text = format!("{command:?}");
        system::prepare(command);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {text}: {error}"));
        let stdin = child.stdin.take().map(Stdin::feed);
        let stdout = Output::collect(child.stdout.take().expect("stdout is piped"));
        let stderr = Output::collect(child.stderr.take().expect("stderr is piped"));
        let watch = Watch::start(&child);
        Self {
            child,
            command: text,
            stdin,
            stdout,
            stderr,
            watch,
        }
    }

    /// The child's process id, which is its process group's id too.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line with `needle` on stderr and returns that line.
    ///
    /// Each call goes on behind the line that the last one returned. A needle that ends with `": "` is a prompt and
    /// also matches at the end of a line that is not finished yet.
    ///
    /// # Panics
    /// When the line does not come within [`limit`], or the stream ends without it.
    #[track_caller]
    pub fn wait_for_stderr(&mut self, needle: &str) -> String {
        let found = self.stderr.wait_for(needle, deadline());
        found.unwrap_or_else(|missing| self.no_line("stderr", needle, missing))
    }

    /// Waits for a line with `needle` on stdout and returns that line, as [`wait_for_stderr`](Self::wait_for_stderr).
    ///
    /// # Panics
    /// When the line does not come within [`limit`], or the stream ends without it.
    #[track_caller]
    pub fn wait_for_stdout(&mut self, needle: &str) -> String {
        let found = self.stdout.wait_for(needle, deadline());
        found.unwrap_or_else(|missing| self.no_line("stdout", needle, missing))
    }

    /// Writes `line` and a line end to the child's stdin.
    ///
    /// # Panics
    /// As [`write`](Self::write).
    #[track_caller]
    pub fn write_line(&mut self, line: &str) {
        self.write(format!("{line}\n").as_bytes());
    }

    /// Writes `bytes` to the child's stdin, and returns when the system has taken them all.
    ///
    /// # Panics
    /// When the child has closed its stdin, does not read within [`limit`], or stdin was closed before.
    #[track_caller]
    pub fn write(&mut self, bytes: &[u8]) {
        let Some(stdin) = &self.stdin else {
            self.fail("cannot write to a stdin that the test has closed")
        };
        let result = match stdin.bytes.send(bytes.to_vec()) {
            Ok(()) => stdin.written.recv_timeout(limit()),
            Err(_) => Err(RecvTimeoutError::Disconnected),
        };
        match result {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.fail(&format!("cannot write {} bytes to its stdin: {error}", bytes.len())),
            Err(_) => self.fail(&format!(
                "it did not read {} bytes from its stdin within {:?}",
                bytes.len(),
                limit()
            )),
        }
    }

    /// Closes the child's stdin, so that it reads an end of stream.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Sends signal number `signal` (2 is SIGINT, 15 is SIGTERM) to the child alone, not to its group.
    ///
    /// # Panics
    /// When there is no such signal, or the system refuses.
    #[track_caller]
    pub fn signal(&self, signal: i32) {
        if let Err(problem) = system::signal(&self.child, signal) {
            self.fail(&problem);
        }
    }

    /// Closes stdin, waits until the child has exited and its output streams have ended, and returns it all.
    ///
    /// # Panics
    /// When the child does not exit within [`limit`], or some descendant still holds its stdout or stderr.
    #[track_caller]
    pub fn finish(mut self) -> Finished {
        self.close_stdin();
        self.finish_with_stdin_open()
    }

    /// As [`finish`](Self::finish), for a child that is to exit although its stdin goes on.
    ///
    /// # Panics
    /// As [`finish`](Self::finish).
    #[track_caller]
    pub fn finish_with_stdin_open(mut self) -> Finished {
        let deadline = deadline();
        if !self.watch.wait(&mut self.child, left(deadline)) {
            self.fail(&format!("it did not exit within {:?}", limit()));
        }
        for (name, output) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !output.wait_for_end(deadline) {
                self.fail(&format!(
                    "it exited, but a child of it still holds its {name} after {:?}",
                    limit()
                ));
            }
        }
        let status = self
            .end()
            .unwrap_or_else(|error| self.fail(&format!("cannot learn its exit status: {error}")));
        Finished {
            status,
            stdout: self.stdout.bytes(),
            stderr: String::from_utf8_lossy(&self.stderr.bytes()).into_owned(),
            command: self.command.clone(),
        }
    }

    /// Kills what is left of the group, then reaps the child.
    fn end(&mut self) -> std::io::Result<ExitStatus> {
        self.watch.kill_group(&mut self.child);
        self.child.wait()
    }

    #[track_caller]
    fn no_line(&self, stream: &str, needle: &str, missing: Missing) -> ! {
        match missing {
            Missing::Ended => self.fail(&format!("its {stream} ended without the line '{needle}'")),
            Missing::Late => self.fail(&format!("no line '{needle}' came on its {stream} within {:?}", limit())),
        }
    }

    #[track_caller]
    fn fail(&self, what: &str) -> ! {
        panic!(
            "{} (pid {}): {what}\n{}",
            self.command,
            self.pid(),
            transcript(&self.stdout.bytes(), &String::from_utf8_lossy(&self.stderr.bytes()))
        )
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("pid", &self.pid())
            .field("command", &self.command)
            .finish_non_exhaustive()
    }
}

impl Finished {
    /// Returns `self` if the exit status is 0.
    ///
    /// # Panics
    /// Otherwise, with everything that the child wrote.
    #[track_caller]
    pub fn expect_success(self) -> Self {
        assert!(
            self.status.success(),
            "{} ended with {}\n{}",
            self.command,
            self.status,
            transcript(&self.stdout, &self.stderr)
        );
        self
    }

    /// Stdout as text; bytes that are not UTF-8 are replaced.
    pub fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

impl Stdin {
    fn feed(mut pipe: impl Write + Send + 'static) -> Self {
        let (bytes, to_write) = mpsc::channel::<Vec<u8>>();
        let (results, written) = mpsc::channel();
        thread::spawn(move || {
            for bytes in to_write {
                if results.send(pipe.write_all(&bytes)).is_err() {
                    break;
                }
            }
        });
        Self { bytes, written }
    }
}

fn deadline() -> Instant {
    Instant::now() + limit()
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

/// What a child wrote, for a message: the last part of each stream, since a transfer may have been large.
fn transcript(stdout: &[u8], stderr: &str) -> String {
    const SHOWN: usize = 4096;
    let tail = |bytes: &[u8]| {
        let skipped = bytes.len().saturating_sub(SHOWN);
        let text = String::from_utf8_lossy(&bytes[skipped..]).into_owned();
        if skipped > 0 {
            format!("({skipped} bytes before)…{text}")
        } else {
            text
        }
    };
    format!(
        "--- its stdout:\n{}\n--- its stderr:\n{}\n---",
        tail(stdout),
        tail(stderr.as_bytes())
    )
}
