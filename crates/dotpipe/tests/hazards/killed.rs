//! A server killed before each single system call of its creation and of its end, by strace; and stopped there, while
//! somebody else interferes.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use dotpipe::ErrorKind;
use dotpipe_testkit::{Process, TempDir, eventually, pipe_folder, skip};
use rustix::process::Signal;

use crate::kit::{client, dead_socket, name_in, nothing_left, private_folder, says, server};
use crate::puppet::Puppet;

/// Whether strace is here and may trace; a skip if not.
pub(crate) fn strace_works() -> bool {
    let mut command = Command::new("strace");
    command
        .args(["-f", "-o", "/dev/null", "true"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let works = command.status().is_ok_and(|status| status.success());
    if !works {
        skip("strace", "it is not installed, or must not trace here");
    }
    works
}

/// A puppet that holds a command on one of its threads, which strace watches, and in which it does what `injections` say.
struct Traced {
    puppet: Puppet,
    strace: Process,
    log: PathBuf,
}

impl Traced {
    fn new(folder: &TempDir, before: &[&str], command: &str, injections: &[&str]) -> Self {
        let mut puppet = Puppet::start();
        for command in before {
            puppet.expect(command);
        }
        let held = puppet.expect(&format!("@ {command}"));
        let log = folder.path().join("strace.log");
        let mut strace = Command::new("strace");
        strace.args(["-p", held.strip_prefix("tid ").unwrap(), "-o"]).arg(&log);
        for injection in injections {
            strace.args(["-e", &format!("inject={injection}")]);
        }
        let mut strace = Process::start(&mut strace);
        strace.wait_for_stderr("attached");
        puppet.tell("go");
        Self { puppet, strace, log }
    }

    /// Waits until strace has seen the thread or the process end.
    fn finish(self) -> (dotpipe_testkit::Finished, String) {
        self.strace.finish();
        let finished = self.puppet.finish();
        let log = fs::read_to_string(&self.log).unwrap();
        fs::remove_file(self.log).unwrap();
        (finished, log)
    }

    /// Waits until the puppet is stopped.
    fn wait_for_stop(&self) {
        let status = format!("/proc/{}/status", self.puppet.pid);
        eventually("the puppet is stopped", || {
            let status = fs::read_to_string(&status).unwrap_or_default();
            status
                .lines()
                .any(|line| line.starts_with("State:") && line.contains("stop"))
        });
    }
}

/// How often each system call happens in the command, in the order of their first appearance.
fn calls_of(folder: &TempDir, before: &[&str], command: &str) -> Vec<(String, usize)> {
    let mut traced = Traced::new(folder, before, command, &[]);
    assert_eq!(traced.puppet.answer(), "ok");
    let (_, log) = traced.finish();
    let mut calls: Vec<(String, usize)> = Vec::new();
    for call in log.lines().filter_map(|line| Some(line.split_once('(')?.0)) {
        match calls.iter_mut().find(|(name, _)| name == call) {
            Some((_, count)) => *count += 1,
            None => calls.push((call.to_owned(), 1)),
        }
    }
    calls
}

/// Kills the process before each call of the command, and has a new server created after each.
fn killed_at_every_step(before: &[&str], command: &str, plant: fn(&str), must_contain: &[&str]) {
    let folder = pipe_folder();
    let name = name_in(&folder);
    let before: Vec<String> = before.iter().map(|text| text.replace("NAME", &name)).collect();
    let before: Vec<&str> = before.iter().map(String::as_str).collect();
    let command = command.replace("NAME", &name);
    plant(&name);
    let calls = calls_of(&folder, &before, &command);
    let _ = fs::remove_file(&name);
    let _ = fs::remove_dir_all(private_folder(&folder));
    for call in must_contain {
        assert!(
            calls.iter().any(|(name, _)| name == call),
            "no {call} among the calls of '{command}': {calls:?}"
        );
    }
    for (call, count) in &calls {
        // Memory and locks within the process have no part in it, and the last call of a thread is its answer.
        if [
            "mmap", "munmap", "mprotect", "mremap", "madvise", "brk", "futex", "exit",
        ]
        .contains(&call.as_str())
        {
            continue;
        }
        for number in 1..=*count {
            plant(&name);
            let injection = format!("{call}:signal=SIGKILL:when={number}");
            let (finished, _) = Traced::new(&folder, &before, &command, &[&injection]).finish();
            assert_eq!(
                finished.status.signal(),
                Some(9),
                "it was not killed before {call} {number}"
            );

            let next = dotpipe::NamedPipeServerStream::new(&name);
            let next = next.unwrap_or_else(|error| panic!("after a kill before {call} {number}: {error}"));
            let client = client(&name);
            next.wait_for_connection().unwrap();
            drop((client, next));
            nothing_left(&folder, &[]);
            fs::remove_dir(private_folder(&folder)).unwrap();
        }
    }
}

#[test]
fn the_next_creation_succeeds_whenever_a_creation_is_killed() {
    if strace_works() {
        let must = [
            "mkdirat",
            "fcntl",
            "socket",
            "bind",
            "listen",
            "renameat2",
            "fchmodat",
            "openat",
            "newfstatat",
        ];
        killed_at_every_step(&[], "create s NAME", |_| {}, &must);
    }
}

#[test]
fn the_next_creation_succeeds_whenever_one_in_place_of_a_dead_socket_is_killed() {
    if strace_works() {
        let must = ["connect", "renameat2", "unlinkat", "bind", "sendto", "recvfrom"];
        killed_at_every_step(&[], "create s NAME", |name| dead_socket(name), &must);
    }
}

#[test]
fn the_next_creation_succeeds_whenever_a_server_is_killed_at_its_end() {
    if strace_works() {
        killed_at_every_step(
            &["create s NAME"],
            "drop s",
            |_| {},
            &["renameat", "unlinkat", "newfstatat"],
        );
    }
}

/// A command that is stopped right after a system call, while somebody else does something.
fn interfered<T>(folder: &TempDir, before: &[&str], command: &str, stop: &str, act: impl FnOnce() -> T) -> (String, T) {
    let mut traced = Traced::new(folder, before, command, &[stop]);
    traced.wait_for_stop();
    let result = act();
    traced.puppet.signal(Signal::CONT);
    let answer = traced.puppet.answer();
    traced.puppet.expect("drop s");
    traced.finish();
    (answer, result)
}

/// As .NET does it: remove what is there, and bind.
fn take_over(name: &str) -> UnixListener {
    let _ = fs::remove_file(name);
    UnixListener::bind(name).unwrap()
}

/// Whether a listener is still the one that is reached by its name.
#[track_caller]
fn is_reached(name: &str, listener: &UnixListener) {
    listener.set_nonblocking(true).unwrap();
    UnixStream::connect(name).unwrap();
    listener.accept().expect("its name leads to this server");
}

/// Between the proof that a socket is dead and its replacement, a live one takes its place, most likely with its number.
#[test]
fn a_socket_that_comes_to_life_at_the_last_moment_is_not_stolen() {
    if !strace_works() {
        return;
    }
    let folder = pipe_folder();
    let name = name_in(&folder);
    for round in 0..5 {
        dead_socket(&name);
        let stop = "connect:signal=SIGSTOP:when=1";
        let (answer, listener) = interfered(&folder, &[], &format!("create s {name}"), stop, || take_over(&name));
        assert!(answer.starts_with("error InstancesBusy: "), "round {round}: {answer}");
        says(&answer, &std::process::id().to_string());
        is_reached(&name, &listener);
        fs::remove_file(&name).unwrap();
        nothing_left(&folder, &[]);
    }
}

/// The worst case of it: the live socket was taken out, and before it is put back yet another one has been bound.
#[test]
fn a_socket_bound_while_a_wrong_exchange_is_undone_is_not_stolen_either() {
    if !strace_works() {
        return;
    }
    let folder = pipe_folder();
    let name = name_in(&folder);
    dead_socket(&name);
    let stops = ["connect:signal=SIGSTOP:when=1", "renameat2:signal=SIGSTOP:when=1"];
    let mut traced = Traced::new(&folder, &[], &format!("create s {name}"), &stops);
    traced.wait_for_stop();
    let robbed = take_over(&name);
    let own = fs::symlink_metadata(&name).unwrap().ino();
    traced.puppet.signal(Signal::CONT);
    eventually("it has made the exchange", || {
        fs::symlink_metadata(&name).unwrap().ino() != own
    });
    traced.wait_for_stop();
    let newest = take_over(&name);
    traced.puppet.signal(Signal::CONT);
    let answer = traced.puppet.answer();
    assert!(answer.starts_with("error InstancesBusy: "), "{answer}");
    is_reached(&name, &newest);
    drop(robbed);
    traced.finish();
    fs::remove_file(&name).unwrap();
    nothing_left(&folder, &[]);
}

/// A name that was free when the server looked, and is not when it publishes.
#[test]
fn a_name_taken_at_the_last_moment_is_not_stolen() {
    if !strace_works() {
        return;
    }
    let folder = pipe_folder();
    let name = name_in(&folder);
    let stop = "listen:signal=SIGSTOP:when=1";
    let (answer, listener) = interfered(&folder, &[], &format!("create s {name}"), stop, || take_over(&name));
    assert!(answer.starts_with("error InstancesBusy: "), "{answer}");
    is_reached(&name, &listener);
    fs::remove_file(&name).unwrap();
    // A file instead of a server.
    let (answer, ()) = interfered(&folder, &[], &format!("create s {name}"), stop, || {
        fs::write(&name, "x").unwrap()
    });
    assert!(answer.starts_with("error Io: "), "{answer}");
    assert_eq!(fs::read_to_string(&name).unwrap(), "x");
    // A dead socket: it is replaced.
    fs::remove_file(&name).unwrap();
    let (answer, ()) = interfered(&folder, &[], &format!("create s {name}"), stop, || dead_socket(&name));
    assert_eq!(answer, "ok");
    nothing_left(&folder, &[]);
}

/// A server at its end looks whether the socket is still its own, and then moves it away.
#[test]
fn a_thief_who_comes_while_the_name_is_given_up_keeps_it() {
    if !strace_works() {
        return;
    }
    let folder = pipe_folder();
    let name = name_in(&folder);
    let create = format!("create s {name}");
    // The random name for moving aside is made after the look.
    let stop = "getrandom:signal=SIGSTOP:when=1";
    let (answer, listener) = interfered(&folder, &[&create], "drop s", stop, || take_over(&name));
    assert_eq!(answer, "ok");
    is_reached(&name, &listener);
    fs::remove_file(&name).unwrap();
    nothing_left(&folder, &[]);
}

/// The lock is opened, and deleted before it is locked; a second server has a new lock by then.
#[test]
fn a_lock_that_was_deleted_before_it_was_taken_is_no_lock() {
    if !strace_works() {
        return;
    }
    let folder = pipe_folder();
    let name = name_in(&folder);
    drop(server(&name));
    // Left by a killed holder, so that it is opened and not made.
    let lock = crate::kit::lock_file(&folder);
    fs::write(&lock, "").unwrap();
    let before_lock = "openat:signal=SIGSTOP:when=1";
    let (answer, winner) = interfered(&folder, &[], &format!("create s {name}"), before_lock, || {
        fs::remove_file(&lock).unwrap();
        server(&name)
    });
    assert!(
        answer.starts_with(&format!("error {:?}: ", ErrorKind::InstancesBusy)),
        "{answer}"
    );
    let client = client(&name);
    winner.wait_for_connection().unwrap();
    drop((client, winner));
    assert!(!Path::new(&name).exists());
    nothing_left(&folder, &[]);
}
