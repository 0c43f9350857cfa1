//! Descriptors that run out, and queues that are full.

use std::fs::File;
use std::io;
use std::sync::Mutex;
use std::time::Duration;

use dotpipe::{ErrorKind, NamedPipeClientStream};
use dotpipe_testkit::{limit, pipe_folder};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, bind, listen, socket};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::kit::{Pending, client, error_of, name_in, nothing_left, says};
use crate::puppet::Puppet;

static HELD: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// Opens files until there is no descriptor left. Run by puppets.
pub(crate) fn use_up_descriptors() -> io::Result<String> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(64),
            ..limit
        },
    )?;
    let mut held = HELD.lock().unwrap();
    loop {
        match File::open("/dev/null") {
            Ok(file) => held.push(file),
            Err(error) if error.raw_os_error() == Some(24) => return Ok(format!("ok {}", held.len())),
            Err(error) => return Err(error),
        }
    }
}

pub(crate) fn give_descriptors_back() -> io::Result<String> {
    HELD.lock().unwrap().clear();
    Ok("ok".to_owned())
}

/// How many system calls a thread or a sleep makes is counted by strace, as no clock is to be trusted.
#[test]
fn a_server_without_descriptors_serves_again_when_they_return() {
    let folder = pipe_folder();
    let name = name_in(&folder);
    for waits_before in [true, false] {
        let mut server = Puppet::start();
        server.expect(&format!("create s {name}"));
        if waits_before {
            // A thread that has waited before has what it needs to wait again.
            server.expect_error("wait s 0", ErrorKind::TimedOut);
        }
        server.expect("limit-descriptors");
        let _client = client(&name);
        server.expect_error("wait s 30", ErrorKind::TimedOut);
        let before = calls_of(server.pid);
        server.tell("& wait s");
        // It waits for a long time, as far as a program is concerned.
        server.expect_error("& wait s 500", ErrorKind::TimedOut);
        let made = calls_of(server.pid) - before;
        assert!(made < 100, "{made} switches while there was nothing to do");
        server.expect("free-descriptors");
        assert_eq!(server.answer(), "ok");
        server.expect("drop s");
        nothing_left(&folder, &[]);
    }
}

/// How often the threads of a process gave up the processor: once for each wait.
fn calls_of(pid: u32) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    tasks
        .filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("status")).ok())
        .filter_map(|status| {
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
            line.trim().parse::<u64>().ok()
        })
        .sum()
}

#[test]
fn nothing_is_left_of_a_creation_that_found_no_descriptor() {
    let folder = pipe_folder();
    let name = name_in(&folder);
    let mut puppet = Puppet::start();
    puppet.expect("limit-descriptors");
    puppet.expect_error(&format!("create s {name}"), ErrorKind::Io);
    puppet.expect_error(&format!("client c {name} 100"), ErrorKind::Io);
    puppet.expect("free-descriptors");
    nothing_left(&folder, &[]);
    puppet.expect(&format!("create s {name}"));
    puppet.expect("drop s");
    nothing_left(&folder, &[]);
}

#[test]
fn a_full_queue_keeps_the_clients_limit_and_lets_it_in_when_there_is_room() {
    let folder = pipe_folder();
    let name = name_in(&folder);
    let listener = socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    bind(&listener, &SocketAddrUnix::new(&*name).unwrap()).unwrap();
    listen(&listener, 0).unwrap();
    let _first = client(&name);
    for limit in [0, 1, 60, 120] {
        let second = NamedPipeClientStream::new(&name).unwrap();
        let text = error_of(
            second.connect_timeout(Duration::from_millis(limit)),
            ErrorKind::TimedOut,
        );
        says(&text, "its queue is full");
    }
    let third = Pending::start({
        let name = name.clone();
        move || NamedPipeClientStream::new(name).unwrap().connect()
    });
    assert!(third.goes_on());
    rustix::net::accept(&listener).unwrap();
    third.result().unwrap();
    // One that waits for ever can be called off.
    let fourth = std::sync::Arc::new(NamedPipeClientStream::new(&name).unwrap());
    for end in ["cancel", "close"] {
        let there = std::sync::Arc::clone(&fourth);
        let pending = Pending::start(move || there.connect());
        if end == "cancel" {
            fourth.canceller().cancel();
            error_of(pending.result(), ErrorKind::Canceled);
            fourth.canceller().reset();
        } else {
            fourth.close();
            error_of(pending.result(), ErrorKind::ObjectDisposed);
        }
    }
    drop(listener);
    std::fs::remove_file(&name).unwrap();
}

#[test]
fn a_client_that_gave_up_in_the_queue_never_surfaces() {
    let folder = pipe_folder();
    let name = name_in(&folder);
    let server = crate::kit::server(&name);
    for _ in 0..200 {
        drop(client(&name));
    }
    error_of(server.wait_for_connection_timeout(Duration::ZERO), ErrorKind::TimedOut);
    for _ in 0..200 {
        drop(client(&name));
    }
    let there = client(&name);
    server.wait_for_connection_timeout(limit()).unwrap();
    assert_eq!(server.client_identity().unwrap().pid(), Some(std::process::id()));
    drop(there);
    // One that left a message behind is worth a connection.
    server.disconnect().unwrap();
    let brief = client(&name);
    io::Write::write_all(&mut &brief, b"bye").unwrap();
    drop(brief);
    server.wait_for_connection_timeout(limit()).unwrap();
    let mut said = String::new();
    io::Read::read_to_string(&mut &server, &mut said).unwrap();
    assert_eq!(said, "bye");
}
