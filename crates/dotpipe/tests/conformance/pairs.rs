//! The eight pairs of streams that the shared stream tests run on: two anonymous ones and six named ones.

use std::fmt;
use std::io::{Read, Write};

use dotpipe::{
    AnonymousPipeClientStream, AnonymousPipeServerStream, NamedPipeClientStream, NamedPipeServerStream, PipeDirection,
    PipeOptions, PipeStream,
};
use dotpipe_testkit::limit;

use crate::support::{Place, join};

/// One end of a pipe of any kind.
pub(crate) trait End: Read + Write + Send + Sync + 'static {
    fn pipe(&self) -> &PipeStream;

    /// Closes the stream from anywhere, as .NET's `Dispose`; `false` for a type whose only end is to be dropped.
    fn close(&self) -> bool;
}

macro_rules! is_end {
    ($stream:ty, $close:expr) => {
        impl End for $stream {
            fn pipe(&self) -> &PipeStream {
                self
            }

            fn close(&self) -> bool {
                let close: fn(&Self) -> bool = $close;
                close(self)
            }
        }
    };
}

is_end!(AnonymousPipeServerStream, |_| false);
is_end!(AnonymousPipeClientStream, |_| false);
is_end!(NamedPipeServerStream, |stream| {
    stream.close();
    true
});
is_end!(NamedPipeClientStream, |stream| {
    stream.close();
    true
});

/// How a pair is made; the direction is the server's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pairing {
    Anonymous(PipeDirection),
    Named(PipeDirection, PipeOptions),
}

use PipeDirection::{In, InOut, Out};

pub(crate) const ANONYMOUS: &[Pairing] = &[Pairing::Anonymous(Out), Pairing::Anonymous(In)];

pub(crate) const NAMED: &[Pairing] = &[
    Pairing::Named(Out, PipeOptions::NONE),
    Pairing::Named(In, PipeOptions::NONE),
    Pairing::Named(InOut, PipeOptions::NONE),
    Pairing::Named(Out, PipeOptions::ASYNCHRONOUS),
    Pairing::Named(In, PipeOptions::ASYNCHRONOUS),
    Pairing::Named(InOut, PipeOptions::ASYNCHRONOUS),
];

/// Two connected ends.
pub(crate) struct Pair {
    pub(crate) server: Box<dyn End>,
    pub(crate) client: Box<dyn End>,
    /// `None` for an anonymous pipe.
    place: Option<Place>,
}

impl Pairing {
    fn server_direction(self) -> PipeDirection {
        match self {
            Self::Anonymous(direction) | Self::Named(direction, _) => direction,
        }
    }

    pub(crate) fn pair(self) -> Pair {
        let pair = match self {
            Self::Anonymous(direction) => {
                let server = AnonymousPipeServerStream::new(direction).unwrap();
                let handle = server.get_client_handle_as_string();
                let client = AnonymousPipeClientStream::from_handle_string(direction.opposite(), &handle).unwrap();
                Pair {
                    server: Box::new(server),
                    client: Box::new(client),
                    place: None,
                }
            }
            Self::Named(direction, options) => {
                let place = Place::new();
                let server = NamedPipeServerStream::builder(place.name())
                    .direction(direction)
                    .options(options)
                    .create()
                    .unwrap();
                let client = NamedPipeClientStream::builder(place.name())
                    .direction(direction.opposite())
                    .options(options)
                    .create()
                    .unwrap();
                join(&server, &client);
                Pair {
                    server: Box::new(server),
                    client: Box::new(client),
                    place: Some(place),
                }
            }
        };
        // A test whose bytes do not come fails, and does not hang.
        for end in [&pair.server, &pair.client] {
            end.pipe().set_read_timeout(Some(limit()));
            end.pipe().set_write_timeout(Some(limit()));
        }
        pair
    }
}

/// A pair as seen by bytes that travel one way.
pub(crate) struct Flow {
    pub(crate) writer: Box<dyn End>,
    pub(crate) reader: Box<dyn End>,
    place: Option<Place>,
    label: String,
}

impl Flow {
    /// Both ways of a pair that has two, else the one.
    pub(crate) fn all_of(pairing: Pairing) -> Vec<Self> {
        let make = |server_writes: bool| {
            let Pair { server, client, place } = pairing.pair();
            let (writer, reader) = if server_writes {
                (server, client)
            } else {
                (client, server)
            };
            let who = if server_writes { "server" } else { "client" };
            let label = format!("{pairing:?}, the {who} writes");
            Self {
                writer,
                reader,
                place,
                label,
            }
        };
        match pairing.server_direction() {
            Out => vec![make(true)],
            In => vec![make(false)],
            InOut => vec![make(true), make(false)],
        }
    }

    /// The two ends alone, for threads of their own. The folder of a named pipe goes only with the last part.
    pub(crate) fn take(self) -> (Box<dyn End>, Box<dyn End>, Option<Place>) {
        (self.writer, self.reader, self.place)
    }
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label)
    }
}

/// Runs a test on every flow of some pairings. The last line that a failed test shows names the flow.
pub(crate) fn each_flow(pairings: &[Pairing], test: impl Fn(Flow)) {
    for &pairing in pairings {
        for flow in Flow::all_of(pairing) {
            println!("{flow}");
            test(flow);
        }
    }
}

/// Runs a test on every flow of all eight pairings.
pub(crate) fn each_flow_of_all(test: impl Fn(Flow)) {
    each_flow(ANONYMOUS, &test);
    each_flow(NAMED, &test);
}
