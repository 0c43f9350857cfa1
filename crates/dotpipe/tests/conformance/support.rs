//! Places for pipes, calls that are known to wait, and the checks that all modules use.

use std::any::Any;
use std::fs;
use std::io::{self, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use dotpipe::{Error, ErrorKind, NamedPipeClientStream, NamedPipeServerStream, PipeDirection, PipeStream};
use dotpipe_testkit::{TempDir, eventually, limit, pipe_folder};

/// A folder of a test's own, and rooted names of pipes in it.
///
/// `TMPDIR` belongs to the whole process, whose tests run side by side, so that plain names would share one folder.
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(pipe_folder())
    }

    pub(crate) fn folder(&self) -> &std::path::Path {
        self.0.path()
    }

    pub(crate) fn name(&self) -> String {
        self.named("p")
    }

    pub(crate) fn named(&self, name: &str) -> String {
        let path = self.folder().join(name);
        path.to_str()
            .expect("test folders have names of ASCII letters")
            .to_owned()
    }
}

/// Both errors that the library returns, for one set of checks.
pub(crate) trait Failure {
    fn failure(&self) -> &Error;
}

impl Failure for Error {
    fn failure(&self) -> &Error {
        self
    }
}

impl Failure for io::Error {
    #[track_caller]
    fn failure(&self) -> &Error {
        match Error::of(self) {
            Some(error) => error,
            None => panic!("not an error of dotpipe: {self:?}"),
        }
    }
}

/// The error of a call that must fail with one of this class.
#[track_caller]
pub(crate) fn fails<T, E: Failure>(result: Result<T, E>, kind: ErrorKind) -> E {
    match result {
        Ok(_) => panic!("it succeeded, but had to fail with {kind:?}"),
        Err(error) => {
            assert_eq!(error.failure().kind(), kind, "{}", error.failure());
            error
        }
    }
}

/// As [`fails`], for an error that begins with .NET's text.
#[track_caller]
pub(crate) fn fails_saying<T, E: Failure>(result: Result<T, E>, kind: ErrorKind, headline: &str) -> E {
    let error = fails(result, kind);
    let text = error.failure().to_string();
    assert!(text.starts_with(headline), "'{text}' does not begin with '{headline}'");
    error
}

/// As [`fails`], for an argument's error that names this parameter.
#[track_caller]
pub(crate) fn refuses<T>(result: dotpipe::Result<T>, kind: ErrorKind, parameter: &str) -> Error {
    let error = fails(result, kind);
    assert_eq!(error.parameter(), Some(parameter), "{error}");
    error
}

/// A call that runs on a thread of its own.
pub(crate) struct Pending<T> {
    what: String,
    result: Receiver<Result<T, Box<dyn Any + Send>>>,
}

impl<T: Send + 'static> Pending<T> {
    /// Starts a call.
    pub(crate) fn start(what: &str, call: impl FnOnce() -> T + Send + 'static) -> Self {
        Self::spawn(what, call).0
    }

    /// Starts a call that has to wait, and returns once its thread sleeps.
    #[track_caller]
    pub(crate) fn blocked(what: &str, call: impl FnOnce() -> T + Send + 'static) -> Self {
        let (pending, task) = Self::spawn(what, call);
        eventually(&format!("the thread sleeps in: {what}"), || {
            assert!(!pending.is_over(), "did not wait: {what}");
            sleeps(&task)
        });
        pending
    }

    fn spawn(what: &str, call: impl FnOnce() -> T + Send + 'static) -> (Self, String) {
        let (sender, result) = mpsc::channel();
        let (tell, task) = mpsc::channel();
        thread::spawn(move || {
            let own = fs::read_link("/proc/thread-self").expect("a thread finds itself in /proc");
            let _ = tell.send(own.to_string_lossy().into_owned());
            let _ = sender.send(catch_unwind(AssertUnwindSafe(call)));
            // Kept until the end, so that a result that is dropped unseen is no sign of a thread that has ended.
            drop(tell);
        });
        let task = task.recv().expect("the thread tells its number first");
        let what = what.to_owned();
        (Self { what, result }, task)
    }

    /// Whether the call has ended without anybody's help. To be asked before its result is taken.
    fn is_over(&self) -> bool {
        !matches!(self.result.try_recv(), Err(mpsc::TryRecvError::Empty))
    }

    /// Whether the call ends in a time in which it would, if it could.
    pub(crate) fn ends_within(&self, time: Duration) -> bool {
        self.result.recv_timeout(time).is_ok()
    }

    /// What the call returned, with its panic if it panicked.
    #[track_caller]
    pub(crate) fn result(self) -> T {
        match self.result.recv_timeout(limit()) {
            Ok(Ok(value)) => value,
            Ok(Err(panic)) => resume_unwind(panic),
            Err(_) => panic!("after {:?} still not ended: {}", limit(), self.what),
        }
    }
}

/// Makes a call that must not wait. One that waits all the same is cancelled in the end, so that its test fails.
pub(crate) fn at_once<T>(stream: &PipeStream, call: impl FnOnce() -> T) -> T {
    let canceller = stream.canceller();
    let (done, ended) = mpsc::channel::<()>();
    let watchdog = thread::spawn(move || {
        if ended.recv_timeout(limit()) == Err(RecvTimeoutError::Timeout) {
            canceller.cancel();
        }
    });
    let result = call();
    drop(done);
    watchdog.join().expect("the watchdog does not panic");
    result
}

/// Whether a thread, named as `PID/task/TID`, waits in the kernel (`proc_pid_stat(5)`).
fn sleeps(task: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{task}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|fields| fields.starts_with('S'))
}

/// A named server and a client of it, connected. Their waits are limited.
pub(crate) fn connected() -> (NamedPipeServerStream, NamedPipeClientStream, Place) {
    connected_with(PipeDirection::InOut, PipeDirection::InOut)
}

/// As [`connected`], with the directions of server and client.
pub(crate) fn connected_with(
    server: PipeDirection,
    client: PipeDirection,
) -> (NamedPipeServerStream, NamedPipeClientStream, Place) {
    let place = Place::new();
    let server = NamedPipeServerStream::builder(place.name())
        .direction(server)
        .create()
        .unwrap();
    let client = NamedPipeClientStream::builder(place.name())
        .direction(client)
        .create()
        .unwrap();
    join(&server, &client);
    (server, client, place)
}

/// Connects a client to the next instance of its server that waits, which is this one.
#[track_caller]
pub(crate) fn join(server: &NamedPipeServerStream, client: &NamedPipeClientStream) {
    // The server's queue takes the client before it waits for it, so that one thread can do both.
    client.connect_timeout(limit()).unwrap();
    server.wait_for_connection_timeout(limit()).unwrap();
    for stream in [&**server, &**client] {
        stream.set_read_timeout(Some(limit()));
        stream.set_write_timeout(Some(limit()));
    }
}

/// Reads one byte, as .NET's `ReadByte`: `None` at the end.
pub(crate) fn read_byte(mut stream: impl Read) -> io::Result<Option<u8>> {
    let mut byte = [0];
    Ok((stream.read(&mut byte)? == 1).then_some(byte[0]))
}

/// Sends a byte and receives it.
#[track_caller]
pub(crate) fn passes(byte: u8, mut writer: impl Write, reader: impl Read) {
    assert_eq!(writer.write(&[byte]).unwrap(), 1);
    assert_eq!(read_byte(reader).unwrap(), Some(byte));
}

/// `length` bytes in which each place can be told from its neighbours.
pub(crate) fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|place| (place % 251) as u8).collect()
}

/// A time that is far too short for anybody to come, for calls that must run out of it.
pub(crate) const SHORT: Duration = Duration::from_millis(60);
