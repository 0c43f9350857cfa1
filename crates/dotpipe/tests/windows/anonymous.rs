//! Anonymous pipes: both ends in one process, a child that inherits, and handles that are none.

use std::io::{Read, Write};
use std::process::Command;
use std::time::Duration;

use dotpipe::{
    AnonymousPipeClientStream, AnonymousPipeServerStream, CommandExt, ErrorKind, HandleInheritability, PipeDirection,
};
use dotpipe_testkit::{Process, limit};

use crate::support::{SHORT, kind, kind_of, passes, pattern, spawn};

fn pair(direction: PipeDirection) -> (AnonymousPipeServerStream, AnonymousPipeClientStream) {
    let server = AnonymousPipeServerStream::new(direction).unwrap();
    let handle = server.get_client_handle_as_string();
    let client = AnonymousPipeClientStream::from_handle_string(direction.opposite(), &handle).unwrap();
    for stream in [&*server, &*client] {
        stream.set_read_timeout(Some(limit()));
        stream.set_write_timeout(Some(limit()));
    }
    (server, client)
}

#[test]
fn bytes_pass_and_the_end_shows() {
    let (server, client) = pair(PipeDirection::Out);
    passes(b"to the client", &server, &client);
    let writer = spawn(move || (&server).write_all(&pattern(1 << 20)));
    let mut got = Vec::new();
    (&client).read_to_end(&mut got).unwrap();
    assert!(got == pattern(1 << 20));
    writer.join().unwrap().unwrap();

    let (server, client) = pair(PipeDirection::In);
    passes(b"to the server", &client, &server);
    let writer = spawn(move || (&client).write_all(&pattern(1 << 20)));
    let mut got = Vec::new();
    (&server).read_to_end(&mut got).unwrap();
    assert!(got == pattern(1 << 20));
    writer.join().unwrap().unwrap();
}

#[test]
fn time_limits_hold_at_both_ends_and_lose_nothing() {
    for direction in [PipeDirection::In, PipeDirection::Out] {
        let (server, client) = pair(direction);
        let (writer, reader) = if direction.can_write() {
            (&*server, &*client)
        } else {
            (&*client, &*server)
        };
        let mut reading = reader;
        for round in 0..5 {
            reader.set_read_timeout(Some(Duration::from_millis(5)));
            assert_eq!(kind_of(reading.read(&mut [0; 4])), ErrorKind::TimedOut);
            reader.set_read_timeout(Some(limit()));
            passes(&[round; 3], writer, reader);
        }
        writer.set_write_timeout(Some(SHORT));
        let (mut writing, bytes, mut sent) = (writer, pattern(1 << 20), 0);
        while let Ok(count) = writing.write(&bytes[sent..]) {
            sent += count;
        }
        let mut got = vec![0; sent];
        reading.read_exact(&mut got).unwrap();
        assert!(got == bytes[..sent]);
    }
}

#[test]
fn a_drain_waits_at_both_ends() {
    for direction in [PipeDirection::In, PipeDirection::Out] {
        let (server, client) = pair(direction);
        let (writer, reader) = if direction.can_write() {
            (&*server, &*client)
        } else {
            (&*client, &*server)
        };
        let (mut writing, mut reading) = (writer, reader);
        writing.write_all(b"12345").unwrap();
        writer.set_write_timeout(Some(SHORT));
        assert_eq!(kind(writer.wait_for_pipe_drain()), ErrorKind::TimedOut);
        writer.set_write_timeout(Some(limit()));
        std::thread::scope(|scope| {
            scope.spawn(|| reading.read_exact(&mut [0; 5]).unwrap());
            writer.wait_for_pipe_drain().unwrap();
        });
    }
}

#[test]
fn a_reader_that_waits_can_be_dropped_from_elsewhere() {
    let (server, client) = pair(PipeDirection::Out);
    client.set_read_timeout(Some(SHORT));
    assert_eq!(kind_of((&client).read(&mut [0])), ErrorKind::TimedOut);
    drop(client);
    assert_eq!(kind_of((&server).write_all(&pattern(1 << 20))), ErrorKind::Broken);
}

/// What the child of the next tests does: it reads what comes through the handle on its command line, and prints it.
/// As a test of its own it does nothing, as there is no handle in its environment.
#[test]
fn child_that_echoes() {
    let Ok(handle) = std::env::var("DOTPIPE_TEST_HANDLE") else {
        return;
    };
    match AnonymousPipeClientStream::from_handle_string(PipeDirection::In, &handle) {
        Ok(mut client) => {
            let mut text = String::new();
            client.read_to_string(&mut text).unwrap();
            println!("echo: {text}");
        }
        Err(error) => println!("echo: {:?}", error.kind()),
    }
}

fn child(handle: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "anonymous::child_that_echoes", "--nocapture"]);
    command.env("DOTPIPE_TEST_HANDLE", handle);
    command
}

#[test]
fn a_child_inherits_the_handle() {
    for inheritability in [HandleInheritability::None, HandleInheritability::Inheritable] {
        let server = AnonymousPipeServerStream::with_inheritability(PipeDirection::Out, inheritability).unwrap();
        let mut command = child(&server.get_client_handle_as_string());
        if inheritability == HandleInheritability::None {
            command.inherit_client_handle(&server);
        }
        let mut process = Process::start(&mut command);
        server.dispose_local_copy_of_client_handle();
        (&server).write_all(b"through the handle").unwrap();
        server.wait_for_pipe_drain().unwrap();
        drop(server);
        process.wait_for_stdout("echo: through the handle");
        process.finish().expect_success();
    }
}

#[test]
fn a_child_that_was_not_chosen_inherits_nothing() {
    let server = AnonymousPipeServerStream::new(PipeDirection::Out).unwrap();
    let mut process = Process::start(&mut child(&server.get_client_handle_as_string()));
    process.wait_for_stdout("echo: UnauthorizedAccess");
    process.finish().expect_success();
}

#[test]
fn handles_that_are_none_are_refused() {
    let take = |text: &str| AnonymousPipeClientStream::from_handle_string(PipeDirection::In, text);
    for text in ["", "x", "-1", "99999999999999999999"] {
        assert_eq!(kind(take(text)), ErrorKind::Argument, "{text}");
    }
    for text in ["0", "123456780"] {
        assert_eq!(kind(take(text)), ErrorKind::UnauthorizedAccess, "{text}");
    }
    let file = std::fs::File::open("Cargo.toml").unwrap();
    let number = std::os::windows::io::AsRawHandle::as_raw_handle(&file) as usize;
    assert_eq!(kind(take(&number.to_string())), ErrorKind::Argument);
    let server = AnonymousPipeServerStream::new(PipeDirection::Out).unwrap();
    let handle = server.get_client_handle_as_string();
    let wrong = AnonymousPipeClientStream::from_handle_string(PipeDirection::Out, &handle);
    assert_eq!(kind(wrong), ErrorKind::Argument);
    take(&handle).unwrap();
    assert_eq!(
        kind(AnonymousPipeServerStream::new(PipeDirection::InOut)),
        ErrorKind::NotSupported
    );
}
