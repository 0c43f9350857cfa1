//! The helpers themselves: children, limits, skips.

#![cfg(unix)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;

#[cfg(target_os = "linux")]
use dotpipe_testkit::eventually;
use dotpipe_testkit::{Process, pipe_folder, within_limit};

fn sh(script: &str) -> Process {
    Process::start(Command::new("sh").args(["-c", script]))
}

#[test]
fn a_conversation() {
    let mut child = sh("printf 'Enter text: '; read line; echo got $line; echo note >&2; cat >/dev/null; exit 3");
    child.wait_for_stdout("Enter text: ");
    child.write_line("hello");
    assert_eq!(child.wait_for_stdout("got"), "got hello");
    assert_eq!(child.wait_for_stderr("note"), "note");
    let finished = child.finish();
    assert_eq!(finished.status.code(), Some(3));
    assert_eq!(finished.stdout_text(), "Enter text: got hello\n");
    assert_eq!(finished.stderr, "note\n");
}

#[test]
fn a_missing_line_fails_with_the_output_so_far() {
    let failure = catch_unwind(AssertUnwindSafe(|| {
        sh("echo something; echo else >&2").wait_for_stdout("nothing")
    }));
    let text = failure.unwrap_err().downcast::<String>().unwrap();
    for part in ["something", "else", "'nothing'", "stdout ended"] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
}

// /proc tells a zombie from a living process.
#[cfg(target_os = "linux")]
#[test]
fn drop_kills_the_whole_group() {
    let mut child = sh("sleep 1000 & echo $!; wait");
    let grandchild = child.wait_for_stdout("");
    // A zombie is dead: how soon its new parent reaps it is not our matter.
    let alive = || {
        let stat = std::fs::read_to_string(format!("/proc/{grandchild}/stat"));
        stat.is_ok_and(|stat| !stat.contains(") Z "))
    };
    assert!(alive());
    drop(child);
    eventually("the grandchild is gone", || !alive());
}

#[test]
fn a_signal_shows_in_the_status() {
    use std::os::unix::process::ExitStatusExt;
    let mut child = sh("echo ready; exec sleep 1000");
    child.wait_for_stdout("ready");
    child.signal(15);
    assert_eq!(child.finish().status.signal(), Some(15));
}

#[test]
fn large_output_is_collected_while_input_is_written() {
    let mut child = sh("cat");
    let bytes: Vec<u8> = (0..4 << 20).map(|index: u32| (index % 251) as u8).collect();
    child.write(&bytes);
    assert!(child.finish().stdout == bytes);
}

#[test]
fn a_write_to_a_closed_stdin_fails() {
    let mut child = sh("exec 0<&-; echo closed; sleep 1000");
    child.wait_for_stdout("closed");
    let failure = catch_unwind(AssertUnwindSafe(|| child.write(b"x")));
    assert!(
        failure
            .unwrap_err()
            .downcast::<String>()
            .unwrap()
            .contains("Broken pipe")
    );
}

#[test]
fn a_result_comes_back_from_within_the_limit_and_a_panic_too() {
    assert_eq!(within_limit("adding", || 1 + 1), 2);
    let failure = catch_unwind(|| within_limit("failing", || panic!("on purpose")));
    assert_eq!(*failure.unwrap_err().downcast::<&str>().unwrap(), "on purpose");
}

#[test]
fn folders_are_new_short_and_removed() {
    let (one, two) = (pipe_folder(), pipe_folder());
    assert_ne!(one.path(), two.path());
    let path = one.path().to_owned();
    assert!(path.is_dir());
    drop(one);
    assert!(!path.exists());
}

/// The skip itself runs in a child, since it depends on the environment.
#[test]
fn a_skip_is_logged_or_forbidden() {
    if std::env::var_os("DOTPIPE_TESTKIT_SKIP").is_some() {
        dotpipe_testkit::skip("a part", "nobody brought it");
        return;
    }
    let folder = pipe_folder();
    let log = folder.path().join("skips");
    let run = |no_skip: &str| {
        let mut again = Command::new(std::env::current_exe().unwrap());
        again.args(["--exact", "a_skip_is_logged_or_forbidden"]);
        again
            .env("DOTPIPE_TESTKIT_SKIP", "1")
            .env("DOTPIPE_SKIP_LOG", &log)
            .env("DOTPIPE_NO_SKIP", no_skip);
        Process::start(&mut again).finish()
    };
    let skipped = run("").expect_success();
    let line = "a_skip_is_logged_or_forbidden: a part: nobody brought it\n";
    assert!(
        skipped.stderr.contains(&format!("SKIPPED {line}")),
        "{}",
        skipped.stderr
    );
    assert_eq!(std::fs::read_to_string(&log).unwrap(), line);
    assert!(!run("1").status.success());
}
