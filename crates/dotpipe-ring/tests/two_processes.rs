//! Two processes, sealed memory sent over a socket, bells on sockets: random lengths and pauses both ways at once, and kills.

#![cfg(all(target_os = "linux", not(loom), not(miri)))]

mod support;

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use dotpipe_ring::{Bell, Closer, Consumer, Ends, Error, Framing, Geometry, Memory, Producer, Side, Spin, Wait};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType,
};
use support::{Numbers, byte_at};

/// One way out and one way in, on two sockets, as a direction has them.
struct SocketBell<'a> {
    rings: &'a OwnedFd,
    hears: &'a OwnedFd,
}

impl Bell for SocketBell<'_> {
    fn ring(&self) -> bool {
        let sent = rustix::net::send(self.rings, &[1], SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        // A full socket is rung already.
        matches!(sent, Ok(_) | Err(rustix::io::Errno::AGAIN))
    }

    fn silence(&self) -> bool {
        let mut scratch = [0; 64];
        loop {
            match rustix::net::recv(self.hears, &mut scratch, RecvFlags::DONTWAIT) {
                Ok((0, _)) => return false,
                Ok((64, _)) => {}
                Ok(_) | Err(rustix::io::Errno::AGAIN) => return true,
                Err(_) => return false,
            }
        }
    }
}

impl SocketBell<'_> {
    fn wait(&self) {
        let limit = dotpipe_testkit::limit();
        let limit = Timespec {
            tv_sec: limit.as_secs() as i64,
            tv_nsec: 0,
        };
        let mut polled = [PollFd::new(self.hears, PollFlags::IN)];
        let ready = rustix::io::retry_on_intr(|| rustix::event::poll(&mut polled, Some(&limit))).unwrap();
        assert!(ready > 0, "no bell for {limit:?}: a wake-up was lost");
    }

    /// Whether the other process has gone, asked without waiting.
    fn has_gone(&self) -> bool {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut polled = [PollFd::new(self.hears, PollFlags::empty())];
        rustix::io::retry_on_intr(|| rustix::event::poll(&mut polled, Some(&now))).unwrap() > 0
    }
}

/// What two processes do with each other, told to the child as text.
#[derive(Clone, Copy, Debug)]
struct Plan {
    seed: u64,
    framing: Framing,
    capacity: u32,
    /// How many bytes go each way.
    total: u64,
    spin: bool,
}

impl Plan {
    fn of_seed(seed: u64, total: u64) -> Self {
        let mut numbers = Numbers(seed);
        let framing = if numbers.below(2) == 0 {
            Framing::Bytes
        } else {
            Framing::Messages
        };
        let capacity = 4096 << numbers.below(7);
        let spin = numbers.below(2) == 0;
        Self {
            seed,
            framing,
            capacity,
            total,
            spin,
        }
    }

    fn spinner(self) -> Spin {
        Spin::new(Duration::from_micros(if self.spin { 50 } else { 0 }))
    }
}

/// Both directions of one side at work.
struct Connection {
    data: OwnedFd,
    space: OwnedFd,
    closer: Closer,
    plan: Plan,
}

/// How a direction came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Complete,
    /// After this many bytes.
    PeerGone(u64),
}

impl Connection {
    /// Writes and reads all of the plan on two threads. `each` is told how many bytes have been read.
    fn run(&self, producer: Producer, consumer: Consumer, each: impl FnMut(u64)) -> (Outcome, Outcome) {
        thread::scope(|scope| {
            let writing = scope.spawn(|| self.write(producer));
            let read = self.read(consumer, each);
            (writing.join().unwrap(), read)
        })
    }

    fn write(&self, mut producer: Producer) -> Outcome {
        let bell = SocketBell {
            rings: &self.data,
            hears: &self.space,
        };
        let (mut numbers, mut spin) = (Numbers(self.plan.seed ^ 1), self.plan.spinner());
        let longest = 2 * self.plan.capacity as usize;
        let mut place = 0;
        while place < self.plan.total {
            pause(&mut numbers);
            let length = numbers.length(longest).min((self.plan.total - place) as usize);
            let bytes: Vec<u8> = (place..place + length as u64).map(byte_at).collect();
            let mut done = 0;
            // An empty message is a message too.
            while done < length || (length == 0 && self.plan.framing == Framing::Messages) {
                match producer.try_write(&bytes[done..], &bell) {
                    Ok(count) => done += count,
                    Err(Error::WouldBlock) if spin.until(Duration::MAX, || producer.is_ready().unwrap()) => {}
                    Err(Error::WouldBlock) => {
                        if producer.prepare_wait(&bell).unwrap() == Wait::MustWait {
                            bell.wait();
                        }
                    }
                    Err(Error::Broken) => return Outcome::PeerGone(place),
                    Err(error) => panic!("{error}"),
                }
                if producer.should_look_for_peer().unwrap() && bell.has_gone() {
                    producer.peer_has_gone();
                }
                if length == 0 {
                    break;
                }
            }
            place += length as u64;
        }
        self.closer.end_writing(&bell);
        Outcome::Complete
    }

    fn read(&self, mut consumer: Consumer, mut each: impl FnMut(u64)) -> Outcome {
        let bell = SocketBell {
            rings: &self.space,
            hears: &self.data,
        };
        let (mut numbers, mut spin) = (Numbers(self.plan.seed ^ 2), self.plan.spinner());
        let mut buffer = vec![0; 2 * self.plan.capacity as usize];
        let mut place = 0;
        loop {
            pause(&mut numbers);
            let length = numbers.length(buffer.len()).max(1);
            let count = if self.plan.framing == Framing::Messages && numbers.below(2) == 0 {
                let part = consumer.try_read_message(&mut buffer[..length], &bell);
                part.map(|part| part.map(|part| part.count))
            } else {
                let count = consumer.try_read(&mut buffer[..length], &bell);
                count.map(|count| Some(count).filter(|&count| count > 0))
            };
            match count {
                Ok(Some(count)) => {
                    for (at, &byte) in buffer[..count].iter().enumerate() {
                        assert_eq!(byte, byte_at(place + at as u64), "at {place} + {at} of {:?}", self.plan);
                    }
                    place += count as u64;
                    each(place);
                }
                Ok(None) => {
                    assert_eq!(place, self.plan.total, "{:?}", self.plan);
                    return Outcome::Complete;
                }
                Err(Error::WouldBlock) if spin.until(Duration::MAX, || consumer.is_ready().unwrap()) => {}
                Err(Error::WouldBlock) => match consumer.prepare_wait(&bell).unwrap() {
                    Wait::MustWait => bell.wait(),
                    Wait::Ready => {}
                    Wait::PeerGone => return Outcome::PeerGone(place),
                },
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// Mostly none; sometimes so long that the other side falls asleep.
fn pause(numbers: &mut Numbers) {
    match numbers.below(40) {
        0 => (0..numbers.below(20_000)).for_each(|_| std::hint::spin_loop()),
        1 => thread::yield_now(),
        _ => {}
    }
}

/// The other process, killed at the latest when this is dropped.
struct Peer(Child);

impl Peer {
    /// Starts this test's program once more, as the receiver of a ring, with a socket for its stdin.
    fn start(role: &str, plan: Plan) -> (Self, Connection, Producer, Consumer) {
        let (data, their_data) = socket_pair();
        let (space, their_space) = socket_pair();
        let geometry = Geometry::new(plan.capacity, plan.capacity).unwrap();
        let (memory, file) = Memory::create(geometry).unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["the_other_process", "--exact", "--nocapture"])
            .env(ROLE, format!("{role} {} {}", plan.seed, plan.total))
            .stdin(their_data)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        send_descriptors(&data, &[file, their_space]);
        let Ends {
            producer,
            consumer,
            closer,
        } = memory.into_ends(Side::Creator, plan.framing);
        let connection = Connection {
            data,
            space,
            closer,
            plan,
        };
        (Self(child), connection, producer, consumer)
    }

    /// As `kill -9`, and waits until it has gone.
    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn socket_pair() -> (OwnedFd, OwnedFd) {
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap()
}

fn send_descriptors(socket: &OwnedFd, descriptors: &[OwnedFd]) {
    let borrowed: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&borrowed)));
    rustix::net::sendmsg(socket, &[IoSlice::new(b"r")], &mut control, SendFlags::NOSIGNAL).unwrap();
}

fn receive_descriptors(socket: &OwnedFd) -> Vec<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    rustix::net::recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut byte)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )
    .unwrap();
    let messages = control.drain();
    messages
        .flat_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => descriptors.collect(),
            _ => Vec::new(),
        })
        .collect()
}

const ROLE: &str = "DOTPIPE_RING_ROLE";

/// Not a test of its own: what the other process of the tests below does.
#[test]
fn the_other_process() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let words: Vec<&str> = role.split(' ').collect();
    let plan = Plan::of_seed(words[1].parse().unwrap(), words[2].parse().unwrap());
    let data = std::io::stdin().as_fd().try_clone_to_owned().unwrap();
    let [file, space] = receive_descriptors(&data).try_into().unwrap();
    let memory = Memory::receive(file.as_fd()).unwrap();
    drop(file);
    let Ends {
        producer,
        consumer,
        closer,
    } = memory.into_ends(Side::Receiver, plan.framing);
    let connection = Connection {
        data,
        space,
        closer,
        plan,
    };
    match words[0] {
        "work" => assert_eq!(
            connection.run(producer, consumer, |_| {}),
            (Outcome::Complete, Outcome::Complete)
        ),
        // Says that it is here, and then neither reads nor writes.
        "mute" => {
            let bell = SocketBell {
                rings: &connection.data,
                hears: &connection.space,
            };
            let mut producer = producer;
            producer.try_write(b"!", &bell).unwrap();
            loop {
                thread::park();
            }
        }
        role => panic!("{role}"),
    }
}

#[test]
fn nothing_is_lost_or_doubled_and_everybody_wakes() {
    for seed in 0..24 {
        let plan = Plan::of_seed(seed, 3 << 20);
        let (mut peer, connection, producer, consumer) = Peer::start("work", plan);
        let outcome = connection.run(producer, consumer, |_| {});
        assert_eq!(outcome, (Outcome::Complete, Outcome::Complete), "{plan:?}");
        assert!(peer.0.wait().unwrap().success(), "{plan:?}");
    }
}

#[test]
fn a_kill_at_any_point_is_noticed_on_both_sides() {
    let mut numbers = Numbers(99);
    for seed in 100..140 {
        let plan = Plan::of_seed(seed, 100 << 20);
        let (mut peer, connection, producer, consumer) = Peer::start("work", plan);
        let mut at = Some(numbers.length(1 << 20) as u64);
        let (written, read) = connection.run(producer, consumer, |place| {
            if at.take_if(|at| place >= *at).is_some() {
                peer.kill();
            }
        });
        assert!(matches!(written, Outcome::PeerGone(_)), "{plan:?}");
        assert!(
            matches!(read, Outcome::PeerGone(place) if place < plan.total),
            "{plan:?}"
        );
    }
}

/// A writer that has room has no reason to wait, and must look for its reader by itself.
#[test]
fn a_writer_with_room_notices_that_its_reader_was_killed() {
    let plan = Plan::of_seed(1, 0);
    let (mut peer, connection, mut producer, mut consumer) = Peer::start("mute", plan);
    let reads = SocketBell {
        rings: &connection.space,
        hears: &connection.data,
    };
    while consumer.try_read(&mut [0], &reads) == Err(Error::WouldBlock) {
        if consumer.prepare_wait(&reads).unwrap() == Wait::MustWait {
            reads.wait();
        }
    }
    let writes = SocketBell {
        rings: &connection.data,
        hears: &connection.space,
    };
    for _ in 0..100 {
        producer.try_write(b"x", &writes).unwrap();
        assert!(!(producer.should_look_for_peer().unwrap() && writes.has_gone()));
    }
    peer.kill();
    let noticed = (0..33).any(|_| {
        producer.try_write(b"x", &writes).unwrap();
        producer.should_look_for_peer().unwrap() && writes.has_gone()
    });
    assert!(noticed);
}
