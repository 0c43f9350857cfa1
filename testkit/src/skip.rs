//! Skips: loud in development, failures in CI.

use std::fs::OpenOptions;
use std::io::Write;

/// Says that the calling test does not run because `component` is missing, and why. The test then returns.
///
/// The line goes to the real stderr, past the test harness, and to the file named by `$DOTPIPE_SKIP_LOG`, from which
/// `cargo xtask test` prints all skips once more at its end.
///
/// # Panics
/// When `$DOTPIPE_NO_SKIP` is `1`, as in CI: there a missing component is a failure. Also when the log cannot be
/// written, since a skip that leaves no trace would pass as a success.
#[track_caller]
pub fn skip(component: &str, reason: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    assert!(
        std::env::var_os("DOTPIPE_NO_SKIP").is_none_or(|value| value != "1"),
        "{test} needs {component}, which is missing here: {reason} (nothing may be skipped: DOTPIPE_NO_SKIP=1)"
    );
    note(test, component, reason);
}

/// Says that the calling test does not show `row` on this system, and why, where another system of the same kind would.
///
/// Unlike a [`skip`] it is allowed everywhere: nothing that could be installed would change it.
///
/// # Panics
/// When the log cannot be written.
pub fn not_shown(row: &str, reason: &str) {
    let thread = std::thread::current();
    note(thread.name().unwrap_or("a test"), row, reason);
}

fn note(test: &str, component: &str, reason: &str) {
    // Not eprintln!: the harness would capture it and show it only if the test failed.
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {component}: {reason}");
    if let Some(log) = std::env::var_os("DOTPIPE_SKIP_LOG") {
        let line = format!("{test}: {component}: {}\n", reason.replace('\n', " "));
        // One write in append mode, so that lines of tests in parallel processes do not mix.
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .and_then(|mut file| file.write_all(line.as_bytes()))
            .unwrap_or_else(|error| panic!("cannot note a skip in {log:?}: {error}"));
    }
}
