//! News of files and folders from `inotify(7)`.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};

/// A descriptor that becomes readable when something happens to the file or folder watched.
#[derive(Debug)]
pub(crate) struct Watch {
    queue: Arc<Queue>,
    watched: i32,
}

/// An inotify instance.
#[derive(Debug)]
struct Queue {
    fd: OwnedFd,
    /// A forked child shares its parent's instances, and must leave them alone.
    process: u32,
}

/// Instances that nobody uses now. To close one takes the kernel some ten milliseconds, in which a client that was waiting
/// for its server would not return, and a server would not end; to use one again takes none. A user may have 128.
static SPARE: Mutex<Vec<Arc<Queue>>> = Mutex::new(Vec::new());
const MOST_SPARE: usize = 2;

impl Queue {
    fn get() -> io::Result<Arc<Self>> {
        let process = std::process::id();
        let mut spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner);
        spare.retain(|queue| queue.process == process);
        match spare.pop() {
            Some(queue) => Ok(queue),
            None => Ok(Arc::new(Self {
                fd: inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?,
                process,
            })),
        }
    }

    fn put_back(self: &Arc<Self>) {
        let mut spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < MOST_SPARE {
            spare.push(Arc::clone(self));
        }
    }

    /// Takes what has been told, so that the descriptor waits for news again. `false` if what was watched is no longer there.
    fn clear(&self) -> bool {
        let mut events = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.fd, &mut events);
        let mut is_there = true;
        while let Ok(event) = reader.next() {
            is_there &= !event
                .events()
                .intersects(ReadFlags::IGNORED | ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF);
        }
        is_there
    }
}

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
        let queue = Queue::get()?;
        match inotify::add_watch(&queue.fd, path, what) {
            Ok(watched) => Ok(Self { queue, watched }),
            Err(error) => {
                queue.put_back();
                Err(error.into())
            }
        }
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.queue.fd.as_fd()
    }

    /// Takes what has been told, so that the descriptor waits for news again. `false` if what was watched is no longer there.
    pub(crate) fn clear(&self) -> bool {
        self.queue.clear()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if self.queue.process == std::process::id() {
            // A file that is gone is no longer watched.
            let _ = inotify::remove_watch(&self.queue.fd, self.watched);
            self.queue.clear();
            self.queue.put_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::readiness;

    #[test]
    fn an_instance_used_again_tells_nothing_of_its_former_use() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        for _ in 0..50 {
            std::fs::write(&file, "").unwrap();
            let removal = Watch::for_removal(&file).unwrap();
            let arrival = Watch::for_new_files(folder.path()).unwrap();
            assert!(!readiness(removal.as_fd()).unwrap().readable);
            assert!(!readiness(arrival.as_fd()).unwrap().readable);
            std::fs::remove_file(&file).unwrap();
            std::fs::write(&file, "").unwrap();
            assert!(readiness(removal.as_fd()).unwrap().readable);
            assert!(readiness(arrival.as_fd()).unwrap().readable);
            assert!(!removal.clear());
            assert!(arrival.clear());
            assert!(!readiness(arrival.as_fd()).unwrap().readable);
        }
        assert!(Watch::for_removal(&folder.path().join("missing")).is_err());
    }
}
