//! Who is at the other end of a pipe.

use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use crate::sys::{self, PeerCredentials};

/// The user at the other end of a socket, for decisions about access.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    credentials: PeerCredentials,
    groups: Vec<u32>,
}

impl Peer {
    pub(crate) fn of(socket: BorrowedFd<'_>) -> io::Result<Self> {
        let credentials = sys::peer_credentials(socket)?;
        // Older kernels do not tell the groups; without them only the main group counts.
        let groups = sys::peer_groups(socket).unwrap_or_default();
        Ok(Self { credentials, groups })
    }

    #[cfg(test)]
    pub(crate) fn for_test(uid: u32, groups: &[u32]) -> Self {
        Self {
            credentials: PeerCredentials {
                pid: None,
                uid,
                gid: uid,
            },
            groups: groups.to_vec(),
        }
    }

    pub(crate) fn uid(&self) -> u32 {
        self.credentials.uid
    }

    /// The main group and the supplementary ones.
    pub(crate) fn groups(&self) -> impl Iterator<Item = u32> + '_ {
        std::iter::once(self.credentials.gid).chain(self.groups.iter().copied())
    }

    /// Whether the user has no number in this user namespace, and thus cannot be told from others like it.
    pub(crate) fn is_unmapped(&self) -> bool {
        sys::is_unmapped(self.credentials.uid)
    }

    pub(crate) fn is_current_user(&self) -> bool {
        !self.is_unmapped() && self.credentials.uid == sys::effective_uid()
    }

    pub(crate) fn is_root(&self) -> bool {
        !self.is_unmapped() && self.credentials.uid == 0
    }
}

/// Who a server's client is, as the kernel saw it when the client connected.
///
/// The process and its user are those that called `connect`. A descriptor may have been passed on since; nothing tells
/// who holds it now (`SO_PEERCRED`, `unix(7)`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientIdentity {
    user_name: String,
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
    pid: Option<u32>,
    program: Option<PathBuf>,
}

impl ClientIdentity {
    pub(crate) fn of(socket: BorrowedFd<'_>) -> io::Result<Self> {
        let Peer {
            credentials: PeerCredentials { pid, uid, gid },
            groups,
        } = Peer::of(socket)?;
        let program = pid.and_then(|pid| sys::program_of_peer(pid, socket));
        Ok(Self {
            user_name: name_of_user(uid)?,
            uid,
            gid,
            groups,
            pid,
            program,
        })
    }

    /// The client's log-in name; for a user without one, the user's number in digits.
    #[must_use]
    pub fn user_name(&self) -> &str {
        &self.user_name
    }

    /// The number of the client's user. 65534 may stand for a user that has no number in this user namespace.
    #[must_use]
    pub fn uid(&self) -> Option<u32> {
        Some(self.uid)
    }

    /// The number of the client's main group.
    #[must_use]
    pub fn gid(&self) -> Option<u32> {
        Some(self.gid)
    }

    /// The numbers of the client's supplementary groups.
    #[must_use]
    pub fn groups(&self) -> &[u32] {
        &self.groups
    }

    /// The number of the client's process; `None` for one in a process namespace that this process cannot see.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// The file of the client's program, or the process's name where the file may not be known; `None` if the process has ended.
    ///
    /// A hint for people: a process can change its name, and run another program.
    #[must_use]
    pub fn program(&self) -> Option<&Path> {
        self.program.as_deref()
    }
}

/// A user's log-in name; for a user without one, the number in digits.
pub(crate) fn name_of_user(uid: u32) -> io::Result<String> {
    Ok(sys::user_name(uid)?.unwrap_or_else(|| uid.to_string()))
}

/// A user for the text of an error, where a failure to look up the name must not hide what the error is about.
pub(crate) fn user_for_text(uid: u32) -> String {
    name_of_user(uid).map_or_else(
        |_| format!("user {uid}"),
        |name| format!("user '{}'", crate::text::printable(name.as_ref())),
    )
}

/// Takes a client's identity on this thread, until the guard is dropped.
///
/// A process that is the client's user and group already needs no right for it, and keeps its own groups and capabilities.
pub(crate) fn impersonate(client: &ClientIdentity) -> io::Result<Option<sys::Impersonating>> {
    let credentials = PeerCredentials {
        pid: client.pid,
        uid: client.uid,
        gid: client.gid,
    };
    let peer = Peer {
        credentials,
        groups: Vec::new(),
    };
    if peer.is_unmapped() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    if peer.is_current_user() && !sys::may_change_identity() {
        return Ok(None);
    }
    sys::Impersonating::begin(client.uid, client.gid, &client.groups).map(Some)
}
