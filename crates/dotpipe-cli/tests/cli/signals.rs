//! Ctrl-C and SIGTERM during each command: it ends at once, in its own way, and leaves nothing behind.

use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;

use dotpipe::{AnonymousPipeServerStream, CommandExt, PipeDirection};
use dotpipe_testkit::{Finished, Process, eventually};

use crate::setup::{Folder, expect_gone};

const SIGHUP: i32 = 1;
const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;

/// A server ends by a signal as it should: status 0, no word of complaint.
#[track_caller]
fn expect_served(folder: &Folder, finished: Finished) {
    let finished = finished.expect_success();
    let told = finished.stderr.lines().find(|line| line.starts_with("dotpipe: "));
    assert_eq!(told, None, "a signal is no failure");
    folder.expect_empty();
}

/// Any other command dies of the signal, so that the shell sees it.
#[track_caller]
fn expect_died(folder: &Folder, finished: &Finished, signal: i32) {
    assert_eq!(finished.status.signal(), Some(signal), "{finished:?}");
    assert_eq!(finished.stderr, "", "a signal is no failure");
    folder.expect_empty();
}

#[test]
fn serve_while_it_waits() {
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        for arguments in [
            &["p"][..],
            &["p", "--echo"],
            &["p", "--exec", "cat"],
            &["p", "--direction", "in"],
        ] {
            let folder = Folder::new();
            let server = folder.serve(arguments);
            server.signal(signal);
            expect_served(&folder, server.finish_with_stdin_open());
        }
    }
}

#[test]
fn serve_while_it_talks() {
    for signal in [SIGINT, SIGTERM] {
        let folder = Folder::new();
        let mut server = folder.serve(&["p"]);
        let mut client = folder.plain_client("p");
        server.write(b"x");
        client.read_exact(&mut [0; 1]).expect("the server sends");
        server.signal(signal);
        expect_served(&folder, server.finish_with_stdin_open());
        assert_eq!(client.read(&mut [0; 1]).expect("the end comes within the limit"), 0);
    }
}

#[test]
fn serve_with_a_client_that_does_not_read() {
    let folder = Folder::new();
    let mut server = folder.start(["serve", "p"]);
    server.wait_for_stderr("listening");
    let mut client = folder.plain_client("p");
    server.write(&[b'x'; 300_000]);
    client.read_exact(&mut [0; 1]).expect("the server sends");
    server.signal(SIGTERM);
    expect_served(&folder, server.finish_with_stdin_open());
}

#[test]
fn echo_with_clients() {
    for signal in [SIGINT, SIGTERM] {
        let folder = Folder::new();
        let server = folder.serve(&["p", "--echo"]);
        let mut clients: Vec<_> = (0..5).map(|_| folder.plain_client("p")).collect();
        for client in &mut clients {
            client.write_all(b"x").expect("the server reads");
            client.read_exact(&mut [0; 1]).expect("the server answers");
        }
        server.signal(signal);
        expect_served(&folder, server.finish_with_stdin_open());
    }
}

/// Starts a program for a client, which says who it is; returns the server and that word.
fn exec(folder: &Folder, script: &str) -> (Process, String, std::os::unix::net::UnixStream) {
    let server = folder.serve(&["p", "--exec", "sh", "-c", script]);
    let client = folder.plain_client("p");
    let mut pid = String::new();
    let mut letter = [0];
    while (&client).read_exact(&mut letter).is_ok() && letter != [b'\n'] {
        pid.push(char::from(letter[0]));
    }
    (server, pid, client)
}

#[test]
fn exec_ends_its_programs() {
    for signal in [SIGINT, SIGTERM] {
        let folder = Folder::new();
        let (server, pid, _client) = exec(&folder, "echo $$; exec sleep 1000");
        server.signal(signal);
        expect_served(&folder, server.finish_with_stdin_open());
        expect_gone(&pid);
    }
}

#[test]
fn exec_ends_what_its_programs_have_started() {
    let folder = Folder::new();
    let (server, pid, _client) = exec(&folder, "sleep 1000 & echo $!; wait");
    server.signal(SIGTERM);
    expect_served(&folder, server.finish_with_stdin_open());
    expect_gone(&pid);
}

#[test]
fn exec_kills_programs_that_do_not_listen() {
    let folder = Folder::new();
    let (server, pid, _client) = exec(&folder, "trap '' TERM; echo $$; while :; do sleep 1000; done");
    server.signal(SIGTERM);
    expect_served(&folder, server.finish_with_stdin_open());
    expect_gone(&pid);
}

#[test]
fn chat_server_while_it_waits_and_while_it_asks() {
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        let folder = Folder::new();
        let mut server = folder.start(["chat", "server", "p"]);
        server.wait_for_stdout("Waiting for client connection...");
        server.signal(signal);
        expect_served(&folder, server.finish_with_stdin_open());

        let mut server = folder.start(["chat", "server", "p", "--loop"]);
        server.wait_for_stdout("Waiting for client connection...");
        let _client = folder.plain_client("p");
        server.wait_for_stdout("Enter text: ");
        server.signal(signal);
        expect_served(&folder, server.finish_with_stdin_open());

        let mut server = folder.start(["chat", "server", "p"]);
        server.wait_for_stdout("Waiting for client connection...");
        let mut client = folder.plain_client("p");
        server.wait_for_stdout("Enter text: ");
        server.write_line("no answer comes");
        client.read_exact(&mut [0; 3]).expect("the server sends");
        server.signal(signal);
        expect_served(&folder, server.finish_with_stdin_open());
    }
}

#[test]
fn chat_client_while_it_waits_and_while_it_talks() {
    for signal in [SIGINT, SIGTERM] {
        let folder = Folder::new();
        let mut client = folder.start(["chat", "client", "p"]);
        client.wait_for_stdout("Connecting to server...");
        client.signal(signal);
        expect_died(&folder, &client.finish_with_stdin_open(), signal);

        let listener = folder.plain_server("p");
        let mut client = folder.start(["chat", "client", "p"]);
        let _peer = listener.accept().expect("the client connects");
        client.wait_for_stdout("Server connected.");
        client.signal(signal);
        let finished = client.finish_with_stdin_open();
        std::fs::remove_file(folder.socket("p")).expect("the socket is the test's own");
        expect_died(&folder, &finished, signal);
    }
}

#[test]
fn connect_while_it_waits_and_while_it_talks() {
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        let folder = Folder::new();
        let listener = folder.plain_server("p");
        let mut client = folder.start(["connect", "p"]);
        let (mut peer, _) = listener.accept().expect("the client connects");
        client.write(b"x");
        peer.read_exact(&mut [0; 1]).expect("the client sends");
        client.signal(signal);
        let finished = client.finish_with_stdin_open();
        std::fs::remove_file(folder.socket("p")).expect("the socket is the test's own");
        expect_died(&folder, &finished, signal);
        assert_eq!(peer.read(&mut [0; 1]).expect("the client is gone"), 0);
    }
    // One that waits for its server gives no sign; whenever the signal comes, it ends the command.
    let folder = Folder::new();
    for signal in [SIGINT, SIGTERM] {
        let client = folder.start(["connect", "p"]);
        client.signal(signal);
        expect_died(&folder, &client.finish_with_stdin_open(), signal);
    }
}

#[test]
fn anonymous_server_and_its_child() {
    for signal in [SIGINT, SIGTERM] {
        let folder = Folder::new();
        let mut server = folder.start([
            "anonymous",
            "server",
            "--",
            "sh",
            "-c",
            "echo $$; exec sleep 1000 # {handle}",
        ]);
        let pid = server.wait_for_stdout("");
        server.signal(signal);
        expect_died(&folder, &server.finish_with_stdin_open(), signal);
        expect_gone(&pid);
    }
}

#[test]
fn a_ctrl_c_that_the_child_dies_of_too_is_no_failure() {
    let folder = Folder::new();
    // What a terminal does: the signal goes to the whole group.
    let script =
        r#"trap : INT; "$dotpipe" anonymous server -- sh -c 'trap - INT; kill -INT 0; sleep 1000 # {handle}'; echo $?"#;
    let finished = Process::start(&mut folder.script(script)).finish_with_stdin_open();
    assert_eq!(
        (finished.stdout_text().as_str(), finished.stderr.as_str()),
        ("130\n", "")
    );
}

#[test]
fn anonymous_client() {
    let folder = Folder::new();
    for signal in [SIGINT, SIGTERM] {
        let mut pipe = AnonymousPipeServerStream::new(PipeDirection::Out).expect("there are descriptors left");
        let mut command = folder.command(["anonymous", "client", &pipe.get_client_handle_as_string()]);
        let mut client = Process::start(command.inherit_client_handle(&pipe));
        pipe.dispose_local_copy_of_client_handle();
        pipe.write_all(b"hello\n").expect("the client reads");
        client.wait_for_stdout("hello");
        client.signal(signal);
        expect_died(&folder, &client.finish_with_stdin_open(), signal);
    }
}

#[test]
fn demo() {
    for signal in [SIGINT, SIGTERM] {
        let folder = Folder::new();
        // Its first line goes to a pipe that is full, so that it certainly is still at work.
        let script = r#"
            mkfifo "$TMPDIR/out"; exec 8<> "$TMPDIR/out"; rm "$TMPDIR/out"
            head -c 65536 /dev/zero >&8
            exec "$dotpipe" demo >&8
        "#;
        let demo = Process::start(&mut folder.script(script));
        eventually("the demo has started", || {
            let comm = std::fs::read_to_string(format!("/proc/{}/comm", demo.pid()));
            comm.is_ok_and(|comm| comm.trim() == "dotpipe")
        });
        demo.signal(signal);
        expect_died(&folder, &demo.finish_with_stdin_open(), signal);
    }
}

#[test]
fn demo_in_the_middle_of_a_conversation() {
    for signal in [SIGINT, SIGTERM] {
        let folder = Folder::new();
        let mut demo = folder.start(["demo"]);
        demo.wait_for_stdout("[CLIENT] Connecting to server...");
        demo.signal(signal);
        let finished = demo.finish_with_stdin_open();
        // It may have been quicker than the signal.
        assert!(
            finished.status.success() || finished.status.signal() == Some(signal),
            "{finished:?}"
        );
        folder.expect_empty();
    }
}

#[test]
fn a_program_that_ignores_the_end_of_its_terminal_goes_on() {
    let folder = Folder::new();
    let mut server = Process::start(&mut folder.script(r#"trap '' HUP; exec "$dotpipe" serve p --echo"#));
    server.wait_for_stderr("listening");
    server.signal(SIGHUP);
    assert_eq!(folder.run_with(&["connect", "p"], b"x").expect_success().stdout, b"x");
    server.signal(SIGTERM);
    expect_served(&folder, server.finish_with_stdin_open());
}
