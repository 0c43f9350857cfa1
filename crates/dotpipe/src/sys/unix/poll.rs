//! Waiting on descriptors, and a descriptor that another thread can make ready.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

/// A descriptor, and what to wait for on it. Hang-ups and errors always count as ready.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Interest<'a> {
    fd: BorrowedFd<'a>,
    flags: PollFlags,
}

impl<'a> Interest<'a> {
    pub(crate) const fn readable(fd: BorrowedFd<'a>) -> Self {
        Self {
            fd,
            flags: PollFlags::IN,
        }
    }

    pub(crate) const fn writable(fd: BorrowedFd<'a>) -> Self {
        Self {
            fd,
            flags: PollFlags::OUT,
        }
    }
}

/// Waits until one of the descriptors is ready, `false` when the limit came first. A limit of `None` waits for ever.
pub(crate) fn poll(interests: &[Interest<'_>], alarm: Option<&Alarm>, limit: Option<Duration>) -> io::Result<bool> {
    let alarm = alarm.map(|alarm| alarm.reader.as_fd());
    // No call waits on more than three descriptors and the alarm.
    let mut storage: [PollFd<'_>; 4];
    let Some(any) = interests.first().map(|interest| interest.fd).or(alarm) else {
        // Without a limit nothing would ever end this; no caller asks for that.
        std::thread::sleep(limit.unwrap_or_default());
        return Ok(false);
    };
    storage = std::array::from_fn(|_| PollFd::from_borrowed_fd(any, PollFlags::empty()));
    let mut count = 0;
    for &Interest { fd, flags } in interests {
        storage[count] = PollFd::from_borrowed_fd(fd, flags);
        count += 1;
    }
    if let Some(alarm) = alarm {
        storage[count] = PollFd::from_borrowed_fd(alarm, PollFlags::IN);
        count += 1;
    }
    let end = limit.and_then(|limit| Instant::now().checked_add(limit));
    loop {
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        let left = left.map(|left| rustix::event::Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        });
        match rustix::event::poll(&mut storage[..count], left.as_ref()) {
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// What `poll(2)` says of a descriptor now: whether it can be read, whether the other side has left for good, and whether an error waits.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Readiness {
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    pub(crate) hung_up: bool,
    pub(crate) error: bool,
}

pub(crate) fn readiness(fd: BorrowedFd<'_>) -> io::Result<Readiness> {
    let mut polled = [PollFd::from_borrowed_fd(fd, PollFlags::IN | PollFlags::OUT)];
    let zero = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::io::retry_on_intr(|| rustix::event::poll(&mut polled, Some(&zero)))?;
    let [polled] = polled;
    let flags = polled.revents();
    Ok(Readiness {
        readable: flags.contains(PollFlags::IN),
        writable: flags.contains(PollFlags::OUT),
        hung_up: flags.contains(PollFlags::HUP),
        error: flags.intersects(PollFlags::ERR | PollFlags::NVAL),
    })
}

/// A descriptor of one thread, by which other threads end its wait.
///
/// One a thread, not one a stream: an idle stream holds no descriptor for it.
#[derive(Debug)]
pub(crate) struct Alarm {
    reader: OwnedFd,
    /// Whether there may be something to silence: most waits end without a ring, and then a system call can be saved.
    rung: AtomicBool,
    /// Where the system has no eventfd, the writing end of a pipe.
    #[cfg(not(target_os = "linux"))]
    writer: OwnedFd,
}

thread_local! {
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
                let alarm = Arc::new(Self::new()?);
                *slot = Some(Arc::clone(&alarm));
                Ok(alarm)
            })
            .unwrap_or_else(|_| Self::new().map(Arc::new))
    }

    #[cfg(target_os = "linux")]
    fn new() -> io::Result<Self> {
        use rustix::event::EventfdFlags;
        Ok(Self {
            reader: rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            rung: AtomicBool::new(false),
        })
    }

    #[cfg(not(target_os = "linux"))]
    fn new() -> io::Result<Self> {
        let (reader, writer) = super::pipe()?;
        super::set_nonblocking(reader.as_fd(), true)?;
        super::set_nonblocking(writer.as_fd(), true)?;
        Ok(Self {
            reader,
            rung: AtomicBool::new(false),
            writer,
        })
    }

    pub(crate) fn ring(&self) {
        // First the mark: a ring that the waiter sees is then never one that it would leave behind.
        self.rung.store(true, Ordering::Release);
        // A full alarm is ringing already.
        #[cfg(target_os = "linux")]
        let _ = rustix::io::write(&self.reader, &1_u64.to_ne_bytes());
        #[cfg(not(target_os = "linux"))]
        let _ = rustix::io::write(&self.writer, &[1]);
    }

    /// Takes a ring back. The caller has made sure that no further one can come.
    pub(crate) fn silence(&self) {
        if !self.rung.swap(false, Ordering::Acquire) {
            return;
        }
        let mut scratch = [0; 64];
        #[cfg(target_os = "linux")]
        let _ = rustix::io::read(&self.reader, &mut scratch[..8]);
        #[cfg(not(target_os = "linux"))]
        while rustix::io::read(&self.reader, &mut scratch).is_ok_and(|count| count == scratch.len()) {}
    }
}
