//! Finding and starting the programs on the other side.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use dotpipe_testkit::skip;

/// The runtimes that [`dotnet`] knows.
pub const DOTNET_VERSIONS: [&str; 2] = ["3.1", "8"];

/// A program that speaks the peers' common command line (`dotnet/peer.cs` describes it).
#[derive(Clone, Debug)]
pub struct Peer {
    program: PathBuf,
    arguments: Vec<OsString>,
    takes_names: bool,
}

impl Peer {
    /// The command for a server of the pipe `name` in `folder`. Add options, then start it.
    pub fn server(&self, folder: &Path, name: &str) -> Command {
        self.named("named-server", folder, name)
    }

    /// The command for a client of the pipe `name` in `folder`. Add options, then start it.
    pub fn client(&self, folder: &Path, name: &str) -> Command {
        self.named("named-client", folder, name)
    }

    /// The command alone, with `folder` as its `TMPDIR` and without any of the peer's words.
    pub fn command(&self, folder: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).env("TMPDIR", folder);
        // COMPlus_ is what 3.1 calls it. Without it each process leaves a socket of its own in TMPDIR when killed.
        command.envs([("DOTNET_EnableDiagnostics", "0"), ("COMPlus_EnableDiagnostics", "0")]);
        command.env("DOTNET_CLI_TELEMETRY_OPTOUT", "1");
        command
    }

    fn named(&self, role: &str, folder: &Path, name: &str) -> Command {
        let mut command = self.command(folder);
        command.arg(role);
        // .NET gets the bare name, so that its own rule of TMPDIR and prefix is under test; the others know sockets.
        if self.takes_names {
            command.arg(name)
        } else {
            command.arg(socket_path(folder, name))
        };
        command
    }
}

/// The socket of the pipe `name` for processes whose `TMPDIR` is `folder`. As a rooted name it is the pipe's name in
/// any process.
pub(crate) fn socket_path(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("CoreFxPipe_{name}"))
}

/// The peer program on the .NET runtime `version`, one of [`DOTNET_VERSIONS`]; a skip and `None` if it is not here.
pub fn dotnet(version: &str) -> Option<Peer> {
    let cache = here().join("../.cache/dotnet");
    let (program, peer) = (cache.join(version).join("dotnet"), cache.join("peer/peer.exe"));
    if !program.is_file() || !peer.is_file() {
        skip(
            &format!(".NET {version}"),
            "not set up; `cargo xtask test interop` does it",
        );
        return None;
    }
    Some(Peer {
        program,
        arguments: vec![peer.into()],
        takes_names: true,
    })
}

/// The Python peer; a skip and `None` if there is no Python.
pub fn python() -> Option<Peer> {
    script("Python", "python3", "--version", "python/peer.py")
}

/// The Node peer; a skip and `None` if there is no Node.
pub fn node() -> Option<Peer> {
    script("Node", "node", "--version", "node/peer.js")
}

/// socat, which has its own words; a skip and `None` if it is not here.
pub fn socat() -> Option<Command> {
    program("socat", "socat", "-V").then(|| Command::new("socat"))
}

/// The folder `interop`. By cargo's word at run time, as the project may have been moved with what was built in it.
fn here() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR")
        .unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into())
        .into()
}

fn script(name: &str, interpreter: &str, probe: &str, file: &str) -> Option<Peer> {
    let script = here().join(file);
    program(name, interpreter, probe).then(|| Peer {
        program: interpreter.into(),
        arguments: vec![script.into()],
        takes_names: false,
    })
}

fn program(name: &str, program: &str, probe: &str) -> bool {
    let mut command = Command::new(program);
    let status = command
        .arg(probe)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match status {
        Ok(status) if status.success() => return true,
        Ok(status) => skip(name, &format!("`{program} {probe}` ended with {status}")),
        Err(error) => skip(name, &format!("`{program} {probe}` cannot be started: {error}")),
    }
    false
}
