//! The benchmarks as a program: the same as `cargo bench -p dotpipe-bench`, where a profiler or a test can get hold of it.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    dotpipe_bench::main(std::env::args_os())
}
