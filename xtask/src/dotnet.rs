//! Real .NET for the interop tests: two runtimes by pip's downloads, and the peer program, compiled here.
//!
//! `.cache/dotnet/3.1/dotnet`, `.cache/dotnet/8/dotnet` and `.cache/dotnet/peer/peer.exe` are where `interop` looks.
//! Every folder is made under another name and renamed when it is complete, so an interrupted run leaves nothing half
//! done; a file `made-from` in it holds what it was made from, so a change of that makes it anew.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::setup::{Program, cache};
use crate::{Outcome, output, root, say};

/// A runtime's folder in the cache, its folder in the unpacked wheels, and the version that it must report.
struct Runtime {
    name: &'static str,
    unpacked: &'static str,
    version: &'static str,
}

const RUNTIMES: [Runtime; 2] = [
    Runtime {
        name: "3.1",
        unpacked: "dotnetcore2/bin",
        version: "3.1.23",
    },
    Runtime {
        name: "8",
        unpacked: "dnv/net/runtime/.net",
        version: "8.0.4",
    },
];

/// What the peer is compiled against. The oldest runtime's own assemblies: the result then runs on all newer ones.
const REFERENCES: &[&str] = &[
    "System.Private.CoreLib",
    "System.Collections",
    "System.ComponentModel.Primitives",
    "System.Console",
    "System.Diagnostics.Process",
    "System.IO.FileSystem",
    "System.IO.Pipes",
    "System.Runtime",
    "System.Runtime.Extensions",
    "System.Runtime.InteropServices",
    "System.Runtime.InteropServices.RuntimeInformation",
    "System.Security.Principal",
    "System.Security.Principal.Windows",
    "System.Threading",
    "System.Threading.Thread",
];

const RUNTIME_CONFIG: &str = r#"{"runtimeOptions": {
  "tfm": "netcoreapp3.1", "rollForward": "LatestMajor",
  "framework": {"name": "Microsoft.NETCore.App", "version": "3.1.0"},
  "configProperties": {"System.Globalization.Invariant": true}
}}
"#;

/// The programs that [`provide`] will use; none if everything is there already.
pub(crate) fn tools() -> Vec<Program> {
    let mut tools = Vec::new();
    if RUNTIMES
        .iter()
        .any(|runtime| !is_made_from(&folder(runtime.name), &requirements()))
    {
        tools.extend([Program::PYTHON, Program::PIP]);
    }
    if !is_made_from(&folder("peer"), &peer_source()) {
        tools.push(Program::MCS);
    }
    tools
}

/// Brings runtimes and peer up to date.
pub(crate) fn provide() -> Outcome {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Err("the runtimes that the tests use exist for Linux on x86-64 only".into());
    }
    for left in fs::read_dir(folder("")).into_iter().flatten().flatten() {
        if left.file_name().to_string_lossy().starts_with("stage-") {
            remove(&left.path())?;
        }
    }
    if RUNTIMES
        .iter()
        .any(|runtime| !is_made_from(&folder(runtime.name), &requirements()))
    {
        runtimes()?;
    }
    if !is_made_from(&folder("peer"), &peer_source()) {
        peer()?;
    }
    Ok(())
}

/// Downloads and unpacks the runtimes.
fn runtimes() -> Outcome {
    say("set-up: downloading .NET 3.1 and .NET 8 (62 MB)");
    let stage = make_stage()?;
    let unpacked = stage.join("unpacked");
    let mut pip = Command::new("timeout");
    pip.args([
        "900",
        "python3",
        "-m",
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
    ]);
    pip.args([
        "--timeout",
        "30",
        "--retries",
        "5",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--require-hashes",
    ]);
    pip.arg("--dest")
        .arg(stage.join("wheels"))
        .arg("--requirement")
        .arg(source("requirements.txt"));
    output(&mut pip)?;
    say("set-up: unpacking");
    for wheel in io(fs::read_dir(stage.join("wheels")), "list", &stage)?.flatten() {
        output(
            Command::new("python3")
                .args(["-m", "zipfile", "-e"])
                .arg(wheel.path())
                .arg(&unpacked),
        )?;
    }
    for runtime in RUNTIMES {
        let from = unpacked.join(runtime.unpacked);
        // The zip module drops the mode bits.
        output(Command::new("chmod").arg("+x").arg(from.join("dotnet")))?;
        finish(&from, &folder(runtime.name), &requirements())?;
    }
    remove(&stage)
}

/// Compiles the peer and has each runtime run it once.
fn peer() -> Outcome {
    say("set-up: compiling the .NET peer");
    let stage = make_stage()?;
    let framework = folder("3.1")
        .join("shared/Microsoft.NETCore.App")
        .join(RUNTIMES[0].version);
    let mut mcs = Command::new("mcs");
    // -warn:0 for CS1702, which says of every system assembly that its version differs from the core library's.
    mcs.args(["-nologo", "-nostdlib", "-noconfig", "-warn:0", "-langversion:latest"]);
    mcs.arg(format!("-out:{}", stage.join("peer.exe").display()));
    mcs.args(
        REFERENCES
            .iter()
            .map(|name| format!("-r:{}/{name}.dll", framework.display())),
    );
    output(mcs.arg(source("peer.cs")))?;
    let config = stage.join("peer.runtimeconfig.json");
    io(fs::write(&config, RUNTIME_CONFIG), "write", &config)?;
    for runtime in RUNTIMES {
        let mut about = Command::new(folder(runtime.name).join("dotnet"));
        about.arg(stage.join("peer.exe")).arg("about");
        about.envs([("DOTNET_EnableDiagnostics", "0"), ("COMPlus_EnableDiagnostics", "0")]);
        let said = output(&mut about)?;
        if !said.ends_with(runtime.version) {
            return Err(format!(
                "`{}` says '{said}' instead of {}",
                crate::line(&about),
                runtime.version
            ));
        }
    }
    finish(&stage, &folder("peer"), &peer_source())
}

fn folder(name: &str) -> PathBuf {
    cache().join("dotnet").join(name)
}

fn source(name: &str) -> PathBuf {
    root().join("interop/dotnet").join(name)
}

fn requirements() -> String {
    fs::read_to_string(source("requirements.txt")).unwrap_or_default()
}

/// The peer depends on its source and on the runtimes that it is compiled against.
fn peer_source() -> String {
    fs::read_to_string(source("peer.cs")).unwrap_or_default() + &requirements() + RUNTIME_CONFIG + &REFERENCES.join(" ")
}

fn is_made_from(folder: &Path, text: &str) -> bool {
    fs::read_to_string(folder.join("made-from")).is_ok_and(|made_from| made_from == text)
}

fn make_stage() -> Outcome<PathBuf> {
    let stage = folder(&format!("stage-{}", std::process::id()));
    io(fs::create_dir_all(&stage), "make", &stage)?;
    Ok(stage)
}

/// Makes the complete folder `stage` the folder `place`.
fn finish(stage: &Path, place: &Path, made_from: &str) -> Outcome {
    io(
        fs::write(stage.join("made-from"), made_from),
        "write a note into",
        stage,
    )?;
    remove(place)?;
    io(fs::rename(stage, place), "put in place", place)
}

fn remove(folder: &Path) -> Outcome {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => io(result, "remove", folder),
    }
}

fn io<T>(result: std::io::Result<T>, what: &str, path: &Path) -> Outcome<T> {
    result.map_err(|error| format!("cannot {what} {}: {error}", path.display()))
}
