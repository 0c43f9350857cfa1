//! Writes that nobody has to wait for: the system sends them when there is room, also when the thread that started one, and
//! the stream, are gone.
//!
//! The system gives up the operations that a thread has started when the thread ends, except those whose end it tells by a
//! completion port ([I/O Completion Ports](https://learn.microsoft.com/windows/win32/fileio/i-o-completion-ports)). This
//! one port, with a thread of its own, is for all writes of the process.

use std::cell::UnsafeCell;
use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::ptr;
use std::sync::{Arc, OnceLock};

use windows_sys::Win32::Foundation::{ERROR_IO_PENDING, GetLastError, INVALID_HANDLE_VALUE};
use windows_sys::Win32::Storage::FileSystem::{SetFileCompletionNotificationModes, WriteFile};
use windows_sys::Win32::System::IO::{CancelIoEx, CreateIoCompletionPort, GetQueuedCompletionStatus, OVERLAPPED};

use super::{Event, checked};

/// `FILE_SKIP_COMPLETION_PORT_ON_SUCCESS`: a write that is done at once is not told.
const SKIP_ON_SUCCESS: u8 = 1;

/// One write on its way. The system holds a reference while it is, and with it the bytes and the open pipe.
#[repr(C)]
struct Sent {
    /// First, as the system hands its address back.
    record: UnsafeCell<OVERLAPPED>,
    bytes: Vec<u8>,
    pipe: Arc<OwnedHandle>,
    done: Arc<Event>,
    /// How it ended, with the system's error number if it failed.
    outcome: OnceLock<Result<(), u32>>,
}

// SAFETY: only the system touches the record after the start; all else in it may be shared by threads.
unsafe impl Send for Sent {}
// SAFETY: as above.
unsafe impl Sync for Sent {}

/// The writes on one pipe, one at a time.
pub(crate) struct Sending {
    done: Arc<Event>,
    pending: Option<Arc<Sent>>,
}

impl Sending {
    /// For a pipe that is [bound](bind_writes). `done` is set when a write ends that was not done at once.
    pub(crate) fn new(done: Arc<Event>) -> Self {
        Self { done, pending: None }
    }

    /// Whether a write has been started and not yet found done.
    pub(crate) fn is_pending(&self) -> bool {
        self.pending.is_some()
    }

    /// Starts sending a copy of `bytes`. The last write has been found done.
    pub(crate) fn start(&mut self, pipe: &Arc<OwnedHandle>, bytes: &[u8]) -> io::Result<()> {
        let length = u32::try_from(bytes.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let sent = Arc::new(Sent {
            record: UnsafeCell::new(OVERLAPPED::default()),
            bytes: bytes.to_vec(),
            pipe: Arc::clone(pipe),
            done: Arc::clone(&self.done),
            outcome: OnceLock::new(),
        });
        self.done.reset();
        // The system's reference: it comes back with the packet, or is taken back below if there will be none.
        let record = Arc::into_raw(Arc::clone(&sent));
        // SAFETY: the bytes and the record live, unchanged, for as long as the system's reference does.
        let status = unsafe {
            WriteFile(
                pipe.as_raw_handle(),
                sent.bytes.as_ptr(),
                length,
                ptr::null_mut(),
                record.cast_mut().cast(),
            )
        };
        // SAFETY: the call touches no memory.
        let error = if status == 0 { unsafe { GetLastError() } } else { 0 };
        if error == ERROR_IO_PENDING {
            self.pending = Some(sent);
            return Ok(());
        }
        // SAFETY: it came from `into_raw` above, and no packet tells of a write that is done, or has failed, at once.
        drop(unsafe { Arc::from_raw(record) });
        if error == 0 {
            Ok(())
        } else {
            Err(io::Error::from_raw_os_error(error as i32))
        }
    }

    /// How the write ended, `None` while it is under way.
    pub(crate) fn finish(&mut self) -> Option<io::Result<()>> {
        let outcome = *self.pending.as_ref()?.outcome.get()?;
        self.pending = None;
        Some(outcome.map_err(|error| io::Error::from_raw_os_error(error as i32)))
    }

    /// Asks the system to give the write up. It may be done all the same, and what was read of it stays read.
    pub(crate) fn cancel(&mut self) {
        if let Some(sent) = self.pending.take() {
            // SAFETY: pipe and record are those of a write that is pending, or just done, which is no matter.
            unsafe { CancelIoEx(sent.pipe.as_raw_handle(), sent.record.get()) };
        }
    }
}

impl std::fmt::Debug for Sending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sending")
            .field("pending", &self.is_pending())
            .finish_non_exhaustive()
    }
}

/// Binds a pipe to the port of all writes, once and for ever. Fails for one that is bound to a port already.
pub(crate) fn bind_writes(pipe: &OwnedHandle) -> io::Result<()> {
    let port = port()?;
    // SAFETY: both handles are open, and the call takes no addresses.
    let bound = unsafe { CreateIoCompletionPort(pipe.as_raw_handle(), port.as_raw_handle(), 0, 0) };
    checked((!bound.is_null()).into())?;
    // SAFETY: the handle is open, and the call takes no addresses.
    checked(unsafe { SetFileCompletionNotificationModes(pipe.as_raw_handle(), SKIP_ON_SUCCESS) })
}

/// The port of all writes, made with its thread for the first.
fn port() -> io::Result<&'static OwnedHandle> {
    static PORT: OnceLock<OwnedHandle> = OnceLock::new();
    if let Some(port) = PORT.get() {
        return Ok(port);
    }
    // SAFETY: the call takes no addresses.
    let port = unsafe { CreateIoCompletionPort(INVALID_HANDLE_VALUE, ptr::null_mut(), 0, 1) };
    checked((!port.is_null()).into())?;
    // SAFETY: the handle was just made, and nothing else knows it.
    let port = unsafe { OwnedHandle::from_raw_handle(port) };
    let mut ours = false;
    let port = PORT.get_or_init(|| {
        ours = true;
        port
    });
    if ours {
        std::thread::Builder::new()
            .name("dotpipe-writes".to_owned())
            .spawn(move || take_packets(port))?;
    }
    Ok(port)
}

/// Hears the ends of writes, for as long as the process lives.
fn take_packets(port: &OwnedHandle) {
    loop {
        let (mut count, mut key, mut record) = (0, 0, ptr::null_mut());
        // SAFETY: all three addresses live through the call.
        let status = unsafe {
            GetQueuedCompletionStatus(
                port.as_raw_handle(),
                &raw mut count,
                &raw mut key,
                &raw mut record,
                u32::MAX,
            )
        };
        // SAFETY: the call touches no memory.
        let error = if status == 0 { unsafe { GetLastError() } } else { 0 };
        if record.is_null() {
            continue;
        }
        // SAFETY: nothing but `Sending` starts operations that tell this port, and each hands a reference over like this.
        let sent = unsafe { Arc::from_raw(record.cast::<Sent>()) };
        let _ = sent.outcome.set(if error == 0 { Ok(()) } else { Err(error) });
        let done = Arc::clone(&sent.done);
        // The pipe is closed with the last reference, and the name may be free: before anybody hears of the end.
        drop(sent);
        done.set();
    }
}
