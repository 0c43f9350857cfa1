//! `cargo bench -p dotpipe-bench`; `-- --help` names the options.

#![forbid(unsafe_code)]

use std::env;
use std::process::ExitCode;

use dotpipe_bench::run_far_side_if_asked;

fn main() -> ExitCode {
    if let Some(status) = run_far_side_if_asked() {
        return status;
    }
    // `cargo test --all-targets` starts benchmarks too, without this argument.
    if !env::args_os().any(|argument| argument == "--bench") {
        eprintln!("not started by cargo bench: nothing is measured");
        return ExitCode::SUCCESS;
    }
    dotpipe_bench::main(env::args_os())
}
