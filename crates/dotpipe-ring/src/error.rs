//! What can keep an operation on a ring from succeeding.

use std::{fmt, io};

/// Why a ring did not do what it was asked. Nothing was transferred by the call that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// Nothing to read, or too little room: wait, and try again.
    WouldBlock,
    /// The other side reads no more.
    Broken,
    /// The other side ended, or left, in the middle of a message. What it had sent of it has been read.
    Torn,
    /// A longer message has been begun, and another one was given to be written.
    Unfinished,
    /// The shared memory says what cannot be. Close the connection.
    Corrupt(&'static str),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WouldBlock => f.write_str("The operation would block."),
            Self::Broken => f.write_str("Pipe is broken. The other end reads no more."),
            Self::Torn => f.write_str("Pipe is broken. The other end left in the middle of a message."),
            Self::Unfinished => f.write_str("A message that was begun has not been written to its end."),
            Self::Corrupt(what) => write!(f, "The other end broke the rules of the ring: {what}."),
        }
    }
}

impl std::error::Error for Error {}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match error {
            // The common one, without an allocation.
            Error::WouldBlock => return io::ErrorKind::WouldBlock.into(),
            Error::Broken => io::ErrorKind::BrokenPipe,
            Error::Torn => io::ErrorKind::UnexpectedEof,
            Error::Unfinished => io::ErrorKind::InvalidInput,
            Error::Corrupt(_) => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}
