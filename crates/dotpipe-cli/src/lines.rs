//! Lines over a pipe, as .NET's StreamReader and StreamWriter read and write them.

use std::io::{self, BufRead, BufReader, Read, Write};

/// No honest line is longer, and a stranger's shall not fill the memory.
const LONGEST: u64 = 1 << 20;

/// Reads lines that end in LF or CRLF. Bytes that are not UTF-8 become U+FFFD, and a byte order mark before the first
/// line is dropped, as StreamReader does.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    reader: BufReader<R>,
    at_start: bool,
}

impl<R: Read> Lines<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self {
            reader: BufReader::new(reader),
            at_start: true,
        }
    }

    /// The next line without its end, or `None` at the end of the stream.
    pub(crate) fn next(&mut self) -> io::Result<Option<String>> {
        let mut bytes = Vec::new();
        let length = (&mut self.reader).take(LONGEST).read_until(b'\n', &mut bytes)?;
        if length == 0 {
            return Ok(None);
        }
        if bytes.pop_if(|last| *last == b'\n').is_some() {
            bytes.pop_if(|last| *last == b'\r');
        } else if bytes.len() as u64 == LONGEST {
            let text = format!("a line of more than {LONGEST} bytes came over the pipe");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let text = String::from_utf8_lossy(&bytes);
        let text = if self.at_start {
            text.strip_prefix('\u{feff}').unwrap_or(&text)
        } else {
            &text
        };
        self.at_start = false;
        Ok(Some(text.to_owned()))
    }
}

/// Writes one line at once, as a StreamWriter with AutoFlush does.
pub(crate) fn write_line(mut writer: impl Write, text: &str) -> io::Result<()> {
    writer.write_all(format!("{text}\n").as_bytes())
}

/// Whether the failure only says that the other side has gone.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8]) -> Vec<String> {
        let mut lines = Lines::new(bytes);
        std::iter::from_fn(|| lines.next().unwrap()).collect()
    }

    #[test]
    fn both_line_ends_and_a_last_line_without_one() {
        assert_eq!(all(b"a\r\nb\n\nc\r"), ["a", "b", "", "c\r"]);
        assert!(all(b"").is_empty());
    }

    #[test]
    fn a_byte_order_mark_counts_only_at_the_start() {
        assert_eq!(all(b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n"), ["a", "\u{feff}b"]);
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        assert_eq!(all(b"a\xffb\n"), ["a\u{fffd}b"]);
    }

    #[test]
    fn an_endless_line_is_refused() {
        let mut lines = Lines::new(io::repeat(b'x'));
        assert_eq!(lines.next().unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
