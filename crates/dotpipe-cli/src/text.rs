//! What is said to people: status lines on stderr, the words of `chat` on stdout, and texts of strangers made harmless.

use std::io::{self, Write};

use dotpipe::NamedPipeServerStream;

use crate::failure::{Failure, Result};

/// A stranger's text as [`dotpipe::printable`] shows it, except that a tab and a line feed stay.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for piece in text.split_inclusive(['\t', '\n']) {
        let words = piece.trim_end_matches(['\t', '\n']);
        shown.push_str(&dotpipe::printable(words.as_ref()));
        shown.push_str(&piece[words.len()..]);
    }
    shown
}

/// One status line on stderr. It is one write, so that lines of several threads do not mix; nobody may be there to read it.
pub(crate) fn status(line: &str) {
    let mut line = printable(line).replace('\n', "\\n");
    line.push('\n');
    let _ = io::stderr().write_all(line.as_bytes());
}

/// A failure that does not end the program, in the form of the one that would.
pub(crate) fn complain(failure: &Failure) {
    let _ = io::stderr().write_all(format!("dotpipe: {failure}\n").as_bytes());
}

/// Text on stdout, at once.
pub(crate) fn say(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(Failure::of_stdout)
}

/// The user at the other end, in words that a status line can show.
pub(crate) fn user_of(server: &NamedPipeServerStream) -> String {
    match server.get_impersonation_user_name() {
        Ok(name) => printable(&name),
        // The user database cannot be asked; the client is welcome all the same.
        Err(_) => "unknown user".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_shown_instead() {
        assert_eq!(
            printable("a\u{1b}[2Jb\r\u{7f}\u{9b}"),
            "a\\u{1b}[2Jb\\u{d}\\u{7f}\\u{9b}"
        );
        assert_eq!(printable("gnp.\u{202e}exe"), "gnp.\\u{202e}exe");
        assert_eq!(printable("zero\u{200b}width\u{feff}"), "zero\\u{200b}width\\u{feff}");
    }

    #[test]
    fn ordinary_text_stays() {
        assert_eq!(
            printable("tab\there, Grüße, 日本, \\.\\pipe\\x\n\n\tend"),
            "tab\there, Grüße, 日本, \\.\\pipe\\x\n\n\tend"
        );
    }
}
