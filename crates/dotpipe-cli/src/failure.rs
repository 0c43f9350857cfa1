//! How a command fails: what its user reads, and which exit status it has.

use std::error::Error;
use std::fmt;
use std::io;

use crate::lines::is_gone;
use crate::text;

/// Why a command ends early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Nobody reads standard output any more, as in `dotpipe connect p | head -1`: the end of the work, not an error.
    StdoutClosed,
    /// The command line cannot mean what it says; exit status 2.
    Usage(String),
    /// Something did not work; exit status 1.
    Failed {
        attempt: Option<String>,
        cause: Box<dyn Error + Send + Sync>,
    },
}

pub(crate) type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// A failure without a cause below it.
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Failed {
            attempt: None,
            cause: text.into().into(),
        }
    }

    /// A failure of a pipe. Its own text says all that there is to say.
    pub(crate) fn of_pipe(error: io::Error) -> Self {
        Self::Failed {
            attempt: None,
            cause: error.into(),
        }
    }

    /// Whether it only says that nobody is at the other end of a pipe any more.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        let Self::Failed { cause, .. } = self else {
            return false;
        };
        let broken = |error: &dotpipe::Error| error.kind() == dotpipe::ErrorKind::Broken;
        cause.downcast_ref().is_some_and(is_gone) || cause.downcast_ref().is_some_and(broken)
    }

    /// A failure of standard output; a reader that has gone is not one.
    pub(crate) fn of_stdout(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::StdoutClosed
        } else {
            Self::Failed {
                attempt: Some("cannot write to standard output".into()),
                cause: error.into(),
            }
        }
    }
}

impl From<dotpipe::Error> for Failure {
    fn from(error: dotpipe::Error) -> Self {
        Self::Failed {
            attempt: None,
            cause: error.into(),
        }
    }
}

/// Says what could not be done when a call fails.
pub(crate) trait Attempt<T> {
    /// `attempt` reads "cannot ...".
    fn attempt(self, attempt: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<Box<dyn Error + Send + Sync>>> Attempt<T> for std::result::Result<T, E> {
    fn attempt(self, attempt: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Failure::Failed {
            attempt: Some(attempt()),
            cause: error.into(),
        })
    }
}

/// The whole chain of causes on one line. A cause that only repeats what was said is left out, and that of a refusal, which
/// says nothing more.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StdoutClosed => f.write_str("nobody reads standard output any more"),
            Self::Usage(text) => f.write_str(&text::printable(text)),
            Self::Failed { attempt, cause } => {
                let mut said = attempt.clone().unwrap_or_default();
                let mut next: Option<&(dyn Error + 'static)> = Some(cause.as_ref());
                while let Some(error) = next {
                    add(&mut said, &in_words_of_the_shell(error.to_string()));
                    next = error.source().filter(|_| !is_refusal(error));
                }
                f.write_str(&text::printable(&said))
            }
        }
    }
}

fn is_refusal(error: &(dyn Error + 'static)) -> bool {
    let inside = || error.downcast_ref().and_then(dotpipe::Error::of);
    let error = error.downcast_ref::<dotpipe::Error>().or_else(inside);
    error.is_some_and(|error| error.kind() == dotpipe::ErrorKind::UnauthorizedAccess)
}

/// How the library's advice to programmers ends, and what it is at a shell.
const ADVICE: &[(&str, &str)] = &[
    ("allow any server user.", "add --any-server-user."),
    (
        "close it, and create it again once the name is free.",
        "start it again once the name is free.",
    ),
    (
        "as the server's get_client_handle_as_string gives it.",
        "as the parent puts it on the command line.",
    ),
];

fn in_words_of_the_shell(text: String) -> String {
    let said = |&(theirs, ours): &(&str, &str)| Some(format!("{}{ours}", text.strip_suffix(theirs)?));
    ADVICE.iter().find_map(said).unwrap_or(text)
}

fn add(said: &mut String, more: &str) {
    let core = more.split(" (os error").next().unwrap_or(more).trim_end_matches('.');
    if said.to_lowercase().contains(&core.to_lowercase()) {
        return;
    }
    if more.starts_with(said.as_str()) {
        more.clone_into(said);
        return;
    }
    if !said.is_empty() {
        // A sentence is followed by its cause in brackets, a phrase by a colon.
        if said.ends_with('.') {
            said.pop();
            *said = format!("{said} ({}).", more.trim_end_matches('.'));
            return;
        }
        said.push_str(": ");
    }
    said.push_str(more);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        let gone = io::Error::from_raw_os_error(2);
        let failure = Err::<(), _>(gone).attempt(|| "cannot start 'x'".into()).unwrap_err();
        assert_eq!(
            failure.to_string(),
            "cannot start 'x': No such file or directory (os error 2)"
        );

        let again = io::Error::new(io::ErrorKind::NotFound, failure.to_string());
        let failure = Err::<(), _>(again).attempt(|| "cannot start 'x'".into()).unwrap_err();
        assert_eq!(failure.to_string().matches("cannot start").count(), 1);
    }

    #[test]
    fn a_repeated_text_is_left_out_whatever_its_number() {
        let mut said = String::from("Permission denied. This happened while creating /p.");
        add(&mut said, "permission denied (os error 13)");
        assert_eq!(said, "Permission denied. This happened while creating /p.");
    }

    #[test]
    fn the_cause_of_a_sentence_stands_in_brackets() {
        let mut said = String::from("Invalid pipe handle.");
        add(&mut said, "Bad file descriptor (os error 9)");
        assert_eq!(said, "Invalid pipe handle (Bad file descriptor (os error 9)).");
    }

    #[test]
    fn a_reader_of_stdout_that_left_is_no_error() {
        let failure = Failure::of_stdout(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(matches!(failure, Failure::StdoutClosed));
        let failure = Failure::of_stdout(io::Error::from(io::ErrorKind::StorageFull));
        assert!(failure.to_string().starts_with("cannot write to standard output: "));
    }
}
