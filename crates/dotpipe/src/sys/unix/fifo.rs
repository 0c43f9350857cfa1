//! Anonymous pipes of the kernel, and descriptors that another process left to this one.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, PoisonError};

use super::FileId;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::{Errno, FdFlags};

/// A pipe's reading and writing end, neither inherited by children.
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    #[cfg(target_os = "linux")]
    return Ok(rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?);
    #[cfg(not(target_os = "linux"))]
    {
        let (reader, writer) = std::io::pipe()?;
        Ok((reader.into(), writer.into()))
    }
}

/// Takes what is in the pipe; `Ok(0)` is the end, `WouldBlock` when nothing is there yet and the descriptor is non-blocking.
#[inline]
pub(crate) fn read(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    Ok(rustix::io::retry_on_intr(|| rustix::io::read(fd, &mut *buffer))?)
}

/// Puts bytes into the pipe; `WouldBlock` when there is no room and the descriptor is non-blocking.
#[inline]
pub(crate) fn write(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    Ok(rustix::io::retry_on_intr(|| rustix::io::write(fd, bytes))?)
}

/// As [`write`], but no SIGPIPE reaches the process when nobody reads the pipe any more.
///
/// A pipe has no `MSG_NOSIGNAL`. Rust programs ignore SIGPIPE, but a library may live in another host: there the signal
/// is blocked on this thread during the write, and the one that the write raised is taken back.
#[inline(never)]
pub(crate) fn write_without_signal(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    let guard = SignalPipeGuard::new();
    let outcome = rustix::io::retry_on_intr(|| rustix::io::write(fd, bytes));
    if outcome == Err(Errno::PIPE) {
        guard.take_back();
    }
    drop(guard);
    Ok(outcome?)
}

/// Blocks SIGPIPE on this thread for its lifetime.
struct SignalPipeGuard {
    previous: libc::sigset_t,
    was_pending: bool,
}

impl SignalPipeGuard {
    fn new() -> Self {
        let set = signal_pipe_set();
        let mut previous = empty_set();
        // SAFETY: both sets are initialised and live through the call, which writes only to `previous`.
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, &raw mut previous) };
        Self {
            previous,
            was_pending: signal_pipe_is_pending(),
        }
    }

    /// Removes the SIGPIPE that a failed write has raised, unless one was waiting before.
    fn take_back(&self) {
        if !self.was_pending && signal_pipe_is_pending() {
            let set = signal_pipe_set();
            let mut taken: libc::c_int = 0;
            // SAFETY: the set is initialised; the signal is pending and blocked, so that this returns at once.
            unsafe { libc::sigwait(&raw const set, &raw mut taken) };
        }
    }
}

impl Drop for SignalPipeGuard {
    fn drop(&mut self) {
        // SAFETY: `previous` is the mask that this thread had, and lives through the call.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.previous, std::ptr::null_mut()) };
    }
}

fn empty_set() -> libc::sigset_t {
    let mut set = std::mem::MaybeUninit::uninit();
    // SAFETY: sigemptyset initialises the whole set.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: it was initialised by the line above, which cannot fail for a valid address.
    unsafe { set.assume_init() }
}

fn signal_pipe_set() -> libc::sigset_t {
    let mut set = empty_set();
    // SAFETY: the set is initialised and SIGPIPE is a valid signal.
    unsafe { libc::sigaddset(&raw mut set, libc::SIGPIPE) };
    set
}

fn signal_pipe_is_pending() -> bool {
    let mut pending = empty_set();
    // SAFETY: `pending` lives through the call, which fills it.
    unsafe { libc::sigpending(&raw mut pending) };
    // SAFETY: the set is initialised and SIGPIPE is a valid signal.
    unsafe { libc::sigismember(&raw const pending, libc::SIGPIPE) == 1 }
}

/// Whether this process ignores SIGPIPE, as Rust's run time makes every Rust program do.
pub(crate) fn signal_pipe_is_ignored() -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: with no new action the call only fills the old one.
    let status = unsafe { libc::sigaction(libc::SIGPIPE, std::ptr::null(), action.as_mut_ptr()) };
    // SAFETY: a zeroed sigaction is valid, and the call has at most overwritten it with another.
    status == 0 && unsafe { action.assume_init() }.sa_sigaction == libc::SIG_IGN
}

/// Bytes that were written and not yet read; may be asked at either end on Linux (`FIONREAD`, `pipe(7)`).
pub(crate) fn unread(fd: BorrowedFd<'_>) -> io::Result<usize> {
    Ok(usize::try_from(rustix::io::ioctl_fionread(fd)?).unwrap_or(usize::MAX))
}

/// What a descriptor is, as far as pipes are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DescriptorKind {
    Pipe,
    Socket,
    Other,
}

pub(crate) fn descriptor_kind(fd: BorrowedFd<'_>) -> io::Result<DescriptorKind> {
    Ok(match FileType::from_raw_mode(rustix::fs::fstat(fd)?.st_mode) {
        FileType::Fifo => DescriptorKind::Pipe,
        FileType::Socket => DescriptorKind::Socket,
        _ => DescriptorKind::Other,
    })
}

/// Whether a descriptor was opened for reading and for writing.
pub(crate) fn access(fd: BorrowedFd<'_>) -> io::Result<(bool, bool)> {
    let mode = rustix::fs::fcntl_getfl(fd)? & OFlags::RWMODE;
    Ok((
        mode == OFlags::RDONLY || mode == OFlags::RDWR,
        mode == OFlags::WRONLY || mode == OFlags::RDWR,
    ))
}

pub(crate) fn set_nonblocking(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(fd)?;
    let wanted = if on {
        flags | OFlags::NONBLOCK
    } else {
        flags - OFlags::NONBLOCK
    };
    if wanted != flags {
        rustix::fs::fcntl_setfl(fd, wanted)?;
    }
    Ok(())
}

#[cfg(test)]
pub(crate) fn is_nonblocking(fd: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(rustix::fs::fcntl_getfl(fd)?.contains(OFlags::NONBLOCK))
}

/// Sets whether children inherit a descriptor that this process owns.
pub(crate) fn set_inheritable(fd: BorrowedFd<'_>, inheritable: bool) -> io::Result<()> {
    if inheritable {
        let id = super::id_of_descriptor(fd)?;
        OWN_INHERITABLE
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(fd.as_raw_fd(), id);
    }
    set_close_on_exec(fd, !inheritable)
}

/// The descriptors that this process has made inheritable itself, by number. One that another process left here looks the
/// same, but has no owner yet. An entry whose number stands for another file by now says nothing.
static OWN_INHERITABLE: Mutex<BTreeMap<RawFd, FileId>> = Mutex::new(BTreeMap::new());

fn is_own_inheritable(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let known = OWN_INHERITABLE.lock().unwrap_or_else(PoisonError::into_inner);
    match known.get(&fd.as_raw_fd()) {
        Some(&id) => Ok(id == super::id_of_descriptor(fd)?),
        None => Ok(false),
    }
}

fn set_close_on_exec(fd: BorrowedFd<'_>, close: bool) -> io::Result<()> {
    let flags = if close { FdFlags::CLOEXEC } else { FdFlags::empty() };
    Ok(rustix::io::fcntl_setfd(fd, flags)?)
}

/// The same end of the same pipe with an open file description of its own, in blocking mode.
///
/// `O_NONBLOCK` belongs to the description, and an inherited descriptor shares its description with other processes;
/// opening the pipe anew through `/proc` gives one that is ours alone (`proc(5)`).
pub(crate) fn reopen(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = (rustix::fs::fcntl_getfl(fd)? & OFlags::RWMODE) | OFlags::NONBLOCK | OFlags::CLOEXEC;
    // Opening itself must not wait: a FIFO of the file system has its other end opened only later.
    let own = rustix::fs::open(format!("/proc/self/fd/{}", fd.as_raw_fd()), flags, Mode::empty())?;
    set_nonblocking(own.as_fd(), false)?;
    Ok(own)
}

/// How a number that another process wrote down turned out.
#[derive(Debug)]
pub(crate) enum Adopted<E> {
    Descriptor(OwnedFd),
    NotOpen,
    /// Open, but closed on exec or made inheritable here: this process opened it itself, so that somebody here owns it.
    OwnedHere,
    /// Open and inherited, but the caller has no use for it. It stays as it is.
    Unfit(E),
}

/// Takes over a descriptor that this process inherited, by its number, if `fits` finds nothing wrong with it.
///
/// Only a descriptor without close-on-exec can have come through `exec`; everything that Rust's libraries open has it.
/// Taking sets it, so that no descriptor is taken twice and none leaks into this process's own children. Standard
/// input, output and error belong to the program, which gets to keep them: they are duplicated.
pub(crate) fn adopt<E>(number: RawFd, fits: impl FnOnce(BorrowedFd<'_>) -> Result<(), E>) -> io::Result<Adopted<E>> {
    /// Two threads must not both find the same descriptor free.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    if number < 0 {
        return Ok(Adopted::NotOpen);
    }
    // SAFETY: the borrow is used only for calls that answer EBADF when the descriptor is not open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    match rustix::io::fcntl_getfd(borrowed) {
        Err(Errno::BADF) => return Ok(Adopted::NotOpen),
        Err(error) => return Err(error.into()),
        Ok(flags) if flags.contains(FdFlags::CLOEXEC) => return Ok(Adopted::OwnedHere),
        Ok(_) if is_own_inheritable(borrowed)? => return Ok(Adopted::OwnedHere),
        Ok(_) => {}
    }
    if let Err(unfit) = fits(borrowed) {
        return Ok(Adopted::Unfit(unfit));
    }
    if number <= 2 {
        return Ok(Adopted::Descriptor(rustix::io::fcntl_dupfd_cloexec(borrowed, 3)?));
    }
    set_close_on_exec(borrowed, true)?;
    // SAFETY: the descriptor is open, and nothing in this process owned it: it came through exec and was not taken before.
    Ok(Adopted::Descriptor(unsafe { OwnedFd::from_raw_fd(number) }))
}

/// Makes a descriptor survive `exec` in a child between `fork` and `exec`. Only async-signal-safe calls.
pub(crate) fn keep_through_exec(number: RawFd) -> io::Result<()> {
    // SAFETY: fcntl with F_SETFD touches no memory and answers EBADF for a number that is not open.
    if unsafe { libc::fcntl(number, libc::F_SETFD, 0) } == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Runs `action` in the child of every later `spawn` of `command`, between `fork` and `exec`.
///
/// `action` must not allocate, lock or panic; [`keep_through_exec`] and reads of atomics are all that dotpipe does in one.
pub(crate) fn before_exec(
    command: &mut std::process::Command,
    action: impl FnMut() -> io::Result<()> + Send + Sync + 'static,
) {
    use std::os::unix::process::CommandExt;
    // SAFETY: the only caller's action reads an atomic and calls fcntl, both async-signal-safe.
    unsafe { command.pre_exec(action) };
}

/// Two handles that stand for the same open file description or the same pipe end are told by nothing but their number.
pub(crate) fn number(fd: impl AsFd) -> RawFd {
    fd.as_fd().as_raw_fd()
}

/// The size of a pipe's buffer in bytes (`F_GETPIPE_SZ`, `pipe(7)`).
pub(crate) fn pipe_size(fd: BorrowedFd<'_>) -> io::Result<usize> {
    #[cfg(target_os = "linux")]
    return Ok(rustix::pipe::fcntl_getpipe_size(fd)?);
    #[cfg(not(target_os = "linux"))]
    {
        let _ = fd;
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Asks for a size of a pipe's buffer; the kernel rounds up to whole pages, and refuses more than its limit (`F_SETPIPE_SZ`, `pipe(7)`).
pub(crate) fn set_pipe_size(fd: BorrowedFd<'_>, bytes: usize) -> io::Result<usize> {
    #[cfg(target_os = "linux")]
    return Ok(rustix::pipe::fcntl_setpipe_size(fd, bytes)?);
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (fd, bytes);
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// The error of a descriptor that is not open, made without allocating.
pub(crate) fn bad_descriptor() -> io::Error {
    Errno::BADF.into()
}
