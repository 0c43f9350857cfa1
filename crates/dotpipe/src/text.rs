//! Texts for people.

use std::ffi::OsStr;

/// A text from strangers (a name, a path, a user's words), made fit for a terminal, a log and a line of its own.
///
/// What could steer a terminal or deceive a reader is shown instead of obeyed: control characters (C0, with tab and line
/// feed, DEL and C1) and the marks that hide text, break lines or turn the direction of writing around (U+061C,
/// U+200B to U+200F, U+2028 to U+202E, U+2066 to U+2069, U+FEFF) become `\u{1b}`, their number in hexadecimal digits; each
/// byte that is no UTF-8 becomes `\xff`. All else stays, the backslash too: the result is to be read, not to be read back.
///
/// ```
/// assert_eq!(dotpipe::printable("grüße \u{1b}[2J".as_ref()), r"grüße \u{1b}[2J");
/// ```
#[must_use]
pub fn printable(text: &OsStr) -> String {
    let mut shown = String::with_capacity(text.len());
    for chunk in text.as_encoded_bytes().utf8_chunks() {
        for letter in chunk.valid().chars() {
            if letter.is_control() || deceives(letter) {
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

/// Marks that reorder or hide text are no control characters by class.
fn deceives(letter: char) -> bool {
    matches!(letter, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn what_could_steer_a_terminal_is_escaped() {
        assert_eq!(printable(OsStr::new("über a b")), "über a b");
        assert_eq!(
            printable(OsStr::new("\r\u{1b}]0;x\u{7}\u{9b}")),
            r"\u{d}\u{1b}]0;x\u{7}\u{9b}"
        );
        assert_eq!(printable(OsStr::new("a\u{202e}b\u{200b}")), r"a\u{202e}b\u{200b}");
        assert_eq!(printable(OsStr::from_bytes(b"a\xff\xfeb")), r"a\xff\xfeb");
    }

    #[test]
    fn every_mark_is_escaped_and_its_neighbours_are_not() {
        let marks = [
            0..=0x1f,
            0x7f..=0x9f,
            0x61c..=0x61c,
            0x200b..=0x200f,
            0x2028..=0x202e,
            0x2066..=0x2069,
            0xfeff..=0xfeff,
        ];
        for letter in '\0'..='\u{10000}' {
            let text = letter.to_string();
            let escaped = printable(text.as_ref()) != text;
            let is_mark = marks.iter().any(|marks| marks.contains(&u32::from(letter)));
            assert_eq!(escaped, is_mark, "{}", letter.escape_unicode());
        }
    }
}
