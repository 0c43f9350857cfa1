//! A peer that writes what it likes into the shared memory, driven by bytes: from a fuzzer, from a corpus, or at random.
//!
//! The crate's own calls must never panic, reach outside the memory, go on for ever, or report what cannot be. `fuzz/` includes this
//! file by its path.

use std::ptr::NonNull;

use dotpipe_ring::{Bell, Ends, Error, Framing, Geometry, Memory, Side};

/// A bell that nobody hears. Every fourth time the peer seems to have gone.
struct Deaf(std::cell::Cell<u8>);

impl Deaf {
    fn there(&self) -> bool {
        self.0.set(self.0.get().wrapping_add(1));
        self.0.get() % 4 != 0
    }
}

impl Bell for Deaf {
    fn ring(&self) -> bool {
        self.there()
    }

    fn silence(&self) -> bool {
        self.there()
    }
}

/// Offsets of the words of both directions, all that a side ever looks at.
const WORDS: [usize; 14] = [
    512, 516, 520, 640, 768, 772, 896, 1536, 1540, 1544, 1664, 1792, 1796, 1920,
];

/// Bytes before those of the rings.
const CONTROL: usize = 4096;

/// The shared memory as the liar sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) start: NonNull<u8>,
    pub(crate) length: usize,
}

// SAFETY: who uses it on another thread keeps the memory for as long.
unsafe impl Send for Target {}

impl Target {
    /// # Safety
    ///
    /// The memory is kept for as long as the result is used.
    pub(crate) unsafe fn of(memory: &Memory) -> Self {
        Self {
            start: memory.start(),
            length: memory.geometry().length() as usize,
        }
    }

    pub(crate) fn poke_word(self, number: usize, value: u32) {
        let at = self
            .start
            .as_ptr()
            .wrapping_add(WORDS[number % WORDS.len()])
            .cast::<u32>();
        // SAFETY: the offset is a multiple of four within the control page. The other side uses atomics there, and so does this.
        let word = unsafe { std::sync::atomic::AtomicU32::from_ptr(at) };
        word.store(value, std::sync::atomic::Ordering::Relaxed);
    }

    pub(crate) fn peek_word(self, number: usize) -> u32 {
        let at = self
            .start
            .as_ptr()
            .wrapping_add(WORDS[number % WORDS.len()])
            .cast::<u32>();
        // SAFETY: as above.
        let word = unsafe { std::sync::atomic::AtomicU32::from_ptr(at) };
        word.load(std::sync::atomic::Ordering::Relaxed)
    }

    pub(crate) fn poke_byte(self, offset: usize, value: u8) {
        let at = self.start.as_ptr().wrapping_add(offset % self.length);
        // SAFETY: within the memory, which is ordinary bytes to everybody.
        unsafe { at.write_volatile(value) };
    }
}

/// What drives a run; zeros when it is used up.
struct Script<'a>(&'a [u8]);

impl Script<'_> {
    fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        first
    }

    fn word(&mut self) -> u32 {
        u32::from_le_bytes([self.byte(), self.byte(), self.byte(), self.byte()])
    }

    /// Small, about a ring long, and now and then longer than that.
    fn length(&mut self) -> usize {
        let byte = usize::from(self.byte());
        match byte % 4 {
            0 => byte / 4,
            1 => 4096 - byte / 8,
            2 => byte * 100,
            _ => byte,
        }
    }

    /// A lie near the truth is better than one at random.
    fn lie(&mut self, truth: u32) -> u32 {
        match self.byte() % 8 {
            0 => 0,
            1 => u32::MAX,
            2 => truth.wrapping_add(u32::from(self.byte())),
            3 => truth.wrapping_sub(u32::from(self.byte())),
            4 => truth.wrapping_add(4096),
            5 => truth.wrapping_add(4097),
            6 => 1,
            _ => self.word(),
        }
    }
}

/// Runs one script: honest calls on one side, or both, between pokes.
pub(crate) fn run(script: &[u8]) {
    let mut script = Script(script);
    let first = script.byte();
    let framing = if first & 1 == 0 {
        Framing::Bytes
    } else {
        Framing::Messages
    };
    let geometry = Geometry::new(4096 << (first >> 1 & 1), 4096).unwrap();
    let (here, there) = Memory::private(geometry);
    // SAFETY: the ends below keep the memory until the function's end.
    let target = unsafe { Target::of(&here) };
    let mut sides = [
        here.into_ends(Side::Creator, framing),
        there.into_ends(Side::Receiver, framing),
    ];
    // With one honest side the other's words are the liar's alone.
    let honest = usize::from(first >> 2 & 1) + 1;
    let mut buffer = vec![0; 30_000];
    let bell = Deaf(std::cell::Cell::new(0));
    while !script.0.is_empty() {
        match script.byte() % 4 {
            0 => {
                let number = usize::from(script.byte());
                let lie = script.lie(target.peek_word(number));
                target.poke_word(number, lie);
            }
            1 => {
                let place = script.word() as usize;
                let value = script.byte();
                let bytes = target.length - CONTROL;
                (0..8).for_each(|at| target.poke_byte(CONTROL + (place % bytes + at) % bytes, value));
            }
            _ => {
                let side = &mut sides[usize::from(script.byte()) % honest];
                call(side, &mut script, &mut buffer, &bell);
            }
        }
    }
}

/// One call of an honest side, and what can be said of its result whatever the other one did.
fn call(side: &mut Ends, script: &mut Script<'_>, buffer: &mut [u8], bell: &Deaf) {
    let Ends {
        producer,
        consumer,
        closer,
    } = side;
    let length = script.length().min(buffer.len());
    match script.byte() % 12 {
        0 | 1 => check(producer.try_write(&buffer[..length], bell), length),
        2 => {
            let length = match producer.unfinished() as usize {
                0 => length,
                rest => rest,
            };
            check(producer.try_write_message(&vec![7; length], bell), length);
        }
        3 | 4 => check(consumer.try_read(&mut buffer[..length], bell), length),
        5 | 6 => check(
            consumer
                .try_read_message(&mut buffer[..length], bell)
                .map(|part| part.map_or(0, |part| part.count)),
            length,
        ),
        7 => {
            if let Ok(Some(peeked)) = consumer.peek(&mut buffer[..length]) {
                assert!(peeked.count <= length && peeked.count <= peeked.available && peeked.available <= 8192);
                assert!(peeked.message_left.is_none_or(|left| peeked.count <= left as usize));
            }
        }
        8 => {
            let _ = (producer.prepare_wait(bell), producer.is_ready());
        }
        9 => {
            let _ = (consumer.prepare_wait(bell), consumer.is_ready());
        }
        10 => {
            assert!(producer.unread().is_ok_and(|unread| unread <= 8192) || producer.unread().is_err());
            let _ = (producer.try_drain(), producer.should_look_for_peer());
        }
        _ => match script.byte() % 16 {
            0 => closer.end_writing(bell),
            1 => closer.end_reading(bell),
            _ => {
                producer.cancel_wait();
                consumer.cancel_wait();
            }
        },
    }
}

fn check(result: Result<usize, Error>, length: usize) {
    match result {
        Ok(count) => assert!(count <= length),
        Err(Error::WouldBlock | Error::Broken | Error::Torn | Error::Unfinished | Error::Corrupt(_)) => {}
        Err(error) => panic!("{error}"),
    }
}
