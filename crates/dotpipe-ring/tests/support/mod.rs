//! Bells between threads, and waiting for them within a limit.

#![allow(dead_code, reason = "each test uses its part of this")]

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use dotpipe_ring::{Bell, Closer, Consumer, Ends, Error, Framing, Geometry, Memory, Part, Producer, Side, Wait};

/// One way of a bell: how often it was rung, and whether the ringer has gone.
#[derive(Debug, Default)]
pub(crate) struct Line {
    state: Mutex<(u32, bool)>,
    changed: Condvar,
}

impl Line {
    fn ring(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // Like a socket that is full, it does not become louder.
        state.0 = (state.0 + 1).min(3);
        self.changed.notify_all();
    }

    /// Tells that the ringer has gone.
    pub(crate) fn hang_up(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).1 = true;
        self.changed.notify_all();
    }

    fn silence(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 = 0;
        !state.1
    }

    fn rung(&self) -> u32 {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    fn wait(&self) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let limit = dotpipe_testkit::limit();
        let (_state, timeout) = self
            .changed
            .wait_timeout_while(state, limit, |state| state.0 == 0 && !state.1)
            .unwrap_or_else(PoisonError::into_inner);
        assert!(!timeout.timed_out(), "no bell for {limit:?}: a wake-up was lost");
    }
}

/// The two lines of a direction, as one side has them.
#[derive(Clone, Debug, Default)]
pub(crate) struct TestBell {
    pub(crate) rings: Arc<Line>,
    pub(crate) hears: Arc<Line>,
}

impl TestBell {
    /// For a direction's producer and for its consumer.
    pub(crate) fn pair() -> (Self, Self) {
        let producers = Self::default();
        let consumers = Self {
            rings: Arc::clone(&producers.hears),
            hears: Arc::clone(&producers.rings),
        };
        (producers, consumers)
    }

    pub(crate) fn wait(&self) {
        self.hears.wait();
    }

    /// How often the other side has rung since the last silence.
    pub(crate) fn rung(&self) -> u32 {
        self.hears.rung()
    }
}

impl Bell for TestBell {
    fn ring(&self) -> bool {
        self.rings.ring();
        !self.hears.state.lock().unwrap_or_else(PoisonError::into_inner).1
    }

    fn silence(&self) -> bool {
        self.hears.silence()
    }
}

/// A producer that waits.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) producer: Producer,
    pub(crate) bell: TestBell,
}

/// A consumer that waits.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) consumer: Consumer,
    pub(crate) bell: TestBell,
}

/// One direction of a ring in this process: its two ends, and what closes each.
pub(crate) fn direction(geometry: Geometry, framing: Framing) -> (Writer, Closer, Reader, Closer) {
    let (here, there) = Memory::private(geometry);
    let Ends { producer, closer, .. } = here.into_ends(Side::Creator, framing);
    let far = there.into_ends(Side::Receiver, framing);
    let (producers, consumers) = TestBell::pair();
    let writer = Writer {
        producer,
        bell: producers,
    };
    let reader = Reader {
        consumer: far.consumer,
        bell: consumers,
    };
    (writer, closer, reader, far.closer)
}

/// The same with the smallest capacity.
pub(crate) fn small(framing: Framing) -> (Writer, Closer, Reader, Closer) {
    direction(Geometry::new(4096, 4096).unwrap(), framing)
}

impl Writer {
    fn wait(&mut self) -> Result<(), Error> {
        if self.producer.prepare_wait(&self.bell)? == Wait::MustWait {
            self.bell.wait();
        }
        Ok(())
    }

    pub(crate) fn write_all(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            match self.producer.try_write(bytes, &self.bell) {
                Ok(count) => bytes = &bytes[count..],
                Err(Error::WouldBlock) => self.wait()?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    pub(crate) fn write_message(&mut self, message: &[u8]) -> Result<(), Error> {
        let mut done = 0;
        loop {
            match self.producer.try_write_message(&message[done..], &self.bell) {
                Ok(count) => done += count,
                Err(Error::WouldBlock) => {
                    self.wait()?;
                    continue;
                }
                Err(error) => return Err(error),
            }
            if done == message.len() {
                return Ok(());
            }
        }
    }

    pub(crate) fn drain(&mut self) -> Result<(), Error> {
        loop {
            match self.producer.try_drain() {
                Err(Error::WouldBlock) => self.wait()?,
                done => return done,
            }
        }
    }
}

impl Reader {
    fn wait(&mut self) -> Result<(), Error> {
        if self.consumer.prepare_wait(&self.bell)? == Wait::MustWait {
            self.bell.wait();
        }
        Ok(())
    }

    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        loop {
            match self.consumer.try_read(buffer, &self.bell) {
                Err(Error::WouldBlock) => self.wait()?,
                done => return done,
            }
        }
    }

    pub(crate) fn read_part(&mut self, buffer: &mut [u8]) -> Result<Option<Part>, Error> {
        loop {
            match self.consumer.try_read_message(buffer, &self.bell) {
                Err(Error::WouldBlock) => self.wait()?,
                done => return done,
            }
        }
    }

    /// A whole message, read in pieces of `size`.
    pub(crate) fn read_message(&mut self, size: usize) -> Result<Option<Vec<u8>>, Error> {
        let mut message = Vec::new();
        let mut buffer = vec![0; size];
        while let Some(part) = self.read_part(&mut buffer)? {
            message.extend_from_slice(&buffer[..part.count]);
            if part.complete {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }
}

/// A small generator of numbers that are alike in every run (splitmix64).
#[derive(Clone, Debug)]
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = self.0;
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ (number >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// From 0 to `longest`, short ones more often.
    pub(crate) fn length(&mut self, longest: usize) -> usize {
        let most = longest >> self.below(12);
        self.below(most + 1)
    }
}

/// The byte at a place of the stream that tests send.
pub(crate) fn byte_at(place: u64) -> u8 {
    (place.wrapping_mul(0x9e37_79b9) >> 13) as u8
}
