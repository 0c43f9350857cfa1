//! Names that a shell has bitten: `\\.\pipe\testpipe` without quotes arrives as `\.pipetestpipe`.

use std::ffi::OsStr;

use crate::failure::{Failure, Result};

/// Refuses a name that is the rest of a UNC name whose backslashes the shell has taken.
///
/// Such a text could be a name as it stands, but nobody types one: a single backslash comes first.
pub(crate) fn check(name: &OsStr) -> Result<()> {
    let Some(meant) = name.to_str().and_then(unmangled) else {
        return Ok(());
    };
    Err(Failure::Usage(format!(
        "the shell has taken backslashes out of this pipe name; only '{}' has arrived.\n\
         Quote it: '{meant}'\n\
         or write: {}",
        name.display(),
        meant.replace('\\', "/"),
    )))
}

/// The UNC name that `name` was before the shell read it, if it looks like that.
///
/// Without quotes every backslash goes with the letter behind it (`\\.\pipe\x` becomes `\.pipex`); in double quotes
/// only the first pair becomes one (`\.\pipe\x`).
fn unmangled(name: &str) -> Option<String> {
    let rest = name.strip_prefix('\\').filter(|rest| !rest.starts_with('\\'))?;
    if let Some((host, rest)) = rest.split_once('\\') {
        let pipe = rest.strip_prefix("pipe\\")?;
        return is_host(host).then(|| format!(r"\\{host}\pipe\{pipe}"));
    }
    if let Some(host) = rest.strip_suffix("ipc$") {
        return is_host(host).then(|| format!(r"\\{host}\ipc$"));
    }
    let (host, pipe) = rest.split_once("pipe")?;
    (is_host(host) && !pipe.is_empty()).then(|| format!(r"\\{host}\pipe\{pipe}"))
}

fn is_host(text: &str) -> bool {
    !text.is_empty()
        && text
            .chars()
            .all(|letter| letter.is_alphanumeric() || ".-:_[]%".contains(letter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_shell_makes_of_a_unc_name_is_recognised() {
        for (arrived, meant) in [
            (r"\.pipetestpipe", r"\\.\pipe\testpipe"),
            (r"\.\pipe\testpipe", r"\\.\pipe\testpipe"),
            (r"\192.168.2.51pipetestpipe", r"\\192.168.2.51\pipe\testpipe"),
            (r"\192.168.2.51ipc$", r"\\192.168.2.51\ipc$"),
            (r"\server\pipe\a b", r"\\server\pipe\a b"),
        ] {
            assert_eq!(unmangled(arrived).as_deref(), Some(meant), "{arrived}");
        }
    }

    #[test]
    fn other_names_are_left_alone() {
        for name in [
            "testpipe",
            r"\\.\pipe\testpipe",
            "//./pipe/x",
            "/tmp/socket",
            r"a\b",
            r"\x",
            r"\.pipe",
            "",
        ] {
            assert_eq!(unmangled(name), None, "{name}");
            assert!(check(OsStr::new(name)).is_ok());
        }
    }

    #[test]
    fn the_text_says_what_to_type() {
        let text = check(OsStr::new(r"\.pipetestpipe")).unwrap_err().to_string();
        assert!(
            text.contains(r"'\\.\pipe\testpipe'") && text.contains("//./pipe/testpipe"),
            "{text}"
        );
    }
}
