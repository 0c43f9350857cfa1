//! What `dotpipe serve` does for each of many clients.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use dotpipe::{NamedPipeServerStream, PipeDirection};

use crate::child::{self, Reach, Running};
use crate::failure::{Failure, Result};
use crate::lines::is_gone;

pub(crate) trait Service: Send + Sync {
    /// Serves one client until it has gone.
    fn serve(&self, server: &NamedPipeServerStream) -> Result<()>;
}

/// Everything goes back to where it came from.
#[derive(Debug)]
pub(crate) struct Echo;

impl Service for Echo {
    fn serve(&self, mut server: &NamedPipeServerStream) -> Result<()> {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let echoed = match server.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(length) => server.write_all(&buffer[..length]),
                Err(error) => Err(error),
            };
            match echoed {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A client may leave at any moment.
                Err(error) if is_gone(&error) => return Ok(()),
                Err(error) => return Err(Failure::of_pipe(error)),
            }
        }
    }
}

/// A program, with the pipe as its stdin and stdout.
#[derive(Debug)]
pub(crate) struct Program {
    program: PathBuf,
    arguments: Vec<OsString>,
}

impl Program {
    /// Looks the program up once, so that a wrong name is told at the start and not to the first client.
    pub(crate) fn find(program: &OsStr, arguments: &[OsString]) -> Result<Self> {
        match find_program(program) {
            Some(program) => Ok(Self {
                program,
                arguments: arguments.to_owned(),
            }),
            None => Err(Failure::text(format!(
                "cannot find the program '{}' for --exec; a whole command line needs a shell: --exec sh -c '...'",
                program.display()
            ))),
        }
    }
}

/// What a shell would start by this name.
pub(crate) fn find_program(program: &OsStr) -> Option<PathBuf> {
    let path = Path::new(program);
    if program.as_encoded_bytes().contains(&b'/') {
        return is_program(path).then(|| path.to_owned());
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders)
        .map(|folder| folder.join(path))
        .find(|path| is_program(path))
}

fn is_program(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

impl Service for Program {
    fn serve(&self, server: &NamedPipeServerStream) -> Result<()> {
        let direction = server.direction();
        let mut command = Command::new(&self.program);
        command.args(&self.arguments);
        if direction == PipeDirection::Out {
            command.stdin(Stdio::null());
        } else {
            command.stdin(server.safe_pipe_handle()?);
        }
        if direction != PipeDirection::In {
            command.stdout(server.safe_pipe_handle()?);
        }
        let child = Running::start(&mut command, Reach::Group)?;
        // `command` holds the pipe too, and would keep it open for the client when the child has ended.
        drop(command);
        child::check(self.program.as_os_str(), child.wait()?)
    }
}
