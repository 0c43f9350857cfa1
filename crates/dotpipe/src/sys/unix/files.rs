//! Folders, locks and names of files, as the owner of a pipe's name needs them.

use std::fs::File;
use std::io;
#[cfg(not(target_os = "linux"))]
use std::io::Read as _;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

/// What identifies a file for as long as it exists: its device and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FileId {
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

/// What is at a path, links not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) id: FileId,
    pub(crate) kind: EntryKind,
    pub(crate) owner: u32,
    pub(crate) mode: u32,
}

/// What kind of file an entry is, as far as pipes are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryKind {
    Socket,
    Folder,
    File,
    Link,
    Other,
}

// The widths of these fields differ from system to system.
#[allow(clippy::useless_conversion, clippy::unnecessary_cast, trivial_numeric_casts)]
fn entry_of(stat: &rustix::fs::Stat) -> Entry {
    Entry {
        id: FileId {
            device: stat.st_dev as u64,
            inode: stat.st_ino as u64,
        },
        kind: match FileType::from_raw_mode(stat.st_mode) {
            FileType::Socket => EntryKind::Socket,
            FileType::Directory => EntryKind::Folder,
            FileType::RegularFile => EntryKind::File,
            FileType::Symlink => EntryKind::Link,
            _ => EntryKind::Other,
        },
        owner: stat.st_uid,
        mode: u32::from(stat.st_mode) & 0o7777,
    }
}

/// What identifies the file, pipe or socket that a descriptor stands for.
pub(crate) fn id_of_descriptor(fd: BorrowedFd<'_>) -> io::Result<FileId> {
    Ok(entry_of(&rustix::fs::fstat(fd)?).id)
}

/// What is at a path; `None` if nothing is.
pub(crate) fn entry(path: &Path) -> io::Result<Option<Entry>> {
    found(rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW))
}

/// What has this name in an open folder; `None` if nothing has.
pub(crate) fn entry_in(folder: BorrowedFd<'_>, name: &str) -> io::Result<Option<Entry>> {
    found(rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW))
}

fn found(stat: Result<rustix::fs::Stat, Errno>) -> io::Result<Option<Entry>> {
    match stat {
        Ok(stat) => Ok(Some(entry_of(&stat))),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A file that is held, so that the system gives its number to no other file, even if it is removed.
#[derive(Debug)]
pub(crate) struct Pinned {
    entry: Entry,
    #[cfg(target_os = "linux")]
    _file: OwnedFd,
}

impl Pinned {
    /// What the file was when it was pinned.
    pub(crate) fn entry(&self) -> &Entry {
        &self.entry
    }
}

/// Pins what is at a path, links not followed; `None` if nothing is.
///
/// Only Linux can hold a file that it does not open (`O_PATH`); elsewhere a number may come back.
pub(crate) fn pin(path: &Path) -> io::Result<Option<Pinned>> {
    #[cfg(target_os = "linux")]
    {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let entry = entry_of(&rustix::fs::fstat(&file)?);
        Ok(Some(Pinned { entry, _file: file }))
    }
    #[cfg(not(target_os = "linux"))]
    Ok(entry(path)?.map(|entry| Pinned { entry }))
}

/// Makes a folder that only this user can enter; one that exists is fine.
pub(crate) fn make_private_folder(path: &Path) -> io::Result<()> {
    match rustix::fs::mkdir(path, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Opens a folder, but no link to one.
pub(crate) fn open_folder(path: &Path) -> io::Result<(OwnedFd, Entry)> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = rustix::fs::open(path, flags, Mode::empty())?;
    let entry = entry_of(&rustix::fs::fstat(&folder)?);
    Ok((folder, entry))
}

/// The path by which a file in an open folder can be bound or renamed, however long the folder's own path is.
pub(crate) fn path_within(folder: BorrowedFd<'_>, folder_path: &Path, name: &str) -> PathBuf {
    let plain = folder_path.join(name);
    if plain.as_os_str().len() <= super::LONGEST_SOCKET_PATH {
        plain
    } else {
        PathBuf::from(format!("/proc/self/fd/{}/{name}", folder.as_raw_fd()))
    }
}

/// Moves a file to a path where nothing is; `AlreadyExists` if something is.
pub(crate) fn publish(folder: BorrowedFd<'_>, name: &str, path: &Path) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_vendor = "apple"))]
    match rustix::fs::renameat_with(folder, name, CWD, path, rustix::fs::RenameFlags::NOREPLACE) {
        // Not every file system can.
        Err(Errno::INVAL | Errno::NOSYS) => {}
        outcome => return Ok(outcome?),
    }
    // A link refuses to replace on every system.
    rustix::fs::linkat(folder, name, CWD, path, AtFlags::empty())?;
    Ok(rustix::fs::unlinkat(folder, name, AtFlags::empty())?)
}

/// Swaps a file with the one at a path, in one step where the system can, so that the name is never free in between.
pub(crate) fn exchange(folder: BorrowedFd<'_>, name: &str, path: &Path) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_vendor = "apple"))]
    match rustix::fs::renameat_with(folder, name, CWD, path, rustix::fs::RenameFlags::EXCHANGE) {
        Err(Errno::INVAL | Errno::NOSYS) => {}
        outcome => return Ok(outcome?),
    }
    let aside = format!("{name}-out");
    rustix::fs::renameat(CWD, path, folder, &aside)?;
    if let Err(error) = publish(folder, name, path) {
        // Back again, or out of the way if the path has been taken meanwhile.
        if publish(folder, &aside, path).is_err() {
            remove_socket_in(folder, &aside)?;
        }
        return Err(error);
    }
    Ok(rustix::fs::renameat(folder, &aside, folder, name)?)
}

/// Moves the file at a path into an open folder.
pub(crate) fn take_in(path: &Path, folder: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    Ok(rustix::fs::renameat(CWD, path, folder, name)?)
}

pub(crate) fn remove_in(folder: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// As [`remove_in`], for what a stranger may have put there: anything but a socket stays.
pub(crate) fn remove_socket_in(folder: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    match entry_in(folder, name)? {
        Some(there) if there.kind == EntryKind::Socket => remove_in(folder, name),
        _ => Ok(()),
    }
}

pub(crate) fn set_mode_in(folder: BorrowedFd<'_>, name: &str, mode: u32) -> io::Result<()> {
    Ok(rustix::fs::chmodat(
        folder,
        name,
        Mode::from_raw_mode(mode as rustix::fs::RawMode),
        AtFlags::empty(),
    )?)
}

/// The names in an open folder.
pub(crate) fn names_in(folder: BorrowedFd<'_>) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(folder)? {
        if let Ok(name) = entry?.file_name().to_str() {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

/// Eight random bytes in hexadecimal digits.
pub(crate) fn random_name() -> io::Result<String> {
    let mut bytes = [0_u8; 8];
    #[cfg(target_os = "linux")]
    {
        let mut filled = 0;
        while filled < bytes.len() {
            filled += rustix::io::retry_on_intr(|| {
                rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())
            })?;
        }
    }
    #[cfg(not(target_os = "linux"))]
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A file that one process at a time holds, and in which it says who it is.
#[derive(Debug)]
pub(crate) struct LockFile {
    file: File,
    pub(crate) id: FileId,
    /// Whether the file was there before: its last holder did not live to remove it.
    pub(crate) was_left: bool,
}

/// How an attempt to lock a file ended.
#[derive(Debug)]
pub(crate) enum Locking {
    Held(LockFile),
    /// Another process holds it.
    Taken {
        /// What stands there, which may be anything; empty if the holder is none that writes there.
        record: Vec<u8>,
        /// The process that holds it, where the kernel tells.
        process: Option<u32>,
    },
    /// Something that is no file of this user's is in the way.
    Foreign(Entry),
}

/// The most that is read of a lock file, whose content nobody is trusted for. The longest path of a program fits twice.
const LONGEST_RECORD: usize = 16 * 1024;

impl LockFile {
    /// Opens or creates a lock file in an open folder and locks it, without waiting.
    ///
    /// `O_CREAT` comes second and alone with `O_EXCL`, since under `fs.protected_regular` the two-in-one form fails on
    /// other users' files in sticky folders. A file that was removed between opening and locking is not the lock: try again.
    pub(crate) fn lock_in(folder: BorrowedFd<'_>, name: &str) -> io::Result<Locking> {
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        // Each round that fails means that another process has just made or removed the file.
        for _ in 0..1000 {
            let mut was_left = true;
            let file = match rustix::fs::openat(folder, name, flags, Mode::empty()) {
                Ok(file) => file,
                Err(Errno::NOENT) => {
                    was_left = false;
                    match rustix::fs::openat(
                        folder,
                        name,
                        flags | OFlags::CREATE | OFlags::EXCL,
                        Mode::RUSR | Mode::WUSR,
                    ) {
                        Ok(file) => file,
                        Err(Errno::EXIST) => continue,
                        Err(error) => return Err(error.into()),
                    }
                }
                Err(error) => match entry_in(folder, name)? {
                    Some(entry) if entry.kind != EntryKind::File => return Ok(Locking::Foreign(entry)),
                    _ => return Err(error.into()),
                },
            };
            let entry = entry_of(&rustix::fs::fstat(&file)?);
            if entry.kind != EntryKind::File || entry.owner != super::effective_uid() {
                return Ok(Locking::Foreign(entry));
            }
            let file = File::from(file);
            if !try_lock(file.as_fd())? {
                match blocker(file.as_fd())? {
                    // The holder has just let go.
                    Blocker::Nobody => continue,
                    Blocker::Owner => {
                        return Ok(Locking::Taken {
                            record: read_record(&file)?,
                            process: None,
                        });
                    }
                    Blocker::Stranger(process) => {
                        return Ok(Locking::Taken {
                            record: Vec::new(),
                            process,
                        });
                    }
                }
            }
            if entry_in(folder, name)?.is_some_and(|now| now.id == entry.id) {
                // Programs that clear out old temporary files leave those alone that somebody has locked this way.
                let _ = rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared);
                return Ok(Locking::Held(Self {
                    file,
                    id: entry.id,
                    was_left,
                }));
            }
        }
        Err(io::Error::other("the lock file is removed as soon as it is made"))
    }

    /// Replaces what the file says of its holder, by one write over the old text: a reader never finds it empty or half.
    pub(crate) fn write_record(&self, record: &[u8]) -> io::Result<()> {
        let mut record = record.to_vec();
        let length = self.file.metadata()?.len();
        match usize::try_from(length) {
            // Empty lines at the end mean nothing.
            Ok(length) if length <= LONGEST_RECORD => record.resize(record.len().max(length), b'\n'),
            _ => self.file.set_len(0)?,
        }
        self.file.write_all_at(&record, 0)
    }
}

fn read_record(file: &File) -> io::Result<Vec<u8>> {
    let mut record = vec![0; LONGEST_RECORD];
    let length = file.read_at(&mut record, 0)?;
    record.truncate(length);
    Ok(record)
}

/// What the holder of a lock file has written there, whoever holds it; `None` if there is no such file.
pub(crate) fn record_in(folder: BorrowedFd<'_>, name: &str) -> io::Result<Option<Vec<u8>>> {
    match rustix::fs::openat(
        folder,
        name,
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK,
        Mode::empty(),
    ) {
        Ok(file) => read_record(&File::from(file)).map(Some),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Who keeps a lock file from being locked.
enum Blocker {
    Nobody,
    /// One that locks as dotpipe does, and says in the file who it is.
    Owner,
    /// One that locks in another way: a process, if the kernel knows it.
    Stranger(Option<u32>),
}

#[cfg(any(target_os = "linux", target_vendor = "apple"))]
fn whole_file_lock() -> libc::flock {
    // SAFETY: all of `flock` is integers, for which zero is a valid value.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_WRLCK as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock
}

/// Locks the whole file for this open file description, which the kernel releases when its last descriptor goes.
#[cfg(any(target_os = "linux", target_vendor = "apple"))]
fn try_lock(file: BorrowedFd<'_>) -> io::Result<bool> {
    let lock = whole_file_lock();
    // SAFETY: F_OFD_SETLK reads a `flock` from the address given, which lives through the call.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) } == 0 {
        return Ok(true);
    }
    match io::Error::last_os_error() {
        error if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
        error => Err(error),
    }
}

/// The kernel names the process of a classic lock, and -1 for a lock of an open file description (`F_OFD_GETLK`, `fcntl(2)`).
#[cfg(any(target_os = "linux", target_vendor = "apple"))]
fn blocker(file: BorrowedFd<'_>) -> io::Result<Blocker> {
    let mut lock = whole_file_lock();
    // SAFETY: F_OFD_GETLK reads and writes a `flock` at the address given, which lives through the call.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &raw mut lock) } == -1 {
        return Err(io::Error::last_os_error());
    }
    let process = u32::try_from(lock.l_pid).ok().filter(|&pid| pid > 0);
    Ok(match libc::c_int::from(lock.l_type) {
        libc::F_UNLCK => Blocker::Nobody,
        libc::F_WRLCK if process.is_none() => Blocker::Owner,
        _ => Blocker::Stranger(process),
    })
}

/// Locks the file for this open file description, where the system has no `F_OFD_SETLK`.
#[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
fn try_lock(file: BorrowedFd<'_>) -> io::Result<bool> {
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
fn blocker(_: BorrowedFd<'_>) -> io::Result<Blocker> {
    Ok(Blocker::Owner)
}
