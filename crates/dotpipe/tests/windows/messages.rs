//! Message mode, as `NamedPipeTest.MessageMode.Windows.cs` has it, and beyond.

use std::io::{Read, Write};
use std::time::Duration;

use dotpipe::{ErrorKind, NamedPipeServerStream, PipeDirection, PipeTransmissionMode};

use crate::support::{SHORT, connected_by_messages, connected_to, kind, kind_of, name, pattern, spawn, wine_cannot};

const MESSAGE: PipeTransmissionMode = PipeTransmissionMode::Message;

#[test]
fn c086_a_short_read_leaves_the_rest_of_the_message() {
    let (server, client) = connected_by_messages();
    (&server).write_all(&[1, 2, 3, 4, 5]).unwrap();
    let mut part = [0; 2];
    let mut seen = Vec::new();
    for _ in 0..3 {
        let count = (&client).read(&mut part).unwrap();
        seen.push((count, client.is_message_complete().unwrap()));
    }
    assert_eq!(seen, [(2, false), (2, false), (1, true)]);
}

#[test]
fn c099_messages_keep_their_boundaries() {
    let (server, client) = connected_by_messages();
    assert_eq!(
        (server.transmission_mode().unwrap(), server.read_mode().unwrap()),
        (MESSAGE, MESSAGE)
    );
    for (writer, reader) in [(&*server, &*client), (&*client, &*server)] {
        for message in [&b"one"[..], b"and another", b"3"] {
            (&*writer).write_all(message).unwrap();
        }
        let mut buffer = [0; 64];
        for message in [&b"one"[..], b"and another", b"3"] {
            let count = (&*reader).read(&mut buffer).unwrap();
            assert_eq!(&buffer[..count], message);
            assert!(reader.is_message_complete().unwrap());
        }
    }
    assert_eq!(client.number_of_server_instances().unwrap(), 1);
}

#[test]
fn clients_read_bytes_until_they_ask_for_messages() {
    let (server, client) = connected_to(NamedPipeServerStream::builder(name()).transmission_mode(MESSAGE));
    assert_eq!(client.transmission_mode().unwrap(), MESSAGE);
    assert_eq!(client.read_mode().unwrap(), PipeTransmissionMode::Byte);
    (&server).write_all(b"on").unwrap();
    (&server).write_all(b"e").unwrap();
    let mut bytes = [0; 3];
    (&client).read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"one");
    assert_eq!(kind(client.is_message_complete()), ErrorKind::InvalidOperation);
    client.set_read_mode(MESSAGE).unwrap();
    server.write_message(b"two").unwrap();
    assert_eq!(client.read_message(10).unwrap().as_deref(), Some(&b"two"[..]));
}

#[test]
fn an_empty_message_is_not_the_end() {
    let (server, client) = connected_by_messages();
    server.write_message(b"").unwrap();
    server.write_message(b"after").unwrap();
    server.write_message(b"").unwrap();
    assert_eq!(client.read_message(10).unwrap().as_deref(), Some(&b""[..]));
    assert_eq!(client.read_message(10).unwrap().as_deref(), Some(&b"after"[..]));
    assert_eq!(client.read_message(10).unwrap().as_deref(), Some(&b""[..]));
    // One that comes while the reader waits.
    let reader = spawn(move || (client.read_message(10).unwrap(), client));
    server.write_message(b"").unwrap();
    let (message, client) = reader.join().unwrap();
    assert_eq!(message.as_deref(), Some(&b""[..]));
    drop(server);
    assert_eq!(client.read_message(10).unwrap(), None);
    assert_eq!(client.read_message(10).unwrap(), None);
}

#[test]
fn a_reader_of_bytes_passes_over_empty_messages() {
    let (server, client) = connected_to(NamedPipeServerStream::builder(name()).transmission_mode(MESSAGE));
    client.set_read_timeout(Some(SHORT));
    server.write_message(b"").unwrap();
    assert_eq!(kind_of((&client).read(&mut [0; 4])), ErrorKind::TimedOut);
    server.write_message(b"").unwrap();
    server.write_message(b"x").unwrap();
    assert_eq!((&client).read(&mut [0; 4]).unwrap(), 1);
}

#[test]
fn messages_larger_than_any_buffer_pass_whole() {
    let (mut server, client) = connected_by_messages();
    for length in [65_535, 65_536, 65_537, 3 << 20] {
        let writer = spawn(move || server.write_message(&pattern(length)).map(|()| server));
        let message = client.read_message(usize::MAX).unwrap().unwrap();
        assert!(message == pattern(length));
        server = writer.join().unwrap().unwrap();
        // The same in parts.
        let writer = spawn(move || (&server).write_all(&pattern(length)).map(|()| server));
        let (mut part, mut got) = (vec![0; 10_000], Vec::new());
        loop {
            let count = (&client).read(&mut part).unwrap();
            got.extend_from_slice(&part[..count]);
            if client.is_message_complete().unwrap() {
                break;
            }
        }
        assert!(got == pattern(length));
        server = writer.join().unwrap().unwrap();
    }
}

#[test]
fn a_message_over_the_limit_stays() {
    let (server, client) = connected_by_messages();
    server.write_message(b"0123456789").unwrap();
    assert_eq!(kind(client.read_message(9)), ErrorKind::MessageTooLarge);
    let mut part = [0; 4];
    assert_eq!((&client).read(&mut part).unwrap(), 4);
    assert_eq!(kind(client.read_message(5)), ErrorKind::MessageTooLarge);
    assert_eq!(client.read_message(6).unwrap().as_deref(), Some(&b"456789"[..]));
}

#[test]
fn an_answer_comes_to_its_question() {
    let (server, client) = connected_by_messages();
    let answerer = spawn(move || {
        while let Some(question) = server.read_message(100).unwrap() {
            server.write_message(&[b"re: ", &question[..]].concat()).unwrap();
        }
    });
    for question in ["one", "two", ""] {
        let answer = client.transact(question.as_bytes(), 100).unwrap().unwrap();
        assert_eq!(answer, format!("re: {question}").into_bytes());
    }
    drop(client);
    answerer.join().unwrap();
}

#[test]
fn a_look_ahead_sees_one_message() {
    let (server, client) = connected_by_messages();
    server.write_message(b"hello").unwrap();
    server.write_message(b"xy").unwrap();
    let mut seen = [0; 3];
    let peek = client.peek(&mut seen).unwrap();
    assert_eq!((peek.read, peek.available, peek.left_in_message), (3, 7, 2));
    assert_eq!(client.read_message(9).unwrap().as_deref(), Some(&b"hello"[..]));
}

#[test]
fn a_read_whose_time_is_over_takes_no_message() {
    let (server, client) = connected_by_messages();
    client.set_read_timeout(Some(Duration::from_millis(5)));
    for round in 0..20_u8 {
        assert_eq!(kind(client.read_message(9)), ErrorKind::TimedOut);
        // Also an empty one, which the read that was left behind has taken.
        let message = vec![round; usize::from(round % 3)];
        server.write_message(&message).unwrap();
        client.set_read_timeout(Some(dotpipe_testkit::limit()));
        assert_eq!(client.read_message(9).unwrap(), Some(message));
        client.set_read_timeout(Some(Duration::from_millis(5)));
    }
}

#[test]
fn the_read_mode_changes_while_a_read_was_left_behind() {
    let (server, client) = connected_by_messages();
    client.set_read_timeout(Some(SHORT));
    assert_eq!(kind(client.read_message(9)), ErrorKind::TimedOut);
    client.set_read_mode(PipeTransmissionMode::Byte).unwrap();
    assert_eq!(kind_of((&client).read(&mut [0])), ErrorKind::TimedOut);
    server.write_message(b"ab").unwrap();
    server.write_message(b"cd").unwrap();
    let mut got = [0; 4];
    (&client).read_exact(&mut got).unwrap();
    assert_eq!(&got, b"abcd");
    client.set_read_mode(MESSAGE).unwrap();
    server.write_message(b"ef").unwrap();
    assert_eq!(client.read_message(9).unwrap().as_deref(), Some(&b"ef"[..]));
}

#[test]
fn the_mode_lasts_from_client_to_client() {
    let server = NamedPipeServerStream::builder(name())
        .transmission_mode(MESSAGE)
        .create()
        .unwrap();
    assert_eq!(
        (server.transmission_mode().unwrap(), server.read_mode().unwrap()),
        (MESSAGE, MESSAGE)
    );
    for _ in 0..3 {
        let client = dotpipe::NamedPipeClientStream::new(server.name().name()).unwrap();
        crate::support::join(&server, &client);
        client.write_message(b"one").unwrap();
        client.write_message(b"two").unwrap();
        assert_eq!(server.read_message(9).unwrap().as_deref(), Some(&b"one"[..]));
        assert_eq!(server.read_message(9).unwrap().as_deref(), Some(&b"two"[..]));
        drop(client);
        assert_eq!(server.read_message(9).unwrap(), None);
        server.disconnect().unwrap();
    }
}

#[test]
fn an_end_that_only_reads_can_read_messages() {
    let builder = NamedPipeServerStream::builder(name())
        .direction(PipeDirection::Out)
        .transmission_mode(MESSAGE);
    let (server, client) = connected_to(builder);
    client.set_read_mode(MESSAGE).unwrap();
    server.write_message(b"one").unwrap();
    server.write_message(b"two").unwrap();
    assert_eq!(client.read_message(9).unwrap().as_deref(), Some(&b"one"[..]));
}

#[test]
fn all_instances_have_one_transmission_mode() {
    let name = name();
    let make = |mode| {
        NamedPipeServerStream::builder(&name)
            .max_number_of_server_instances(4)
            .transmission_mode(mode)
            .create()
    };
    let _first = make(MESSAGE).unwrap();
    if !wine_cannot("second instance with another transmission mode", "lets it be made") {
        assert_eq!(kind(make(PipeTransmissionMode::Byte)), ErrorKind::UnauthorizedAccess);
    }
}
