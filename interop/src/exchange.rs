//! The exchanges that every peer must be able to make, with dotpipe in either role.
//!
//! One peer process makes all rounds of an exchange, so each one also is a test of disconnect and reconnect: our
//! server disconnects and waits again, theirs takes our next client.

use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use dotpipe::{ErrorKind, NamedPipeClientStream, NamedPipeServerStream, PipeDirection, PipeStream};
use dotpipe_testkit::{Process, limit, pipe_folder};

use crate::pattern::{end, pull, push};
use crate::peer::{Peer, socket_path};

/// Numbers of bytes: one, around a page, around the size of the peers' buffers, around a socket's, and 64 MiB.
pub const SIZES: [u64; 8] = [1, 2, 4096, 4097, 65_536, 65_537, 1_000_003, 64 << 20];

/// A pipe's rooted name: the name of the pipe `name` for every process, whatever its own `TMPDIR`.
pub fn rooted(folder: &Path, name: &str) -> PathBuf {
    socket_path(folder, name)
}

/// Gives a connected stream the tests' time limit for each read and write, and returns it.
pub trait Limited: Sized {
    /// Sets both time-outs.
    #[must_use]
    fn limited(self) -> Self;
}

impl Limited for NamedPipeServerStream {
    fn limited(self) -> Self {
        self.set_read_timeout(Some(limit()));
        self.set_write_timeout(Some(limit()));
        self
    }
}

impl Limited for NamedPipeClientStream {
    fn limited(self) -> Self {
        self.set_read_timeout(Some(limit()));
        self.set_write_timeout(Some(limit()));
        self
    }
}

/// A client stream, connected to the pipe `name`.
///
/// # Panics
/// When it cannot connect within the tests' limit.
#[track_caller]
pub fn connect(folder: &Path, name: &str, direction: PipeDirection) -> NamedPipeClientStream {
    let client = NamedPipeClientStream::builder(rooted(folder, name))
        .direction(direction)
        .create()
        .unwrap()
        .limited();
    client.connect_timeout(limit()).unwrap();
    client
}

/// A server stream of the pipe `name`, not connected yet.
///
/// # Panics
/// When it cannot be created.
#[track_caller]
pub fn serve(folder: &Path, name: &str, direction: PipeDirection) -> NamedPipeServerStream {
    NamedPipeServerStream::builder(rooted(folder, name))
        .direction(direction)
        .create()
        .unwrap()
        .limited()
}

/// What our side does in an exchange: it sends, receives, or does both at once.
fn work<S>(stream: &S, direction: PipeDirection, size: u64) -> io::Result<()>
where
    S: Sync,
    for<'a> &'a S: io::Read + io::Write,
{
    match direction {
        PipeDirection::Out => push(stream, size),
        PipeDirection::In => pull(stream, size),
        PipeDirection::InOut => thread::scope(|scope| {
            let pushing = scope.spawn(|| push(stream, size));
            pull(stream, size)?;
            pushing.join().expect("push does not panic")
        }),
    }
}

/// The peer's words for the other end of an exchange in our `direction`.
fn options(direction: PipeDirection, sizes: &[u64]) -> [String; 2] {
    let (its, word) = match direction {
        PipeDirection::Out => ("in", "pull"),
        PipeDirection::In => ("out", "push"),
        PipeDirection::InOut => ("inout", "swap"),
    };
    let works: Vec<_> = sizes.iter().map(|size| format!("{word}:{size}")).collect();
    [format!("--dir={its}"), format!("--do={}", works.join(","))]
}

/// The peer must have received exactly what was sent, in every round.
fn check(peer: Process, direction: PipeDirection, sizes: &[u64]) {
    let finished = peer.finish().expect_success();
    for size in sizes {
        let (sent, received) = (format!("pushed {size}\n"), format!("pulled {size}\n"));
        assert_eq!(
            finished.stderr.contains(&received),
            direction != PipeDirection::In,
            "{}",
            finished.stderr
        );
        assert_eq!(
            finished.stderr.contains(&sent),
            direction != PipeDirection::Out,
            "{}",
            finished.stderr
        );
    }
}

/// Our server, their client: one round for each size.
///
/// # Panics
/// When anything differs from what it should be.
pub fn with_their_client(peer: &Peer, direction: PipeDirection, sizes: &[u64]) {
    let folder = pipe_folder();
    let server = serve(folder.path(), "exchange", direction);
    let mut client = peer.client(folder.path(), "exchange");
    let client = Process::start(client.args(options(direction, sizes)));
    for &size in sizes {
        server.wait_for_connection_timeout(limit()).unwrap();
        assert!(server.is_connected());
        work(&server, direction, size).unwrap_or_else(|error| panic!("{direction:?}, {size} bytes: {error}"));
        if direction == PipeDirection::In {
            end(&server).unwrap();
        }
        // At once: what was sent must still reach the client.
        server.disconnect().unwrap();
    }
    check(client, direction, sizes);
}

/// Their server, our clients: one for each size.
///
/// # Panics
/// When anything differs from what it should be.
pub fn with_their_server(peer: &Peer, direction: PipeDirection, sizes: &[u64]) {
    let folder = pipe_folder();
    let mut server = peer.server(folder.path(), "exchange");
    let mut server = Process::start(server.args(options(direction, sizes)));
    server.wait_for_stderr("listening");
    for &size in sizes {
        let client = connect(folder.path(), "exchange", direction);
        assert!(client.is_connected());
        work(&client, direction, size).unwrap_or_else(|error| panic!("{direction:?}, {size} bytes: {error}"));
        if direction == PipeDirection::In {
            end(&client).unwrap();
        }
    }
    check(server, direction, sizes);
}

/// Our server with `count` instances, their program with `count` clients at once, all sending and receiving.
///
/// # Panics
/// When anything differs from what it should be.
pub fn with_their_clients_at_once(peer: &Peer, count: usize) {
    const SIZE: u64 = 1_000_003;
    let folder = pipe_folder();
    let name = rooted(folder.path(), "crowd");
    let instance = |_| {
        let builder = NamedPipeServerStream::builder(&name).max_number_of_server_instances(count as i32);
        builder.create().unwrap().limited()
    };
    let servers: Vec<_> = (0..count).map(instance).collect();
    let mut clients = peer.client(folder.path(), "crowd");
    clients
        .arg(format!("--clients={count}"))
        .arg(format!("--do=swap:{SIZE}"));
    let clients = Process::start(&mut clients);
    thread::scope(|scope| {
        for server in &servers {
            scope.spawn(move || {
                server.wait_for_connection_timeout(limit()).unwrap();
                work(server, PipeDirection::InOut, SIZE).unwrap();
                end(server).unwrap();
            });
        }
    });
    let finished = clients.finish().expect_success();
    assert_eq!(finished.stderr.matches("pulled").count(), count, "{}", finished.stderr);
}

/// A peer that ends its writing side still gets everything that we write after that.
///
/// # Panics
/// When anything differs from what it should be.
pub fn half_a_connection_still_carries(peer: &Peer) {
    let folder = pipe_folder();
    let server = serve(folder.path(), "half", PipeDirection::InOut);
    let client = Process::start(peer.client(folder.path(), "half").arg("--do=push:10+half"));
    server.wait_for_connection_timeout(limit()).unwrap();
    pull(&server, 10).unwrap();
    end(&server).unwrap();
    push(&server, 3_000_000).unwrap();
    server.disconnect().unwrap();
    let finished = client.finish().expect_success();
    assert!(
        finished.stderr.contains("ended after 3000000 bytes"),
        "{}",
        finished.stderr
    );
}

/// A drain of `ours` waits until `theirs`, a connected peer with the work [`HELD_BACK`], has read everything.
///
/// # Panics
/// When it ends before or not at all.
pub fn drain_waits_for(ours: &PipeStream, mut theirs: Process) {
    push(ours, 1000).unwrap();
    ours.set_write_timeout(Some(Duration::from_millis(50)));
    let early = ours.wait_for_pipe_drain();
    assert_eq!(
        early.map_err(|error| error.kind()),
        Err(ErrorKind::TimedOut),
        "the peer has yet to read"
    );
    ours.set_write_timeout(Some(limit()));
    theirs.write_line("read");
    ours.wait_for_pipe_drain().unwrap();
    theirs.wait_for_stderr("pulled 1000");
    theirs.write_line("end");
    theirs.finish().expect_success();
}

/// A peer's work for [`drain_waits_for`]: it reads when it is told to.
pub const HELD_BACK: &str = "--do=hold+pull:1000+hold";
