//! One end of a pipe of the kernel.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Peek, Unread};
use crate::connection::Ended;
use crate::options::{PipeDirection, PipeTransmissionMode};
use crate::sys::{self, Interest};

/// The most that a pipe that says it can be written takes without blocking (`PIPE_BUF` on every system here).
const SURELY_FITS: usize = 4096;

#[derive(Debug)]
pub(crate) struct Fifo {
    fd: OwnedFd,
    description: Description,
    /// The host of this library may want SIGPIPE for itself; asked once, since asking costs as much as a small write.
    raises_signal: bool,
}

/// Whose the open file description is, and with it the choice whether calls block.
#[derive(Debug)]
enum Description {
    /// Ours alone. Blocking at first, so that a call that may wait is one system call; non-blocking for good from the
    /// first call that may not, since a pipe has no such choice for single calls on every kernel.
    Own { nonblocking: AtomicBool },
    /// Others share it: what a call could wait for is asked before each call that may not wait.
    Shared,
}

impl Fifo {
    /// Takes an end that this process has just made, so that nobody shares it.
    pub(crate) fn own(fd: OwnedFd) -> io::Result<Self> {
        sys::set_nonblocking(fd.as_fd(), false)?;
        Ok(Self {
            fd,
            description: Description::own(),
            raises_signal: !sys::signal_pipe_is_ignored(),
        })
    }

    /// Takes an end that came from elsewhere and leaves its shared flags as they are.
    pub(crate) fn shared(fd: OwnedFd) -> Self {
        let raises_signal = !sys::signal_pipe_is_ignored();
        match sys::reopen(fd.as_fd()) {
            Ok(own) => Self {
                fd: own,
                description: Description::own(),
                raises_signal,
            },
            // Without /proc, or where the pipe belongs to another user.
            Err(_) => Self {
                fd,
                description: Description::Shared,
                raises_signal,
            },
        }
    }

    pub(super) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.must_ask_first()? {
            let now = sys::readiness(self.fd.as_fd())?;
            if !(now.readable || now.hung_up || now.error) {
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
        sys::read(self.fd.as_fd(), buffer)
    }

    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut bytes = bytes;
        if self.must_ask_first()? {
            let now = sys::readiness(self.fd.as_fd())?;
            if !(now.writable || now.hung_up || now.error) {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            bytes = &bytes[..bytes.len().min(SURELY_FITS)];
        }
        self.write_waiting(bytes)
    }

    #[inline]
    pub(super) fn read_waiting(&self, buffer: &mut [u8]) -> io::Result<usize> {
        sys::read(self.fd.as_fd(), buffer)
    }

    #[inline]
    pub(super) fn write_waiting(&self, bytes: &[u8]) -> io::Result<usize> {
        if self.raises_signal {
            sys::write_without_signal(self.fd.as_fd(), bytes)
        } else {
            sys::write(self.fd.as_fd(), bytes)
        }
    }

    /// Before a call that may not wait: whether it could, so that it has to be asked for what is there.
    fn must_ask_first(&self) -> io::Result<bool> {
        match &self.description {
            Description::Own { nonblocking } => {
                if !nonblocking.load(Ordering::Relaxed) {
                    sys::set_nonblocking(self.fd.as_fd(), true)?;
                    nonblocking.store(true, Ordering::Relaxed);
                }
                Ok(false)
            }
            Description::Shared => Ok(true),
        }
    }

    pub(super) fn unread(&self) -> io::Result<Unread> {
        if sys::unread(self.fd.as_fd())? == 0 {
            return Ok(Unread::Nothing);
        }
        if !sys::readiness(self.fd.as_fd())?.error {
            return Ok(Unread::Something);
        }
        // At a writing end an error means that no reader is left, so that the count changes no more. The last reader may
        // have taken the rest since the first count.
        Ok(if sys::unread(self.fd.as_fd())? == 0 {
            Unread::Nothing
        } else {
            Unread::Abandoned
        })
    }

    pub(super) fn buffer_size(&self, _: PipeDirection) -> io::Result<usize> {
        sys::pipe_size(self.fd.as_fd())
    }

    /// The kernel looks into a pipe only for its number of bytes.
    pub(super) fn peek(&self, buffer: &mut [u8]) -> io::Result<Peek> {
        if !buffer.is_empty() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        Ok(Peek {
            available: sys::unread(self.fd.as_fd())?,
            ..Peek::default()
        })
    }

    pub(super) fn try_settle(&self) -> io::Result<()> {
        Ok(())
    }

    super::carries_bytes!();

    pub(super) fn readable(&self) -> Interest<'_> {
        Interest::readable(self.fd.as_fd())
    }

    pub(super) fn writable(&self) -> Interest<'_> {
        Interest::writable(self.fd.as_fd())
    }

    /// The end of a kernel pipe shows when its descriptor is closed, and only then.
    pub(super) fn end(&self, _: Ended) {}

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub(super) fn into_descriptor(self) -> OwnedFd {
        if matches!(self.description, Description::Own { .. }) {
            // Setting the flags of an open descriptor does not fail.
            let _ = sys::set_nonblocking(self.fd.as_fd(), false);
        }
        self.fd
    }
}

impl Description {
    const fn own() -> Self {
        Self::Own {
            nonblocking: AtomicBool::new(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_shared_end_keeps_its_flags() {
        let (reader, writer) = sys::pipe().unwrap();
        let elsewhere = writer.try_clone().unwrap();
        let fifo = Fifo::shared(writer);
        assert!(matches!(fifo.description, Description::Own { .. }));
        assert!(!sys::is_nonblocking(elsewhere.as_fd()).unwrap());
        assert_eq!(fifo.try_write(b"x").unwrap(), 1);
        drop((fifo, elsewhere));
        let reader = Fifo::own(reader).unwrap();
        assert_eq!(reader.try_read(&mut [0; 8]).unwrap(), 1);
        assert_eq!(reader.try_read(&mut [0; 8]).unwrap(), 0);
        assert!(!sys::is_nonblocking(reader.into_descriptor().as_fd()).unwrap());
    }

    #[test]
    fn an_end_of_our_own_blocks_until_a_call_may_not() {
        let (reader, writer) = sys::pipe().unwrap();
        let (reader, writer) = (Fifo::own(reader).unwrap(), Fifo::own(writer).unwrap());
        writer.write_waiting(b"ab").unwrap();
        assert_eq!(reader.read_waiting(&mut [0; 1]).unwrap(), 1);
        assert!(!sys::is_nonblocking(reader.descriptor()).unwrap());
        assert_eq!(reader.try_read(&mut [0; 8]).unwrap(), 1);
        assert_eq!(
            reader.try_read(&mut [0; 8]).unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
        // The caller of this one goes on to wait where others can end it.
        assert_eq!(
            reader.read_waiting(&mut [0; 8]).unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
        assert!(!sys::is_nonblocking(reader.into_descriptor().as_fd()).unwrap());
    }

    #[test]
    fn an_end_that_cannot_be_reopened_never_blocks_either() {
        let (reader, writer) = sys::pipe().unwrap();
        let mut other = std::fs::File::from(writer.try_clone().unwrap());
        let ask = |fd| Fifo {
            fd,
            description: Description::Shared,
            raises_signal: false,
        };
        let (reader, writer) = (ask(reader), ask(writer));
        assert_eq!(
            reader.try_read(&mut [0; 8]).unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
        while writer.try_write(&[7; 100_000]).is_ok() {}
        assert_eq!(writer.try_write(b"x").unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_eq!(reader.try_read(&mut [0; 8192]).unwrap(), 8192);
        other.write_all(b"y").unwrap();
        assert_eq!(writer.try_write(b"x").unwrap(), 1);
        drop(reader);
        assert_eq!(writer.try_write(b"x").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_write_without_a_reader_raises_no_signal_in_any_host() {
        let (reader, writer) = sys::pipe().unwrap();
        drop(reader);
        let fifo = Fifo {
            raises_signal: true,
            ..Fifo::own(writer).unwrap()
        };
        assert_eq!(fifo.try_write(b"x").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn what_nobody_will_read_is_told_from_what_was_read() {
        let (reader, writer) = sys::pipe().unwrap();
        let (reader, writer) = (Fifo::own(reader).unwrap(), Fifo::own(writer).unwrap());
        writer.try_write(b"ab").unwrap();
        assert_eq!(writer.unread().unwrap(), Unread::Something);
        reader.try_read(&mut [0; 1]).unwrap();
        assert_eq!(writer.unread().unwrap(), Unread::Something);
        drop(reader);
        assert_eq!(writer.unread().unwrap(), Unread::Abandoned);
    }
}
