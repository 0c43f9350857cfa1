//! The client's end of an anonymous pipe while its server holds it, and how it passes to somebody else.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock, Mutex, Weak};

use crate::error::Result;
use crate::sys::{self, AtomicNumber, BorrowedDescriptor, Number, OwnedDescriptor};
use crate::wait::lock;

const GONE: Number = -1;

/// The server's copy of the client handle.
#[derive(Debug)]
pub(crate) struct ClientHandle {
    number: Number,
    fd: Mutex<Option<OwnedDescriptor>>,
    /// The number while the descriptor is open, for the moment between `fork` and `exec`, where no lock may be taken.
    open_number: AtomicNumber,
}

/// The client handles of this process by their numbers, so that a client made here from a number takes over the server's
/// descriptor, and no number is ever owned twice.
static HANDLES: LazyLock<Mutex<HashMap<Number, Weak<ClientHandle>>>> = LazyLock::new(Mutex::default);

impl ClientHandle {
    pub(super) fn new(fd: OwnedDescriptor) -> Arc<Self> {
        let number = sys::number(&fd);
        let handle = Arc::new(Self {
            number,
            fd: Mutex::new(Some(fd)),
            open_number: AtomicNumber::new(number),
        });
        lock(&HANDLES).insert(number, Arc::downgrade(&handle));
        handle
    }

    pub(super) fn number(&self) -> Number {
        self.number
    }

    /// Another descriptor of the same end; `None` once it was given away.
    pub(super) fn duplicate(&self) -> io::Result<Option<OwnedDescriptor>> {
        lock(&self.fd).as_ref().map(OwnedDescriptor::try_clone).transpose()
    }

    /// Gives the descriptor away; `None` if that has happened before.
    pub(super) fn take(&self) -> Option<OwnedDescriptor> {
        self.take_if(|_| Ok(())).ok().flatten()
    }

    /// As [`take`](Self::take), if `fits` finds nothing wrong with the descriptor.
    fn take_if(&self, fits: impl FnOnce(BorrowedDescriptor<'_>) -> Result<()>) -> Result<Option<OwnedDescriptor>> {
        let mut handles = lock(&HANDLES);
        let mut fd = lock(&self.fd);
        if let Some(fd) = &*fd {
            fits(sys::borrow(fd))?;
        }
        // First the number, then the descriptor: a child forked in between must not touch a number that was closed.
        self.open_number.store(GONE, Ordering::SeqCst);
        if handles
            .get(&self.number)
            .is_some_and(|there| std::ptr::eq(there.as_ptr(), self))
        {
            handles.remove(&self.number);
        }
        Ok(fd.take())
    }

    /// Lets the process that is about to execute inherit the descriptor. Called between `fork` and `exec`.
    pub(super) fn keep_through_exec(&self) -> io::Result<()> {
        match self.open_number.load(Ordering::SeqCst) {
            GONE => Err(sys::bad_descriptor()),
            number => sys::keep_through_exec(number),
        }
    }
}

impl Drop for ClientHandle {
    fn drop(&mut self) {
        drop(self.take());
    }
}

/// The descriptor of this number, if a server of this process holds it as a client handle and `fits` finds nothing wrong with it.
pub(super) fn take_from_server_here(
    number: Number,
    fits: impl FnOnce(BorrowedDescriptor<'_>) -> Result<()>,
) -> Result<Option<OwnedDescriptor>> {
    let handle = lock(&HANDLES).get(&number).and_then(Weak::upgrade);
    handle.map_or(Ok(None), |handle| handle.take_if(fits))
}
