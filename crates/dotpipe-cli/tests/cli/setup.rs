//! What the tests share: the command in a folder of its own, and a look at what it leaves there.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use dotpipe_testkit::{Finished, Process, TempDir, eventually, limit, pipe_folder};

/// A folder for the pipes of one test.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(pipe_folder())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Where .NET and everybody else finds the pipe.
    pub(crate) fn socket(&self, name: &str) -> PathBuf {
        self.path().join(format!("CoreFxPipe_{name}"))
    }

    /// A command line of `dotpipe` that works in this folder.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dotpipe"));
        command.args(arguments).env("TMPDIR", self.path());
        command
    }

    /// A script in which `$dotpipe` is the command.
    pub(crate) fn script(&self, text: &str) -> Command {
        let mut command = Command::new("bash");
        command
            .args(["-c", text])
            .env("TMPDIR", self.path())
            .env("dotpipe", env!("CARGO_BIN_EXE_dotpipe"));
        command
    }

    pub(crate) fn start<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Process {
        Process::start(&mut self.command(arguments))
    }

    /// Starts a server and waits until clients can connect.
    pub(crate) fn serve(&self, arguments: &[&str]) -> Process {
        let mut server = self.start(["serve"].iter().chain(arguments));
        server.wait_for_stderr("listening");
        server
    }

    /// Runs a command line to its end, with nothing on its stdin.
    #[track_caller]
    pub(crate) fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Finished {
        self.start(arguments).finish()
    }

    /// Runs a command line to its end, with `input` on its stdin.
    #[track_caller]
    pub(crate) fn run_with(&self, arguments: &[&str], input: &[u8]) -> Finished {
        let mut process = self.start(arguments);
        process.write(input);
        process.finish()
    }

    /// A client that is no dotpipe. Reads and writes have a limit.
    pub(crate) fn plain_client(&self, name: &str) -> UnixStream {
        limited(UnixStream::connect(self.socket(name)).expect("the server listens"))
    }

    /// A server that is no dotpipe.
    pub(crate) fn plain_server(&self, name: &str) -> UnixListener {
        UnixListener::bind(self.socket(name)).expect("the folder is new")
    }

    /// Everything in the folder, except dotpipe's private folder and its lock files, which may stay.
    pub(crate) fn leftovers(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for entry in fs::read_dir(self.path()).expect("the folder can be read").flatten() {
            if !entry.file_name().to_string_lossy().starts_with(".dotpipe-") {
                found.push(entry.path());
                continue;
            }
            let files = fs::read_dir(entry.path())
                .expect("the private folder can be read")
                .flatten();
            found.extend(
                files
                    .filter(|file| file.file_type().is_ok_and(|kind| kind.is_socket()))
                    .map(|file| file.path()),
            );
        }
        found
    }

    #[track_caller]
    pub(crate) fn expect_empty(&self) {
        assert_eq!(self.leftovers(), Vec::<PathBuf>::new(), "nothing may be left behind");
    }
}

pub(crate) fn limited(stream: UnixStream) -> UnixStream {
    stream.set_read_timeout(Some(limit())).expect("the limit is not zero");
    stream.set_write_timeout(Some(limit())).expect("the limit is not zero");
    stream
}

/// The log-in name of this user, as the system's own tool tells it.
pub(crate) fn user_name() -> String {
    let output = Command::new("id").arg("-un").output().expect("id is everywhere");
    String::from_utf8(output.stdout)
        .expect("a name is text")
        .trim()
        .to_owned()
}

/// The command as a user who is not root and owns nothing, or `None` where it cannot be had.
pub(crate) fn as_stranger(folder: &Folder, arguments: &[&str]) -> Option<Command> {
    if user_name() != "root" {
        dotpipe_testkit::skip("a second user", "only root can run a program as another user");
        return None;
    }
    // Neither the folder of the build nor a new temporary folder need be open to others.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    let bin = folder.path().join("bin");
    fs::create_dir_all(&bin).expect("it is our folder");
    fs::copy(env!("CARGO_BIN_EXE_dotpipe"), bin.join("dotpipe")).expect("the program can be copied");
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=12345", "--regid=12345", "--clear-groups"])
        .arg(bin.join("dotpipe"));
    command.args(arguments).env("TMPDIR", folder.path());
    Some(command)
}

/// Waits until a process is no more.
pub(crate) fn expect_gone(pid: &str) {
    let entry = Path::new("/proc").join(pid.trim());
    assert!(
        entry.parent() == Some(Path::new("/proc")) && !pid.trim().is_empty(),
        "'{pid}' is no process number"
    );
    eventually("the process is gone", || {
        // A zombie that nobody has reaped yet is gone as well.
        fs::read_to_string(entry.join("stat")).map_or(true, |stat| stat.contains(") Z "))
    });
}

/// Expects status 1 and one failure on stderr, whose first sentence is exactly `headline`: .NET's text where there is one.
/// What was attempted and what to do may follow.
#[track_caller]
pub(crate) fn expect_failure(finished: &Finished, headline: &str) {
    assert_eq!(finished.status.code(), Some(1), "{finished:?}");
    let told: Vec<_> = finished
        .stderr
        .lines()
        .filter_map(|line| line.strip_prefix("dotpipe: "))
        .collect();
    let [told] = told[..] else {
        panic!("one failure is expected: {}", finished.stderr)
    };
    let rest = told.strip_prefix(headline);
    assert!(
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' ')),
        "'{told}' does not begin with '{headline}'"
    );
}

/// As [`expect_failure`], with `advice` in what follows.
#[track_caller]
pub(crate) fn expect_failure_with(finished: &Finished, headline: &str, advice: &str) {
    expect_failure(finished, headline);
    assert!(
        finished.stderr.contains(advice),
        "no '{advice}' in: {}",
        finished.stderr
    );
}

/// Expects wrong usage: status 2, and `text` on stderr, in dotpipe's form or clap's.
#[track_caller]
pub(crate) fn expect_usage(finished: &Finished, text: &str) {
    assert_eq!(finished.status.code(), Some(2), "{finished:?}");
    let told = finished
        .stderr
        .lines()
        .any(|line| line.starts_with("dotpipe: ") || line.starts_with("error: "));
    assert!(
        told && finished.stderr.contains(text),
        "no '{text}' in: {}",
        finished.stderr
    );
}

/// The headline of whatever may not be done at a path.
pub(crate) fn denied(path: &Path) -> String {
    format!("Access to the path '{}' is denied.", path.display())
}
