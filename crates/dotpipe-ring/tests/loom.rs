//! Models of the ring, run through all orders in which its threads and its memory can behave (up to a bound).
//!
//! ```sh
//! RUSTFLAGS="--cfg loom" cargo test -p dotpipe-ring --release --test loom
//! ```
//!
//! A lost wake-up shows as a deadlock, a missing hand-over as a race on a byte or as a wrong byte. The last test weakens one place of the
//! protocol after the other ([`Site`]), in a process of its own each, and demands that a model fails every time: nothing in the
//! protocol is stronger than it must be, and the models see what they are for.

#![cfg(loom)]

use std::process::{Command, Stdio};
use std::sync::Arc;

use dotpipe_ring::model::{Site, weaken};
use dotpipe_ring::{Bell, Closer, Consumer, Ends, Error, Producer, Tuning, Wait};
use loom::sync::{Condvar, Mutex};
use loom::thread;

/// One way of a bell, as a socket in which bytes lie.
#[derive(Clone, Debug)]
struct Line(Arc<(Mutex<bool>, Condvar)>);

impl Line {
    fn new() -> Self {
        Self(Arc::new((Mutex::new(false), Condvar::new())))
    }
}

#[derive(Clone, Debug)]
struct ModelBell {
    rings: Line,
    hears: Line,
}

impl ModelBell {
    fn pair() -> (Self, Self) {
        let (data, space) = (Line::new(), Line::new());
        let producers = Self {
            rings: data.clone(),
            hears: space.clone(),
        };
        (
            producers,
            Self {
                rings: space,
                hears: data,
            },
        )
    }

    fn wait(&self) {
        let (rung, changed) = &*self.hears.0;
        let mut rung = rung.lock().unwrap();
        while !*rung {
            rung = changed.wait(rung).unwrap();
        }
    }
}

impl Bell for ModelBell {
    fn ring(&self) -> bool {
        let (rung, changed) = &*self.rings.0;
        *rung.lock().unwrap() = true;
        changed.notify_one();
        true
    }

    fn silence(&self) -> bool {
        *self.hears.0.0.lock().unwrap() = false;
        true
    }
}

fn write_all(producer: &mut Producer, bell: &ModelBell, mut bytes: &[u8]) -> Result<(), Error> {
    while !bytes.is_empty() {
        match producer.try_write(bytes, bell) {
            Ok(count) => bytes = &bytes[count..],
            Err(Error::WouldBlock) => {
                if producer.prepare_wait(bell)? == Wait::MustWait {
                    bell.wait();
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn drain(producer: &mut Producer, bell: &ModelBell) -> Result<(), Error> {
    loop {
        match producer.try_drain() {
            Err(Error::WouldBlock) => {
                if producer.prepare_wait(bell)? == Wait::MustWait {
                    bell.wait();
                }
            }
            done => return done,
        }
    }
}

fn read(consumer: &mut Consumer, bell: &ModelBell, buffer: &mut [u8]) -> usize {
    loop {
        match consumer.try_read(buffer, bell) {
            Ok(count) => return count,
            Err(Error::WouldBlock) => {
                if consumer.prepare_wait(bell).unwrap() == Wait::MustWait {
                    bell.wait();
                }
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// Reads `bytes`, in whatever pieces they come.
fn expect(consumer: &mut Consumer, bell: &ModelBell, mut bytes: &[u8]) {
    let mut buffer = [0; 8];
    while !bytes.is_empty() {
        let length = buffer.len().min(bytes.len());
        let count = read(consumer, bell, &mut buffer[..length]);
        assert!(count > 0, "the end came too early");
        assert_eq!(buffer[..count], bytes[..count]);
        bytes = &bytes[count..];
    }
}

/// One direction of a ring of `capacity` bytes that goes back to its start when the next byte would lie beyond `reset`.
struct Direction {
    producer: Producer,
    ends: Closer,
    producers: ModelBell,
    consumer: Consumer,
    leaves: Closer,
    consumers: ModelBell,
}

fn direction(capacity: u32, reset: u32) -> Direction {
    let tuning = Tuning {
        reset,
        batch: capacity,
        give_back: capacity,
    };
    let [here, there] = Ends::modelled(capacity, tuning);
    let (producers, consumers) = ModelBell::pair();
    Direction {
        producer: here.producer,
        ends: here.closer,
        producers,
        consumer: there.consumer,
        leaves: there.closer,
        consumers,
    }
}

/// All orders with at most this many unforced switches between threads.
fn model(switches: usize, body: impl Fn() + Sync + Send + 'static) {
    weaken_as_told();
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(switches);
    builder.check(body);
}

const NEVER: u32 = u32::MAX;

/// A reader sleeps, or does not, while a byte comes.
#[test]
fn reader_wakes_for_bytes() {
    model(4, || {
        let mut d = direction(2, NEVER);
        let writing = thread::spawn(move || {
            write_all(&mut d.producer, &d.producers, &[1]).unwrap();
            d.producer
        });
        expect(&mut d.consumer, &d.consumers, &[1]);
        writing.join().unwrap();
    });
}

/// The ring is full, and the writer sleeps, or does not, while room comes.
#[test]
fn writer_wakes_for_room() {
    model(4, || {
        let mut d = direction(1, NEVER);
        write_all(&mut d.producer, &d.producers, &[1]).unwrap();
        let writing = thread::spawn(move || {
            write_all(&mut d.producer, &d.producers, &[2]).unwrap();
            d.producer
        });
        expect(&mut d.consumer, &d.consumers, &[1]);
        let mut producer = writing.join().unwrap();
        assert_eq!(producer.unread(), Ok(1));
    });
}

/// Both sleep in turn, and the bytes run around the ring.
#[test]
fn bytes_run_around() {
    model(4, || {
        let mut d = direction(2, NEVER);
        let writing = thread::spawn(move || {
            write_all(&mut d.producer, &d.producers, &[1, 2, 3]).unwrap();
            drain(&mut d.producer, &d.producers).unwrap();
        });
        expect(&mut d.consumer, &d.consumers, &[1, 2, 3]);
        writing.join().unwrap();
    });
}

/// The end comes at any moment, also while the reader falls asleep, and never before the last byte.
#[test]
fn end_comes_last() {
    model(4, || {
        let mut d = direction(2, NEVER);
        let writing = thread::spawn(move || {
            write_all(&mut d.producer, &d.producers, &[1]).unwrap();
            d.ends.end_writing(&d.producers);
        });
        expect(&mut d.consumer, &d.consumers, &[1]);
        assert_eq!(read(&mut d.consumer, &d.consumers, &mut [0; 2]), 0);
        writing.join().unwrap();
    });
}

/// Another thread than the writer ends the direction, after the writer has told it that it is done.
#[test]
fn end_by_another_thread_comes_last() {
    model(4, || {
        let mut d = direction(2, NEVER);
        let writing = thread::spawn(move || {
            write_all(&mut d.producer, &d.producers, &[1]).unwrap();
            d.producers
        });
        let ending = thread::spawn(move || d.ends.end_writing(&writing.join().unwrap()));
        expect(&mut d.consumer, &d.consumers, &[1]);
        assert_eq!(read(&mut d.consumer, &d.consumers, &mut [0; 2]), 0);
        ending.join().unwrap();
    });
}

/// The end alone wakes a reader.
#[test]
fn end_wakes_the_reader() {
    model(4, || {
        let mut d = direction(2, NEVER);
        let ending = thread::spawn(move || d.ends.end_writing(&d.producers));
        assert_eq!(read(&mut d.consumer, &d.consumers, &mut [0; 2]), 0);
        ending.join().unwrap();
    });
}

/// The reader leaves without having read all: a drain that sleeps wakes, and fails.
#[test]
fn leave_wakes_the_writer() {
    model(4, || {
        let mut d = direction(1, NEVER);
        write_all(&mut d.producer, &d.producers, &[1]).unwrap();
        let leaving = thread::spawn(move || {
            d.leaves.end_reading(&d.consumers);
            d.consumer
        });
        assert_eq!(drain(&mut d.producer, &d.producers), Err(Error::Broken));
        leaving.join().unwrap();
    });
}

/// The reader reads all, and another thread tells that it has left: a drain has succeeded.
#[test]
fn leave_behind_the_last_read() {
    model(4, || {
        let mut d = direction(1, NEVER);
        write_all(&mut d.producer, &d.producers, &[1]).unwrap();
        let reading = thread::spawn(move || {
            expect(&mut d.consumer, &d.consumers, &[1]);
            d.consumers
        });
        let leaving = thread::spawn(move || d.leaves.end_reading(&reading.join().unwrap()));
        assert_eq!(drain(&mut d.producer, &d.producers), Ok(()));
        leaving.join().unwrap();
    });
}

/// The ring goes back to its start while the reader looks, reads, and sleeps.
#[test]
fn reset_when_empty() {
    model(4, || {
        let mut d = direction(4, 1);
        let writing = thread::spawn(move || {
            for byte in 1..=3 {
                write_all(&mut d.producer, &d.producers, &[byte]).unwrap();
            }
            d.producer
        });
        expect(&mut d.consumer, &d.consumers, &[1, 2, 3]);
        writing.join().unwrap();
    });
}

/// A reader and a writer on both sides at once, both bells of both directions: what each thread of one process waits for is not taken by
/// the other.
#[test]
fn both_directions_at_once() {
    model(3, || {
        let tuning = Tuning {
            reset: 1,
            batch: 1,
            give_back: 1,
        };
        let [mut here, mut there] = Ends::modelled(1, tuning);
        let (here_writes, there_reads) = ModelBell::pair();
        let (there_writes, here_reads) = ModelBell::pair();
        write_all(&mut here.producer, &here_writes, &[1]).unwrap();
        let threads = [
            thread::spawn(move || {
                write_all(&mut here.producer, &here_writes, &[2]).unwrap();
                drop(here.producer);
            }),
            thread::spawn(move || {
                write_all(&mut there.producer, &there_writes, &[3]).unwrap();
                drop(there.producer);
            }),
            thread::spawn(move || expect(&mut there.consumer, &there_reads, &[1, 2])),
        ];
        expect(&mut here.consumer, &here_reads, &[3]);
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

/// Why there are two bells: with one bell for the reader and the writer of a process, the first to wake silences it for both.
#[test]
fn one_bell_for_two_waiters_loses_wake_ups() {
    if std::env::var_os(WEAKENED).is_none() {
        let said = run("one_bell_for_two_waiters_loses_wake_ups", "0").unwrap_err();
        assert!(said.contains("deadlock"), "{said}");
        return;
    }
    model(4, || {
        let tuning = Tuning {
            reset: NEVER,
            batch: 1,
            give_back: 1,
        };
        let [mut here, mut there] = Ends::modelled(1, tuning);
        let (ours, theirs) = ModelBell::pair();
        write_all(&mut here.producer, &ours, &[1]).unwrap();
        let (bell, peer) = (ours.clone(), theirs);
        let writing = thread::spawn(move || {
            write_all(&mut here.producer, &bell, &[2]).unwrap();
            drop(here.producer);
        });
        let other_side = thread::spawn(move || {
            expect(&mut there.consumer, &peer, &[1]);
            write_all(&mut there.producer, &peer, &[3]).unwrap();
            (there.producer, there.consumer)
        });
        expect(&mut here.consumer, &ours, &[3]);
        writing.join().unwrap();
        drop(other_side.join().unwrap());
    });
}

#[test]
fn every_place_that_is_weakened_fails_a_model() {
    let mut held = Vec::new();
    for site in Site::ALL {
        match run(witness(site), &(site as u8).to_string()) {
            Ok(()) => held.push(site),
            Err(said) => {
                let reason = said.lines().skip_while(|line| !line.contains(" panicked at ")).nth(1);
                println!("{site:?}: {} fails: {}", witness(site), reason.unwrap_or("it aborts"));
            }
        }
    }
    assert!(held.is_empty(), "weakened without any model noticing: {held:?}");
}

/// Which model must fail when a place is weakened.
fn witness(site: Site) -> &'static str {
    match site {
        Site::HeadPublished | Site::HeadSeen | Site::HeadBeforeBell => "reader_wakes_for_bytes",
        Site::ReaderSleepBeforeLook | Site::ReaderSecondLook => "reader_wakes_for_bytes",
        Site::TailPublished | Site::TailSeen | Site::TailBeforeBell => "writer_wakes_for_room",
        Site::WriterSleepBeforeLook | Site::WriterSecondLook => "writer_wakes_for_room",
        Site::EndPublished => "end_by_another_thread_comes_last",
        Site::EndSeen | Site::LookBehindEnd => "end_comes_last",
        Site::EndBeforeBell => "end_wakes_the_reader",
        Site::AbandonPublished | Site::AbandonSeen => "leave_behind_the_last_read",
        Site::AbandonBeforeBell => "leave_wakes_the_writer",
        Site::ResetWhenEmpty => "reset_when_empty",
    }
}

/// The number of the place to weaken, 0 for none, in the environment of a process that runs one model to see it fail.
const WEAKENED: &str = "DOTPIPE_RING_WEAKENED";

/// Runs one model in a process of its own, as one that fails takes its process with it; the error is what it said.
fn run(model: &str, weakened: &str) -> Result<(), String> {
    let output = Command::new(std::env::current_exe().unwrap())
        .args([model, "--exact", "--nocapture"])
        .env(WEAKENED, weakened)
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(said.contains("running 1 test"), "no model is called {model}");
    if output.status.success() { Ok(()) } else { Err(said) }
}

fn weaken_as_told() {
    if let Ok(number) = std::env::var(WEAKENED) {
        let number: u8 = number.parse().unwrap();
        weaken(Site::ALL.into_iter().find(|&site| site as u8 == number));
    }
}
