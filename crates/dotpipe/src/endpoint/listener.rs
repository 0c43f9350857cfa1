//! The local listening place of a name: created so that nobody's live name is taken, watched, and removed if still ours.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::folder::PrivateFolder;
use super::owner::Owner;
use crate::error::{Error, ErrorKind, Result};
use crate::identity::{Peer, user_for_text};
use crate::security::PipeSecurity;
use crate::sys::{self, Connecting, Entry, EntryKind, FileId, Interest, LockFile, Locking, Watch};
use crate::wait::{Backoff, Control, Deadline, Woken};

/// A name that this process owns: its socket listens at the public path, and the lock says that nobody else may.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: OwnedFd,
    path: PathBuf,
    file: FileId,
    security: PipeSecurity,
    folder: PrivateFolder,
    lock: LockFile,
    /// Tells when the socket's file is moved or removed; without it the file is looked at each second.
    removal: Option<Watch>,
    /// A forked child has a copy of this object, and must leave the files alone.
    process: u32,
}

/// A connection taken from a listener.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) socket: OwnedFd,
}

/// How often a name may change under our hands while it is created before that is an error.
const MOST_ATTEMPTS: usize = 100;

impl Listener {
    /// Takes a name: locks it, makes sure that nobody lives there, and publishes a listening socket in one step.
    ///
    /// # Errors
    ///
    /// InstancesBusy if another process holds the name, UnauthorizedAccess if another user's file is in the way, Io if
    /// something that is no socket is.
    pub(crate) fn create(path: &Path, security: PipeSecurity, first: bool, owner: &Owner) -> Result<Self> {
        let folder = PrivateFolder::beside(path)?;
        let file_name = path.file_name().map(OsStr::to_owned).unwrap_or_default();
        let lock = match folder.lock(&file_name)? {
            Locking::Held(lock) => lock,
            Locking::Taken(record) => return Err(taken(path, first, &Owner::from_record(&record))),
            Locking::Foreign(entry) => {
                return Err(Error::new(
                    ErrorKind::UnauthorizedAccess,
                    "The lock file of this name is not this user's file.",
                )
                .attempted_on("creating", path)
                .advice(format!("It belongs to {}; remove it.", user_for_text(entry.owner))));
            }
        };
        folder.sweep(&file_name, &lock);
        let recorded = lock.write_record(&owner.to_record());
        let published = recorded
            .map_err(|error| Error::system("writing the lock file of", path, error))
            .and_then(|()| Draft::prepare(&folder, &file_name, path, &security))
            .and_then(|draft| draft.publish(path, first));

        match published {
            Ok((socket, file)) => {
                let removal = Watch::for_removal(path).ok();
                Ok(Self {
                    socket,
                    path: path.to_owned(),
                    file,
                    security,
                    folder,
                    lock,
                    removal,
                    process: std::process::id(),
                })
            }
            Err(error) => {
                folder.remove_lock(&file_name, &lock);
                Err(error)
            }
        }
    }

    pub(crate) fn security(&self) -> &PipeSecurity {
        &self.security
    }

    /// Says anew in the lock file who owns the name, and how it is used.
    pub(crate) fn record(&self, owner: &Owner) {
        // What stands there is for people; a full disk must not end a working server.
        let _ = self.lock.write_record(&owner.to_record());
    }

    /// Takes the next client that may connect and is still there, waiting for it.
    ///
    /// # Errors
    ///
    /// NameLost if the path is no longer this socket's and no client is queued; TimedOut, Canceled, and what `ended` says.
    pub(crate) fn accept(
        &self,
        control: &Control,
        deadline: Deadline,
        ended: impl Fn() -> Result<()>,
    ) -> Result<Accepted> {
        let mut starved = Backoff::new(Duration::from_millis(5), Duration::from_millis(200));
        loop {
            ended()?;
            control.check()?;
            match sys::accept(self.socket.as_fd()) {
                Ok(socket) => {
                    if self.welcomes(&socket)? {
                        return Ok(Accepted { socket });
                    }
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait(control, deadline, &ended)?,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                // The queue stays readable: to wait for it would spin until a descriptor or memory is given back.
                Err(error) if is_shortage(&error) => starved.wait(control, &[], deadline, || ended().is_ok())?,
                Err(error) => return Err(Error::system("waiting for a connection on", &self.path, error)),
            }
            if deadline.has_passed() {
                return Err(Error::timed_out()
                    .attempted_on("waiting for a connection on", &self.path)
                    .advice("No client has connected in this time."));
            }
        }
    }

    fn wait(&self, control: &Control, deadline: Deadline, ended: &impl Fn() -> Result<()>) -> Result<()> {
        self.check_name()?;
        let listening = Interest::readable(self.socket.as_fd());
        match &self.removal {
            Some(removal) => {
                let woken = control.wait(&[listening, Interest::readable(removal.as_fd())], deadline, || {
                    ended().is_ok()
                })?;
                if woken == Woken::Look {
                    removal.clear();
                }
            }
            None => {
                let tick = Deadline::after(deadline.remaining_within(Duration::from_secs(1)));
                control.wait(&[listening], tick, || ended().is_ok())?;
            }
        }
        Ok(())
    }

    /// Whether a client may stay: one that gave up while it was queued is not worth a connection, and a stranger's is refused.
    fn welcomes(&self, socket: &OwnedFd) -> Result<bool> {
        let failed = |error| Error::system("asking who has connected to", &self.path, error);
        let gone = sys::readiness(socket.as_fd()).map_err(failed)?.hung_up;
        if gone && !matches!(sys::receive_peek(socket.as_fd(), &mut [0]), Ok(1..)) {
            return Ok(false);
        }
        if self.security.allows(&Peer::of(socket.as_fd()).map_err(failed)?) {
            return Ok(true);
        }
        // Closing with bytes unread would reset the connection, where the stranger should see a plain end.
        let mut unread = [0; 4096];
        for _ in 0..64 {
            if !matches!(sys::receive(socket.as_fd(), &mut unread), Ok(1..)) {
                break;
            }
        }
        Ok(false)
    }

    /// Fails if the public path is no longer this socket's.
    fn check_name(&self) -> Result<()> {
        let entry = sys::entry(&self.path).map_err(|error| Error::system("looking at", &self.path, error))?;
        let what = match entry {
            Some(entry) if entry.id == self.file => return Ok(()),
            Some(entry) if entry.kind == EntryKind::Socket => {
                format!(
                    "It was taken over by {}, which replaced the socket without asking.",
                    holder(&self.path, &entry)
                )
            }
            Some(entry) => format!(
                "Something that is no socket, of {}, has replaced it.",
                user_for_text(entry.owner)
            ),
            None => "Its socket was removed.".to_owned(),
        };
        Err(Error::new(ErrorKind::NameLost, "The pipe name no longer belongs to this server.")
            .attempted_on("waiting for a connection on", &self.path)
            .advice(format!("{what} No client can reach this server any more: close it, and create it again once the name is free.")))
    }

    /// Removes the socket's file, if it is still this socket's, by moving it aside first so that no stranger's is removed.
    fn withdraw(&self, file_name: &OsStr) {
        if !matches!(sys::entry(&self.path), Ok(Some(entry)) if entry.id == self.file) {
            return;
        }
        let Ok(aside) = PrivateFolder::fresh_socket_name(file_name) else {
            return;
        };
        if sys::take_in(&self.path, self.folder.fd(), &aside).is_err() {
            return;
        }
        match self.folder.id_of(&aside) {
            Ok(Some(id)) if id == self.file => {
                let _ = sys::remove_in(self.folder.fd(), &aside);
            }
            // Somebody replaced the file in between: it goes back.
            _ => {
                let _ = sys::publish(self.folder.fd(), &aside, &self.path);
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if self.process != std::process::id() {
            return;
        }
        let file_name = self.path.file_name().map(OsStr::to_owned).unwrap_or_default();
        self.withdraw(&file_name);
        self.folder.remove_lock(&file_name, &self.lock);
    }
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
        let id = folder
            .id_of(&file.name)
            .map_err(failed)?
            .ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
        Ok(Self { file, socket, id })
    }

    /// Puts the socket at its public path, in place of nothing or of a socket that is proven dead.
    fn publish(self, path: &Path, first: bool) -> Result<(OwnedFd, FileId)> {
        for _ in 0..MOST_ATTEMPTS {
            let failed = |error| Error::system("creating", path, error);
            match sys::entry(path).map_err(failed)? {
                None => match sys::publish(self.file.folder.fd(), &self.file.name, path) {
                    Ok(()) => return Ok((self.socket, self.id)),
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                    Err(error) => return Err(failed(error)),
                },
                Some(there) if there.kind != EntryKind::Socket => return Err(in_the_way(path, &there)),
                Some(there) => {
                    if let Liveness::Live(owner) = liveness(path, &there)? {
                        return Err(taken(path, first, &owner));
                    }
                    if self.replace(path, &there)? {
                        return Ok((self.socket, self.id));
                    }
                }
            }
        }
        Err(Error::new(ErrorKind::Io, "The path changes all the time.").attempted_on("creating", path))
    }

    /// Exchanges the socket with a dead one; `false` if it turned out to be another than the one that was proven dead.
    fn replace(&self, path: &Path, dead: &Entry) -> Result<bool> {
        let DraftFile { folder, name } = &self.file;
        match sys::exchange(folder.fd(), name, path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound || error.kind() == io::ErrorKind::AlreadyExists => {
                return Ok(false);
            }
            Err(error) => {
                return Err(
                    Error::system("replacing the abandoned socket", path, error).advice(format!(
                        "It belongs to {}, and only they or root can remove it.",
                        user_for_text(dead.owner)
                    )),
                );
            }
        }
        let failed = |error| Error::system("replacing the abandoned socket", path, error);
        if folder.id_of(name).map_err(failed)? == Some(dead.id) {
            return Ok(true);
        }
        // Somebody has put another file there meanwhile: it goes back, and this socket out of its way.
        sys::exchange(folder.fd(), name, path).map_err(failed)?;
        Ok(false)
    }
}

/// Whether somebody serves the socket at a path.
enum Liveness {
    Live(Owner),
    Dead,
}

/// Asks the kernel's socket table, where a live server never notices; only without an answer there, the socket itself.
///
/// The table holds one network namespace, so that no entry proves nothing: of a connect's results only "refused" means dead.
fn liveness(path: &Path, there: &Entry) -> Result<Liveness> {
    if let Ok(Some(bound)) = sys::socket_bound_to(there.id) {
        return Ok(Liveness::Live(owner_of(
            path,
            there,
            sys::holder_of_socket(bound.number),
        )));
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
        Ok(Connecting::QueueFull) | Err(_) => Ok(Liveness::Live(owner_of(path, there, None))),
    }
}

fn owner_of(path: &Path, there: &Entry, pid: Option<u32>) -> Owner {
    match pid {
        Some(_) => Owner::of_process(pid),
        None => PrivateFolder::record_of(path, there.owner).unwrap_or_default(),
    }
}

/// The holder of a socket that has taken a path's place, and its user, for a text.
fn holder(path: &Path, there: &Entry) -> String {
    let pid = sys::socket_bound_to(there.id)
        .ok()
        .flatten()
        .and_then(|bound| sys::holder_of_socket(bound.number));
    format!("{} of {}", owner_of(path, there, pid), user_for_text(there.owner))
}

fn taken(path: &Path, first: bool, owner: &Owner) -> Error {
    if first {
        let text = format!(
            "Access to the path '{}' is denied.",
            crate::name::printable(path.as_os_str())
        );
        return Error::new(ErrorKind::UnauthorizedAccess, text)
            .attempted_on("creating the first instance of", path)
            .advice(format!("The name exists: it is held by {owner}."));
    }
    Error::new(ErrorKind::InstancesBusy, "All pipe instances are busy.")
        .attempted_on("creating", path)
        .advice(format!("The name is held by {owner}. End it, or take another name."))
}

fn in_the_way(path: &Path, there: &Entry) -> Error {
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

fn is_shortage(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)
    )
}
