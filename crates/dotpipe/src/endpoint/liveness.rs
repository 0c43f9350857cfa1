//! Whether somebody serves the socket at a path, and who.

use std::os::fd::AsFd;
use std::path::Path;

use super::folder::PrivateFolder;
use super::owner::Owner;
use crate::error::{Error, ErrorKind, Result};
use crate::identity::user_for_text;
use crate::sys::{self, Connecting, Entry, EntryKind};
use crate::text::printable;

pub(super) enum Liveness {
    Live(Owner),
    Dead,
}

/// Asks the kernel's socket table, where a live server never notices; only without an answer there, the socket itself.
///
/// The table holds one network namespace, so that no entry proves nothing: of a connect's results only "refused" means dead.
pub(super) fn liveness(path: &Path, there: &Entry) -> Result<Liveness> {
    if let Ok(Some(bound)) = sys::socket_bound_to(there.id) {
        let pid = sys::holder_of_socket(bound.number);
        return Ok(Liveness::Live(owner_of(path, there, pid)));
    }
    let socket = sys::stream_socket().map_err(|error| Error::system("creating", path, error))?;
    match sys::try_connect(socket.as_fd(), path) {
        Ok(Connecting::Refused) => Ok(Liveness::Dead),
        Ok(Connecting::Done) => {
            let pid = sys::peer_credentials(socket.as_fd()).ok().and_then(|peer| peer.pid);
            Ok(Liveness::Live(owner_of(path, there, pid)))
        }
        // Gone meanwhile: the caller looks again.
        Ok(Connecting::Missing) => Ok(Liveness::Dead),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            Err(Error::system("looking whether a server lives at", path, error).advice(format!(
                "The socket there belongs to {}. Only they and root can tell whether somebody serves it, and remove it if not.",
                user_for_text(there.owner)
            )))
        }
        Ok(Connecting::QueueFull) | Err(_) => Ok(Liveness::Live(owner_of(path, there, None))),
    }
}

fn owner_of(path: &Path, there: &Entry, pid: Option<u32>) -> Owner {
    let mut owner = match pid {
        Some(_) => Owner::of_process(pid),
        // This user's record is this process's own, which holds the lock.
        None if there.owner == sys::effective_uid() => Owner::default(),
        None => PrivateFolder::record_of(path, there.owner).unwrap_or_default(),
    };
    owner.user = Some(there.owner);
    owner
}

/// The holder of whatever socket is at a path now, for a text.
pub(super) fn holder(path: &Path, there: &Entry) -> Owner {
    let bound = sys::socket_bound_to(there.id).ok().flatten();
    owner_of(path, there, bound.and_then(|bound| sys::holder_of_socket(bound.number)))
}

/// The holder of a name whose lock another process has: as its record says, or as the kernel does where the record is no help.
pub(super) fn holder_of_lock(path: &Path, record: &[u8], locker: Option<u32>) -> Owner {
    let told = match locker {
        Some(_) => Owner::of_process(locker),
        None => Owner::from_record(record),
    };
    if told.pid.is_some() {
        return told;
    }
    match sys::entry(path) {
        Ok(Some(there)) if there.kind == EntryKind::Socket => holder(path, &there),
        _ => told,
    }
}

/// The error of a name that another process has.
pub(super) fn taken(path: &Path, first: bool, owner: &Owner) -> Error {
    if first {
        let text = format!("Access to the path '{}' is denied.", printable(path.as_os_str()));
        return Error::new(ErrorKind::UnauthorizedAccess, text)
            .attempted_on("creating the first instance of", path)
            .advice(format!("The name exists: it is held by {owner}."));
    }
    Error::new(ErrorKind::InstancesBusy, "All pipe instances are busy.")
        .attempted_on("creating", path)
        .advice(format!("The name is held by {owner}. End it, or take another name."))
}

/// The error of a path where something is that no server replaces.
pub(super) fn in_the_way(path: &Path, there: &Entry) -> Error {
    let what = match there.kind {
        EntryKind::Folder => "A folder",
        EntryKind::File => "A regular file",
        EntryKind::Link => "A symbolic link",
        EntryKind::Socket | EntryKind::Other => "A special file",
    };
    Error::system("creating", path, sys::address_in_use()).advice(format!(
        "{what} of {} is there. dotpipe removes nothing but dead sockets: move it away, or take another name.",
        user_for_text(there.owner)
    ))
}
