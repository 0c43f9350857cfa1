//! A Unix stream socket that carries the users' bytes and nothing else.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::{Peek, Unread};
use crate::connection::Ended;
use crate::options::{PipeDirection, PipeTransmissionMode};
use crate::sys::{self, Half, Interest};

/// The socket may share its open file description with other processes, so that each call asks for itself not to block.
#[derive(Debug)]
pub(crate) struct Socket(OwnedFd);

impl Socket {
    pub(crate) const fn new(socket: OwnedFd) -> Self {
        Self(socket)
    }

    /// Ends the direction that a stream of `direction` does not use, as .NET does after `connect` and `accept`.
    pub(crate) fn restrict(&self, direction: PipeDirection) -> io::Result<()> {
        match direction {
            PipeDirection::In => sys::shutdown(self.0.as_fd(), Half::Writing),
            PipeDirection::Out => sys::shutdown(self.0.as_fd(), Half::Reading),
            PipeDirection::InOut => Ok(()),
        }
    }

    pub(super) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        sys::receive(self.0.as_fd(), buffer)
    }

    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        sys::send(self.0.as_fd(), bytes)
    }

    #[inline]
    pub(super) fn read_waiting(&self, buffer: &mut [u8]) -> io::Result<usize> {
        sys::receive_waiting(self.0.as_fd(), buffer)
    }

    #[inline]
    pub(super) fn write_waiting(&self, bytes: &[u8]) -> io::Result<usize> {
        sys::send_waiting(self.0.as_fd(), bytes)
    }

    /// The kernel's count falls to zero also when the peer closes with bytes unread; the socket's error then tells.
    ///
    /// A hang-up tells nothing here: the kernel reports one also when both sides have merely ended what they send.
    pub(super) fn unread(&self) -> io::Result<Unread> {
        if sys::outstanding(self.0.as_fd())? > 0 {
            return Ok(Unread::Something);
        }
        Ok(if sys::take_error(self.0.as_fd())?.is_some() {
            Unread::Abandoned
        } else {
            Unread::Nothing
        })
    }

    pub(super) fn peek(&self, buffer: &mut [u8]) -> io::Result<Peek> {
        let available = sys::unread(self.0.as_fd())?;
        let read = match available.min(buffer.len()) {
            0 => 0,
            length => sys::receive_peek(self.0.as_fd(), &mut buffer[..length])?,
        };
        Ok(Peek {
            read,
            available,
            left_in_message: 0,
        })
    }

    pub(super) fn try_settle(&self) -> io::Result<()> {
        Ok(())
    }

    super::carries_bytes!();

    pub(super) fn readable(&self) -> Interest<'_> {
        Interest::readable(self.0.as_fd())
    }

    pub(super) fn writable(&self) -> Interest<'_> {
        Interest::writable(self.0.as_fd())
    }

    /// Ends both directions for both sides. What was sent stays readable.
    pub(super) fn end(&self, _: Ended) {
        // It can only fail if the other side has ended the connection already.
        let _ = sys::shutdown(self.0.as_fd(), Half::Both);
    }

    pub(super) fn buffer_size(&self, direction: PipeDirection) -> io::Result<usize> {
        if direction.can_read() {
            sys::receive_buffer_size(self.0.as_fd())
        } else {
            sys::send_buffer_size(self.0.as_fd())
        }
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    pub(super) fn into_descriptor(self) -> OwnedFd {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Socket, Socket) {
        let (one, other) = sys::socket_pair().unwrap();
        (Socket::new(one), Socket::new(other))
    }

    #[test]
    fn a_count_of_zero_is_not_taken_for_a_reader_that_read_all() {
        let (one, other) = pair();
        one.try_write(&[7; 100]).unwrap();
        assert_eq!(one.unread().unwrap(), Unread::Something);
        other.try_read(&mut [0; 99]).unwrap();
        assert_eq!(one.unread().unwrap(), Unread::Something);
        drop(other);
        assert_eq!(sys::outstanding(one.descriptor()).unwrap(), 0);
        assert_eq!(one.unread().unwrap(), Unread::Abandoned);
    }

    #[test]
    fn a_reader_that_read_all_and_left_has_read_all() {
        let (one, other) = pair();
        one.try_write(b"x").unwrap();
        other.try_read(&mut [0; 9]).unwrap();
        drop(other);
        assert_eq!(one.unread().unwrap(), Unread::Nothing);
    }

    #[test]
    fn a_reader_that_writes_no_more_is_waited_for() {
        let (one, other) = pair();
        one.try_write(b"x").unwrap();
        sys::shutdown(one.descriptor(), Half::Writing).unwrap();
        sys::shutdown(other.descriptor(), Half::Writing).unwrap();
        assert_eq!(one.unread().unwrap(), Unread::Something);
        other.try_read(&mut [0; 9]).unwrap();
        assert_eq!(one.unread().unwrap(), Unread::Nothing);
    }

    #[test]
    fn a_direction_that_is_not_used_is_closed_for_the_other_side() {
        let (one, other) = pair();
        one.restrict(PipeDirection::In).unwrap();
        assert_eq!(other.try_read(&mut [0; 1]).unwrap(), 0);
        assert_eq!(other.try_write(b"x").unwrap(), 1);
        let (one, other) = pair();
        one.restrict(PipeDirection::Out).unwrap();
        assert_eq!(other.try_write(b"x").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(
            other.try_read(&mut [0; 1]).unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
    }
}
