//! A ring of bytes: what comes out, and when.

#![cfg(not(loom))]

mod support;

use std::thread;

use dotpipe_ring::{Error, Framing, Geometry, Side, Wait};
use support::{Numbers, byte_at, direction, small};

#[test]
fn bytes_come_out_as_they_went_in() {
    let (mut writer, _, mut reader, _) = small(Framing::Bytes);
    assert_eq!(writer.producer.try_write(b"hello, ", &writer.bell), Ok(7));
    assert_eq!(writer.producer.try_write(b"world", &writer.bell), Ok(5));
    let mut buffer = [0; 5];
    assert_eq!(reader.read(&mut buffer), Ok(5));
    assert_eq!(&buffer, b"hello");
    let mut buffer = [0; 50];
    assert_eq!(reader.read(&mut buffer), Ok(7));
    assert_eq!(&buffer[..7], b", world");
    assert_eq!(
        reader.consumer.try_read(&mut buffer, &reader.bell),
        Err(Error::WouldBlock)
    );
}

#[test]
fn a_full_ring_takes_no_more_and_an_emptied_one_takes_all_again() {
    let (mut writer, _, mut reader, _) = small(Framing::Bytes);
    for _ in 0..3 {
        assert_eq!(writer.producer.try_write(&[7; 5000], &writer.bell), Ok(4096));
        assert_eq!(writer.producer.try_write(&[7], &writer.bell), Err(Error::WouldBlock));
        assert_eq!(writer.producer.unread(), Ok(4096));
        assert_eq!(reader.read(&mut [0; 5000]), Ok(4096));
        assert_eq!(writer.producer.unread(), Ok(0));
    }
}

#[test]
fn room_is_given_back_after_an_eighth() {
    let (mut writer, _, mut reader, _) = small(Framing::Bytes);
    writer.write_all(&[1; 4096]).unwrap();
    reader.read(&mut [0; 511]).unwrap();
    assert_eq!(writer.producer.try_write(&[2], &writer.bell), Err(Error::WouldBlock));
    reader.read(&mut [0; 1]).unwrap();
    assert_eq!(writer.producer.try_write(&[2; 1000], &writer.bell), Ok(512));
}

#[test]
fn the_end_comes_after_what_was_written_before_it() {
    let (mut writer, closer, mut reader, _) = small(Framing::Bytes);
    writer.write_all(b"last").unwrap();
    closer.end_writing(&writer.bell);
    let mut buffer = [0; 9];
    assert_eq!(reader.read(&mut buffer), Ok(4));
    assert_eq!(reader.read(&mut buffer), Ok(0));
    assert_eq!(reader.read(&mut buffer), Ok(0));
}

#[test]
fn a_peer_that_has_gone_leaves_what_it_wrote() {
    let (mut writer, _, mut reader, _) = small(Framing::Bytes);
    writer.write_all(b"last").unwrap();
    writer.bell.rings.hang_up();
    drop(writer);
    let mut buffer = [0; 9];
    assert_eq!(reader.consumer.prepare_wait(&reader.bell), Ok(Wait::Ready));
    assert_eq!(reader.read(&mut buffer), Ok(4));
    assert_eq!(reader.consumer.prepare_wait(&reader.bell), Ok(Wait::PeerGone));
    assert_eq!(reader.read(&mut buffer), Ok(0));
}

#[test]
fn a_reader_that_leaves_breaks_the_pipe() {
    let (mut writer, _, reader, closer) = small(Framing::Bytes);
    closer.end_reading(&reader.bell);
    assert_eq!(writer.producer.try_write(&[1], &writer.bell), Err(Error::Broken));
    assert_eq!(writer.producer.try_drain(), Ok(()));
}

#[test]
fn a_writer_asleep_hears_that_the_reader_leaves() {
    let (mut writer, _, reader, closer) = small(Framing::Bytes);
    writer.write_all(&[1; 4096]).unwrap();
    let blocked = thread::spawn(move || (writer.write_all(&[2]), writer.drain()));
    closer.end_reading(&reader.bell);
    assert_eq!(blocked.join().unwrap(), (Err(Error::Broken), Err(Error::Broken)));
}

#[test]
fn a_writer_hears_that_the_reader_was_killed() {
    let (mut writer, _, reader, _) = small(Framing::Bytes);
    writer.write_all(&[1; 4096]).unwrap();
    let blocked = thread::spawn(move || writer.write_all(&[2]));
    reader.bell.rings.hang_up();
    assert_eq!(blocked.join().unwrap(), Err(Error::Broken));
}

#[test]
fn one_bell_for_one_sleep() {
    let (mut writer, _, mut reader, _) = small(Framing::Bytes);
    writer.write_all(b"a").unwrap();
    assert_eq!(reader.bell.rung(), 0);
    reader.read(&mut [0; 9]).unwrap();
    assert_eq!(reader.consumer.prepare_wait(&reader.bell), Ok(Wait::MustWait));
    writer.write_all(b"b").unwrap();
    writer.write_all(b"c").unwrap();
    assert_eq!(reader.bell.rung(), 1);
    assert_eq!(reader.read(&mut [0; 9]), Ok(2));
    assert_eq!(reader.consumer.prepare_wait(&reader.bell), Ok(Wait::MustWait));
    assert_eq!(reader.bell.rung(), 0);
    reader.consumer.cancel_wait();
    writer.write_all(b"d").unwrap();
    assert_eq!(reader.bell.rung(), 0);
}

#[test]
fn draining_waits_for_the_last_byte() {
    let (mut writer, _, mut reader, _) = small(Framing::Bytes);
    writer.write_all(&[1; 100]).unwrap();
    assert_eq!(writer.producer.try_drain(), Err(Error::WouldBlock));
    assert_eq!(writer.producer.prepare_wait(&writer.bell), Ok(Wait::MustWait));
    reader.read(&mut [0; 99]).unwrap();
    assert_eq!(writer.bell.rung(), 0);
    assert_eq!(writer.producer.try_drain(), Err(Error::WouldBlock));
    let draining = thread::spawn(move || writer.drain());
    reader.read(&mut [0; 99]).unwrap();
    assert_eq!(draining.join().unwrap(), Ok(()));
}

#[test]
fn peeking_takes_nothing() {
    let (mut writer, closer, mut reader, _) = small(Framing::Bytes);
    let mut buffer = [0; 3];
    let peeked = reader.consumer.peek(&mut buffer).unwrap().unwrap();
    assert_eq!((peeked.count, peeked.available, peeked.message_left), (0, 0, None));
    writer.write_all(b"peek").unwrap();
    for _ in 0..2 {
        let peeked = reader.consumer.peek(&mut buffer).unwrap().unwrap();
        assert_eq!((peeked.count, peeked.available, &buffer), (3, 4, b"pee"));
    }
    assert_eq!(writer.producer.unread(), Ok(4));
    closer.end_writing(&writer.bell);
    assert!(reader.consumer.peek(&mut []).unwrap().is_some());
    reader.read(&mut [0; 4]).unwrap();
    assert_eq!(reader.consumer.peek(&mut buffer), Ok(None));
}

#[test]
fn the_two_directions_are_apart() {
    let (here, there) = dotpipe_ring::Memory::private(Geometry::new(4096, 8192).unwrap());
    let mut here = here.into_ends(Side::Creator, Framing::Bytes);
    let mut there = there.into_ends(Side::Receiver, Framing::Bytes);
    let (bell, _) = support::TestBell::pair();
    assert_eq!(here.producer.try_write(&[1; 9999], &bell), Ok(4096));
    assert_eq!(there.producer.try_write(&[2; 9999], &bell), Ok(8192));
    let mut buffer = [0; 9999];
    assert_eq!(here.consumer.try_read(&mut buffer, &bell), Ok(8192));
    assert!(buffer[..8192].iter().all(|&byte| byte == 2));
    assert_eq!(there.consumer.try_read(&mut buffer, &bell), Ok(4096));
    assert!(buffer[..4096].iter().all(|&byte| byte == 1));
    there.closer.end_writing(&bell);
    assert!(here.closer.peer_ended_writing() && !here.closer.peer_ended_reading());
}

/// Beyond 2^32 bytes, in a ring that is reset all the time and in one that is never empty.
#[test]
#[cfg_attr(miri, ignore = "sixteen gigabytes")]
fn counts_run_over() {
    for kept in [0, 5] {
        let (mut writer, _, mut reader, _) = direction(Geometry::new(1 << 20, 4096).unwrap(), Framing::Bytes);
        writer.write_all(&vec![0; kept]).unwrap();
        let mut block = vec![0; 3 << 18];
        let (mut out, mut before) = (block.clone(), vec![0; kept]);
        for round in 0..5500_u32 {
            block[..4].copy_from_slice(&round.to_le_bytes());
            block[(3 << 18) - 4..].copy_from_slice(&(!round).to_le_bytes());
            assert_eq!(writer.producer.try_write(&block, &writer.bell), Ok(block.len()));
            assert_eq!(reader.read(&mut out), Ok(block.len()));
            assert!(out[..kept] == before && out[kept..] == block[..block.len() - kept]);
            before.copy_from_slice(&block[block.len() - kept..]);
        }
    }
}

/// Two threads, random lengths on both sides, every byte checked.
#[test]
fn two_threads_lose_and_double_nothing() {
    let total: u64 = if cfg!(miri) { 3_000 } else { 8 << 20 };
    for seed in 0..4 {
        let geometry = Geometry::new(4096 << seed, 4096).unwrap();
        let (mut writer, closer, mut reader, _) = direction(geometry, Framing::Bytes);
        let longest = 3 * geometry.to_receiver() as usize;
        let writing = thread::spawn(move || {
            let mut numbers = Numbers(seed);
            let mut place = 0;
            while place < total {
                let length = numbers.length(longest).min((total - place) as usize);
                let bytes: Vec<u8> = (place..place + length as u64).map(byte_at).collect();
                writer.write_all(&bytes).unwrap();
                place += length as u64;
                if numbers.below(50) == 0 {
                    writer.drain().unwrap();
                }
            }
            closer.end_writing(&writer.bell);
        });
        let mut numbers = Numbers(seed + 100);
        let mut place = 0;
        let mut buffer = vec![0; longest];
        loop {
            let length = numbers.length(longest).max(1);
            let count = reader.read(&mut buffer[..length]).unwrap();
            if count == 0 {
                break;
            }
            for (at, &byte) in buffer[..count].iter().enumerate() {
                assert_eq!(byte, byte_at(place + at as u64), "at {place} + {at}");
            }
            place += count as u64;
        }
        writing.join().unwrap();
        assert_eq!(place, total);
    }
}
