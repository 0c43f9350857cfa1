//! Operations that are given up in every state: nothing is lost, doubled, or written to memory that is somebody else's.

use std::io::{Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use dotpipe::{ErrorKind, NamedPipeClientStream, NamedPipeServerStream, PipeDirection};
use dotpipe_testkit::{eventually, limit, within_limit};

use crate::support::{SHORT, connected, connected_to, join, kind, kind_of, name, passes, pattern, spawn};

#[test]
fn a_read_whose_time_is_over_has_taken_nothing() {
    let (server, client) = connected();
    let mut buffer = vec![0xee; 64];
    for round in 0..50_u8 {
        client.set_read_timeout(Some(Duration::from_millis(1)));
        assert_eq!(kind_of((&client).read(&mut buffer)), ErrorKind::TimedOut);
        assert!(buffer.iter().all(|&byte| byte == 0xee));
        (&server).write_all(&[round, round]).unwrap();
        assert!(
            buffer.iter().all(|&byte| byte == 0xee),
            "the buffer is the caller's again"
        );
        client.set_read_timeout(Some(limit()));
        let mut got = [0; 2];
        (&client).read_exact(&mut got).unwrap();
        assert_eq!(got, [round, round]);
    }
}

#[test]
fn reads_that_are_given_up_again_and_again_lose_no_byte() {
    let (server, client) = connected();
    let writer = spawn(move || {
        for part in pattern(200_000).chunks(997) {
            (&server).write_all(part).unwrap();
            thread::yield_now();
        }
    });
    client.set_read_timeout(Some(Duration::from_millis(1)));
    let (mut got, mut buffer) = (Vec::new(), [0; 613]);
    loop {
        match (&client).read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => got.extend_from_slice(&buffer[..count]),
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::TimedOut),
        }
    }
    writer.join().unwrap();
    assert!(got == pattern(200_000));
}

#[test]
fn a_write_whose_time_is_over_sends_what_it_took_and_no_more() {
    let (server, client) = connected();
    client.set_write_timeout(Some(Duration::from_millis(20)));
    let bytes = pattern(4 << 20);
    let mut sent = 0;
    while let Ok(count) = (&client).write(&bytes[sent..]) {
        assert!(count > 0);
        sent += count;
        assert!(sent < bytes.len(), "the pipe took everything");
    }
    let receiver = spawn(move || {
        let mut got = Vec::new();
        (&server).read_to_end(&mut got).map(|_| got)
    });
    drop(client);
    let got = receiver.join().unwrap().unwrap();
    assert_eq!(got.len(), sent);
    assert!(got == bytes[..sent]);
}

#[test]
fn what_a_write_took_arrives_after_its_thread_and_its_stream_have_gone() {
    let (server, client) = connected();
    let writer = spawn(move || {
        client.set_write_timeout(Some(Duration::from_millis(20)));
        let bytes = pattern(1 << 20);
        let mut sent = 0;
        while let Ok(count) = (&client).write(&bytes[sent..]) {
            sent += count;
        }
        sent
    });
    let sent = writer.join().unwrap();
    let mut got = Vec::new();
    within_limit("reading what is left", move || {
        (&server).read_to_end(&mut got).map(|_| got)
    })
    .map(|got| assert!(got == pattern(1 << 20)[..sent]))
    .unwrap();
}

#[test]
fn what_a_write_took_arrives_after_its_thread_has_ended() {
    let (server, client) = connected();
    client.set_write_timeout(Some(Duration::from_millis(20)));
    let bytes = pattern(1 << 20);
    // Each write on a thread of its own: the system gives up what an ended thread has started.
    let mut sent = 0;
    loop {
        let count = thread::scope(|scope| scope.spawn(|| (&client).write(&bytes[sent..])).join().unwrap());
        match count {
            Ok(count) => sent += count,
            Err(_) => break,
        }
    }
    let receiver = spawn(move || {
        let mut got = Vec::new();
        (&server).read_to_end(&mut got).map(|_| got)
    });
    client.set_write_timeout(Some(limit()));
    (&client).write_all(b"end").unwrap();
    drop(client);
    let got = receiver.join().unwrap().unwrap();
    assert_eq!(got.len(), sent + 3);
    assert!(got[..sent] == bytes[..sent] && got.ends_with(b"end"));
}

#[test]
fn a_canceller_ends_reads_and_the_connection_goes_on() {
    let (server, client) = connected();
    client.set_read_timeout(None);
    let canceller = client.canceller();
    let reader = spawn(move || (kind_of((&client).read(&mut [0; 8])), client));
    thread::sleep(Duration::from_millis(5));
    canceller.cancel();
    let (ended, client) = reader.join().unwrap();
    assert_eq!(ended, ErrorKind::Canceled);
    assert_eq!(kind_of((&client).write(b"x")), ErrorKind::Canceled);
    canceller.reset();
    client.set_read_timeout(Some(limit()));
    passes(b"still here", &server, &client);
    passes(b"and there", &client, &server);
}

#[test]
fn a_canceller_ends_writes_connects_and_waits() {
    let (_server, client) = connected();
    client.set_write_timeout(None);
    let canceller = client.canceller();
    let writer = spawn(move || kind_of((&client).write_all(&pattern(8 << 20))));
    thread::sleep(Duration::from_millis(5));
    canceller.cancel();
    assert_eq!(writer.join().unwrap(), ErrorKind::Canceled);

    let client = NamedPipeClientStream::new(name()).unwrap();
    let canceller = client.canceller();
    let connecting = spawn(move || kind(client.connect()));
    thread::sleep(Duration::from_millis(5));
    canceller.cancel();
    assert_eq!(connecting.join().unwrap(), ErrorKind::Canceled);

    let server = NamedPipeServerStream::new(name()).unwrap();
    let canceller = server.canceller();
    let waiting = spawn(move || (kind(server.wait_for_connection()), server));
    thread::sleep(Duration::from_millis(5));
    canceller.cancel();
    let (ended, server) = waiting.join().unwrap();
    assert_eq!(ended, ErrorKind::Canceled);
    canceller.reset();
    // The wait that was given up goes on in the system, and its client is not lost.
    let client = NamedPipeClientStream::new(server.name().name()).unwrap();
    join(&server, &client);
    passes(b"x", &server, &client);
}

#[test]
fn a_wait_whose_time_is_over_leaves_the_instance_usable() {
    let server = NamedPipeServerStream::new(name()).unwrap();
    for _ in 0..3 {
        assert_eq!(kind(server.wait_for_connection_timeout(SHORT)), ErrorKind::TimedOut);
        assert_eq!(
            kind(server.wait_for_connection_timeout(Duration::ZERO)),
            ErrorKind::TimedOut
        );
        // On a thread that ends, which takes its wait along.
        let ended = thread::scope(|scope| scope.spawn(|| kind(server.wait_for_connection_timeout(SHORT))).join());
        assert_eq!(ended.unwrap(), ErrorKind::TimedOut);
        let client = NamedPipeClientStream::new(server.name().name()).unwrap();
        join(&server, &client);
        passes(b"x", &client, &server);
        server.disconnect().unwrap();
    }
}

#[test]
fn disconnect_and_close_end_pending_calls() {
    let (server, _client) = connected();
    let server = std::sync::Arc::new(server);
    let reader = spawn({
        let server = std::sync::Arc::clone(&server);
        move || kind_of((&*server).read(&mut [0]))
    });
    thread::sleep(Duration::from_millis(5));
    server.disconnect().unwrap();
    assert_eq!(reader.join().unwrap(), ErrorKind::InvalidOperation);
    let waiting = spawn({
        let server = std::sync::Arc::clone(&server);
        move || kind(server.wait_for_connection())
    });
    thread::sleep(Duration::from_millis(5));
    server.close();
    assert_eq!(waiting.join().unwrap(), ErrorKind::ObjectDisposed);
    server.close();
    assert_eq!(kind_of((&*server).read(&mut [0])), ErrorKind::ObjectDisposed);
    // The name is free, though the stream still lives.
    eventually("the name is free", || {
        NamedPipeServerStream::new(server.name().name()).is_ok()
    });
}

#[test]
fn a_disconnect_with_a_write_under_way_reaches_the_client_and_not_the_next_one() {
    let server = NamedPipeServerStream::new(name()).unwrap();
    for round in 0..10_u8 {
        let client = NamedPipeClientStream::new(server.name().name()).unwrap();
        join(&server, &client);
        server.set_write_timeout(Some(Duration::from_millis(2)));
        while (&server).write(&[round; 50_000]).is_ok() {}
        server.disconnect().unwrap();
        let next = NamedPipeClientStream::new(server.name().name()).unwrap();
        join(&server, &next);
        passes(&[100 + round; 5], &server, &next);
        server.disconnect().unwrap();
    }
}

#[test]
fn time_outs_hold() {
    let (_server, client) = connected();
    for limit in [0_u64, 30, 100].map(Duration::from_millis) {
        client.set_read_timeout(Some(limit));
        let start = Instant::now();
        assert_eq!(kind_of((&client).read(&mut [0])), ErrorKind::TimedOut);
        assert!(start.elapsed() >= limit, "{:?} of {limit:?}", start.elapsed());
    }
}

#[test]
fn one_way_pipes_are_given_up_too() {
    for direction in [PipeDirection::In, PipeDirection::Out] {
        let (server, client) = connected_to(NamedPipeServerStream::builder(name()).direction(direction));
        let (writer, reader) = if direction.can_write() {
            (&*server, &*client)
        } else {
            (&*client, &*server)
        };
        reader.set_read_timeout(Some(SHORT));
        let mut reading = reader;
        assert_eq!(kind_of(reading.read(&mut [0])), ErrorKind::TimedOut);
        passes(b"x", writer, reader);
    }
}
