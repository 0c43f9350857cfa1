//! Putting a listening socket at its public path: in one step, and in place of nothing that is alive.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use super::folder::PrivateFolder;
use super::liveness::{Liveness, in_the_way, liveness, taken};
use crate::error::{Error, ErrorKind, Result};
use crate::identity::user_for_text;
use crate::security::PipeSecurity;
use crate::sys::{self, Entry, EntryKind, FileId};

/// A socket that listens at its public path.
pub(super) struct Published {
    pub(super) socket: OwnedFd,
    pub(super) file: FileId,
}

/// How often a name may change under our hands while it is created before that is an error.
const MOST_ATTEMPTS: usize = 100;

/// Makes a listening socket and publishes it. The caller holds the name's lock, so that of dotpipe's processes only this
/// one does so; others, such as .NET, may do anything at any moment, and are not robbed by it.
pub(super) fn publish(
    folder: &PrivateFolder,
    file_name: &OsStr,
    path: &Path,
    security: &PipeSecurity,
    first: bool,
) -> Result<Published> {
    let mut attempts = 0;
    let mut draft = Draft::prepare(folder, file_name, path, security)?;
    while attempts < MOST_ATTEMPTS {
        attempts += 1;
        match draft.attempt(path, first)? {
            Outcome::Published => {
                let Draft {
                    file: _done,
                    socket,
                    id,
                } = draft;
                return Ok(Published { socket, file: id });
            }
            Outcome::LookAgain => {}
            Outcome::DraftLost => draft = Draft::prepare(folder, file_name, path, security)?,
        }
    }
    Err(Error::new(ErrorKind::Io, "The path changes all the time.").attempted_on("creating", path))
}

/// What became of one attempt to publish.
enum Outcome {
    Published,
    /// Something else is at the path now.
    LookAgain,
    /// As `LookAgain`, and the draft's own file was removed.
    DraftLost,
}

/// A listening socket in the private folder, where nobody can reach it yet.
struct Draft<'a> {
    file: DraftFile<'a>,
    socket: OwnedFd,
    id: FileId,
}

/// The file of a draft; whatever has its name in the private folder goes when this is dropped.
///
/// After publishing that is nothing; after an exchange it is the dead socket that was there before.
struct DraftFile<'a> {
    folder: &'a PrivateFolder,
    name: String,
}

impl Drop for DraftFile<'_> {
    fn drop(&mut self) {
        let _ = sys::remove_in(self.folder.fd(), &self.name);
    }
}

impl DraftFile<'_> {
    fn id(&self) -> io::Result<Option<FileId>> {
        self.folder.id_of(&self.name)
    }
}

impl<'a> Draft<'a> {
    fn prepare(folder: &'a PrivateFolder, file_name: &OsStr, path: &Path, security: &PipeSecurity) -> Result<Self> {
        let failed = |error| Error::system("making the socket of", path, error);
        let socket = sys::stream_socket().map_err(failed)?;
        let file = DraftFile {
            folder,
            name: PrivateFolder::fresh_socket_name(file_name)?,
        };
        sys::bind(socket.as_fd(), &folder.binding_path(&file.name)).map_err(failed)?;
        // The umask has its say at binding; nobody can reach the file before it has its mode.
        sys::set_mode_in(folder.fd(), &file.name, security.socket_mode()).map_err(failed)?;
        sys::listen(socket.as_fd()).map_err(failed)?;
        let id = file
            .id()
            .map_err(failed)?
            .ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
        Ok(Self { file, socket, id })
    }

    /// Puts the socket at its public path, in place of nothing or of a socket that is proven dead.
    fn attempt(&self, path: &Path, first: bool) -> Result<Outcome> {
        let failed = |error| Error::system("creating", path, error);
        // Held until this attempt is over, so that no new file gets the number of one that was proven dead.
        let Some(pinned) = sys::pin(path).map_err(failed)? else {
            return match sys::publish(self.file.folder.fd(), &self.file.name, path) {
                Ok(()) => Ok(Outcome::Published),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Outcome::LookAgain),
                Err(error) => Err(failed(error)),
            };
        };
        let there = pinned.entry();
        if there.kind != EntryKind::Socket {
            return Err(in_the_way(path, there));
        }
        match liveness(path, there)? {
            Liveness::Live(owner) => Err(taken(path, first, &owner)),
            Liveness::Dead => self.replace(path, there),
        }
    }

    /// Exchanges the socket with a dead one, and back again if what came out is not the one that was proven dead.
    fn replace(&self, path: &Path, dead: &Entry) -> Result<Outcome> {
        let failed = |error: io::Error| {
            let denied = error.kind() == io::ErrorKind::PermissionDenied;
            let failed = Error::system("replacing the abandoned socket", path, error);
            if denied {
                failed.advice(format!(
                    "It belongs to {}, and only they or root can remove it.",
                    user_for_text(dead.owner)
                ))
            } else {
                failed
            }
        };
        if !self.exchange(path).map_err(failed)? {
            return Ok(match self.file.id().map_err(failed)? {
                Some(_) => Outcome::LookAgain,
                None => Outcome::DraftLost,
            });
        }
        let mut came_out = self.file.id().map_err(failed)?;
        if came_out == Some(dead.id) {
            return Ok(Outcome::Published);
        }
        // Somebody has replaced the dead socket meanwhile, and gets the path back. Whoever replaced ours since then is newer
        // and is put back in turn, until what comes out is what was put there last.
        let mut put_there = Some(self.id);
        for _ in 0..MOST_ATTEMPTS {
            let put_back = came_out;
            if put_back.is_none() || !self.exchange(path).map_err(failed)? {
                // Ours was removed there: what was taken out would have been, too.
                return Ok(Outcome::DraftLost);
            }
            came_out = self.file.id().map_err(failed)?;
            if came_out == put_there {
                break;
            }
            put_there = put_back;
        }
        Ok(if came_out == Some(self.id) {
            Outcome::LookAgain
        } else {
            Outcome::DraftLost
        })
    }

    /// Swaps what has the draft's name with what is at the path; `false` if either is missing.
    fn exchange(&self, path: &Path) -> io::Result<bool> {
        match sys::exchange(self.file.folder.fd(), &self.file.name, path) {
            Ok(()) => Ok(true),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
