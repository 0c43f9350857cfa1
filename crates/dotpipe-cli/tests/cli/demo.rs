//! `dotpipe demo`.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use dotpipe_testkit::Process;

use crate::setup::{Folder, user_name};

const ANONYMOUS: &str = "
  [SERVER] Current TransmissionMode: Byte.
  [CLIENT] Current TransmissionMode: Byte.
  [CLIENT] Wait for sync...
  [SERVER] Enter text: Hello, child!
  [CLIENT] Echo: Hello, child!
  [CLIENT] Press Enter to continue...
  [SERVER] Client quit. Server terminating.
";

const SERVER: &[&str] = &[
    "Waiting for client connection...",
    "Client connected. USER",
    "Enter text: Hello, client!",
    "Response: Client received: Hello, client!",
    "Enter text: Goodbye!",
    "Response: Client received: Goodbye!",
    "Enter text: exit",
    "Client disconnected.",
];

const CLIENT: &[&str] = &[
    "Connecting to server...",
    "Server connected.",
    "Hello, client!",
    "Goodbye!",
];

fn said_by<'a>(label: &str, text: &'a str) -> Vec<&'a str> {
    let (_, named) = text
        .split_once("A named pipe")
        .expect("the second conversation has a heading");
    named
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix(label))
        .collect()
}

#[test]
fn shows_both_conversations() {
    let folder = Folder::new();
    let finished = folder.run(["demo"]).expect_success();
    let text = finished.stdout_text();
    assert!(text.contains(ANONYMOUS), "{text}");
    let user = user_name();
    let server: Vec<_> = SERVER.iter().map(|line| line.replace("USER", &user)).collect();
    assert_eq!(said_by("[SERVER] ", &text), server);
    assert_eq!(said_by("[CLIENT] ", &text), CLIENT);
    assert_eq!(finished.stderr, "");
    folder.expect_empty();
}

/// What the demo tells its reader to type is found by the reader's shell, which starts it as the demo was started.
#[test]
fn what_it_tells_to_type_can_be_typed() {
    let folder = Folder::new();
    let bin = folder.path().join("it's here");
    fs::create_dir(&bin).expect("the folder is ours");
    symlink(env!("CARGO_BIN_EXE_dotpipe"), bin.join("dotpipe")).expect("the folder is ours");
    let bin = bin.to_str().expect("the path is text");
    for (on_path, typed) in [
        (true, "dotpipe"),
        (false, &*format!("'{}/dotpipe'", bin.replace('\'', r"'\''"))),
    ] {
        let path = if on_path { bin } else { "/nowhere" };
        let mut command = Command::new(format!("{bin}/dotpipe"));
        command.arg("demo").env("TMPDIR", folder.path()).env("PATH", path);
        let told = Process::start(&mut command).finish().expect_success().stdout_text();
        let lines: Vec<_> = told.lines().rev().take(2).map(str::trim_start).collect();
        assert_eq!(
            lines,
            [
                format!("{typed} chat client testpipe"),
                format!("{typed} chat server testpipe")
            ]
        );
        let line = lines[0].replace("chat client testpipe", "--version");
        let mut shell = Command::new("/bin/sh");
        let found = Process::start(shell.args(["-c", &line]).env("PATH", path)).finish();
        assert!(found.expect_success().stdout_text().starts_with("dotpipe "), "{line}");
    }
}

#[test]
fn what_the_client_says_comes_before_the_answer_to_it() {
    let text = Folder::new().run(["demo"]).expect_success().stdout_text();
    let said = text.find("[CLIENT] Goodbye!").expect("the client says it");
    let answered = text.find("Client received: Goodbye!").expect("the server shows it");
    assert!(said < answered, "{text}");
}

#[test]
fn several_demos_at_once_do_not_meet() {
    let folder = Folder::new();
    let demos: Vec<_> = (0..4).map(|_| folder.start(["demo"])).collect();
    for demo in demos {
        demo.finish().expect_success();
    }
    folder.expect_empty();
}

#[test]
fn a_failing_side_ends_it() {
    let folder = Folder::new();
    let mut command = folder.command(["demo"]);
    let finished = Process::start(command.env("TMPDIR", folder.path().join("missing"))).finish();
    assert_eq!(finished.status.code(), Some(1), "{finished:?}");
    let [child, demo] = finished.stderr.lines().collect::<Vec<_>>()[..] else {
        panic!("the child and the demo say one line each: {}", finished.stderr)
    };
    assert!(child.starts_with("dotpipe: No such file or directory. "), "{child}");
    assert!(
        demo.starts_with("dotpipe: 'dotpipe chat server dotpipe-demo-") && demo.ends_with("' ended with exit status 1"),
        "{demo}"
    );
    folder.expect_empty();
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let folder = Folder::new();
    let script = r#"{ "$dotpipe" demo; echo "status $?" >&2; } | head -n 3"#;
    let finished = Process::start(&mut folder.script(script)).finish().expect_success();
    assert_eq!(finished.stderr, "status 0\n");
    folder.expect_empty();
}
