//! Handles of anonymous pipes that are none, and children that must not have one.

use std::fs::{self, File};
use std::io::{ErrorKind as IoKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use dotpipe::{
    AnonymousPipeClientStream, AnonymousPipeServerStream, CommandExt, ErrorKind, HandleInheritability, PipeDirection,
};
use dotpipe_testkit::{Process, eventually, pipe_folder};
use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};
use rustix::pipe::PipeFlags;

use crate::kit::{Pending, error_of, says};
use crate::puppet::Puppet;

fn client_of(direction: PipeDirection, handle: &str) -> dotpipe::Result<AnonymousPipeClientStream> {
    AnonymousPipeClientStream::from_handle_string(direction, handle)
}

/// Makes a descriptor look inherited.
fn inheritable(fd: impl Into<OwnedFd>) -> OwnedFd {
    let fd = fd.into();
    fcntl_setfd(&fd, FdFlags::empty()).unwrap();
    fd
}

#[test]
fn a_handle_string_that_is_no_number_is_refused() {
    for text in [
        "",
        " ",
        "x",
        "-1",
        "1.5",
        "0x5",
        "99999999999999999999",
        "5 5",
        "５",
        "\0",
        "+",
    ] {
        let error = client_of(PipeDirection::In, text).unwrap_err();
        assert_eq!(
            (error.kind(), error.parameter()),
            (ErrorKind::Argument, Some("pipeHandleAsString")),
            "{text:?}"
        );
    }
    error_of(client_of(PipeDirection::InOut, "5"), ErrorKind::NotSupported);
}

/// In a process of its own: a number that is free, or looks inherited, may be another test's a moment later.
#[track_caller]
fn in_own_process(case: &str) {
    Puppet::start().expect(&format!("anonymous {case}"));
}

/// Run by puppets.
pub(crate) fn case(name: &str) {
    match name {
        "not-open" => not_open(),
        "no-pipe" => no_pipe(),
        "wrong-end" => wrong_end(),
        "adopted-twice" => adopted_twice(),
        _ => panic!("no such case"),
    }
}

#[test]
fn a_handle_that_is_not_open_is_refused() {
    in_own_process("not-open");
}

#[test]
fn what_is_no_pipe_is_refused_and_stays_open() {
    in_own_process("no-pipe");
}

#[test]
fn the_wrong_end_is_refused_and_stays_open() {
    in_own_process("wrong-end");
}

#[test]
fn of_threads_that_adopt_one_handle_one_gets_it() {
    in_own_process("adopted-twice");
}

fn not_open() {
    error_of(client_of(PipeDirection::In, "1000000"), ErrorKind::UnauthorizedAccess);
    error_of(
        client_of(PipeDirection::In, &i32::MAX.to_string()),
        ErrorKind::UnauthorizedAccess,
    );
    let server = AnonymousPipeServerStream::new(PipeDirection::Out).unwrap();
    let handle = server.get_client_handle_as_string();
    drop(client_of(PipeDirection::In, &handle).unwrap());
    // It was taken and closed.
    error_of(client_of(PipeDirection::In, &handle), ErrorKind::UnauthorizedAccess);
}

fn no_pipe() {
    let folder = pipe_folder();
    let file = inheritable(File::create(folder.path().join("file")).unwrap());
    let directory = inheritable(File::open(folder.path()).unwrap());
    let device = inheritable(File::open("/dev/null").unwrap());
    let datagrams = inheritable(std::os::unix::net::UnixDatagram::unbound().unwrap());
    let internet = inheritable(std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    for fd in [&file, &directory, &device, &datagrams, &internet] {
        let error = client_of(PipeDirection::In, &fd.as_raw_fd().to_string()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
        says(&error.to_string(), "neither a pipe nor a Unix stream socket");
        assert_eq!(fcntl_getfd(fd).unwrap(), FdFlags::empty(), "it was touched");
        error_of(
            AnonymousPipeClientStream::from_handle(PipeDirection::In, fd.try_clone().unwrap()),
            ErrorKind::Io,
        );
    }
}

fn wrong_end() {
    let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).unwrap();
    let (reader, writer) = (inheritable(reader), inheritable(writer));
    for (fd, direction) in [(&reader, PipeDirection::Out), (&writer, PipeDirection::In)] {
        let error = client_of(direction, &fd.as_raw_fd().to_string()).unwrap_err();
        assert_eq!(
            (error.kind(), error.parameter()),
            (ErrorKind::Argument, Some("pipeHandleAsString"))
        );
        says(&error.to_string(), "wrong end");
        assert_eq!(fcntl_getfd(fd).unwrap(), FdFlags::empty());
    }
    // The server's own copy, in its own process.
    let mut server = AnonymousPipeServerStream::new(PipeDirection::In).unwrap();
    let handle = server.get_client_handle_as_string();
    error_of(client_of(PipeDirection::In, &handle), ErrorKind::Argument);
    let mut client = client_of(PipeDirection::Out, &handle).unwrap();
    client.write_all(b"x").unwrap();
    drop(client);
    let mut said = String::new();
    server.read_to_string(&mut said).unwrap();
    assert_eq!(said, "x");
}

fn adopted_twice() {
    for _ in 0..200 {
        let (reader, _writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).unwrap();
        // As if it had been inherited: owned by nobody here.
        let handle = {
            let fd = inheritable(reader);
            let number = fd.as_raw_fd();
            std::mem::forget(fd);
            number.to_string()
        };
        let adopters: Vec<_> = (0..4)
            .map(|_| {
                let handle = handle.clone();
                thread::spawn(move || client_of(PipeDirection::In, &handle).ok())
            })
            .collect();
        let adopted: Vec<_> = adopters
            .into_iter()
            .filter_map(|thread| thread.join().unwrap())
            .collect();
        assert_eq!(adopted.len(), 1);
    }
}

#[test]
fn what_this_process_has_opened_for_itself_is_refused() {
    let (reader, _writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).unwrap();
    says(
        &error_of(
            client_of(PipeDirection::In, &reader.as_raw_fd().to_string()),
            ErrorKind::Argument,
        ),
        "It was not inherited",
    );
    assert_eq!(fcntl_getfd(&reader).unwrap(), FdFlags::CLOEXEC);
}

/// Which pipes a process has open: by their number in the kernel, whatever its descriptor's.
fn pipes_of(pid: u32) -> Vec<u64> {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return Vec::new();
    };
    let pipes = descriptors.flatten().filter_map(|descriptor| {
        let target = fs::read_link(descriptor.path()).ok()?;
        target.to_str()?.strip_prefix("pipe:[")?.strip_suffix(']')?.parse().ok()
    });
    pipes.collect()
}

fn number_of(server: &AnonymousPipeServerStream) -> u64 {
    File::from(server.as_fd().try_clone_to_owned().unwrap())
        .metadata()
        .unwrap()
        .ino()
}

/// Other threads start children all the time. None of those ever has an end of the pipe, but the chosen one has.
#[test]
fn exactly_the_chosen_child_inherits_the_client_handle() {
    let stop = Arc::new(AtomicBool::new(false));
    // Each child says which pipes it has, from inside: so it has no time to be looked at before it is the new program.
    let list = "ls -l /proc/self/fd | sed -n 's/.*pipe:.\\([0-9]*\\).*/\\1/p'";
    let spawners: Vec<_> = (0..3)
        .map(|_| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                let mut seen: Vec<u64> = Vec::new();
                while !stop.load(Ordering::SeqCst) {
                    let output = Command::new("sh")
                        .args(["-c", list])
                        .stdin(Stdio::null())
                        .output()
                        .unwrap();
                    let text = String::from_utf8(output.stdout).unwrap();
                    seen.extend(text.lines().map(|line| line.parse::<u64>().unwrap()));
                }
                seen
            })
        })
        .collect();
    let mut numbers = Vec::new();
    for round in 0..150 {
        let direction = if round % 2 == 0 {
            PipeDirection::Out
        } else {
            PipeDirection::In
        };
        let mut server = AnonymousPipeServerStream::new(direction).unwrap();
        let number = number_of(&server);
        let handle = server.get_client_handle_as_string();
        let script = if direction == PipeDirection::Out {
            format!("read line <&{handle}; test \"$line\" = hello")
        } else {
            format!("echo hello >&{handle}; read wait || true")
        };
        let mut chosen = Command::new("bash");
        chosen
            .args(["-c", &script])
            .stdin(Stdio::piped())
            .inherit_client_handle(&server);
        let mut child = chosen.spawn().unwrap();
        server.dispose_local_copy_of_client_handle();
        assert!(pipes_of(child.id()).contains(&number), "the chosen child has it");
        if direction == PipeDirection::Out {
            server.write_all(b"hello\n").unwrap();
            server.wait_for_pipe_drain().unwrap();
        } else {
            let mut line = [0; 6];
            server.read_exact(&mut line).unwrap();
        }
        drop(child.stdin.take());
        assert!(child.wait().unwrap().success());
        // Nobody else holds the other end: it is gone with the child.
        match direction {
            // A child of another thread has a copy of everything between its fork and its exec, and loses it then.
            PipeDirection::Out => eventually("the pipe is broken", || {
                server
                    .write(b"x")
                    .is_err_and(|error| error.kind() == IoKind::BrokenPipe)
            }),
            _ => assert_eq!(server.read(&mut [0]).unwrap(), 0),
        }
        numbers.push(number);
    }
    stop.store(true, Ordering::SeqCst);
    let mut looked = 0;
    for spawner in spawners {
        for pipe in spawner.join().unwrap() {
            looked += 1;
            assert!(
                !numbers.contains(&pipe),
                "a child of another thread had the pipe {pipe}"
            );
        }
    }
    assert!(looked > 100, "the other children were not there: {looked}");
}

#[test]
fn a_child_started_after_the_handle_was_disposed_of_is_an_error() {
    let server = AnonymousPipeServerStream::new(PipeDirection::Out).unwrap();
    let mut command = Command::new("true");
    command.inherit_client_handle(&server);
    command.status().unwrap();
    server.dispose_local_copy_of_client_handle();
    assert!(command.status().is_err());
    drop(server);
    assert!(command.status().is_err());
}

#[test]
fn an_inheritable_handle_is_what_every_child_gets() {
    let server =
        AnonymousPipeServerStream::with_inheritability(PipeDirection::Out, HandleInheritability::Inheritable).unwrap();
    let handle = server.get_client_handle_as_string();
    let script = format!("test -e /proc/self/fd/{handle}");
    assert!(Command::new("sh").args(["-c", &script]).status().unwrap().success());
    let private = AnonymousPipeServerStream::new(PipeDirection::Out).unwrap();
    let script = format!("test -p /proc/self/fd/{}", private.get_client_handle_as_string());
    assert!(!Command::new("sh").args(["-c", &script]).status().unwrap().success());
}

#[test]
fn a_reader_that_is_killed_ends_a_write_and_a_drain() {
    for drains in [false, true] {
        let mut server = AnonymousPipeServerStream::new(PipeDirection::Out).unwrap();
        let mut command = Command::new("sleep");
        command.arg("1000").inherit_client_handle(&server);
        let child = Process::start(&mut command);
        server.dispose_local_copy_of_client_handle();
        if drains {
            server.write_all(b"unread").unwrap();
        }
        let pending = Pending::start(move || {
            if drains {
                return server.wait_for_pipe_drain().map_err(std::io::Error::from);
            }
            loop {
                server.write_all(&[0; 100_000])?;
            }
        });
        drop(child);
        error_of(pending.result(), ErrorKind::Broken);
    }
}

#[test]
fn a_writer_that_is_killed_is_an_end_and_what_it_wrote_is_read() {
    let mut server = AnonymousPipeServerStream::new(PipeDirection::In).unwrap();
    let mut command = Command::new("bash");
    let script = format!("echo hello >&{}; exec sleep 1000", server.get_client_handle_as_string());
    command.args(["-c", &script]).inherit_client_handle(&server);
    let child = Process::start(&mut command);
    server.dispose_local_copy_of_client_handle();
    let mut byte = [0];
    server.read_exact(&mut byte).unwrap();
    drop(child);
    let mut rest = String::new();
    server.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "ello\n");
}

#[test]
fn a_canceller_ends_the_calls_of_anonymous_streams_too() {
    let reader = AnonymousPipeServerStream::new(PipeDirection::In).unwrap();
    let writer = AnonymousPipeServerStream::new(PipeDirection::Out).unwrap();
    let (stop_reading, stop_writing) = (reader.canceller(), writer.canceller());
    let read = Pending::start(move || (&reader).read(&mut [0]));
    let write = Pending::start(move || (&writer).write_all(&[0; 10_000_000]));
    stop_reading.cancel();
    stop_writing.cancel();
    error_of(read.result(), ErrorKind::Canceled);
    error_of(write.result(), ErrorKind::Canceled);
}
