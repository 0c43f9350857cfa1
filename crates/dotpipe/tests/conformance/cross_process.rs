//! Pipes between this process and a child that has inherited a handle or knows a name.

use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Command;

use dotpipe::{
    AnonymousPipeClientStream, AnonymousPipeServerStream, CommandExt, HandleInheritability, NamedPipeClientStream,
    NamedPipeServerStream, PipeDirection, PipeOptions, PipeStream,
};
use dotpipe_testkit::{Process, limit};

use crate::child;
use crate::support::{Pending, Place, passes, read_byte};
use PipeDirection::{In, Out};

const BYTES: [u8; 10] = [65, 66, 67, 68, 69, 70, 71, 72, 73, 0];

fn limited<S: AsRef<PipeStream>>(stream: S) -> S {
    stream.as_ref().set_read_timeout(Some(limit()));
    stream.as_ref().set_write_timeout(Some(limit()));
    stream
}

/// An anonymous server whose handle every child inherits, as .NET's tests make it.
fn inheritable(direction: PipeDirection) -> AnonymousPipeServerStream {
    let server = AnonymousPipeServerStream::with_inheritability(direction, HandleInheritability::Inheritable);
    limited(server.unwrap())
}

fn client(direction: PipeDirection, handle: &str) -> AnonymousPipeClientStream {
    limited(AnonymousPipeClientStream::from_handle_string(direction, handle).unwrap())
}

/// Sends each byte and receives it back.
fn ping(mut to: impl Write, mut from: impl Read) {
    for byte in BYTES {
        to.write_all(&[byte]).unwrap();
        assert_eq!(read_byte(&mut from).unwrap(), Some(byte));
    }
}

/// Sends each byte back that comes.
fn pong(mut from: impl Read, mut to: impl Write) {
    for byte in BYTES {
        assert_eq!(read_byte(&mut from).unwrap(), Some(byte));
        to.write_all(&[byte]).unwrap();
    }
}

#[test]
fn c012_ping_pong_over_two_inherited_pipes() {
    let (to_child, from_child) = (inheritable(Out), inheritable(In));
    let handles = [
        to_child.get_client_handle_as_string(),
        from_child.get_client_handle_as_string(),
    ];
    let mut command = child::command("anonymous ping-pong", &[&handles[0], &handles[1]]);
    let child = Process::start(&mut command);
    to_child.dispose_local_copy_of_client_handle();
    from_child.dispose_local_copy_of_client_handle();
    ping(&to_child, &from_child);
    child.finish().expect_success();

    // The same with handles that only this child inherits.
    let to_child = limited(AnonymousPipeServerStream::new(Out).unwrap());
    let from_child = limited(AnonymousPipeServerStream::new(In).unwrap());
    let handles = [
        to_child.get_client_handle_as_string(),
        from_child.get_client_handle_as_string(),
    ];
    let mut command = child::command("anonymous ping-pong", &[&handles[0], &handles[1]]);
    command
        .inherit_client_handle(&to_child)
        .inherit_client_handle(&from_child);
    let child = Process::start(&mut command);
    to_child.dispose_local_copy_of_client_handle();
    from_child.dispose_local_copy_of_client_handle();
    ping(&to_child, &from_child);
    child.finish().expect_success();
}

pub(crate) fn anonymous_ping_pong(words: &[String]) {
    pong(client(In, &words[0]), client(Out, &words[1]));
}

/// A child that has inherited exactly this server's handle: one that all children inherit would stay open in those of
/// tests that run at the same time.
fn child_of(server: &AnonymousPipeServerStream, role: &str) -> Command {
    let mut command = child::command(role, &[&server.get_client_handle_as_string()]);
    command.inherit_client_handle(server);
    command
}

#[test]
fn c013_a_child_reads_to_the_end_that_the_servers_end_makes() {
    for dispose_local_copy in [true, false] {
        let mut server = limited(AnonymousPipeServerStream::new(Out).unwrap());
        let child = Process::start(&mut child_of(&server, "reads five bytes to the end"));
        if dispose_local_copy {
            server.dispose_local_copy_of_client_handle();
        }
        server.write_all(&BYTES[..5]).unwrap();
        drop(server);
        child.finish().expect_success();
    }
}

pub(crate) fn reads_five_bytes_to_the_end(words: &[String]) {
    let mut client = client(In, &words[0]);
    let mut bytes = Vec::new();
    client.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, BYTES[..5]);
    assert_eq!(read_byte(&client).unwrap(), None);
}

#[test]
fn c014_the_server_reads_to_the_end_that_a_living_child_makes() {
    let mut server = limited(AnonymousPipeServerStream::new(In).unwrap());
    let child = Process::start(&mut child_of(&server, "writes five bytes and lives on"));
    server.dispose_local_copy_of_client_handle();
    let mut bytes = Vec::new();
    server.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, BYTES[..5]);
    // It lives until its standard input ends, which this does.
    child.finish().expect_success();
}

pub(crate) fn writes_five_bytes_and_lives_on(words: &[String]) {
    let mut client = client(Out, &words[0]);
    client.write_all(&BYTES[..5]).unwrap();
    drop(client);
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).unwrap();
}

#[test]
fn c070_the_handle_of_an_inheritable_client_works_in_a_child() {
    let place = Place::new();
    let server = limited(
        NamedPipeServerStream::builder(place.name())
            .direction(In)
            .create()
            .unwrap(),
    );
    let client = NamedPipeClientStream::builder(place.name())
        .direction(Out)
        .inheritability(HandleInheritability::Inheritable)
        .create()
        .unwrap();
    client.connect_timeout(limit()).unwrap();
    server.wait_for_connection_timeout(limit()).unwrap();
    let handle = client.safe_pipe_handle().unwrap();
    let number = handle.as_raw_fd().to_string();
    let child = Process::start(&mut child::command("writes to an inherited named pipe", &[&number]));
    drop((handle, client));
    for byte in 0..5 {
        assert_eq!(read_byte(&server).unwrap(), Some(byte));
    }
    child.finish().expect_success();
}

pub(crate) fn writes_to_an_inherited_named_pipe(words: &[String]) {
    let handle = OwnedFd::from(client(Out, &words[0]));
    let mut client = limited(NamedPipeClientStream::from_handle(Out, handle).unwrap());
    client.write_all(&[0, 1, 2, 3, 4]).unwrap();
}

/// Two one-way pipes; the child has a server and a client as this process has.
fn named_ping_pong(options: PipeOptions) {
    let place = Place::new();
    let (there, back) = (place.named("there"), place.named("back"));
    let child = Process::start(&mut child::command(
        "named ping-pong",
        &[&there, &back, &options.bits().to_string()],
    ));
    let outbound = limited(one_way_server(&there, options));
    let inbound = limited(one_way_client(&back, options));
    let waiting = Pending::start("wait for the child", move || {
        outbound.wait_for_connection_timeout(limit()).map(|()| outbound)
    });
    inbound.connect_timeout(limit()).unwrap();
    let outbound = waiting.result().unwrap();
    if options.contains(PipeOptions::ASYNCHRONOUS) {
        // An asynchronous call's counterpart is a call on another thread.
        Pending::start("ping", move || ping(&outbound, &inbound)).result();
    } else {
        ping(&outbound, &inbound);
    }
    child.finish().expect_success();
}

fn one_way_server(name: &str, options: PipeOptions) -> NamedPipeServerStream {
    let builder = NamedPipeServerStream::builder(name).direction(Out).options(options);
    builder.create().unwrap()
}

fn one_way_client(name: &str, options: PipeOptions) -> NamedPipeClientStream {
    let builder = NamedPipeClientStream::builder(name).direction(In).options(options);
    builder.create().unwrap()
}

#[test]
fn c071_named_ping_pong() {
    named_ping_pong(PipeOptions::NONE);
}

#[test]
fn c072_named_ping_pong_asynchronously() {
    named_ping_pong(PipeOptions::ASYNCHRONOUS);
}

pub(crate) fn plays_named_ping_pong(words: &[String]) {
    let options = PipeOptions::from_bits(words[2].parse().unwrap()).unwrap();
    let inbound = limited(one_way_client(&words[0], options));
    let outbound = limited(one_way_server(&words[1], options));
    inbound.connect_timeout(limit()).unwrap();
    outbound.wait_for_connection_timeout(limit()).unwrap();
    pong(&inbound, &outbound);
}

#[test]
fn c102_the_user_name_is_known_before_anything_was_read() {
    let place = Place::new();
    let server = limited(NamedPipeServerStream::new(place.name()).unwrap());
    let child = Process::start(&mut child::command("connects and waits", &[&place.name()]));
    server.wait_for_connection_timeout(limit()).unwrap();
    let name = server.get_impersonation_user_name().unwrap();
    assert!(!name.is_empty());
    let identity = server.client_identity().unwrap();
    assert_eq!(
        (identity.user_name(), identity.pid()),
        (name.as_str(), Some(child.pid()))
    );
    // Sent back by the child.
    passes(1, &server, &server);
    child.finish().expect_success();
}

pub(crate) fn connects_and_waits(words: &[String]) {
    let client = limited(NamedPipeClientStream::new(&words[0]).unwrap());
    client.connect_timeout(limit()).unwrap();
    let byte = read_byte(&client).unwrap().unwrap();
    (&client).write_all(&[byte]).unwrap();
}
