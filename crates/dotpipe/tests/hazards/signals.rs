//! Signals with a handler, which interrupt system calls: every call goes on as if nothing had been.

use std::fs;
use std::io::{Read, Write};

use dotpipe_testkit::{limit, pipe_folder};
use rustix::process::Signal;

use crate::kit::{client, name_in, server};
use crate::puppet::Puppet;

/// strace makes system calls fail as an interrupting signal does; no handler is needed, and none is missed.
fn interrupted(calls: &str) -> Option<Puppet> {
    if !crate::killed::strace_works() {
        return None;
    }
    let inject = format!("inject={calls}:error=EINTR:when=1..40+2");
    Some(Puppet::under(&[
        "strace",
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        &inject,
    ]))
}

#[test]
fn no_call_of_a_server_is_ended_by_a_signal() {
    let folder = pipe_folder();
    let name = name_in(&folder);
    let Some(mut puppet) = interrupted("poll,ppoll,accept4,recvfrom,sendto") else {
        return;
    };
    puppet.expect(&format!("create s {name}"));
    for _ in 0..5 {
        puppet.tell("& wait s");
        let client = client(&name);
        assert_eq!(puppet.answer(), "ok");
        puppet.tell("& read s 10");
        (&client).write_all(b"hello").unwrap();
        assert_eq!(puppet.answer(), "ok 5");
        puppet.tell("& write s 3000000");
        (&client).read_exact(&mut vec![0; 3_000_000]).unwrap();
        assert_eq!(puppet.answer(), "ok");
        puppet.expect("& write s 10");
        puppet.tell("& drain s");
        (&client).read_exact(&mut [0; 10]).unwrap();
        assert_eq!(puppet.answer(), "ok");
        puppet.expect("disconnect s");
    }
    puppet.expect("drop s");
}

#[test]
fn no_call_of_a_client_is_ended_by_a_signal() {
    let folder = pipe_folder();
    let name = name_in(&folder);
    let Some(mut puppet) = interrupted("poll,ppoll,connect,recvfrom,sendto") else {
        return;
    };
    for _ in 0..5 {
        puppet.tell(&format!("& client c {name} 30000"));
        let server = server(&name);
        server.wait_for_connection_timeout(limit()).unwrap();
        assert_eq!(puppet.answer(), "ok");
        puppet.tell("& read c 10");
        (&server).write_all(b"hello").unwrap();
        assert_eq!(puppet.answer(), "ok 5");
        puppet.expect("drop c");
    }
}

/// Real signals, and stops, which interrupt some calls without any handler (`signal(7)`).
#[test]
fn stopping_and_continuing_ends_no_call() {
    let folder = pipe_folder();
    let name = name_in(&folder);
    let mut puppet = Puppet::start();
    let stop_and_go = |puppet: &Puppet| {
        for _ in 0..20 {
            puppet.signal(Signal::STOP);
            dotpipe_testkit::eventually("it is stopped", || {
                let status = fs::read_to_string(format!("/proc/{}/status", puppet.pid)).unwrap();
                status.contains("State:\tT")
            });
            puppet.signal(Signal::CONT);
        }
    };
    puppet.tell(&format!("& client c {name} 30000"));
    stop_and_go(&puppet);
    let server = server(&name);
    assert_eq!(puppet.answer(), "ok");
    server.wait_for_connection_timeout(limit()).unwrap();
    puppet.tell("& read c 10");
    stop_and_go(&puppet);
    (&server).write_all(b"x").unwrap();
    assert_eq!(puppet.answer(), "ok 1");
    puppet.tell("& write c 3000000");
    stop_and_go(&puppet);
    (&server).read_exact(&mut vec![0; 3_000_000]).unwrap();
    assert_eq!(puppet.answer(), "ok");
    drop(puppet);
    assert_eq!((&server).read(&mut [0]).unwrap(), 0);
}
