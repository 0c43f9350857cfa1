//! Bytes through named pipes, the ends of connections, and the properties of streams.

use std::io::{Read, Write};

use dotpipe::{ErrorKind, NamedPipeClientStream, NamedPipeServerStream, PipeDirection, PipeTransmissionMode};
use dotpipe_testkit::limit;

use crate::support::{connected, connected_to, join, kind, kind_of, name, passes, pattern, spawn};

#[test]
fn bytes_pass_both_ways_in_every_direction() {
    for direction in [PipeDirection::In, PipeDirection::Out, PipeDirection::InOut] {
        let (server, client) = connected_to(NamedPipeServerStream::builder(name()).direction(direction));
        if direction.can_read() {
            passes(b"to the server", &client, &server);
        } else {
            assert_eq!(kind_of((&server).read(&mut [0])), ErrorKind::NotSupported);
        }
        if direction.can_write() {
            passes(b"to the client", &server, &client);
        } else {
            assert_eq!(kind_of((&server).write(b"x")), ErrorKind::NotSupported);
        }
    }
}

#[test]
fn more_than_any_buffer_passes_whole() {
    let (server, client) = connected();
    let bytes = pattern(8 << 20);
    let writer = spawn({
        let bytes = bytes.clone();
        move || (&server).write_all(&bytes).map(|()| server)
    });
    let mut got = vec![0; bytes.len()];
    (&client).read_exact(&mut got).unwrap();
    assert!(got == bytes);
    drop(writer.join().unwrap().unwrap());
    assert_eq!((&client).read(&mut [0]).unwrap(), 0);
}

#[test]
fn both_sides_write_at_once() {
    let (server, client) = connected();
    let (server_in, server_out) = server.split().unwrap();
    let (client_in, client_out) = client.split().unwrap();
    fn send(mut half: impl Write + Send + 'static) -> std::thread::JoinHandle<()> {
        spawn(move || half.write_all(&pattern(2 << 20)).unwrap())
    }
    fn receive(mut half: impl Read + Send + 'static) -> std::thread::JoinHandle<()> {
        spawn(move || {
            let mut got = vec![0; 2 << 20];
            half.read_exact(&mut got).unwrap();
            assert!(got == pattern(2 << 20));
        })
    }
    let threads = [
        send(server_out),
        send(client_out),
        receive(server_in),
        receive(client_in),
    ];
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn what_was_written_before_an_end_is_still_read() {
    let (server, client) = connected();
    (&server).write_all(b"last words").unwrap();
    drop(server);
    let mut text = String::new();
    (&client).read_to_string(&mut text).unwrap();
    assert_eq!(text, "last words");
    assert_eq!(kind_of((&client).write(b"x")), ErrorKind::Broken);
    assert!(!client.is_connected());
}

#[test]
fn c130_after_a_disconnect_the_client_reads_the_end_and_writes_fail() {
    let (server, client) = connected();
    server.disconnect().unwrap();
    assert_eq!((&client).read(&mut [0]).unwrap(), 0);
    assert_eq!(kind_of((&client).write(b"x")), ErrorKind::Broken);
    assert_eq!(kind(server.disconnect()), ErrorKind::InvalidOperation);
    assert_eq!(kind_of((&server).write(b"x")), ErrorKind::InvalidOperation);
}

#[test]
fn one_instance_serves_one_client_after_the_other() {
    let server = NamedPipeServerStream::new(name()).unwrap();
    for round in 0..20_u8 {
        let client = NamedPipeClientStream::new(server.name().name()).unwrap();
        join(&server, &client);
        passes(&[round], &server, &client);
        passes(&[round; 3], &client, &server);
        if round % 2 == 0 {
            drop(client);
        }
        server.disconnect().unwrap();
    }
}

#[test]
fn c105_buffer_sizes_are_those_asked_for() {
    let builder = NamedPipeServerStream::builder(name())
        .in_buffer_size(20_000)
        .out_buffer_size(30_000);
    let (server, client) = connected_to(builder);
    assert_eq!(
        (server.in_buffer_size().unwrap(), server.out_buffer_size().unwrap()),
        (20_000, 30_000)
    );
    assert_eq!(
        (client.in_buffer_size().unwrap(), client.out_buffer_size().unwrap()),
        (30_000, 20_000)
    );
}

#[test]
fn a_lone_write_does_not_wait_for_a_reader() {
    let (server, client) = connected();
    client.set_write_timeout(Some(std::time::Duration::ZERO));
    assert_eq!((&client).write(&pattern(16 << 10)).unwrap(), 16 << 10);
    drop(client);
    let mut got = Vec::new();
    (&server).read_to_end(&mut got).unwrap();
    assert!(got == pattern(16 << 10));
}

#[test]
fn c145_a_drain_waits_for_the_reader() {
    let (server, client) = connected();
    (&server).write_all(b"0123456789").unwrap();
    server.set_write_timeout(Some(crate::support::SHORT));
    assert_eq!(kind(server.wait_for_pipe_drain()), ErrorKind::TimedOut);
    server.set_write_timeout(Some(limit()));
    let drain = spawn(move || server.wait_for_pipe_drain().map(|()| server));
    let mut got = [0; 10];
    (&client).read_exact(&mut got).unwrap();
    let server = drain.join().unwrap().unwrap();
    // With nothing unread it returns at once, again and again.
    server.wait_for_pipe_drain().unwrap();
    server.wait_for_pipe_drain().unwrap();
}

#[test]
fn a_drain_fails_if_the_reader_leaves_the_rest() {
    let (server, client) = connected();
    (&server).write_all(b"0123456789").unwrap();
    let drain = spawn(move || server.wait_for_pipe_drain());
    let mut got = [0; 3];
    (&client).read_exact(&mut got).unwrap();
    drop(client);
    match drain.join().unwrap() {
        Err(error) => assert_eq!(error.kind(), ErrorKind::Broken, "{error}"),
        // Wine's flush cannot tell a reader that left from one that read.
        Ok(()) => assert!(crate::support::wine_cannot(
            "drain",
            "reports success when the reader has left with bytes unread"
        )),
    }
}

#[test]
fn c100_the_number_of_instances_is_the_systems() {
    let name = name();
    let make = || {
        NamedPipeServerStream::builder(&name)
            .max_number_of_server_instances(3)
            .create()
    };
    let (first, second) = (make().unwrap(), make().unwrap());
    let client = NamedPipeClientStream::new(&name).unwrap();
    client.connect_timeout(limit()).unwrap();
    assert_eq!(client.number_of_server_instances().unwrap(), 2);
    let third = make().unwrap();
    assert_eq!(client.number_of_server_instances().unwrap(), 3);
    assert_eq!(kind(make()), ErrorKind::InstancesBusy);
    drop((first, second, third));
}

#[test]
fn properties_say_how_the_pipe_was_made() {
    let (server, client) = connected();
    for stream in [&*server, &*client] {
        assert_eq!(stream.transmission_mode().unwrap(), PipeTransmissionMode::Byte);
        assert_eq!(stream.read_mode().unwrap(), PipeTransmissionMode::Byte);
        stream.set_read_mode(PipeTransmissionMode::Byte).unwrap();
        // Row C088.
        assert_eq!(
            kind(stream.set_read_mode(PipeTransmissionMode::Message)),
            ErrorKind::NotSupported
        );
        assert_eq!(kind(stream.is_message_complete()), ErrorKind::InvalidOperation);
        assert_eq!(kind(stream.read_message(9)), ErrorKind::InvalidOperation);
        assert_eq!(kind(stream.write_message(b"x")), ErrorKind::InvalidOperation);
    }
    let path = server.path().to_str().unwrap();
    assert_eq!(path, format!(r"\\.\pipe\{}", server.name().name().to_str().unwrap()));
}

#[test]
fn std_files_are_clients_too() {
    let server = NamedPipeServerStream::new(name()).unwrap();
    let path = server.path().to_owned();
    let client = spawn(move || {
        let mut file = std::fs::File::options().read(true).write(true).open(path).unwrap();
        file.write_all(b"ask").unwrap();
        let mut answer = [0; 6];
        file.read_exact(&mut answer).unwrap();
        answer
    });
    server.wait_for_connection_timeout(limit()).unwrap();
    let mut question = [0; 3];
    (&server).read_exact(&mut question).unwrap();
    (&server).write_all(b"answer").unwrap();
    assert_eq!((&question, &client.join().unwrap()), (b"ask", b"answer"));
}

#[test]
fn a_look_ahead_takes_nothing() {
    let (server, client) = connected();
    assert_eq!(client.peek(&mut [0; 4]).unwrap(), dotpipe::Peek::default());
    (&server).write_all(b"0123456789").unwrap();
    let mut seen = [0; 4];
    let peek = client.peek(&mut seen).unwrap();
    assert_eq!(
        (peek.read, peek.available, peek.left_in_message, &seen),
        (4, 10, 0, b"0123")
    );
    let mut got = [0; 10];
    (&client).read_exact(&mut got).unwrap();
    assert_eq!(&got, b"0123456789");
    drop(server);
    assert_eq!(kind(client.peek(&mut [])), ErrorKind::Broken);
}

#[test]
fn c122_a_stream_over_the_servers_handle_acts_for_it() {
    let (server, client) = connected();
    let handle = server.safe_pipe_handle().unwrap();
    let clone = NamedPipeServerStream::from_handle(PipeDirection::InOut, handle).unwrap();
    clone.set_read_timeout(Some(limit()));
    passes(b"there", &clone, &client);
    passes(b"and back", &client, &clone);
    assert_eq!(kind(clone.wait_for_connection()), ErrorKind::InvalidOperation);
}

#[test]
fn a_handle_taken_out_of_a_stream_goes_on() {
    let (server, client) = connected();
    let handle = std::os::windows::io::OwnedHandle::try_from(client).unwrap();
    let client = NamedPipeClientStream::try_from(handle).unwrap();
    client.set_read_timeout(Some(limit()));
    passes(b"on and on", &server, &client);
    let file = std::fs::File::open("Cargo.toml").unwrap();
    assert_eq!(
        kind(NamedPipeClientStream::try_from(
            std::os::windows::io::OwnedHandle::from(file)
        )),
        ErrorKind::Io
    );
}
