//! What the tests need from outside, and how it gets there.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;

use crate::{Outcome, dotnet, output, root, say};

/// Something that tests need.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// A program on the PATH, from a Debian package.
    Program(Program),
    /// Two .NET runtimes and the peer program for them, in `.cache/dotnet`.
    Dotnet,
}

impl Need {
    pub(crate) const NODE: Self = Self::Program(Program::NODE);
    pub(crate) const PYTHON: Self = Self::Program(Program::PYTHON);
    pub(crate) const SOCAT: Self = Self::Program(Program::SOCAT);
    pub(crate) const STRACE: Self = Self::Program(Program::STRACE);
}

/// A program and the Debian package that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Program {
    /// The word by which people know it.
    name: &'static str,
    /// A command that ends with status 0 exactly when the program is there and works.
    probe: &'static [&'static str],
    /// The package.
    package: &'static str,
}

impl Program {
    pub(crate) const MCS: Self = Self {
        name: "mcs (a C# compiler)",
        probe: &["mcs", "--version"],
        package: "mono-mcs",
    };
    const NODE: Self = Self {
        name: "Node",
        probe: &["node", "--version"],
        package: "nodejs",
    };
    pub(crate) const PIP: Self = Self {
        name: "pip",
        probe: &["python3", "-m", "pip", "--version"],
        package: "python3-pip",
    };
    pub(crate) const PYTHON: Self = Self {
        name: "Python",
        probe: &["python3", "--version"],
        package: "python3",
    };
    const SOCAT: Self = Self {
        name: "socat",
        probe: &["socat", "-V"],
        package: "socat",
    };
    const STRACE: Self = Self {
        name: "strace",
        probe: &["strace", "--version"],
        package: "strace",
    };

    fn is_here(self) -> bool {
        output(Command::new(self.probe[0]).args(&self.probe[1..])).is_ok()
    }
}

/// Installs what is missing of `needs`. Returns what is missing all the same, each with the reason.
pub(crate) fn provide(needs: &[Need]) -> Vec<String> {
    if needs.is_empty() {
        return Vec::new();
    }
    // Two runs at once would unpack over each other.
    let _lock = match lock() {
        Ok(lock) => lock,
        Err(problem) => return vec![problem],
    };
    let mut programs = Vec::new();
    for need in needs {
        match need {
            Need::Program(program) => programs.push(*program),
            Need::Dotnet => programs.extend(dotnet::tools()),
        }
    }
    let mut missing = install(&programs);
    if needs.contains(&Need::Dotnet) {
        missing.extend(
            dotnet::provide()
                .err()
                .map(|problem| format!("set-up: .NET is missing: {problem}")),
        );
    }
    missing
}

/// The folder for what is downloaded and built once, ignored by git.
pub(crate) fn cache() -> PathBuf {
    root().join(".cache")
}

fn lock() -> Outcome<File> {
    let path = cache().join("lock");
    let take = || {
        fs::create_dir_all(cache())?;
        let file = File::create(&path)?;
        if file.try_lock().is_err() {
            say("set-up: waiting for another run's set-up to end");
            file.lock()?;
        }
        Ok(file)
    };
    take().map_err(|error: std::io::Error| format!("cannot lock {} for the set-up: {error}", path.display()))
}

/// Installs those of `programs` that are not here, by one call of apt-get, and says which are still missing.
fn install(programs: &[Program]) -> Vec<String> {
    let mut wanted: Vec<Program> = Vec::new();
    for program in programs {
        if !wanted.contains(program) && !program.is_here() {
            wanted.push(*program);
        }
    }
    if wanted.is_empty() {
        return Vec::new();
    }
    let packages: Vec<_> = wanted.iter().map(|program| program.package).collect();
    say(format_args!("set-up: installing {}", packages.join(", ")));
    let reason = match apt_get(&packages) {
        Ok(()) => "it does not work although its package is installed".to_owned(),
        Err(problem) => problem,
    };
    wanted.retain(|program| !program.is_here());
    let describe = |program: &Program| {
        let Program { name, package, .. } = program;
        format!("set-up: {name}, of the package {package}, is missing: {reason}")
    };
    wanted.iter().map(describe).collect()
}

fn apt_get(packages: &[&str]) -> Outcome {
    let sudo: &[&str] = if output(Command::new("id").arg("-u"))? == "0" {
        &[]
    } else if output(Command::new("sudo").args(["-n", "true"])).is_ok() {
        &["sudo", "-n"]
    } else {
        return Err("only root can install it, and sudo is not here or asks for a password".into());
    };
    output(Command::new("apt-get").arg("--version"))
        .map_err(|_| "there is no apt-get here to install it with".to_owned())?;
    let apt = |time_limit: &[&str], arguments: &[&str]| {
        let options = ["-q", "-y", "-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=3"];
        let network = ["-o", "Acquire::http::Timeout=30", "-o", "Acquire::https::Timeout=30"];
        let words = [
            sudo,
            time_limit,
            &["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"],
            &options,
            &network,
        ];
        let words: Vec<_> = words.concat().into_iter().chain(arguments.iter().copied()).collect();
        output(Command::new(words[0]).args(&words[1..])).map(drop)
    };
    // What uses the network may be killed at any time; the installation itself may not.
    let limit = ["timeout", "900"];
    let install = ["install", "--no-install-recommends"];
    apt(&limit, &["update"])?;
    apt(&limit, &[&install, &["--download-only"][..], packages].concat())?;
    apt(&[], &[&install, packages].concat())
}
