//! `dotpipe chat`: the named pipe pair of the C# article. Its texts are the article's, to the letter.

use std::ffi::OsStr;

use dotpipe::{NamedPipeClientStream, NamedPipeServerStream};

use crate::args::Chat;
use crate::connect::open;
use crate::failure::{Failure, Result};
use crate::lines::{Lines, is_gone, write_line};
use crate::name;
use crate::prompt::Prompt;
use crate::signals::{AfterSignal, during, keep, watch};
use crate::text::{printable, say, user_of};

pub(crate) fn run(side: &Chat) -> Result<()> {
    match side {
        Chat::Server { name, again } => serve(name, *again),
        Chat::Client { name, any_server_user } => connect(name, *any_server_user),
    }
}

/// Why a conversation is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    ClientLeft,
    /// An empty line or `exit` was typed.
    Enough,
    InputEnded,
}

fn serve(name: &OsStr, again: bool) -> Result<()> {
    name::check(name)?;
    watch(AfterSignal::Succeed)?;
    let create = || NamedPipeServerStream::new(name);
    let server = keep(create, |server| {
        server.close();
        None
    })?;
    let mut prompt = Prompt::new()?;
    loop {
        say("Waiting for client connection...\n")?;
        during(|| server.wait_for_connection())?;
        say(&format!("Client connected. {}\n", user_of(&server)))?;
        let over = ask(&server, &mut prompt)?;
        server.disconnect()?;
        say("Client disconnected.\n")?;
        if !again || over == Over::InputEnded {
            return Ok(());
        }
    }
}

fn ask(server: &NamedPipeServerStream, prompt: &mut Prompt) -> Result<Over> {
    let mut responses = Lines::new(server);
    loop {
        let Some(text) = prompt.ask("Enter text: ")? else {
            return Ok(Over::InputEnded);
        };
        if text.is_empty() || text == "exit" {
            return Ok(Over::Enough);
        }
        match write_line(server, &text).and_then(|()| responses.next()) {
            Ok(Some(response)) => say(&format!("Response: {}\n", printable(&response)))?,
            Ok(None) => return Ok(Over::ClientLeft),
            Err(error) if is_gone(&error) => return Ok(Over::ClientLeft),
            Err(error) => return Err(Failure::of_pipe(error)),
        }
    }
}

fn connect(name: &OsStr, any_server_user: bool) -> Result<()> {
    name::check(name)?;
    watch(AfterSignal::DieOfIt)?;
    let client = open(NamedPipeClientStream::builder(name), any_server_user)?;
    say("Connecting to server...\n")?;
    client.connect()?;
    say("Server connected.\n")?;
    let mut lines = Lines::new(&*client);
    loop {
        match lines.next() {
            Ok(Some(text)) => {
                say(&format!("{}\n", printable(&text)))?;
                match write_line(&*client, &format!("Client received: {text}")) {
                    Err(error) if is_gone(&error) => return Ok(()),
                    outcome => outcome.map_err(Failure::of_pipe)?,
                }
            }
            Ok(None) => return Ok(()),
            Err(error) if is_gone(&error) => return Ok(()),
            Err(error) => return Err(Failure::of_pipe(error)),
        }
    }
}
