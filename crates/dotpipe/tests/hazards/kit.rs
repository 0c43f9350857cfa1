//! What the modules share: folders, users, looks at what is on disk and in the kernel.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

use dotpipe::{Error, ErrorKind, NamedPipeClientStream, NamedPipeServerStream};
use dotpipe_testkit::{TempDir, limit, pipe_folder, skip};
use rustix::fs::{CWD, FileType, Mode, mknodat};

/// Users without a log-in.
pub(crate) const ALICE: u32 = 54_321;
pub(crate) const MALLORY: u32 = 54_322;

/// A folder in which everybody may make files, `sticky` or not; a skip and `None` if this process cannot become others.
pub(crate) fn open_folder(sticky: bool) -> Option<TempDir> {
    if !rustix::process::geteuid().is_root() {
        skip("processes of other users", "only root can start them");
        return None;
    }
    let folder = pipe_folder();
    let mode = if sticky { 0o1777 } else { 0o777 };
    std::fs::set_permissions(folder.path(), Permissions::from_mode(mode)).unwrap();
    Some(folder)
}

/// The rooted name of a pipe in a folder.
pub(crate) fn name_in(folder: &TempDir) -> String {
    folder.path().join("CoreFxPipe_p").display().to_string()
}

/// The private folder of this process's user beside a pipe.
pub(crate) fn private_folder(folder: &TempDir) -> PathBuf {
    private_folder_of(folder, rustix::process::geteuid().as_raw())
}

pub(crate) fn private_folder_of(folder: &TempDir, uid: u32) -> PathBuf {
    folder.path().join(format!(".dotpipe-{uid}"))
}

pub(crate) fn lock_file(folder: &TempDir) -> PathBuf {
    private_folder(folder).join("CoreFxPipe_p.lock")
}

/// Fails unless nothing is left in a folder but empty private folders, and what the test itself has put there.
#[track_caller]
pub(crate) fn nothing_left(folder: &TempDir, besides: &[&str]) {
    for name in names(folder.path()) {
        if name.starts_with(".dotpipe-") && !besides.contains(&name.as_str()) {
            let inside = names(&folder.path().join(&name));
            assert!(inside.is_empty(), "{name} still holds {inside:?}");
        } else {
            assert!(besides.contains(&name.as_str()), "{name} was left behind");
        }
    }
}

pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

pub(crate) fn server(name: &str) -> NamedPipeServerStream {
    NamedPipeServerStream::new(name).unwrap()
}

/// A connected client that never waits longer than the limit of tests.
#[track_caller]
pub(crate) fn client(name: &str) -> NamedPipeClientStream {
    let client = NamedPipeClientStream::new(name).unwrap();
    client.connect_timeout(limit()).unwrap();
    client.set_read_timeout(Some(limit()));
    client.set_write_timeout(Some(limit()));
    client
}

/// A server and a client that are connected, and never wait longer than the limit of tests.
#[track_caller]
pub(crate) fn pair(name: &str) -> (NamedPipeServerStream, NamedPipeClientStream) {
    let server = server(name);
    let client = client(name);
    server.wait_for_connection_timeout(limit()).unwrap();
    server.set_read_timeout(Some(limit()));
    server.set_write_timeout(Some(limit()));
    (server, client)
}

/// The error of this class that must be there.
#[track_caller]
pub(crate) fn error_of<T>(result: Result<T, impl Into<std::io::Error>>, kind: ErrorKind) -> String {
    let Err(error) = result else {
        panic!("no error, instead of {kind:?}")
    };
    let error: std::io::Error = error.into();
    let found = Error::of(&error).unwrap_or_else(|| panic!("not dotpipe's: {error:?}"));
    assert_eq!(found.kind(), kind, "{error}");
    error.to_string()
}

#[track_caller]
pub(crate) fn says(text: &str, what: &str) {
    assert!(text.contains(what), "'{what}' is missing in: {text}");
}

/// A socket that nobody serves: what a killed server leaves behind.
///
/// No server made it here. That one could live on in a child that another test starts just then.
pub(crate) fn dead_socket(path: impl AsRef<Path>) {
    mknodat(CWD, path.as_ref(), FileType::Socket, Mode::from_raw_mode(0o777), 0).unwrap();
}

/// A thread that runs a call that waits, and the means to know that it waits.
pub(crate) struct Pending<T> {
    result: mpsc::Receiver<T>,
    tid: i32,
}

impl<T: Send + 'static> Pending<T> {
    /// Starts a call on a thread and returns when the thread sleeps in the kernel in it.
    #[track_caller]
    pub(crate) fn start(call: impl FnOnce() -> T + Send + 'static) -> Self {
        let (sender, result) = mpsc::channel();
        let (say_tid, tid) = mpsc::channel();
        let started = Arc::new(AtomicBool::new(false));
        let about_to = Arc::clone(&started);
        thread::spawn(move || {
            say_tid.send(rustix::thread::gettid().as_raw_nonzero().get()).unwrap();
            about_to.store(true, Ordering::SeqCst);
            let _ = sender.send(call());
        });
        let tid = tid.recv().unwrap();
        let pending = Self { result, tid };
        dotpipe_testkit::eventually("a call sleeps", || started.load(Ordering::SeqCst) && pending.sleeps());
        pending
    }

    /// Whether the thread waits in one of the calls that may: the state S alone could be a page fault or a lock of the allocator.
    fn sleeps(&self) -> bool {
        let Ok(stat) = std::fs::read_to_string(format!("/proc/self/task/{}/stat", self.tid)) else {
            // The thread is over: the call did not wait, and its result tells why.
            return true;
        };
        let asleep = stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('S'));
        let call = std::fs::read_to_string(format!("/proc/self/task/{}/syscall", self.tid)).unwrap_or_default();
        let number = call
            .split(' ')
            .next()
            .and_then(|number| number.parse().ok())
            .unwrap_or(-1);
        asleep && CALLS_THAT_WAIT.contains(&number)
    }

    /// What the call returned, once it has.
    #[track_caller]
    pub(crate) fn result(self) -> T {
        self.result.recv_timeout(limit()).expect("the call ends in time")
    }

    /// Whether the call is still going on.
    pub(crate) fn goes_on(&self) -> bool {
        matches!(self.result.try_recv(), Err(mpsc::TryRecvError::Empty))
    }
}

/// The numbers of the calls in which a thread may wait: read, write, poll, connect, sendto, recvfrom, futex, ppoll.
#[cfg(target_arch = "x86_64")]
const CALLS_THAT_WAIT: [i64; 8] = [0, 1, 7, 42, 44, 45, 202, 271];
/// The numbers of the calls in which a thread may wait: read, write, ppoll, futex, connect, sendto, recvfrom.
#[cfg(not(target_arch = "x86_64"))]
const CALLS_THAT_WAIT: [i64; 7] = [63, 64, 73, 98, 203, 206, 207];
