//! `cargo xtask test`: set up, build, run, look for what was left behind, and sum up.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::groups::{Group, MODELLED};
use crate::{Outcome, cargo, left_overs, run, say, setup};

/// What a missing component is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Skips {
    /// A reason to skip the tests that need it, and to say so.
    Allowed,
    /// A failure, as in CI.
    AreFailures,
}

/// Installs what `groups` need and runs their tests. All of them run even if some fail.
pub(crate) fn test(groups: &[&Group], skips: Skips) -> Outcome {
    let mut summary = Summary::default();
    let needs: Vec<_> = groups.iter().flat_map(|group| group.needs.iter().copied()).collect();
    for missing in setup::provide(&needs) {
        match skips {
            Skips::Allowed => summary.skipped.push(missing),
            Skips::AreFailures => summary.failures.push(missing),
        }
    }

    // Built first and outside the tests' folder, so that a compiler's helpers are not taken for left-overs.
    let all: Vec<_> = groups.iter().flat_map(|group| group.packages).collect();
    say("building the tests");
    run(cargo()
        .args(["test", "--locked", "--no-run"])
        .args(all.iter().flat_map(|package| ["-p", package])))
    .map_err(|problem| format!("the tests do not build: {problem}"))?;

    let folder = RunFolder::make()?;
    for group in groups {
        say(format_args!("{}: {}", group.name, group.about));
        let start = Instant::now();
        let mut command = cargo();
        command.args(["test", "--locked", "--no-fail-fast"]);
        command.args(group.packages.iter().flat_map(|package| ["-p", package]));
        command.args(group.part.iter().flat_map(|part| ["--test", part]));
        command
            .env("TMPDIR", folder.temporary())
            .env("DOTPIPE_SKIP_LOG", folder.skip_log());
        command.env("DOTPIPE_NO_SKIP", if skips == Skips::AreFailures { "1" } else { "" });
        let outcome = run(&mut command).and_then(|()| {
            let modelled = group.packages.iter().filter(|package| MODELLED.contains(package));
            modelled.copied().try_for_each(models)
        });
        let seconds = start.elapsed().as_secs_f64();
        summary.lines.push(match &outcome {
            Ok(()) => format!("{:<11} ok      {seconds:6.1} s", group.name),
            Err(_) => format!("{:<11} FAILED  {seconds:6.1} s", group.name),
        });
        if let Err(problem) = outcome {
            summary.failures.push(format!("{}: {problem}", group.name));
        }
        let left = left_overs::find_and_remove(&folder.temporary());
        summary.failures.extend(
            left.into_iter()
                .map(|what| format!("{}: left behind: {what}", group.name)),
        );
    }
    if let Ok(log) = fs::read_to_string(folder.skip_log()) {
        summary.skipped.extend(log.lines().map(str::to_owned));
    }
    drop(folder);
    summary.print()
}

/// Runs a package's models: the code built for loom, in a target folder of its own so that nothing else is built again.
fn models(package: &str) -> Outcome {
    let mut flags = std::env::var("RUSTFLAGS").unwrap_or_default();
    flags += " --cfg loom";
    run(cargo()
        .args(["test", "--locked", "--release", "-p", package, "--test", "loom"])
        .arg("--target-dir")
        .arg(crate::root().join("target/loom"))
        .env("RUSTFLAGS", flags.trim_start()))
}

#[derive(Default)]
struct Summary {
    lines: Vec<String>,
    skipped: Vec<String>,
    failures: Vec<String>,
}

impl Summary {
    fn print(self) -> Outcome {
        eprintln!("\n---- summary ----");
        for line in &self.lines {
            eprintln!("{line}");
        }
        if !self.skipped.is_empty() {
            eprintln!("\nSKIPPED, so not tested here:");
            for skip in &self.skipped {
                eprintln!("  {skip}");
            }
        }
        if !self.failures.is_empty() {
            eprintln!("\nFAILED:");
            for failure in &self.failures {
                eprintln!("  {failure}");
            }
            eprintln!();
            return Err(format!("{} failure(s), see above", self.failures.len()));
        }
        match self.skipped.len() {
            0 => eprintln!("\nall passed, nothing skipped, nothing left behind"),
            _ => eprintln!("\nall that ran passed, but not all ran; nothing left behind"),
        }
        Ok(())
    }
}

/// The folder of one run, removed at its end: `t` is the tests' TMPDIR, `skips` their log.
struct RunFolder(PathBuf);

impl RunFolder {
    fn make() -> Outcome<Self> {
        // A socket's path has at most 107 bytes, and the tests add folders and names of their own.
        let parent = Some(std::env::temp_dir()).filter(|path| path.is_absolute() && path.as_os_str().len() <= 24);
        let parent = parent.unwrap_or_else(|| Path::new("/tmp").to_owned());
        let nanos = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |time| time.subsec_nanos());
        let folder = parent.join(format!("dpt-{:x}-{:x}", std::process::id(), nanos & 0xffff));
        // Others may pass through, as some tests start processes of other users; each test's own folder is private.
        let make = |path: &Path| {
            let made = fs::create_dir(path).and_then(|()| fs::set_permissions(path, Permissions::from_mode(0o711)));
            made.map_err(|error| format!("cannot make the tests' folder {}: {error}", path.display()))
        };
        make(&folder)?;
        let folder = Self(folder);
        make(&folder.temporary())?;
        Ok(folder)
    }

    fn temporary(&self) -> PathBuf {
        self.0.join("t")
    }

    fn skip_log(&self) -> PathBuf {
        self.0.join("skips")
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            say(format_args!(
                "cannot remove the tests' folder {}: {error}",
                self.0.display()
            ));
        }
    }
}
