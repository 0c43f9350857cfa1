//! Waiting: until when, on what, and how another thread ends it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::sys::{self, Alarm, Interest};

/// The moment at which a waiting call gives up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    pub(crate) const NEVER: Self = Self(None);

    /// A moment so far away that the clock cannot hold it is never.
    pub(crate) fn after(limit: Duration) -> Self {
        Self(Instant::now().checked_add(limit))
    }

    pub(crate) fn of_limit(limit: Option<Duration>) -> Self {
        limit.map_or(Self::NEVER, Self::after)
    }

    /// What is left; `None` is for ever.
    pub(crate) fn remaining(self) -> Option<Duration> {
        self.0.map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// What is left, but no more than `most`.
    pub(crate) fn remaining_within(self, most: Duration) -> Duration {
        self.remaining().map_or(most, |left| left.min(most))
    }

    pub(crate) fn has_passed(self) -> bool {
        self.remaining() == Some(Duration::ZERO)
    }
}

/// What a wait ended with; the caller looks at the pipe's state again in every case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    /// A descriptor is ready, or another thread has rung.
    Look,
    /// The time is over.
    TimedOut,
}

/// Whose turn a direction's calls are, and how long they may take.
#[derive(Debug, Default)]
pub(crate) struct Side {
    pub(crate) turn: FairLock,
    /// Nanoseconds plus one; zero stands for no limit, so that a limit of zero can be told from none.
    limit: AtomicU64,
}

impl Side {
    pub(crate) fn limit(&self) -> Option<Duration> {
        self.limit
            .load(Ordering::Relaxed)
            .checked_sub(1)
            .map(Duration::from_nanos)
    }

    pub(crate) fn set_limit(&self, limit: Option<Duration>) {
        let nanos = limit.map_or(0, |limit| {
            u64::try_from(limit.as_nanos())
                .unwrap_or(u64::MAX - 1)
                .saturating_add(1)
        });
        self.limit.store(nanos, Ordering::Relaxed);
    }
}

/// What one stream's calls share, whichever connection they work on: their turns, their limits, and the threads that wait.
#[derive(Debug, Default)]
pub(crate) struct Control {
    pub(crate) reading: Side,
    pub(crate) writing: Side,
    /// One thread at a time waits for a connection, so that none is made that nobody will use.
    pub(crate) connecting: FairLock,
    canceled: AtomicBool,
    sleepers: Mutex<Vec<Sleeper>>,
}

/// A call that waits, as other threads see it.
#[derive(Debug)]
struct Sleeper {
    alarm: Arc<Alarm>,
    /// A [`Canceller`] has ended this wait, whether or not the stream may be used again since.
    canceled: bool,
}

impl Control {
    /// Fails if a [`Canceller`] has been used.
    #[inline]
    pub(crate) fn check(&self) -> Result<()> {
        if self.canceled.load(Ordering::Acquire) {
            Err(Error::canceled())
        } else {
            Ok(())
        }
    }

    /// Wakes all calls that wait, so that they look at the state again.
    pub(crate) fn wake(&self) {
        for sleeper in lock(&self.sleepers).iter() {
            sleeper.alarm.ring();
        }
    }

    /// Waits until one of `interests` is ready, the deadline has passed, or another thread wakes this stream's calls.
    ///
    /// `still` says whether there is yet a reason to wait. It is asked after this thread can be woken, so that a change
    /// made before the call is not missed.
    ///
    /// # Errors
    ///
    /// Canceled, or the system's failure to make or wait on a descriptor.
    pub(crate) fn wait(
        &self,
        interests: &[Interest<'_>],
        deadline: Deadline,
        still: impl FnOnce() -> bool,
    ) -> Result<Woken> {
        let alarm = match Alarm::of_this_thread() {
            Ok(alarm) => alarm,
            Err(error) if sys::is_shortage(&error) => return self.wait_without_alarm(interests, deadline, still),
            Err(error) => return Err(wait_failed(&error)),
        };
        let sleeping = Sleeping::new(self, alarm);
        self.check()?;
        if !still() {
            return Ok(Woken::Look);
        }
        let ready = sys::poll(interests, Some(&sleeping.alarm), deadline.remaining()).map_err(|e| wait_failed(&e))?;
        if sleeping.leave() {
            return Err(Error::canceled());
        }
        self.check()?;
        Ok(if ready { Woken::Look } else { Woken::TimedOut })
    }

    /// As [`wait`](Self::wait) for a thread that has no descriptor left to be woken by: it looks again every now and then.
    fn wait_without_alarm(
        &self,
        interests: &[Interest<'_>],
        deadline: Deadline,
        still: impl FnOnce() -> bool,
    ) -> Result<Woken> {
        self.check()?;
        if !still() {
            return Ok(Woken::Look);
        }
        let pause = deadline.remaining_within(Duration::from_millis(50));
        let ready = sys::poll(interests, None, Some(pause)).map_err(|e| wait_failed(&e))?;
        self.check()?;
        let over = !ready && deadline.has_passed();
        Ok(if over { Woken::TimedOut } else { Woken::Look })
    }
}

fn wait_failed(error: &std::io::Error) -> Error {
    let text = format!("Waiting failed: {error}.");
    Error::new(crate::ErrorKind::Io, text)
        .advice("Close descriptors that are not needed, or raise the limit (ulimit -n).")
        .with_source(std::io::Error::from(error.kind()))
}

/// This thread's entry among the sleepers; leaving removes it and stops a late ring from reaching the thread's next wait.
struct Sleeping<'a> {
    control: &'a Control,
    alarm: Arc<Alarm>,
}

impl<'a> Sleeping<'a> {
    fn new(control: &'a Control, alarm: Arc<Alarm>) -> Self {
        lock(&control.sleepers).push(Sleeper {
            alarm: Arc::clone(&alarm),
            canceled: false,
        });
        Self { control, alarm }
    }

    /// Ends the entry, and tells whether the wait was cancelled.
    fn leave(self) -> bool {
        self.remove()
    }

    /// A thread waits for one thing at a time, so that its alarm is in the list once at most.
    fn remove(&self) -> bool {
        let mut sleepers = lock(&self.control.sleepers);
        let position = sleepers
            .iter()
            .position(|sleeper| Arc::ptr_eq(&sleeper.alarm, &self.alarm));
        position.is_some_and(|position| sleepers.swap_remove(position).canceled)
    }
}

impl Drop for Sleeping<'_> {
    fn drop(&mut self) {
        self.remove();
        self.alarm.silence();
    }
}

/// Ends a stream's waiting calls from another thread, without ending the connection.
///
/// Comes from a stream's [`canceller`](crate::PipeStream::canceller); clones act on the same stream, also after it was dropped.
#[derive(Clone, Debug)]
pub struct Canceller(pub(crate) Arc<Control>);

impl Canceller {
    /// Ends the stream's calls that wait now, and those that start from now on, with [`ErrorKind::Canceled`](crate::ErrorKind::Canceled).
    ///
    /// Does not block. What a call had transferred by then is not lost: a write that sent a part reports that part.
    pub fn cancel(&self) {
        self.0.canceled.store(true, Ordering::Release);
        for sleeper in lock(&self.0.sleepers).iter_mut() {
            sleeper.canceled = true;
            sleeper.alarm.ring();
        }
    }

    /// Lets the stream be used again. Calls that were waiting at the time of [`cancel`](Self::cancel) end all the same.
    pub fn reset(&self) {
        self.0.canceled.store(false, Ordering::Release);
    }

    /// Whether [`cancel`](Self::cancel) was called since the stream was made or reset.
    #[must_use]
    pub fn is_canceled(&self) -> bool {
        self.0.canceled.load(Ordering::Acquire)
    }
}

/// A lock that is given in the order in which it was asked for, and that a caller can stop waiting for.
#[derive(Debug, Default)]
pub(crate) struct FairLock {
    queue: Mutex<Queue>,
    turn: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    next_ticket: u64,
    serving: u64,
    /// Tickets whose holders gave up before their turn.
    abandoned: Vec<u64>,
}

/// Holds a [`FairLock`] until it is dropped.
#[derive(Debug)]
#[must_use]
pub(crate) struct Turn<'a>(&'a FairLock);

impl FairLock {
    /// Waits for the turn; `None` when the deadline came first.
    pub(crate) fn take(&self, deadline: Deadline) -> Option<Turn<'_>> {
        let mut queue = lock(&self.queue);
        let ticket = queue.next_ticket;
        queue.next_ticket += 1;
        while queue.serving != ticket {
            queue = match deadline.remaining() {
                None => self.turn.wait(queue).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => {
                    queue.abandoned.push(ticket);
                    return None;
                }
                Some(left) => {
                    self.turn
                        .wait_timeout(queue, left)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
        }
        Some(Turn(self))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut queue = lock(&self.0.queue);
        queue.serving += 1;
        while let Some(position) = queue.abandoned.iter().position(|&ticket| ticket == queue.serving) {
            queue.abandoned.swap_remove(position);
            queue.serving += 1;
        }
        if queue.serving != queue.next_ticket {
            self.0.turn.notify_all();
        }
    }
}

/// Locks a mutex whose data stays right even if a thread panicked while it held it.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sleeps between looks at something that gives no sign when it changes, for ever longer times up to `longest`.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
    longest: Duration,
}

impl Backoff {
    pub(crate) const fn new(first: Duration, longest: Duration) -> Self {
        Self { next: first, longest }
    }

    /// Waits once, no longer than to the deadline.
    pub(crate) fn wait(&mut self, control: &Control, deadline: Deadline, still: impl FnOnce() -> bool) -> Result<()> {
        let pause = deadline.remaining_within(self.next);
        self.next = (self.next * 2).min(self.longest);
        control.wait(&[], Deadline::after(pause), still).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::thread;

    #[test]
    fn turns_come_in_the_order_of_asking() {
        let lock = Arc::new(FairLock::default());
        let first = lock.take(Deadline::NEVER).unwrap();
        let (order, served) = mpsc::channel();
        let threads: Vec<_> = (0..8)
            .map(|number| {
                let (lock_there, order) = (Arc::clone(&lock), order.clone());
                let asked = super::lock(&lock.queue).next_ticket;
                let thread = thread::spawn(move || {
                    let _turn = lock_there.take(Deadline::NEVER).unwrap();
                    order.send(number).unwrap();
                });
                while super::lock(&lock.queue).next_ticket == asked {
                    thread::yield_now();
                }
                thread
            })
            .collect();
        drop(first);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(served.try_iter().collect::<Vec<_>>(), (0..8).collect::<Vec<_>>());
    }

    #[test]
    fn a_turn_given_up_is_passed_on() {
        let lock = FairLock::default();
        let first = lock.take(Deadline::NEVER).unwrap();
        assert!(lock.take(Deadline::after(Duration::from_millis(1))).is_none());
        assert!(lock.take(Deadline::after(Duration::ZERO)).is_none());
        drop(first);
        assert!(lock.take(Deadline::after(Duration::ZERO)).is_some());
    }

    #[test]
    fn cancelling_ends_a_wait_and_resetting_allows_the_next() {
        let control = Arc::new(Control::default());
        let canceller = Canceller(Arc::clone(&control));
        let waiter = thread::spawn({
            let control = Arc::clone(&control);
            move || control.wait(&[], Deadline::NEVER, || true)
        });
        while lock(&control.sleepers).is_empty() {
            thread::yield_now();
        }
        canceller.cancel();
        assert_eq!(waiter.join().unwrap().unwrap_err().kind(), crate::ErrorKind::Canceled);
        assert!(control.wait(&[], Deadline::NEVER, || true).is_err());
        canceller.reset();
        assert_eq!(
            control.wait(&[], Deadline::after(Duration::ZERO), || true).unwrap(),
            Woken::TimedOut
        );
    }

    #[test]
    fn a_wait_that_was_cancelled_ends_though_the_stream_may_be_used_again() {
        let control = Arc::new(Control::default());
        let canceller = Canceller(Arc::clone(&control));
        let waiter = thread::spawn({
            let control = Arc::clone(&control);
            move || control.wait(&[], Deadline::NEVER, || true)
        });
        while lock(&control.sleepers).is_empty() {
            thread::yield_now();
        }
        canceller.cancel();
        canceller.reset();
        assert_eq!(waiter.join().unwrap().unwrap_err().kind(), crate::ErrorKind::Canceled);
    }

    #[test]
    fn limits_keep_zero_and_none_apart() {
        let side = Side::default();
        for limit in [None, Some(Duration::ZERO), Some(Duration::from_millis(7))] {
            side.set_limit(limit);
            assert_eq!(side.limit(), limit);
        }
        side.set_limit(Some(Duration::MAX));
        assert!(side.limit() > Some(Duration::from_secs(1 << 32)));
    }
}
