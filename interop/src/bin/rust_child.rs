//! A small program on dotpipe, to be the child of another system's parent, or another user's process.
//!
//!     rust_child anonymous in|out HANDLE WORK        rust_child client NAME WORK
//!
//! WORK is one of `read` (the pipe to stdout), `write` (stdin to the pipe), `push:N` and `pull:N` (the pattern).
//! A failure is one line "error KIND: TEXT" on stderr and exit status 3.

#![forbid(unsafe_code)]

use std::io::{self, Read, Write};
use std::process::ExitCode;

use dotpipe::{AnonymousPipeClientStream, Error, NamedPipeClientStream, PipeDirection};
use dotpipe_interop::pattern::{pull, push};
use dotpipe_testkit::limit;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["anonymous", "in", handle, what] => anonymous(PipeDirection::In, handle, what),
        ["anonymous", "out", handle, what] => anonymous(PipeDirection::Out, handle, what),
        ["client", name, what] => client(name, what),
        _ => {
            eprintln!("usage: rust_child anonymous in|out HANDLE WORK | client NAME WORK");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            match Error::of(&error) {
                Some(ours) => eprintln!("error {:?}: {ours}", ours.kind()),
                None => eprintln!("error {:?}: {error}", error.kind()),
            }
            ExitCode::from(3)
        }
    }
}

fn anonymous(direction: PipeDirection, handle: &str, what: &str) -> io::Result<()> {
    work(AnonymousPipeClientStream::from_handle_string(direction, handle)?, what)
}

fn client(name: &str, what: &str) -> io::Result<()> {
    let client = NamedPipeClientStream::builder(name).any_server_user().create()?;
    client.connect_timeout(limit())?;
    work(client, what)
}

fn work(mut stream: impl Read + Write, what: &str) -> io::Result<()> {
    let (word, count) = what.split_once(':').unwrap_or((what, "0"));
    let count = || {
        count
            .parse()
            .map_err(|_| io::Error::other(format!("'{what}' has no number of bytes")))
    };
    match word {
        "read" => io::copy(&mut stream, &mut io::stdout()).map(drop),
        "write" => io::copy(&mut io::stdin(), &mut stream).map(drop),
        "push" => push(&mut stream, count()?),
        "pull" => pull(&mut stream, count()?),
        _ => Err(io::Error::other(format!("there is no work '{what}'"))),
    }
}
