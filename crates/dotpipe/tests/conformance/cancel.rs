//! Ending calls that wait: by a canceller, by closing or disconnecting a side, and the drain's wait.

use std::io::{self, Read, Write};
use std::sync::Arc;

use dotpipe::{
    AnonymousPipeClientStream, AnonymousPipeServerStream, Canceller, ErrorKind, NamedPipeClientStream,
    NamedPipeServerStream, PipeDirection, PipeOptions,
};
use dotpipe_testkit::limit;

use crate::pairs::{ANONYMOUS, NAMED, each_flow, each_flow_of_all};
use crate::streams::fill_up;
use crate::support::{
    Pending, Place, SHORT, at_once, connected, connected_with, fails, fails_saying, join, passes, pattern, read_byte,
};
use PipeDirection::{In, InOut, Out};

const CANCELED: &str = "The operation was canceled.";
const CLOSED: &str = "Cannot access a closed pipe.";

#[test]
fn c094_a_pending_connect_is_cancelled_and_so_is_the_next() {
    let place = Place::new();
    let client = Arc::new(NamedPipeClientStream::new(place.name()).unwrap());
    let canceller = client.canceller();
    let connecting = Arc::clone(&client);
    let pending = Pending::blocked("connect to a missing server", move || connecting.connect());
    canceller.cancel();
    fails_saying(pending.result(), ErrorKind::Canceled, CANCELED);
    fails(at_once(&client, || client.connect()), ErrorKind::Canceled);
    fails(client.connect_timeout(limit()), ErrorKind::Canceled);

    canceller.reset();
    let server = NamedPipeServerStream::new(place.name()).unwrap();
    join(&server, &client);
}

#[test]
fn c126_a_wait_for_a_connection_is_cancelled_and_so_is_the_next() {
    for options in [PipeOptions::NONE, PipeOptions::ASYNCHRONOUS] {
        let place = Place::new();
        let server = NamedPipeServerStream::builder(place.name())
            .options(options)
            .create()
            .unwrap();
        let server = Arc::new(server);
        let canceller = server.canceller();
        let waiting = |blocked: bool| {
            let server = Arc::clone(&server);
            let call = move || server.wait_for_connection();
            if blocked {
                Pending::blocked("wait for a connection", call)
            } else {
                Pending::start("wait for a connection", call)
            }
        };
        let pending = waiting(true);
        canceller.cancel();
        fails_saying(pending.result(), ErrorKind::Canceled, CANCELED);
        fails(at_once(&server, || server.wait_for_connection()), ErrorKind::Canceled);

        canceller.reset();
        let pending = waiting(false);
        canceller.cancel();
        fails(pending.result(), ErrorKind::Canceled);

        canceller.reset();
        join(&server, &NamedPipeClientStream::new(place.name()).unwrap());
    }
}

#[test]
fn c136_a_read_whose_other_side_is_closed_meanwhile_returns_the_end() {
    each_flow(NAMED, |flow| {
        let (writer, mut reader, _place) = flow.take();
        let pending = Pending::blocked("read", move || reader.read(&mut [0; 4]));
        drop(writer);
        assert_eq!(pending.result().unwrap(), 0);
    });
    each_flow(ANONYMOUS, |flow| {
        let (writer, mut reader, _place) = flow.take();
        let pending = Pending::blocked("read", move || reader.read(&mut [0; 4]));
        drop(writer);
        assert_eq!(pending.result().unwrap(), 0);
    });
}

#[test]
fn c137_a_write_whose_other_side_is_closed_meanwhile_fails() {
    each_flow_of_all(|flow| {
        let (mut writer, reader, _place) = flow.take();
        let pending = Pending::blocked("write", move || writer.write_all(&pattern(4 << 20)));
        drop(reader);
        fails(pending.result(), ErrorKind::Broken);
    });
}

/// Reading and writing of one stream: pending ones are cancelled, and new ones at once.
fn transfers_are_cancelled(stream: &Arc<impl AsRef<dotpipe::PipeStream> + Send + Sync + 'static>) {
    let pipe = (**stream).as_ref();
    let canceller: Canceller = pipe.canceller();
    if pipe.can_read() {
        let reading = Arc::clone(stream);
        let pending = Pending::blocked("read", move || read_byte((*reading).as_ref()));
        canceller.cancel();
        fails_saying(pending.result(), ErrorKind::Canceled, CANCELED);
        fails(read_byte(pipe), ErrorKind::Canceled);
        canceller.reset();
    }
    if pipe.can_write() {
        pipe.set_write_timeout(Some(SHORT));
        fill_up(pipe);
        pipe.set_write_timeout(None);
        let writing = Arc::clone(stream);
        let pending = Pending::blocked("write", move || (&mut (*writing).as_ref()).write(&[1]));
        canceller.cancel();
        fails_saying(pending.result(), ErrorKind::Canceled, CANCELED);
        fails((&mut &*pipe).write(&[1]), ErrorKind::Canceled);
    }
}

const ENDS: [(PipeDirection, PipeDirection); 3] = [(Out, In), (In, Out), (InOut, InOut)];

#[test]
fn c138_a_servers_reads_and_writes_are_cancelled() {
    for (server, client) in ENDS {
        let (server, _client, _place) = connected_with(server, client);
        transfers_are_cancelled(&Arc::new(server));
    }
}

#[test]
fn c141_a_clients_reads_and_writes_are_cancelled() {
    for (server, client) in ENDS {
        let (_server, client, _place) = connected_with(server, client);
        transfers_are_cancelled(&Arc::new(client));
    }
}

#[test]
fn c144_closing_one_of_two_waiting_instances_leaves_the_next_client_to_the_other() {
    let place = Place::new();
    let instance = || {
        let builder = NamedPipeServerStream::builder(place.name()).max_number_of_server_instances(2);
        Arc::new(builder.options(PipeOptions::ASYNCHRONOUS).create().unwrap())
    };
    let wait = |server: &Arc<NamedPipeServerStream>| {
        let server = Arc::clone(server);
        Pending::blocked("wait for a connection", move || server.wait_for_connection())
    };
    let (first, second) = (instance(), instance());
    let (first_waits, second_waits) = (wait(&first), wait(&second));
    first.close();
    fails_saying(first_waits.result(), ErrorKind::ObjectDisposed, CLOSED);
    fails(
        at_once(&first, || first.wait_for_connection()),
        ErrorKind::ObjectDisposed,
    );
    fails(read_byte(&*first), ErrorKind::ObjectDisposed);
    fails((&*first).write(b"x"), ErrorKind::ObjectDisposed);
    fails(first.get_impersonation_user_name(), ErrorKind::ObjectDisposed);

    let client = NamedPipeClientStream::new(place.name()).unwrap();
    client.connect_timeout(limit()).unwrap();
    client.set_read_timeout(Some(limit()));
    second_waits.result().unwrap();
    passes(1, &*second, &client);
}

#[test]
fn c145_m27_a_drain_returns_when_the_reader_has_taken_all() {
    each_flow_of_all(|flow| {
        let (mut writer, mut reader, _place) = flow.take();
        // Nothing was written: nothing to wait for.
        writer.pipe().wait_for_pipe_drain().unwrap();
        writer.write_all(&[1, 2]).unwrap();
        let pending = Pending::blocked("drain", move || (writer.pipe().wait_for_pipe_drain(), writer));
        assert_eq!(read_byte(&mut reader).unwrap(), Some(1));
        writer_still_waits(&pending);
        assert_eq!(read_byte(&mut reader).unwrap(), Some(2));
        let (outcome, mut writer) = pending.result();
        outcome.unwrap();

        // A reader that leaves without reading is no reader that has read.
        writer.write_all(&[3]).unwrap();
        let pending = Pending::blocked("drain", move || (writer.pipe().wait_for_pipe_drain(), writer));
        drop(reader);
        fails_saying(pending.result().0, ErrorKind::Broken, "Pipe is broken.");
    });
}

/// Half of it was read: as the wait looks every two milliseconds, a few of these would end a wait that may end.
fn writer_still_waits<T: Send + 'static>(pending: &Pending<T>) {
    assert!(
        !pending.ends_within(std::time::Duration::from_millis(10)),
        "the drain ended with a byte unread"
    );
}

#[test]
fn m28_reads_and_waits_are_cancelled_with_and_without_the_option_asynchronous() {
    for options in [PipeOptions::NONE, PipeOptions::ASYNCHRONOUS] {
        let place = Place::new();
        let server = NamedPipeServerStream::builder(place.name())
            .options(options)
            .create()
            .unwrap();
        let server = Arc::new(server);
        let canceller = server.canceller();
        let waiting = Arc::clone(&server);
        let pending = Pending::blocked("wait for a connection", move || waiting.wait_for_connection());
        canceller.cancel();
        fails(pending.result(), ErrorKind::Canceled);
        canceller.reset();

        let client = NamedPipeClientStream::builder(place.name())
            .options(options)
            .create()
            .unwrap();
        join(&server, &client);
        let reading = Arc::clone(&server);
        let pending = Pending::blocked("read", move || read_byte(&*reading));
        canceller.cancel();
        fails(pending.result(), ErrorKind::Canceled);
    }
}

#[test]
fn m29_a_large_write_to_a_peer_that_does_not_read_is_cancelled() {
    let (server, _client, _place) = connected();
    let canceller = server.canceller();
    let mut server = server;
    let pending = Pending::blocked("write", move || {
        let first = server.write(&pattern(1 << 20));
        (first, server.write(&[0]))
    });
    canceller.cancel();
    let (first, second) = pending.result();
    // What was sent before is told; there the error is the next call's.
    assert!((1..1 << 20).contains(&first.unwrap()));
    fails_saying(second, ErrorKind::Canceled, CANCELED);
}

#[test]
fn m30_closing_or_disconnecting_a_stream_ends_its_own_pending_calls() {
    for (server, client) in ENDS {
        for disconnect in [false, true] {
            let (server, _client, _place) = connected_with(server, client);
            let server = Arc::new(server);
            let mut pending: Vec<Pending<io::Result<()>>> = Vec::new();
            if server.can_read() {
                let reading = Arc::clone(&server);
                pending.push(Pending::blocked("read", move || (&*reading).read_exact(&mut [0])));
            }
            if server.can_write() {
                let writing = Arc::clone(&server);
                let call = move || (&*writing).write_all(&pattern(4 << 20));
                pending.push(Pending::blocked("write", call));
            }
            let (kind, text) = if disconnect {
                server.disconnect().unwrap();
                (ErrorKind::InvalidOperation, "Pipe is in a disconnected state.")
            } else {
                server.close();
                (ErrorKind::ObjectDisposed, CLOSED)
            };
            for call in pending {
                fails_saying(call.result(), kind, text);
            }
        }
    }
    let place = Place::new();
    let server = Arc::new(NamedPipeServerStream::new(place.name()).unwrap());
    let waiting = Arc::clone(&server);
    let pending = Pending::blocked("wait for a connection", move || waiting.wait_for_connection());
    server.close();
    fails_saying(pending.result(), ErrorKind::ObjectDisposed, CLOSED);
}

/// What a process that has only a file object sees of an anonymous pipe.
#[test]
fn c175_c177_a_plain_file_over_the_client_handle_sees_the_servers_end() {
    let server = AnonymousPipeServerStream::new(Out).unwrap();
    let mut file = std::fs::File::from(server.client_safe_pipe_handle().unwrap());
    drop(server);
    for _ in 0..2 {
        assert_eq!(file.read(&mut [0]).unwrap(), 0);
    }

    let server = AnonymousPipeServerStream::new(In).unwrap();
    let mut file = std::fs::File::from(server.client_safe_pipe_handle().unwrap());
    drop(server);
    for _ in 0..2 {
        assert_eq!(file.write(&[0]).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}

fn anonymous_client(direction: PipeDirection) -> AnonymousPipeClientStream {
    let server = AnonymousPipeServerStream::new(direction.opposite()).unwrap();
    let handle = server.get_client_handle_as_string();
    let client = AnonymousPipeClientStream::from_handle_string(direction, &handle).unwrap();
    client.set_read_timeout(Some(limit()));
    client
}

#[test]
fn c174_an_anonymous_client_reads_the_end_of_its_server_twice() {
    let client = anonymous_client(In);
    for _ in 0..2 {
        assert_eq!(read_byte(&client).unwrap(), None);
    }
}

#[test]
fn c176_an_anonymous_client_cannot_write_to_a_server_that_has_gone() {
    let client = anonymous_client(Out);
    for _ in 0..2 {
        fails((&client).write(&[0]), ErrorKind::Broken);
    }
}

#[test]
fn c178_c179_the_same_for_calls_on_another_thread() {
    let client = anonymous_client(In);
    assert_eq!(
        Pending::start("read", move || read_byte(&client)).result().unwrap(),
        None
    );
    let client = anonymous_client(Out);
    fails(
        Pending::start("write", move || (&client).write(&[0])).result(),
        ErrorKind::Broken,
    );

    let server = AnonymousPipeServerStream::new(Out).unwrap();
    let mut file = std::fs::File::from(server.client_safe_pipe_handle().unwrap());
    let pending = Pending::blocked("read", move || file.read(&mut [0]));
    drop(server);
    assert_eq!(pending.result().unwrap(), 0);

    let server = AnonymousPipeServerStream::new(In).unwrap();
    let mut file = std::fs::File::from(server.client_safe_pipe_handle().unwrap());
    let pending = Pending::blocked("write", move || file.write_all(&pattern(1 << 20)));
    drop(server);
    assert_eq!(pending.result().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
}

/// How a named server leaves its client.
const LEAVE: [fn(NamedPipeServerStream) -> Option<NamedPipeServerStream>; 2] = [
    |server| {
        drop(server);
        None
    },
    |server| {
        server.disconnect().unwrap();
        Some(server)
    },
];

#[test]
fn c180_c182_a_named_client_reads_the_end_of_a_server_that_closed_or_disconnected() {
    for leave in LEAVE {
        for options in [PipeOptions::NONE, PipeOptions::ASYNCHRONOUS] {
            let place = Place::new();
            let server = NamedPipeServerStream::builder(place.name())
                .options(options)
                .create()
                .unwrap();
            let client = NamedPipeClientStream::builder(place.name())
                .options(options)
                .create()
                .unwrap();
            join(&server, &client);
            let _server = leave(server);
            for _ in 0..2 {
                assert_eq!(read_byte(&client).unwrap(), None);
            }
            assert_eq!(
                Pending::start("read", move || read_byte(&client)).result().unwrap(),
                None
            );
        }
    }
}

#[test]
fn c181_c183_a_named_client_cannot_write_to_a_server_that_closed_or_disconnected() {
    for leave in LEAVE {
        let (server, client, _place) = connected();
        let _server = leave(server);
        for _ in 0..2 {
            fails_saying((&client).write(&[0]), ErrorKind::Broken, "Pipe is broken.");
        }
        fails(
            Pending::start("write", move || (&client).write(&[0])).result(),
            ErrorKind::Broken,
        );
    }
}
