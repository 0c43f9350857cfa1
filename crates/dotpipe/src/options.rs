//! The choices that .NET's constructors take, under .NET's names.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// Which way bytes flow, seen from the process that holds the stream.
///
/// A server that is `In` reads what its clients, which are `Out`, write.
/// See [`PipeDirection`](https://learn.microsoft.com/dotnet/api/system.io.pipes.pipedirection).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PipeDirection {
    /// This side reads.
    In,
    /// This side writes.
    Out,
    /// This side reads and writes. Named pipes only.
    InOut,
}

impl PipeDirection {
    /// Whether a stream of this direction can be read.
    #[must_use]
    pub const fn can_read(self) -> bool {
        matches!(self, Self::In | Self::InOut)
    }

    /// Whether a stream of this direction can be written.
    #[must_use]
    pub const fn can_write(self) -> bool {
        matches!(self, Self::Out | Self::InOut)
    }

    /// The direction that the other end has when this end has `self`.
    #[must_use]
    pub const fn opposite(self) -> Self {
        match self {
            Self::In => Self::Out,
            Self::Out => Self::In,
            Self::InOut => Self::InOut,
        }
    }
}

impl fmt::Display for PipeDirection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::In => "in",
            Self::Out => "out",
            Self::InOut => "inout",
        })
    }
}

impl FromStr for PipeDirection {
    type Err = Error;

    /// Reads `in`, `out` or `inout`, in any letter case.
    fn from_str(text: &str) -> Result<Self> {
        match text.to_ascii_lowercase().as_str() {
            "in" => Ok(Self::In),
            "out" => Ok(Self::Out),
            "inout" => Ok(Self::InOut),
            _ => Err(Error::out_of_range(
                "direction",
                "For named pipes, the pipe direction can be in, out or inout. For anonymous pipes, it can be in or out.",
            )),
        }
    }
}

/// Whether a pipe carries a stream of bytes or a sequence of messages.
///
/// Shown and parsed as `Byte` and `Message`, as .NET prints them.
/// See [`PipeTransmissionMode`](https://learn.microsoft.com/dotnet/api/system.io.pipes.pipetransmissionmode).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PipeTransmissionMode {
    /// A stream of bytes: reads may join and split what was written.
    #[default]
    Byte,
    /// A sequence of messages: each write is one, and a read never joins two.
    Message,
}

impl fmt::Display for PipeTransmissionMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Byte => "Byte",
            Self::Message => "Message",
        })
    }
}

impl FromStr for PipeTransmissionMode {
    type Err = Error;

    /// Reads `byte` or `message`, in any letter case.
    fn from_str(text: &str) -> Result<Self> {
        match text.to_ascii_lowercase().as_str() {
            "byte" => Ok(Self::Byte),
            "message" => Ok(Self::Message),
            _ => Err(Error::out_of_range(
                "transmissionMode",
                "For named pipes, transmission mode can be byte or message. For anonymous pipes, it can be byte.",
            )),
        }
    }
}

bitflags::bitflags! {
    /// Options of a named pipe, to be combined with `|`.
    ///
    /// See [`PipeOptions`](https://learn.microsoft.com/dotnet/api/system.io.pipes.pipeoptions).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct PipeOptions: u32 {
        /// No option.
        const NONE = 0;
        /// Asks for asynchronous I/O. Every dotpipe stream can be cancelled and timed without it; kept so that programs translate one to one.
        const ASYNCHRONOUS = 0x4000_0000;
        /// Asks that writes reach the other side before they return. Local pipes always hand bytes to the other side's queue at once, so this changes nothing there.
        const WRITE_THROUGH = 0x8000_0000;
        /// Connects only processes of the same user, whatever else is allowed: on a server its clients, on a client its server.
        const CURRENT_USER_ONLY = 0x2000_0000;
        /// Creates the name, or fails if it exists already. Servers only.
        const FIRST_PIPE_INSTANCE = 0x0008_0000;
    }
}

impl PipeOptions {
    /// Fails for bits that are no option at all, and for options that a stream of this kind does not have.
    pub(crate) fn check(self, possible: Self) -> Result<()> {
        if possible.contains(self) {
            Ok(())
        } else {
            let wrong = self - possible;
            Err(Error::out_of_range("options", "options contains an invalid flag.")
                .advice(format!("{wrong:?} is nothing for this kind of stream.")))
        }
    }
}

/// The size of a buffer that is asked for, if it is in .NET's range: a C `int`, which is what the system takes.
pub(crate) fn check_buffer_size(parameter: &'static str, bytes: usize) -> Result<()> {
    if i32::try_from(bytes).is_ok() {
        Ok(())
    } else {
        let text = format!("{parameter} ('{bytes}') must be a value between 0 and {}.", i32::MAX);
        Err(Error::out_of_range(parameter, text))
    }
}

/// Whether a child process inherits a pipe's handle when it is started in the ordinary way.
///
/// With `Inheritable`, every process started while the handle is open inherits it, as in .NET. To let exactly one
/// child inherit an anonymous pipe, keep `None` and use [`CommandExt::inherit_client_handle`](crate::CommandExt::inherit_client_handle).
/// See [`HandleInheritability`](https://learn.microsoft.com/dotnet/api/system.io.handleinheritability).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum HandleInheritability {
    /// Children do not inherit the handle.
    #[default]
    None,
    /// All children inherit the handle.
    Inheritable,
}

/// How far a client lets the server act in its name.
///
/// On Windows the system enforces it. On Unix a server learns its client's user from the kernel whatever the level says.
/// See [`TokenImpersonationLevel`](https://learn.microsoft.com/dotnet/api/system.security.principal.tokenimpersonationlevel).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TokenImpersonationLevel {
    /// No level was given.
    #[default]
    None,
    /// The server shall not learn who the client is.
    Anonymous,
    /// The server may learn who the client is.
    Identification,
    /// The server may act as the client on its own machine.
    Impersonation,
    /// The server may act as the client on other machines too.
    Delegation,
}
