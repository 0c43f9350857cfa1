//! Pipes between processes of different users. They need a process that may become any user.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::thread;

use dotpipe::{
    ErrorKind, NamedPipeClientBuilder, NamedPipeClientStream, NamedPipeServerStream, PipeOptions, PipeSecurity,
    TokenImpersonationLevel,
};
use dotpipe_testkit::{Process, limit, skip};

use crate::child;
use crate::support::{Pending, Place, fails, fails_saying, passes, read_byte};

/// Two users whom no user database knows.
const ALICE: u32 = 54_321;
const BOB: u32 = 54_322;

/// A folder for pipes of all users, and a copy of this program that all can run.
struct Users {
    place: Place,
    program: PathBuf,
}

impl Users {
    /// `None`, after a loud skip, where this process may not become other users.
    fn here() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            skip("another user", "the tests do not run as root");
            return None;
        }
        if Command::new("setpriv").arg("--version").output().is_err() {
            skip("setpriv", "it cannot be started; it is part of util-linux");
            return None;
        }
        let place = Place::new();
        fs::set_permissions(place.folder(), Permissions::from_mode(0o1777)).unwrap();
        // The folder of the build may be closed to others.
        let program = place.folder().join("tests");
        let own = std::env::current_exe().unwrap();
        fs::hard_link(&own, &program)
            .or_else(|_| fs::copy(&own, &program).map(drop))
            .unwrap();
        Some(Self { place, program })
    }

    fn name(&self) -> String {
        self.place.name()
    }

    /// Starts a child of another user in a role of this module.
    fn start(&self, user: u32, role: &str, words: &[&str]) -> Process {
        let id = user.to_string();
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid", &id, "--regid", &id, "--clear-groups", "--"])
            .arg(&self.program)
            .current_dir(self.place.folder());
        Process::start(&mut child::in_role(command, role, words))
    }
}

const OPTIONS: [PipeOptions; 2] = [PipeOptions::NONE, PipeOptions::CURRENT_USER_ONLY];

fn client(name: &str) -> NamedPipeClientBuilder {
    NamedPipeClientStream::builder(name)
}

fn only_current_user(name: &str) -> NamedPipeClientStream {
    client(name).options(PipeOptions::CURRENT_USER_ONLY).create().unwrap()
}

/// Greets clients, until one has stayed to read it. Says who has connected.
pub(crate) fn serves_one(words: &[String]) {
    let options = PipeOptions::from_bits(words[1].parse().unwrap()).unwrap();
    let server = NamedPipeServerStream::builder(&words[0])
        .options(options)
        .create()
        .unwrap();
    server.set_write_timeout(Some(limit()));
    eprintln!("serving");
    loop {
        server.wait_for_connection_timeout(limit()).unwrap();
        eprintln!("connected {}", server.get_impersonation_user_name().unwrap());
        if (&server).write_all(b"!").is_ok() && server.wait_for_pipe_drain().is_ok() {
            break;
        }
        server.disconnect().unwrap();
    }
}

/// Connects and reads the server's greeting.
pub(crate) fn is_greeted(words: &[String]) {
    let client = client(&words[0]).any_server_user().create().unwrap();
    client.connect_timeout(limit()).unwrap();
    client.set_read_timeout(Some(limit()));
    assert_eq!(read_byte(&client).unwrap(), Some(b'!'));
}

/// Is let in by the system, and sees the end of a connection that the server does not want.
pub(crate) fn is_turned_away(words: &[String]) {
    let client = client(&words[0]).any_server_user().create().unwrap();
    client.connect_timeout(limit()).unwrap();
    client.set_read_timeout(Some(limit()));
    assert_eq!(read_byte(&client).unwrap(), None);
}

pub(crate) fn may_not_connect(words: &[String]) {
    let client = client(&words[0]).any_server_user().create().unwrap();
    // The limit is never reached: the refusal comes at once.
    let headline = format!("Access to the path '{}' is denied.", words[0]);
    let error = fails_saying(client.connect(), ErrorKind::UnauthorizedAccess, &headline);
    assert!(error.to_string().contains("belongs to"), "{error}");
}

#[test]
fn c081_connections_between_two_users() {
    let Some(users) = Users::here() else { return };
    for options in OPTIONS {
        let bits = options.bits().to_string();
        let mut server = users.start(ALICE, "serves one user", &[&users.name(), &bits]);
        server.wait_for_stderr("serving");

        // Root may open the socket. A client for its own user's servers only does not want this one, a plain one neither
        // without being told that any server will do.
        let own = "Could not connect to the pipe because it was not owned by the current user.";
        let connect = only_current_user(&users.name()).connect_timeout(limit());
        fails_saying(connect, ErrorKind::UnauthorizedAccess, own);
        let plain = client(&users.name()).create().unwrap();
        fails(plain.connect_timeout(limit()), ErrorKind::UnauthorizedAccess);

        let trusting = client(&users.name()).any_server_user().create().unwrap();
        trusting.connect_timeout(limit()).unwrap();
        trusting.set_read_timeout(Some(limit()));
        if options == PipeOptions::NONE {
            assert_eq!(read_byte(&trusting).unwrap(), Some(b'!'));
            server.wait_for_stderr("connected root");
        } else {
            // The server refuses root and waits on, where .NET's wait would have failed.
            assert_eq!(read_byte(&trusting).unwrap(), None);
            users
                .start(ALICE, "is greeted", &[&users.name()])
                .finish()
                .expect_success();
            server.wait_for_stderr("connected 54321");
        }
        server.finish().expect_success();
    }
}

#[test]
fn c083_m23_refused_strangers_neither_end_the_wait_nor_hold_up_the_right_client() {
    let Some(users) = Users::here() else { return };
    let bits = PipeOptions::CURRENT_USER_ONLY.bits().to_string();
    let mut server = users.start(ALICE, "serves one user", &[&users.name(), &bits]);
    server.wait_for_stderr("serving");
    for _ in 0..50 {
        let stranger = client(&users.name()).any_server_user().create().unwrap();
        stranger.connect_timeout(limit()).unwrap();
        // Sent too late, or never read: both are fine.
        let _ = (&stranger).write_all(b"let me in");
        stranger.set_read_timeout(Some(limit()));
        assert_eq!(read_byte(&stranger).unwrap(), None);
    }
    users
        .start(ALICE, "is greeted", &[&users.name()])
        .finish()
        .expect_success();
    server.wait_for_stderr("connected 54321");
    server.finish().expect_success();

    // The same where the server lets one other user in.
    let server = NamedPipeServerStream::builder(users.name())
        .security(PipeSecurity::current_user().allow_user(ALICE))
        .create()
        .unwrap();
    let server = Arc::new(server);
    let waiting = Pending::blocked("wait for Alice", {
        let server = Arc::clone(&server);
        move || server.wait_for_connection_timeout(limit())
    });
    for _ in 0..3 {
        users
            .start(BOB, "is turned away", &[&users.name()])
            .finish()
            .expect_success();
    }
    let alice = users.start(ALICE, "is greeted", &[&users.name()]);
    waiting.result().unwrap();
    assert_eq!(server.client_identity().unwrap().uid(), Some(ALICE));
    (&*server).write_all(b"!").unwrap();
    alice.finish().expect_success();
}

/// The effective user of this thread alone (`proc_pid_status(5)`).
fn user_of_this_thread() -> u32 {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
}

/// A server of root with a client of Alice's connected.
fn with_alice(users: &Users, role: &str) -> (NamedPipeServerStream, Process) {
    let server = NamedPipeServerStream::builder(users.name())
        .security(PipeSecurity::everyone())
        .create()
        .unwrap();
    let alice = users.start(ALICE, role, &[&users.name()]);
    server.wait_for_connection_timeout(limit()).unwrap();
    (server, alice)
}

#[test]
fn c090_a_privileged_server_acts_as_its_client() {
    let Some(users) = Users::here() else { return };
    let (server, alice) = with_alice(&users, "is greeted");
    let private = users.place.folder().join("private");
    fs::write(&private, "of root").unwrap();
    fs::set_permissions(&private, Permissions::from_mode(0o600)).unwrap();
    let (user, opened) = server
        .run_as_client(|| (user_of_this_thread(), fs::read(&private)))
        .unwrap();
    assert_eq!(user, ALICE);
    assert_eq!(opened.unwrap_err().kind(), std::io::ErrorKind::PermissionDenied);
    assert_eq!(user_of_this_thread(), 0);
    assert_eq!(fs::read(&private).unwrap(), b"of root");
    (&server).write_all(b"!").unwrap();
    alice.finish().expect_success();
}

#[test]
fn m26_only_the_calling_thread_acts_as_the_client_and_without_the_right_nothing_runs() {
    let Some(users) = Users::here() else { return };
    let (server, alice) = with_alice(&users, "is greeted");
    let elsewhere = thread::scope(|scope| {
        let (ask, asked) = std::sync::mpsc::channel::<()>();
        let other = scope.spawn(move || {
            asked.recv().unwrap();
            user_of_this_thread()
        });
        server
            .run_as_client(|| {
                ask.send(()).unwrap();
                other.join().unwrap()
            })
            .unwrap()
    });
    assert_eq!(elsewhere, 0);
    (&server).write_all(b"!").unwrap();
    alice.finish().expect_success();
    drop(server);

    let mut server = users.start(ALICE, "cannot act as root", &[&users.name()]);
    server.wait_for_stderr("serving");
    let client = client(&users.name()).any_server_user().create().unwrap();
    client.connect_timeout(limit()).unwrap();
    server.finish().expect_success();
}

pub(crate) fn cannot_act_as_root(words: &[String]) {
    let server = NamedPipeServerStream::new(&words[0]).unwrap();
    eprintln!("serving");
    server.wait_for_connection_timeout(limit()).unwrap();
    let mut ran = false;
    fails(server.run_as_client(|| ran = true), ErrorKind::UnauthorizedAccess);
    assert!(!ran);
}

#[test]
fn m19_a_socket_without_the_right_to_it_is_refused_at_once() {
    let Some(users) = Users::here() else { return };
    let _server = NamedPipeServerStream::new(users.name()).unwrap();
    users
        .start(BOB, "may not connect", &[&users.name()])
        .finish()
        .expect_success();
}

#[test]
fn m24_a_client_for_its_own_user_refuses_a_strangers_server() {
    let Some(users) = Users::here() else { return };
    let mut server = users.start(ALICE, "serves one user", &[&users.name(), "0"]);
    server.wait_for_stderr("serving");
    let own = "Could not connect to the pipe because it was not owned by the current user.";
    let connect = only_current_user(&users.name()).connect_timeout(limit());
    let error = fails_saying(connect, ErrorKind::UnauthorizedAccess, own);
    assert!(error.to_string().contains("54321"), "{error}");
    // The server may have seen a connection that ended.
    users
        .start(ALICE, "is greeted", &[&users.name()])
        .finish()
        .expect_success();
    server.wait_for_stderr("connected 54321");
    server.finish().expect_success();
}

#[test]
fn m25_the_user_is_known_at_once_for_every_level_and_after_the_client_has_left() {
    let Some(users) = Users::here() else { return };
    // A user whom no database knows has a number.
    let (server, alice) = with_alice(&users, "connects at every level");
    for _ in 0..5 {
        assert_eq!(server.get_impersonation_user_name().unwrap(), "54321");
        // Until the client has left.
        server.set_read_timeout(Some(limit()));
        let mut rest = Vec::new();
        (&server).read_to_end(&mut rest).unwrap();
        assert_eq!(server.get_impersonation_user_name().unwrap(), "54321");
        server.disconnect().unwrap();
        server.wait_for_connection_timeout(limit()).unwrap();
    }
    passes(1, &server, &server);
    alice.finish().expect_success();
}

pub(crate) fn connects_at_every_level(words: &[String]) {
    use TokenImpersonationLevel::{Anonymous, Delegation, Identification, Impersonation, None};
    let connect = |level| {
        let client = client(&words[0]).impersonation_level(level).create().unwrap();
        client.connect_timeout(limit()).unwrap();
        assert_eq!(client.impersonation_level(), level);
        client
    };
    for level in [None, Anonymous, Identification, Impersonation, Delegation] {
        (&connect(level)).write_all(b"here").unwrap();
    }
    let last = connect(None);
    last.set_read_timeout(Some(limit()));
    let byte = read_byte(&last).unwrap().unwrap();
    (&last).write_all(&[byte]).unwrap();
}
