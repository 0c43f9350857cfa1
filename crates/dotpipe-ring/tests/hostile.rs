//! A peer that lies: with scripts, and by scribbling all over the memory while the other side works.

#![cfg(not(loom))]

#[path = "support/hostile.rs"]
mod hostile;
mod support;

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use dotpipe_ring::{Bell, Ends, Error, Framing, Geometry, Memory, Side, Wait};
use hostile::Target;
use support::Numbers;

#[test]
fn scripts_at_random() {
    let runs = if cfg!(miri) { 20 } else { 20_000 };
    let mut numbers = Numbers(7);
    for _ in 0..runs {
        let length = numbers.below(600);
        let script: Vec<u8> = (0..length).map(|_| numbers.next() as u8).collect();
        hostile::run(&script);
    }
}

/// What once failed, or looks as if it might.
#[test]
fn scripts_of_the_corpus() {
    for script in CORPUS {
        hostile::run(script);
    }
}

/// `[options]`, then `[0, word, kind of lie, ...]`, `[1, place (4), byte]`, or `[2, side, length, call, ...]`.
const CORPUS: &[&[u8]] = &[
    &[],
    // A head one ring and one byte ahead, then a read.
    &[0, 0, 7, 5, 2, 0, 255, 3],
    // A head of all ones.
    &[0, 0, 7, 1, 2, 0, 255, 3, 2, 0, 255, 5],
    // A part of a message's length.
    &[1, 0, 7, 2, 3, 2, 0, 255, 5, 2, 0, 255, 7],
    // A ring full of empty messages, read as bytes and peeked at.
    &[1, 0, 7, 4, 2, 0, 255, 7, 2, 0, 255, 3],
    // A length of 2^32 - 1, and eight bytes there.
    &[
        1, 1, 0, 16, 0, 0, 255, 0, 7, 2, 8, 2, 0, 255, 5, 2, 0, 255, 5, 2, 0, 255, 7,
    ],
    // A tail before the last one, and beyond the head.
    &[0, 2, 0, 255, 0, 0, 3, 3, 1, 2, 0, 255, 10, 0, 3, 2, 200, 2, 0, 255, 10],
    // The base anywhere.
    &[0, 0, 7, 2, 200, 0, 8, 7, 1, 2, 3, 4, 2, 0, 255, 3],
    // The end and the leave, and their withdrawal.
    &[
        4, 0, 9, 6, 2, 0, 9, 3, 0, 9, 0, 2, 0, 9, 3, 0, 5, 6, 2, 0, 9, 0, 0, 5, 0, 2, 0, 9, 0,
    ],
];

/// A bell that always tells that the other side is there.
struct There;

impl Bell for There {
    fn ring(&self) -> bool {
        true
    }

    fn silence(&self) -> bool {
        true
    }
}

/// Numbers of the words of direction 0 for [`Target::poke_word`].
const HEAD: usize = 0;
const TAIL: usize = 3;
const WRITER_SLEEPS: usize = 6;

/// One side of a small ring, and the memory in which the other side lies to it.
fn side(which: Side, framing: Framing) -> (Ends, Target, Memory) {
    let (here, there) = Memory::private(Geometry::new(4096, 4096).unwrap());
    // SAFETY: the caller keeps `there` for as long.
    let target = unsafe { Target::of(&there) };
    (here.into_ends(which, framing), target, there)
}

#[test]
fn a_head_that_cannot_be_is_noticed() {
    for lie in [99, 0, 100 + 4097, u32::MAX, 1 << 31] {
        let (mut ends, target, _memory) = side(Side::Receiver, Framing::Bytes);
        target.poke_word(HEAD, 100);
        assert_eq!(ends.consumer.is_ready(), Ok(true));
        target.poke_word(HEAD, lie);
        let result = ends.consumer.try_read(&mut [0; 200], &There);
        assert!(matches!(result, Err(Error::Corrupt(_))), "{lie}: {result:?}");
    }
}

#[test]
fn a_tail_that_cannot_be_is_noticed() {
    for lie in [49, 0, 101, u32::MAX, 1 << 31] {
        let (mut ends, target, _memory) = side(Side::Creator, Framing::Bytes);
        assert_eq!(ends.producer.try_write(&[1; 100], &There), Ok(100));
        target.poke_word(TAIL, 50);
        assert_eq!(ends.producer.unread(), Ok(50));
        target.poke_word(TAIL, lie);
        let result = ends.producer.try_drain();
        assert!(matches!(result, Err(Error::Corrupt(_))), "{lie}: {result:?}");
    }
}

#[test]
fn a_part_of_a_length_is_noticed() {
    for part in 1..4 {
        let (mut ends, target, _memory) = side(Side::Receiver, Framing::Messages);
        target.poke_word(HEAD, part);
        let result = ends.consumer.try_read_message(&mut [0; 9], &There);
        assert!(matches!(result, Err(Error::Corrupt(_))), "{part}: {result:?}");
        let result = ends.consumer.peek(&mut [0; 9]);
        assert!(matches!(result, Err(Error::Corrupt(_))), "{part}: {result:?}");
    }
}

/// A length that comes alone is allowed. Who has read it and sleeps has given its room back.
#[test]
fn room_is_given_back_before_sleep() {
    let (mut ends, target, _memory) = side(Side::Receiver, Framing::Messages);
    target.poke_byte(4096, 5);
    target.poke_word(HEAD, 4);
    assert_eq!(
        ends.consumer.try_read_message(&mut [0; 9], &There),
        Err(Error::WouldBlock)
    );
    assert_eq!(ends.consumer.message_left(), Some(5));
    assert_eq!(ends.consumer.prepare_wait(&There), Ok(Wait::MustWait));
    assert_eq!(target.peek_word(TAIL), 4);
}

/// A peer that adds an empty message whenever one is taken cannot keep a reader for ever.
#[test]
fn a_read_comes_to_an_end() {
    struct Feeder(Target, Cell<u32>);

    impl Bell for Feeder {
        fn ring(&self) -> bool {
            self.1.set(self.1.get() + 1);
            assert!(self.1.get() < 10_000, "the read goes on for ever");
            self.0.poke_word(HEAD, self.0.peek_word(HEAD).wrapping_add(4));
            self.0.poke_word(WRITER_SLEEPS, 1);
            true
        }

        fn silence(&self) -> bool {
            true
        }
    }

    let (mut ends, target, _memory) = side(Side::Receiver, Framing::Messages);
    let bell = Feeder(target, Cell::new(0));
    bell.ring();
    assert_eq!(ends.consumer.try_read(&mut [0; 9], &bell), Err(Error::WouldBlock));
}

/// Writes numbers and bytes all over the memory until told to stop.
fn scribble(target: Target, stop: &AtomicBool, seed: u64) {
    let mut numbers = Numbers(seed);
    while !stop.load(Ordering::Relaxed) {
        let (number, value) = (numbers.below(14), numbers.next() as u32);
        let truth = target.peek_word(number);
        let lie = match value % 5 {
            0 => value,
            1 => truth.wrapping_add(value >> 20),
            2 => truth.wrapping_sub(value >> 20),
            3 => 0,
            _ => truth.wrapping_add(1),
        };
        target.poke_word(number, lie);
        for _ in 0..16 {
            target.poke_byte(numbers.next() as usize, numbers.next() as u8);
        }
    }
}

/// Goes through all calls while somebody scribbles, and counts the lies that were noticed.
fn work(ends: Ends, rounds: usize) -> usize {
    let Ends {
        mut producer,
        mut consumer,
        ..
    } = ends;
    let mut numbers = Numbers(3);
    let mut buffer = vec![0; 20_000];
    let mut noticed = 0;
    let mut count = |lie: bool| noticed += usize::from(lie);
    let corrupt = |error: &Error| matches!(error, Error::Corrupt(_));
    for _ in 0..rounds {
        let length = numbers.length(buffer.len());
        let bytes = &mut buffer[..length];
        count(producer.try_write(bytes, &There).is_err_and(|error| corrupt(&error)));
        count(consumer.try_read(bytes, &There).is_err_and(|error| corrupt(&error)));
        count(
            consumer
                .try_read_message(bytes, &There)
                .is_err_and(|error| corrupt(&error)),
        );
        count(consumer.peek(bytes).is_err_and(|error| corrupt(&error)));
        count(producer.prepare_wait(&There).is_err_and(|error| corrupt(&error)));
        count(consumer.prepare_wait(&There).is_err_and(|error| corrupt(&error)));
        count(producer.try_drain().is_err_and(|error| corrupt(&error)));
    }
    noticed
}

#[test]
#[cfg_attr(miri, ignore = "races on purpose")]
fn scribbling_over_everything_is_noticed_and_harmless() {
    for framing in [Framing::Bytes, Framing::Messages] {
        let (here, there) = Memory::private(Geometry::new(8192, 4096).unwrap());
        // SAFETY: `there` keeps the memory until the scribbler has ended.
        let target = unsafe { Target::of(&there) };
        let stop = Arc::new(AtomicBool::new(false));
        let scribbler = thread::spawn({
            let stop = Arc::clone(&stop);
            move || scribble(target, &stop, 1)
        });
        let mut noticed = 0;
        // New ends each time, as one lie is enough to end a connection.
        let ends = here.into_ends(Side::Creator, framing);
        noticed += work(ends, 100_000);
        stop.store(true, Ordering::Relaxed);
        scribbler.join().unwrap();
        drop(there);
        assert!(noticed > 0, "{framing:?}");
    }
}

/// Zeros where there were bytes, lengths and indices, as after `fallocate(FALLOC_FL_PUNCH_HOLE)`.
#[cfg(all(target_os = "linux", not(miri)))]
#[test]
fn punched_holes_are_as_any_other_lie() {
    use std::os::fd::AsFd;

    use rustix::fs::FallocateFlags;

    for framing in [Framing::Bytes, Framing::Messages] {
        let (memory, file) = Memory::create(Geometry::new(4096, 4096).unwrap()).unwrap();
        let received = Memory::receive(file.as_fd()).unwrap();
        let mut here = memory.into_ends(Side::Creator, framing);
        let mut there = received.into_ends(Side::Receiver, framing);
        assert_eq!(here.producer.try_write(&[7; 1000], &There), Ok(1000));
        let punch = |offset, length| {
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            rustix::fs::fallocate(&file, flags, offset, length).unwrap();
        };
        punch(4096, 4096);
        let mut buffer = [1; 500];
        match framing {
            Framing::Bytes => {
                assert_eq!(there.consumer.try_read(&mut buffer, &There), Ok(500));
                assert_eq!(buffer, [0; 500]);
            }
            // Empty messages, one after the other.
            Framing::Messages => {
                let part = there.consumer.try_read_message(&mut buffer, &There).unwrap().unwrap();
                assert_eq!((part.count, part.complete), (0, true));
            }
        }
        punch(0, 4096);
        assert!(there.consumer.prepare_wait(&There).is_ok());
        for _ in 0..4000 {
            match here.producer.try_write(&[1; 100], &There) {
                Ok(_) | Err(Error::WouldBlock | Error::Corrupt(_)) => {}
                Err(error) => panic!("{error}"),
            }
            match there.consumer.try_read(&mut buffer, &There) {
                Ok(_) | Err(Error::WouldBlock | Error::Corrupt(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
}
