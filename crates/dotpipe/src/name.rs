//! The names of pipes: one parser for every form, on every system.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::sys;
use crate::text::printable;

/// .NET on Unix puts this before a pipe's name to make a socket's file name.
pub(crate) const SOCKET_PREFIX: &str = "CoreFxPipe_";

/// A pipe's name, split into the machine that it is on and the name there.
///
/// These forms are read, on every system:
///
/// | form | meaning |
/// |---|---|
/// | `testpipe` | a pipe of this machine |
/// | `\\.\pipe\testpipe`, `//./pipe/testpipe` | the same |
/// | `\\HOST\pipe\testpipe`, `//HOST/pipe/testpipe` | a pipe of another machine, or of this one where HOST is its name |
/// | `//HOST:PORT/pipe/testpipe` | the same on a port other than 445 (an extension) |
/// | `/run/app/socket` | Unix only: the path of the socket itself, as .NET reads it |
///
/// The name `anonymous` is reserved in every letter case. Names are case-sensitive on Unix. Source:
/// [Pipe Names](https://learn.microsoft.com/windows/win32/ipc/pipe-names) and dotnet/runtime's `PipeStream.Unix.cs`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PipeName {
    server: Server,
    name: OsString,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Server {
    Local,
    Remote(String),
}

impl PipeName {
    /// Reads a pipe's name in any of its forms.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Argument`](crate::ErrorKind::Argument) for an empty name, [`ErrorKind::ArgumentOutOfRange`](crate::ErrorKind::ArgumentOutOfRange)
    /// for the reserved name `anonymous`, and [`ErrorKind::NotSupported`](crate::ErrorKind::NotSupported) for a name that cannot be a file name.
    pub fn parse(text: impl AsRef<OsStr>) -> Result<Self> {
        let text = text.as_ref();
        match split_unc(text)? {
            Some((server, name)) => Self::with_server(&server, name),
            None => Self::with_server(".", text),
        }
    }

    /// Takes the machine and the name from two texts, as .NET's client constructor does.
    ///
    /// # Errors
    ///
    /// As [`parse`](Self::parse), and [`ErrorKind::Argument`](crate::ErrorKind::Argument) for an empty server name.
    pub fn with_server(server: &str, name: impl AsRef<OsStr>) -> Result<Self> {
        let name = name.as_ref();
        if server.is_empty() {
            return Err(Error::argument(
                "serverName",
                "serverName cannot be an empty string. Use \".\" for current machine.",
            ));
        }
        if name.is_empty() {
            return Err(
                Error::argument("pipeName", "The value cannot be an empty string.").advice("A pipe needs a name.")
            );
        }
        if name.eq_ignore_ascii_case("anonymous") {
            return Err(Error::out_of_range(
                "pipeName",
                "The pipeName \"anonymous\" is reserved.",
            ));
        }
        let server = if server == "." || sys::host_name().is_some_and(|own| own.eq_ignore_ascii_case(server)) {
            Server::Local
        } else {
            Server::Remote(server.to_owned())
        };
        let valid = match server {
            Server::Local => is_file_name_or_rooted(name),
            Server::Remote(_) => is_file_name(name) && name.to_str().is_some(),
        };
        if !valid {
            return Err(Error::not_supported(
                "The name of a pipe on this platform must be a valid file name or a valid absolute path to a file name.",
            )
            .attempted(format!("reading the pipe name '{}'", printable(name)))
            .advice("Leave out '/' and NUL, or give the whole path of a socket."));
        }
        Ok(Self {
            server,
            name: name.to_owned(),
        })
    }

    /// The name on its machine: the part after `\pipe\`, or the rooted path.
    #[must_use]
    pub fn name(&self) -> &OsStr {
        &self.name
    }

    /// The machine: `.` for this one, else its name or address, with `:PORT` if one was given.
    #[must_use]
    pub fn server(&self) -> &str {
        match &self.server {
            Server::Local => ".",
            Server::Remote(host) => host,
        }
    }

    /// Whether the pipe is on another machine.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        self.server != Server::Local
    }

    /// The path of the Unix socket that stands for this pipe: `CoreFxPipe_NAME` in `$TMPDIR` (else `/tmp`), or the rooted name itself.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotSupported`](crate::ErrorKind::NotSupported) for a remote name,
    /// [`ErrorKind::ArgumentOutOfRange`](crate::ErrorKind::ArgumentOutOfRange) for a path of more than 107 bytes (103 on macOS and the BSDs),
    /// the most that the system takes as a socket's address and .NET therefore reaches.
    pub fn socket_path(&self) -> Result<PathBuf> {
        if self.is_remote() {
            return Err(Error::not_supported("Access to remote named pipes is not supported on this platform.")
                .attempted(format!("opening {self}"))
                .advice("This build has no remote feature: pipes of other machines are not in this version. Use the server name \".\" for a pipe of this machine."));
        }
        let path = if is_rooted(&self.name) {
            PathBuf::from(&self.name)
        } else {
            let mut file = OsString::from(SOCKET_PREFIX);
            file.push(&self.name);
            temporary_folder().join(file)
        };
        let longest = sys::LONGEST_SOCKET_PATH;
        if path.as_os_str().len() > longest {
            let text = format!(
                "The path '{}' is of an invalid length for use with domain sockets on this platform. It has {} bytes and may have {longest}.",
                printable(path.as_os_str()),
                path.as_os_str().len()
            );
            return Err(Error::out_of_range("path", text).advice(
                "Take a shorter name, or set TMPDIR to a shorter folder for every process that uses the pipe.",
            ));
        }
        Ok(path)
    }
}

impl fmt::Display for PipeName {
    /// Shows the form `\\SERVER\pipe\NAME`, or a rooted path; control characters are escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = printable(&self.name);
        match &self.server {
            Server::Local if is_rooted(&self.name) => f.write_str(&name),
            _ => write!(f, r"\\{}\pipe\{name}", self.server()),
        }
    }
}

impl std::str::FromStr for PipeName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

/// Splits `\\HOST\pipe\NAME` and `//HOST/pipe/NAME`; `None` if the text has neither shape.
fn split_unc(text: &OsStr) -> Result<Option<(String, &OsStr)>> {
    let bytes = text.as_encoded_bytes();
    let (separator, rest) = match bytes {
        [b'\\', b'\\', rest @ ..] => ('\\', rest),
        [b'/', b'/', rest @ ..] => ('/', rest),
        _ => return Ok(None),
    };
    let mut parts = rest.splitn(3, |&byte| byte == separator as u8);
    let (host, share, name) = (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
        parts.next(),
    );
    match name {
        Some(name) if share.eq_ignore_ascii_case(b"pipe") => {
            let host = std::str::from_utf8(host)
                .map_err(|_| Error::argument("serverName", "The server name is not valid UTF-8."))?;
            // The split was made at an ASCII byte, which is a boundary in every encoding that `OsStr` uses.
            Ok(Some((host.to_owned(), os_str_after(text, text.len() - name.len()))))
        }
        // A path may begin with two slashes on Unix; a name that begins with two backslashes was meant as a UNC name.
        _ if separator == '/' => Ok(None),
        _ => Err(Error::argument(
            "pipeName",
            r"A name that begins with \\ must have the form \\SERVER\pipe\NAME.",
        )
        .attempted(format!("reading the pipe name '{}'", printable(text)))),
    }
}

fn os_str_after(text: &OsStr, start: usize) -> &OsStr {
    sys::os_str_from_bytes(&text.as_encoded_bytes()[start..])
}

fn is_rooted(name: &OsStr) -> bool {
    name.as_encoded_bytes().first() == Some(&b'/')
}

fn is_file_name(name: &OsStr) -> bool {
    !name.as_encoded_bytes().iter().any(|&byte| byte == b'/' || byte == 0)
}

fn is_file_name_or_rooted(name: &OsStr) -> bool {
    let bytes = name.as_encoded_bytes();
    if is_rooted(name) {
        !bytes.contains(&0) && bytes.last() != Some(&b'/')
    } else {
        is_file_name(name)
    }
}

/// Where .NET's `Path.GetTempPath` points: `$TMPDIR`, unchecked, else `/tmp`.
pub(crate) fn temporary_folder() -> PathBuf {
    std::env::var_os("TMPDIR")
        .filter(|folder| !folder.is_empty())
        .map_or_else(|| PathBuf::from("/tmp"), PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn parts(text: &str) -> (String, String) {
        let name = PipeName::parse(text).unwrap();
        (name.server().to_owned(), name.name().to_str().unwrap().to_owned())
    }

    #[test]
    fn reads_every_form() {
        for text in [
            "testpipe",
            r"\\.\pipe\testpipe",
            "//./pipe/testpipe",
            r"\\.\PIPE\testpipe",
        ] {
            assert_eq!(parts(text), (".".into(), "testpipe".into()), "{text}");
        }
        assert_eq!(parts(r"\\HOST\pipe\NAME"), ("HOST".into(), "NAME".into()));
        assert_eq!(parts("//HOST:4450/pipe/NAME"), ("HOST:4450".into(), "NAME".into()));
        assert_eq!(parts("/run/app/socket"), (".".into(), "/run/app/socket".into()));
        assert_eq!(parts("//tmp/socket"), (".".into(), "//tmp/socket".into()));
        assert_eq!(parts(r"\\.\pipe\a\b"), (".".into(), r"a\b".into()));
    }

    #[test]
    fn own_host_name_is_this_machine() {
        let own = sys::host_name().unwrap();
        assert!(!PipeName::with_server(&own, "p").unwrap().is_remote());
        assert!(PipeName::with_server("localhost", "p").unwrap().is_remote());
    }

    #[test]
    fn refuses_what_no_system_could_open() {
        let kind = |text: &str| PipeName::parse(text).unwrap_err().kind();
        assert_eq!(kind(""), ErrorKind::Argument);
        assert_eq!(kind(r"\\.\pipe\"), ErrorKind::Argument);
        assert_eq!(kind(r"\\\pipe\x"), ErrorKind::Argument);
        assert_eq!(kind(r"\\host\share"), ErrorKind::Argument);
        assert_eq!(kind("aNonymous"), ErrorKind::ArgumentOutOfRange);
        for text in ["a/b", "a\0b", "/tmp/x/", "/", "\0", "//./pipe/a/b"] {
            assert_eq!(kind(text), ErrorKind::NotSupported, "{text:?}");
        }
    }

    #[test]
    fn remote_names_say_what_is_missing() {
        let error = PipeName::parse(r"\\HOST\pipe\x").unwrap().socket_path().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotSupported);
        assert!(
            error
                .to_string()
                .contains("This build has no remote feature: pipes of other machines are not in this version."),
            "{error}"
        );
    }

    #[test]
    fn shows_names_without_control_characters() {
        assert_eq!(
            PipeName::parse("a\nb\u{1b}[1m\u{202e}").unwrap().to_string(),
            r"\\.\pipe\a\u{a}b\u{1b}[1m\u{202e}"
        );
        assert_eq!(PipeName::parse("/run/x").unwrap().to_string(), "/run/x");
        assert_eq!(PipeName::parse("//srv/pipe/x").unwrap().to_string(), r"\\srv\pipe\x");
    }

    #[test]
    fn a_path_ends_at_the_systems_limit() {
        let longest = "/".to_owned() + &"x".repeat(sys::LONGEST_SOCKET_PATH - 1);
        assert!(PipeName::parse(&longest).unwrap().socket_path().is_ok());
        let error = PipeName::parse(longest + "x").unwrap().socket_path().unwrap_err();
        assert_eq!(
            (error.kind(), error.parameter()),
            (ErrorKind::ArgumentOutOfRange, Some("path"))
        );
    }
}
