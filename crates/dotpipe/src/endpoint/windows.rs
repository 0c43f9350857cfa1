//! The endpoints of Windows: the system's own pipes.

use std::io;
use std::os::windows::io::{AsHandle, OwnedHandle};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_BAD_NETPATH, ERROR_FILE_NOT_FOUND, ERROR_HANDLES_CLOSED, ERROR_LOGON_FAILURE,
    ERROR_NO_DATA, ERROR_PIPE_BUSY, ERROR_PIPE_CONNECTED, ERROR_SEM_TIMEOUT,
};

use super::{Instances, ServerPolicy, Wanted};
use crate::error::{Error, ErrorKind, Result};
use crate::options::{HandleInheritability, PipeDirection};
use crate::sys::{self, Event, NewPipe, Operation, PipeInfo, SecurityDescriptor, Sid};
use crate::text::printable;
use crate::transport::{Handle, Plain, Transport};
use crate::wait::{Backoff, Control, Deadline, lock};

/// The buffers of a pipe for which no size is asked: room for a lone write. Without any, each write would wait for a read.
const USUAL_SIZE: usize = 64 * 1024;
/// How long the system waits for a free instance before the caller looks whether it was cancelled.
const BUSY_SLICE: Duration = Duration::from_millis(50);
/// How long to wait at most before another look for a pipe that is not there: the system tells nobody when one is made.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What a wait for a free instance ends with beside the instance: the time is over, or the pipe has gone (the last as Wine says it).
const NEWS: [u32; 3] = [ERROR_SEM_TIMEOUT, ERROR_FILE_NOT_FOUND, ERROR_HANDLES_CLOSED];

/// One server instance of a pipe, which serves one client after the other.
#[derive(Debug)]
pub(crate) struct Instance {
    pipe: Arc<OwnedHandle>,
    /// The wait for a client, which goes on when the call that started it has given up.
    connecting: Mutex<Operation>,
    connected: Arc<Event>,
    direction: PipeDirection,
    info: PipeInfo,
    /// Whether writes may outlive their threads.
    bound: bool,
}

impl Instance {
    /// Makes an instance, and the pipe with the first.
    pub(crate) fn create(path: &Path, asked: Instances) -> Result<Self> {
        let failed = |error| Error::system("creating", path, error);
        let own = sys::own_user().map_err(failed)?;
        let security = SecurityDescriptor::parse(&asked.security.to_descriptor(&own)).map_err(failed)?;
        let size = |wish: usize| if wish > 0 { wish } else { USUAL_SIZE };
        let new = NewPipe {
            path,
            direction: asked.direction,
            mode: asked.mode,
            max: asked.max,
            first: asked.first,
            remote_clients: false,
            inheritable: asked.inheritability == HandleInheritability::Inheritable,
            in_buffer_size: size(asked.in_buffer_size),
            out_buffer_size: size(asked.out_buffer_size),
            security: &security,
        };
        let pipe = sys::create_pipe(&new).map_err(|error| not_created(path, asked.first, error))?;
        let bound = sys::bind_writes(&pipe).is_ok();
        let connected = Arc::new(Event::new().map_err(failed)?);
        Ok(Self {
            pipe: Arc::new(pipe),
            connecting: Mutex::new(Operation::new(Arc::clone(&connected))),
            connected,
            direction: asked.direction,
            info: new.info(),
            bound,
        })
    }

    /// Gives the instance up. It is gone when the last thread that is on its way out of `accept` has left.
    pub(crate) fn give_up(&self) {
        let _ = lock(&self.connecting).cancel();
    }

    /// Lets the next client connect, which the system does not by itself after a disconnect.
    pub(crate) fn listen_again(&self) {
        let mut connecting = lock(&self.connecting);
        if !connecting.is_pending() {
            // What goes wrong here goes wrong again, and is told, when the next client is waited for.
            let _ = connecting.start_connecting(&self.pipe);
        }
    }

    /// Waits for the next client. One that came and went is passed over, unless it has left something to read.
    pub(crate) fn accept(
        &self,
        path: &Path,
        control: &Control,
        deadline: Deadline,
        ended: impl Fn() -> Result<()>,
    ) -> Result<Transport> {
        let failed = |error| Error::system("waiting for a connection on", path, error);
        loop {
            ended()?;
            control.check()?;
            if self.try_accept().map_err(failed)? {
                let handle = Handle::bound(Arc::clone(&self.pipe), self.info, self.bound).map_err(failed)?;
                return Ok(Transport::Handle(handle));
            }
            if deadline.has_passed() {
                return Err(Error::timed_out()
                    .attempted_on("waiting for a connection on", path)
                    .advice("No client has connected in this time."));
            }
            control.wait(&[self.connected.interest()], deadline, || ended().is_ok())?;
        }
    }

    /// Whether a client is there; if not, a wait for one is under way.
    fn try_accept(&self) -> io::Result<bool> {
        let mut connecting = lock(&self.connecting);
        loop {
            let outcome = if connecting.is_pending() {
                match connecting.finish() {
                    None => return Ok(false),
                    Some(outcome) => outcome.map(|_| true),
                }
            } else {
                connecting.start_connecting(&self.pipe).map(|()| false)
            };
            match outcome {
                Ok(false) => {}
                Ok(true) => {
                    if !self.was_abandoned() {
                        return Ok(true);
                    }
                    sys::disconnect(&self.pipe)?;
                }
                Err(error) if is(&error, ERROR_PIPE_CONNECTED) => {
                    if !self.was_abandoned() {
                        return Ok(true);
                    }
                    sys::disconnect(&self.pipe)?;
                }
                Err(error) if is(&error, ERROR_NO_DATA) => {
                    if self.has_bytes() {
                        return Ok(true);
                    }
                    sys::disconnect(&self.pipe)?;
                }
                Err(error) if sys::was_aborted(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn has_bytes(&self) -> bool {
        self.direction.can_read() && sys::look_ahead(&self.pipe, &mut []).is_ok_and(|ahead| ahead.available > 0)
    }

    /// Whether the client has gone and left nothing. On a server that does not read, nothing tells.
    fn was_abandoned(&self) -> bool {
        self.direction.can_read()
            && sys::look_ahead(&self.pipe, &mut []).is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    }
}

fn is(error: &io::Error, number: u32) -> bool {
    error.raw_os_error() == Some(number as i32)
}

fn not_created(path: &Path, first: bool, error: io::Error) -> Error {
    if is(&error, ERROR_PIPE_BUSY) {
        return Error::new(ErrorKind::InstancesBusy, "All pipe instances are busy.")
            .attempted_on("creating", path)
            .advice("The pipe has as many instances as its first one allowed. End their server, or take another name.")
            .with_source(error);
    }
    let denied = is(&error, ERROR_ACCESS_DENIED);
    let error = Error::system("creating", path, error);
    match (denied, first) {
        (true, true) => error.advice("The name exists."),
        (true, false) => error
            .advice("The name exists, with another direction or transmission mode, or its server lets nobody else make instances."),
        _ => error,
    }
}

/// Connects to a server, waiting for it until the deadline. Tries once at least.
///
/// # Errors
///
/// TimedOut, with what was found; UnauthorizedAccess, at once, if this user may not connect or does not accept the server's
/// user; Canceled, and what `ended` says.
pub(crate) fn connect(
    wanted: &Wanted<'_>,
    control: &Control,
    deadline: Deadline,
    ended: impl Fn() -> Result<()>,
) -> Result<Transport> {
    let path = wanted.path;
    let failed = |error| Error::system("connecting to", path, error);
    let inheritable = wanted.inheritability == HandleInheritability::Inheritable;
    let mut missing = Backoff::new(Duration::from_millis(1), LOOK_AGAIN);
    loop {
        ended()?;
        control.check()?;
        let error = match sys::open_pipe(path, wanted.direction, wanted.impersonation_level, true, inheritable) {
            Ok(pipe) => {
                check_server(path, wanted.policy, &pipe)?;
                let info = sys::pipe_info(pipe.as_handle()).map_err(failed)?;
                return Handle::new(Arc::new(pipe), info).map(Transport::Handle).map_err(failed);
            }
            Err(error) => error,
        };
        let busy = is(&error, ERROR_PIPE_BUSY);
        let away = is(&error, ERROR_FILE_NOT_FOUND) || is(&error, ERROR_BAD_NETPATH);
        if !busy && !away {
            return Err(refused(path, error));
        }
        if deadline.has_passed() {
            return Err(too_late(path, busy, error));
        }
        if !busy {
            missing.wait(control, deadline, || ended().is_ok())?;
            continue;
        }
        match sys::wait_for_instance(path, deadline.remaining_within(BUSY_SLICE)) {
            // Free, or the server has gone in between: the next attempt tells. Another client may be quicker.
            Ok(()) => {}
            Err(error) if NEWS.iter().any(|&number| is(&error, number)) => {}
            Err(error) => return Err(refused(path, error)),
        }
    }
}

fn refused(path: &Path, error: io::Error) -> Error {
    if is(&error, ERROR_LOGON_FAILURE) {
        return Error::new(ErrorKind::UnauthorizedAccess, "The user name or password is incorrect.")
            .attempted_on("connecting to", path)
            .advice(r#"Log on to the machine first: net use \\HOST\ipc$ /user:USER."#)
            .with_source(error);
    }
    let denied = error.kind() == io::ErrorKind::PermissionDenied;
    let error = Error::system("connecting to", path, error);
    if denied {
        error.advice("Its server has not let this user in, or not in this direction.")
    } else {
        error
    }
}

fn too_late(path: &Path, busy: bool, error: io::Error) -> Error {
    let advice = if busy {
        "All pipe instances are busy: its server serves other clients."
    } else {
        "No server has created it. Start the server, and see that the name and the machine are right."
    };
    Error::timed_out()
        .attempted_on("connecting to", path)
        .advice(advice)
        .with_source(error)
}

/// Fails for a server that the client does not accept. Who owns a pipe of another machine is for that machine to guard.
fn check_server(path: &Path, policy: ServerPolicy, pipe: &OwnedHandle) -> Result<()> {
    if policy == ServerPolicy::Any || !is_local(path) {
        return Ok(());
    }
    let failed = |error| Error::system("asking who serves", path, error);
    let owner = sys::owner_of(pipe.as_handle()).map_err(failed)?;
    let own = sys::own_user().map_err(failed)?;
    let of_system = |owner: &Sid| [Sid::SYSTEM, Sid::ADMINISTRATORS].contains(&owner.as_str());
    // What has no owner that one could know is nobody's to trust.
    if owner
        .as_ref()
        .is_some_and(|owner| *owner == own || (policy == ServerPolicy::OwnOrRoot && of_system(owner)))
    {
        return Ok(());
    }
    let name = owner.map_or_else(
        || "an unknown user".to_owned(),
        |owner| sys::name_of(&owner).ok().flatten().unwrap_or_else(|| owner.to_string()),
    );
    let user = printable(name.as_ref());
    let (text, advice) = if policy == ServerPolicy::Own {
        (
            "Could not connect to the pipe because it was not owned by the current user.",
            format!("It belongs to '{user}'."),
        )
    } else {
        (
            "Could not connect to the pipe because it was owned neither by the current user nor by the system.",
            format!("It belongs to '{user}'. If you trust that server, allow any server user."),
        )
    };
    Err(Error::new(ErrorKind::UnauthorizedAccess, text)
        .attempted_on("connecting to", path)
        .advice(advice))
}

fn is_local(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().starts_with(br"\\.\")
}

/// Takes over a pipe that the caller owns.
pub(crate) fn adopt(pipe: OwnedHandle, path: &Path, direction: PipeDirection) -> Result<Transport> {
    let invalid =
        || Error::new(ErrorKind::Io, "Invalid pipe handle.").attempted_on("making a named pipe stream from", path);
    if !sys::is_pipe(pipe.as_handle()) {
        return Err(invalid().advice("It is open, but is no pipe."));
    }
    let failed = |error: io::Error| invalid().with_source(error);
    let (readable, writable) = sys::access(pipe.as_handle()).map_err(failed)?;
    if (direction.can_read() && !readable) || (direction.can_write() && !writable) {
        return Err(
            Error::argument("safePipeHandle", "The handle does not have this direction.")
                .attempted_on("making a named pipe stream from", path),
        );
    }
    if sys::is_synchronous(pipe.as_handle()).map_err(failed)? {
        if direction == PipeDirection::InOut {
            // A read that waits would hold up every write.
            return Err(
                Error::not_supported("A synchronous handle works in one direction at a time.")
                    .attempted_on("making a named pipe stream from", path)
                    .advice("Open it with FILE_FLAG_OVERLAPPED, or take it for one direction."),
            );
        }
        Plain::new(pipe).map(Transport::Plain).map_err(failed)
    } else {
        let info = sys::pipe_info(pipe.as_handle()).unwrap_or(PipeInfo::UNKNOWN);
        Handle::new(Arc::new(pipe), info).map(Transport::Handle).map_err(failed)
    }
}

/// How many instances a pipe has.
pub(crate) fn instances(transport: &Transport, path: &Path) -> Result<u32> {
    match transport {
        Transport::Handle(handle) => handle
            .instances()
            .map_err(|error| Error::system("counting the server instances of", path, error)),
        Transport::Plain(_) => Err(
            Error::not_supported("A synchronous handle does not tell while it is read.")
                .attempted_on("counting the server instances of", path),
        ),
    }
}
