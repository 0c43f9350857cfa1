//! The command `dotpipe`: pipes for people and scripts.
//!
//! Data goes to stdout, everything else to stderr. The exit status is 0 for success, 1 for a failure and 2 for wrong usage.

#![forbid(unsafe_code)]

mod anonymous;
mod args;
mod article;
mod chat;
mod child;
mod connect;
mod copy;
mod demo;
mod failure;
mod lines;
mod name;
mod prompt;
mod serve;
mod service;
mod signals;
mod text;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use crate::args::{Cli, Command};
use crate::failure::{Failure, Result};

fn main() -> ExitCode {
    let outcome = match Cli::try_parse() {
        Ok(cli) => run(&cli.command),
        Err(told) if told.use_stderr() => told.exit(),
        Err(help) => show(&help),
    };
    if signals::caught() {
        // Whatever has failed here, the signal was the reason, and it decides how the process ends.
        signals::wait_for_the_end();
    }
    let status = match outcome {
        Ok(()) | Err(Failure::StdoutClosed) => 0,
        Err(failure) => {
            text::complain(&failure);
            if matches!(failure, Failure::Usage(_)) { 2 } else { 1 }
        }
    };
    signals::end_all();
    ExitCode::from(status)
}

/// Shows a help text or the version.
fn show(help: &clap::Error) -> Result<()> {
    let shown = help.print().and_then(|()| io::stdout().flush());
    shown.map_err(Failure::of_stdout)
}

fn run(command: &Command) -> Result<()> {
    match command {
        Command::Demo => demo::run(),
        Command::Serve(args) => serve::run(args),
        Command::Connect(args) => connect::run(args),
        Command::Chat { side } => chat::run(side),
        Command::Anonymous { side } => anonymous::run(side),
        Command::DemoParent => article::parent(),
        Command::DemoChild { handle } => article::child(handle),
    }
}
