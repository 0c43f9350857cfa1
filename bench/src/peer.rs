//! What a peer is, and the two common kinds of it.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::far::{self, Launcher};
use crate::test::{Kind, Test};
use crate::workload;

/// One way to move bytes between two processes.
///
/// Most are streams and implement [`NamedPeer`] or [`AnonymousPeer`], which gives them the loops that all streams
/// share. What is no blocking stream, or brings a program of its own, implements this trait and must do the same work.
pub trait Peer: Sync {
    /// Its name in tables and JSON.
    fn name(&self) -> &'static str;

    /// What it is compared against.
    fn baseline(&self) -> Option<Baseline> {
        None
    }

    /// Whether it can do this test.
    fn can(&self, test: Test) -> bool;

    /// Takes one sample, of about `time`, in the unit of the test. The far side is started with `launcher`.
    fn near(&self, launcher: &Launcher, test: Test, time: Duration) -> io::Result<f64>;

    /// The other side, in a process of its own. Returns when the near side is done.
    fn far(&self, place: &Path, test: Test) -> io::Result<()>;
}

/// What a peer is compared against.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Baseline {
    /// The name of the other peer.
    pub peer: &'static str,
    /// The promise: the most that streaming and round trips may cost compared with it, as a factor.
    pub gate: Option<f64>,
}

/// A peer whose server is reached by a path.
pub trait NamedPeer: Sync {
    /// What waits for clients; it may be the connection, too.
    type Server;
    /// A connection as the server sees it.
    type Connection: Read + Write;
    /// A connection as the client sees it.
    type Client: Read + Write;

    /// See [`Peer::name`].
    const NAME: &'static str;
    /// See [`Peer::baseline`].
    const BASELINE: Option<Baseline> = None;

    /// Makes the server at `path`.
    fn bind(path: &Path) -> io::Result<Self::Server>;

    /// Waits for a client, hands the connection to `work`, and closes it.
    fn serve_one<R>(
        server: &mut Self::Server,
        work: impl FnOnce(&mut Self::Connection) -> io::Result<R>,
    ) -> io::Result<R>;

    /// Connects to the server at `path`, which exists.
    fn connect(path: &Path) -> io::Result<Self::Client>;
}

/// A [`NamedPeer`] as a [`Peer`].
#[derive(Clone, Copy, Debug)]
pub struct Named<P>(pub P);

impl<P: NamedPeer> Named<P> {
    /// Short, because a socket's path may have 107 bytes at most and the place may be deep.
    fn path(place: &Path) -> PathBuf {
        place.join("p")
    }
}

impl<P: NamedPeer> Peer for Named<P> {
    fn name(&self) -> &'static str {
        P::NAME
    }

    fn baseline(&self) -> Option<Baseline> {
        P::BASELINE
    }

    fn can(&self, test: Test) -> bool {
        matches!(test.kind, Kind::RoundTrip | Kind::OneWay | Kind::Connect)
    }

    fn near(&self, launcher: &Launcher, test: Test, time: Duration) -> io::Result<f64> {
        let mut side = launcher.watch(launcher.command()?.stdout(Stdio::piped()).spawn()?)?;
        side.wait_until_ready()?;
        let path = Self::path(launcher.place());
        let figure = match test.kind {
            Kind::Connect => workload::near_connects(test, time, || P::connect(&path)),
            _ => P::connect(&path).and_then(|mut client| workload::near(&mut client, test, time)),
        };
        let figure = figure.map_err(|error| side.explain(error))?;
        side.finish()?;
        Ok(figure)
    }

    fn far(&self, place: &Path, test: Test) -> io::Result<()> {
        let mut server = P::bind(&Self::path(place))?;
        far::say_ready();
        match test.kind {
            Kind::Connect => {
                while P::serve_one(&mut server, workload::far_connect)? {}
                Ok(())
            }
            _ => P::serve_one(&mut server, |connection| workload::far(connection, test)),
        }
    }
}

/// A peer that a child inherits from its parent.
pub trait AnonymousPeer: Sync {
    /// The parent's side.
    type Parent: Read + Write;
    /// The child's side.
    type Child: Read + Write;

    /// See [`Peer::name`].
    const NAME: &'static str;
    /// See [`Peer::baseline`].
    const BASELINE: Option<Baseline> = None;

    /// Makes both directions and starts the child, which inherits its ends. What it has to know goes into the
    /// environment.
    fn spawn(command: Command) -> io::Result<(Child, Self::Parent)>;

    /// In the child: takes the inherited ends.
    fn inherited() -> io::Result<Self::Child>;
}

/// An [`AnonymousPeer`] as a [`Peer`].
#[derive(Clone, Copy, Debug)]
pub struct Anonymous<P>(pub P);

impl<P: AnonymousPeer> Peer for Anonymous<P> {
    fn name(&self) -> &'static str {
        P::NAME
    }

    fn baseline(&self) -> Option<Baseline> {
        P::BASELINE
    }

    fn can(&self, test: Test) -> bool {
        matches!(test.kind, Kind::RoundTrip | Kind::OneWay)
    }

    fn near(&self, launcher: &Launcher, test: Test, time: Duration) -> io::Result<f64> {
        let (child, mut parent) = P::spawn(launcher.command()?)?;
        let side = launcher.watch(child)?;
        let figure = workload::near(&mut parent, test, time).map_err(|error| side.explain(error))?;
        // The end of its stream ends the far side.
        drop(parent);
        side.finish()?;
        Ok(figure)
    }

    fn far(&self, _place: &Path, test: Test) -> io::Result<()> {
        workload::far(&mut P::inherited()?, test)
    }
}

/// Two streams of one direction each, as one of both.
#[derive(Debug)]
pub struct Pair<R, W> {
    /// What comes in.
    pub reader: R,
    /// What goes out.
    pub writer: W,
}

impl<R: Read, W> Read for Pair<R, W> {
    #[inline]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer)
    }
}

impl<R, W: Write> Write for Pair<R, W> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    #[inline]
    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}
