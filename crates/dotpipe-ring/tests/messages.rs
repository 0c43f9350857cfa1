//! A ring of messages: whole, empty, longer than the ring, and read as a stream.

#![cfg(not(loom))]

mod support;

use std::thread;

use dotpipe_ring::{Error, Framing, Part, Wait};
use support::{Numbers, small};

fn part(count: usize, complete: bool) -> Result<Option<Part>, Error> {
    Ok(Some(Part { count, complete }))
}

#[test]
fn messages_keep_their_ends() {
    let (mut writer, closer, mut reader, _) = small(Framing::Messages);
    for message in [&b"one"[..], b"", b"three"] {
        writer.write_message(message).unwrap();
    }
    closer.end_writing(&writer.bell);
    let mut buffer = [0; 9];
    assert_eq!(reader.read_part(&mut buffer), part(3, true));
    assert_eq!(&buffer[..3], b"one");
    assert_eq!(reader.read_part(&mut buffer), part(0, true));
    assert_eq!(reader.read_part(&mut buffer), part(5, true));
    assert_eq!(&buffer[..5], b"three");
    assert_eq!(reader.read_part(&mut buffer), Ok(None));
}

#[test]
fn a_short_read_leaves_the_rest_for_the_next() {
    let (mut writer, _, mut reader, _) = small(Framing::Messages);
    writer.write_message(b"abcdef").unwrap();
    writer.write_message(b"g").unwrap();
    let mut buffer = [0; 4];
    assert_eq!(reader.read_part(&mut []), part(0, false));
    assert_eq!(reader.read_part(&mut buffer), part(4, false));
    assert_eq!(reader.consumer.message_left(), Some(2));
    assert_eq!(reader.read_part(&mut []), part(0, false));
    assert_eq!(reader.read_part(&mut buffer), part(2, true));
    assert_eq!(&buffer[..2], b"ef");
    assert_eq!(reader.consumer.message_left(), None);
    assert_eq!(reader.read_part(&mut buffer), part(1, true));
}

#[test]
fn a_message_that_fits_goes_whole_or_not_at_all() {
    let (mut writer, _, mut reader, _) = small(Framing::Messages);
    writer.write_message(&[1; 4000]).unwrap();
    assert_eq!(
        writer.producer.try_write_message(&[2; 4000], &writer.bell),
        Err(Error::WouldBlock)
    );
    assert_eq!(writer.producer.unfinished(), 0);
    // Another one may be written instead.
    assert_eq!(writer.producer.try_write_message(&[3; 80], &writer.bell), Ok(80));
    let mut buffer = [0; 5000];
    assert_eq!(reader.read_part(&mut buffer), part(4000, true));
    assert_eq!(reader.read_part(&mut buffer), part(80, true));
    assert_eq!(writer.producer.try_write_message(&[2; 4000], &writer.bell), Ok(4000));
    assert_eq!(reader.read_part(&mut buffer), part(4000, true));
    assert_eq!(writer.producer.try_write_message(&[4; 4092], &writer.bell), Ok(4092));
    assert_eq!(reader.read_part(&mut buffer), part(4092, true));
}

#[test]
fn a_writer_sleeps_until_the_whole_message_fits() {
    let (mut writer, _, mut reader, _) = small(Framing::Messages);
    writer.write_message(&[1; 2000]).unwrap();
    writer.write_message(&[1; 2000]).unwrap();
    assert_eq!(
        writer.producer.try_write_message(&[2; 4000], &writer.bell),
        Err(Error::WouldBlock)
    );
    reader.read_part(&mut [0; 2000]).unwrap();
    assert_eq!(writer.producer.prepare_wait(&writer.bell), Ok(Wait::MustWait));
    reader.read_part(&mut [0; 2000]).unwrap();
    assert_eq!(writer.bell.rung(), 1);
    assert_eq!(writer.producer.try_write_message(&[2; 4000], &writer.bell), Ok(4000));
}

#[test]
fn a_message_longer_than_the_ring_streams_through() {
    let (mut writer, _, mut reader, _) = small(Framing::Messages);
    let message: Vec<u8> = (0..100_000_u32).map(|number| ((number * 7) >> 2) as u8).collect();
    assert_eq!(writer.producer.try_write_message(&message, &writer.bell), Ok(4092));
    assert_eq!(writer.producer.unfinished(), 100_000 - 4092);
    assert_eq!(
        writer.producer.try_write_message(b"other", &writer.bell),
        Err(Error::Unfinished)
    );
    let rest = message[4092..].to_vec();
    let writing = thread::spawn(move || {
        let mut rest = &rest[..];
        while writer.producer.unfinished() > 0 {
            match writer.producer.try_write_message(rest, &writer.bell) {
                Ok(count) => rest = &rest[count..],
                Err(error) => {
                    assert_eq!(error, Error::WouldBlock);
                    if writer.producer.prepare_wait(&writer.bell).unwrap() == Wait::MustWait {
                        writer.bell.wait();
                    }
                }
            }
        }
        writer.write_message(b"next").unwrap();
    });
    assert!(reader.read_message(1234).unwrap().unwrap() == message);
    assert_eq!(reader.read_message(1234).unwrap().unwrap(), b"next");
    writing.join().unwrap();
}

#[test]
fn a_writer_that_leaves_within_a_message_tears_it() {
    for killed in [false, true] {
        let (mut writer, closer, mut reader, _) = small(Framing::Messages);
        writer.producer.try_write_message(&[1; 5000], &writer.bell).unwrap();
        if killed {
            writer.bell.rings.hang_up();
        } else {
            closer.end_writing(&writer.bell);
        }
        assert_eq!(reader.read_part(&mut [0; 4092]), part(4092, false));
        assert_eq!(reader.read_part(&mut [0; 4092]), Err(Error::Torn));
        if !killed {
            assert_eq!(reader.consumer.peek(&mut []), Err(Error::Torn));
        }
    }
}

#[test]
fn a_reader_of_bytes_reads_across_messages() {
    let (mut writer, closer, mut reader, _) = small(Framing::Messages);
    for message in [&b""[..], b"ab", b"", b"", b"cdef"] {
        writer.write_message(message).unwrap();
    }
    let mut buffer = [0; 4];
    assert_eq!(reader.read(&mut buffer), Ok(4));
    assert_eq!(&buffer, b"abcd");
    assert_eq!(reader.consumer.message_left(), Some(2));
    assert_eq!(reader.read_part(&mut buffer), part(2, true));
    writer.write_message(b"").unwrap();
    assert_eq!(
        reader.consumer.try_read(&mut buffer, &reader.bell),
        Err(Error::WouldBlock)
    );
    closer.end_writing(&writer.bell);
    assert_eq!(reader.read(&mut buffer), Ok(0));
}

#[test]
fn empty_messages_give_their_room_back() {
    let (mut writer, _, mut reader, _) = small(Framing::Messages);
    for _ in 0..1024 {
        writer.write_message(b"").unwrap();
    }
    assert_eq!(
        writer.producer.try_write_message(b"", &writer.bell),
        Err(Error::WouldBlock)
    );
    for _ in 0..1024 {
        assert_eq!(reader.read_part(&mut [0; 1]), part(0, true));
    }
    assert_eq!(writer.producer.try_drain(), Ok(()));
}

#[test]
fn peeking_tells_what_is_left_of_the_message() {
    let (mut writer, _, mut reader, _) = small(Framing::Messages);
    let peek = |reader: &mut support::Reader, size: usize| {
        let mut buffer = vec![0; size];
        let peeked = reader.consumer.peek(&mut buffer).unwrap().unwrap();
        (buffer[..peeked.count].to_vec(), peeked.available, peeked.message_left)
    };
    assert_eq!(peek(&mut reader, 9), (vec![], 0, None));
    for message in [&b"abcd"[..], b"", b"ef"] {
        writer.write_message(message).unwrap();
    }
    assert_eq!(peek(&mut reader, 2), (b"ab".to_vec(), 6, Some(4)));
    assert_eq!(peek(&mut reader, 9), (b"abcd".to_vec(), 6, Some(4)));
    reader.read_part(&mut [0; 3]).unwrap();
    assert_eq!(peek(&mut reader, 9), (b"d".to_vec(), 3, Some(1)));
    reader.read_part(&mut [0; 3]).unwrap();
    assert_eq!(peek(&mut reader, 9), (vec![], 2, Some(0)));
}

#[test]
fn two_threads_keep_all_messages_whole() {
    let count = if cfg!(miri) { 40 } else { 30_000 };
    let (mut writer, closer, mut reader, _) = small(Framing::Messages);
    let writing = thread::spawn(move || {
        let mut numbers = Numbers(1);
        for number in 0..count {
            let length = numbers.length(if number % 100 == 0 { 20_000 } else { 600 });
            writer.write_message(&vec![number as u8; length]).unwrap();
        }
        closer.end_writing(&writer.bell);
    });
    let (mut numbers, mut sizes) = (Numbers(1), Numbers(2));
    for number in 0..count {
        let length = numbers.length(if number % 100 == 0 { 20_000 } else { 600 });
        let message = reader.read_message(1 + sizes.length(30_000)).unwrap().unwrap();
        assert_eq!(message.len(), length);
        assert!(message.iter().all(|&byte| byte == number as u8));
    }
    assert_eq!(reader.read_message(10).unwrap(), None);
    writing.join().unwrap();
}
