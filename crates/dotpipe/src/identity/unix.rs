//! Who is at the other end of a socket, by the numbers of users and groups.

use std::io;
use std::os::fd::BorrowedFd;

use super::ClientIdentity;
use crate::sys::{self, PeerCredentials};
use crate::transport::Transport;

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

/// The client at the other end of a connection.
pub(super) fn identify(transport: &Transport) -> io::Result<ClientIdentity> {
    let socket = transport.descriptor();
    let Peer {
        credentials: PeerCredentials { pid, uid, gid },
        groups,
    } = Peer::of(socket)?;
    Ok(ClientIdentity {
        user_name: name_of_user(uid)?,
        user: Some((uid, gid)),
        groups,
        pid,
        program: pid.and_then(|pid| sys::program_of_peer(pid, socket)),
        ..ClientIdentity::default()
    })
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
pub(super) fn impersonate(_: &Transport, client: &ClientIdentity) -> io::Result<Option<sys::Impersonating>> {
    let (uid, gid) = client.user.ok_or(io::ErrorKind::NotFound)?;
    let credentials = PeerCredentials {
        pid: client.pid,
        uid,
        gid,
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
    sys::Impersonating::begin(uid, gid, &client.groups).map(Some)
}

pub(super) fn what_impersonating_takes(client: &ClientIdentity) -> String {
    format!(
        "To act as {} this process needs the capabilities CAP_SETUID and CAP_SETGID.",
        user_for_text(client.uid().unwrap_or_default())
    )
}
