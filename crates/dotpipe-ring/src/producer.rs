//! The side of a direction that writes.

use crate::cells::Lane;
use crate::ends::Framing;
use crate::error::Error;
use crate::order::Site;
use crate::tuning::{Tuning, Watch};
use crate::wake::{Bell, Wait};

/// Writes to one direction of a ring. There is one for each direction, used by one thread at a time.
///
/// No call waits. What a call has not done, it has not begun: a caller may give up between any two calls, except in the middle of a
/// message that is longer than the ring ([`unfinished`](Self::unfinished)).
#[derive(Debug)]
pub struct Producer {
    lane: Lane,
    framing: Framing,
    tuning: Tuning,
    /// How many bytes were written, modulo 2^32. The shared head follows it and is never read back.
    head: u32,
    /// The head at the last reset: where in the ring the byte at its first place stands in the count.
    base: u32,
    /// The tail as last seen.
    tail: u32,
    /// The head before which it is not worthwhile to look whether the ring is empty.
    next_reset: u32,
    /// How many bytes of a message longer than the ring are still to come.
    unfinished: u32,
    /// How much room the last call wanted that failed for room.
    wanted: u32,
    /// Whether the other side may think that this one sleeps.
    sleeping: bool,
    /// A bell has found nobody.
    peer_gone: bool,
    watch: Watch,
}

/// Bytes of the length before a message.
pub(crate) const FRAME_HEADER: u32 = 4;

impl Producer {
    pub(crate) fn new(lane: Lane, framing: Framing) -> Self {
        Self {
            tuning: Tuning::for_capacity(lane.capacity),
            lane,
            framing,
            head: 0,
            base: 0,
            tail: 0,
            next_reset: 0,
            unfinished: 0,
            wanted: 1,
            sleeping: false,
            peer_gone: false,
            watch: Watch::default(),
        }
    }

    /// Writes as many of `bytes` as there is room for, without waiting, and says how many. In a ring of messages it writes one
    /// message, as [`try_write_message`](Self::try_write_message).
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](Error::WouldBlock) when there is no room, [`Broken`](Error::Broken) when nobody will read,
    /// [`Corrupt`](Error::Corrupt) when the other side lies.
    #[inline]
    pub fn try_write(&mut self, bytes: &[u8], bell: &impl Bell) -> Result<usize, Error> {
        if self.framing == Framing::Messages {
            return self.try_write_message(bytes, bell);
        }
        self.check_reader()?;
        if bytes.is_empty() {
            return Ok(0);
        }
        let room = self.room_for(bytes.len())?;
        if room == 0 {
            return Err(self.wait_for_room(1));
        }
        let count = bytes.len().min(room as usize);
        self.reset_if_empty(count as u32)?;
        self.append_in_pieces(&bytes[..count], bell);
        Ok(count)
    }

    /// Writes a message, or the next part of one that is longer than the ring, without waiting.
    ///
    /// `rest` is what has not yet been written of the message: all of it at first. The result is how many bytes have been written
    /// now; when that is all of `rest`, which may be empty, the message is complete. A message that fits into the ring
    /// together with its length is written whole or not at all, and the other side sees it whole. A longer one goes in parts; until
    /// it is complete no other can be written.
    ///
    /// # Errors
    ///
    /// As [`try_write`](Self::try_write), and [`Unfinished`](Error::Unfinished) if `rest` is not the rest of the message
    /// that was begun, or is longer than 2^32 - 1 bytes.
    pub fn try_write_message(&mut self, rest: &[u8], bell: &impl Bell) -> Result<usize, Error> {
        self.check_reader()?;
        let length = u32::try_from(rest.len()).map_err(|_| Error::Unfinished)?;
        if self.unfinished > 0 {
            return self.continue_message(rest, length, bell);
        }
        let frame = u64::from(FRAME_HEADER) + u64::from(length);
        let whole = u32::try_from(frame).ok().filter(|&frame| frame <= self.lane.capacity);
        // A long message begins as soon as a byte of it fits.
        let least = whole.unwrap_or(FRAME_HEADER + 1);
        let room = self.room_for(whole.unwrap_or(self.lane.capacity) as usize)?;
        if room < least {
            return Err(self.wait_for_room(least));
        }
        let count = length.min(room - FRAME_HEADER);
        self.reset_if_empty(FRAME_HEADER + count)?;
        // The length is published together with bytes behind it: nobody ever sees a part of it.
        self.append(&length.to_le_bytes());
        let first = match whole {
            Some(_) => count,
            None => count.min(self.tuning.batch),
        };
        self.append(&rest[..first as usize]);
        self.publish(bell);
        self.append_in_pieces(&rest[first as usize..count as usize], bell);
        self.unfinished = length - count;
        Ok(count as usize)
    }

    fn continue_message(&mut self, rest: &[u8], length: u32, bell: &impl Bell) -> Result<usize, Error> {
        if length != self.unfinished {
            return Err(Error::Unfinished);
        }
        let room = self.room_for(rest.len())?;
        if room == 0 {
            return Err(self.wait_for_room(1));
        }
        let count = length.min(room);
        self.append_in_pieces(&rest[..count as usize], bell);
        self.unfinished -= count;
        Ok(count as usize)
    }

    /// How many bytes of a message longer than the ring are still to be written. While it is not 0, giving up leaves the other
    /// side with a part of a message: the connection must then be closed.
    #[must_use]
    pub fn unfinished(&self) -> u32 {
        self.unfinished
    }

    /// How many bytes the other side has not taken yet, lengths of messages among them.
    ///
    /// # Errors
    ///
    /// [`Corrupt`](Error::Corrupt) when the other side lies.
    pub fn unread(&mut self) -> Result<u32, Error> {
        self.look_at_tail()?;
        Ok(self.head.wrapping_sub(self.tail))
    }

    /// Whether the other side has taken everything; to wait for it, use [`prepare_wait`](Self::prepare_wait).
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](Error::WouldBlock) when it has not, [`Broken`](Error::Broken) when it never will,
    /// [`Corrupt`](Error::Corrupt) when it lies.
    pub fn try_drain(&mut self) -> Result<(), Error> {
        self.leave_sleep();
        // Who sees that no more will be read must then look at what was read last.
        let abandoned = self.is_abandoned();
        if self.unread()? == 0 {
            return Ok(());
        }
        if abandoned || self.peer_gone {
            return Err(Error::Broken);
        }
        Err(self.wait_for_room(self.lane.capacity))
    }

    /// What to do after [`WouldBlock`](Error::WouldBlock): does all that must precede a wait for the bell, in the right order.
    ///
    /// # Errors
    ///
    /// [`Corrupt`](Error::Corrupt) when the other side lies.
    pub fn prepare_wait(&mut self, bell: &impl Bell) -> Result<Wait, Error> {
        self.leave_sleep();
        let there = bell.silence();
        if self.is_ready()? {
            return Ok(Wait::Ready);
        }
        if !there {
            self.peer_gone = true;
            return Ok(Wait::PeerGone);
        }
        self.lane.writer_sleeps.swap(1);
        self.sleeping = true;
        Site::WriterSleepBeforeLook.fence();
        if Site::WriterSecondLook.step() && self.is_ready()? {
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

    /// Whether a call that failed for room may now succeed: a look without a fence, for spinning.
    ///
    /// # Errors
    ///
    /// [`Corrupt`](Error::Corrupt) when the other side lies.
    #[inline]
    pub fn is_ready(&mut self) -> Result<bool, Error> {
        if self.is_abandoned() {
            return Ok(true);
        }
        self.look_at_tail()?;
        Ok(self.room() >= self.wanted)
    }

    /// Whether it is time to look for the other side by other means, such as `poll(2)` of a socket: it takes nothing of
    /// what is there for it. Call it after a write, and [`peer_has_gone`](Self::peer_has_gone) if so.
    ///
    /// A killed reader leaves no sign in the ring, and as long as there is room a writer has no reason to wait. This is `true` at
    /// most once in 16 writes, in 64 KiB and in about a millisecond, and not while the other side reads: see
    /// [`Tuning`](crate::Tuning).
    ///
    /// # Errors
    ///
    /// [`Corrupt`](Error::Corrupt) when the other side lies.
    #[inline]
    pub fn should_look_for_peer(&mut self) -> Result<bool, Error> {
        if !self.watch.is_due(self.head) {
            return Ok(false);
        }
        self.look_at_tail()?;
        Ok(self.watch.stands_still(self.head, self.tail))
    }

    /// Tells what was found by other means: the other side has gone, and writes fail from now on.
    pub fn peer_has_gone(&mut self) {
        self.peer_gone = true;
    }

    /// Sets what [`Tuning`] has; for measurements and models.
    pub fn tune(&mut self, tuning: Tuning) {
        self.tuning = tuning;
    }

    /// Fails if nobody will read what is written now.
    #[inline]
    fn check_reader(&mut self) -> Result<(), Error> {
        self.leave_sleep();
        if self.peer_gone || self.lane.abandoned.load() != 0 {
            return Err(Error::Broken);
        }
        Ok(())
    }

    #[inline]
    fn is_abandoned(&self) -> bool {
        self.lane.abandoned.load_with(Site::AbandonSeen.load()) != 0
    }

    #[inline]
    fn leave_sleep(&mut self) {
        if self.sleeping {
            self.sleeping = false;
            self.lane.writer_sleeps.swap(0);
        }
    }

    fn wait_for_room(&mut self, wanted: u32) -> Error {
        self.wanted = wanted;
        Error::WouldBlock
    }

    #[inline]
    fn room(&self) -> u32 {
        self.lane.capacity - self.head.wrapping_sub(self.tail)
    }

    /// The room there is, looking at the shared tail only if what is known of it is too little.
    #[inline]
    fn room_for(&mut self, wanted: usize) -> Result<u32, Error> {
        if (self.room() as usize) < wanted {
            self.look_at_tail()?;
        }
        Ok(self.room())
    }

    /// Takes over the shared tail, if it is one that can be: between the last one and the head.
    #[inline]
    fn look_at_tail(&mut self) -> Result<(), Error> {
        let tail = self.lane.tail.load_with(Site::TailSeen.load());
        if self.head.wrapping_sub(tail) > self.head.wrapping_sub(self.tail) {
            return Err(Error::Corrupt("it has read what was never written"));
        }
        self.tail = tail;
        Ok(())
    }

    /// Goes back to the first place of the ring if everything has been read, and the next `count` bytes would reach beyond the
    /// part that is used over and over: it stays in the cache, and an idle ring holds no more memory than it.
    ///
    /// The reader learns of the new base with the next head. Before that it has no use for it, as there is nothing to read.
    #[inline]
    fn reset_if_empty(&mut self, count: u32) -> Result<(), Error> {
        let offset = self.head.wrapping_sub(self.base);
        if offset == 0 || offset.saturating_add(count) <= self.tuning.reset {
            return Ok(());
        }
        if self.tail != self.head {
            // A reader that is behind now is likely to be behind at the next write too.
            if (self.head.wrapping_sub(self.next_reset) as i32) < 0 {
                return Ok(());
            }
            self.look_at_tail()?;
            self.next_reset = self.head.wrapping_add(self.tuning.reset);
        }
        if self.tail == self.head || !Site::ResetWhenEmpty.step() {
            self.base = self.head;
            self.lane.base.store(self.base);
            self.next_reset = self.head;
        }
        Ok(())
    }

    /// Copies bytes for which there is room; nobody sees them before [`publish`](Self::publish).
    #[inline]
    fn append(&mut self, bytes: &[u8]) {
        self.lane.bytes.put(self.head.wrapping_sub(self.base), bytes);
        self.head = self.head.wrapping_add(bytes.len() as u32);
    }

    /// In pieces, so that the reader takes the first while the next is copied.
    #[inline]
    fn append_in_pieces(&mut self, bytes: &[u8], bell: &impl Bell) {
        for piece in bytes.chunks(self.tuning.batch as usize) {
            self.append(piece);
            self.publish(bell);
        }
    }

    #[inline]
    fn publish(&mut self, bell: &impl Bell) {
        self.lane.head.store_with(self.head, Site::HeadPublished.store());
        if !self.lane.wake_reader(Site::HeadBeforeBell, bell) {
            self.peer_gone = true;
        }
    }
}
