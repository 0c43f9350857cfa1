//! `dotpipe chat`: both sides' texts to the letter, and peers that are no dotpipe.

use std::io::{BufRead, BufReader, Read, Write};
use std::thread;

use dotpipe_testkit::Process;

use crate::setup::{Folder, expect_failure, limited, user_name};

fn server(folder: &Folder) -> Process {
    let mut server = folder.start(["chat", "server", "p"]);
    server.wait_for_stdout("Waiting for client connection...");
    server
}

#[test]
fn both_sides_say_what_the_article_says() {
    let folder = Folder::new();
    let mut server = server(&folder);
    let mut client = folder.start(["chat", "client", "p"]);
    for text in ["hello", "grüße"] {
        server.wait_for_stdout("Enter text: ");
        server.write_line(text);
        server.wait_for_stdout(&format!("Response: Client received: {text}"));
        client.wait_for_stdout(text);
    }
    server.wait_for_stdout("Enter text: ");
    server.write_line("exit");
    let (server, client) = (server.finish().expect_success(), client.finish().expect_success());
    assert_eq!(
        server.stdout_text(),
        format!(
            "Waiting for client connection...\nClient connected. {}\n\
             Enter text: Response: Client received: hello\nEnter text: Response: Client received: grüße\n\
             Enter text: Client disconnected.\n",
            user_name()
        )
    );
    assert_eq!(
        client.stdout_text(),
        "Connecting to server...\nServer connected.\nhello\ngrüße\n"
    );
    assert_eq!((server.stderr.as_str(), client.stderr.as_str()), ("", ""));
    folder.expect_empty();
}

#[test]
fn a_client_that_is_there_first_waits() {
    let folder = Folder::new();
    let mut client = folder.start(["chat", "client", "p"]);
    client.wait_for_stdout("Connecting to server...");
    let server = server(&folder);
    client.wait_for_stdout("Server connected.");
    server.finish().expect_success();
    client.finish().expect_success();
}

#[test]
fn an_empty_line_and_the_end_of_the_input_end_the_conversation() {
    // The prompt's line ends by the line feed that was typed, which a file does not show, or by one of ours.
    for (input, last) in [
        ("\n", "Enter text: Client disconnected.\n"),
        ("", "Enter text: \nClient disconnected.\n"),
    ] {
        let folder = Folder::new();
        let mut server = server(&folder);
        let mut client = folder.plain_client("p");
        server.wait_for_stdout("Enter text: ");
        server.write(input.as_bytes());
        let finished = server.finish().expect_success();
        assert!(finished.stdout_text().ends_with(last), "{finished:?}");
        assert_eq!(client.read(&mut [0; 1]).expect("the end comes within the limit"), 0);
        folder.expect_empty();
    }
}

#[test]
fn a_client_with_windows_line_ends_and_a_byte_order_mark_is_understood() {
    let folder = Folder::new();
    let mut server = server(&folder);
    let mut client = folder.plain_client("p");
    server.wait_for_stdout("Enter text: ");
    server.write_line("hello");
    let mut line = String::new();
    BufReader::new(&client)
        .read_line(&mut line)
        .expect("the text comes within the limit");
    assert_eq!(line, "hello\n");
    client.write_all(b"\xef\xbb\xbfthanks\r\n").expect("the server reads");
    server.wait_for_stdout("Response: thanks");
    server.finish().expect_success();
}

#[test]
fn a_client_that_leaves_ends_the_conversation() {
    let folder = Folder::new();
    let mut server = server(&folder);
    let client = folder.plain_client("p");
    server.wait_for_stdout("Enter text: ");
    drop(client);
    server.write_line("anybody?");
    server.wait_for_stdout("Client disconnected.");
    server.finish().expect_success();
    folder.expect_empty();
}

#[test]
fn with_loop_one_client_comes_after_another() {
    let folder = Folder::new();
    let mut server = folder.start(["chat", "server", "--loop", "p"]);
    for round in 0..3 {
        server.wait_for_stdout("Waiting for client connection...");
        let client = folder.plain_client("p");
        server.wait_for_stdout("Client connected. ");
        server.wait_for_stdout("Enter text: ");
        server.write_line(["exit", "", "hello?"][round]);
        if round == 2 {
            // This one leaves by itself, without a word.
            client.shutdown(std::net::Shutdown::Write).expect("it is connected");
        }
        server.wait_for_stdout("Client disconnected.");
    }
    server.wait_for_stdout("Waiting for client connection...");
    let _client = folder.plain_client("p");
    server.wait_for_stdout("Enter text: ");
    server.finish().expect_success();
    folder.expect_empty();
}

#[test]
fn without_loop_a_second_client_is_not_served() {
    let folder = Folder::new();
    let mut server = server(&folder);
    let _first = folder.plain_client("p");
    server.wait_for_stdout("Enter text: ");
    let mut second = folder.plain_client("p");
    server.write_line("exit");
    server.finish().expect_success();
    let seen = second.read(&mut [0; 1]);
    assert!(!matches!(seen, Ok(1..)), "nobody has talked to it: {seen:?}");
}

#[test]
fn what_a_terminal_would_obey_is_shown_instead() {
    let folder = Folder::new();
    let mut server = server(&folder);
    let mut peer = folder.plain_client("p");
    server.wait_for_stdout("Enter text: ");
    server.write_line("hello");
    peer.write_all(b"\x1b[2Jgone\xff\n").expect("the server reads");
    let line = server.wait_for_stdout("Response: ");
    assert!(line.ends_with("Response: \\u{1b}[2Jgone\u{fffd}"), "{line:?}");
    server.finish().expect_success();

    let listener = folder.plain_server("q");
    let mut client = folder.start(["chat", "client", "q"]);
    let (peer, _) = listener.accept().expect("the client connects");
    limited(peer).write_all(b"\x1b]0;x\x07\n").expect("the client reads");
    assert_eq!(client.wait_for_stdout("u{1b}"), "\\u{1b}]0;x\\u{7}");
    client.finish().expect_success();
}

#[test]
fn a_line_without_an_end_is_refused() {
    let folder = Folder::new();
    let listener = folder.plain_server("p");
    let client = folder.start(["chat", "client", "p"]);
    let (peer, _) = listener.accept().expect("the client connects");
    let writer = thread::spawn(move || {
        let mut peer = limited(peer);
        // The client stops listening on the way.
        while peer.write_all(&[b'x'; 65536]).is_ok() {}
    });
    expect_failure(&client.finish(), "a line of more than 1048576 bytes");
    writer.join().expect("the writer has no reason to panic");
}

#[test]
fn a_client_whose_server_is_killed_ends_quietly() {
    let folder = Folder::new();
    let mut server = server(&folder);
    let mut client = folder.start(["chat", "client", "p"]);
    client.wait_for_stdout("Server connected.");
    server.wait_for_stdout("Enter text: ");
    drop(server);
    let client = client.finish().expect_success();
    assert_eq!(client.stderr, "");
}
