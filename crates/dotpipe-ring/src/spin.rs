//! Looking again for a while before sleeping.
//!
//! A wake-up across processors costs tens of microseconds where they are virtual, and two sleepers that answer each other pay it
//! at every message. Who instead looks again and again sees an answer within a fraction of a microsecond. The budget must exceed
//! one wake-up, or the two never fall into step; where spinning does not pay it must stop, as it takes the processor from
//! others. `sched_yield` is never called: with busy neighbours one call gives away milliseconds.

use std::hint;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

/// How long one direction of a stream looks again before it sleeps, learnt from how its last waits went. For callers that block; a
/// task that awaits must not spin.
///
/// The budget is the full one after a hit, half of it after each miss. When it has become too short to be of use there is no
/// spinning but for a probe, at every 16th wait at first and ever more seldom, down to every 256th.
#[derive(Clone, Debug)]
pub struct Spin {
    full: Duration,
    budget: Duration,
    /// Waits until the next probe.
    until_probe: u32,
    /// Waits between probes.
    interval: u32,
}

impl Spin {
    /// The full budget that was best on the machines measured: about two wake-ups.
    pub const DEFAULT: Duration = Duration::from_micros(50);

    /// Halves below this part of the full budget count as nothing.
    const LEAST: u32 = 8;
    const INTERVALS: (u32, u32) = (16, 256);
    /// Looks between two looks at the clock.
    const LOOKS: u32 = 32;

    /// Spins for at most `budget` at a wait. Zero is never.
    #[must_use]
    pub fn new(budget: Duration) -> Self {
        Self {
            full: budget,
            budget,
            until_probe: 0,
            interval: Self::INTERVALS.0,
        }
    }

    /// Spins for [`DEFAULT`](Self::DEFAULT), or never where this process may use one processor only: there the other side cannot
    /// run while this one looks.
    #[must_use]
    pub fn of_this_machine() -> Self {
        static ONE_PROCESSOR: OnceLock<bool> = OnceLock::new();
        let one = *ONE_PROCESSOR.get_or_init(|| thread::available_parallelism().is_ok_and(|count| count.get() == 1));
        Self::new(if one { Duration::ZERO } else { Self::DEFAULT })
    }

    /// Looks again until `look` says that there is no more reason to wait, or the budget is used up, or `longest` has passed.
    /// Whether `look` did.
    #[inline]
    pub fn until(&mut self, longest: Duration, mut look: impl FnMut() -> bool) -> bool {
        let budget = self.budget().min(longest);
        if budget.is_zero() {
            return false;
        }
        let start = Instant::now();
        loop {
            for _ in 0..Self::LOOKS {
                if look() {
                    self.hit();
                    return true;
                }
                hint::spin_loop();
            }
            if start.elapsed() >= budget {
                self.miss();
                return false;
            }
        }
    }

    /// What this wait may use.
    fn budget(&mut self) -> Duration {
        if !self.budget.is_zero() || self.full.is_zero() {
            return self.budget;
        }
        self.until_probe = self.until_probe.saturating_sub(1);
        if self.until_probe > 0 {
            return Duration::ZERO;
        }
        self.full
    }

    fn hit(&mut self) {
        self.budget = self.full;
        self.interval = Self::INTERVALS.0;
    }

    fn miss(&mut self) {
        if self.budget.is_zero() {
            self.interval = (self.interval * 2).min(Self::INTERVALS.1);
        } else {
            self.budget /= 2;
            if self.budget > self.full / Self::LEAST {
                return;
            }
            self.budget = Duration::ZERO;
        }
        self.until_probe = self.interval;
    }
}

impl Default for Spin {
    fn default() -> Self {
        Self::of_this_machine()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    /// Whether the next wait spins at all.
    fn spins(spin: &mut Spin, hit: bool) -> bool {
        let mut looks = 0;
        spin.until(LONG, || {
            looks += 1;
            hit
        });
        looks > 0
    }

    fn short() -> Spin {
        Spin::new(Duration::from_nanos(64))
    }

    #[test]
    fn a_hit_ends_the_spin_at_once() {
        let mut looks = 0;
        let mut spin = Spin::new(LONG);
        assert!(spin.until(LONG, || {
            looks += 1;
            looks == 1000
        }));
        assert_eq!(looks, 1000);
    }

    #[test]
    fn no_budget_is_no_look() {
        assert!(!spins(&mut Spin::new(Duration::ZERO), true));
        assert!(!Spin::new(LONG).until(Duration::ZERO, || unreachable!()));
    }

    #[test]
    fn misses_end_the_spinning_and_probes_become_rare() {
        let mut spin = short();
        let before = (0..).take_while(|_| spins(&mut spin, false)).count();
        assert_eq!(before, 3);
        // The wait that ended the loop was the first without a spin.
        let mut gaps = Vec::new();
        let mut gap = 1;
        while gaps.len() < 7 {
            gap += 1;
            if spins(&mut spin, false) {
                gaps.push(gap);
                gap = 0;
            }
        }
        assert_eq!(gaps, [16, 32, 64, 128, 256, 256, 256]);
    }

    #[test]
    fn a_hit_at_a_probe_restores_everything() {
        let mut spin = short();
        while spins(&mut spin, false) {}
        while !spins(&mut spin, true) {}
        assert_eq!(spin.budget, spin.full);
        assert_eq!(spin.interval, 16);
        assert!(spins(&mut spin, true));
    }
}
