//! `dotpipe demo`: both conversations of the C# article, in real processes that we only listen to and type for.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::article::{ENTER_TEXT, PRESS_ENTER};
use crate::child::{self, Reach, Running};
use crate::failure::{Attempt, Failure, Result};
use crate::service::find_program;
use crate::signals::{AfterSignal, watch};
use crate::text::{printable, say};

/// A conversation takes a few milliseconds; one that takes this long hangs.
const LIMIT: Duration = Duration::from_secs(20);

pub(crate) fn run() -> Result<()> {
    watch(AfterSignal::DieOfIt)?;
    say("An anonymous pipe, from a parent to its child:\n\n")?;
    // The two share one stdout and say themselves who they are.
    let parent = Speaker::start("", &["demo-parent"])?;
    listen(vec![parent], &["Hello, child!", ""])?;

    let name = private_name();
    say(&format!(
        "\nA named pipe, \\\\.\\pipe\\{name}, between two processes that know nothing but its name:\n\n"
    ))?;
    let server = Speaker::start("[SERVER] ", &["chat", "server", &name])?;
    let client = Speaker::start("[CLIENT] ", &["chat", "client", &name])?;
    // What the client says comes before the server's response to it.
    listen(vec![client, server], &["Hello, client!", "Goodbye!", "exit"])?;

    let dotpipe = typed_name();
    say(&format!(
        "\nNow yours, in two terminals:\n\n  {dotpipe} chat server testpipe\n  {dotpipe} chat client testpipe\n"
    ))
}

/// What a person types to start this program: after `cargo run` it is not on the PATH.
fn typed_name() -> String {
    let name = "dotpipe";
    if find_program(name.as_ref()).is_some() {
        return name.to_owned();
    }
    let path = std::env::args_os().next().unwrap_or_default();
    match path.to_str() {
        Some(path) if !path.is_empty() => printable(&quoted(path)),
        _ => name.to_owned(),
    }
}

/// A text as one word of a shell's line.
fn quoted(word: &str) -> String {
    let is_plain = |letter: char| letter.is_alphanumeric() || "/.:+-_".contains(letter);
    if word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Our own program, which the children run too.
pub(crate) fn ourselves() -> Result<PathBuf> {
    std::env::current_exe().attempt(|| "cannot find the program that runs here".into())
}

/// A name that no other demo has, even one with the same process number in a container that shares the folder of pipes.
fn private_name() -> String {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    format!("dotpipe-demo-{}-{:x}", std::process::id(), now.subsec_nanos())
}

/// A process that takes part in a conversation.
struct Speaker {
    label: &'static str,
    name: String,
    running: Running,
    stdin: ChildStdin,
    stdout: ChildStdout,
    /// The line that has not ended yet.
    line: Vec<u8>,
    at_end: bool,
}

impl Speaker {
    fn start(label: &'static str, arguments: &[&str]) -> Result<Self> {
        let mut command = Command::new(ourselves()?);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut running = Running::start(&mut command, Reach::Child)?;
        let (stdin, stdout) = running.take_streams();
        let (Some(stdin), Some(stdout)) = (stdin, stdout) else {
            return Err(Failure::text("the child has started without its streams"));
        };
        let name = format!("dotpipe {}", arguments.join(" "));
        Ok(Self {
            label,
            name,
            running,
            stdin,
            stdout,
            line: Vec::new(),
            at_end: false,
        })
    }

    /// Shows what it has said, and types the next answer when it has asked for one.
    fn hear(&mut self, answers: &mut VecDeque<&str>) -> Result<()> {
        let mut buffer = [0; 4096];
        let length = self
            .stdout
            .read(&mut buffer)
            .attempt(|| format!("cannot hear '{}'", self.name))?;
        self.at_end = length == 0;
        for &byte in &buffer[..length] {
            if byte == b'\n' {
                self.show("")?;
            } else {
                self.line.push(byte);
            }
            let asked = self.line.ends_with(ENTER_TEXT.as_bytes()) || self.line.ends_with(PRESS_ENTER.as_bytes());
            if asked && let Some(answer) = answers.pop_front() {
                self.show(answer)?;
                let typed = self.stdin.write_all(format!("{answer}\n").as_bytes());
                typed.attempt(|| format!("cannot type for '{}'", self.name))?;
            }
        }
        Ok(())
    }

    /// Shows the line with what was typed behind it.
    fn show(&mut self, typed: &str) -> Result<()> {
        let line = String::from_utf8_lossy(&self.line).into_owned();
        self.line.clear();
        say(&format!("  {}{}{typed}\n", self.label, printable(&line)))
    }
}

/// Listens to the speakers until all have ended, and types the answers.
fn listen(mut speakers: Vec<Speaker>, answers: &[&str]) -> Result<()> {
    let deadline = Instant::now() + LIMIT;
    let mut answers = VecDeque::from(answers.to_vec());
    while !speakers.is_empty() {
        let ready = wait_for_words(&speakers, deadline)?;
        for (speaker, ready) in speakers.iter_mut().zip(ready) {
            if ready {
                speaker.hear(&mut answers)?;
            }
        }
        // One that fails leaves the other waiting for ever, so it is looked at as soon as it ends.
        while let Some(position) = speakers.iter().position(|speaker| speaker.at_end) {
            let Speaker { name, running, .. } = speakers.remove(position);
            child::check(name.as_ref(), running.wait()?)?;
        }
    }
    match answers.is_empty() {
        true => Ok(()),
        false => Err(Failure::text("the conversation ended before everything was said")),
    }
}

fn wait_for_words(speakers: &[Speaker], deadline: Instant) -> Result<Vec<bool>> {
    let mut watched: Vec<_> = speakers
        .iter()
        .map(|speaker| PollFd::from_borrowed_fd(speaker.stdout.as_fd(), PollFlags::IN))
        .collect();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left)
            .map_err(io::Error::other)
            .attempt(|| "cannot listen".into())?;
        match poll(&mut watched, Some(&left)) {
            Ok(0) => return Err(Failure::text(format!("the conversation did not end within {LIMIT:?}"))),
            Ok(_) => return Ok(watched.iter().map(|stream| !stream.revents().is_empty()).collect()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error).attempt(|| "cannot listen".into()),
        }
    }
}
