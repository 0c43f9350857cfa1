//! What a named stream may do in each of its states: unconnected, connected, broken, disconnected, closed.

use std::io::{self, Read, Write};
use std::time::Duration;

use dotpipe::{
    ErrorKind, NamedPipeClientStream, NamedPipeServerStream, PipeDirection, PipeStream, PipeTransmissionMode,
};
use dotpipe_testkit::limit;

use crate::support::{Place, at_once, connected, connected_with, fails, fails_saying, join, passes, read_byte};
use PipeDirection::{In, InOut, Out};

const NOT_YET: &str = "Pipe hasn't been connected yet.";
const CONNECTED: &str = "Already in a connected state.";
const DISCONNECTED: &str = "Pipe is in a disconnected state.";
const CLOSED: &str = "Cannot access a closed pipe.";
const BROKEN: &str = "Pipe is broken.";
const ENDS: [(PipeDirection, PipeDirection); 3] = [(Out, In), (In, Out), (InOut, InOut)];

/// Checks that reading and writing fail, as far as the stream's direction goes.
#[track_caller]
fn transfers_fail(stream: &PipeStream, kind: ErrorKind, headline: &str) {
    if stream.can_read() {
        fails_saying(read_byte(stream), kind, headline);
    }
    if stream.can_write() {
        fails_saying((&mut &*stream).write(&[0]), kind, headline);
        fails_saying(stream.wait_for_pipe_drain(), kind, headline);
    }
}

#[test]
fn c122_cloned_server_acts_as_original() {
    for (direction, client) in ENDS {
        let (original, client, _place) = connected_with(direction, client);
        let server = NamedPipeServerStream::from_handle(direction, original.safe_pipe_handle().unwrap()).unwrap();
        server.set_read_timeout(Some(limit()));
        assert!(server.is_connected());
        if direction.can_write() {
            passes(1, &server, &client);
        }
        if direction.can_read() {
            passes(2, &client, &server);
        }
        assert_eq!(client.number_of_server_instances().unwrap(), 1);
    }
}

#[test]
fn c125_waiting_while_connected_is_an_invalid_operation() {
    let (server, _client, _place) = connected();
    fails_saying(
        at_once(&server, || server.wait_for_connection()),
        ErrorKind::InvalidOperation,
        CONNECTED,
    );
    fails_saying(
        server.wait_for_connection_timeout(Duration::ZERO),
        ErrorKind::InvalidOperation,
        CONNECTED,
    );
}

#[test]
fn c129_a_disconnected_server_can_only_wait_again() {
    for (direction, client) in ENDS {
        let (server, _client, _place) = connected_with(direction, client);
        let messages = "ReadMode is not of PipeTransmissionMode.Message.";
        fails_saying(server.is_message_complete(), ErrorKind::InvalidOperation, messages);
        fails_saying(
            at_once(&server, || server.wait_for_connection()),
            ErrorKind::InvalidOperation,
            CONNECTED,
        );
        server.disconnect().unwrap();

        let already = "Already in a disconnected state.";
        fails_saying(server.disconnect(), ErrorKind::InvalidOperation, already);
        transfers_fail(&server, ErrorKind::InvalidOperation, DISCONNECTED);
        fails_saying((&server).flush(), ErrorKind::InvalidOperation, DISCONNECTED);
        fails_saying(server.is_message_complete(), ErrorKind::InvalidOperation, DISCONNECTED);
        fails_saying(
            server.get_impersonation_user_name(),
            ErrorKind::InvalidOperation,
            DISCONNECTED,
        );
        fails_saying(server.run_as_client(|| ()), ErrorKind::InvalidOperation, DISCONNECTED);
        fails_saying(server.safe_pipe_handle(), ErrorKind::InvalidOperation, DISCONNECTED);
    }
}

#[test]
fn c130_the_client_of_a_server_that_disconnected_reads_the_end() {
    for (direction, client) in ENDS {
        let (server, client, _place) = connected_with(direction, client);
        server.disconnect().unwrap();
        fails(client.is_message_complete(), ErrorKind::InvalidOperation);
        // What .NET does not tell on this system: the instance is there, though it has left this client.
        assert_eq!(client.number_of_server_instances().unwrap(), 1);
        if client.can_read() {
            assert_eq!(read_byte(&client).unwrap(), None);
            assert_eq!((&client).read(&mut [0; 4]).unwrap(), 0);
        }
        if client.can_write() {
            fails((&client).write(b"x"), ErrorKind::Broken);
            fails((&client).flush(), ErrorKind::Broken);
        }
    }
}

#[test]
fn c131_c213_a_server_whose_client_has_gone_still_counts_as_connected() {
    for (direction, client) in ENDS {
        let (server, client, _place) = connected_with(direction, client);
        drop(client);
        assert!(server.is_connected());
        fails_saying(
            at_once(&server, || server.wait_for_connection()),
            ErrorKind::InvalidOperation,
            CONNECTED,
        );
        fails_saying(
            server.wait_for_connection_timeout(limit()),
            ErrorKind::InvalidOperation,
            CONNECTED,
        );
        assert!(!server.get_impersonation_user_name().unwrap().is_empty());
    }
}

#[test]
fn c132_c187_c189_an_unconnected_server_has_its_properties_and_no_more() {
    let place = Place::new();
    let server = NamedPipeServerStream::new(place.name()).unwrap();
    assert!(!server.is_connected());
    assert_eq!(server.transmission_mode().unwrap(), PipeTransmissionMode::Byte);
    assert_eq!(server.read_mode().unwrap(), PipeTransmissionMode::Byte);
    server.set_read_mode(PipeTransmissionMode::Byte).unwrap();
    assert_eq!(
        (server.in_buffer_size().unwrap(), server.out_buffer_size().unwrap()),
        (0, 0)
    );
    transfers_fail(&server, ErrorKind::InvalidOperation, NOT_YET);
    fails_saying((&server).flush(), ErrorKind::InvalidOperation, NOT_YET);
    fails_saying(server.disconnect(), ErrorKind::InvalidOperation, NOT_YET);
    fails_saying(server.is_message_complete(), ErrorKind::InvalidOperation, NOT_YET);
    fails_saying(
        server.get_impersonation_user_name(),
        ErrorKind::InvalidOperation,
        NOT_YET,
    );
    fails_saying(server.run_as_client(|| ()), ErrorKind::InvalidOperation, NOT_YET);
}

#[test]
fn c133_an_unconnected_client_has_nothing() {
    let place = Place::new();
    let client = NamedPipeClientStream::new(place.name()).unwrap();
    let invalid = ErrorKind::InvalidOperation;
    transfers_fail(&client, invalid, NOT_YET);
    fails_saying((&client).flush(), invalid, NOT_YET);
    fails_saying(client.read_mode(), invalid, NOT_YET);
    fails_saying(client.set_read_mode(PipeTransmissionMode::Byte), invalid, NOT_YET);
    fails_saying(client.number_of_server_instances(), invalid, NOT_YET);
    fails_saying(client.transmission_mode(), invalid, NOT_YET);
    fails_saying(client.in_buffer_size(), invalid, NOT_YET);
    fails_saying(client.out_buffer_size(), invalid, NOT_YET);
    fails_saying(client.safe_pipe_handle(), invalid, NOT_YET);
    fails_saying(client.is_message_complete(), invalid, NOT_YET);
}

#[test]
fn c134_a_closed_server_says_so() {
    let closed_when_unconnected = {
        let place = Place::new();
        (NamedPipeServerStream::new(place.name()).unwrap(), place)
    };
    let (connected, _client, place) = connected();
    for (server, _place) in [closed_when_unconnected, (connected, place)] {
        server.close();
        let disposed = ErrorKind::ObjectDisposed;
        fails_saying(server.disconnect(), disposed, CLOSED);
        fails_saying(server.get_impersonation_user_name(), disposed, CLOSED);
        fails_saying(server.run_as_client(|| ()), disposed, CLOSED);
        fails_saying(at_once(&server, || server.wait_for_connection()), disposed, CLOSED);
        fails_saying(server.wait_for_connection_timeout(limit()), disposed, CLOSED);
    }
}

#[test]
fn c135_a_closed_client_says_so() {
    let (_server, client, place) = connected();
    for client in [client, NamedPipeClientStream::new(place.name()).unwrap()] {
        client.close();
        fails_saying(at_once(&client, || client.connect()), ErrorKind::ObjectDisposed, CLOSED);
        fails_saying(client.connect_timeout(limit()), ErrorKind::ObjectDisposed, CLOSED);
        fails_saying(client.number_of_server_instances(), ErrorKind::ObjectDisposed, CLOSED);
    }
}

#[test]
fn c104_sizes_asked_for_are_granted_at_least_and_for_the_directions_there_are() {
    let default = {
        let (server, _client, _place) = connected();
        server.in_buffer_size().unwrap().min(server.out_buffer_size().unwrap())
    };
    for (direction, client) in ENDS {
        let place = Place::new();
        // The kernel doubles what is asked for, up to its limit, which is the default.
        let asked = default / 2;
        let server = NamedPipeServerStream::builder(place.name())
            .direction(direction)
            .in_buffer_size(asked)
            .out_buffer_size(asked)
            .create()
            .unwrap();
        let client = NamedPipeClientStream::builder(place.name())
            .direction(client)
            .create()
            .unwrap();
        join(&server, &client);
        for (there, size) in [
            (direction.can_read(), server.in_buffer_size()),
            (direction.can_write(), server.out_buffer_size()),
        ] {
            if there {
                assert!(size.unwrap() >= asked);
            } else {
                fails(size, ErrorKind::NotSupported);
            }
        }
        if client.can_read() {
            assert!(client.in_buffer_size().unwrap() > 0);
        }
        if client.can_write() {
            assert!(client.out_buffer_size().unwrap() > 0);
        }
    }
}

#[test]
fn c106_c108_both_ends_carry_bytes_and_read_them() {
    for (direction, client) in ENDS {
        let (server, client, _place) = connected_with(direction, client);
        for stream in [&*server, &*client] {
            assert_eq!(stream.transmission_mode().unwrap(), PipeTransmissionMode::Byte);
            stream.set_read_mode(PipeTransmissionMode::Byte).unwrap();
            assert_eq!(stream.read_mode().unwrap(), PipeTransmissionMode::Byte);
            let text = "Message transmission mode is not supported on this platform.";
            let set = stream.set_read_mode(PipeTransmissionMode::Message);
            fails_saying(set, ErrorKind::NotSupported, text);
        }
    }
}

#[test]
fn m10_a_server_without_a_connection_reports_the_sizes_that_it_asked_for() {
    let place = Place::new();
    let server = NamedPipeServerStream::builder(place.name())
        .in_buffer_size(1024)
        .out_buffer_size(2048)
        .create()
        .unwrap();
    let sizes = || (server.in_buffer_size().unwrap(), server.out_buffer_size().unwrap());
    assert_eq!(sizes(), (1024, 2048));
    join(&server, &NamedPipeClientStream::new(place.name()).unwrap());
    // As the kernel rounds them, where .NET measures the same.
    assert_eq!(sizes(), (2304, 4608));
    server.disconnect().unwrap();
    assert_eq!(sizes(), (1024, 2048));
}

/// A server that has found out by a write that its client has gone, and what that write said.
fn broken_server() -> (NamedPipeServerStream, io::Error, Place) {
    let (server, client, place) = connected();
    drop(client);
    let error = (&server).write(b"x").unwrap_err();
    (server, error, place)
}

#[test]
fn m11_only_a_failed_write_tells_that_the_client_has_gone() {
    let (server, client, _place) = connected();
    drop(client);
    assert!(server.is_connected());
    assert_eq!(read_byte(&server).unwrap(), None);
    assert!(server.is_connected());
    fails((&server).write(b"x"), ErrorKind::Broken);
    assert!(!server.is_connected());
}

#[test]
fn m12_a_broken_server_reads_the_end_and_can_be_disconnected() {
    let (server, _, place) = broken_server();
    fails_saying((&server).write(b"x"), ErrorKind::Broken, BROKEN);
    fails_saying((&server).flush(), ErrorKind::Broken, BROKEN);
    fails_saying(
        at_once(&server, || server.wait_for_connection()),
        ErrorKind::Broken,
        BROKEN,
    );
    fails_saying(server.get_impersonation_user_name(), ErrorKind::Broken, BROKEN);
    assert_eq!(read_byte(&server).unwrap(), None);
    server.disconnect().unwrap();
    let next = NamedPipeClientStream::new(place.name()).unwrap();
    join(&server, &next);
    passes(1, &server, &next);
}

#[test]
fn m13_the_first_failed_write_has_the_systems_error_inside() {
    let (server, first, _place) = broken_server();
    let source = |error: &io::Error| {
        let error = dotpipe::Error::of(error).unwrap();
        let source = std::error::Error::source(error)?;
        Some(source.downcast_ref::<io::Error>()?.kind())
    };
    assert_eq!(source(&first), Some(io::ErrorKind::BrokenPipe));
    let first = fails_saying(Err::<(), _>(first), ErrorKind::Broken, BROKEN);
    assert_eq!(first.kind(), io::ErrorKind::BrokenPipe);
    let second = fails_saying((&server).write(b"x"), ErrorKind::Broken, BROKEN);
    assert_eq!(source(&second), None);
}

#[test]
fn m14_a_closed_stream_keeps_nothing_but_its_direction() {
    for (direction, client) in ENDS {
        let (server, client, _place) = connected_with(direction, client);
        server.close();
        client.close();
        for stream in [&*server, &*client] {
            let other_way = if stream.direction() == direction {
                &*client
            } else {
                &*server
            };
            assert!(stream.can_read() || stream.can_write());
            assert_eq!(stream.can_read(), other_way.can_write());
            assert!(!stream.is_connected());
            let disposed = ErrorKind::ObjectDisposed;
            transfers_fail(stream, disposed, CLOSED);
            fails_saying(stream.transmission_mode(), disposed, CLOSED);
            fails_saying(stream.read_mode(), disposed, CLOSED);
            fails_saying(stream.is_message_complete(), disposed, CLOSED);
        }
        if direction.can_read() {
            fails_saying(server.in_buffer_size(), ErrorKind::ObjectDisposed, CLOSED);
            fails_saying(client.out_buffer_size(), ErrorKind::ObjectDisposed, CLOSED);
        }
        fails_saying(server.safe_pipe_handle(), ErrorKind::ObjectDisposed, CLOSED);
    }
}

#[test]
fn m15_a_broken_client_has_no_properties_and_may_connect_again() {
    let (server, client, place) = connected();
    server.disconnect().unwrap();
    fails((&client).write(b"x"), ErrorKind::Broken);
    fails_saying(client.in_buffer_size(), ErrorKind::Broken, BROKEN);
    fails_saying(client.transmission_mode(), ErrorKind::Broken, BROKEN);
    fails_saying(client.read_mode(), ErrorKind::Broken, BROKEN);
    join(&server, &client);
    assert!(client.is_connected());
    passes(1, &server, &client);
    passes(2, &client, &server);
    assert!(client.in_buffer_size().unwrap() > 0);

    let unconnected = NamedPipeClientStream::new(place.name()).unwrap();
    fails_saying(unconnected.in_buffer_size(), ErrorKind::InvalidOperation, NOT_YET);
    fails_saying(unconnected.transmission_mode(), ErrorKind::InvalidOperation, NOT_YET);
}

#[test]
fn m22_the_direction_is_looked_at_before_the_state_but_for_drain_and_flush() {
    let place = Place::new();
    let reader = NamedPipeServerStream::builder(place.name())
        .direction(In)
        .create()
        .unwrap();
    let writer = NamedPipeClientStream::builder(place.name())
        .direction(Out)
        .create()
        .unwrap();
    let not_supported = ErrorKind::NotSupported;
    fails((&reader).write(b"x"), not_supported);
    fails(reader.out_buffer_size(), not_supported);
    fails(read_byte(&writer), not_supported);
    fails(writer.in_buffer_size(), not_supported);
    fails_saying(reader.wait_for_pipe_drain(), ErrorKind::InvalidOperation, NOT_YET);
    fails_saying((&reader).flush(), ErrorKind::InvalidOperation, NOT_YET);
    join(&reader, &writer);
    fails_saying(
        reader.wait_for_pipe_drain(),
        not_supported,
        "Stream does not support writing.",
    );
    (&reader).flush().unwrap();
}

#[test]
fn c212_one_way_transfers_and_a_disconnect() {
    use dotpipe::PipeOptions as Options;
    for server_options in [Options::NONE, Options::ASYNCHRONOUS] {
        for client_options in [Options::NONE, Options::ASYNCHRONOUS] {
            for shared_calls in [false, true] {
                for (direction, opposite) in [(In, Out), (Out, In)] {
                    let place = Place::new();
                    let mut server = NamedPipeServerStream::builder(place.name())
                        .direction(direction)
                        .options(server_options)
                        .create()
                        .unwrap();
                    let mut client = NamedPipeClientStream::builder(place.name())
                        .direction(opposite)
                        .options(client_options)
                        .create()
                        .unwrap();
                    join(&server, &client);
                    match (direction, shared_calls) {
                        (In, true) => passes(1, &client, &server),
                        (In, false) => passes(1, &mut client, &mut server),
                        (_, true) => passes(1, &server, &client),
                        (_, false) => passes(1, &mut server, &mut client),
                    }
                    assert!(server.is_connected());
                    server.disconnect().unwrap();
                    assert!(!server.is_connected());
                }
            }
        }
    }
}
