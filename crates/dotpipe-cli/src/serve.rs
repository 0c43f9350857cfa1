//! `dotpipe serve`: a named pipe and its clients.

use std::sync::{Arc, mpsc};
use std::thread;

use dotpipe::{ErrorKind, NamedPipeServerStream, PipeOptions, PipeSecurity};

use crate::args::{Direction, Serve};
use crate::copy::converse;
use crate::failure::{Attempt, Failure, Result};
use crate::name;
use crate::service::{Echo, Program, Service};
use crate::signals::{AfterSignal, Kept, during, ending, keep, watch};
use crate::text::{complain, status, user_of};

pub(crate) fn run(args: &Serve) -> Result<()> {
    name::check(&args.name)?;
    args.shape.check()?;
    let maker = Maker {
        args,
        security: access(&args.access)?,
    };
    if args.echo {
        if args.shape.direction != Direction::Inout {
            return Err(Failure::Usage(
                "--echo needs both directions; leave --direction out".into(),
            ));
        }
        return serve_many(&maker, Arc::new(Echo));
    }
    if let Some((program, arguments)) = args.exec.split_first() {
        return serve_many(&maker, Arc::new(Program::find(program, arguments)?));
    }
    serve_one(&maker)
}

fn access(text: &str) -> Result<PipeSecurity> {
    text.parse().map_err(|error: dotpipe::Error| match error.kind() {
        ErrorKind::Argument => Failure::Usage(format!("--access '{text}': {error}")),
        _ => error.into(),
    })
}

/// Makes the server's instances.
struct Maker<'a> {
    args: &'a Serve,
    security: PipeSecurity,
}

impl Maker<'_> {
    fn make(&self, max: i32, options: PipeOptions) -> Result<Kept<NamedPipeServerStream>> {
        let create = || {
            NamedPipeServerStream::builder(&self.args.name)
                .direction(self.args.shape.direction.into())
                .transmission_mode(self.args.shape.mode.into())
                .max_number_of_server_instances(max)
                .options(options)
                .security(self.security.clone())
                .create()
        };
        let close = |server: &NamedPipeServerStream| {
            server.close();
            None
        };
        Ok(keep(create, close)?)
    }

    fn first(&self, max: i32) -> Result<Kept<NamedPipeServerStream>> {
        let options = if self.args.first {
            PipeOptions::FIRST_PIPE_INSTANCE
        } else {
            PipeOptions::NONE
        };
        watch(AfterSignal::Succeed)?;
        let server = self.make(max, options)?;
        status("listening");
        Ok(server)
    }
}

/// One client, from and to our own stdin and stdout.
fn serve_one(maker: &Maker<'_>) -> Result<()> {
    let server = maker.first(maker.args.max.unwrap_or(1))?;
    during(|| server.wait_for_connection())?;
    status(&format!("connected {}", user_of(&server)));
    let outcome = converse(&server);
    drop(server);
    status("disconnected");
    outcome
}

/// Any number of clients at once, each with a thread and an instance of the pipe. It ends by a signal.
fn serve_many(maker: &Maker<'_>, service: Arc<dyn Service>) -> Result<()> {
    let max = maker
        .args
        .max
        .unwrap_or(NamedPipeServerStream::MAX_ALLOWED_SERVER_INSTANCES);
    let (give_back, returned) = mpsc::channel();
    let mut idle = vec![maker.first(max)?];
    let mut made = 1;
    loop {
        idle.extend(returned.try_iter());
        let server = match idle.pop() {
            Some(server) => server,
            None if max < 0 || made < max => {
                made += 1;
                maker.make(max, PipeOptions::NONE)?
            }
            // All are in use, so one of them will come back.
            None => returned.recv().attempt(|| "cannot serve any more clients".into())?,
        };
        during(|| server.wait_for_connection())?;
        let user = user_of(&server);
        let (service, give_back) = (Arc::clone(&service), give_back.clone());
        let serve = move || {
            status(&format!("connected {user}"));
            if let Err(failure) = service.serve(&server)
                && !ending()
            {
                complain(&failure);
            }
            let outcome = server.disconnect();
            status("disconnected");
            if outcome.is_ok() {
                let _ = give_back.send(server);
            }
        };
        if let Err(error) = thread::Builder::new().name("client".into()).spawn(serve) {
            // The instance went with the thread that did not start, and its client with it.
            made -= 1;
            complain(&Failure::Failed {
                attempt: Some("cannot start a thread for a client".into()),
                cause: error.into(),
            });
        }
    }
}
