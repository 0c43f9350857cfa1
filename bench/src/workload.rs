//! The loops that are measured: the same ones for every peer that is a stream.
//!
//! The near side measures. It sends an order, a count of 8 bytes, over the stream under test itself, so that a peer
//! needs nothing but its stream; then both sides do that many operations. The end of the stream ends the far side.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use crate::test::{Kind, Test};

/// Receivers of a one-way stream read with a buffer of the block's size, but at least this one: what a program uses
/// that does not know how its peer writes.
const LEAST_RECEIVE_BUFFER: usize = 64 << 10;

/// On a new connection the byte that says whether another one follows.
const MORE: u8 = 1;
const LAST: u8 = 0;

/// What [`Kind::Connect`] has instead of a stream.
const NO_STREAM: &str = "connections are not measured over one stream";

/// Takes one sample over a stream that lasts, with about `time` for it.
pub(crate) fn near(stream: &mut (impl Read + Write), test: Test, time: Duration) -> io::Result<f64> {
    let mut block = Block::new(test.bytes);
    let (operations, took) = match test.kind {
        Kind::RoundTrip => calibrated(time, |count| round_trips(stream, block.bytes(), count)),
        Kind::OneWay => calibrated(time, |count| blocks_one_way(stream, block.bytes(), count)),
        Kind::Connect => Err(io::Error::new(io::ErrorKind::InvalidInput, NO_STREAM)),
    }?;
    Ok(test.figure(operations, took))
}

/// The other side of [`near`]; returns when the stream ends.
pub(crate) fn far(stream: &mut (impl Read + Write), test: Test) -> io::Result<()> {
    match test.kind {
        Kind::RoundTrip => {
            let mut block = Block::new(test.bytes);
            let block = block.bytes();
            while let Some(count) = read_order(stream)? {
                for _ in 0..count {
                    stream.read_exact(block)?;
                    stream.write_all(block)?;
                }
            }
            Ok(())
        }
        Kind::OneWay => {
            let mut buffer = Block::new(test.bytes.max(LEAST_RECEIVE_BUFFER));
            let buffer = buffer.bytes();
            while let Some(count) = read_order(stream)? {
                stream.write_all(&[0])?;
                let mut left = count * test.bytes as u64;
                while left > 0 {
                    match stream.read(buffer)? {
                        0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                        n => left = left.saturating_sub(n as u64),
                    }
                }
                stream.write_all(&[0])?;
            }
            Ok(())
        }
        Kind::Connect => Err(io::Error::new(io::ErrorKind::InvalidInput, NO_STREAM)),
    }
}

/// Takes one sample of connections, one after the other, each by a call of `connect`.
pub(crate) fn near_connects<S: Read + Write>(
    test: Test,
    time: Duration,
    mut connect: impl FnMut() -> io::Result<S>,
) -> io::Result<f64> {
    let mut once = |more| {
        let mut stream = connect()?;
        stream.write_all(&[more])?;
        stream.read_exact(&mut [0])
    };
    let (operations, took) = calibrated(time, |count| {
        let start = Instant::now();
        for _ in 0..count {
            once(MORE)?;
        }
        Ok(start.elapsed())
    })?;
    once(LAST)?;
    Ok(test.figure(operations, took))
}

/// The other side of one connection of [`near_connects`]. Returns whether another one follows.
pub(crate) fn far_connect(stream: &mut (impl Read + Write)) -> io::Result<bool> {
    let mut byte = [LAST];
    stream.read_exact(&mut byte)?;
    stream.write_all(&byte)?;
    Ok(byte != [LAST])
}

fn round_trips(stream: &mut (impl Read + Write), block: &mut [u8], count: u64) -> io::Result<Duration> {
    // One turn more, untimed, so that the time does not contain the far side's way to its loop.
    write_order(stream, count + 1)?;
    stream.write_all(block)?;
    stream.read_exact(block)?;
    let start = Instant::now();
    for _ in 0..count {
        stream.write_all(block)?;
        stream.read_exact(block)?;
    }
    Ok(start.elapsed())
}

fn blocks_one_way(stream: &mut (impl Read + Write), block: &[u8], count: u64) -> io::Result<Duration> {
    write_order(stream, count)?;
    stream.read_exact(&mut [0])?;
    let start = Instant::now();
    for _ in 0..count {
        stream.write_all(block)?;
    }
    stream.read_exact(&mut [0])?;
    Ok(start.elapsed())
}

/// Runs growing batches until one is long enough to tell how many operations fill `time`, then runs so many. The
/// batches before are the warm-up.
fn calibrated(time: Duration, mut batch: impl FnMut(u64) -> io::Result<Duration>) -> io::Result<(u64, Duration)> {
    let mut count = 8;
    loop {
        let took = batch(count)?;
        if took >= time / 8 {
            let fitting = count as f64 * time.as_secs_f64() / took.as_secs_f64();
            let count = (fitting as u64).max(1);
            return Ok((count, batch(count)?));
        }
        count *= 4;
    }
}

fn write_order(stream: &mut impl Write, count: u64) -> io::Result<()> {
    stream.write_all(&count.to_le_bytes())
}

/// The next order; None at the end of the stream.
fn read_order(stream: &mut impl Read) -> io::Result<Option<u64>> {
    let mut count = [0; 8];
    match stream.read_exact(&mut count) {
        Ok(()) => Ok(Some(u64::from_le_bytes(count))),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// Memory that begins a page.
///
/// How fast the kernel copies depends on where in a page a block lies, and where the heap puts one depends on what was
/// allocated before: on the peer. Here all peers copy from and to the same place.
struct Block {
    memory: Vec<u8>,
    start: usize,
}

impl Block {
    const PAGE: usize = 4096;

    /// Filled with something: pages that were never written are all the one zero page, and copying that is faster.
    fn new(bytes: usize) -> Self {
        let mut memory: Vec<u8> = (0..bytes + Self::PAGE).map(|i| i as u8).collect();
        let address = memory.as_ptr().addr();
        let start = address.next_multiple_of(Self::PAGE) - address;
        memory.truncate(start + bytes);
        Self { memory, start }
    }

    fn bytes(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..]
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::thread;

    use super::*;

    #[test]
    fn both_sides_agree_on_every_test_of_a_stream() {
        for test in Test::all().into_iter().filter(|test| test.kind != Kind::Connect) {
            let (mut one, mut other) = UnixStream::pair().unwrap();
            let far_side = thread::spawn(move || far(&mut other, test));
            let figure = near(&mut one, test, Duration::from_millis(2)).unwrap();
            drop(one);
            far_side.join().unwrap().unwrap();
            assert!(figure.is_finite() && figure > 0.0, "{test}: {figure}");
        }
    }

    #[test]
    fn a_far_side_that_dies_is_an_error() {
        for test in [Test::round_trip(64), Test::one_way(64)] {
            let (mut one, other) = UnixStream::pair().unwrap();
            drop(other);
            near(&mut one, test, Duration::from_millis(2)).unwrap_err();
        }
    }

    #[test]
    fn connections_end_with_the_last_one() {
        let (clients, mut servers): (Vec<_>, Vec<_>) = (0..3).map(|_| UnixStream::pair().unwrap()).unzip();
        let near_side = thread::spawn(move || {
            for (mut client, more) in clients.into_iter().zip([MORE, MORE, LAST]) {
                client.write_all(&[more]).unwrap();
                client.read_exact(&mut [0]).unwrap();
            }
        });
        let more: Vec<bool> = servers.iter_mut().map(|server| far_connect(server).unwrap()).collect();
        near_side.join().unwrap();
        assert_eq!(more, [true, true, false]);
    }

    #[test]
    fn blocks_begin_a_page() {
        for bytes in [1, 64, 4096, 1 << 20] {
            let mut block = Block::new(bytes);
            assert_eq!(block.bytes().len(), bytes);
            assert_eq!(block.bytes().as_ptr().addr() % Block::PAGE, 0);
        }
    }

    #[test]
    fn calibration_fills_the_time() {
        let (operations, took) =
            calibrated(Duration::from_millis(10), |count| Ok(Duration::from_micros(count))).unwrap();
        assert!(took >= Duration::from_micros(9_900), "{took:?}");
        assert_eq!(operations as u128, took.as_micros());
    }
}
