//! Other processes: this program once more, in the role that a test gives it.

use std::process::Command;

use crate::{client_ctor, cross_process, server_ctor, users};

/// A child's part in a test, called with the words that the test gave it.
type Role = fn(&[String]);

/// What children do, by the name that [`command`] is given.
const ROLES: &[(&str, Role)] = &[
    ("anonymous ping-pong", cross_process::anonymous_ping_pong),
    ("cannot act as root", users::cannot_act_as_root),
    ("connects", client_ctor::connects),
    ("connects and waits", cross_process::connects_and_waits),
    ("connects at every level", users::connects_at_every_level),
    ("fails to be the first", server_ctor::fails_to_be_the_first),
    ("finds no folder", client_ctor::finds_no_folder),
    ("is greeted", users::is_greeted),
    ("is the first", server_ctor::is_the_first),
    ("is turned away", users::is_turned_away),
    ("may not connect", users::may_not_connect),
    ("named ping-pong", cross_process::plays_named_ping_pong),
    (
        "reads five bytes to the end",
        cross_process::reads_five_bytes_to_the_end,
    ),
    ("serves", server_ctor::serves),
    ("serves one user", users::serves_one),
    (
        "writes five bytes and lives on",
        cross_process::writes_five_bytes_and_lives_on,
    ),
    (
        "writes to an inherited named pipe",
        cross_process::writes_to_an_inherited_named_pipe,
    ),
];

const ROLE: &str = "DOTPIPE_CONFORMANCE_ROLE";
const WORDS: &str = "DOTPIPE_CONFORMANCE_WORDS";

/// A command that runs this program in one of the [`ROLES`]. What a role prints to stderr is for the test.
pub(crate) fn command(role: &str, words: &[&str]) -> Command {
    in_role(
        Command::new(std::env::current_exe().expect("a program knows its file")),
        role,
        words,
    )
}

/// Makes `program`, which runs a copy of this program, take a role.
pub(crate) fn in_role(mut program: Command, role: &str, words: &[&str]) -> Command {
    assert!(
        ROLES.iter().any(|(name, _)| *name == role),
        "no child has the role '{role}'"
    );
    program
        .args([
            "--exact",
            "child::plays_the_role_it_is_given",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(ROLE, role)
        .env(WORDS, words.join("\n"));
    program
}

/// Does nothing in the process of the tests themselves, where no role is given.
#[test]
fn plays_the_role_it_is_given() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let words = std::env::var(WORDS).unwrap_or_default();
    let words: Vec<String> = words.lines().map(str::to_owned).collect();
    let (_, play) = ROLES
        .iter()
        .find(|(name, _)| *name == role)
        .unwrap_or_else(|| panic!("there is no role '{role}'"));
    play(&words);
}
