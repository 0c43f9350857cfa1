//! Building for other systems, and running for Windows: a standard library for each target, and a Wine prefix.
//!
//! The compiler is Debian's, since Debian also packages the standard library's source that fits it. The library is built
//! once for each target into `.cache/cross/sysroot`; `.cache/cross/prefix` is the Wine prefix. Both are made under
//! another name and renamed when they are complete, so an interrupted run leaves nothing half done, and both say in a file
//! `made-from` what they were made from, so a change of that makes them anew.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::setup::{Program, cache};
use crate::{Outcome, output, root, run, say};

/// The target whose tests run here, under Wine.
pub(crate) const WINDOWS: &str = "x86_64-pc-windows-gnu";

/// The targets that are only type-checked and linted: there is neither a linker nor a machine for them here.
const CHECKED: [&str; 4] = [
    "aarch64-apple-darwin",
    "x86_64-unknown-freebsd",
    "aarch64-unknown-linux-gnu",
    "x86_64-pc-windows-msvc",
];

/// The packages that are for every system.
const PORTABLE: [&str; 2] = ["dotpipe", "dotpipe-testkit"];

/// Wine 8 lacks this library, which Rust's standard library takes random numbers from.
const MISSING_DLL: &str = "bcryptprimitives.dll";

/// What building for another system takes.
pub(crate) const BUILD_TOOLS: [Program; 3] = [Program::RUSTC, Program::RUST_SOURCE, Program::CLIPPY];

/// What running for Windows takes on top of that.
pub(crate) const WINDOWS_TOOLS: [Program; 4] = [Program::MINGW, Program::WINE, Program::MCS, Program::NPM];

/// Microsoft's runtime for Windows, as an npm package of 27 MB, and the digest of that.
const DOTNET: &str = "dotnet-2.0.0-win@1.0.5";
const DOTNET_DIGEST: &str = "8ab4690ff829bcbbaf962febf6ef50b1bfb719b40a06bb9b2cb3ac3882d05d36";

/// What the peer is compiled against, of the runtime's own.
const REFERENCES: [&str; 9] = [
    "System.Private.CoreLib",
    "System.Console",
    "System.IO.FileSystem",
    "System.IO.Pipes",
    "System.Runtime",
    "System.Runtime.Extensions",
    "System.Security.Principal",
    "System.Text.Encoding.Extensions",
    "System.Threading.Tasks",
];

const RUNTIME_CONFIG: &str = r#"{"runtimeOptions": {
  "framework": {"name": "Microsoft.NETCore.App", "version": "2.0.0"},
  "configProperties": {"System.Globalization.Invariant": true}
}}
"#;

/// Brings what the tests for Windows need up to date.
pub(crate) fn provide_windows() -> Outcome {
    clear_stages()?;
    standard_library(WINDOWS)?;
    prefix()?;
    dotnet()
}

/// Whether [`provide_windows`] has done its work.
pub(crate) fn windows_is_ready() -> bool {
    let made = |place: PathBuf| place.join("made-from").is_file();
    made(prefix_folder()) && made(folder("dotnet")) && made(sysroot().join("lib/rustlib").join(WINDOWS))
}

/// Type-checks and lints the portable packages for the systems that nothing here can run.
pub(crate) fn check_targets() -> Outcome {
    let missing = crate::setup::provide(&[crate::setup::Need::Cross]);
    if !missing.is_empty() {
        return Err(missing.join("\n"));
    }
    for target in CHECKED {
        say(format_args!("checking for {target}"));
        let mut clippy = cargo();
        clippy.args([
            "clippy",
            "--quiet",
            "--locked",
            "--all-targets",
            "--all-features",
            "--target",
            target,
        ]);
        clippy.args(PORTABLE.iter().flat_map(|package| ["-p", package]));
        clippy.args(["--", "-D", "warnings"]);
        run(&mut clippy).map_err(|problem| format!("{target}: {problem}"))?;
    }
    Ok(())
}

/// Brings the standard libraries of the targets that are only checked up to date.
pub(crate) fn provide_checked() -> Outcome {
    clear_stages()?;
    CHECKED.into_iter().try_for_each(standard_library)
}

/// A cargo that builds for another system, with a target folder of its own: its compiler is not the one of other builds.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new("/usr/bin/cargo");
    let programs = sysroot().join("bin");
    command.current_dir(root());
    // rustup's cargo sets these for what it starts; its toolchain must not be mixed in.
    for variable in ["CARGO", "RUSTUP_TOOLCHAIN", "RUSTC_WRAPPER"] {
        command.env_remove(variable);
    }
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("/usr/bin:{path}"));
    command
        .env("RUSTC", programs.join("rustc"))
        .env("RUSTDOC", programs.join("rustdoc"));
    command.env("SYSROOT", sysroot());
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    command.env("CARGO_TARGET_DIR", target.join("cross"));
    command.env("CARGO_TARGET_X86_64_PC_WINDOWS_GNU_LINKER", "x86_64-w64-mingw32-gcc");
    command.env("CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER", "wine");
    wine_environment(&mut command, &prefix_folder());
    // The root of this system is drive Z of Wine's.
    command.env("DOTPIPE_WINDOWS_DOTNET", format!("Z:{}", folder("dotnet").display()));
    command
}

/// Runs Wine's services for as long as the value lives, outside of the tests' folder, so that they are not taken for
/// processes that a test left behind.
pub(crate) struct Services;

impl Services {
    pub(crate) fn start() -> Outcome<Self> {
        let mut server = Command::new("/usr/lib/wine/wineserver");
        wine_environment(&mut server, &prefix_folder());
        // The services keep their standard streams: with pipes for them, a wait for the output's end would not end.
        run(silent(server.arg("--persistent")))?;
        run(silent(wine(&prefix_folder()).args(["cmd", "/c", "exit"])))?;
        Ok(Self)
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        let mut server = Command::new("/usr/lib/wine/wineserver");
        wine_environment(&mut server, &prefix_folder());
        // Ends this prefix's services only.
        if let Err(problem) = output(server.arg("--kill")) {
            say(problem);
        }
    }
}

fn folder(name: &str) -> PathBuf {
    cache().join("cross").join(name)
}

fn sysroot() -> PathBuf {
    folder("sysroot")
}

fn prefix_folder() -> PathBuf {
    folder("prefix")
}

/// Builds the standard library for `target`, if that has not been done for this compiler.
fn standard_library(target: &str) -> Outcome {
    wrappers()?;
    let compiler = output(Command::new("/usr/bin/rustc").arg("-vV"))?;
    let place = sysroot().join("lib/rustlib").join(target);
    if is_made_from(&place, &compiler) {
        return Ok(());
    }
    say(format_args!(
        "set-up: building the standard library for {target} (a minute)"
    ));
    let stage = make_stage()?;
    // A package that uses nothing: what is wanted is what it is built on.
    let package = stage.join("package");
    io(fs::create_dir_all(package.join("src")), "make", &package)?;
    let manifest = "[package]\nname = \"nothing\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n";
    io(fs::write(package.join("Cargo.toml"), manifest), "write into", &package)?;
    io(
        fs::write(package.join("src/lib.rs"), "#![no_std]\n"),
        "write into",
        &package,
    )?;
    let mut build = Command::new("/usr/bin/cargo");
    build
        .current_dir(&package)
        .args(["build", "--quiet", "--release", "--target", target]);
    build.arg("-Zbuild-std=std,panic_abort,panic_unwind,test,proc_macro");
    build
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTC", "/usr/bin/rustc")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "0");
    build.env("CARGO_TARGET_DIR", package.join("target"));
    for variable in [
        "CARGO",
        "RUSTUP_TOOLCHAIN",
        "RUSTC_WRAPPER",
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
    ] {
        build.env_remove(variable);
    }
    output(&mut build)?;
    let made = stage.join("made");
    io(fs::create_dir_all(made.join("lib")), "make", &made)?;
    let built = package.join("target").join(target).join("release/deps");
    for entry in io(fs::read_dir(&built), "list", &built)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".rlib") && !name.starts_with("libnothing") {
            io(
                fs::rename(entry.path(), made.join("lib").join(&name)),
                "move",
                &entry.path(),
            )?;
        }
    }
    finish(&made, &place, &compiler)?;
    remove(&stage)
}

/// Programs that are the compiler's with the sysroot filled in, and in it links to what the compiler has of its own.
fn wrappers() -> Outcome {
    let (programs, own) = (sysroot().join("bin"), sysroot().join("lib/rustlib"));
    io(fs::create_dir_all(&programs), "make", &programs)?;
    io(fs::create_dir_all(&own), "make", &own)?;
    for entry in io(fs::read_dir("/usr/lib/rustlib"), "list", Path::new("/usr/lib/rustlib"))?.flatten() {
        let link = own.join(entry.file_name());
        if fs::symlink_metadata(&link).is_err() {
            io(symlink(entry.path(), &link), "link", &link)?;
        }
    }
    for name in ["rustc", "rustdoc", "clippy-driver"] {
        let text = format!(
            "#!/bin/sh\nexec /usr/bin/{name} --sysroot '{}' \"$@\"\n",
            sysroot().display()
        );
        let (program, new) = (programs.join(name), programs.join(format!("{name}.new")));
        if !fs::read_to_string(&program).is_ok_and(|there| there == text) {
            io(fs::write(&new, text), "write", &new)?;
            io(
                fs::set_permissions(&new, Permissions::from_mode(0o755)),
                "open up",
                &new,
            )?;
            io(fs::rename(&new, &program), "put in place", &program)?;
        }
    }
    Ok(())
}

/// Makes the Wine prefix, if that has not been done for this Wine.
fn prefix() -> Outcome {
    let source = root().join("xtask/wine/bcryptprimitives.c");
    let made_from = output(Command::new("wine").arg("--version"))? + &fs::read_to_string(&source).unwrap_or_default();
    if is_made_from(&prefix_folder(), &made_from) {
        return Ok(());
    }
    say("set-up: making a Wine prefix (700 MB)");
    let stage = make_stage()?;
    let made = stage.join("prefix");
    // Complains of a missing 32-bit part, with an exit status of its own; what counts is whether a program runs below.
    let _ = run(silent(wine(&made).args(["wineboot", "--init"])));
    wait_for_services(&made)?;
    let mut compiler = Command::new("x86_64-w64-mingw32-gcc");
    compiler
        .args(["-O2", "-s", "-shared", "-o"])
        .arg(made.join("drive_c/windows/system32").join(MISSING_DLL));
    output(compiler.arg(&source).arg("-ladvapi32"))?;
    run(silent(wine(&made).args(["winecfg", "-v", "win10"])))?;
    wait_for_services(&made)?;
    finish(&made, &prefix_folder(), &made_from)?;
    remove(&stage)
}

/// Fetches .NET for Windows, compiles the peer program, and runs it once.
fn dotnet() -> Outcome {
    let source = root().join("interop/dotnet/windows.cs");
    let made_from = fs::read_to_string(&source).unwrap_or_default() + DOTNET_DIGEST + RUNTIME_CONFIG;
    if is_made_from(&folder("dotnet"), &made_from) {
        return Ok(());
    }
    say("set-up: fetching .NET for Windows (27 MB) and compiling its peer");
    let stage = make_stage()?;
    let mut npm = Command::new("timeout");
    output(npm.args(["600", "npm", "pack", "--silent", DOTNET]).current_dir(&stage))?;
    let packed = stage.join(DOTNET.replace('@', "-") + ".tgz");
    let digest = output(Command::new("sha256sum").arg(&packed))?;
    if !digest.starts_with(DOTNET_DIGEST) {
        return Err(format!(
            "{} is not what it was: its digest is {digest}",
            packed.display()
        ));
    }
    output(Command::new("tar").arg("-xzf").arg(&packed).arg("-C").arg(&stage))?;
    let made = stage.join("package");
    let framework = made.join("shared/Microsoft.NETCore.App/2.0.0");
    let mut mcs = Command::new("mcs");
    mcs.args(["-nologo", "-nostdlib", "-noconfig", "-warn:0", "-langversion:latest"]);
    mcs.arg(format!("-out:{}", made.join("peer.dll").display()));
    mcs.args(
        REFERENCES
            .iter()
            .map(|name| format!("-r:{}/{name}.dll", framework.display())),
    );
    output(mcs.arg(&source))?;
    let config = made.join("peer.runtimeconfig.json");
    io(fs::write(&config, RUNTIME_CONFIG), "write", &config)?;
    // Without a word of what to do it says so, and ends with a status of its own.
    let mut about = wine(&prefix_folder());
    let said = about
        .arg(made.join("dotnet.exe"))
        .arg(made.join("peer.dll"))
        .arg("about")
        .output();
    let said = said.map_err(|error| format!("cannot start Wine: {error}"))?;
    if said.status.code() != Some(3) {
        return Err(format!(
            ".NET does not run under Wine: {}",
            String::from_utf8_lossy(&said.stdout)
        ));
    }
    finish(&made, &folder("dotnet"), &made_from)?;
    remove(&stage)
}

fn wait_for_services(prefix: &Path) -> Outcome {
    let mut server = Command::new("/usr/lib/wine/wineserver");
    wine_environment(&mut server, prefix);
    output(server.arg("--wait")).map(drop)
}

fn wine(prefix: &Path) -> Command {
    let mut command = Command::new("wine");
    wine_environment(&mut command, prefix);
    command
}

fn silent(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null())
}

/// Without a display, without a debugger that prints a page for a crash, without offers to download Mono and Gecko.
fn wine_environment(command: &mut Command, prefix: &Path) {
    command
        .env("WINEPREFIX", prefix)
        .env("WINEDEBUG", "-all")
        .env_remove("DISPLAY");
    command.env("WINEDLLOVERRIDES", "winedbg.exe=d;mscoree=d;mshtml=d");
}

fn is_made_from(folder: &Path, text: &str) -> bool {
    fs::read_to_string(folder.join("made-from")).is_ok_and(|made_from| made_from == text)
}

fn make_stage() -> Outcome<PathBuf> {
    let stage = folder(&format!("stage-{}", std::process::id()));
    io(fs::create_dir_all(&stage), "make", &stage)?;
    Ok(stage)
}

/// Removes what interrupted runs have left; the set-up's lock is held.
fn clear_stages() -> Outcome {
    for left in fs::read_dir(folder("")).into_iter().flatten().flatten() {
        if left.file_name().to_string_lossy().starts_with("stage-") {
            remove(&left.path())?;
        }
    }
    Ok(())
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
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        result => io(result, "remove", folder),
    }
}

fn io<T>(result: std::io::Result<T>, what: &str, path: &Path) -> Outcome<T> {
    result.map_err(|error| format!("cannot {what} {}: {error}", path.display()))
}
