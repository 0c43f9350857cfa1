//! .NET's older lists of what reading and writing do, run on every pair, and as wholes for the two kinds of pipes.

use std::io::{self, Read, Write};

use dotpipe::{ErrorKind, PipeTransmissionMode};

use crate::forms::{READ_FORMS, WRITE_FORMS, fill};
use crate::pairs::{ANONYMOUS, Flow, NAMED, each_flow, each_flow_of_all};
use crate::streams::every_call_fails;
use crate::support::{Pending, fails, pattern, read_byte};

type Check = fn(Flow);

/// Rows C190 to C203, as far as they are about more than types.
const READ_LIST: &[Check] = &[
    writing_to_a_stream_that_only_reads,
    reading_into_nothing,
    reading_from_a_closed_stream,
    copying_where_it_cannot_go,
    reading_from_a_closed_partner,
    three_bytes_in_every_form,
    single_bytes,
    chains,
    chains_through_a_copy,
];

/// Rows C204 to C211, likewise.
const WRITE_LIST: &[Check] = &[
    reading_from_a_stream_that_only_writes,
    writing_nothing,
    writing_to_a_closed_stream,
    writing_to_a_closed_partner,
    flushing_on_the_way,
    closing_twice,
];

#[test]
fn c025_the_read_list_on_anonymous_pipes() {
    READ_LIST.iter().for_each(|check| each_flow(ANONYMOUS, check));
}

#[test]
fn c026_the_write_list_on_anonymous_pipes() {
    WRITE_LIST.iter().for_each(|check| each_flow(ANONYMOUS, check));
}

#[test]
fn c119_the_read_list_on_named_pipes() {
    READ_LIST.iter().for_each(|check| each_flow(NAMED, check));
}

#[test]
fn c120_the_write_list_on_named_pipes() {
    WRITE_LIST.iter().for_each(|check| each_flow(NAMED, check));
}

#[test]
fn c194_writing_to_a_stream_that_only_reads_is_not_supported() {
    each_flow_of_all(writing_to_a_stream_that_only_reads);
}

fn writing_to_a_stream_that_only_reads(mut flow: Flow) {
    if flow.reader.pipe().can_write() {
        return;
    }
    for (_, write) in WRITE_FORMS {
        fails(write(&mut *flow.reader, &[5]), ErrorKind::NotSupported);
    }
    fails(flow.reader.pipe().wait_for_pipe_drain(), ErrorKind::NotSupported);
}

#[test]
fn c195_reading_into_nothing_does_not_wait() {
    each_flow_of_all(reading_into_nothing);
}

fn reading_into_nothing(mut flow: Flow) {
    for (_, read) in READ_FORMS {
        assert_eq!(read(&mut *flow.reader, &mut []).unwrap(), 0);
    }
}

#[test]
fn c197_reading_from_a_closed_stream_says_so() {
    each_flow(NAMED, reading_from_a_closed_stream);
}

fn reading_from_a_closed_stream(mut flow: Flow) {
    // An anonymous stream is closed only by dropping it, after which there is nothing to call.
    if flow.reader.close() {
        every_call_fails(&mut *flow.reader, ErrorKind::ObjectDisposed);
        let pipe = flow.reader.pipe();
        fails(pipe.is_message_complete(), ErrorKind::ObjectDisposed);
        fails(pipe.read_mode(), ErrorKind::ObjectDisposed);
        fails(
            pipe.set_read_mode(PipeTransmissionMode::Byte),
            ErrorKind::ObjectDisposed,
        );
    }
}

#[test]
fn c198_a_copy_from_what_cannot_be_read_or_to_what_cannot_be_written_is_not_supported() {
    each_flow_of_all(copying_where_it_cannot_go);
}

fn copying_where_it_cannot_go(mut flow: Flow) {
    if !flow.writer.pipe().can_read() {
        fails(io::copy(&mut flow.writer, &mut io::sink()), ErrorKind::NotSupported);
    }
    if !flow.reader.pipe().can_write() {
        fails(io::copy(&mut &b"x"[..], &mut flow.reader), ErrorKind::NotSupported);
    }
}

#[test]
fn c199_a_closed_partner_reads_as_the_end_every_time() {
    each_flow_of_all(reading_from_a_closed_partner);
}

fn reading_from_a_closed_partner(mut flow: Flow) {
    drop(flow.writer);
    for (_, read) in READ_FORMS {
        assert_eq!(read(&mut *flow.reader, &mut [0; 4]).unwrap(), 0);
    }
    assert_eq!(read_byte(&mut flow.reader).unwrap(), None);
}

#[test]
fn c200_c201_three_bytes_and_single_bytes_arrive_in_every_form() {
    each_flow_of_all(three_bytes_in_every_form);
    each_flow_of_all(single_bytes);
}

fn three_bytes_in_every_form(mut flow: Flow) {
    for (_, write) in WRITE_FORMS {
        for read in READ_FORMS {
            write(&mut *flow.writer, &[3, 1, 2]).unwrap();
            let mut received = [0; 3];
            fill(read, &mut *flow.reader, &mut received);
            assert_eq!(received, [3, 1, 2]);
        }
    }
}

fn single_bytes(mut flow: Flow) {
    flow.writer.write_all(&[123]).unwrap();
    assert_eq!(read_byte(&mut flow.reader).unwrap(), Some(123));
}

/// How often, how many bytes a write and how many a read.
const CHAINS: [(usize, usize, usize); 4] = [(5000, 1, 1), (500, 21, 18), (500, 18, 21), (5, 128_000, 64_000)];

#[test]
fn c202_chains_of_writes_and_reads_of_other_sizes_keep_the_order() {
    each_flow_of_all(chains);
}

fn chains(flow: Flow) {
    let (mut writer, mut reader, _place) = flow.take();
    for (times, write_size, read_size) in CHAINS {
        let sent = pattern(times * write_size);
        let bytes = sent.clone();
        let writing = Pending::start("a chain of writes", move || {
            bytes
                .chunks(write_size)
                .for_each(|chunk| writer.write_all(chunk).unwrap());
            writer
        });
        let mut received = Vec::new();
        let mut buffer = vec![0; read_size];
        while received.len() < sent.len() {
            let count = reader.read(&mut buffer).unwrap();
            assert_ne!(count, 0);
            received.extend_from_slice(&buffer[..count]);
        }
        assert!(received == sent);
        writer = writing.result();
    }
}

#[test]
fn c203_chains_through_a_copy_keep_the_order() {
    each_flow_of_all(chains_through_a_copy);
}

fn chains_through_a_copy(flow: Flow) {
    let (mut writer, mut reader, _place) = flow.take();
    let writing = Pending::start("chains of writes", move || {
        for (times, write_size, _) in CHAINS {
            let bytes = pattern(times * write_size);
            bytes
                .chunks(write_size)
                .for_each(|chunk| writer.write_all(chunk).unwrap());
        }
    });
    let mut received = Vec::new();
    io::copy(&mut reader, &mut received).unwrap();
    let sent = CHAINS
        .iter()
        .flat_map(|(times, write_size, _)| pattern(times * write_size));
    assert!(sent.eq(received));
    writing.result();
}

#[test]
fn c205_reading_from_a_stream_that_only_writes_is_not_supported() {
    each_flow_of_all(reading_from_a_stream_that_only_writes);
}

fn reading_from_a_stream_that_only_writes(mut flow: Flow) {
    if flow.writer.pipe().can_read() {
        return;
    }
    for (_, read) in READ_FORMS {
        fails(read(&mut *flow.writer, &mut [0]), ErrorKind::NotSupported);
    }
    fails(read_byte(&mut flow.writer), ErrorKind::NotSupported);
}

#[test]
fn c206_writing_nothing_does_nothing() {
    each_flow_of_all(writing_nothing);
}

fn writing_nothing(mut flow: Flow) {
    for (_, write) in WRITE_FORMS {
        write(&mut *flow.writer, &[]).unwrap();
    }
    drop(flow.writer);
    assert_eq!(read_byte(&mut flow.reader).unwrap(), None);
}

#[test]
fn c208_writing_to_a_closed_stream_says_so() {
    each_flow(NAMED, writing_to_a_closed_stream);
}

fn writing_to_a_closed_stream(mut flow: Flow) {
    if flow.writer.close() {
        every_call_fails(&mut *flow.writer, ErrorKind::ObjectDisposed);
        let pipe = flow.writer.pipe();
        fails(pipe.is_message_complete(), ErrorKind::ObjectDisposed);
        fails(pipe.read_mode(), ErrorKind::ObjectDisposed);
    }
}

#[test]
fn c209_writing_to_a_closed_partner_fails() {
    each_flow_of_all(writing_to_a_closed_partner);
}

fn writing_to_a_closed_partner(mut flow: Flow) {
    drop(flow.reader);
    for (_, write) in WRITE_FORMS {
        fails(write(&mut *flow.writer, &[0; 3]), ErrorKind::Broken);
    }
    fails(flow.writer.flush(), ErrorKind::Broken);
}

#[test]
fn c210_flushing_while_and_after_a_byte_is_on_its_way() {
    each_flow_of_all(flushing_on_the_way);
}

fn flushing_on_the_way(mut flow: Flow) {
    flow.writer.write_all(&[123]).unwrap();
    flow.writer.flush().unwrap();
    assert_eq!(read_byte(&mut flow.reader).unwrap(), Some(123));
    flow.writer.flush().unwrap();
    flow.writer.pipe().flush().unwrap();
}

#[test]
fn c211_closing_has_nothing_to_wait_for_and_may_be_done_twice() {
    each_flow(NAMED, closing_twice);
}

fn closing_twice(flow: Flow) {
    if flow.writer.close() {
        assert!(flow.writer.close());
        assert!(!flow.writer.pipe().is_connected());
    }
}
