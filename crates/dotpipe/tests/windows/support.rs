//! Names that no other test has, connected pairs, and the checks that all modules use.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use dotpipe::{
    Error, ErrorKind, NamedPipeClientStream, NamedPipeServerBuilder, NamedPipeServerStream, PipeTransmissionMode,
};
use dotpipe_testkit::limit;

/// A time that is far too short for anybody to come, for calls that must run out of it.
pub(crate) const SHORT: Duration = Duration::from_millis(60);

/// A pipe's name that nobody else uses.
pub(crate) fn name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("dotpipe-test-{}-{count}", std::process::id())
}

/// The version of Wine, if this is no real Windows.
pub(crate) fn wine() -> Option<String> {
    // Wine keeps its own settings there; on Windows nobody has this key.
    let query = std::process::Command::new("reg")
        .args(["query", r"HKCU\Software\Wine"])
        .output();
    query
        .is_ok_and(|output| output.status.success())
        .then(|| "Wine".to_owned())
}

/// Says that a row of the conformance table cannot be shown here; `true` under Wine. A real Windows shows it.
pub(crate) fn wine_cannot(row: &str, reason: &str) -> bool {
    let under_wine = wine().is_some();
    if under_wine {
        dotpipe_testkit::not_shown(row, &format!("Wine {reason}"));
    }
    under_wine
}

pub(crate) fn connected() -> (NamedPipeServerStream, NamedPipeClientStream) {
    connected_to(NamedPipeServerStream::builder(name()))
}

/// A pipe that carries messages, which both ends read as such.
pub(crate) fn connected_by_messages() -> (NamedPipeServerStream, NamedPipeClientStream) {
    let (server, client) =
        connected_to(NamedPipeServerStream::builder(name()).transmission_mode(PipeTransmissionMode::Message));
    client.set_read_mode(PipeTransmissionMode::Message).unwrap();
    (server, client)
}

pub(crate) fn connected_to(server: NamedPipeServerBuilder) -> (NamedPipeServerStream, NamedPipeClientStream) {
    let server = server.create().unwrap();
    let client = NamedPipeClientStream::builder(server.name().name())
        .direction(server.direction().opposite())
        .create()
        .unwrap();
    join(&server, &client);
    (server, client)
}

#[track_caller]
pub(crate) fn join(server: &NamedPipeServerStream, client: &NamedPipeClientStream) {
    client.connect_timeout(limit()).unwrap();
    server.wait_for_connection_timeout(limit()).unwrap();
    for stream in [&**server, &**client] {
        stream.set_read_timeout(Some(limit()));
        stream.set_write_timeout(Some(limit()));
    }
}

/// Sends bytes and receives them.
#[track_caller]
pub(crate) fn passes(bytes: &[u8], mut writer: impl Write, mut reader: impl Read) {
    writer.write_all(bytes).unwrap();
    let mut got = vec![0; bytes.len()];
    reader.read_exact(&mut got).unwrap();
    assert!(got == bytes);
}

/// The class of a failure; reads and writes return it inside std's error.
#[track_caller]
pub(crate) fn kind_of<T>(result: std::io::Result<T>) -> ErrorKind {
    match result {
        Ok(_) => panic!("it succeeded"),
        Err(error) => Error::of(&error).map_or_else(|| panic!("not an error of dotpipe: {error:?}"), Error::kind),
    }
}

/// The class of a failure of one of the library's own functions.
#[track_caller]
pub(crate) fn kind<T>(result: dotpipe::Result<T>) -> ErrorKind {
    match result {
        Ok(_) => panic!("it succeeded"),
        Err(error) => error.kind(),
    }
}

/// A call on a thread of its own.
pub(crate) fn spawn<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    thread::spawn(call)
}

/// `length` bytes in which each place can be told from its neighbours.
pub(crate) fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|place| (place % 251) as u8).collect()
}
