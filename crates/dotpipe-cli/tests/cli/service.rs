//! `dotpipe serve` for many clients: `--echo`, `--exec`, `--max`.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;

use crate::setup::{Folder, expect_failure, expect_usage, user_name};

fn expect_echo(client: &mut UnixStream, text: &str) {
    client.write_all(text.as_bytes()).expect("the server reads");
    let mut echoed = vec![0; text.len()];
    client.read_exact(&mut echoed).expect("the server answers");
    assert_eq!(String::from_utf8_lossy(&echoed), text);
}

#[test]
fn echo_serves_many_at_once_and_one_after_another() {
    let folder = Folder::new();
    let mut server = folder.serve(&["p", "--echo"]);
    let mut clients: Vec<_> = (0..20).map(|_| folder.plain_client("p")).collect();
    for round in 0..3 {
        for (number, client) in clients.iter_mut().enumerate() {
            expect_echo(client, &format!("client {number}, round {round}\n"));
        }
    }
    drop(clients);
    for _ in 0..20 {
        assert_eq!(
            server.wait_for_stderr("connected "),
            format!("connected {}", user_name())
        );
    }
    for text in ["again", "and again"] {
        assert_eq!(
            folder
                .run_with(&["connect", "p"], text.as_bytes())
                .expect_success()
                .stdout,
            text.as_bytes()
        );
    }
    server.signal(2);
    let finished = server.finish().expect_success();
    let count = |line: &str| finished.stderr.lines().filter(|found| *found == line).count();
    assert_eq!(count("listening"), 1);
    assert_eq!(count(&format!("connected {}", user_name())), 22);
    assert_eq!(finished.stdout, b"");
    folder.expect_empty();
}

#[test]
fn echo_carries_much_for_several_at_once() {
    let folder = Folder::new();
    let _server = folder.serve(&["p", "--echo"]);
    let bytes: Vec<u8> = (0..4 << 20).map(|at: usize| (at % 253) as u8).collect();
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut client = folder.plain_client("p");
                let mut sender = client.try_clone().expect("there are descriptors left");
                thread::scope(|scope| {
                    scope.spawn(|| {
                        sender.write_all(&bytes).expect("the server reads");
                        sender.shutdown(std::net::Shutdown::Write).expect("it is connected");
                    });
                    let mut echoed = Vec::new();
                    client.read_to_end(&mut echoed).expect("the server answers");
                    assert!(
                        echoed == bytes,
                        "{} of {} bytes, or other ones",
                        echoed.len(),
                        bytes.len()
                    );
                });
            });
        }
    });
}

#[test]
fn clients_that_leave_at_once_do_no_harm() {
    let folder = Folder::new();
    let server = folder.serve(&["p", "--echo"]);
    for _ in 0..50 {
        let mut client = folder.plain_client("p");
        // Some of the echo is on its way, and meets nobody.
        client.write_all(b"x").expect("the server reads");
    }
    expect_echo(&mut folder.plain_client("p"), "still there");
    server.signal(15);
    let finished = server.finish().expect_success();
    let odd = finished.stderr.lines().find(|line| line.starts_with("dotpipe: "));
    assert_eq!(odd, None, "a client may leave");
}

#[test]
fn with_max_the_others_wait_in_line() {
    let folder = Folder::new();
    let mut server = folder.serve(&["p", "--echo", "--max", "2"]);
    let (mut one, mut two) = (folder.plain_client("p"), folder.plain_client("p"));
    expect_echo(&mut one, "1");
    expect_echo(&mut two, "2");
    let mut three = folder.plain_client("p");
    three.write_all(b"3").expect("the kernel keeps it");
    // Served it would be told within the time that the others take for many rounds.
    for _ in 0..100 {
        expect_echo(&mut one, "1");
        expect_echo(&mut two, "2");
    }
    three.set_nonblocking(true).expect("it is a socket");
    assert_eq!(
        three.read(&mut [0; 1]).map_err(|error| error.kind()),
        Err(std::io::ErrorKind::WouldBlock)
    );
    three.set_nonblocking(false).expect("it is a socket");
    for _ in 0..2 {
        server.wait_for_stderr("connected ");
    }
    drop(one);
    assert_eq!(server.wait_for_stderr("connected"), "disconnected");
    three.read_exact(&mut [0; 1]).expect("its turn has come");
}

#[test]
fn one_at_a_time_keeps_the_name_between_clients() {
    let folder = Folder::new();
    let server = folder.serve(&["p", "--echo", "--max", "1"]);
    for _ in 0..20 {
        // Without the name in between, this would fail at once.
        let finished = folder
            .run_with(&["connect", "p", "--timeout", "0"], b"x")
            .expect_success();
        assert_eq!(finished.stdout, b"x");
    }
    drop(server);
}

#[test]
fn exec_runs_a_program_for_each_client() {
    let folder = Folder::new();
    let server = folder.serve(&["p", "--exec", "sh", "-c", r#"read line; echo "you said $line""#]);
    let mut clients: Vec<_> = (0..3).map(|_| folder.start(["connect", "p"])).collect();
    // All are connected before the first is answered.
    for (number, client) in clients.iter_mut().enumerate().rev() {
        client.write_line(&number.to_string());
        client.wait_for_stdout(&format!("you said {number}"));
    }
    for client in clients {
        client.finish().expect_success();
    }
    server.signal(15);
    let finished = server.finish().expect_success();
    assert_eq!(finished.stdout, b"");
    assert_eq!(
        finished.stderr.lines().filter(|line| *line == "disconnected").count(),
        3,
        "{}",
        finished.stderr
    );
    folder.expect_empty();
}

#[test]
fn exec_carries_much_and_the_program_sees_the_end() {
    let folder = Folder::new();
    let _server = folder.serve(&["p", "--exec", "cat"]);
    let bytes: Vec<u8> = (0..4 << 20).map(|at: usize| (at % 247) as u8).collect();
    let finished = folder.run_with(&["connect", "p"], &bytes).expect_success();
    assert!(
        finished.stdout == bytes,
        "{} of {} bytes, or other ones",
        finished.stdout.len(),
        bytes.len()
    );
    let finished = folder.run_with(&["connect", "p"], b"").expect_success();
    assert_eq!(finished.stdout, b"");
}

#[test]
fn exec_one_way() {
    let folder = Folder::new();
    let _server = folder.serve(&["out", "--direction", "out", "--exec", "sh", "-c", "echo hello; cat"]);
    assert_eq!(
        folder
            .run(["connect", "out", "--direction", "in"])
            .expect_success()
            .stdout,
        b"hello\n"
    );

    let mut server = folder.serve(&[
        "in",
        "--direction",
        "in",
        "--exec",
        "sh",
        "-c",
        "cat; echo ' that is all'",
    ]);
    folder
        .run_with(&["connect", "in", "--direction", "out"], b"hello")
        .expect_success();
    assert_eq!(server.wait_for_stdout("hello"), "hello that is all");
}

#[test]
fn a_program_that_fails_is_told_and_the_next_client_is_served() {
    let folder = Folder::new();
    let mut server = folder.serve(&["p", "--exec", "sh", "-c", "exit 3"]);
    for _ in 0..2 {
        folder.run(["connect", "p"]).expect_success();
        assert!(server.wait_for_stderr("dotpipe: ").contains("ended with exit status 3"));
        server.wait_for_stderr("disconnected");
    }
    let mut server = folder.serve(&["q", "--exec", "sh", "-c", "kill -9 $$"]);
    folder.run(["connect", "q"]).expect_success();
    assert!(server.wait_for_stderr("dotpipe: ").contains("signal 9 (SIGKILL)"));
}

#[test]
fn a_client_that_leaves_a_program_is_no_failure() {
    let folder = Folder::new();
    // How a program ends that writes to a client who has left.
    let mut server = folder.serve(&["p", "--exec", "sh", "-c", "cat; kill -PIPE $$"]);
    let client = folder.plain_client("p");
    server.wait_for_stderr("connected ");
    drop(client);
    assert_eq!(server.wait_for_stderr(""), "disconnected");
    let server = folder.serve(&["q", "--exec", "yes"]);
    let mut client = folder.plain_client("q");
    client.read_exact(&mut [0; 100]).expect("the program writes");
    drop(client);
    // Whether the program has said something about it or not, the server goes on.
    folder
        .plain_client("q")
        .read_exact(&mut [0; 100])
        .expect("the program writes");
    drop(server);
}

#[test]
fn a_program_that_is_not_there_is_told_at_once() {
    let folder = Folder::new();
    for program in ["no-such-program-here", "/no/such/program", "/", "echo hello"] {
        let finished = folder.run(["serve", "p", "--exec", program]);
        expect_failure(&finished, &format!("cannot find the program '{program}'"));
    }
    folder.expect_empty();
}

#[test]
fn wrong_usage() {
    let folder = Folder::new();
    for (arguments, text) in [
        (&["serve", "p", "--echo", "--exec", "cat"][..], "cannot be used with"),
        (
            &["serve", "p", "--echo", "--direction", "in"],
            "--echo needs both directions",
        ),
        (&["serve", "p", "--exec"], "a value is required"),
        (&["serve", "p", "--max", "0"], "from 1 to 254"),
        (&["serve", "p", "--max", "255"], "from 1 to 254"),
        (&["serve", "p", "--mode", "text"], "byte, message"),
        (&["serve", "p", "--direction", "up"], "in, out, inout"),
        (&["serve"], "required"),
        (&["connect", "p", "--timeout", "-1"], "milliseconds"),
        (&["connect", "p", "--timeout", "soon"], "milliseconds"),
        (&["connect", "p", "q"], "unexpected argument"),
        (&["chat", "p"], "unrecognized subcommand"),
        (&["listen", "p"], "unrecognized subcommand"),
    ] {
        expect_usage(&folder.run(arguments), text);
    }
    folder.expect_empty();
}
