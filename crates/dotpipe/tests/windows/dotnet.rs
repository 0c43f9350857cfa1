//! Real .NET for Windows at the other end, both ways, in bytes and in messages.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::Command;

use dotpipe::{
    AnonymousPipeServerStream, CommandExt, NamedPipeClientStream, NamedPipeServerStream, PipeDirection,
    PipeTransmissionMode, TokenImpersonationLevel,
};
use dotpipe_testkit::{Process, limit, skip};

use crate::support::{name, pattern};

const MODES: [(&str, PipeTransmissionMode); 2] = [
    ("byte", PipeTransmissionMode::Byte),
    ("message", PipeTransmissionMode::Message),
];

/// The runtime with the peer program of `interop/dotnet/windows.cs`, which `cargo xtask test windows` provides.
fn peer(arguments: &[&str]) -> Option<Command> {
    let Some(folder) = std::env::var_os("DOTPIPE_WINDOWS_DOTNET").map(PathBuf::from) else {
        skip("real .NET for Windows", "cargo xtask test windows brings it");
        return None;
    };
    let mut command = Command::new(folder.join("dotnet.exe"));
    command.arg(folder.join("peer.dll")).args(arguments);
    Some(command)
}

#[test]
fn a_dotnet_client_of_our_server() {
    for (word, mode) in MODES {
        let server = NamedPipeServerStream::builder(name())
            .transmission_mode(mode)
            .create()
            .unwrap();
        let Some(mut command) = peer(&["client", server.name().name().to_str().unwrap(), word]) else {
            return;
        };
        let mut client = Process::start(&mut command);
        server.wait_for_connection_timeout(limit()).unwrap();
        server.set_read_timeout(Some(limit()));
        client.wait_for_stdout("connected 1");
        let mut part = vec![0; 40_000];
        if mode == PipeTransmissionMode::Message {
            while let Some(message) = server.read_message(1 << 20).unwrap() {
                server.write_message(&message).unwrap();
            }
        } else {
            loop {
                match (&server).read(&mut part).unwrap() {
                    0 => break,
                    count => (&server).write_all(&part[..count]).unwrap(),
                }
            }
        }
        let said = client.finish().expect_success().stdout_text().replace('\r', "");
        let expected = "back 3 True\nback 11 True\nback 100000 True\nback 4 True\nclosed\n";
        assert!(said.ends_with(expected), "{said}");
    }
}

#[test]
fn our_client_of_a_dotnet_server() {
    for (word, mode) in MODES {
        let name = name();
        let Some(mut command) = peer(&["server", &name, word]) else {
            return;
        };
        let mut server = Process::start(&mut command);
        let client = NamedPipeClientStream::builder(&name)
            .impersonation_level(TokenImpersonationLevel::Impersonation)
            // Wine does not tell who owns a pipe that was made without a security descriptor.
            .any_server_user()
            .create()
            .unwrap();
        client.connect_timeout(limit()).unwrap();
        client.set_read_timeout(Some(limit()));
        assert_eq!(client.transmission_mode().unwrap(), mode);
        client.set_read_mode(mode).unwrap();
        for length in [1, 5, 999, 1000, 1001, 100_000] {
            let bytes = pattern(length);
            if mode == PipeTransmissionMode::Message {
                assert!(client.transact(&bytes, 1 << 20).unwrap().unwrap() == bytes);
            } else {
                let mut back = vec![0; length];
                std::thread::scope(|scope| {
                    scope.spawn(|| (&client).write_all(&bytes).unwrap());
                    (&client).read_exact(&mut back).unwrap();
                });
                assert!(back == bytes);
            }
        }
        drop(client);
        server.wait_for_stdout("connected ");
        server.wait_for_stdout("ended");
        server.finish().expect_success();
    }
}

#[test]
fn a_dotnet_child_reads_our_anonymous_pipe() {
    let server = AnonymousPipeServerStream::new(PipeDirection::Out).unwrap();
    let Some(mut command) = peer(&["reader", &server.get_client_handle_as_string()]) else {
        return;
    };
    command.inherit_client_handle(&server);
    let mut child = Process::start(&mut command);
    server.dispose_local_copy_of_client_handle();
    (&server).write_all(b"from Rust").unwrap();
    drop(server);
    child.wait_for_stdout("echo: from Rust");
    child.finish().expect_success();
}
