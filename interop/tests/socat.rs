//! socat on the same path: what a shell user has.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileTypeExt;
use std::thread;

use dotpipe::NamedPipeServerStream;
use dotpipe::PipeDirection::InOut;
use dotpipe_interop::exchange::{Limited, connect, rooted, serve};
use dotpipe_interop::pattern::{bytes, end, pull, push};
use dotpipe_interop::{dotnet, socat};
use dotpipe_testkit::{Process, eventually, limit, pipe_folder};

#[test]
fn their_client_sends_stdin_and_prints_what_comes() {
    let Some(mut socat) = socat() else { return };
    let folder = pipe_folder();
    let server = serve(folder.path(), "shell", InOut);
    let address = format!("UNIX-CONNECT:{}", server.path().display());
    // -t: for how long socat goes on after one side's end; the test ends both.
    let mut client = Process::start(socat.args(["-t", "1000", "-", &address]));
    server.wait_for_connection_timeout(limit()).unwrap();
    let data = bytes(2_000_000);
    thread::scope(|scope| {
        scope.spawn(|| push(&server, 2_000_000).unwrap());
        scope.spawn(|| pull(&server, 2_000_000).unwrap());
        client.write(&data);
    });
    client.close_stdin();
    end(&server).unwrap();
    server.disconnect().unwrap();
    assert!(client.finish().expect_success().stdout == data);
}

#[test]
fn their_listener_serves_our_clients() {
    let Some(mut socat) = socat() else { return };
    let folder = pipe_folder();
    let path = rooted(folder.path(), "cat");
    let address = format!("UNIX-LISTEN:{},fork", path.display());
    let server = Process::start(socat.args([&address, "EXEC:cat"]));
    for _ in 0..3 {
        let client = connect(folder.path(), "cat", InOut);
        thread::scope(|scope| {
            scope.spawn(|| push(&client, 1_000_003).unwrap());
            pull(&client, 1_000_003).unwrap();
        });
    }
    server.signal(15);
    server.finish();
    eventually("socat has removed its socket", || !path.exists());
}

/// All kinds of clients at one server, each with a stream of its own, at the same time.
#[test]
fn everybody_at_once() {
    let (Some(mut socat), Some(dotnet)) = (socat(), dotnet("8")) else {
        return;
    };
    let folder = pipe_folder();
    let name = rooted(folder.path(), "testpipe");
    let echo = |server: &NamedPipeServerStream| {
        server.wait_for_connection_timeout(limit()).unwrap();
        let mut lines = BufReader::new(server);
        let mut line = String::new();
        while lines.read_line(&mut line).unwrap() > 0 {
            (&mut &*server).write_all(line.as_bytes()).unwrap();
            line.clear();
        }
    };
    let servers: Vec<_> = (0..3)
        .map(|_| {
            NamedPipeServerStream::builder(&name)
                .max_number_of_server_instances(3)
                .create()
                .unwrap()
                .limited()
        })
        .collect();
    assert!(fs::symlink_metadata(&name).unwrap().file_type().is_socket());
    thread::scope(|scope| {
        for server in &servers {
            scope.spawn(move || echo(server));
        }
        let address = format!("UNIX-CONNECT:{}", name.display());
        let mut shell = Process::start(socat.args(["-", &address]));
        let mut theirs = Process::start(
            dotnet
                .client(folder.path(), "testpipe")
                .args(["--do=lines", "--answers"]),
        );
        let ours = connect(folder.path(), "testpipe", InOut);
        let mut answers = BufReader::new(&ours).lines();
        for round in 0..3 {
            shell.write_line(&format!("shell {round}"));
            theirs.write_line(&format!("dotnet {round}"));
            writeln!(&ours, "rust {round}").unwrap();
            assert_eq!(shell.wait_for_stdout(""), format!("shell {round}"));
            assert_eq!(theirs.wait_for_stdout(""), format!("dotnet {round}"));
            assert_eq!(answers.next().unwrap().unwrap(), format!("rust {round}"));
        }
        shell.finish().expect_success();
        theirs.finish().expect_success();
    });
}
