//! `dotpipe serve` for one client, and what the name means to others.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::thread;

use dotpipe_testkit::Process;

use crate::setup::{Folder, denied, expect_failure, expect_failure_with, expect_usage, user_name};

#[test]
fn one_client_talks_with_this_terminal() {
    let folder = Folder::new();
    let mut server = folder.serve(&["p"]);
    let mut client = folder.start(["connect", "p"]);
    assert_eq!(
        server.wait_for_stderr("connected"),
        format!("connected {}", user_name())
    );
    client.write_line("from the client");
    server.wait_for_stdout("from the client");
    server.write_line("from the server");
    client.wait_for_stdout("from the server");
    client.close_stdin();
    let server = server.finish().expect_success();
    client.finish().expect_success();
    assert_eq!(
        server.stderr,
        format!("listening\nconnected {}\ndisconnected\n", user_name())
    );
    assert_eq!(server.stdout, b"from the client\n");
    folder.expect_empty();
}

#[test]
fn it_ends_with_the_client_though_the_input_is_open() {
    let folder = Folder::new();
    let mut server = folder.serve(&["p"]);
    let client = folder.plain_client("p");
    server.wait_for_stderr("connected ");
    drop(client);
    server.wait_for_stderr("disconnected");
    server.finish_with_stdin_open().expect_success();
    folder.expect_empty();
}

#[test]
fn files_go_both_ways_at_once_and_whole() {
    let folder = Folder::new();
    let pattern = |seed: usize| {
        (0..8 << 20)
            .map(|at: usize| (at * 31 + seed + at / 251) as u8)
            .collect::<Vec<u8>>()
    };
    let (there, back) = (pattern(1), pattern(2));
    for (name, bytes) in [("there", &there), ("back", &back)] {
        fs::write(folder.path().join(name), bytes).expect("the folder is ours");
    }
    let script = r#"cd "$TMPDIR" && "$dotpipe" serve p < back > got-there & cd "$TMPDIR" && "$dotpipe" connect p < there > got-back && wait $!"#;
    Process::start(&mut folder.script(script)).finish().expect_success();
    for (name, bytes) in [("got-there", &there), ("got-back", &back)] {
        let got = fs::read(folder.path().join(name)).expect("the script has made it");
        assert!(
            got == *bytes,
            "{name} has {} bytes of {} or other ones",
            got.len(),
            bytes.len()
        );
        fs::remove_file(folder.path().join(name)).expect("it is there");
    }
    fs::remove_file(folder.path().join("there"))
        .and_then(|()| fs::remove_file(folder.path().join("back")))
        .expect("both are there");
    folder.expect_empty();
}

#[test]
fn one_way_pipes() {
    let folder = Folder::new();
    let mut server = folder.serve(&["p", "--direction", "out"]);
    let client = folder.start(["connect", "p", "--direction", "in"]);
    server.write(b"hello");
    server.close_stdin();
    assert_eq!(client.finish().expect_success().stdout, b"hello");
    server.finish().expect_success();

    let server = folder.serve(&["p", "--direction", "in"]);
    let finished = folder
        .run_with(&["connect", "p", "--direction", "out"], b"hello")
        .expect_success();
    assert_eq!(finished.stdout, b"");
    assert_eq!(server.finish().expect_success().stdout, b"hello");
    folder.expect_empty();
}

#[test]
fn a_client_that_leaves_a_sending_server_is_noticed() {
    let folder = Folder::new();
    let mut server = folder.serve(&["p", "--direction", "out"]);
    let mut client = folder.plain_client("p");
    server.write(b"hello");
    client.read_exact(&mut [0; 5]).expect("the server sends");
    drop(client);
    server.wait_for_stderr("disconnected");
    server.finish_with_stdin_open().expect_success();
}

#[test]
fn a_client_that_has_not_read_everything_is_a_failure() {
    let folder = Folder::new();
    let mut server = folder.serve(&["p"]);
    let mut client = folder.plain_client("p");
    server.write(b"hello");
    client.read_exact(&mut [0; 4]).expect("the server sends");
    drop(client);
    expect_failure(&server.finish(), "Pipe is broken.");
    folder.expect_empty();
}

#[test]
fn a_name_that_is_taken_stays_with_its_server() {
    let folder = Folder::new();
    let server = folder.serve(&["p", "--echo"]);
    for arguments in [&["serve", "p"][..], &["serve", "p", "--echo"], &["chat", "server", "p"]] {
        let finished = folder.run(arguments);
        let holder = format!("is held by process {} ", server.pid());
        expect_failure_with(&finished, "All pipe instances are busy.", &holder);
    }
    expect_failure(&folder.run(["serve", "p", "--first"]), &denied(&folder.socket("p")));
    assert_eq!(folder.run_with(&["connect", "p"], b"x").expect_success().stdout, b"x");
}

#[test]
fn first_is_no_hindrance_for_the_first() {
    let folder = Folder::new();
    let server = folder.serve(&["p", "--first", "--echo"]);
    // More clients mean more instances, which are not the first any more.
    let mut clients: Vec<_> = (0..3).map(|_| folder.plain_client("p")).collect();
    for client in &mut clients {
        client.write_all(b"x").expect("the server reads");
        client.read_exact(&mut [0; 1]).expect("the server answers");
    }
    drop(server);
}

#[test]
fn the_socket_is_private_unless_others_are_let_in() {
    let folder = Folder::new();
    for (access, mode) in [
        ("current-user", 0o600),
        ("everyone", 0o666),
        ("user:12345,group:12345", 0o666),
    ] {
        let server = folder.serve(&["p", "--access", access]);
        let found = fs::metadata(folder.socket("p"))
            .expect("the socket is there")
            .permissions()
            .mode();
        assert_eq!(found & 0o777, mode, "{access}");
        server.signal(15);
        server.finish().expect_success();
    }
    let finished = folder.run(["serve", "p", "--access", "nobody"]);
    expect_usage(&finished, "'nobody' is no access rule. Write user:nobody");
    let finished = folder.run(["serve", "p", "--access", "user:no-such-user-here"]);
    expect_usage(&finished, "no-such-user-here");
    folder.expect_empty();
}

#[test]
fn message_mode_says_that_it_is_not_there() {
    let folder = Folder::new();
    expect_failure(
        &folder.run(["serve", "p", "--mode", "message"]),
        "Message transmission mode is not supported on this platform.",
    );
    folder.expect_empty();
}

#[test]
fn the_second_client_in_line_is_told_the_end() {
    let folder = Folder::new();
    let mut server = folder.serve(&["p", "--max", "2"]);
    let first = folder.plain_client("p");
    server.wait_for_stderr("connected ");
    let mut second = folder.plain_client("p");
    let waits = thread::spawn(move || second.read(&mut [0; 1]));
    drop(first);
    server.finish().expect_success();
    let seen = waits.join().expect("a read does not panic");
    assert!(!matches!(seen, Ok(1..)), "nobody has talked to it: {seen:?}");
    folder.expect_empty();
}
