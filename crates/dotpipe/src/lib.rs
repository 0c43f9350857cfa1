//! Named and anonymous pipes with the terms and semantics of .NET's
//! [System.IO.Pipes](https://learn.microsoft.com/dotnet/api/system.io.pipes).
//!
//! | .NET | here | for |
//! |---|---|---|
//! | `NamedPipeServerStream` | [`NamedPipeServerStream`] | any process of the machine that knows the name |
//! | `NamedPipeClientStream` | [`NamedPipeClientStream`] | the other end of it |
//! | `AnonymousPipeServerStream` | [`AnonymousPipeServerStream`] | a child process, in one direction |
//! | `AnonymousPipeClientStream` | [`AnonymousPipeClientStream`] | the child's end |
//! | `PipeStream` | [`PipeStream`] | what the four have in common |
//!
//! ```
//! use std::io::{Read, Write};
//! use dotpipe::{NamedPipeClientStream, NamedPipeServerStream};
//!
//! let name = format!("dotpipe-doc-{}", std::process::id());
//! let mut server = NamedPipeServerStream::new(&name)?;
//! let client = std::thread::spawn(move || -> std::io::Result<String> {
//!     let mut client = NamedPipeClientStream::new(&name)?;
//!     client.connect()?;
//!     let mut text = String::new();
//!     client.read_to_string(&mut text)?;
//!     Ok(text)
//! });
//! server.wait_for_connection()?;
//! server.write_all(b"hello")?;
//! server.wait_for_pipe_drain()?;
//! drop(server);
//! assert_eq!(client.join().unwrap()?, "hello");
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! On Unix a named pipe is the socket that .NET uses, `CoreFxPipe_NAME` in `$TMPDIR` (else `/tmp`), so that any .NET, Node or
//! Python process can be at its other end. What .NET cannot do there works here: draining, time-outs, a name that belongs to
//! its server, and knowing who has connected.
//!
//! All calls block. Each can be given a time limit, and be ended from another thread: by a [`Canceller`], which leaves the
//! connection as it is, or by `disconnect` and `close`, which end it.

mod anonymous;
mod connection;
mod endpoint;
mod error;
mod identity;
mod name;
mod named;
mod options;
mod security;
mod stream;
mod sys;
mod text;
mod transport;
mod wait;

pub use anonymous::{AnonymousPipeClientStream, AnonymousPipeServerBuilder, AnonymousPipeServerStream, CommandExt};
pub use error::{Error, ErrorKind, Result};
pub use identity::ClientIdentity;
pub use name::PipeName;
pub use named::{
    NamedPipeClientBuilder, NamedPipeClientStream, NamedPipeServerBuilder, NamedPipeServerStream, ReadHalf,
    ReuniteError, WriteHalf,
};
pub use options::{HandleInheritability, PipeDirection, PipeOptions, PipeTransmissionMode, TokenImpersonationLevel};
pub use security::PipeSecurity;
pub use stream::PipeStream;
pub use text::printable;
pub use wait::Canceller;
