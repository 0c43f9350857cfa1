//! The four examples, as a reader of the C# article would run them.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::Command;

use dotpipe_testkit::{Process, pipe_folder};

/// Cargo builds the examples of a package along with its tests, beside the folder of the tests.
fn example(name: &str, folder: &Path) -> Command {
    let test = std::env::current_exe().expect("a test knows its program");
    let target = test
        .parent()
        .and_then(Path::parent)
        .expect("a test is in target/PROFILE/deps");
    let program: PathBuf = target
        .join("examples")
        .join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(
        program.is_file(),
        "{} is missing: cargo build -p dotpipe --examples",
        program.display()
    );
    let mut command = Command::new(program);
    command.env("TMPDIR", folder);
    command
}

#[test]
fn a_parent_and_its_child() {
    let folder = pipe_folder();
    let mut server = Process::start(&mut example("anonymous_server", folder.path()));
    server.wait_for_stdout("[SERVER] Enter text: ");
    server.write_line("hello");
    server.wait_for_stdout("[CLIENT] Echo: hello");
    let finished = server.finish().expect_success();
    // Nobody types here, so that a prompt's line goes on with what the other one says.
    assert_eq!(
        finished.stdout_text(),
        "[SERVER] Current TransmissionMode: Byte.\n\
         [CLIENT] Current TransmissionMode: Byte.\n\
         [CLIENT] Wait for sync...\n\
         [SERVER] Enter text: [CLIENT] Echo: hello\n\
         [CLIENT] Press Enter to continue...[SERVER] Client quit. Server terminating.\n"
    );
    assert_eq!(finished.stderr, "");
}

#[test]
fn a_child_without_a_handle_only_waits_for_enter() {
    let folder = pipe_folder();
    let client = Process::start(&mut example("anonymous_client", folder.path()));
    assert_eq!(
        client.finish().expect_success().stdout,
        b"[CLIENT] Press Enter to continue..."
    );
}

#[test]
fn two_strangers() {
    let folder = pipe_folder();
    let mut server = Process::start(&mut example("named_server", folder.path()));
    server.wait_for_stdout("Waiting for client connection...");
    let client = Process::start(&mut example("named_client", folder.path()));
    server.wait_for_stdout("Client connected. ");
    for text in ["hello", "good bye"] {
        server.wait_for_stdout("Enter text: ");
        server.write_line(text);
        server.wait_for_stdout(&format!("Response: Client received: {text}"));
    }
    server.write_line("");
    server.finish().expect_success();
    let client = client.finish().expect_success();
    assert_eq!(
        client.stdout_text(),
        "Connecting to server...\nServer connected.\nhello\ngood bye\n"
    );
    let left = std::fs::read_dir(folder.path()).expect("the folder is ours").flatten();
    assert!(
        left.map(|entry| entry.file_name())
            .all(|name| name.to_string_lossy().starts_with(".dotpipe-"))
    );
}

#[cfg(unix)]
#[test]
fn a_client_that_leaves_ends_the_server() {
    let folder = pipe_folder();
    let mut server = Process::start(&mut example("named_server", folder.path()));
    server.wait_for_stdout("Waiting for client connection...");
    let mut client = Process::start(&mut example("named_client", folder.path()));
    client.wait_for_stdout("Server connected.");
    server.wait_for_stdout("Enter text: ");
    client.signal(19);
    server.write_line("are you there?");
    drop(client);
    server.wait_for_stdout("Client disconnected.");
    server.finish().expect_success();
}
