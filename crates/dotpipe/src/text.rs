//! Texts for people.

use std::ffi::OsStr;

/// A text for people: control characters and bytes that are no UTF-8 are escaped, so that a stranger's name cannot steer a terminal.
pub(crate) fn printable(text: &OsStr) -> String {
    let mut shown = String::with_capacity(text.len());
    for chunk in text.as_encoded_bytes().utf8_chunks() {
        for letter in chunk.valid().chars() {
            // Marks that reorder or hide text are no control characters by class, but deceive all the same.
            let deceives = matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
            if letter.is_control() || deceives {
                shown.extend(letter.escape_unicode());
            } else {
                shown.push(letter);
            }
        }
        for byte in chunk.invalid() {
            shown.push_str(&format!("\\x{byte:02x}"));
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_steer_a_terminal_is_escaped() {
        assert_eq!(printable(OsStr::new("über a b")), "über a b");
        assert_eq!(
            printable(OsStr::new("\r\u{1b}]0;x\u{7}\u{9b}")),
            r"\u{d}\u{1b}]0;x\u{7}\u{9b}"
        );
        assert_eq!(printable(OsStr::new("a\u{202e}b\u{200b}")), r"a\u{202e}b\u{200b}");
    }

    #[cfg(unix)]
    #[test]
    fn bytes_that_are_no_text_are_escaped() {
        use std::os::unix::ffi::OsStrExt;
        assert_eq!(printable(OsStr::from_bytes(b"a\xff\xfeb")), r"a\xff\xfeb");
    }
}
