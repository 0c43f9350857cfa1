//! Any sequence of calls gives what a queue would give.

#![cfg(all(not(loom), not(miri)))]

mod support;

use std::collections::VecDeque;

use dotpipe_ring::{Error, Framing, Geometry, Tuning, Wait};
use proptest::prelude::*;
use support::{Reader, Writer, direction};

#[derive(Clone, Debug)]
enum Step {
    Write(usize),
    Read(usize),
    ReadAsBytes(usize),
    Peek(usize),
    Drain,
    ReaderWaits,
    WriterWaits,
    End,
}

/// Lengths from none to more than two rings, with those around a ring's.
fn length() -> impl Strategy<Value = usize> {
    prop_oneof![0_usize..8, 0_usize..300, 4085_usize..4100, 0_usize..9000]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => length().prop_map(Step::Write),
        6 => length().prop_map(Step::Read),
        1 => length().prop_map(Step::ReadAsBytes),
        2 => length().prop_map(Step::Peek),
        1 => Just(Step::Drain),
        2 => Just(Step::ReaderWaits),
        2 => Just(Step::WriterWaits),
        1 => Just(Step::End),
    ];
    prop::collection::vec(step, 1..120)
}

fn tuning() -> impl Strategy<Value = Tuning> {
    (0_u32..6000, 1_u32..5000, 1_u32..4097).prop_map(|(reset, batch, give_back)| Tuning {
        reset,
        batch,
        give_back,
    })
}

/// Different bytes for every write.
fn bytes(seed: &mut u64, length: usize) -> Vec<u8> {
    (0..length)
        .map(|_| {
            *seed += 1;
            support::byte_at(*seed)
        })
        .collect()
}

fn ring(framing: Framing, tuning: Tuning) -> (Writer, dotpipe_ring::Closer, Reader) {
    let (mut writer, closer, mut reader, _) = direction(Geometry::new(4096, 4096).unwrap(), framing);
    writer.producer.tune(tuning);
    reader.consumer.tune(tuning);
    (writer, closer, reader)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_ring_of_bytes_is_a_queue_of_bytes(steps in steps(), tuning in tuning()) {
        let (mut writer, closer, mut reader) = ring(Framing::Bytes, tuning);
        let mut queue = VecDeque::new();
        let (mut seed, mut ended) = (0, false);
        for step in steps {
            match step {
                Step::Write(length) if !ended => {
                    let sent = bytes(&mut seed, length);
                    match writer.producer.try_write(&sent, &writer.bell) {
                        Ok(count) => {
                            prop_assert!(count == length.min(count) && (count > 0 || length == 0));
                            queue.extend(&sent[..count]);
                        }
                        // What was not given back yet is less than this.
                        Err(error) => {
                            prop_assert_eq!(error, Error::WouldBlock);
                            prop_assert!(queue.len() + tuning.give_back as usize >= 4096);
                        }
                    }
                    prop_assert!(queue.len() <= 4096);
                }
                Step::Write(_) => {}
                Step::Read(length) | Step::ReadAsBytes(length) => {
                    let mut buffer = vec![0; length];
                    match reader.consumer.try_read(&mut buffer, &reader.bell) {
                        Ok(count) => {
                            prop_assert!(count > 0 || length == 0 || (ended && queue.is_empty()));
                            prop_assert_eq!(count, length.min(queue.len()));
                            let expected: Vec<u8> = queue.drain(..count).collect();
                            prop_assert!(buffer[..count] == expected);
                        }
                        Err(error) => prop_assert!(error == Error::WouldBlock && queue.is_empty() && !ended),
                    }
                }
                Step::Peek(length) => {
                    let mut buffer = vec![0; length];
                    match reader.consumer.peek(&mut buffer).unwrap() {
                        Some(peeked) => {
                            prop_assert_eq!(peeked.available, queue.len());
                            prop_assert_eq!(peeked.count, length.min(queue.len()));
                            prop_assert!(queue.iter().take(peeked.count).eq(&buffer[..peeked.count]));
                        }
                        None => prop_assert!(ended && queue.is_empty()),
                    }
                }
                Step::Drain => {
                    // Whatever was read may not have been given back, unless all was.
                    let drained = writer.producer.try_drain();
                    prop_assert_eq!(drained.is_ok(), queue.is_empty(), "{:?}", drained);
                }
                Step::ReaderWaits => {
                    let wait = reader.consumer.prepare_wait(&reader.bell).unwrap();
                    prop_assert_eq!(wait == Wait::MustWait, queue.is_empty() && !ended);
                }
                Step::WriterWaits => drop(writer.producer.prepare_wait(&writer.bell).unwrap()),
                Step::End => {
                    closer.end_writing(&writer.bell);
                    ended = true;
                }
            }
        }
    }

    #[test]
    fn a_ring_of_messages_is_a_queue_of_messages(steps in steps(), tuning in tuning()) {
        let (mut writer, closer, mut reader) = ring(Framing::Messages, tuning);
        // What has been sent of each message, and how long it will be.
        let mut queue: VecDeque<(VecDeque<u8>, usize)> = VecDeque::new();
        let mut rest: Vec<u8> = Vec::new();
        let (mut seed, mut ended) = (0, false);
        for step in steps {
            match step {
                Step::Write(length) if !ended => {
                    let begun = !rest.is_empty();
                    if !begun {
                        rest = bytes(&mut seed, length);
                    }
                    let whole = rest.len();
                    match writer.producer.try_write_message(&rest, &writer.bell) {
                        Ok(count) => {
                            prop_assert!(count == whole || whole > 4092 || begun);
                            if begun {
                                queue.back_mut().unwrap().0.extend(&rest[..count]);
                            } else {
                                queue.push_back((rest[..count].iter().copied().collect(), whole));
                            }
                            rest.drain(..count);
                        }
                        Err(error) => {
                            prop_assert_eq!(error, Error::WouldBlock);
                            if !begun {
                                rest.clear();
                            }
                        }
                    }
                    prop_assert_eq!(writer.producer.unfinished() as usize, rest.len());
                    // A message that was wholly read while it was being written is in the queue as nothing.
                }
                Step::Write(_) => {}
                Step::Read(length) => {
                    let mut buffer = vec![0; length];
                    match reader.consumer.try_read_message(&mut buffer, &reader.bell) {
                        Ok(Some(part)) => {
                            let (sent, left) = queue.front_mut().unwrap();
                            prop_assert_eq!(part.count, length.min(sent.len()));
                            let expected: Vec<u8> = sent.drain(..part.count).collect();
                            prop_assert!(buffer[..part.count] == expected);
                            *left -= part.count;
                            prop_assert_eq!(part.complete, *left == 0);
                            if part.complete {
                                queue.pop_front();
                            }
                        }
                        Ok(None) => prop_assert!(ended && queue.is_empty()),
                        Err(Error::Torn) => prop_assert!(ended && queue[0].0.is_empty() && queue[0].1 > 0),
                        Err(error) => {
                            prop_assert_eq!(error, Error::WouldBlock);
                            prop_assert!(queue.front().is_none_or(|(sent, left)| sent.is_empty() && *left > 0));
                        }
                    }
                }
                Step::ReadAsBytes(length) => {
                    let mut buffer = vec![0; length];
                    let result = reader.consumer.try_read(&mut buffer, &reader.bell);
                    let mut expected = Vec::new();
                    // Empty messages are passed over, also behind the last byte if there is room for one more.
                    while expected.len() < length && queue.front().is_some_and(|(sent, left)| !sent.is_empty() || *left == 0) {
                        let (sent, left) = queue.front_mut().unwrap();
                        let count = sent.len().min(length - expected.len());
                        expected.extend(sent.drain(..count));
                        *left -= count;
                        if *left > 0 {
                            break;
                        }
                        queue.pop_front();
                    }
                    match result {
                        Ok(count) => prop_assert!(buffer[..count] == expected),
                        Err(_) => prop_assert!(expected.is_empty()),
                    }
                }
                Step::Peek(length) => {
                    let mut buffer = vec![0; length];
                    match reader.consumer.peek(&mut buffer) {
                        Ok(Some(peeked)) => {
                            let front = queue.front();
                            prop_assert_eq!(peeked.available, queue.iter().map(|(sent, _)| sent.len()).sum::<usize>());
                            prop_assert_eq!(peeked.message_left.map(|left| left as usize), front.map(|(_, left)| *left));
                            let first = front.map_or(0, |(sent, _)| sent.len());
                            prop_assert_eq!(peeked.count, length.min(first));
                            if let Some((sent, _)) = front {
                                prop_assert!(sent.iter().take(peeked.count).eq(&buffer[..peeked.count]));
                            }
                        }
                        Ok(None) => prop_assert!(ended && queue.is_empty()),
                        Err(error) => prop_assert!(error == Error::Torn && ended),
                    }
                }
                Step::Drain => {
                    let drained = writer.producer.try_drain();
                    prop_assert_eq!(drained.is_ok(), queue.iter().all(|(sent, left)| sent.is_empty() && *left > 0), "{:?}", drained);
                }
                Step::ReaderWaits => {
                    let wait = reader.consumer.prepare_wait(&reader.bell).unwrap();
                    let something = queue.front().is_some_and(|(sent, left)| !sent.is_empty() || *left == 0);
                    prop_assert_eq!(wait == Wait::MustWait, !something && !ended);
                }
                Step::WriterWaits => drop(writer.producer.prepare_wait(&writer.bell).unwrap()),
                Step::End => {
                    closer.end_writing(&writer.bell);
                    ended = true;
                }
            }
        }
    }
}
