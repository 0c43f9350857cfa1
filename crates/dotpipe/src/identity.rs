//! Who is at the other end of a pipe.

#[cfg_attr(unix, path = "identity/unix.rs")]
#[cfg_attr(windows, path = "identity/windows.rs")]
mod system;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

#[cfg(unix)]
pub(crate) use system::{Peer, user_for_text};

use crate::sys;
use crate::transport::Transport;

/// Who a server's client is, as the system saw it when the client connected.
///
/// On Unix the process and its user are those that called `connect`. A descriptor may have been passed on since; nothing
/// tells who holds it now (`SO_PEERCRED`, `unix(7)`). On Windows the user is the one whose rights the client lent to the
/// connection, which the client's [impersonation level](crate::TokenImpersonationLevel) may forbid to look at; see
/// [ImpersonateNamedPipeClient](https://learn.microsoft.com/windows/win32/api/namedpipeapi/nf-namedpipeapi-impersonatenamedpipeclient).
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ClientIdentity {
    user_name: String,
    /// The numbers of user and main group, on Unix.
    user: Option<(u32, u32)>,
    groups: Vec<u32>,
    /// The security identifier of the user, on Windows.
    sid: Option<String>,
    pid: Option<u32>,
    session: Option<u32>,
    computer: Option<String>,
    program: Option<PathBuf>,
}

impl ClientIdentity {
    pub(crate) fn of(transport: &Transport) -> io::Result<Self> {
        system::identify(transport)
    }

    /// The client's log-in name; on Unix, for a user without one, the user's number in digits.
    #[must_use]
    pub fn user_name(&self) -> &str {
        &self.user_name
    }

    /// The number of the client's user, on Unix. 65534 may stand for a user that has no number in this user namespace.
    #[must_use]
    pub fn uid(&self) -> Option<u32> {
        self.user.map(|(uid, _)| uid)
    }

    /// The number of the client's main group, on Unix.
    #[must_use]
    pub fn gid(&self) -> Option<u32> {
        self.user.map(|(_, gid)| gid)
    }

    /// The numbers of the client's supplementary groups, on Unix.
    #[must_use]
    pub fn groups(&self) -> &[u32] {
        &self.groups
    }

    /// The security identifier of the client's user in its text form, on Windows.
    #[must_use]
    pub fn sid(&self) -> Option<&str> {
        self.sid.as_deref()
    }

    /// The number of the client's process; `None` for one in a process namespace that this process cannot see, or on another machine.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// The number of the log-on session in which the client runs, on Windows.
    #[must_use]
    pub fn session(&self) -> Option<u32> {
        self.session
    }

    /// The name of the machine on which the client runs, on Windows, where the system tells it.
    #[must_use]
    pub fn computer_name(&self) -> Option<&str> {
        self.computer.as_deref()
    }

    /// The file of the client's program, or the process's name where the file may not be known; `None` if the process has ended.
    ///
    /// A hint for people: a process can change its name, and run another program.
    #[must_use]
    pub fn program(&self) -> Option<&Path> {
        self.program.as_deref()
    }
}

impl fmt::Debug for ClientIdentity {
    /// Shows what is known.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("ClientIdentity");
        shown.field("user_name", &self.user_name);
        if let Some((uid, gid)) = self.user {
            shown
                .field("uid", &uid)
                .field("gid", &gid)
                .field("groups", &self.groups);
        }
        if let Some(sid) = &self.sid {
            shown
                .field("sid", sid)
                .field("session", &self.session)
                .field("computer", &self.computer);
        }
        shown.field("pid", &self.pid).field("program", &self.program).finish()
    }
}

/// Takes a client's identity on this thread, until the guard is dropped; `None` if the thread has it already.
pub(crate) fn impersonate(transport: &Transport, client: &ClientIdentity) -> io::Result<Option<sys::Impersonating>> {
    system::impersonate(transport, client)
}

/// What a process lacks that may not take a client's identity, in whole sentences.
pub(crate) fn what_impersonating_takes(client: &ClientIdentity) -> String {
    system::what_impersonating_takes(client)
}
