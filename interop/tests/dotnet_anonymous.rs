//! Anonymous pipes between a Rust parent and a .NET child, and a .NET parent and a Rust child, on each runtime.

use std::io::{ErrorKind, Write};
use std::process::Command;

use dotpipe::{AnonymousPipeServerStream, CommandExt, Error, ErrorKind as Kind, PipeDirection};
use dotpipe_interop::exchange::{HELD_BACK, SIZES, drain_waits_for};
use dotpipe_interop::pattern::{bytes, end, pull, push};
use dotpipe_interop::{Peer, dotnet};
use dotpipe_testkit::{Process, limit, pipe_folder, within_limit};

use PipeDirection::{In, Out};

/// Makes of each function `name(&Peer)` one test for each runtime.
macro_rules! on_each_runtime {
    ($($name:ident),* $(,)?) => {
        mod net3_1 { $(#[test] fn $name() { if let Some(peer) = super::dotnet("3.1") { super::$name(&peer) } })* }
        mod net8 { $(#[test] fn $name() { if let Some(peer) = super::dotnet("8") { super::$name(&peer) } })* }
    };
}

on_each_runtime!(
    our_parent_out,
    our_parent_in,
    their_parent_out,
    their_parent_in,
    our_end_reaches_their_child,
    their_childs_end_reaches_us,
    their_parents_end_reaches_our_child,
    our_childs_end_reaches_their_parent,
    a_child_that_is_gone_breaks_the_pipe,
    only_the_chosen_child_has_the_handle,
    the_articles_conversation,
    drain_waits_for_their_child,
    the_wrong_end_is_refused_or_useless,
);

/// Starts .NET's client end on `server`'s client handle, and closes our copy of it.
fn their_child(peer: &Peer, server: &AnonymousPipeServerStream, options: &[&str]) -> Process {
    let folder = std::env::temp_dir();
    let mut command = peer.command(&folder);
    command
        .arg("anonymous-client")
        .arg(server.get_client_handle_as_string())
        .args(options);
    let child = Process::start(command.inherit_client_handle(server));
    server.dispose_local_copy_of_client_handle();
    child
}

/// Starts .NET's server end with our client end as its child.
fn their_parent(peer: &Peer, options: &[&str], child: &[&str]) -> Process {
    let mut command = peer.command(&std::env::temp_dir());
    command
        .arg("anonymous-server")
        .args(options)
        .arg(env!("CARGO_BIN_EXE_rust_child"));
    Process::start(command.args(child))
}

/// A new server stream with the tests' time limits.
fn server(direction: PipeDirection) -> AnonymousPipeServerStream {
    let server = AnonymousPipeServerStream::new(direction).unwrap();
    server.set_read_timeout(Some(limit()));
    server.set_write_timeout(Some(limit()));
    server
}

fn our_parent_out(peer: &Peer) {
    for size in SIZES {
        let server = server(Out);
        let child = their_child(peer, &server, &["--dir=in", &format!("--do=pull:{size}+end")]);
        push(&server, size).unwrap();
        drop(server);
        let said = child.finish().expect_success().stderr;
        assert!(
            said.contains(&format!("pulled {size}\nended after 0 bytes\n")),
            "{said}"
        );
    }
}

fn our_parent_in(peer: &Peer) {
    for size in SIZES {
        let server = server(In);
        let child = their_child(peer, &server, &["--dir=out", &format!("--do=push:{size}")]);
        pull(&server, size).unwrap();
        end(&server).unwrap();
        child.finish().expect_success();
    }
}

fn their_parent_out(peer: &Peer) {
    for size in SIZES {
        let (push, pull) = (format!("--do=push:{size}"), format!("pull:{size}"));
        let parent = their_parent(peer, &["--dir=out", &push], &["anonymous", "in", "{handle}", &pull]);
        let said = parent.finish().expect_success().stderr;
        assert!(said.contains("child exit 0\n"), "{said}");
    }
}

fn their_parent_in(peer: &Peer) {
    for size in SIZES {
        let (push, pull) = (format!("push:{size}"), format!("--do=pull:{size}+end"));
        let parent = their_parent(peer, &["--dir=in", &pull], &["anonymous", "out", "{handle}", &push]);
        let said = parent.finish().expect_success().stderr;
        assert!(
            said.contains(&format!("pulled {size}\nended after 0 bytes\nchild exit 0\n")),
            "{said}"
        );
    }
}

fn our_end_reaches_their_child(peer: &Peer) {
    let server = server(Out);
    let child = their_child(peer, &server, &["--do=read"]);
    push(&server, 100_000).unwrap();
    drop(server);
    let finished = child.finish().expect_success();
    assert!(finished.stdout == bytes(100_000));
    assert!(
        finished.stderr.contains("ended after 100000 bytes"),
        "{}",
        finished.stderr
    );
}

/// The end comes only because the parent's own copy of the client handle is closed.
fn their_childs_end_reaches_us(peer: &Peer) {
    let server = server(In);
    let mut child = their_child(peer, &server, &["--dir=out", "--do=push:5+hold"]);
    pull(&server, 5).unwrap();
    child.write_line("");
    end(&server).unwrap();
    child.finish().expect_success();
}

fn their_parents_end_reaches_our_child(peer: &Peer) {
    let parent = their_parent(peer, &["--do=push:70000"], &["anonymous", "in", "{handle}", "read"]);
    assert!(parent.finish().expect_success().stdout == bytes(70_000));
}

fn our_childs_end_reaches_their_parent(peer: &Peer) {
    let mut parent = their_parent(
        peer,
        &["--dir=in", "--do=read"],
        &["anonymous", "out", "{handle}", "write"],
    );
    parent.write(&bytes(70_000));
    let finished = parent.finish().expect_success();
    assert!(finished.stdout == bytes(70_000));
}

fn a_child_that_is_gone_breaks_the_pipe(peer: &Peer) {
    let server = server(Out);
    their_child(peer, &server, &["--do=pull:0"]).finish().expect_success();
    let error = push(&server, 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    assert_eq!(Error::of(&error).unwrap().kind(), Kind::Broken);
    let server = within_limit("drain", move || server.wait_for_pipe_drain().map(|()| server));
    assert_eq!(server.unwrap_err().kind(), Kind::Broken);
}

/// A second child, started while the pipe is open, must not keep it open.
fn only_the_chosen_child_has_the_handle(peer: &Peer) {
    let folder = pipe_folder();
    let server = server(In);
    let mut command = peer.command(folder.path());
    command
        .arg("anonymous-client")
        .arg(server.get_client_handle_as_string())
        .args(["--dir=out", "--do=push:5"]);
    let mut bystander = Process::start(Command::new("cat").arg("-"));
    let child = Process::start(command.inherit_client_handle(&server));
    server.dispose_local_copy_of_client_handle();
    pull(&server, 5).unwrap();
    end(&server).unwrap();
    child.finish().expect_success();
    bystander.write_line("still there");
    assert_eq!(bystander.finish().expect_success().stdout_text(), "still there\n");
}

/// "SYNC" first, then the user's lines, as the article's parent sends them.
fn the_articles_conversation(peer: &Peer) {
    let mut server = server(Out);
    let mut child = their_child(peer, &server, &["--do=read"]);
    writeln!(server, "SYNC").unwrap();
    assert_eq!(child.wait_for_stdout(""), "SYNC");
    server.wait_for_pipe_drain().unwrap();
    for text in ["one", "two words", "drei – 三"] {
        writeln!(server, "{text}").unwrap();
        assert_eq!(child.wait_for_stdout(""), text);
    }
    drop(server);
    child.finish().expect_success();

    let mut parent = their_parent(peer, &["--do=lines"], &["anonymous", "in", "{handle}", "read"]);
    for text in ["SYNC", "one"] {
        parent.write_line(text);
        assert_eq!(parent.wait_for_stdout(""), text);
    }
    parent.finish().expect_success();
}

fn drain_waits_for_their_child(peer: &Peer) {
    let server = server(Out);
    let child = their_child(peer, &server, &[HELD_BACK]);
    drain_waits_for(&server, child);
}

/// A child that takes the write end for reading gets an error in its own runtime, and our end is not harmed.
fn the_wrong_end_is_refused_or_useless(peer: &Peer) {
    let server = server(In);
    let child = their_child(peer, &server, &["--dir=in", "--do=end"]).finish();
    assert_eq!(child.status.code(), Some(3), "{}", child.stderr);
    end(&server).unwrap();

    let parent = their_parent(
        peer,
        &["--dir=in", "--do=end"],
        &["anonymous", "in", "{handle}", "read"],
    );
    let said = parent.finish().expect_success().stderr;
    assert!(said.contains("child exit 3\n") && said.contains("error "), "{said}");
}

/// The handle string is a plain number that fits .NET's parser.
#[test]
fn the_handle_string_is_a_decimal_descriptor() {
    let server = server(Out);
    let text = server.get_client_handle_as_string();
    let number: i32 = text.parse().unwrap();
    assert!(number > 2 && text == number.to_string());
}
