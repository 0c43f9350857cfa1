//! Where the two sides run, and how near to each other that really is.

use std::fmt;
use std::hint;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::stats;

/// How the two processes are bound to CPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Pinning {
    /// Each process has a CPU of its own: the first two that this process may use.
    #[default]
    TwoCpus,
    /// Both processes share one CPU. Wake-ups are cheap and alike there, so differences of a few hundred nanoseconds
    /// show that drown in the noise of two CPUs.
    OneCpu,
    /// The scheduler decides.
    Free,
}

impl Pinning {
    /// The CPUs of the two sides. Falls back to fewer promises where the machine allows no better: one CPU if there is
    /// only one, none where pinning does not work at all.
    pub fn cpus(self) -> Cpus {
        let allowed = affinity::allowed();
        let (near, far) = match (self, allowed.as_slice()) {
            (Self::Free, _) | (_, []) => (None, None),
            (Self::TwoCpus, &[near, far, ..]) => (Some(near), Some(far)),
            (Self::TwoCpus, &[only]) | (Self::OneCpu, &[only, ..]) => (Some(only), Some(only)),
        };
        Cpus { near, far }
    }
}

/// The CPUs that the two sides are bound to; None for a side that may run anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cpus {
    /// The CPU of the side that measures.
    pub near: Option<usize>,
    /// The CPU of the other side.
    pub far: Option<usize>,
}

impl fmt::Display for Cpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.near, self.far) {
            (Some(near), Some(far)) if near == far => write!(f, "both sides on CPU {near}"),
            (Some(near), Some(far)) => write!(f, "one side on CPU {near}, the other on CPU {far}"),
            _ => f.write_str("not bound to CPUs"),
        }
    }
}

/// How near two CPUs are to each other, judged by the time a cache line takes to travel there and back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Placement {
    /// Two threads of one core.
    SameCore,
    /// Two cores that share a cache.
    SameCache,
    /// Two cores that share none.
    Apart,
    /// There was no measurement, or nothing to tell apart.
    Unknown,
}

impl Placement {
    /// Judges a round trip of a cache line. The limits lie in the wide gaps between what the three kinds give on the
    /// machines that were looked at: about 35, 110 and 460 ns.
    pub fn of(line_ns: Option<f64>) -> Self {
        match line_ns {
            None => Self::Unknown,
            Some(ns) if ns < 60.0 => Self::SameCore,
            Some(ns) if ns < 250.0 => Self::SameCache,
            Some(_) => Self::Apart,
        }
    }
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SameCore => "same core",
            Self::SameCache => "same cache",
            Self::Apart => "apart",
            Self::Unknown => "unknown",
        })
    }
}

/// Binds the calling thread, and the processes it starts, to `cpu`. Does nothing for None.
pub(crate) fn pin(cpu: Option<usize>) -> io::Result<()> {
    cpu.map_or(Ok(()), affinity::pin)
}

/// Gives the calling thread back the CPUs it had when this was made.
#[derive(Debug)]
pub(crate) struct RestoreOnDrop(Vec<usize>);

impl RestoreOnDrop {
    pub(crate) fn new() -> Self {
        Self(affinity::allowed())
    }
}

impl Drop for RestoreOnDrop {
    fn drop(&mut self) {
        if !self.0.is_empty() {
            // Nothing depends on it: the measurements are over.
            let _ = affinity::allow(&self.0);
        }
    }
}

/// A word with cache lines of its own: two, because CPUs fetch lines in pairs.
#[repr(align(128))]
#[derive(Debug)]
struct Line(AtomicU64);

/// The time in ns that a cache line takes from one CPU to the other and back. None unless the two sides are bound to
/// two different CPUs.
pub(crate) fn line_ping_pong(cpus: Cpus) -> Option<f64> {
    const TURNS: u64 = 1_000;
    const BATCHES: u64 = 8;
    /// A busy machine takes the CPU away in slices of milliseconds; few batches are then enough.
    const LIMIT: Duration = Duration::from_millis(20);
    const STOP: u64 = u64::MAX;

    let (Some(near), Some(far)) = (cpus.near, cpus.far) else {
        return None;
    };
    if near == far {
        return None;
    }
    let (there, back) = (Line(AtomicU64::new(0)), Line(AtomicU64::new(0)));
    let await_value = |line: &Line, value: u64| loop {
        let seen = line.0.load(Ordering::Acquire);
        if seen == value || seen == STOP {
            return seen;
        }
        hint::spin_loop();
    };
    let batches = thread::scope(|scope| {
        scope.spawn(|| {
            let pinned = affinity::pin(far).is_ok();
            let mut turn = 1;
            while await_value(&there, turn) != STOP {
                back.0.store(if pinned { turn } else { STOP }, Ordering::Release);
                turn += 1;
            }
        });
        let near_side = scope.spawn(|| {
            let pinned = affinity::pin(near).is_ok();
            let start = Instant::now();
            let mut batches = Vec::new();
            let mut turn = 0;
            'all: for batch in 0..=BATCHES {
                let batch_start = Instant::now();
                for _ in 0..TURNS {
                    turn += 1;
                    there.0.store(turn, Ordering::Release);
                    if !pinned || await_value(&back, turn) == STOP {
                        break 'all;
                    }
                }
                // The first one warms up.
                if batch > 0 {
                    batches.push(batch_start.elapsed().as_nanos() as f64 / TURNS as f64);
                    if start.elapsed() > LIMIT {
                        break;
                    }
                }
            }
            there.0.store(STOP, Ordering::Release);
            batches
        });
        near_side.join().unwrap_or_default()
    });
    stats::median(&batches)
}

#[cfg(target_os = "linux")]
mod affinity {
    //! The CPUs of the calling thread.

    use std::io;

    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    pub(super) fn allowed() -> Vec<usize> {
        let set = sched_getaffinity(None).unwrap_or_else(|_| CpuSet::new());
        (0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect()
    }

    pub(super) fn allow(cpus: &[usize]) -> io::Result<()> {
        let mut set = CpuSet::new();
        for &cpu in cpus {
            set.set(cpu);
        }
        Ok(sched_setaffinity(None, &set)?)
    }

    pub(super) fn pin(cpu: usize) -> io::Result<()> {
        allow(&[cpu])
    }
}

#[cfg(not(target_os = "linux"))]
mod affinity {
    //! Binding to CPUs is left to the scheduler here: no CPU is ever named.

    use std::io;

    pub(super) fn allowed() -> Vec<usize> {
        Vec::new()
    }

    pub(super) fn allow(_cpus: &[usize]) -> io::Result<()> {
        Ok(())
    }

    pub(super) fn pin(_cpu: usize) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_cpu_means_the_same_one() {
        let cpus = Pinning::OneCpu.cpus();
        assert_eq!(cpus.near, cpus.far);
        assert_eq!(Pinning::Free.cpus(), Cpus { near: None, far: None });
    }

    #[test]
    fn placements_are_told_by_the_line() {
        let placements = [None, Some(33.0), Some(107.0), Some(455.0)].map(Placement::of);
        assert_eq!(
            placements,
            [
                Placement::Unknown,
                Placement::SameCore,
                Placement::SameCache,
                Placement::Apart
            ]
        );
    }

    #[test]
    fn a_line_travels_between_two_cpus_and_only_then() {
        let two = Pinning::TwoCpus.cpus();
        let expected = two.near.is_some() && two.near != two.far;
        assert_eq!(line_ping_pong(two).is_some_and(|ns| ns > 1.0), expected);
        assert_eq!(line_ping_pong(Pinning::OneCpu.cpus()), None);
        assert_eq!(line_ping_pong(Pinning::Free.cpus()), None);
    }

    #[test]
    fn the_cpus_come_back() {
        thread::scope(|scope| {
            scope.spawn(|| {
                let before = affinity::allowed();
                let restore = RestoreOnDrop::new();
                pin(Pinning::TwoCpus.cpus().near).unwrap();
                drop(restore);
                assert_eq!(affinity::allowed(), before);
            });
        });
    }
}
