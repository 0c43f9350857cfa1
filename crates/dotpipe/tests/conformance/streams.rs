//! .NET's tests that any pair of connected streams must pass, on all eight pairs.

use std::io::{self, Read, Write};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use dotpipe::{ErrorKind, PipeDirection, PipeOptions};
use dotpipe_testkit::limit;

use crate::forms::{READ_FORMS, WRITE_FORMS, fill};
use crate::pairs::{ANONYMOUS, End, Flow, NAMED, Pair, Pairing, each_flow, each_flow_of_all};
use crate::support::{Pending, fails, fails_saying, pattern, read_byte};

#[test]
fn c146_a_direction_that_a_stream_does_not_have_is_told_before_anything_else() {
    each_flow_of_all(|mut flow| {
        if !flow.writer.pipe().can_read() {
            flow.writer.pipe().canceller().cancel();
            flow.writer.close();
            for (_, read) in READ_FORMS {
                let text = "Stream does not support reading.";
                fails_saying(read(&mut *flow.writer, &mut [0]), ErrorKind::NotSupported, text);
                fails(read(&mut *flow.writer, &mut []), ErrorKind::NotSupported);
            }
        }
        if !flow.reader.pipe().can_write() {
            flow.reader.pipe().canceller().cancel();
            flow.reader.close();
            let text = "Stream does not support writing.";
            fails_saying(flow.reader.write(&[0]), ErrorKind::NotSupported, text);
            fails(flow.reader.write(&[]), ErrorKind::NotSupported);
            fails(flow.reader.pipe().write(&[0]), ErrorKind::NotSupported);
        }
    });
}

/// Every call on a stream that it may fail with the same error: reading and writing, as far as its direction goes.
pub(crate) fn every_call_fails(end: &mut dyn End, kind: ErrorKind) {
    if end.pipe().can_read() {
        for (_, read) in READ_FORMS {
            fails(read(end, &mut [0]), kind);
        }
        fails(io::copy(end, &mut io::sink()), kind);
        fails(end.read_to_end(&mut Vec::new()), kind);
    }
    if end.pipe().can_write() {
        for (_, write) in WRITE_FORMS {
            fails(write(end, &[0]), kind);
        }
        fails(end.pipe().wait_for_pipe_drain(), kind);
    }
    fails(end.flush(), kind);
    fails(end.pipe().flush(), kind);
}

#[test]
fn c147_every_call_on_a_closed_stream_says_so() {
    each_flow(NAMED, |mut flow| {
        for end in [&mut flow.writer, &mut flow.reader] {
            end.close();
            every_call_fails(&mut **end, ErrorKind::ObjectDisposed);
            // Closing it again is fine.
            end.close();
        }
    });
}

#[test]
fn c148_a_cancelled_stream_refuses_every_call_at_once_and_loses_nothing() {
    each_flow_of_all(|mut flow| {
        flow.writer.write_all(b"kept").unwrap();
        let cancellers = [flow.writer.pipe().canceller(), flow.reader.pipe().canceller()];
        cancellers.iter().for_each(dotpipe::Canceller::cancel);
        every_call_fails(&mut *flow.writer, ErrorKind::Canceled);
        every_call_fails(&mut *flow.reader, ErrorKind::Canceled);
        cancellers.iter().for_each(dotpipe::Canceller::reset);
        let mut kept = [0; 4];
        flow.reader.read_exact(&mut kept).unwrap();
        assert_eq!(&kept, b"kept");
    });
}

#[test]
fn c149_c150_a_pending_read_is_cancelled_in_either_form() {
    for (_, read) in READ_FORMS {
        each_flow_of_all(|flow| {
            let (writer, mut reader, _place) = flow.take();
            let canceller = reader.pipe().canceller();
            let pending = Pending::blocked("read", move || read(&mut *reader, &mut [0]));
            canceller.cancel();
            fails(pending.result(), ErrorKind::Canceled);
            drop(writer);
        });
        // As soon as the read may have begun.
        each_flow_of_all(|flow| {
            let (writer, mut reader, _place) = flow.take();
            let canceller = reader.pipe().canceller();
            let pending = Pending::start("read", move || read(&mut *reader, &mut [0]));
            canceller.cancel();
            fails(pending.result(), ErrorKind::Canceled);
            drop(writer);
        });
    }
}

#[test]
fn c151_single_bytes_arrive_in_order() {
    each_flow_of_all(|mut flow| {
        for byte in pattern(42) {
            flow.writer.write_all(&[byte ^ 0x5a]).unwrap();
            assert_eq!(read_byte(&mut flow.reader).unwrap(), Some(byte ^ 0x5a));
        }
    });
}

#[test]
fn c152_bytes_arrive_whole_in_every_form() {
    each_flow_of_all(|mut flow| {
        for size in [1, 42, 10 * 1024] {
            let sent = pattern(size);
            for write in WRITE_FORMS {
                for read in READ_FORMS {
                    flow.writer.flush().unwrap();
                    write.1(&mut *flow.writer, &sent).unwrap();
                    let mut received = vec![0; size];
                    fill(read, &mut *flow.reader, &mut received);
                    assert!(received == sent, "{size} bytes by {} and {}", write.0, read.0);
                }
            }
        }
    });
}

#[test]
fn c153_ten_mebibytes_arrive_whole_in_every_form() {
    let sent = Arc::new(pattern(10 << 20));
    for (place, (name, write)) in WRITE_FORMS.iter().enumerate() {
        let read = &READ_FORMS[place % READ_FORMS.len()];
        each_flow_of_all(|flow| {
            let (mut writer, mut reader, _place) = flow.take();
            let bytes = Arc::clone(&sent);
            let writing = Pending::start(name, move || write(&mut *writer, &bytes));
            let mut received = vec![0; sent.len()];
            fill(read, &mut *reader, &mut received);
            writing.result().unwrap();
            assert!(received == *sent);
            assert_eq!(read.1(&mut *reader, &mut [0]).unwrap(), 0);
        });
    }
}

#[test]
fn c154_a_read_does_not_wait_for_more_than_there_is() {
    each_flow_of_all(|mut flow| {
        let sent = pattern(512);
        for (_, write) in WRITE_FORMS {
            for (_, read) in READ_FORMS {
                let mut buffer = [0; 1024];
                write(&mut *flow.writer, &sent).unwrap();
                assert_eq!(read(&mut *flow.reader, &mut buffer).unwrap(), 512);
                assert_eq!(buffer[..512], sent);
            }
        }
    });
}

#[test]
fn c155_after_the_writer_has_gone_come_its_bytes_and_then_the_end() {
    for bytes in [&b""[..], b"last words"] {
        each_flow_of_all(|mut flow| {
            flow.writer.write_all(bytes).unwrap();
            drop(flow.writer);
            let mut received = vec![0; bytes.len()];
            fill(&READ_FORMS[0], &mut *flow.reader, &mut received);
            assert_eq!(received, bytes);
            for (_, read) in READ_FORMS {
                assert_eq!(read(&mut *flow.reader, &mut [0; 8]).unwrap(), 0);
            }
            assert_eq!(read_byte(&mut flow.reader).unwrap(), None);
        });
    }
}

#[test]
fn c156_a_byte_lands_where_it_was_asked_for_and_nowhere_else() {
    each_flow_of_all(|mut flow| {
        for (_, read) in READ_FORMS {
            flow.writer.write_all(&[42]).unwrap();
            let mut buffer = [7; 10];
            assert_eq!(read(&mut *flow.reader, &mut buffer[3..4]).unwrap(), 1);
            assert_eq!(buffer, [7, 7, 7, 42, 7, 7, 7, 7, 7, 7]);
        }
    });
}

#[test]
fn c157_only_the_part_asked_for_is_sent() {
    each_flow_of_all(|mut flow| {
        for (_, write) in WRITE_FORMS {
            let bytes = pattern(10);
            write(&mut *flow.writer, &bytes[4..5]).unwrap();
            assert_eq!(read_byte(&mut flow.reader).unwrap(), Some(4));
        }
        drop(flow.writer);
        assert_eq!(read_byte(&mut flow.reader).unwrap(), None);
    });
}

#[test]
fn c158_c159_every_write_to_a_reader_that_has_gone_fails_at_once() {
    each_flow_of_all(|mut flow| {
        drop(flow.reader);
        for (_, write) in WRITE_FORMS {
            fails(write(&mut *flow.writer, &[0]), ErrorKind::Broken);
        }
        fails(flow.writer.flush(), ErrorKind::Broken);
    });
    // Each form as the first.
    for (_, write) in WRITE_FORMS {
        each_flow_of_all(|mut flow| {
            drop(flow.reader);
            let error = fails(write(&mut *flow.writer, &pattern(100)), ErrorKind::Broken);
            assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
            fails(flow.writer.pipe().flush(), ErrorKind::Broken);
        });
    }
}

#[test]
fn c162_reading_into_nothing_returns_at_once_and_takes_nothing() {
    each_flow_of_all(|mut flow| {
        for (_, read) in READ_FORMS {
            assert_eq!(read(&mut *flow.reader, &mut []).unwrap(), 0);
            flow.writer.write_all(&[42]).unwrap();
            assert_eq!(read(&mut *flow.reader, &mut []).unwrap(), 0);
            assert_eq!(read_byte(&mut flow.reader).unwrap(), Some(42));
        }
    });
}

#[test]
fn c163_writing_nothing_sends_nothing() {
    each_flow_of_all(|mut flow| {
        for (_, write) in WRITE_FORMS {
            for byte in 0..3 {
                write(&mut *flow.writer, &[]).unwrap();
                write(&mut *flow.writer, &[byte]).unwrap();
                write(&mut *flow.writer, &[]).unwrap();
            }
            let mut received = [0; 3];
            fill(&READ_FORMS[0], &mut *flow.reader, &mut received);
            assert_eq!(received, [0, 1, 2]);
        }
    });
}

#[test]
fn c164_any_memory_can_be_sent_and_read_into() {
    static SENT: [u8; 1024] = [0xa5; 1024];
    each_flow_of_all(|mut flow| {
        flow.writer.write_all(&SENT).unwrap();
        let mut shared: Arc<[u8]> = Arc::from([0; 1024]);
        flow.reader.read_exact(Arc::get_mut(&mut shared).unwrap()).unwrap();
        assert_eq!(*shared, SENT);

        flow.writer.write_all(&shared).unwrap();
        let mut on_stack = [0; 1024];
        flow.reader.pipe().read_exact(&mut on_stack).unwrap();
        assert_eq!(on_stack, SENT);
    });
}

/// Both sides write and read at once, each from two threads.
fn both_ways(pair: Pair) {
    const AMOUNT: usize = 8 << 20;
    let Pair { server, client, .. } = pair;
    let ends: [Arc<Box<dyn End>>; 2] = [Arc::new(server), Arc::new(client)];
    let start = Arc::new(Barrier::new(4));
    let calls: Vec<_> = ends
        .iter()
        .flat_map(|end| {
            let (writer, reader) = (Arc::clone(end), Arc::clone(end));
            let (write_start, read_start) = (Arc::clone(&start), Arc::clone(&start));
            let writing = Pending::start("write both ways", move || {
                write_start.wait();
                let bytes = pattern(AMOUNT);
                bytes
                    .chunks(10_000)
                    .try_for_each(|chunk| writer.pipe().write_all(chunk))
            });
            let reading = Pending::start("read both ways", move || {
                read_start.wait();
                let mut bytes = vec![0; AMOUNT];
                reader.pipe().read_exact(&mut bytes)?;
                assert!(bytes == pattern(AMOUNT));
                Ok(())
            });
            [writing, reading]
        })
        .collect();
    calls.into_iter().for_each(|call| call.result().unwrap());
}

#[test]
fn c165_both_sides_read_and_write_at_once() {
    for options in [PipeOptions::NONE, PipeOptions::ASYNCHRONOUS] {
        both_ways(Pairing::Named(PipeDirection::InOut, options).pair());
    }
}

/// Copies everything out of a stream to its end.
fn copied(flow: Flow, size: usize) {
    let (mut writer, mut reader, _place) = flow.take();
    let writing = Pending::start("write", move || writer.write_all(&pattern(size)));
    let mut received = Vec::new();
    assert_eq!(io::copy(&mut reader, &mut received).unwrap(), size as u64);
    assert!(received == pattern(size));
    writing.result().unwrap();
}

#[test]
fn c166_a_copy_ends_at_the_end_of_the_stream() {
    for size in [0, 1, 1024, 4095, 4096] {
        each_flow_of_all(|flow| copied(flow, size));
    }
}

#[test]
fn c167_a_mebibyte_is_copied() {
    each_flow_of_all(|flow| copied(flow, 1 << 20));
}

#[test]
fn c168_twenty_pairs_at_once() {
    for pairing in ANONYMOUS.iter().chain(NAMED) {
        let flows: Vec<_> = (0..20).flat_map(|_| Flow::all_of(*pairing)).collect();
        let transfers: Vec<_> = flows
            .into_iter()
            .map(|flow| Pending::start("one of twenty transfers", move || copied(flow, 10 * 1024)))
            .collect();
        transfers.into_iter().for_each(Pending::result);
    }
}

#[test]
fn c169_time_limits_are_kept_and_told() {
    each_flow_of_all(|flow| {
        let (writer, reader) = (flow.writer.pipe(), flow.reader.pipe());
        for value in [Some(Duration::from_millis(7)), Some(Duration::ZERO), None] {
            reader.set_read_timeout(value);
            writer.set_write_timeout(value);
            assert_eq!((reader.read_timeout(), writer.write_timeout()), (value, value));
        }
        let short = Duration::from_millis(30);
        reader.set_read_timeout(Some(short));
        let start = Instant::now();
        let error = fails(read_byte(reader), ErrorKind::TimedOut);
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(start.elapsed() >= short);

        writer.set_write_timeout(Some(short));
        let sent = fill_up(writer);
        fails((&mut &*writer).write(&[0]), ErrorKind::TimedOut);

        // Nothing is lost by it.
        reader.set_read_timeout(Some(limit()));
        let mut received = vec![0; sent];
        (&mut &*reader).read_exact(&mut received).unwrap();
        assert!(received.iter().all(|&byte| byte == 9));
    });
}

/// Writes until there is no more room, and tells how much there was.
pub(crate) fn fill_up(mut writer: impl Write) -> usize {
    let mut sent = 0;
    loop {
        match writer.write(&[9; 16 * 1024]) {
            Ok(count) => sent += count,
            Err(error) => {
                fails(Err::<(), _>(error), ErrorKind::TimedOut);
                return sent;
            }
        }
    }
}

#[test]
fn c170_c171_flushing_is_always_fine_on_a_connected_stream() {
    each_flow_of_all(|mut flow| {
        flow.writer.flush().unwrap();
        flow.reader.flush().unwrap();
        flow.writer.pipe().flush().unwrap();
        flow.reader.pipe().flush().unwrap();
    });
}

#[test]
fn c172_a_cancelled_read_does_not_harm_later_ones() {
    each_flow_of_all(|flow| {
        let (mut writer, reader, _place) = flow.take();
        let canceller = reader.pipe().canceller();
        let pending = Pending::blocked("read", move || {
            let outcome = read_byte(reader.pipe());
            (outcome, reader)
        });
        canceller.cancel();
        let (outcome, reader) = pending.result();
        fails(outcome, ErrorKind::Canceled);
        canceller.reset();
        writer.write_all(&[1, 2]).unwrap();
        assert_eq!(read_byte(reader.pipe()).unwrap(), Some(1));
        assert_eq!(read_byte(reader.pipe()).unwrap(), Some(2));
    });
}

#[test]
fn c173_a_cancelled_write_tells_what_it_sent_and_concurrent_reads_take_turns() {
    each_flow_of_all(|flow| {
        let (writer, reader, _place) = flow.take();
        let canceller = writer.pipe().canceller();
        let sent = 4 << 20;
        let pending = Pending::blocked("write", move || {
            let outcome = (&mut writer.pipe()).write(&pattern(sent));
            (outcome, writer)
        });
        canceller.cancel();
        let (outcome, writer) = pending.result();
        let part = outcome.unwrap();
        assert!(part > 0 && part < sent);
        canceller.reset();
        (&mut writer.pipe()).write_all(&[]).unwrap();
        drop(writer);

        // What was sent is what was told; two readers share it without losing a byte.
        let reader = Arc::new(reader);
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let reader = Arc::clone(&reader);
                Pending::start("read beside another", move || {
                    io::copy(&mut reader.pipe(), &mut io::sink()).unwrap()
                })
            })
            .collect();
        let received: u64 = readers.into_iter().map(Pending::result).sum();
        assert_eq!(received, part as u64);
    });
}
