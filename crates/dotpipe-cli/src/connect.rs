//! `dotpipe connect`: a client of a named pipe.

use std::io::{self, IsTerminal};
use std::time::Duration;

use dotpipe::{ErrorKind, NamedPipeClientBuilder, NamedPipeClientStream};

use crate::args::{Connect, Mode};
use crate::copy::converse;
use crate::failure::Result;
use crate::name;
use crate::signals::{AfterSignal, Kept, keep, watch};
use crate::text::status;

/// How long a person looks at nothing before a word is due.
const PATIENCE: Duration = Duration::from_secs(1);

pub(crate) fn run(args: &Connect) -> Result<()> {
    name::check(&args.name)?;
    args.shape.check()?;
    watch(AfterSignal::DieOfIt)?;
    let builder = NamedPipeClientStream::builder(&args.name).direction(args.shape.direction.into());
    let client = open(builder, args.any_server_user)?;
    match args.timeout {
        Some(limit) => client.connect_timeout(limit)?,
        None => connect(&client)?,
    }
    if args.shape.mode == Mode::Message {
        client.set_read_mode(args.shape.mode.into())?;
    }
    converse(&client)
}

/// A client that is closed at the end, be it by a signal.
pub(crate) fn open(builder: NamedPipeClientBuilder, any_server_user: bool) -> Result<Kept<NamedPipeClientStream>> {
    let builder = if any_server_user {
        builder.any_server_user()
    } else {
        builder
    };
    let close = |client: &NamedPipeClientStream| {
        client.close();
        None
    };
    Ok(keep(|| builder.create(), close)?)
}

/// Waits for a server as long as it takes, and tells a person at a terminal what it waits for.
fn connect(client: &NamedPipeClientStream) -> Result<()> {
    if io::stderr().is_terminal() {
        match client.connect_timeout(PATIENCE) {
            Err(error) if error.kind() == ErrorKind::TimedOut => {
                status(&format!("waiting for a server of {}; Ctrl-C gives up", client.name()));
            }
            outcome => return Ok(outcome?),
        }
    }
    Ok(client.connect()?)
}
