//! `dotpipe connect`.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use dotpipe_testkit::{Process, eventually};

use crate::setup::{Folder, as_stranger, denied, expect_failure, expect_failure_with, expect_usage, limited};

const SIGSTOP: i32 = 19;

fn accept(listener: &std::os::unix::net::UnixListener) -> UnixStream {
    limited(listener.accept().expect("the client connects").0)
}

#[test]
fn a_line_to_an_echo_server_comes_back_and_the_command_ends() {
    let folder = Folder::new();
    let _server = folder.serve(&["p", "--echo"]);
    let finished = folder.run_with(&["connect", "p"], b"hello\n").expect_success();
    assert_eq!(
        (finished.stdout_text().as_str(), finished.stderr.as_str()),
        ("hello\n", "")
    );
}

#[test]
fn every_form_of_the_name_is_the_same_pipe() {
    let folder = Folder::new();
    let _server = folder.serve(&["p", "--echo"]);
    let socket = folder.socket("p");
    for name in [
        "p",
        r"\\.\pipe\p",
        "//./pipe/p",
        r"\\.\PIPE\p",
        socket.to_str().expect("the path is text"),
    ] {
        let finished = folder.run_with(&["connect", name], b"x").expect_success();
        assert_eq!(finished.stdout, b"x", "{name}");
    }
}

#[test]
fn it_waits_for_a_server_that_comes_later() {
    let folder = Folder::new();
    let client = folder.start(["connect", "p"]);
    let limited = folder.start(["connect", "p", "--timeout", "20000"]);
    let server = folder.serve(&["p", "--exec", "echo", "here"]);
    for client in [client, limited] {
        assert_eq!(client.finish().expect_success().stdout, b"here\n");
    }
    drop(server);
}

#[test]
fn a_time_limit_ends_the_wait_for_a_server() {
    let folder = Folder::new();
    for limit in ["0", "200"] {
        let start = Instant::now();
        let finished = folder.run(["connect", "p", "--timeout", limit]);
        expect_failure(&finished, "The operation has timed out.");
        assert!(
            finished.stderr.contains("CoreFxPipe_p") && finished.stderr.contains("TMPDIR"),
            "{}",
            finished.stderr
        );
        assert!(start.elapsed() >= Duration::from_millis(limit.parse().expect("it is a number")));
    }
    folder.expect_empty();
}

#[test]
fn the_answer_is_read_to_its_end_after_the_input_has_ended() {
    let folder = Folder::new();
    let listener = folder.plain_server("p");
    let mut client = folder.start(["connect", "p"]);
    client.write(b"question");
    client.close_stdin();
    let mut peer = accept(&listener);
    let mut question = String::new();
    peer.read_to_string(&mut question)
        .expect("the end of the question is told");
    assert_eq!(question, "question");
    peer.write_all(b"first\n").expect("the client reads");
    client.wait_for_stdout("first");
    peer.write_all(b"second\n").expect("the client still reads");
    drop(peer);
    assert_eq!(client.finish().expect_success().stdout, b"first\nsecond\n");
}

#[test]
fn it_ends_with_the_server_though_the_input_is_open() {
    let folder = Folder::new();
    let listener = folder.plain_server("p");
    let mut client = folder.start(["connect", "p"]);
    let mut peer = accept(&listener);
    client.write(b"hello");
    peer.read_exact(&mut [0; 5]).expect("the client sends");
    peer.write_all(b"bye\n").expect("the client reads");
    drop(peer);
    client.wait_for_stdout("bye");
    client.finish_with_stdin_open().expect_success();
}

#[test]
fn a_server_that_only_stops_sending_still_gets_the_input() {
    let folder = Folder::new();
    let listener = folder.plain_server("p");
    let mut client = folder.start(["connect", "p"]);
    let mut peer = accept(&listener);
    peer.shutdown(Shutdown::Write).expect("it is connected");
    for text in ["one", "two"] {
        client.write(text.as_bytes());
        peer.read_exact(&mut [0; 3]).expect("the client sends");
    }
    client.close_stdin();
    assert_eq!(peer.read(&mut [0; 1]).expect("the end is told"), 0);
    client.finish().expect_success();
}

#[test]
fn input_that_the_server_has_not_read_is_a_failure() {
    let folder = Folder::new();
    let listener = folder.plain_server("p");
    let mut client = folder.start(["connect", "p"]);
    client.write(b"nobody reads this");
    let mut peer = accept(&listener);
    peer.write_all(b"busy\n").expect("the client reads");
    // What was sent has arrived, and is thrown away.
    peer.peek_one();
    drop(peer);
    let finished = client.finish();
    assert_eq!(finished.status.code(), Some(1), "{finished:?}");
    assert_eq!(finished.stdout, b"busy\n");
    assert!(finished.stderr.contains("Pipe is broken."), "{}", finished.stderr);
}

#[test]
fn a_server_killed_while_it_is_written_to_is_a_failure() {
    let folder = Folder::new();
    let input = folder.path().join("input");
    fs::write(&input, vec![b'x'; 4 << 20]).expect("the folder is ours");
    let server = folder.serve(&["p"]);
    // A server that is stopped does not read, and the kernel takes but a part for it.
    server.signal(SIGSTOP);
    let client = Process::start(&mut folder.script(r#"exec "$dotpipe" connect p < "$TMPDIR/input""#));
    eventually("the client is at work", || {
        let info = fs::read_to_string(format!("/proc/{}/fdinfo/0", client.pid())).unwrap_or_default();
        let position = info.lines().find_map(|line| line.strip_prefix("pos:"));
        position.is_some_and(|position| position.trim().parse::<u64>().is_ok_and(|position| position > 0))
    });
    drop(server);
    expect_failure(&client.finish(), "Pipe is broken.");
}

#[test]
fn one_way_pipes() {
    let folder = Folder::new();
    let listener = folder.plain_server("p");
    let mut client = folder.start(["connect", "p", "--direction", "in"]);
    let mut peer = accept(&listener);
    assert_eq!(peer.read(&mut [0; 1]).expect("the client has ended its side"), 0);
    peer.write_all(b"hello\n").expect("the client reads");
    client.wait_for_stdout("hello");
    drop(peer);
    client.finish().expect_success();

    let mut client = folder.start(["connect", "p", "--direction", "out"]);
    let mut peer = accept(&listener);
    client.write(b"hello");
    client.close_stdin();
    let mut text = String::new();
    peer.read_to_string(&mut text).expect("the client sends");
    assert_eq!(text, "hello");
    client.finish().expect_success();
}

#[test]
fn one_way_out_waits_until_the_server_has_read_it_all() {
    let folder = Folder::new();
    let listener = folder.plain_server("p");
    let mut client = folder.start(["connect", "p", "--direction", "out"]);
    client.write(b"ab");
    client.close_stdin();
    let mut peer = accept(&listener);
    peer.read_exact(&mut [0; 1]).expect("the client sends");
    drop(peer);
    expect_failure(&client.finish(), "Pipe is broken.");
}

#[test]
fn message_mode_says_that_it_is_not_there() {
    let folder = Folder::new();
    let _server = folder.serve(&["p", "--echo"]);
    let listener = folder.plain_server("q");
    listener.set_nonblocking(true).expect("it is a socket");
    for name in ["p", "q"] {
        let finished = folder.run(["connect", name, "--mode", "message"]);
        expect_failure_with(
            &finished,
            "Message transmission mode is not supported on this platform.",
            "Leave '--mode message' out",
        );
    }
    let seen = listener.accept().map(drop).map_err(|error| error.kind());
    assert_eq!(seen, Err(ErrorKind::WouldBlock), "nobody has connected");
    folder
        .run_with(&["connect", "p", "--mode", "byte"], b"x")
        .expect_success();
}

#[test]
fn a_pipe_of_another_user_is_refused_unless_both_sides_agree() {
    let folder = Folder::new();
    let _private = folder.serve(&["private", "--echo"]);
    let _open = folder.serve(&["open", "--echo", "--access", "user:12345"]);
    let _root_only = folder.serve(&["others", "--echo", "--access", "user:12346"]);
    // The server is root's, which every client accepts.
    let Some(mut command) = as_stranger(&folder, &["connect", "open"]) else {
        return;
    };
    let mut client = Process::start(&mut command);
    client.write(b"hello");
    assert_eq!(client.finish().expect_success().stdout, b"hello");

    let mut command = as_stranger(&folder, &["connect", "private"]).expect("it was there before");
    expect_failure(
        &Process::start(&mut command).finish(),
        &denied(&folder.socket("private")),
    );
    let mut command = as_stranger(&folder, &["connect", "others"]).expect("it was there before");
    let finished = Process::start(&mut command).finish().expect_success();
    assert_eq!(finished.stdout, b"", "the server has closed the connection at once");
}

#[test]
fn a_server_of_another_user_is_refused_unless_any_will_do() {
    let folder = Folder::new();
    let Some(mut command) = as_stranger(&folder, &["serve", "p", "--echo", "--access", "everyone"]) else {
        return;
    };
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).expect("it is ours");
    let mut server = Process::start(&mut command);
    server.wait_for_stderr("listening");
    for arguments in [&["connect", "p"][..], &["chat", "client", "p"]] {
        expect_failure_with(
            &folder.run(arguments),
            "Could not connect to the pipe because it was owned neither by the current user nor by root.",
            "It belongs to user '12345'. If you trust that server, add --any-server-user.",
        );
    }
    let finished = folder
        .run_with(&["connect", "p", "--any-server-user"], b"hello")
        .expect_success();
    assert_eq!(finished.stdout, b"hello");
    server.wait_for_stderr("connected root");
    let mut chat = folder.start(["chat", "client", "p", "--any-server-user"]);
    chat.wait_for_stdout("Server connected.");
}

#[test]
fn names_that_a_shell_has_bitten_are_recognised() {
    let folder = Folder::new();
    for command in [&["connect"][..], &["serve"], &["chat", "server"], &["chat", "client"]] {
        let finished =
            Process::start(&mut folder.script(&format!(r#""$dotpipe" {} \\.\pipe\testpipe"#, command.join(" "))));
        let finished = finished.finish();
        expect_usage(&finished, r"'\\.\pipe\testpipe'");
        assert!(finished.stderr.contains("//./pipe/testpipe"), "{}", finished.stderr);
    }
    expect_usage(&folder.run(["connect", r"\192.168.2.51ipc$"]), r"'\\192.168.2.51\ipc$'");
    folder.expect_empty();
}

#[test]
fn a_name_on_another_machine_says_what_is_missing() {
    let folder = Folder::new();
    for name in [r"\\server\pipe\p", "//server/pipe/p"] {
        expect_failure_with(
            &folder.run(["connect", name]),
            "Access to remote named pipes is not supported on this platform.",
            "This build has no remote feature: pipes of other machines are not in this version.",
        );
    }
}

trait PeekOne {
    fn peek_one(&self);
}

impl PeekOne for UnixStream {
    /// Waits until something has arrived, and leaves it where it is.
    fn peek_one(&self) {
        let flags = rustix::net::RecvFlags::PEEK;
        let (length, _) = rustix::net::recv(self, &mut [0; 1][..], flags).expect("the client sends");
        assert_eq!(length, 1);
    }
}
