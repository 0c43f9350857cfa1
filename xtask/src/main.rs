//! Development tasks: `cargo xtask test` sets up what the tests need and runs them, `cargo xtask ci` adds the checks
//! of format, lints and documentation and lets nothing be skipped.

#![forbid(unsafe_code)]

mod ci;
mod dotnet;
mod groups;
mod left_overs;
mod setup;
mod test;

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use groups::{GROUPS, Group};

/// What a task returns; the text says what was attempted, on what, and what to do.
type Outcome<T = ()> = Result<T, String>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args_os()
        .skip(1)
        .map(|text| text.to_string_lossy().into_owned())
        .collect();
    match parse(&arguments) {
        Ok(Task::Help) => {
            print!("{}", usage());
            ExitCode::SUCCESS
        }
        Ok(Task::Test(groups)) => exit(test::test(&groups, test::Skips::Allowed)),
        Ok(Task::Ci) => exit(ci::ci()),
        Err(problem) => {
            eprint!("cargo xtask: {problem}\n\n{}", usage());
            ExitCode::from(2)
        }
    }
}

enum Task {
    Help,
    Test(Vec<&'static Group>),
    Ci,
}

fn parse(arguments: &[String]) -> Outcome<Task> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if words.iter().any(|word| matches!(*word, "-h" | "--help")) {
        return Ok(Task::Help);
    }
    match words.as_slice() {
        [] => Err("which task?".into()),
        ["help"] => Ok(Task::Help),
        ["ci"] => Ok(Task::Ci),
        ["test"] => Ok(Task::Test(groups::whole())),
        ["test", names @ ..] => {
            let find = |name: &&str| {
                let group = GROUPS.iter().find(|group| group.name == *name);
                group.ok_or_else(|| format!("there is no group of tests called '{name}'"))
            };
            names.iter().map(find).collect::<Outcome<_>>().map(Task::Test)
        }
        ["ci", extra, ..] | ["help", extra, ..] => Err(format!("'{extra}' is one argument too many")),
        [task, ..] => Err(format!("there is no task called '{task}'")),
    }
}

fn usage() -> String {
    let mut text = String::from(
        "\
Development tasks of dotpipe.

usage: cargo xtask test [GROUP]...    install what the tests need, then run them: all, or these groups
       cargo xtask ci                 what CI runs: format, lints, documentation, all tests with nothing skipped
       cargo xtask help               this text

Groups:
",
    );
    for group in GROUPS {
        text += &format!("  {:<11} {}\n", group.name, group.about);
    }
    text += "
What is missing is installed with apt-get (as root or by sudo without a password) and with pip's downloads into
.cache/, once. What cannot be installed makes tests skip; every skip is printed once more at the end, with its reason.

The tests run in a folder of their own under $TMPDIR or /tmp. Files, sockets and processes that they leave there are
failures. Slow machine: DOTPIPE_TEST_LIMIT_FACTOR=4 lets every wait take four times as long.
";
    text
}

fn exit(outcome: Outcome) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("cargo xtask: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// One line of progress.
fn say(what: impl Display) {
    eprintln!("xtask: {what}");
}

/// The project's root folder.
fn root() -> PathBuf {
    // Cargo's word at run time, as the project may have been moved together with what was built in it.
    let xtask = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&xtask)
        .parent()
        .expect("xtask is a folder of the project")
        .to_owned()
}

/// The cargo that runs this, in the project's root.
fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Runs `command` with its output shown; an exit status other than 0 is an error.
fn run(command: &mut Command) -> Outcome {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{}` ended with {status}", line(command))),
        Err(error) => Err(format!("cannot start `{}`: {error}", line(command))),
    }
}

/// Runs `command` quietly and returns its stdout; a failure's text has all output in it.
fn output(command: &mut Command) -> Outcome<String> {
    let output = command
        .stdin(std::process::Stdio::null())
        .output()
        .map_err(|error| format!("cannot start `{}`: {error}", line(command)))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        let said = format!("{}\n{}", text(&output.stdout), text(&output.stderr));
        Err(format!(
            "`{}` ended with {}:\n{}",
            line(command),
            output.status,
            said.trim()
        ))
    }
}

/// A command as one would type it.
fn line(command: &Command) -> String {
    let program = Path::new(command.get_program())
        .file_name()
        .unwrap_or_else(|| command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn tasks_are_recognised() {
        assert!(matches!(parse(&words("test")), Ok(Task::Test(all)) if all.len() == groups::whole().len()));
        assert!(
            matches!(parse(&words("test conformance")), Ok(Task::Test(groups)) if groups[0].part == Some("conformance"))
        );
        assert!(matches!(parse(&words("test interop")), Ok(Task::Test(groups)) if groups[0].name == "interop"));
        assert!(matches!(parse(&words("ci")), Ok(Task::Ci)));
        assert!(matches!(parse(&words("test --help")), Ok(Task::Help)));
    }

    #[test]
    fn wrong_usage_names_the_wrong_word() {
        for (line, word) in [
            ("tset", "tset"),
            ("test nothing", "nothing"),
            ("ci now", "now"),
            ("", "which"),
        ] {
            let problem = parse(&words(line)).err().unwrap();
            assert!(problem.contains(word), "{problem}");
        }
    }

    #[test]
    fn usage_names_every_group() {
        for group in GROUPS {
            assert!(usage().contains(group.name));
        }
    }
}
