//! Clients and servers that come in any order, are busy, leave early, or cannot be.

use std::io::{Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use dotpipe::{ErrorKind, NamedPipeClientStream, NamedPipeServerStream, PipeDirection, PipeOptions};
use dotpipe_testkit::limit;

use crate::support::{SHORT, join, kind, name, passes, spawn, wine_cannot};

#[test]
fn a_client_waits_for_a_server_that_is_not_there_yet() {
    let name = name();
    let client = NamedPipeClientStream::new(&name).unwrap();
    let connecting = spawn(move || client.connect_timeout(limit()).map(|()| client));
    thread::sleep(Duration::from_millis(20));
    let server = NamedPipeServerStream::new(&name).unwrap();
    server.wait_for_connection_timeout(limit()).unwrap();
    let client = connecting.join().unwrap().unwrap();
    passes(b"here", &server, &client);
}

#[test]
fn c114_a_second_client_of_a_busy_server_runs_out_of_time() {
    let server = NamedPipeServerStream::new(name()).unwrap();
    let first = NamedPipeClientStream::new(server.name().name()).unwrap();
    join(&server, &first);
    let second = NamedPipeClientStream::new(server.name().name()).unwrap();
    for time in [Duration::ZERO, SHORT] {
        let start = Instant::now();
        let error = second.connect_timeout(time).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(error.to_string().contains("All pipe instances are busy"), "{error}");
        assert!(start.elapsed() >= time);
    }
    // It is served as soon as the first has gone.
    let connecting = spawn(move || second.connect_timeout(limit()).map(|()| second));
    drop(first);
    server.disconnect().unwrap();
    server.wait_for_connection_timeout(limit()).unwrap();
    passes(b"your turn", &server, &connecting.join().unwrap().unwrap());
}

#[test]
fn a_missing_server_is_told_with_its_path() {
    let client = NamedPipeClientStream::new("nobody-has-made-this").unwrap();
    let error = client.connect_timeout(SHORT).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(error.to_string().contains(r"\\.\pipe\nobody-has-made-this"), "{error}");
    assert!(!client.is_connected());
}

#[test]
fn servers_that_come_and_go_fail_no_client() {
    let name = name();
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let servers = spawn({
        let (name, stop) = (name.clone(), std::sync::Arc::clone(&stop));
        move || {
            let mut served = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let Ok(server) = NamedPipeServerStream::new(&name) else {
                    continue;
                };
                if server.wait_for_connection_timeout(Duration::from_millis(3)).is_ok() {
                    let _ = (&server).write_all(b"hi");
                    let _ = server.wait_for_pipe_drain();
                    served += 1;
                }
            }
            served
        }
    });
    let clients: Vec<_> = (0..3)
        .map(|_| {
            let name = name.clone();
            spawn(move || {
                for _ in 0..10 {
                    let client = NamedPipeClientStream::new(&name).unwrap();
                    client.connect_timeout(limit()).unwrap();
                    // A server that gave up in the moment of the connect leaves an end without a greeting.
                    let mut greeting = Vec::new();
                    (&client).read_to_end(&mut greeting).unwrap();
                }
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(servers.join().unwrap() > 0);
}

#[test]
fn a_client_that_has_gone_before_the_wait_is_passed_over() {
    let server = NamedPipeServerStream::new(name()).unwrap();
    let gone = NamedPipeClientStream::new(server.name().name()).unwrap();
    gone.connect_timeout(limit()).unwrap();
    drop(gone);
    assert_eq!(kind(server.wait_for_connection_timeout(SHORT)), ErrorKind::TimedOut);
    let client = NamedPipeClientStream::new(server.name().name()).unwrap();
    join(&server, &client);
    passes(b"x", &client, &server);
}

#[test]
fn a_client_that_has_gone_and_left_something_is_served() {
    let server = NamedPipeServerStream::new(name()).unwrap();
    let gone = NamedPipeClientStream::new(server.name().name()).unwrap();
    gone.connect_timeout(limit()).unwrap();
    (&gone).write_all(b"left behind").unwrap();
    drop(gone);
    server.wait_for_connection_timeout(limit()).unwrap();
    let mut got = String::new();
    (&server).read_to_string(&mut got).unwrap();
    assert_eq!(got, "left behind");
}

#[test]
fn a_client_that_was_there_first_is_served() {
    let server = NamedPipeServerStream::new(name()).unwrap();
    let client = NamedPipeClientStream::new(server.name().name()).unwrap();
    client.connect_timeout(limit()).unwrap();
    (&client).write_all(b"before").unwrap();
    server.wait_for_connection_timeout(limit()).unwrap();
    assert_eq!(kind(server.wait_for_connection()), ErrorKind::InvalidOperation);
    let mut got = [0; 6];
    (&server).read_exact(&mut got).unwrap();
    assert_eq!(&got, b"before");
}

#[test]
fn c095_c087_conflicting_directions_are_refused_at_once() {
    for direction in [PipeDirection::In, PipeDirection::Out] {
        if direction == PipeDirection::Out && wine_cannot("C095, Out to Out", "looks at the generic rights only") {
            continue;
        }
        let server = NamedPipeServerStream::builder(name())
            .direction(direction)
            .create()
            .unwrap();
        let client = NamedPipeClientStream::builder(server.name().name())
            .direction(direction)
            .create()
            .unwrap();
        assert_eq!(kind(client.connect_timeout(limit())), ErrorKind::UnauthorizedAccess);
        assert!(!client.is_connected());
    }
}

#[test]
fn c045_c046_instances_over_the_number_or_of_another_direction_are_refused() {
    let single = NamedPipeServerStream::new(name()).unwrap();
    assert_eq!(
        kind(NamedPipeServerStream::new(single.name().name())),
        ErrorKind::InstancesBusy
    );
    let name = name();
    let make = |direction| {
        NamedPipeServerStream::builder(&name)
            .direction(direction)
            .max_number_of_server_instances(-1)
            .create()
    };
    let _first = make(PipeDirection::In).unwrap();
    assert_eq!(kind(make(PipeDirection::Out)), ErrorKind::UnauthorizedAccess);
    let _many: Vec<_> = (0..40).map(|_| make(PipeDirection::In).unwrap()).collect();
}

#[test]
fn the_first_instance_can_be_asked_for() {
    let name = name();
    let make = || {
        NamedPipeServerStream::builder(&name)
            .options(PipeOptions::FIRST_PIPE_INSTANCE)
            .max_number_of_server_instances(2)
            .create()
    };
    let _first = make().unwrap();
    if !wine_cannot(
        "FIRST_PIPE_INSTANCE",
        "ignores the flag: a second first instance is made",
    ) {
        assert_eq!(kind(make()), ErrorKind::UnauthorizedAccess);
    }
}

#[test]
fn names_are_not_case_sensitive_and_have_a_limit() {
    let server = NamedPipeServerStream::new(format!("{}-MiXeD", name())).unwrap();
    let client = NamedPipeClientStream::new(server.name().name().to_ascii_lowercase()).unwrap();
    join(&server, &client);
    let longest = 256 - r"\\.\pipe\".len();
    assert_eq!(
        kind(NamedPipeServerStream::new("x".repeat(longest + 1))),
        ErrorKind::ArgumentOutOfRange
    );
    assert_eq!(
        kind(NamedPipeClientStream::new("x".repeat(longest + 1))),
        ErrorKind::ArgumentOutOfRange
    );
    for bad in ["", "anonymous", "a/b", "a\0b"] {
        assert!(NamedPipeServerStream::new(bad).is_err(), "{bad:?}");
        assert!(NamedPipeClientStream::new(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn another_machine_is_the_systems_affair() {
    if wine_cannot("UNC names", "knows no other machines, and not its own by name") {
        return;
    }
    let server = NamedPipeServerStream::new(name()).unwrap();
    let client = NamedPipeClientStream::builder(server.name().name())
        .server_name("localhost")
        .create()
        .unwrap();
    // Remote clients are rejected, and this one comes by the network.
    assert_eq!(kind(client.connect_timeout(SHORT)), ErrorKind::UnauthorizedAccess);
}
