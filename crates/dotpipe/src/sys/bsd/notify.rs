//! News of files and folders: `kqueue(2)`, which tells that a folder has changed and that a file was moved or removed.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::kqueue::{Event, EventFilter, EventFlags, VnodeEvents, kevent, kqueue};

/// A descriptor that becomes readable when something happens to the file or folder watched.
#[derive(Debug)]
pub(crate) struct Watch {
    queue: OwnedFd,
    /// What is watched has to stay open.
    _watched: File,
}

impl Watch {
    /// Watches for files that appear in a folder.
    pub(crate) fn for_new_files(folder: &Path) -> io::Result<Self> {
        Self::new(folder, VnodeEvents::WRITE | VnodeEvents::DELETE | VnodeEvents::RENAME)
    }

    /// Watches for a file to be moved or removed. A socket cannot be opened, so that its folder is watched instead.
    pub(crate) fn for_removal(file: &Path) -> io::Result<Self> {
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
        Self::for_new_files(folder.unwrap_or_else(|| Path::new(".")))
    }

    fn new(path: &Path, what: VnodeEvents) -> io::Result<Self> {
        let watched = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
        let queue = kqueue()?;
        super::super::set_inheritable(queue.as_fd(), false)?;
        let change = Event::new(
            EventFilter::Vnode {
                vnode: watched.as_raw_fd(),
                flags: what,
            },
            EventFlags::ADD | EventFlags::CLEAR,
            std::ptr::null_mut(),
        );
        let mut nothing: [std::mem::MaybeUninit<Event>; 0] = [];
        // SAFETY: the descriptor in the change is open, and closing it takes the event out of the queue.
        unsafe { kevent(&queue, &[change], &mut nothing, Some(Duration::ZERO)) }?;
        Ok(Self {
            queue,
            _watched: watched,
        })
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.queue.as_fd()
    }

    /// Takes what has been told, so that the descriptor waits for news again. `false` if what was watched is no longer there.
    pub(crate) fn clear(&self) -> bool {
        let mut events: Vec<Event> = Vec::with_capacity(8);
        // SAFETY: no change is made; the events are only taken.
        let _ = unsafe { kevent(&self.queue, &[], spare_capacity(&mut events), Some(Duration::ZERO)) };
        let gone = VnodeEvents::DELETE | VnodeEvents::RENAME;
        !events
            .iter()
            .any(|event| matches!(event.filter(), EventFilter::Vnode { flags, .. } if flags.intersects(gone)))
    }
}
