//! The side of a direction that reads.

use crate::cells::Lane;
use crate::ends::Framing;
use crate::error::Error;
use crate::order::Site;
use crate::producer::FRAME_HEADER;
use crate::tuning::Tuning;
use crate::wake::{Bell, Wait};

/// Reads from one direction of a ring. There is one for each direction, used by one thread at a time.
///
/// No call waits, and each takes what it returns and nothing else: a caller may give up between any two calls, also in the middle of
/// a message, and the next call goes on there.
#[derive(Debug)]
pub struct Consumer {
    lane: Lane,
    framing: Framing,
    tuning: Tuning,
    /// Up to where this side has read, and what stands there.
    place: Place,
    /// The tail that the other side knows.
    given_back: u32,
    /// The head as last seen.
    head: u32,
    /// The base as seen with the head.
    base: u32,
    /// Whether the other side may think that this one sleeps.
    sleeping: bool,
    /// The bell has told that the other side has gone.
    peer_gone: bool,
}

/// A place in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    /// How many bytes stand before it, modulo 2^32.
    tail: u32,
    /// In a ring of messages: how many bytes are left of the message that has been begun.
    message: Option<u32>,
}

/// What a read of a message gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// How many bytes are in the buffer now.
    pub count: usize,
    /// Whether they are the last of their message.
    pub complete: bool,
}

/// What a peek found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peeked {
    /// How many bytes are in the buffer now.
    pub count: usize,
    /// How many bytes can be read, of all messages together and without their lengths.
    pub available: usize,
    /// How many bytes are left of the first message, those in the buffer included and those that have not arrived. `None` in a
    /// ring of bytes, and when no message has arrived.
    pub message_left: Option<u32>,
}

impl Consumer {
    pub(crate) fn new(lane: Lane, framing: Framing) -> Self {
        Self {
            tuning: Tuning::for_capacity(lane.capacity),
            lane,
            framing,
            place: Place { tail: 0, message: None },
            given_back: 0,
            head: 0,
            base: 0,
            sleeping: false,
            peer_gone: false,
        }
    }

    /// Takes what has arrived into `buffer`, without waiting. `Ok(0)` is the end, and for an empty buffer no news.
    ///
    /// From a ring of messages it reads their bytes as a stream: across their ends, and past empty ones.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](Error::WouldBlock) when nothing has arrived, [`Torn`](Error::Torn) when the other side ended in the middle of a
    /// message, [`Corrupt`](Error::Corrupt) when it lies.
    #[inline]
    pub fn try_read(&mut self, buffer: &mut [u8], bell: &impl Bell) -> Result<usize, Error> {
        self.leave_sleep();
        if buffer.is_empty() {
            return Ok(0);
        }
        if self.framing == Framing::Messages {
            return self.read_across_messages(buffer, bell);
        }
        if self.available(buffer.len())? == 0 && self.is_at_end()? {
            return Ok(0);
        }
        match self.take(buffer, u32::MAX, bell) {
            0 => Err(Error::WouldBlock),
            count => Ok(count),
        }
    }

    /// Takes the next part of a message into `buffer`, without waiting: as much of it as fits and has arrived. `None` is the end.
    ///
    /// A message that fits into the ring together with its length arrives whole. With an empty buffer this takes nothing but
    /// the length, and an empty message.
    ///
    /// # Errors
    ///
    /// As [`try_read`](Self::try_read).
    pub fn try_read_message(&mut self, buffer: &mut [u8], bell: &impl Bell) -> Result<Option<Part>, Error> {
        self.leave_sleep();
        let Some(left) = self.open_message()? else {
            return Ok(None);
        };
        if left > 0 && !buffer.is_empty() && self.available(buffer.len())? == 0 {
            return Err(if self.is_at_end()? {
                Error::Torn
            } else {
                Error::WouldBlock
            });
        }
        let count = self.take(buffer, left, bell);
        Ok(Some(self.finish_part(left, count, bell)))
    }

    /// Copies what has arrived into `buffer` and leaves it there to be read. `None` is the end. In a ring of messages it copies from
    /// the first of them.
    ///
    /// # Errors
    ///
    /// [`Torn`](Error::Torn) when the other side ended in the middle of a message and nothing of it is left,
    /// [`Corrupt`](Error::Corrupt) when it lies.
    pub fn peek(&mut self, buffer: &mut [u8]) -> Result<Option<Peeked>, Error> {
        let arrived = self.available(usize::MAX)?;
        if arrived == 0 && self.is_at_end()? {
            return match self.place.message {
                Some(left) if left > 0 => Err(Error::Torn),
                _ => Ok(None),
            };
        }
        if self.framing == Framing::Bytes {
            let count = self.copy(self.place.tail, buffer, self.arrived());
            return Ok(Some(Peeked {
                count,
                available: self.arrived() as usize,
                message_left: None,
            }));
        }
        let mut place = self.place;
        if !self.read_length(&mut place)? {
            return Ok(Some(Peeked {
                count: 0,
                available: 0,
                message_left: None,
            }));
        }
        let left = place.message.unwrap_or(0);
        let count = self.copy(place.tail, buffer, left.min(self.head.wrapping_sub(place.tail)));
        Ok(Some(Peeked {
            count,
            available: self.bytes_of_messages(place)?,
            message_left: Some(left),
        }))
    }

    /// How many bytes are left of the message that has been begun, those that have not arrived included.
    #[must_use]
    pub fn message_left(&self) -> Option<u32> {
        self.place.message
    }

    /// What to do after [`WouldBlock`](Error::WouldBlock): does all that must precede a wait for the bell, in the right order.
    ///
    /// Once it has said [`PeerGone`](Wait::PeerGone), the calls report the end.
    ///
    /// # Errors
    ///
    /// [`Corrupt`](Error::Corrupt) when the other side lies.
    pub fn prepare_wait(&mut self, bell: &impl Bell) -> Result<Wait, Error> {
        self.leave_sleep();
        // What was read must be known before this side sleeps, or two could wait for each other.
        self.give_back(bell);
        let there = bell.silence();
        if self.is_ready()? {
            return Ok(Wait::Ready);
        }
        if !there {
            self.peer_gone = true;
            return Ok(Wait::PeerGone);
        }
        self.lane.reader_sleeps.swap(1);
        self.sleeping = true;
        Site::ReaderSleepBeforeLook.fence();
        if Site::ReaderSecondLook.step() && self.is_ready()? {
            self.leave_sleep();
            return Ok(Wait::Ready);
        }
        Ok(Wait::MustWait)
    }

    /// Says that this side sleeps no more, after a wait that something else than the bell has ended. The next call does it too; until
    /// then the other side may ring a bell that nobody needs.
    pub fn cancel_wait(&mut self) {
        self.leave_sleep();
    }

    /// Whether there is something to read, or the end: a look without a fence, for spinning.
    ///
    /// # Errors
    ///
    /// [`Corrupt`](Error::Corrupt) when the other side lies.
    #[inline]
    pub fn is_ready(&mut self) -> Result<bool, Error> {
        Ok(self.available(1)? > 0 || self.lane.ended.load_with(Site::EndSeen.load()) != 0)
    }

    /// Sets what [`Tuning`] has; for measurements and models.
    pub fn tune(&mut self, tuning: Tuning) {
        self.tuning = tuning;
    }

    #[inline]
    fn leave_sleep(&mut self) {
        if self.sleeping {
            self.sleeping = false;
            self.lane.reader_sleeps.swap(0);
        }
    }

    /// Bytes that are known to have arrived and are not read.
    #[inline]
    fn arrived(&self) -> u32 {
        self.head.wrapping_sub(self.place.tail)
    }

    /// The same, looking at the shared head only if what is known of is less than `wanted`.
    #[inline]
    fn available(&mut self, wanted: usize) -> Result<u32, Error> {
        if (self.arrived() as usize) < wanted {
            self.look_at_head()?;
        }
        Ok(self.arrived())
    }

    /// Takes over the shared head, if it is one that can be: not before the last one, and no more than a ring ahead.
    #[inline]
    fn look_at_head(&mut self) -> Result<(), Error> {
        let head = self.lane.head.load_with(Site::HeadSeen.load());
        let arrived = head.wrapping_sub(self.place.tail);
        if arrived < self.arrived() || arrived > self.lane.capacity {
            return Err(Error::Corrupt("it has written more than there is room for"));
        }
        if arrived > 0 {
            // While something is unread the base stands still; any value leads into the ring.
            self.base = self.lane.base.load();
        }
        self.head = head;
        Ok(())
    }

    /// Whether the other side has ended and everything has been read; asked when nothing is known to have arrived.
    fn is_at_end(&mut self) -> Result<bool, Error> {
        if self.lane.ended.load_with(Site::EndSeen.load()) == 0 && !self.peer_gone {
            return Ok(false);
        }
        // It may have written between the look at the head and its end.
        if Site::LookBehindEnd.step() {
            self.look_at_head()?;
        }
        Ok(self.arrived() == 0)
    }

    /// Copies no more than `most` bytes from the count `tail` on, all of which have arrived.
    #[inline]
    fn copy(&self, tail: u32, buffer: &mut [u8], most: u32) -> usize {
        let count = buffer.len().min(most as usize);
        self.lane.bytes.get(tail.wrapping_sub(self.base), &mut buffer[..count]);
        count
    }

    /// Takes no more than `most` bytes that have arrived into the buffer, giving back room on the way.
    #[inline]
    fn take(&mut self, buffer: &mut [u8], most: u32, bell: &impl Bell) -> usize {
        let count = buffer.len().min(self.arrived().min(most) as usize);
        for piece in buffer[..count].chunks_mut(self.tuning.give_back as usize) {
            let taken = self.copy(self.place.tail, piece, piece.len() as u32);
            self.advance(taken as u32, bell);
        }
        count
    }

    /// Goes on in the stream, and gives back room if there is nothing more or much of it.
    #[inline]
    fn advance(&mut self, count: u32, bell: &impl Bell) {
        self.place.tail = self.place.tail.wrapping_add(count);
        let owed = self.place.tail.wrapping_sub(self.given_back);
        if self.arrived() == 0 || owed >= self.tuning.give_back {
            self.give_back(bell);
        }
    }

    #[inline]
    fn give_back(&mut self, bell: &impl Bell) {
        if self.given_back == self.place.tail {
            return;
        }
        self.given_back = self.place.tail;
        self.lane.tail.store_with(self.given_back, Site::TailPublished.store());
        // A writer that has gone is no loss to a reader; its end shows when there is nothing more to read.
        let _ = self.lane.wake_writer(Site::TailBeforeBell, bell);
    }

    fn read_across_messages(&mut self, buffer: &mut [u8], bell: &impl Bell) -> Result<usize, Error> {
        let mut count = 0;
        // No more than has arrived by now, or the other side could keep this one here with empty messages.
        let mut bytes = self.available(usize::MAX)?.saturating_add(1);
        while count < buffer.len() && bytes > 0 {
            let before = self.place.tail;
            match self.try_read_message(&mut buffer[count..], bell) {
                Ok(Some(part)) => count += part.count,
                // What was read goes out first; the next call meets the same end or error.
                Ok(None) | Err(_) if count > 0 => break,
                Ok(None) => return Ok(0),
                Err(error) => return Err(error),
            }
            bytes = bytes.saturating_sub(self.place.tail.wrapping_sub(before));
        }
        if count == 0 { Err(Error::WouldBlock) } else { Ok(count) }
    }

    /// How much is left of the message that has been begun, beginning one if need be. `None` is the end.
    fn open_message(&mut self) -> Result<Option<u32>, Error> {
        if let Some(left) = self.place.message {
            return Ok(Some(left));
        }
        if self.available(FRAME_HEADER as usize)? == 0 {
            return if self.is_at_end()? {
                Ok(None)
            } else {
                self.open_arrived()
            };
        }
        self.open_arrived()
    }

    fn open_arrived(&mut self) -> Result<Option<u32>, Error> {
        let mut place = self.place;
        if !self.read_length(&mut place)? {
            return Err(Error::WouldBlock);
        }
        // The length's room is given back with the bytes behind it.
        self.place = place;
        Ok(place.message)
    }

    /// Reads the length at a place where a message begins; `false` if nothing has arrived there.
    fn read_length(&self, place: &mut Place) -> Result<bool, Error> {
        if place.message.is_some() {
            return Ok(true);
        }
        match self.head.wrapping_sub(place.tail) {
            0 => Ok(false),
            1..FRAME_HEADER => Err(Error::Corrupt("it has sent a part of a message's length")),
            _ => {
                let mut length = [0; FRAME_HEADER as usize];
                self.copy(place.tail, &mut length, FRAME_HEADER);
                *place = Place {
                    tail: place.tail.wrapping_add(FRAME_HEADER),
                    message: Some(u32::from_le_bytes(length)),
                };
                Ok(true)
            }
        }
    }

    /// Notes that `count` of the `left` bytes have been taken.
    fn finish_part(&mut self, left: u32, count: usize, bell: &impl Bell) -> Part {
        let left = left - count as u32;
        self.place.message = Some(left).filter(|&left| left > 0);
        if self.arrived() == 0 {
            // An empty message leaves nothing but its length to give back.
            self.give_back(bell);
        }
        Part {
            count,
            complete: left == 0,
        }
    }

    /// How many bytes of messages have arrived from `place` on, in whose message it stands.
    fn bytes_of_messages(&self, mut place: Place) -> Result<usize, Error> {
        let mut sum = 0;
        while self.read_length(&mut place)? {
            let left = place.message.unwrap_or(0);
            let here = left.min(self.head.wrapping_sub(place.tail));
            sum += here as usize;
            if here < left {
                break;
            }
            place = Place {
                tail: place.tail.wrapping_add(here),
                message: None,
            };
        }
        Ok(sum)
    }
}
