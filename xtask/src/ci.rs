//! What CI runs.

use std::process::Command;
use std::time::Instant;

use crate::groups;
use crate::test::{Skips, test};
use crate::{Outcome, cargo, output, run, say};

/// Format, lints, documentation, tests, in the order of how fast they answer. The first failure ends the run.
pub(crate) fn ci() -> Outcome {
    components()?;
    step("format", cargo().args(["fmt", "--all", "--check"]))?;
    step(
        "lints",
        cargo().args([
            "clippy",
            "--locked",
            "--workspace",
            "--all-targets",
            "--all-features",
            "--",
            "-D",
            "warnings",
        ]),
    )?;
    step(
        "documentation",
        cargo()
            .args(["doc", "--locked", "--workspace", "--no-deps", "--all-features"])
            .env("RUSTDOCFLAGS", "-D warnings"),
    )?;
    test(&groups::whole(), Skips::AreFailures)
}

fn step(name: &str, command: &mut Command) -> Outcome {
    say(format_args!("{name}: {}", crate::line(command)));
    let start = Instant::now();
    run(command).map_err(|problem| format!("{name}: {problem}"))?;
    say(format_args!("{name}: ok, {:.1} s", start.elapsed().as_secs_f64()));
    Ok(())
}

/// A toolchain of the minimal profile has neither rustfmt nor clippy.
fn components() -> Outcome {
    for (component, command) in [("rustfmt", "fmt"), ("clippy", "clippy")] {
        if output(cargo().args([command, "--version"])).is_err() {
            say(format_args!("set-up: adding {component} to the toolchain"));
            output(
                Command::new("rustup")
                    .args(["component", "add", component])
                    .current_dir(crate::root()),
            )
            .map_err(|problem| format!("{component} is missing and cannot be added: {problem}"))?;
        }
    }
    Ok(())
}
