//! News of files and folders from `inotify(7)`.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

/// A descriptor that becomes readable when something happens to the file or folder watched.
#[derive(Debug)]
pub(crate) struct Watch(OwnedFd);

impl Watch {
    /// Watches for files that appear in a folder.
    pub(crate) fn for_new_files(folder: &Path) -> io::Result<Self> {
        Self::new(
            folder,
            WatchFlags::CREATE
                | WatchFlags::MOVED_TO
                | WatchFlags::ONLYDIR
                | WatchFlags::DELETE_SELF
                | WatchFlags::MOVE_SELF,
        )
    }

    /// Watches for a file to be moved or removed.
    ///
    /// A socket that is in use keeps its file alive, so that its removal shows as a change of its link count.
    pub(crate) fn for_removal(file: &Path) -> io::Result<Self> {
        Self::new(
            file,
            WatchFlags::ATTRIB | WatchFlags::MOVE_SELF | WatchFlags::DELETE_SELF | WatchFlags::DONT_FOLLOW,
        )
    }

    fn new(path: &Path, what: WatchFlags) -> io::Result<Self> {
        let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        inotify::add_watch(&watch, path, what)?;
        Ok(Self(watch))
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Takes what has been told, so that the descriptor waits for news again.
    pub(crate) fn clear(&self) {
        let mut events = [0_u8; 4096];
        while rustix::io::read(&self.0, &mut events).is_ok_and(|length| length > 0) {}
    }
}
