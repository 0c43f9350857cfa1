//! What a stream sees when the process at its other end is killed, leaves, or has been refused; and what a drain may say.

use std::io::{ErrorKind as IoKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use dotpipe::{ErrorKind, NamedPipeServerStream};
use dotpipe_testkit::{TempDir, eventually, limit, pipe_folder};

use crate::kit::{Pending, error_of, name_in, nothing_left, says, server};
use crate::puppet::Puppet;

/// A server here, connected with a puppet's client `c`.
fn connected() -> (TempDir, Arc<NamedPipeServerStream>, Puppet) {
    let folder = pipe_folder();
    let name = name_in(&folder);
    let server = server(&name);
    let mut puppet = Puppet::start();
    puppet.expect(&format!("client c {name} 10000"));
    server.wait_for_connection_timeout(limit()).unwrap();
    (folder, Arc::new(server), puppet)
}

#[test]
fn a_reader_sees_the_end_when_the_peer_is_killed() {
    let (folder, server, puppet) = connected();
    let there = Arc::clone(&server);
    let reader = Pending::start(move || (&*there).read(&mut [0; 8]));
    puppet.kill();
    assert_eq!(reader.result().unwrap(), 0);
    drop(server);
    nothing_left(&folder, &[]);
}

#[test]
fn a_writer_fails_when_the_peer_is_killed() {
    let (_folder, server, puppet) = connected();
    let there = Arc::clone(&server);
    let writer = Pending::start(move || {
        loop {
            if let Err(error) = (&*there).write_all(&[0; 1 << 20]) {
                return error;
            }
        }
    });
    puppet.kill();
    let error = writer.result();
    assert_eq!(error.kind(), IoKind::BrokenPipe);
    error_of(Err::<(), _>(error), ErrorKind::Broken);
    assert!(!server.is_connected());
    error_of((&*server).write(b"x"), ErrorKind::Broken);
    error_of((&*server).flush(), ErrorKind::Broken);
    assert_eq!((&*server).read(&mut [0; 8]).unwrap(), 0);
    // .NET's state Broken: disconnect first.
    says(
        &error_of(server.wait_for_connection(), ErrorKind::Broken),
        "call disconnect first",
    );
    server.disconnect().unwrap();
    let _next = crate::kit::client(server.path().to_str().unwrap());
    server.wait_for_connection().unwrap();
}

#[test]
fn a_write_to_a_peer_that_was_killed_fails_at_once() {
    let (_folder, server, puppet) = connected();
    puppet.kill();
    error_of((&*server).write(b"x"), ErrorKind::Broken);
}

#[test]
fn a_drain_fails_when_the_peer_is_killed_before_it_has_read() {
    let (_folder, server, mut puppet) = connected();
    (&*server).write_all(b"hello").unwrap();
    assert_eq!(puppet.expect("read c 4"), "ok 4");
    let there = Arc::clone(&server);
    let drain = Pending::start(move || there.wait_for_pipe_drain());
    puppet.kill();
    says(
        &error_of(drain.result(), ErrorKind::Broken),
        "what it had not read is lost",
    );
    error_of(server.wait_for_pipe_drain(), ErrorKind::Broken);
}

/// The kernel's count of unread bytes is 0 after the peer has closed, whether it read them or not.
#[test]
fn a_drain_that_starts_too_late_is_told_the_truth() {
    for read in [0, 4, 5] {
        let (_folder, server, mut puppet) = connected();
        (&*server).write_all(b"hello").unwrap();
        if read > 0 {
            assert_eq!(puppet.expect(&format!("read c {read}")), format!("ok {read}"));
        }
        puppet.kill();
        if read == 5 {
            server.wait_for_pipe_drain().unwrap();
            // Twice, and with something that nobody will read.
            server.wait_for_pipe_drain().unwrap();
        } else {
            error_of(server.wait_for_pipe_drain(), ErrorKind::Broken);
        }
        error_of((&*server).write(b"x"), ErrorKind::Broken);
    }
}

#[test]
fn a_drain_ends_when_the_last_byte_is_read_and_not_before() {
    let (_folder, server, mut puppet) = connected();
    for count in [1, 5, 100_000] {
        (&*server).write_all(&vec![b'x'; count]).unwrap();
        let there = Arc::clone(&server);
        let drain = Pending::start(move || there.wait_for_pipe_drain());
        let mut left = count;
        while left > 1 {
            let answer = puppet.expect(&format!("read c {}", (left - 1).min(30_000)));
            left -= answer.rsplit(' ').next().unwrap().parse::<usize>().unwrap();
        }
        assert!(drain.goes_on(), "a byte is unread");
        assert_eq!(puppet.expect("read c 1"), "ok 1");
        drain.result().unwrap();
    }
    // Nothing was written since: it ends at once.
    server.wait_for_pipe_drain().unwrap();
}

/// It can still read what it was sent.
#[test]
fn a_drain_waits_for_a_peer_that_has_shut_both_directions_down() {
    let folder = pipe_folder();
    let name = name_in(&folder);
    let server = server(&name);
    let mut stream = UnixStream::connect(&name).unwrap();
    server.wait_for_connection_timeout(limit()).unwrap();
    (&server).write_all(b"hello").unwrap();
    stream.shutdown(std::net::Shutdown::Both).unwrap();
    server.set_write_timeout(Some(Duration::from_millis(20)));
    error_of(server.wait_for_pipe_drain(), ErrorKind::TimedOut);
    stream.read_exact(&mut [0; 5]).unwrap();
    server.wait_for_pipe_drain().unwrap();
}

#[test]
fn what_was_written_before_a_kill_is_still_read() {
    for unread in [false, true] {
        let (_folder, server, mut puppet) = connected();
        puppet.expect("write c 100000");
        if unread {
            // The peer leaves something unread, so that the connection is reset and not ended.
            (&*server).write_all(b"never read").unwrap();
        }
        puppet.kill();
        let mut got = Vec::new();
        (&*server).read_to_end(&mut got).unwrap();
        assert_eq!(got.len(), 100_000);
        assert_eq!((&*server).read(&mut [0]).unwrap(), 0);
        error_of((&*server).write(b"x"), ErrorKind::Broken);
    }
}

#[test]
fn what_was_written_before_a_disconnect_or_drop_is_still_read() {
    for end in ["disconnect", "drop", "close"] {
        let (_folder, server, mut puppet) = connected();
        (&*server).write_all(&[b'x'; 1000]).unwrap();
        match end {
            "disconnect" => server.disconnect().unwrap(),
            "drop" => drop(Arc::into_inner(server).unwrap()),
            _ => server.close(),
        }
        assert_eq!(puppet.expect("read c 2000"), "ok 1000", "{end}");
        assert_eq!(puppet.expect("read c 2000"), "ok 0", "{end}");
        puppet.expect_error("write c 1", ErrorKind::Broken);
    }
}

#[test]
fn a_server_killed_in_each_of_its_states_frees_its_client() {
    let folder = pipe_folder();
    let name = name_in(&folder);
    // Queued and never accepted; accepted; in the middle of a write.
    for state in ["queued", "accepted", "writing"] {
        let mut puppet = Puppet::start();
        puppet.expect(&format!("create s {name}"));
        if state != "queued" {
            puppet.tell("wait s");
        }
        let client = Arc::new(crate::kit::client(&name));
        if state != "queued" {
            assert_eq!(puppet.answer(), "ok");
        }
        if state == "writing" {
            puppet.tell("& write s 100000000");
            let mut bytes = [0; 10];
            (&*client).read_exact(&mut bytes).unwrap();
        }
        let there = Arc::clone(&client);
        let reader = Pending::start(move || {
            let mut all = Vec::new();
            (&*there).read_to_end(&mut all).map(|_| ())
        });
        puppet.kill();
        // A queued connection whose server is gone is reset, which is an end like any other.
        reader.result().unwrap();
        error_of((&*client).write_all(b"x"), ErrorKind::Broken);
        drop(server(&name));
        nothing_left(&folder, &[]);
    }
}

#[test]
fn a_client_killed_while_it_waits_leaves_the_server_waiting() {
    let folder = pipe_folder();
    let name = name_in(&folder);
    let mut puppet = Puppet::start();
    puppet.tell(&format!("& client c {name} 30000"));
    eventually("it watches the folder", || {
        let descriptors = std::fs::read_dir(format!("/proc/{}/fd", puppet.pid)).unwrap();
        descriptors
            .flatten()
            .any(|it| std::fs::read_link(it.path()).is_ok_and(|target| target.to_string_lossy().contains("inotify")))
    });
    puppet.kill();
    let server = server(&name);
    error_of(
        server.wait_for_connection_timeout(Duration::from_millis(20)),
        ErrorKind::TimedOut,
    );
}

#[test]
fn a_peer_that_is_stopped_is_no_peer_that_is_gone() {
    let (_folder, server, mut puppet) = connected();
    puppet.signal(rustix::process::Signal::STOP);
    (&*server).write_all(b"x").unwrap();
    server.set_read_timeout(Some(Duration::from_millis(20)));
    server.set_write_timeout(Some(Duration::from_millis(20)));
    error_of((&*server).read(&mut [0]), ErrorKind::TimedOut);
    error_of(server.wait_for_pipe_drain(), ErrorKind::TimedOut);
    puppet.signal(rustix::process::Signal::CONT);
    assert_eq!(puppet.expect("read c 1"), "ok 1");
    server.set_write_timeout(Some(limit()));
    server.wait_for_pipe_drain().unwrap();
}
