//! Operations that the system goes on with after the call that started them
//! ([Overlapped I/O](https://learn.microsoft.com/windows/win32/sync/synchronous-and-asynchronous-input-and-output)).

use std::io;
use std::os::windows::io::{AsRawHandle, OwnedHandle};
use std::ptr::{self, NonNull};
use std::sync::Arc;

use windows_sys::Win32::Foundation::{
    ERROR_IO_INCOMPLETE, ERROR_IO_PENDING, ERROR_MORE_DATA, ERROR_OPERATION_ABORTED, GetLastError, HANDLE,
};
use windows_sys::Win32::Storage::FileSystem::{ReadFile, WriteFile};
use windows_sys::Win32::System::IO::{CancelIoEx, GetOverlappedResult, OVERLAPPED};
use windows_sys::Win32::System::Pipes::ConnectNamedPipe;
use windows_sys::core::BOOL;

use super::Event;

/// What an operation has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// How many bytes were moved.
    pub(crate) count: usize,
    /// The message that was read goes on.
    pub(crate) more: bool,
}

/// One operation at a time on one pipe.
///
/// What the system may still write to and read from, its record and the bytes of a write, belongs to the operation and
/// lives until the system is done with it, whatever becomes of the caller. The one exception, a read into the caller's
/// buffer, is over before the call returns.
pub(crate) struct Operation {
    /// Made by `Box`, and the system's while the operation is pending.
    shared: NonNull<Shared>,
    event: Arc<Event>,
    /// The pipe on which the operation was started and not yet found finished. It stays open until then.
    pending: Option<Arc<OwnedHandle>>,
}

#[repr(C)]
struct Shared {
    record: OVERLAPPED,
    bytes: Vec<u8>,
}

// SAFETY: nothing in it belongs to a thread: events, pipes and the memory may be used from any.
unsafe impl Send for Operation {}

/// What is kept of the memory of a large write for the next.
const KEPT: usize = 64 * 1024;

impl Operation {
    /// An operation that sets `event` when it is done.
    pub(crate) fn new(event: Arc<Event>) -> Self {
        let shared = Box::new(Shared {
            record: OVERLAPPED::default(),
            bytes: Vec::new(),
        });
        Self {
            shared: NonNull::from(Box::leak(shared)),
            event,
            pending: None,
        }
    }

    pub(crate) fn is_pending(&self) -> bool {
        self.pending.is_some()
    }

    /// The memory that the system may use while the operation is pending.
    fn shared(&mut self) -> &mut Shared {
        assert!(self.pending.is_none(), "the system still uses the operation's memory");
        // SAFETY: it was made by `Box`, nothing is pending on it, and the borrow of `self` keeps it ours alone.
        unsafe { self.shared.as_mut() }
    }

    /// Starts what `call` does, and fails if it fails at once.
    fn start(&mut self, pipe: &Arc<OwnedHandle>, call: impl FnOnce(HANDLE, *mut OVERLAPPED) -> BOOL) -> io::Result<()> {
        let event = self.event.as_raw();
        let shared = self.shared();
        shared.record = OVERLAPPED::default();
        // The lowest bit asks for no packet in the completion port of the pipe, if it has one (GetQueuedCompletionStatus, Remarks).
        shared.record.hEvent = event.map_addr(|address| address | 1);
        if call(pipe.as_raw_handle(), &raw mut shared.record) == 0 {
            // SAFETY: the call touches no memory.
            match unsafe { GetLastError() } {
                // A message that did not fit is told again by the result.
                ERROR_IO_PENDING | ERROR_MORE_DATA => {}
                error => return Err(io::Error::from_raw_os_error(error as i32)),
            }
        }
        self.pending = Some(Arc::clone(pipe));
        Ok(())
    }

    /// Starts waiting for bytes, or for the end: a read of nothing.
    ///
    /// On a pipe that is read in bytes it is done when there is something to read. On one that is read in messages it says
    /// `more` when there is a message, and takes an empty message.
    pub(crate) fn start_awaiting_data(&mut self, pipe: &Arc<OwnedHandle>) -> io::Result<()> {
        // SAFETY: no byte is to be written; the record lives until the operation is found done.
        self.start(pipe, |pipe, record| unsafe {
            ReadFile(pipe, NonNull::<u8>::dangling().as_ptr(), 0, ptr::null_mut(), record)
        })
    }

    /// Starts sending a copy of `bytes`.
    pub(crate) fn start_writing(&mut self, pipe: &Arc<OwnedHandle>, bytes: &[u8]) -> io::Result<()> {
        let length = u32::try_from(bytes.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let shared = self.shared();
        shared.bytes.clear();
        shared.bytes.extend_from_slice(bytes);
        let copy = shared.bytes.as_ptr();
        // SAFETY: the copy and the record live, unchanged, until the operation is found done.
        self.start(pipe, |pipe, record| unsafe {
            WriteFile(pipe, copy, length, ptr::null_mut(), record)
        })
    }

    /// Starts waiting for a client. One that is there already, or has been and gone, is an error of this call.
    pub(crate) fn start_connecting(&mut self, pipe: &Arc<OwnedHandle>) -> io::Result<()> {
        // SAFETY: the record lives until the operation is found done.
        self.start(pipe, |pipe, record| unsafe { ConnectNamedPipe(pipe, record) })
    }

    /// Reads what is there; `None` if nothing is. Does not wait for more.
    pub(crate) fn read_now(&mut self, pipe: &Arc<OwnedHandle>, buffer: &mut [u8]) -> io::Result<Option<Outcome>> {
        let length = u32::try_from(buffer.len()).unwrap_or(u32::MAX);
        let address = buffer.as_mut_ptr();
        // SAFETY: the buffer is borrowed until this function returns, which it does only when the operation is done.
        self.start(pipe, |pipe, record| unsafe {
            ReadFile(pipe, address, length, ptr::null_mut(), record)
        })?;
        let outcome = match self.finish() {
            Some(outcome) => outcome,
            // Another reader of the same pipe was quicker. What comes while this is being cancelled counts.
            None => self.cancel(),
        };
        match outcome {
            Err(error) if was_aborted(&error) => Ok(None),
            outcome => outcome.map(Some),
        }
    }

    /// What the operation has done, `None` while it is still under way.
    pub(crate) fn finish(&mut self) -> Option<io::Result<Outcome>> {
        self.result(false)
    }

    /// Waits until the operation is done.
    pub(crate) fn wait(&mut self) -> io::Result<Outcome> {
        self.result(true)
            .unwrap_or_else(|| Err(io::ErrorKind::WouldBlock.into()))
    }

    /// Asks the system to give the operation up, and waits until it is done, one way or the other.
    pub(crate) fn cancel(&mut self) -> io::Result<Outcome> {
        if let Some(pipe) = &self.pending {
            // SAFETY: pipe and record are those of an operation that is pending, or just done, which is no matter.
            unsafe { CancelIoEx(pipe.as_raw_handle(), self.shared.as_ptr().cast()) };
        }
        self.wait()
    }

    fn result(&mut self, wait: bool) -> Option<io::Result<Outcome>> {
        let pipe = self.pending.as_ref()?;
        let mut count = 0;
        let record = self.shared.as_ptr().cast::<OVERLAPPED>();
        // SAFETY: pipe and record are those of the operation that was started, and the record is the first of its memory.
        let status = unsafe { GetOverlappedResult(pipe.as_raw_handle(), record, &raw mut count, wait.into()) };
        let outcome = |more| Outcome {
            count: count as usize,
            more,
        };
        let result = if status != 0 {
            Ok(outcome(false))
        } else {
            // SAFETY: the call touches no memory.
            match unsafe { GetLastError() } {
                ERROR_IO_INCOMPLETE => return None,
                ERROR_MORE_DATA => Ok(outcome(true)),
                error => Err(io::Error::from_raw_os_error(error as i32)),
            }
        };
        self.pending = None;
        let bytes = &mut self.shared().bytes;
        if bytes.capacity() > KEPT {
            *bytes = Vec::new();
        }
        Some(result)
    }

    /// Lets an operation that is under way come to its end after its owner has gone: what was accepted is not lost.
    pub(crate) fn outlive(mut self) {
        if self.is_pending() {
            let moved = std::thread::Builder::new()
                .name("dotpipe-last-write".to_owned())
                .spawn(move || {
                    let _ = self.wait();
                });
            // Without a thread for it the operation was dropped, and so given up.
            drop(moved);
        }
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        let _ = self.cancel();
        // SAFETY: it was made by `Box`, and nothing is pending on it any more.
        drop(unsafe { Box::from_raw(self.shared.as_ptr()) });
    }
}

impl std::fmt::Debug for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Operation")
            .field("pending", &self.is_pending())
            .finish_non_exhaustive()
    }
}

/// Whether an operation was given up, by this process or with the thread that started it.
pub(crate) fn was_aborted(error: &io::Error) -> bool {
    error.raw_os_error() == Some(ERROR_OPERATION_ABORTED as i32)
}
