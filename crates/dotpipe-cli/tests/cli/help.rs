//! Help texts, and that the examples in them work.

use dotpipe_testkit::Process;

use crate::setup::Folder;

#[test]
fn every_command_helps_in_two_lengths() {
    let folder = Folder::new();
    for command in [
        &[][..],
        &["demo"],
        &["serve"],
        &["connect"],
        &["chat"],
        &["chat", "server"],
        &["chat", "client"],
        &["anonymous"],
        &["anonymous", "server"],
        &["anonymous", "client"],
    ] {
        let help = |flag| {
            let finished = folder.run(command.iter().chain([&flag])).expect_success();
            assert_eq!(finished.stderr, "");
            finished.stdout_text()
        };
        let (short, long) = (help("-h"), help("--help"));
        assert!(
            short.contains("Usage: dotpipe") && long.contains("Usage: dotpipe"),
            "{command:?}"
        );
        assert!(long.len() >= short.len(), "{command:?}");
        assert!(!long.contains("demo-parent"), "what is not for people is not shown");
    }
}

#[test]
fn without_arguments_help_is_wrong_usage() {
    let finished = Folder::new().run::<&str>([]);
    assert_eq!(finished.status.code(), Some(2));
    assert!(
        finished.stdout.is_empty() && finished.stderr.contains("Start here:"),
        "{finished:?}"
    );
}

#[test]
fn the_version_is_the_packages() {
    let finished = Folder::new().run(["--version"]).expect_success();
    assert_eq!(
        finished.stdout_text(),
        format!("dotpipe {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn the_examples_of_anonymous_work_as_they_stand() {
    let folder = Folder::new();
    for command in [&["anonymous"][..], &["anonymous", "server"]] {
        let help = folder
            .run(command.iter().chain([&"--help"]))
            .expect_success()
            .stdout_text();
        let example = help
            .lines()
            .find(|line| line.contains("echo hello |"))
            .expect("there is an example");
        let script = example.replace("dotpipe ", r#""$dotpipe" "#);
        let finished = Process::start(&mut folder.script(&script)).finish().expect_success();
        assert_eq!(finished.stdout, b"hello\n", "{script}");
    }
}

#[test]
fn the_examples_of_serve_are_read_as_they_are_meant() {
    let folder = Folder::new();
    let help = folder.run(["serve", "--help"]).expect_success().stdout_text();
    let examples: Vec<_> = help
        .lines()
        .filter(|line| line.trim_start().starts_with("dotpipe serve testpipe --exec"))
        .collect();
    assert!(!examples.is_empty(), "{help}");
    let mut server = folder.serve(&[
        "testpipe",
        "--max",
        "4",
        "--exec",
        "sh",
        "-c",
        r#"read line; echo "you said $line""#,
    ]);
    assert_eq!(
        folder
            .run_with(&["connect", "testpipe"], b"hi\n")
            .expect_success()
            .stdout,
        b"you said hi\n"
    );
    server.wait_for_stderr("disconnected");
}

/// Where help writes a name, it is the name of an argument in the form of all others.
#[test]
fn help_speaks_of_arguments_in_one_way() {
    let folder = Folder::new();
    for (command, usage) in [
        (
            &["serve"][..],
            "dotpipe serve [OPTIONS] <NAME> [--echo | --exec <CMD>...]",
        ),
        (&["anonymous", "server"], "dotpipe anonymous server -- <CMD>..."),
    ] {
        let help = folder
            .run(command.iter().chain([&"--help"]))
            .expect_success()
            .stdout_text();
        assert!(help.contains(&format!("Usage: {usage}\n")), "{help}");
    }
    for command in ["serve", "connect"] {
        let help = folder.run([command, "-h"]).expect_success().stdout_text();
        assert!(
            help.contains("message: each line is one (not on this system yet)"),
            "{help}"
        );
    }
}
