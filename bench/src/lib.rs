//! Benchmarks of dotpipe against its peers: the harness behind `cargo bench -p dotpipe-bench`, as a library so that a
//! command-line tool can run the same measurements on its user's machine.
//!
//! * A [`Peer`] is one way to move bytes between two processes; each has a file of its own in [`peers`] that implements
//!   one small trait: [`NamedPeer`] (reached by a path), [`AnonymousPeer`] (inherited by a child), or [`Peer`] itself for
//!   what is neither.
//! * A [`Test`] is one kind of work at one size: [`Kind::RoundTrip`], [`Kind::OneWay`] or [`Kind::Connect`].
//! * [`run`] takes the samples, and [`Report`] is what they say: medians with their spread, and the cost of each peer
//!   against its baseline.
//!
//! Every sample is taken between two real processes: the program that calls [`run`] starts itself again as the far side.
//! It must therefore call [`run_far_side_if_asked`] first thing in its `main`.
//!
//! # What keeps the figures honest
//!
//! * **Interleaving.** For each test all peers are measured one after the other, again and again, in an order that
//!   rotates: whatever the machine does to one it soon does to all. The cost against a baseline is the median of ratios
//!   of samples taken next to each other, so slow drift cancels out.
//! * **Placement.** Hosts of virtual machines move the virtual CPUs about, and two CPUs that share a core talk ten times
//!   faster than two that share no cache. A cache-line ping-pong next to every sample tells which it was; only samples of
//!   one placement are compared.
//! * **The same work.** All peers run the same loops with the same buffers, through `Read` and `Write` as a user would.

#![forbid(unsafe_code)]

mod command;
mod far;
mod machine;
mod peer;
pub mod peers;
mod placement;
mod report;
mod run;
mod stats;
mod table;
mod test;
mod workload;

pub use command::main;
pub use far::{Launcher, run_far_side_if_asked};
pub use machine::Machine;
pub use peer::{Anonymous, AnonymousPeer, Baseline, Named, NamedPeer, Pair, Peer};
pub use placement::{Cpus, Pinning, Placement};
pub use report::{Failure, PerPlacement, Ratio, Report, Sample, TestResult, Verdict};
pub use run::{Progress, Quiet, Settings, run};
pub use stats::{Interval, Summary, confidence_of_median, median};
pub use table::write_table;
pub use test::{Kind, Test, Unit};
