//! Waiting on events, and an event that another thread can set.

use std::cell::RefCell;
use std::io;
use std::os::windows::io::{AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle};
use std::ptr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use windows_sys::Win32::Foundation::{WAIT_FAILED, WAIT_TIMEOUT};
use windows_sys::Win32::System::Threading::{CreateEventW, INFINITE, ResetEvent, SetEvent, WaitForMultipleObjects};

/// A flag that threads can wait for. Setting one that is set changes nothing.
#[derive(Debug)]
pub(crate) struct Event(OwnedHandle);

impl Event {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: no address is given but null ones, which stand for "default" and "no name".
        let event = unsafe { CreateEventW(ptr::null(), 1, 0, ptr::null()) };
        if event.is_null() {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the handle was just made, and nothing else knows it.
        Ok(Self(unsafe { OwnedHandle::from_raw_handle(event) }))
    }

    pub(crate) fn set(&self) {
        // SAFETY: the handle is an open event's. Setting it cannot fail.
        unsafe { SetEvent(self.0.as_raw_handle()) };
    }

    pub(crate) fn reset(&self) {
        // SAFETY: the handle is an open event's. Resetting it cannot fail.
        unsafe { ResetEvent(self.0.as_raw_handle()) };
    }

    pub(super) fn as_raw(&self) -> windows_sys::Win32::Foundation::HANDLE {
        self.0.as_raw_handle()
    }

    pub(crate) fn interest(&self) -> Interest<'_> {
        use std::os::windows::io::AsHandle;
        Interest(self.0.as_handle())
    }
}

/// An event to wait for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Interest<'a>(BorrowedHandle<'a>);

/// Waits until one of the events is set, `false` when the limit came first. A limit of `None` waits for ever.
///
/// Source: [WaitForMultipleObjects](https://learn.microsoft.com/windows/win32/api/synchapi/nf-synchapi-waitformultipleobjects).
pub(crate) fn poll(interests: &[Interest<'_>], alarm: Option<&Alarm>, limit: Option<Duration>) -> io::Result<bool> {
    let alarm = alarm.map(|alarm| alarm.0.as_raw());
    let interests = interests.iter().map(|interest| interest.0.as_raw_handle());
    let mut handles = [ptr::null_mut(); 4];
    let mut count = 0;
    // No call waits for more than three events and the alarm.
    for (slot, handle) in handles.iter_mut().zip(interests.chain(alarm)) {
        *slot = handle;
        count += 1;
    }
    if count == 0 {
        std::thread::sleep(limit.unwrap_or_default());
        return Ok(false);
    }
    let end = limit.and_then(|limit| Instant::now().checked_add(limit));
    loop {
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        // Rounded up, so that a wait never ends too early. The longest wait that has an end is 49 days.
        let millis = left.map_or(INFINITE, |left| {
            u32::try_from(left.as_nanos().div_ceil(1_000_000))
                .unwrap_or(INFINITE - 1)
                .min(INFINITE - 1)
        });
        // SAFETY: the first `count` handles are open events', which the borrows of the arguments keep open.
        match unsafe { WaitForMultipleObjects(count, handles.as_ptr(), 0, millis) } {
            WAIT_FAILED => return Err(io::Error::last_os_error()),
            WAIT_TIMEOUT if end.is_none_or(|end| Instant::now() < end) => {}
            WAIT_TIMEOUT => return Ok(false),
            _ => return Ok(true),
        }
    }
}

/// An event of one thread, by which other threads end its wait.
///
/// One a thread, not one a stream: an idle stream holds no handle for it.
#[derive(Debug)]
pub(crate) struct Alarm(Event);

thread_local! {
    #[cfg_attr(
        target_env = "gnu",
        expect(clippy::missing_const_for_thread_local, reason = "it is const; the lint does not see it there")
    )]
    static ALARM: RefCell<Option<Arc<Alarm>>> = const { RefCell::new(None) };
}

impl Alarm {
    /// This thread's alarm, made at its first wait.
    pub(crate) fn of_this_thread() -> io::Result<Arc<Self>> {
        // In a thread that is ending, a new one for this wait alone.
        ALARM
            .try_with(|slot| {
                let mut slot = slot.borrow_mut();
                if let Some(alarm) = &*slot {
                    return Ok(Arc::clone(alarm));
                }
                let alarm = Arc::new(Self(Event::new()?));
                *slot = Some(Arc::clone(&alarm));
                Ok(alarm)
            })
            .unwrap_or_else(|_| Ok(Arc::new(Self(Event::new()?))))
    }

    pub(crate) fn ring(&self) {
        self.0.set();
    }

    pub(crate) fn silence(&self) {
        self.0.reset();
    }
}
