//! Bad input, things in the way, and standard streams that are not there.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;

use dotpipe_testkit::Process;

use crate::setup::{Folder, as_stranger, denied, expect_failure, expect_failure_with};

/// All commands that take a name, and how they are called.
const NAMED: &[&[&str]] = &[
    &["serve"],
    &["serve", "--echo"],
    &["connect", "--timeout", "1"],
    &["chat", "server"],
    &["chat", "client"],
];

fn with_name(command: &[&str], name: &str) -> Vec<String> {
    command.iter().copied().chain([name]).map(String::from).collect()
}

#[test]
fn names_that_cannot_be_are_refused_by_every_command() {
    let folder = Folder::new();
    let long = "x".repeat(120);
    let empty = "The value cannot be an empty string.";
    let reserved = "The pipeName \"anonymous\" is reserved.";
    let no_file =
        "The name of a pipe on this platform must be a valid file name or a valid absolute path to a file name.";
    let too_long = format!(
        "The path '{}' is of an invalid length for use with domain sockets on this platform.",
        folder.socket(&long).display()
    );
    for (name, headline) in [
        ("", empty),
        ("anonymous", reserved),
        ("AnonyMous", reserved),
        (r"\\.\pipe\anonymous", reserved),
        ("a/b", no_file),
        ("/tmp/", no_file),
        (r"\\.\pipe\", empty),
        (
            r"\\host",
            r"A name that begins with \\ must have the form \\SERVER\pipe\NAME.",
        ),
        (&long, &too_long),
    ] {
        for command in NAMED {
            let finished = folder.run(with_name(command, name));
            expect_failure(&finished, headline);
        }
    }
    folder.expect_empty();
}

#[test]
fn a_name_is_shown_without_what_a_terminal_would_obey() {
    let folder = Folder::new();
    let finished = folder.run(["connect", "--timeout", "0", "a\u{1b}[2J\nb"]);
    assert_eq!(finished.status.code(), Some(1));
    assert_eq!(finished.stderr.lines().count(), 1, "{}", finished.stderr);
    assert!(finished.stderr.contains(r"\u{1b}[2J\u{a}b"), "{}", finished.stderr);
    assert!(!finished.stderr.contains('\u{1b}'));
}

#[test]
fn a_missing_folder_is_told() {
    let folder = Folder::new();
    for command in NAMED {
        if command.starts_with(&["chat", "client"]) {
            // It waits for its server, which may come with its folder.
            continue;
        }
        let missing = folder.path().join("missing");
        let headline = match command[0] {
            "connect" => "The operation has timed out.",
            _ => "No such file or directory.",
        };
        let mut command = folder.command(with_name(command, "p"));
        let finished = Process::start(command.env("TMPDIR", &missing)).finish();
        expect_failure_with(&finished, headline, "TMPDIR");
        assert!(
            finished.stderr.contains(missing.to_str().expect("the path is text")),
            "{}",
            finished.stderr
        );
    }
    folder.expect_empty();
}

#[test]
fn a_folder_that_cannot_be_written_is_told() {
    let folder = Folder::new();
    let Some(mut command) = as_stranger(&folder, &["serve", "p"]) else {
        return;
    };
    let finished = Process::start(&mut command).finish();
    let advice = format!(
        "{} is no place where this user may make files: set TMPDIR to a folder of your own",
        folder.path().display()
    );
    expect_failure_with(&finished, &denied(&folder.path().join(".dotpipe-12345")), &advice);
    assert!(
        !finished.stderr.contains("os error"),
        "the headline says it: {}",
        finished.stderr
    );
}

#[test]
fn a_folder_that_is_none_is_told() {
    let folder = Folder::new();
    for (tmpdir, headline, advice) in [
        (
            "/etc/passwd",
            "Not a directory.",
            "/etc/passwd is not a folder: set TMPDIR",
        ),
        (
            "/etc/passwd/x",
            "Not a directory.",
            "/etc/passwd/x is not a folder: set TMPDIR",
        ),
    ] {
        for command in [&["serve", "p"][..], &["chat", "server", "p"]] {
            let finished = Process::start(folder.command(command).env("TMPDIR", tmpdir)).finish();
            expect_failure_with(&finished, headline, advice);
        }
    }
    // The kernel may say here that the folder does not exist.
    let finished = Process::start(folder.command(["serve", "p"]).env("TMPDIR", "/proc")).finish();
    assert_eq!(finished.status.code(), Some(1));
    assert!(
        finished.stderr.contains("/proc is no place where"),
        "{}",
        finished.stderr
    );
}

#[test]
fn what_is_in_the_way_stays() {
    let folder = Folder::new();
    let path = folder.socket("p");
    let serve = || {
        for arguments in [
            &["serve", "p"][..],
            &["serve", "p", "--first"],
            &["chat", "server", "p"],
        ] {
            expect_failure_with(&folder.run(arguments), "Address already in use.", "CoreFxPipe_p");
        }
    };
    fs::write(&path, "precious").expect("the folder is ours");
    serve();
    assert_eq!(fs::read_to_string(&path).expect("the file is still there"), "precious");
    fs::remove_file(&path).expect("the file is still there");

    fs::create_dir(&path).expect("the folder is ours");
    serve();
    assert!(path.is_dir());
    fs::remove_dir(&path).expect("the directory is still there");

    symlink("/etc/passwd", &path).expect("the folder is ours");
    serve();
    assert_eq!(
        fs::read_link(&path).expect("the link is still there").to_str(),
        Some("/etc/passwd")
    );
    fs::remove_file(&path).expect("the link is still there");
    folder.expect_empty();
}

#[test]
fn a_socket_whose_server_is_dead_is_replaced() {
    let folder = Folder::new();
    for (kind, leave_one) in [("a stranger's", true), ("our own", false)] {
        if leave_one {
            drop(UnixListener::bind(folder.socket("p")).expect("the folder is ours"));
        } else {
            // Killed without a chance to remove anything.
            drop(folder.serve(&["p", "--echo"]));
        }
        assert!(folder.socket("p").exists(), "{kind}");
        let finished = folder.run(["connect", "p", "--timeout", "50"]);
        expect_failure(&finished, "The operation has timed out.");
        let server = folder.serve(&["p", "--echo"]);
        let finished = folder.run_with(&["connect", "p"], b"x").expect_success();
        assert_eq!(finished.stdout, b"x", "{kind}");
        server.signal(15);
        server.finish().expect_success();
        folder.expect_empty();
    }
}

#[test]
fn a_stdin_that_is_closed_is_an_empty_one() {
    let folder = Folder::new();
    let _server = folder.serve(&["p", "--echo"]);
    for script in [
        r#""$dotpipe" connect p <&-"#,
        r#""$dotpipe" connect p --direction out <&-"#,
        r#""$dotpipe" anonymous server -- "$dotpipe" anonymous client {handle} <&-"#,
        r#""$dotpipe" demo <&- > /dev/null"#,
        r#""$dotpipe" serve q <&- & "$dotpipe" connect q < /dev/null && wait $!"#,
        r#""$dotpipe" chat server r <&- > /dev/null & "$dotpipe" chat client r <&- > /dev/null && wait $!"#,
    ] {
        let finished = Process::start(&mut folder.script(script)).finish().expect_success();
        assert_eq!(finished.stdout, b"", "{script}");
    }
}

#[test]
fn a_stdin_that_cannot_be_read_is_told() {
    let folder = Folder::new();
    let _server = folder.serve(&["p", "--echo"]);
    for script in [
        r#""$dotpipe" connect p < /"#,
        r#""$dotpipe" anonymous server -- sh -c 'cat <&{handle}' < /"#,
    ] {
        let finished = Process::start(&mut folder.script(script)).finish();
        expect_failure(&finished, "cannot read standard input: Is a directory (os error 21)");
    }
}

#[test]
fn a_stdout_that_nobody_reads_is_no_failure() {
    let folder = Folder::new();
    let _server = folder.serve(&["p", "--exec", "yes"]);
    for command in [
        "connect p",
        "anonymous server -- yes {handle}",
        "serve q",
        "--help",
        "serve --help",
        "chat server r",
    ] {
        let feeder = match command {
            "serve q" => r#"{ until "$dotpipe" connect q --timeout 1000 < <(yes); do :; done; } 2> /dev/null &"#,
            "chat server r" => r#""$dotpipe" chat client r > /dev/null 2>&1 &"#,
            _ => "",
        };
        let script = format!(
            r#"{feeder} {{ yes | "$dotpipe" {command}; echo "status ${{PIPESTATUS[1]}}" >&2; }} | head -c 5 > /dev/null; kill %1 2> /dev/null; true"#
        );
        let finished = Process::start(&mut folder.script(&script)).finish();
        let told = finished.stderr.lines().find(|line| line.starts_with("dotpipe: "));
        assert_eq!(told, None, "{command}");
        assert!(finished.stderr.contains("status 0"), "{command}: {finished:?}");
    }
}

#[test]
fn a_stdout_that_is_full_is_a_failure() {
    let folder = Folder::new();
    let _server = folder.serve(&["p", "--exec", "echo", "hello"]);
    for command in ["connect p", "demo", "chat server q", "--help", "serve -h", "--version"] {
        let finished = Process::start(&mut folder.script(&format!(r#""$dotpipe" {command} > /dev/full"#))).finish();
        expect_failure(
            &finished,
            "cannot write to standard output: No space left on device (os error 28)",
        );
    }
    assert_eq!(folder.leftovers(), [folder.socket("p")]);
}

#[test]
fn a_stderr_that_is_closed_changes_nothing() {
    let folder = Folder::new();
    let server = folder.start(["serve", "p", "--exec", "true"]);
    drop(server);
    let script = r#""$dotpipe" serve q --exec echo hello 2>&- & "$dotpipe" connect q 2>&-; kill $!; wait $!"#;
    let finished = Process::start(&mut folder.script(script)).finish().expect_success();
    assert_eq!(finished.stdout, b"hello\n");
    let finished = Process::start(&mut folder.script(r#""$dotpipe" connect q --timeout 0 2>&-"#)).finish();
    assert_eq!(finished.status.code(), Some(1));
}

#[test]
fn the_pipes_folder_may_go_while_a_server_serves() {
    let folder = Folder::new();
    let inner = folder.path().join("inner");
    fs::create_dir(&inner).expect("the folder is ours");
    let mut command = folder.command(["serve", "p", "--echo"]);
    let mut server = Process::start(command.env("TMPDIR", &inner));
    server.wait_for_stderr("listening");
    let mut client = std::os::unix::net::UnixStream::connect(inner.join("CoreFxPipe_p")).expect("the server listens");
    client.write_all(b"x").expect("the server reads");
    client.read_exact(&mut [0; 1]).expect("the server answers");
    fs::remove_dir_all(&inner).expect("the folder is ours");
    expect_failure_with(
        &server.finish_with_stdin_open(),
        "The pipe name no longer belongs to this server.",
        "No client can reach this server any more: start it again once the name is free.",
    );
}

#[test]
fn a_read_only_private_folder_of_somebody_else_is_refused() {
    let folder = Folder::new();
    let Some(_) = as_stranger(&folder, &[]) else {
        return;
    };
    let private = folder.path().join(".dotpipe-0");
    fs::create_dir(&private).expect("the folder is ours");
    fs::set_permissions(&private, fs::Permissions::from_mode(0o700)).expect("it is ours");
    std::os::unix::fs::chown(&private, Some(12345), Some(12345)).expect("root may");
    expect_failure(&folder.run(["serve", "p"]), &denied(&private));
    assert!(private.is_dir(), "it is not ours to remove");
}

#[test]
fn another_users_dead_socket_stays_where_only_its_owner_may_remove_it() {
    let folder = Folder::new();
    let Some(mut command) = as_stranger(&folder, &["serve", "p"]) else {
        return;
    };
    // As in /tmp: everybody may make files, and remove only their own.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o1777)).expect("it is ours");
    let socket = folder.socket("p");
    drop(UnixListener::bind(&socket).expect("the folder is ours"));
    // Whoever may not connect to a socket cannot know that it is dead.
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o600)).expect("it is ours");
    expect_failure_with(
        &Process::start(&mut command).finish(),
        &denied(&socket),
        "Only they and root can tell whether somebody serves it, and remove it if not.",
    );
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).expect("it is ours");
    expect_failure_with(
        &Process::start(&mut command).finish(),
        &denied(&socket),
        "It belongs to user 'root', and only they or root can remove it.",
    );
    assert!(socket.exists());
}
