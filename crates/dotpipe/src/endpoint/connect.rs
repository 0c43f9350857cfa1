//! Finding a server on this machine and connecting to it.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::identity::{Peer, user_for_text};
use crate::sys::{self, Connecting, Interest, Watch};
use crate::text::printable;
use crate::wait::{Control, Deadline, Woken};

/// Which servers a client accepts. Anybody may create a name first in a folder like `/tmp`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ServerPolicy {
    /// The client's own user's and root's.
    #[default]
    OwnOrRoot,
    /// The client's own user's only.
    Own,
    Any,
}

/// How long the kernel waits for room in a full queue before the caller looks whether it was cancelled.
const QUEUE_SLICE: Duration = Duration::from_millis(50);
/// How long to wait before another look at a name that gives no news: in a folder that cannot be watched, and while a socket
/// that has just appeared may be about to listen.
const LOOK_AGAIN: Duration = Duration::from_millis(8);
/// How often to look again after news. .NET servers bind first and listen a moment later, which nothing tells.
const LOOKS_AFTER_NEWS: u32 = 64;
/// How long to trust the news of a watched folder, which the system may lose.
const TRUST_WATCH: Duration = Duration::from_secs(1);

/// Connects to the server at `path`, waiting for it until the deadline. Tries once at least.
///
/// # Errors
///
/// TimedOut, with what was found at the path; UnauthorizedAccess, at once, if this user may not connect or does not accept
/// the server's user; Canceled, and what `ended` says.
pub(crate) fn connect(
    path: &Path,
    policy: ServerPolicy,
    control: &Control,
    deadline: Deadline,
    ended: impl Fn() -> Result<()>,
) -> Result<OwnedFd> {
    let failed = |error| refused_by_system(path, error);
    let mut watch: Option<Watching> = None;
    loop {
        ended()?;
        control.check()?;
        let socket = sys::stream_socket().map_err(failed)?;
        let mut outcome = sys::try_connect(socket.as_fd(), path).map_err(failed)?;
        while outcome == Connecting::QueueFull && !deadline.has_passed() {
            outcome =
                sys::connect_within(socket.as_fd(), path, deadline.remaining_within(QUEUE_SLICE)).map_err(failed)?;
            ended()?;
            control.check()?;
        }
        let why = match outcome {
            Connecting::Done => {
                check_server(path, policy, &socket)?;
                return Ok(socket);
            }
            other => other,
        };
        if deadline.has_passed() {
            return Err(too_late(path, why));
        }
        match &mut watch {
            Some(watching) => {
                if !watching.wait_for_news(why, control, deadline, &ended)? {
                    watch = None;
                }
            }
            // The name may have appeared before the watch began: look once more before waiting.
            None => watch = Some(Watching::beside(path)),
        }
    }
}

/// Waits for news of the folder in which a name is awaited.
struct Watching {
    /// `None` where the folder is missing or cannot be watched.
    folder: Option<Watch>,
    /// How often yet to look at a socket that nobody listens to, although there is no news.
    looks: u32,
}

impl Watching {
    fn beside(path: &Path) -> Self {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        Self {
            folder: Watch::for_new_files(folder.unwrap_or_else(|| Path::new("."))).ok(),
            looks: LOOKS_AFTER_NEWS,
        }
    }

    /// `false` if the folder that was watched is no longer at its place.
    fn wait_for_news(
        &mut self,
        why: Connecting,
        control: &Control,
        deadline: Deadline,
        ended: &impl Fn() -> Result<()>,
    ) -> Result<bool> {
        let about_to_listen = why == Connecting::Refused && self.looks > 0;
        let (interest, longest) = match &self.folder {
            Some(folder) if !about_to_listen => (Some(Interest::readable(folder.as_fd())), TRUST_WATCH),
            _ => (None, LOOK_AGAIN),
        };
        self.looks = self.looks.saturating_sub(1);
        let until = Deadline::after(deadline.remaining_within(longest));
        let woken = control.wait(interest.as_slice(), until, || ended().is_ok())?;
        match (woken, &self.folder) {
            (Woken::Look, Some(folder)) if interest.is_some() => {
                self.looks = LOOKS_AFTER_NEWS;
                Ok(folder.clear())
            }
            _ => Ok(true),
        }
    }
}

fn check_server(path: &Path, policy: ServerPolicy, socket: &OwnedFd) -> Result<()> {
    if policy == ServerPolicy::Any {
        return Ok(());
    }
    let server = Peer::of(socket.as_fd()).map_err(|error| Error::system("asking who serves", path, error))?;
    if server.is_current_user() || (policy == ServerPolicy::OwnOrRoot && server.is_root()) {
        return Ok(());
    }
    let user = user_for_text(server.uid());
    let (text, advice) = if policy == ServerPolicy::Own {
        (
            "Could not connect to the pipe because it was not owned by the current user.",
            format!("It belongs to {user}."),
        )
    } else {
        (
            "Could not connect to the pipe because it was owned neither by the current user nor by root.",
            format!("It belongs to {user}. If you trust that server, allow any server user."),
        )
    };
    Err(Error::new(ErrorKind::UnauthorizedAccess, text)
        .attempted_on("connecting to", path)
        .advice(advice))
}

fn refused_by_system(path: &Path, error: std::io::Error) -> Error {
    let denied = error.kind() == std::io::ErrorKind::PermissionDenied;
    let error = Error::system("connecting to", path, error);
    if !denied {
        return error;
    }
    match sys::entry(path) {
        Ok(Some(there)) => error.advice(format!(
            "The pipe belongs to {}, who has not let {} in. Its server decides with its access rule.",
            user_for_text(there.owner),
            user_for_text(sys::effective_uid())
        )),
        _ => error,
    }
}

fn too_late(path: &Path, why: Connecting) -> Error {
    let folder = path
        .parent()
        .map(|folder| printable(folder.as_os_str()))
        .unwrap_or_default();
    let advice = match why {
        Connecting::Missing => format!(
            "No server has created it. Start the server, and see that both sides have the same TMPDIR (this one looks in {folder}) and are not in containers of their own."
        ),
        Connecting::Refused => {
            "Something is at this path, but no server listens there: its process has ended. Start the server again."
                .to_owned()
        }
        Connecting::QueueFull | Connecting::Done => {
            "The server is there, but accepts no connection: its queue is full.".to_owned()
        }
    };
    Error::timed_out().attempted_on("connecting to", path).advice(advice)
}
