//! `dotpipe anonymous`.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::process::{Command, Stdio};

use dotpipe::{AnonymousPipeServerStream, CommandExt, PipeDirection};
use dotpipe_testkit::{Finished, Process, within_limit};

use crate::setup::{Folder, expect_failure, expect_failure_with, expect_gone, expect_usage};

const DOTPIPE: &str = env!("CARGO_BIN_EXE_dotpipe");

#[test]
fn a_child_that_is_dotpipe_prints_what_its_parent_reads() {
    let folder = Folder::new();
    let arguments = ["anonymous", "server", "--", DOTPIPE, "anonymous", "client", "{handle}"];
    let finished = folder.run_with(&arguments, b"hello\n").expect_success();
    assert_eq!(
        (finished.stdout_text().as_str(), finished.stderr.as_str()),
        ("hello\n", "")
    );
    let finished = folder.run_with(&arguments, b"").expect_success();
    assert_eq!(finished.stdout, b"");
    folder.expect_empty();
}

#[test]
fn any_program_can_be_the_child() {
    let folder = Folder::new();
    let bytes: Vec<u8> = (0..4 << 20).map(|at: usize| (at % 251) as u8).collect();
    let finished = folder
        .run_with(&["anonymous", "server", "--", "sh", "-c", "cat <&{handle}"], &bytes)
        .expect_success();
    assert!(
        finished.stdout == bytes,
        "{} of {} bytes, or other ones",
        finished.stdout.len(),
        bytes.len()
    );
    let finished = folder
        .run_with(&["anonymous", "server", "--", "cat", "/dev/fd/{handle}"], b"hello")
        .expect_success();
    assert_eq!(finished.stdout, b"hello");
}

#[test]
fn every_argument_gets_the_handle_and_the_rest_stays() {
    let folder = Folder::new();
    let script = r#"[ "$1" = "$2" ] && [ "$3" = "--x=$1,$1" ] && [ "$4" = "{Handle}" ] && cat <&"$1""#;
    let arguments = [
        "anonymous",
        "server",
        "--",
        "sh",
        "-c",
        script,
        "sh",
        "{handle}",
        "{handle}",
        "--x={handle},{handle}",
        "{Handle}",
    ];
    assert_eq!(folder.run_with(&arguments, b"ok").expect_success().stdout, b"ok");
}

#[test]
fn the_child_gets_its_end_and_no_other_descriptor() {
    let folder = Folder::new();
    let descriptors = |finished: Finished| -> BTreeSet<u32> {
        finished
            .stdout_text()
            .lines()
            .map(|number| number.parse().expect("a number"))
            .collect()
    };
    // What this test's own process was started with is handed on to every child.
    let before = descriptors(Process::start(Command::new("ls").arg("/proc/self/fd")).finish());
    let after = folder.run([
        "anonymous",
        "server",
        "--",
        "sh",
        "-c",
        "exec ls /proc/self/fd; : {handle}",
    ]);
    assert_eq!(
        descriptors(after.expect_success()).difference(&before).count(),
        1,
        "only its end of the pipe"
    );
}

#[test]
fn the_childs_own_stdin_is_empty() {
    let folder = Folder::new();
    let finished = folder
        .run_with(
            &["anonymous", "server", "--", "sh", "-c", "cat; : {handle}"],
            b"for the pipe",
        )
        .expect_success();
    assert_eq!(finished.stdout, b"");
}

#[test]
fn a_child_that_fails_is_a_failure() {
    let folder = Folder::new();
    let run = |script: &str| folder.run(["anonymous", "server", "--", "sh", "-c", script]);
    expect_failure(&run("exit 3; : {handle}"), "'sh' ended with exit status 3");
    expect_failure(&run("kill -9 $$; : {handle}"), "'sh' was ended by signal 9 (SIGKILL)");
    let finished = folder.run(["anonymous", "server", "--", "no-such-program-here", "{handle}"]);
    expect_failure(
        &finished,
        "cannot start 'no-such-program-here': No such file or directory (os error 2)",
    );
    assert_eq!(
        finished.stderr.matches("No such file").count(),
        1,
        "{}",
        finished.stderr
    );
}

#[test]
fn a_child_that_has_had_enough_is_none() {
    let folder = Folder::new();
    let mut server = folder.start(["anonymous", "server", "--", "sh", "-c", "head -n 1 <&{handle}"]);
    server.write_line("one");
    // The input goes on, and the command ends with its child.
    server.wait_for_stdout("one");
    server.finish_with_stdin_open().expect_success();
    let script = r#"yes | "$dotpipe" anonymous server -- sh -c 'head -n 1 <&{handle}'; echo "${PIPESTATUS[1]}""#;
    assert_eq!(Process::start(&mut folder.script(script)).finish().stdout, b"y\n0\n");
}

#[test]
fn a_grandchild_may_go_on_reading() {
    let folder = Folder::new();
    let mut server = folder.start(["anonymous", "server", "--", "sh", "-c", "cat <&{handle} & echo started"]);
    server.wait_for_stdout("started");
    server.write_line("late");
    server.wait_for_stdout("late");
    server.finish().expect_success();
}

#[test]
fn a_command_that_does_not_ask_for_the_handle_is_wrong_usage() {
    let folder = Folder::new();
    expect_usage(
        &folder.run(["anonymous", "server", "--", "cat"]),
        "none of the arguments has {handle} in it",
    );
    expect_usage(&folder.run(["anonymous", "server"]), "required");
    expect_usage(&folder.run(["anonymous", "client"]), "required");
    expect_usage(
        &folder.run(["anonymous", "client", "3", "--direction", "inout"]),
        "in, out",
    );
}

#[test]
fn a_handle_that_is_none_is_a_failure() {
    let folder = Folder::new();
    for handle in ["x", "", "-1", "1e3", "99999999999999999999"] {
        expect_failure_with(
            &folder.run(["anonymous", "client", "--", handle]),
            "Handle has been disposed or is invalid.",
            "A handle is a decimal number, as the parent puts it on the command line.",
        );
    }
    expect_failure_with(
        &folder.run(["anonymous", "client", "77"]),
        "Access to the path is denied.",
        " No handle 77 is open in this process:",
    );
    let client = |redirect: &str| {
        let script = format!(r#""$dotpipe" anonymous client 9 {redirect}"#);
        Process::start(&mut folder.script(&script)).finish()
    };
    expect_failure(&client("9</etc/passwd"), "Invalid pipe handle.");
    expect_failure(&client("9</"), "Invalid pipe handle.");
    expect_failure(&client("9> >(cat)"), "The handle is the wrong end of the pipe.");
    folder.expect_empty();
}

#[test]
fn a_client_can_send() {
    let mut pipe = AnonymousPipeServerStream::new(PipeDirection::In).expect("there are descriptors left");
    let mut command = Command::new(DOTPIPE);
    command.args([
        "anonymous",
        "client",
        &pipe.get_client_handle_as_string(),
        "--direction",
        "out",
    ]);
    command.inherit_client_handle(&pipe);
    let mut client = Process::start(&mut command);
    pipe.dispose_local_copy_of_client_handle();
    client.write(b"hello");
    client.close_stdin();
    let text = within_limit("reading what the client sends", move || {
        let mut text = String::new();
        pipe.read_to_string(&mut text).map(|_| text)
    });
    assert_eq!(text.expect("the pipe is fine"), "hello");
    client.finish().expect_success();
}

#[test]
fn a_parent_that_goes_before_it_has_read_is_a_failure_of_the_sending_client() {
    let pipe = AnonymousPipeServerStream::new(PipeDirection::In).expect("there are descriptors left");
    let mut command = Command::new(DOTPIPE);
    command.args([
        "anonymous",
        "client",
        &pipe.get_client_handle_as_string(),
        "--direction",
        "out",
    ]);
    command.inherit_client_handle(&pipe);
    let mut client = Process::start(&mut command);
    pipe.dispose_local_copy_of_client_handle();
    client.write(b"hello");
    drop(pipe);
    expect_failure(&client.finish(), "Pipe is broken.");
}

#[test]
fn a_client_reads_what_its_parent_sends_and_ends_with_it() {
    let mut pipe = AnonymousPipeServerStream::new(PipeDirection::Out).expect("there are descriptors left");
    let mut command = Command::new(DOTPIPE);
    command
        .args(["anonymous", "client", &pipe.get_client_handle_as_string()])
        .inherit_client_handle(&pipe);
    let mut client = Process::start(&mut command);
    pipe.dispose_local_copy_of_client_handle();
    pipe.write_all(b"hello\n").expect("the client reads");
    client.wait_for_stdout("hello");
    drop(pipe);
    client.finish_with_stdin_open().expect_success();
}

#[test]
fn a_killed_parent_leaves_no_child_behind() {
    let folder = Folder::new();
    let mut command = folder.command(["anonymous", "server", "--", "sh", "-c", "echo $$; exec cat <&{handle}"]);
    let mut server = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it is built");
    let mut pid = String::new();
    let mut letter = [0];
    while server
        .stdout
        .as_mut()
        .expect("it is piped")
        .read_exact(&mut letter)
        .is_ok()
        && letter[0] != b'\n'
    {
        pid.push(char::from(letter[0]));
    }
    server.kill().and_then(|()| server.wait()).expect("it is our child");
    // The child reads the end of the stream, as nobody else holds the other end.
    expect_gone(&pid);
}
