//! Every call that waits, ended from another thread in each way, and by its time-out.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use dotpipe::{ErrorKind, NamedPipeClientStream, NamedPipeServerStream, PipeStream};
use dotpipe_testkit::{TempDir, pipe_folder};

use crate::kit::{Pending, error_of, name_in, nothing_left, pair, server};

/// A call that waits on a connected server stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Read,
    /// A read that waits for its turn behind another thread's.
    ReadInTurn,
    Write,
    WriteInTurn,
    Drain,
}

const CALLS: [Call; 5] = [
    Call::Read,
    Call::ReadInTurn,
    Call::Write,
    Call::WriteInTurn,
    Call::Drain,
];

impl Call {
    fn make(self, stream: &PipeStream) -> io::Result<()> {
        match self {
            Self::Read | Self::ReadInTurn => (&*stream).read(&mut [0; 8]).map(drop),
            // More than any buffer of the kernel holds, so that a part is sent, and the next call waits for certain.
            Self::Write | Self::WriteInTurn => loop {
                (&*stream).write_all(&[b'x'; 1 << 20])?;
            },
            Self::Drain => stream.wait_for_pipe_drain().map_err(io::Error::from),
        }
    }

    fn waits_for_its_turn(self) -> bool {
        matches!(self, Self::ReadInTurn | Self::WriteInTurn)
    }
}

/// The call and, where it is one that waits for its turn, the one that it waits for.
fn pending(server: &Arc<NamedPipeServerStream>, call: Call) -> Vec<Pending<io::Result<()>>> {
    let count = if call.waits_for_its_turn() { 3 } else { 1 };
    if call == Call::Drain {
        (&**server).write_all(b"unread").unwrap();
    }
    (0..count)
        .map(|_| {
            let there = Arc::clone(server);
            Pending::start(move || call.make(&there))
        })
        .collect()
}

fn connected() -> (TempDir, Arc<NamedPipeServerStream>, NamedPipeClientStream) {
    let folder = pipe_folder();
    let (server, client) = pair(&name_in(&folder));
    server.set_read_timeout(None);
    server.set_write_timeout(None);
    (folder, Arc::new(server), client)
}

#[test]
fn a_canceller_ends_every_call_and_leaves_the_connection() {
    for call in CALLS {
        let (folder, server, client) = connected();
        let canceller = server.canceller();
        let calls = pending(&server, call);
        canceller.cancel();
        for call in calls {
            error_of(call.result(), ErrorKind::Canceled);
        }
        error_of(call.make(&server), ErrorKind::Canceled);
        canceller.reset();
        assert!(server.is_connected());
        (&client).write_all(b"!").unwrap();
        let mut byte = [0];
        (&*server).read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"!", "{call:?}");
        drop((server, client));
        nothing_left(&folder, &[]);
    }
}

#[test]
fn disconnecting_ends_every_call() {
    for call in CALLS {
        let (_folder, server, _client) = connected();
        let calls = pending(&server, call);
        server.disconnect().unwrap();
        for call in calls {
            error_of(call.result(), ErrorKind::InvalidOperation);
        }
        error_of(call.make(&server), ErrorKind::InvalidOperation);
        // And the stream is ready for the next client.
        let again = crate::kit::client(server.path().to_str().unwrap());
        server.wait_for_connection().unwrap();
        assert!(server.is_connected());
        drop(again);
    }
}

#[test]
fn closing_ends_every_call_and_gives_the_name_up() {
    for call in CALLS {
        let (folder, server, client) = connected();
        let calls = pending(&server, call);
        server.close();
        for call in calls {
            error_of(call.result(), ErrorKind::ObjectDisposed);
        }
        error_of(call.make(&server), ErrorKind::ObjectDisposed);
        nothing_left(&folder, &[]);
        drop(client);
    }
}

#[test]
fn a_time_out_ends_every_call_whoever_else_is_in_its_way() {
    for limit in [Duration::ZERO, Duration::from_millis(30)] {
        for call in CALLS {
            let (_folder, server, client) = connected();
            if call.waits_for_its_turn() {
                // Those before it have no limit and wait on.
                let before = pending(&server, call);
                server.set_read_timeout(Some(limit));
                server.set_write_timeout(Some(limit));
                error_of(call.make(&server), ErrorKind::TimedOut);
                assert!(before.iter().all(Pending::goes_on), "{call:?}");
                drop(client);
                server.close();
                for call in before {
                    let _ = call.result();
                }
                continue;
            }
            server.set_read_timeout(Some(limit));
            server.set_write_timeout(Some(limit));
            for call in pending(&server, call) {
                error_of(call.result(), ErrorKind::TimedOut);
            }
            // It took nothing and broke nothing.
            assert!(server.is_connected());
            (&client).write_all(b"!").unwrap();
            assert_eq!((&*server).read(&mut [0; 8]).unwrap(), 1, "{call:?}");
        }
    }
}

#[test]
fn a_client_ends_its_own_calls_as_well() {
    for call in CALLS {
        let folder = pipe_folder();
        let (server, client) = pair(&name_in(&folder));
        client.set_read_timeout(None);
        client.set_write_timeout(None);
        let client = Arc::new(client);
        if call == Call::Drain {
            (&*client).write_all(b"unread").unwrap();
        }
        let start = |client: &Arc<NamedPipeClientStream>| {
            let there = Arc::clone(client);
            Pending::start(move || call.make(&there))
        };
        let canceled = start(&client);
        client.canceller().cancel();
        error_of(canceled.result(), ErrorKind::Canceled);
        client.canceller().reset();
        let closed = start(&client);
        client.close();
        error_of(closed.result(), ErrorKind::ObjectDisposed);
        drop(server);
    }
}

#[test]
fn waiting_for_a_client_ends_in_each_way() {
    let folder = pipe_folder();
    let server = Arc::new(server(&name_in(&folder)));
    let start = |server: &Arc<NamedPipeServerStream>| {
        let there = Arc::clone(server);
        Pending::start(move || there.wait_for_connection())
    };
    // Two threads that wait on one stream: one of them waits for its turn.
    let canceled = [start(&server), start(&server)];
    server.canceller().cancel();
    for canceled in canceled {
        error_of(canceled.result(), ErrorKind::Canceled);
    }
    error_of(server.wait_for_connection(), ErrorKind::Canceled);
    server.canceller().reset();
    for limit in [0, 1, 30] {
        error_of(
            server.wait_for_connection_timeout(Duration::from_millis(limit)),
            ErrorKind::TimedOut,
        );
    }
    let closed = [start(&server), start(&server)];
    server.close();
    for closed in closed {
        error_of(closed.result(), ErrorKind::ObjectDisposed);
    }
    // The name goes with the last call that used it, not with the stream.
    nothing_left(&folder, &[]);
}

#[test]
fn closing_one_instance_leaves_the_others_waiting() {
    let folder = pipe_folder();
    let name = name_in(&folder);
    let create = || {
        let builder = NamedPipeServerStream::builder(&name).max_number_of_server_instances(-1);
        Arc::new(builder.create().unwrap())
    };
    let (one, other) = (create(), create());
    let start = |server: &Arc<NamedPipeServerStream>| {
        let there = Arc::clone(server);
        Pending::start(move || there.wait_for_connection())
    };
    let (ended, waits) = (start(&one), start(&other));
    one.close();
    error_of(ended.result(), ErrorKind::ObjectDisposed);
    assert!(waits.goes_on());
    // It swallowed no client.
    let _client = crate::kit::client(&name);
    waits.result().unwrap();
}

#[test]
fn waiting_for_a_server_ends_in_each_way() {
    let folder = pipe_folder();
    let name = name_in(&folder);
    for plant in [(|_| {}) as fn(&str), |name| crate::kit::dead_socket(name)] {
        plant(&name);
        let client = Arc::new(NamedPipeClientStream::new(&name).unwrap());
        let start = || {
            let there = Arc::clone(&client);
            Pending::start(move || there.connect())
        };
        let canceled = [start(), start()];
        client.canceller().cancel();
        for canceled in canceled {
            error_of(canceled.result(), ErrorKind::Canceled);
        }
        client.canceller().reset();
        error_of(client.connect_timeout(Duration::from_millis(20)), ErrorKind::TimedOut);
        let closed = [start(), start()];
        client.close();
        for closed in closed {
            error_of(closed.result(), ErrorKind::ObjectDisposed);
        }
    }
}

#[test]
fn a_write_that_sent_a_part_says_how_much() {
    let (_folder, server, client) = connected();
    server.set_write_timeout(Some(Duration::from_millis(20)));
    let sent = (&*server).write(&[b'x'; 1 << 22]).unwrap();
    assert!((1..1 << 22).contains(&sent));
    error_of((&*server).write(b"x"), ErrorKind::TimedOut);
    server.disconnect().unwrap();
    let mut got = Vec::new();
    (&client).read_to_end(&mut got).unwrap();
    assert_eq!(got.len(), sent, "what was reported as sent has arrived, and no more");
}

#[test]
fn a_canceller_that_comes_first_or_late_does_no_harm() {
    let (_folder, server, client) = connected();
    let canceller = server.canceller();
    canceller.cancel();
    error_of((&*server).read(&mut [0]), ErrorKind::Canceled);
    canceller.reset();
    for _ in 0..2000 {
        // No ring of an earlier cancellation ends a later call.
        let there = Arc::clone(&server);
        let reader = std::thread::spawn(move || (&*there).read(&mut [0; 1]));
        canceller.cancel();
        error_of(reader.join().unwrap(), ErrorKind::Canceled);
        canceller.reset();
    }
    (&client).write_all(b"x").unwrap();
    assert_eq!((&*server).read(&mut [0; 1]).unwrap(), 1);
    drop(server);
    canceller.cancel();
}
