//! What the ring costs, beside its floors, in interleaved repeats: `cargo run --release -p dotpipe-ring --example measure`.
//!
//! Two threads on two processors; ratios are between neighbours in time, as a virtual machine's processors move about.

#[cfg(not(all(target_os = "linux", not(loom))))]
fn main() {
    eprintln!("measure: this needs Linux");
}

#[cfg(all(target_os = "linux", not(loom)))]
fn main() {
    linux::main();
}

#[cfg(all(target_os = "linux", not(loom)))]
mod linux {
    use std::hint::{black_box, spin_loop};
    use std::io::{Read, Write};
    use std::os::fd::{AsFd, OwnedFd};
    use std::os::unix::net::UnixStream;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::thread;
    use std::time::{Duration, Instant};

    use dotpipe_ring::{Bell, Consumer, Ends, Error, Framing, Geometry, Memory, Producer, Side, Spin, Tuning, Wait};
    use rustix::event::{PollFd, PollFlags};
    use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

    const REPEATS: usize = 9;
    const ROUND_TRIPS: usize = 40_000;
    const SLOW_ROUND_TRIPS: usize = 2_000;

    pub(super) fn main() {
        let default = Tuning::for_capacity(Geometry::DEFAULT);
        round_trips(default);
        one_way();
        copies();
    }

    /// Nanoseconds of one round trip.
    type Measurement = Box<dyn Fn() -> f64>;

    fn round_trips(default: Tuning) {
        let reset = move |reset| Tuning { reset, ..default };
        let kinds: [(&str, Measurement); 7] = [
            ("line ping-pong", Box::new(line)),
            ("bare ring", Box::new(bare)),
            ("ring, bytes", Box::new(move || ring(Framing::Bytes, default, true))),
            (
                "ring, messages",
                Box::new(move || ring(Framing::Messages, default, true)),
            ),
            (
                "ring, never reset",
                Box::new(move || ring(Framing::Bytes, reset(u32::MAX), true)),
            ),
            ("ring, no spin", Box::new(move || ring(Framing::Bytes, default, false))),
            ("UnixStream", Box::new(unix_stream)),
        ];
        let mut samples = vec![Vec::new(); kinds.len()];
        for _ in 0..REPEATS {
            for (kind, samples) in kinds.iter().zip(&mut samples) {
                samples.push(kind.1());
            }
        }
        println!("64 B round trip, {REPEATS} repeats     median ns   [min - max]   x line (median of ratios)   x bare");
        for ((name, _), times) in kinds.iter().zip(&samples) {
            let ratio = |to: usize| {
                median(
                    times
                        .iter()
                        .zip(&samples[to])
                        .map(|(time, floor)| time / floor)
                        .collect(),
                )
            };
            let (least, most) = times.iter().fold((f64::MAX, 0_f64), |(least, most), &time| {
                (least.min(time), most.max(time))
            });
            let middle = median(times.clone());
            println!(
                "  {name:<20} {middle:>10.0}   [{least:.0} - {most:.0}]   {:>8.2}   {:>8.2}",
                ratio(0),
                ratio(1)
            );
        }
    }

    fn one_way() {
        println!("one way, {REPEATS} repeats     ring MB/s   messages MB/s   UnixStream MB/s   ring / UnixStream");
        for size in [64, 4 << 10, 64 << 10, 1 << 20] {
            let total = if size == 64 { 8 << 20 } else { 256 << 20 };
            let (mut bytes, mut messages, mut sockets, mut ratios) = (vec![], vec![], vec![], vec![]);
            for _ in 0..REPEATS {
                let ring = ring_one_way(Framing::Bytes, size, total);
                let socket = socket_one_way(size, total / 4);
                messages.push(ring_one_way(Framing::Messages, size, total));
                ratios.push(ring / socket);
                bytes.push(ring);
                sockets.push(socket);
            }
            println!(
                "  {size:>8} B {:>14.0} {:>14.0} {:>14.0} {:>14.1}",
                median(bytes),
                median(messages),
                median(sockets),
                median(ratios)
            );
        }
    }

    /// A copy through the ring on one thread, where the two sides lie alike in their pages and where they differ by 8.
    fn copies() {
        println!("copy in of 64 KiB, GB/s     dst - src = 0     8     8 / 0     (memcpy: 0     8     8 / 0)");
        let size = 64 << 10;
        let source = vec![1_u8; size + 8192];
        let (here, there) = Memory::private(Geometry::default());
        let start = here.start().as_ptr() as usize;
        let mut writer = here.into_ends(Side::Creator, Framing::Bytes).producer;
        let mut reader = there.into_ends(Side::Receiver, Framing::Bytes).consumer;
        // The whole ring before the next write is empty, so that every write begins at its start.
        let mut target = vec![0_u8; size + 8192];
        let mut out = vec![0_u8; size];
        let mut speeds = [vec![], vec![], vec![], vec![]];
        for _ in 0..REPEATS {
            for (number, difference) in [0, 8].into_iter().enumerate() {
                let from = (start - difference - source.as_ptr() as usize) % 4096;
                let mut spent = Duration::ZERO;
                for _ in 0..200 {
                    let begin = Instant::now();
                    writer.try_write(black_box(&source[from..from + size]), &Deaf).unwrap();
                    spent += begin.elapsed();
                    reader.try_read(black_box(&mut out), &Deaf).unwrap();
                }
                speeds[number].push(200.0 * size as f64 / spent.as_nanos() as f64);
                let to = (source.as_ptr() as usize + difference - target.as_ptr() as usize % 4096) % 4096;
                let begin = Instant::now();
                for _ in 0..200 {
                    black_box(&mut target[to..to + size]).copy_from_slice(black_box(&source[..size]));
                }
                speeds[2 + number].push(200.0 * size as f64 / begin.elapsed().as_nanos() as f64);
            }
        }
        let [alike, apart, c_alike, c_apart] = speeds.map(median);
        println!(
            "  {alike:>30.1} {apart:>6.1} {:>7.2} {c_alike:>13.1} {c_apart:>6.1} {:>7.2}",
            apart / alike,
            c_apart / c_alike
        );
    }

    struct Deaf;

    impl Bell for Deaf {
        fn ring(&self) -> bool {
            true
        }

        fn silence(&self) -> bool {
            true
        }
    }

    struct SocketBell {
        rings: OwnedFd,
        hears: OwnedFd,
    }

    impl Bell for SocketBell {
        #[cold]
        fn ring(&self) -> bool {
            rustix::net::send(&self.rings, &[1], SendFlags::DONTWAIT | SendFlags::NOSIGNAL).is_ok()
        }

        fn silence(&self) -> bool {
            rustix::net::recv(&self.hears, &mut [0_u8; 64], RecvFlags::DONTWAIT).map_or(true, |(count, _)| count > 0)
        }
    }

    impl SocketBell {
        fn wait(&self) {
            let mut polled = [PollFd::new(&self.hears, PollFlags::IN)];
            rustix::io::retry_on_intr(|| rustix::event::poll(&mut polled, None)).unwrap();
        }
    }

    struct Half {
        producer: Producer,
        consumer: Consumer,
        writes: SocketBell,
        reads: SocketBell,
        spins: [Spin; 2],
        framing: Framing,
    }

    fn halves(framing: Framing, tuning: Tuning, spin: bool) -> [Half; 2] {
        let (memory, file) = Memory::create(Geometry::default()).unwrap();
        let other = Memory::receive(file.as_fd()).unwrap();
        let pair =
            || rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
        let ((data, their_data), (space, their_space)) = (pair(), pair());
        let half = |ends: Ends, data: OwnedFd, space: OwnedFd| {
            let again = |socket: &OwnedFd| socket.try_clone().unwrap();
            let Ends {
                mut producer,
                mut consumer,
                ..
            } = ends;
            producer.tune(tuning);
            consumer.tune(tuning);
            let budget = if spin { Spin::DEFAULT } else { Duration::ZERO };
            Half {
                producer,
                consumer,
                writes: SocketBell {
                    rings: again(&data),
                    hears: again(&space),
                },
                reads: SocketBell {
                    rings: space,
                    hears: data,
                },
                spins: [Spin::new(budget), Spin::new(budget)],
                framing,
            }
        };
        [
            half(memory.into_ends(Side::Creator, framing), data, space),
            half(other.into_ends(Side::Receiver, framing), their_data, their_space),
        ]
    }

    impl Half {
        fn write_all(&mut self, mut bytes: &[u8]) {
            while !bytes.is_empty() {
                match self.producer.try_write(bytes, &self.writes) {
                    Ok(count) => bytes = &bytes[count..],
                    Err(Error::WouldBlock) => {
                        let producer = &mut self.producer;
                        if !self.spins[0].until(Duration::MAX, || producer.is_ready().unwrap())
                            && producer.prepare_wait(&self.writes).unwrap() == Wait::MustWait
                        {
                            self.writes.wait();
                        }
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        }

        fn read(&mut self, buffer: &mut [u8]) -> usize {
            loop {
                let result = match self.framing {
                    Framing::Bytes => self.consumer.try_read(buffer, &self.reads),
                    Framing::Messages => {
                        let part = self.consumer.try_read_message(buffer, &self.reads);
                        part.map(|part| part.map_or(0, |part| part.count))
                    }
                };
                match result {
                    Ok(count) => return count,
                    Err(Error::WouldBlock) => {
                        let consumer = &mut self.consumer;
                        if !self.spins[1].until(Duration::MAX, || consumer.is_ready().unwrap())
                            && consumer.prepare_wait(&self.reads).unwrap() == Wait::MustWait
                        {
                            self.reads.wait();
                        }
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        }

        fn read_exact(&mut self, buffer: &mut [u8]) {
            let mut done = 0;
            while done < buffer.len() {
                done += self.read(&mut buffer[done..]);
            }
        }
    }

    /// Nanoseconds of a round trip through the ring.
    fn ring(framing: Framing, tuning: Tuning, spin: bool) -> f64 {
        let [mut here, mut there] = halves(framing, tuning, spin);
        let count = if spin { ROUND_TRIPS } else { SLOW_ROUND_TRIPS };
        let mut buffer = [1; 64];
        let mut echo = [0; 64];
        both(
            count,
            move || {
                here.write_all(&buffer);
                here.read_exact(&mut buffer);
            },
            move || {
                there.read_exact(&mut echo);
                there.write_all(&echo);
            },
        )
    }

    fn unix_stream() -> f64 {
        let (mut here, mut there) = UnixStream::pair().unwrap();
        let (mut buffer, mut echo) = ([1; 64], [0; 64]);
        both(
            SLOW_ROUND_TRIPS,
            move || {
                here.write_all(&buffer).unwrap();
                here.read_exact(&mut buffer).unwrap();
            },
            move || {
                there.read_exact(&mut echo).unwrap();
                there.write_all(&echo).unwrap();
            },
        )
    }

    #[repr(align(128))]
    #[derive(Default)]
    struct Line(AtomicU64);

    /// One line goes from processor to processor: no exchange can be faster.
    fn line() -> f64 {
        let lines: &'static Line = Box::leak(Box::default());
        let step = |from: u64| {
            while lines.0.load(Ordering::Acquire) % 2 != from {
                spin_loop();
            }
            lines.0.store(lines.0.load(Ordering::Relaxed) + 1, Ordering::Release);
        };
        both(ROUND_TRIPS, move || step(0), move || step(1))
    }

    /// A ring with the least that a ring needs: no bells, no fences, no checks, no ends, no resets.
    #[derive(Default)]
    struct Bare {
        head: Line,
        tail: Line,
        bytes: Vec<AtomicU64>,
    }

    impl Bare {
        fn write(&self, words: &[u64; 8]) {
            let head = self.head.0.load(Ordering::Relaxed);
            while head - self.tail.0.load(Ordering::Acquire) == self.bytes.len() as u64 {
                spin_loop();
            }
            for (at, &word) in words.iter().enumerate() {
                self.bytes[(head as usize + at) % (1 << 17)].store(word, Ordering::Relaxed);
            }
            self.head.0.store(head + 8, Ordering::Release);
        }

        fn read(&self, words: &mut [u64; 8]) {
            let tail = self.tail.0.load(Ordering::Relaxed);
            while self.head.0.load(Ordering::Acquire) == tail {
                spin_loop();
            }
            for (at, word) in words.iter_mut().enumerate() {
                *word = self.bytes[(tail as usize + at) % (1 << 17)].load(Ordering::Relaxed);
            }
            self.tail.0.store(tail + 8, Ordering::Release);
        }
    }

    fn bare() -> f64 {
        let new = || Bare {
            bytes: (0..1 << 17).map(|_| AtomicU64::new(0)).collect(),
            ..Bare::default()
        };
        let rings: &'static [Bare; 2] = Box::leak(Box::new([new(), new()]));
        let (mut words, mut echo) = ([1; 8], [0; 8]);
        both(
            ROUND_TRIPS,
            move || {
                rings[0].write(&words);
                rings[1].read(&mut words);
            },
            move || {
                rings[0].read(&mut echo);
                rings[1].write(&echo);
            },
        )
    }

    /// Runs the two on two processors, and returns the nanoseconds of one round of the first.
    fn both(count: usize, mut here: impl FnMut() + Send, mut there: impl FnMut() + Send) -> f64 {
        thread::scope(|scope| {
            scope.spawn(move || {
                pin(1);
                (0..count + count / 10).for_each(|_| there());
            });
            scope
                .spawn(move || {
                    pin(0);
                    (0..count / 10).for_each(|_| here());
                    let start = Instant::now();
                    (0..count).for_each(|_| here());
                    start.elapsed().as_nanos() as f64 / count as f64
                })
                .join()
                .unwrap()
        })
    }

    /// Megabytes in a second.
    fn ring_one_way(framing: Framing, size: usize, total: usize) -> f64 {
        let [mut here, mut there] = halves(framing, Tuning::for_capacity(Geometry::DEFAULT), true);
        let (bytes, mut buffer) = (vec![1; size], vec![0; size]);
        transfer(
            total / size,
            move || here.write_all(&bytes),
            move || there.read_exact(&mut buffer),
        ) * size as f64
    }

    fn socket_one_way(size: usize, total: usize) -> f64 {
        let (mut here, mut there) = UnixStream::pair().unwrap();
        let (bytes, mut buffer) = (vec![1; size], vec![0; size]);
        transfer(
            total / size,
            move || here.write_all(&bytes).unwrap(),
            move || there.read_exact(&mut buffer).unwrap(),
        ) * size as f64
    }

    /// Millions of pieces in a second, until the last has been read.
    fn transfer(count: usize, mut write: impl FnMut() + Send, mut read: impl FnMut() + Send) -> f64 {
        thread::scope(|scope| {
            scope.spawn(move || {
                pin(0);
                (0..count).for_each(|_| write());
            });
            scope
                .spawn(move || {
                    pin(1);
                    read();
                    let start = Instant::now();
                    (1..count).for_each(|_| read());
                    (count - 1) as f64 / start.elapsed().as_micros() as f64
                })
                .join()
                .unwrap()
        })
    }

    fn pin(processor: usize) {
        let mut set = rustix::thread::CpuSet::new();
        set.set(processor);
        // With one processor there is nowhere to go.
        let _ = rustix::thread::sched_setaffinity(None, &set);
    }

    fn median(mut values: Vec<f64>) -> f64 {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    }
}
