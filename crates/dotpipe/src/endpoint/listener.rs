//! The local listening place of a name: created so that nobody's live name is taken, watched, and removed if still ours.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::folder::PrivateFolder;
use super::liveness::{holder, holder_of_lock, taken};
use super::owner::Owner;
use super::publish::{Published, publish};
use crate::error::{Error, ErrorKind, Result};
use crate::identity::{Peer, user_for_text};
use crate::security::PipeSecurity;
use crate::sys::{self, EntryKind, FileId, Interest, LockFile, Locking, Watch};
use crate::wait::{Backoff, Control, Deadline, Woken, lock};

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
    /// The streams that wait for a client now.
    waiting: Mutex<Vec<Arc<Control>>>,
    /// A forked child has a copy of this object, and must leave the files alone.
    process: u32,
}

/// A connection taken from a listener.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) socket: OwnedFd,
}

/// How long after a socket was removed the one who did it may put another there, and be named for it.
const LATEST_THIEF: Duration = Duration::from_millis(500);
/// How many queued clients that cannot be served are passed over once the time is over.
const PASSED_OVER_LATE: usize = 128;

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
        let held = match folder.lock(&file_name)? {
            Locking::Held(held) => held,
            Locking::Taken { record, process } => {
                return Err(taken(path, first, &holder_of_lock(path, &record, process)));
            }
            Locking::Foreign(entry) => return Err(folder.foreign_lock(&file_name, &entry)),
        };
        folder.sweep(&file_name, &held);
        let published = held
            .write_record(&owner.to_record())
            .map_err(|error| Error::system("writing the lock file of", path, error))
            .and_then(|()| publish(&folder, &file_name, path, &security, first));
        match published {
            Ok(Published { socket, file }) => Ok(Self {
                socket,
                path: path.to_owned(),
                file,
                security,
                folder,
                lock: held,
                removal: Watch::for_removal(path).ok(),
                waiting: Mutex::default(),
                process: std::process::id(),
            }),
            Err(error) => {
                folder.remove_lock(&file_name, &held);
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
        control: &Arc<Control>,
        deadline: Deadline,
        ended: impl Fn() -> Result<()>,
    ) -> Result<Accepted> {
        let mut starved = Backoff::new(Duration::from_millis(5), Duration::from_millis(200));
        let mut passed_over_late = 0;
        loop {
            ended()?;
            control.check()?;
            match sys::accept(self.socket.as_fd()) {
                Ok(socket) => {
                    if self.welcomes(&socket)? {
                        return Ok(Accepted { socket });
                    }
                    // Those who may not connect, or are gone, stand in nobody's way. Nor can they hold up the limit.
                    passed_over_late += usize::from(deadline.has_passed());
                    if passed_over_late < PASSED_OVER_LATE {
                        continue;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // To close the last instance takes its name away: the end that was asked for is the one to tell of.
                    self.wait(control, deadline, &ended)
                        .or_else(|error| ended().and(Err(error)))?;
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                // The queue stays readable: to wait for it would spin until a descriptor or memory is given back.
                Err(error) if sys::is_shortage(&error) => starved.wait(control, deadline, || ended().is_ok())?,
                Err(error) => return Err(Error::system("waiting for a connection on", &self.path, error)),
            }
            if deadline.has_passed() {
                return Err(Error::timed_out()
                    .attempted_on("waiting for a connection on", &self.path)
                    .advice("No client has connected in this time."));
            }
        }
    }

    fn wait(&self, control: &Arc<Control>, deadline: Deadline, ended: &impl Fn() -> Result<()>) -> Result<()> {
        let _waiting = Waiting::among(&self.waiting, control);
        let still = || ended().is_ok();
        self.check_name(control, deadline, ended)?;
        let listening = Interest::readable(self.socket.as_fd());
        match &self.removal {
            Some(removal) => {
                let interests = [listening, Interest::readable(removal.as_fd())];
                if control.wait(&interests, deadline, still)? == Woken::Look {
                    // All instances share this news. Whoever takes it looks at once, and tells the others if the name is lost.
                    removal.clear();
                    self.check_name(control, deadline, ended)?;
                }
            }
            None => {
                let tick = Deadline::after(deadline.remaining_within(Duration::from_secs(1)));
                control.wait(&[listening], tick, still)?;
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
        // What a stranger has written already stays unread, so that closing resets its connection: its writes and its
        // drain fail, where reading them would have told it that somebody had taken what it sent.
        Ok(self.security.allows(&Peer::of(socket.as_fd()).map_err(failed)?))
    }

    /// Fails if the public path is no longer this socket's.
    fn check_name(&self, control: &Control, deadline: Deadline, ended: &impl Fn() -> Result<()>) -> Result<()> {
        if self.has_name() {
            return Ok(());
        }
        for other in lock(&self.waiting).iter() {
            other.wake();
        }
        // .NET removes a socket, loads what it needs to make one, and makes its own: only then one sees who it was.
        let mut look_again = Backoff::new(Duration::from_millis(1), Duration::from_millis(20));
        let patience = Deadline::after(deadline.remaining_within(LATEST_THIEF));
        while matches!(sys::entry(&self.path), Ok(None)) && !patience.has_passed() {
            look_again.wait(control, patience, || ended().is_ok())?;
            // Closing the stream removes the socket, too, and is no loss.
            ended()?;
        }
        let what = match sys::entry(&self.path) {
            Ok(Some(entry)) if entry.id == self.file => return Ok(()),
            Ok(Some(entry)) if entry.kind == EntryKind::Socket => format!(
                "It was taken over by {}, which replaced the socket without asking.",
                holder(&self.path, &entry)
            ),
            Ok(Some(entry)) => format!(
                "Something that is no socket, of {}, has replaced it.",
                user_for_text(entry.owner)
            ),
            Ok(None) | Err(_) => "Its socket was removed or renamed.".to_owned(),
        };
        Err(Error::new(ErrorKind::NameLost, "The pipe name no longer belongs to this server.")
            .attempted_on("waiting for a connection on", &self.path)
            .advice(format!("{what} No client can reach this server any more: close it, and create it again once the name is free.")))
    }

    /// Whether the public path is this socket's. What cannot be looked at is not lost.
    fn has_name(&self) -> bool {
        match sys::entry(&self.path) {
            Ok(there) => there.is_some_and(|there| there.id == self.file),
            Err(error) => error.kind() != io::ErrorKind::NotADirectory,
        }
    }

    /// Removes the socket and the lock file, so that the name is free. Nobody is accepted afterwards who was not queued before.
    pub(crate) fn give_up_name(&self) {
        if self.process != std::process::id() {
            return;
        }
        let file_name = self.path.file_name().map(OsStr::to_owned).unwrap_or_default();
        self.withdraw(&file_name);
        self.folder.remove_lock(&file_name, &self.lock);
    }

    /// Removes the socket's file, if it is still this socket's, by moving it aside first so that no stranger's is removed.
    fn withdraw(&self, file_name: &OsStr) {
        if !matches!(sys::entry(&self.path), Ok(Some(entry)) if entry.id == self.file) {
            return;
        }
        let Ok(aside) = PrivateFolder::fresh_socket_name(file_name) else {
            return;
        };
        let made_anew;
        let folder = match sys::take_in(&self.path, self.folder.fd(), &aside) {
            Ok(()) => &self.folder,
            // The private folder was removed behind this server's back.
            Err(error) if error.kind() == io::ErrorKind::NotFound => match PrivateFolder::beside(&self.path) {
                Ok(folder) if sys::take_in(&self.path, folder.fd(), &aside).is_ok() => {
                    made_anew = folder;
                    &made_anew
                }
                _ => return,
            },
            Err(_) => return,
        };
        let ours = folder.id_of(&aside).is_ok_and(|id| id == Some(self.file));
        // Somebody replaced the file in between: theirs goes back, unless somebody else has taken the path since then.
        if ours || sys::publish(folder.fd(), &aside, &self.path).is_err() {
            let _ = sys::remove_socket_in(folder.fd(), &aside);
        }
    }
}

/// One stream among those that wait for a client of the same listener.
struct Waiting<'a> {
    all: &'a Mutex<Vec<Arc<Control>>>,
    own: &'a Arc<Control>,
}

impl<'a> Waiting<'a> {
    fn among(all: &'a Mutex<Vec<Arc<Control>>>, own: &'a Arc<Control>) -> Self {
        lock(all).push(Arc::clone(own));
        Self { all, own }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut all = lock(self.all);
        if let Some(position) = all.iter().position(|waiting| Arc::ptr_eq(waiting, self.own)) {
            all.swap_remove(position);
        }
    }
}
