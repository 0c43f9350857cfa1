//! The private folder beside a pipe's socket, in which its owner holds a lock and prepares the socket.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::owner::Owner;
use crate::error::{Error, ErrorKind, Result};
use crate::identity::user_for_text;
use crate::sys::{self, Entry, EntryKind, FileId, LockFile, Locking};
use crate::text::printable;

/// What the name of a socket begins with that a dotpipe server has bound. Clients see it as their peer's address.
const MARK: &str = "dotpipe1-";

/// What the name of a private folder begins with; the owner's number follows.
const NAME_PREFIX: &str = ".dotpipe-";

/// A folder `.dotpipe-UID`, in which nobody but this user (and root) can do anything.
///
/// It may stay when its last pipe goes; the files in it go with their pipes.
#[derive(Debug)]
pub(crate) struct PrivateFolder {
    fd: OwnedFd,
    path: PathBuf,
}

impl PrivateFolder {
    /// Makes or opens the private folder beside a socket's path, and checks that it is private.
    pub(crate) fn beside(socket: &Path) -> Result<Self> {
        let parent = match socket.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let path = parent.join(format!("{NAME_PREFIX}{}", sys::effective_uid()));
        let failed = |error: std::io::Error| {
            let advice = why_none_in(parent, &error);
            Error::system("making the private folder", &path, error).advice(advice)
        };
        if sys::is_unmapped(sys::effective_uid()) {
            return Err(nobodys(&path));
        }
        sys::make_private_folder(&path).map_err(failed)?;
        match sys::open_folder(&path) {
            Ok((fd, entry)) if entry.owner == sys::effective_uid() && entry.mode & 0o077 == 0 => Ok(Self { fd, path }),
            Ok((_, entry)) => Err(not_private(&path, &entry)),
            Err(error) => match sys::entry(&path) {
                Ok(Some(entry)) if entry.kind != EntryKind::Folder || entry.owner != sys::effective_uid() => {
                    Err(not_private(&path, &entry))
                }
                _ => Err(failed(error)),
            },
        }
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Takes the lock of the pipe whose socket has this file name.
    pub(crate) fn lock(&self, socket_file: &OsStr) -> Result<Locking> {
        let name = lock_name(socket_file)?;
        LockFile::lock_in(self.fd(), &name).map_err(|error| Error::system("locking", &self.path.join(&name), error))
    }

    /// Removes a lock file that the caller holds, so that nobody else can be the owner meanwhile.
    ///
    /// One that was deleted behind its holder's back is no longer the lock; by its name another process may hold a new one.
    pub(crate) fn remove_lock(&self, socket_file: &OsStr, held: &LockFile) {
        if let Ok(name) = lock_name(socket_file) {
            if self.id_of(&name).is_ok_and(|there| there == Some(held.id)) {
                // What cannot be removed is found unlocked by the next owner.
                let _ = sys::remove_in(self.fd(), &name);
            }
        }
    }

    /// The error of a lock file that this user has not made.
    pub(crate) fn foreign_lock(&self, socket_file: &OsStr, entry: &Entry) -> Error {
        let path = self.path.join(lock_name(socket_file).unwrap_or_default());
        let what = match entry.kind {
            EntryKind::File => "a file",
            EntryKind::Folder => "a folder",
            EntryKind::Link => "a symbolic link",
            EntryKind::Socket | EntryKind::Other => "a special file",
        };
        let text = format!("Access to the path '{}' is denied.", printable(path.as_os_str()));
        Error::new(ErrorKind::UnauthorizedAccess, text)
            .attempted_on("locking", &path)
            .advice(format!(
                "It is {what} of {}, and should be a file of this user: remove it.",
                user_for_text(entry.owner)
            ))
    }

    /// What the owner of a socket has written of itself; `None` if it is no dotpipe server, or another user's.
    pub(crate) fn record_of(socket: &Path, owner_uid: u32) -> Option<Owner> {
        let folder = socket.parent()?.join(format!("{NAME_PREFIX}{owner_uid}"));
        let (folder, _) = sys::open_folder(&folder).ok()?;
        let record = sys::record_in(folder.as_fd(), &lock_name(socket.file_name()?).ok()?).ok()??;
        Some(Owner::from_record(&record))
    }

    /// A marked name for a socket to be prepared under. Its middle stands for the pipe's name, so that whoever holds that
    /// pipe's lock may remove what a killed holder has left.
    pub(crate) fn fresh_socket_name(socket_file: &OsStr) -> Result<String> {
        let random = sys::random_name()
            .map_err(|error| Error::new(ErrorKind::Io, "The system gives no random numbers.").with_source(error))?;
        Ok(format!("{}{random}", marked_prefix(socket_file)))
    }

    /// Removes the sockets that earlier holders of this pipe's lock have prepared and not published.
    pub(crate) fn sweep(&self, socket_file: &OsStr, held: &LockFile) {
        if !held.was_left {
            return;
        }
        let prefix = marked_prefix(socket_file);
        for name in sys::names_in(self.fd()).unwrap_or_default() {
            if name.starts_with(&prefix) {
                let _ = sys::remove_in(self.fd(), &name);
            }
        }
    }

    /// The path by which a socket of this name in the folder is bound.
    pub(crate) fn binding_path(&self, name: &str) -> PathBuf {
        sys::path_within(self.fd(), &self.path, name)
    }

    pub(crate) fn id_of(&self, name: &str) -> std::io::Result<Option<FileId>> {
        Ok(sys::entry_in(self.fd(), name)?.map(|entry| entry.id))
    }
}

/// What is wrong with the folder of a pipe, in which no private folder can be made or opened, and what to do; nothing if
/// the error says it all.
fn why_none_in(parent: &Path, error: &std::io::Error) -> String {
    use std::io::ErrorKind;
    let what = match error.kind() {
        ErrorKind::NotFound if !parent.exists() => {
            return "The folder of the pipe does not exist: make it, or set TMPDIR to one that does.".to_owned();
        }
        ErrorKind::NotADirectory => "is not a folder",
        ErrorKind::PermissionDenied => "is no place where this user may make files",
        ErrorKind::NotFound | ErrorKind::ReadOnlyFilesystem => "is no place where files can be made",
        _ => return String::new(),
    };
    format!(
        "{} {what}: set TMPDIR to a folder of your own, or give the path of a socket in one.",
        printable(parent.as_os_str())
    )
}

fn lock_name(socket_file: &OsStr) -> Result<String> {
    // A lock's name is text; bytes that are none are told apart by their escapes.
    let name = match socket_file.to_str() {
        Some(text) => format!("{text}.lock"),
        None => format!("{}.bytes.lock", printable(socket_file)),
    };
    if name.len() > 255 {
        return Err(Error::out_of_range("pipeName", "The name of the pipe is too long."));
    }
    Ok(name)
}

fn marked_prefix(socket_file: &OsStr) -> String {
    // FNV-1a: short, the same in every build, and never a secret.
    let hash = socket_file
        .as_encoded_bytes()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    format!("{MARK}{hash:016x}-")
}

/// The error of a user who looks like others: a private folder would be all of theirs.
fn nobodys(path: &Path) -> Error {
    let text = format!("Access to the path '{}' is denied.", printable(path.as_os_str()));
    Error::new(ErrorKind::UnauthorizedAccess, text)
        .attempted_on("making the private folder", path)
        .advice("This process's user has no number in its user namespace, and cannot be told from others there. Map it (as 'unshare --map-current-user' does).")
}

fn not_private(path: &Path, entry: &Entry) -> Error {
    let shown = printable(path.as_os_str());
    let why = match entry.kind {
        EntryKind::Folder if entry.owner != sys::effective_uid() => {
            format!("It belongs to {}.", user_for_text(entry.owner))
        }
        EntryKind::Folder => format!("Its mode {:o} lets others in; it must be 700.", entry.mode),
        _ => "It is not a folder.".to_owned(),
    };
    Error::new(ErrorKind::UnauthorizedAccess, format!("Access to the path '{shown}' is denied."))
        .attempted_on("checking that this folder is private:", path)
        .advice(format!("{why} dotpipe keeps the locks of this user's pipes there: have it removed, or set TMPDIR to a folder of your own."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_cannot_be_used_is_told_with_the_reason() {
        let told = |socket: &str| {
            let error = PrivateFolder::beside(Path::new(socket)).unwrap_err();
            (error.kind(), error.to_string())
        };
        for (socket, text) in [
            ("/etc/passwd/p", "/etc/passwd is not a folder: set TMPDIR to"),
            (
                "/no/such/p",
                "The folder of the pipe does not exist: make it, or set TMPDIR to",
            ),
        ] {
            let (kind, told) = told(socket);
            assert_eq!(kind, ErrorKind::Io, "{told}");
            assert!(told.contains(text), "{told}");
        }
        // It says "no such file" of a folder that is there.
        let (_, told) = told("/proc/p");
        assert!(told.contains("/proc is no place where"), "{told}");
    }

    #[test]
    fn each_refusal_of_the_system_gets_its_advice() {
        let folder = std::env::temp_dir();
        let told = |number| why_none_in(&folder, &std::io::Error::from_raw_os_error(number));
        for number in [libc::EACCES, libc::EPERM] {
            assert!(
                told(number).contains("this user may make files: set TMPDIR"),
                "{}",
                told(number)
            );
        }
        for number in [libc::ENOENT, libc::EROFS] {
            assert!(
                told(number).contains("files can be made: set TMPDIR"),
                "{}",
                told(number)
            );
        }
        assert_eq!(told(libc::ENOSPC), "");
    }
}
