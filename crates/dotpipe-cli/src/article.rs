//! The anonymous pair of the C# article, as two programs: the demo's first conversation.

use std::io;
use std::process::{Command, Stdio};

use dotpipe::{AnonymousPipeClientStream, AnonymousPipeServerStream, CommandExt, PipeDirection};
use rustix::io::{read, retry_on_intr};

use crate::child::{self, Reach, Running};
use crate::demo::ourselves;
use crate::failure::{Attempt, Failure, Result};
use crate::lines::{Lines, write_line};
use crate::signals::{AfterSignal, watch};
use crate::text::{printable, say};

/// What the parent asks with.
pub(crate) const ENTER_TEXT: &str = "Enter text: ";
/// What the child ends with.
pub(crate) const PRESS_ENTER: &str = "Press Enter to continue...";

pub(crate) fn parent() -> Result<()> {
    watch(AfterSignal::DieOfIt)?;
    let pipe = AnonymousPipeServerStream::new(PipeDirection::Out)?;
    say(&format!(
        "[SERVER] Current TransmissionMode: {:?}.\n",
        pipe.transmission_mode()?
    ))?;
    let program = ourselves()?;
    let mut command = Command::new(&program);
    command.arg("demo-child").arg(pipe.get_client_handle_as_string());
    // Both read from the same place, as in a console: the parent is done with it before the child begins.
    command.stdin(Stdio::inherit()).inherit_client_handle(&pipe);
    let child = Running::start(&mut command, Reach::Child)?;
    pipe.dispose_local_copy_of_client_handle();
    if let Err(failure) = converse(pipe) {
        if !failure.is_broken_pipe() {
            return Err(failure);
        }
        say(&format!("[SERVER] Error: {failure}\n"))?;
    }
    let status = child.wait()?;
    say("[SERVER] Client quit. Server terminating.\n")?;
    child::check(program.as_os_str(), status)
}

fn converse(mut pipe: AnonymousPipeServerStream) -> Result<()> {
    write_line(&mut pipe, "SYNC").map_err(Failure::of_pipe)?;
    pipe.wait_for_pipe_drain()?;
    say(&format!("[SERVER] {ENTER_TEXT}"))?;
    let text = read_console()?;
    write_line(&mut pipe, &text).map_err(Failure::of_pipe)
}

pub(crate) fn child(handle: &str) -> Result<()> {
    let pipe = AnonymousPipeClientStream::from_handle_string(PipeDirection::In, handle)?;
    say(&format!(
        "[CLIENT] Current TransmissionMode: {:?}.\n",
        pipe.transmission_mode()?
    ))?;
    let mut lines = Lines::new(pipe);
    loop {
        say("[CLIENT] Wait for sync...\n")?;
        match lines.next().map_err(Failure::of_pipe)? {
            Some(line) if line.starts_with("SYNC") => break,
            Some(_) => {}
            None => return Err(Failure::text("the parent has ended before it sent SYNC")),
        }
    }
    while let Some(line) = lines.next().map_err(Failure::of_pipe)? {
        say(&format!("[CLIENT] Echo: {}\n", printable(&line)))?;
    }
    say(&format!("[CLIENT] {PRESS_ENTER}"))?;
    read_console().map(drop)
}

/// C#'s `Console.ReadLine()`. It takes no byte beyond the line, because the other program reads on from there.
fn read_console() -> Result<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    while line.last() != Some(&b'\n') {
        let length = retry_on_intr(|| read(io::stdin(), &mut byte)).attempt(|| "cannot read standard input".into())?;
        if length == 0 {
            break;
        }
        line.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned())
}
