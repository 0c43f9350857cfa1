//! One error type for all of dotpipe, and the classes of failure that callers tell apart.

use std::borrow::Cow;
use std::error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// What dotpipe's functions return.
pub type Result<T> = std::result::Result<T, Error>;

/// The class of a failure. Each class stands for one exception of .NET's System.IO.Pipes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A value that can never be right, such as an empty name (`ArgumentException`). [`Error::parameter`] names it.
    Argument,
    /// A value outside its range, such as 255 instances or a reserved name (`ArgumentOutOfRangeException`).
    ArgumentOutOfRange,
    /// A call that the state of the stream does not allow, such as a read before the connection (`InvalidOperationException`).
    InvalidOperation,
    /// Something that this kind of stream, this direction or this system does not do (`NotSupportedException`, `PlatformNotSupportedException`).
    NotSupported,
    /// The stream was closed (`ObjectDisposedException`).
    ObjectDisposed,
    /// The time limit has passed (`TimeoutException`).
    TimedOut,
    /// A [`Canceller`](crate::Canceller) has ended the call (`OperationCanceledException`).
    Canceled,
    /// The system or the other side's user does not allow it (`UnauthorizedAccessException`).
    UnauthorizedAccess,
    /// The name has all the server instances that it may have, here or in another process (`IOException`, ERROR_PIPE_BUSY).
    InstancesBusy,
    /// A server's name was taken from it, or its socket was deleted, while it waited for a client.
    NameLost,
    /// The other end of the pipe is gone (`IOException`, ERROR_BROKEN_PIPE).
    Broken,
    /// Any other failure of the operating system; the cause is in [`source`](error::Error::source) (`IOException`).
    Io,
}

impl ErrorKind {
    fn io_kind(self) -> io::ErrorKind {
        match self {
            Self::Argument | Self::ArgumentOutOfRange => io::ErrorKind::InvalidInput,
            Self::InvalidOperation => io::ErrorKind::NotConnected,
            Self::NotSupported => io::ErrorKind::Unsupported,
            Self::TimedOut => io::ErrorKind::TimedOut,
            // Not `Interrupted`: std's loops try again after that one.
            Self::Canceled | Self::ObjectDisposed => io::ErrorKind::ConnectionAborted,
            Self::UnauthorizedAccess => io::ErrorKind::PermissionDenied,
            Self::InstancesBusy => io::ErrorKind::AddrInUse,
            Self::NameLost => io::ErrorKind::NotFound,
            Self::Broken => io::ErrorKind::BrokenPipe,
            Self::Io => io::ErrorKind::Other,
        }
    }
}

/// A failure: its class, .NET's text for it, what was attempted on which path, what to do about it, and the system's cause.
///
/// Converts into an [`io::Error`] of the fitting kind; [`Error::of`] finds it again inside one.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    headline: Cow<'static, str>,
    attempt: String,
    advice: Cow<'static, str>,
    parameter: Option<&'static str>,
    path: Option<PathBuf>,
    source: Option<io::Error>,
}

impl Error {
    /// The class of this failure.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The name of the parameter at fault, for [`ErrorKind::Argument`] and [`ErrorKind::ArgumentOutOfRange`].
    #[must_use]
    pub fn parameter(&self) -> Option<&str> {
        self.0.parameter
    }

    /// The path of the socket or file that the failure is about.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.0.path.as_deref()
    }

    /// The dotpipe error inside an [`io::Error`], where a reader or writer of dotpipe made it.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    pub(crate) fn new(kind: ErrorKind, headline: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            kind,
            headline: headline.into(),
            attempt: String::new(),
            advice: Cow::Borrowed(""),
            parameter: None,
            path: None,
            source: None,
        }))
    }

    /// Says what was attempted, as a phrase with a verb in -ing.
    pub(crate) fn attempted(mut self, attempt: impl Into<String>) -> Self {
        self.0.attempt = attempt.into();
        self
    }

    /// Says what was attempted, and on which path.
    pub(crate) fn attempted_on(mut self, attempt: &str, path: &Path) -> Self {
        self.0.attempt = format!("{attempt} {}", crate::text::printable(path.as_os_str()));
        self.0.path = Some(path.to_owned());
        self
    }

    /// Says what to do, in whole sentences.
    pub(crate) fn advice(mut self, advice: impl Into<Cow<'static, str>>) -> Self {
        self.0.advice = advice.into();
        self
    }

    pub(crate) fn with_source(mut self, source: impl Into<io::Error>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    pub(crate) fn argument(parameter: &'static str, text: impl Into<Cow<'static, str>>) -> Self {
        let mut error = Self::new(ErrorKind::Argument, text);
        error.0.parameter = Some(parameter);
        error
    }

    pub(crate) fn out_of_range(parameter: &'static str, text: impl Into<Cow<'static, str>>) -> Self {
        let mut error = Self::new(ErrorKind::ArgumentOutOfRange, text);
        error.0.parameter = Some(parameter);
        error
    }

    pub(crate) fn invalid_operation(text: &'static str) -> Self {
        Self::new(ErrorKind::InvalidOperation, text)
    }

    pub(crate) fn not_supported(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::NotSupported, text)
    }

    pub(crate) fn closed() -> Self {
        Self::new(ErrorKind::ObjectDisposed, "Cannot access a closed pipe.")
    }

    pub(crate) fn timed_out() -> Self {
        Self::new(ErrorKind::TimedOut, "The operation has timed out.")
    }

    pub(crate) fn canceled() -> Self {
        Self::new(ErrorKind::Canceled, "The operation was canceled.")
    }

    pub(crate) fn broken() -> Self {
        Self::new(ErrorKind::Broken, "Pipe is broken.")
            .advice("The process at the other end has closed it, has ended, or does not let this user in.")
    }

    /// A failure of the system without a class of its own, or with one that its number tells.
    pub(crate) fn system(attempt: &str, path: &Path, source: impl Into<io::Error>) -> Self {
        let source = source.into();
        match source.kind() {
            io::ErrorKind::PermissionDenied => {
                let text = format!(
                    "Access to the path '{}' is denied.",
                    crate::text::printable(path.as_os_str())
                );
                Self::new(ErrorKind::UnauthorizedAccess, text)
            }
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Self::broken(),
            io::ErrorKind::Unsupported => Self::not_supported("Operation is not supported on this platform."),
            _ => Self::new(ErrorKind::Io, capitalized(&source)),
        }
        .attempted_on(attempt, path)
        .with_source(source)
    }
}

/// The system's text as a sentence, without its number, which the source still tells.
fn capitalized(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        format!("{}{}.", first.to_uppercase(), letters.as_str())
    })
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner {
            headline,
            attempt,
            advice,
            ..
        } = &*self.0;
        f.write_str(headline)?;
        if !attempt.is_empty() {
            write!(f, " This happened while {attempt}.")?;
        }
        if !advice.is_empty() {
            write!(f, " {advice}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Error");
        shown.field("kind", &self.0.kind).field("text", &format_args!("{self}"));
        if let Some(parameter) = self.0.parameter {
            shown.field("parameter", &parameter);
        }
        if let Some(source) = &self.0.source {
            shown.field("source", source);
        }
        shown.finish()
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.0
            .source
            .as_ref()
            .map(|source| source as &(dyn error::Error + 'static))
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match (error.kind(), &error.0.source) {
            (ErrorKind::Io, Some(source)) => source.kind(),
            (kind, _) => kind.io_kind(),
        };
        Self::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_says_what_where_and_what_to_do() {
        let error = Error::timed_out()
            .attempted_on("connecting to", Path::new("/tmp/CoreFxPipe_x"))
            .advice("Start the server first.");
        assert_eq!(
            error.to_string(),
            "The operation has timed out. This happened while connecting to /tmp/CoreFxPipe_x. Start the server first."
        );
    }

    #[test]
    fn converts_to_an_io_error_and_back() {
        let error: io::Error = Error::canceled().into();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
        assert_eq!(Error::of(&error).map(Error::kind), Some(ErrorKind::Canceled));
        assert!(Error::of(&io::Error::other("foreign")).is_none());
    }

    #[test]
    fn system_errors_get_the_class_that_their_number_tells() {
        let class = |number| Error::system("reading", Path::new("/p"), io::Error::from_raw_os_error(number)).kind();
        assert_eq!(class(libc::EACCES), ErrorKind::UnauthorizedAccess);
        assert_eq!(class(libc::EPIPE), ErrorKind::Broken);
        assert_eq!(class(libc::ECONNRESET), ErrorKind::Broken);
        assert_eq!(class(libc::ENOSYS), ErrorKind::NotSupported);
        assert_eq!(class(libc::ENOSPC), ErrorKind::Io);
    }

    #[test]
    fn an_unclassified_error_keeps_the_systems_kind() {
        let error = Error::system("creating", Path::new("/p"), io::Error::from_raw_os_error(libc::ENOSPC));
        assert_eq!(
            error.to_string(),
            "No space left on device. This happened while creating /p."
        );
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::StorageFull);
    }
}
