//! What is measured: kinds of work and their sizes.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Kind {
    /// One side writes a block and reads it back; the other reads it and writes it back. Time for one turn.
    RoundTrip,
    /// One side writes blocks, the other reads them. From the first write until the reader has everything.
    OneWay,
    /// One side connects, sends a byte, receives a byte and closes; the other serves such clients one after the other.
    Connect,
}

impl Kind {
    /// The word for it on the command line and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::RoundTrip => "round_trip",
            Self::OneWay => "one_way",
            Self::Connect => "connect",
        }
    }

    /// The unit its figures have.
    pub fn unit(self) -> Unit {
        match self {
            Self::RoundTrip => Unit::Nanoseconds,
            Self::OneWay => Unit::MegabytesPerSecond,
            Self::Connect => Unit::PerSecond,
        }
    }
}

/// The unit of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Unit {
    /// Nanoseconds an operation: less is better.
    #[serde(rename = "ns")]
    Nanoseconds,
    /// Millions of bytes a second: more is better.
    #[serde(rename = "MB/s")]
    MegabytesPerSecond,
    /// Operations a second: more is better.
    #[serde(rename = "per second")]
    PerSecond,
}

impl Unit {
    /// How much more `value` costs than `baseline`: 1.03 means three percent more time for the same work, whether the
    /// unit counts time or speed.
    pub fn cost(self, value: f64, baseline: f64) -> f64 {
        match self {
            Self::Nanoseconds => value / baseline,
            Self::MegabytesPerSecond | Self::PerSecond => baseline / value,
        }
    }
}

/// One kind of work at one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Test {
    /// The kind of work.
    pub kind: Kind,
    /// The size of one block. For [`Kind::Connect`], of the block that goes there and back on each connection.
    pub bytes: usize,
}

impl Test {
    /// A round trip of blocks of this size.
    pub const fn round_trip(bytes: usize) -> Self {
        Self {
            kind: Kind::RoundTrip,
            bytes,
        }
    }

    /// A stream of blocks of this size.
    pub const fn one_way(bytes: usize) -> Self {
        Self {
            kind: Kind::OneWay,
            bytes,
        }
    }

    /// Connections, one after the other.
    pub const fn connect() -> Self {
        Self {
            kind: Kind::Connect,
            bytes: 1,
        }
    }

    /// All tests, in the order in which tables show them.
    pub fn all() -> Vec<Self> {
        vec![
            Self::round_trip(64),
            Self::round_trip(4 << 10),
            Self::round_trip(64 << 10),
            Self::one_way(64),
            Self::one_way(4 << 10),
            Self::one_way(64 << 10),
            Self::one_way(1 << 20),
            Self::connect(),
        ]
    }

    /// The figure for `operations` that took `time`, in the unit of this kind.
    pub fn figure(self, operations: u64, time: Duration) -> f64 {
        let operations = operations as f64;
        match self.kind {
            Kind::RoundTrip => time.as_nanos() as f64 / operations,
            Kind::OneWay => operations * self.bytes as f64 / 1e6 / time.as_secs_f64(),
            Kind::Connect => operations / time.as_secs_f64(),
        }
    }

    /// `round_trip/64`: what filters match.
    pub fn label(self) -> String {
        format!("{}/{}", self.kind.name(), self.bytes)
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind, self.bytes) {
            (Kind::Connect, _) => f.write_str("connect"),
            (kind, bytes) if bytes >= 1 << 20 && bytes % (1 << 20) == 0 => {
                write!(f, "{} {} MiB", kind.name(), bytes >> 20)
            }
            (kind, bytes) if bytes >= 1 << 10 && bytes % (1 << 10) == 0 => {
                write!(f, "{} {} KiB", kind.name(), bytes >> 10)
            }
            (kind, bytes) => write!(f, "{} {bytes} B", kind.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_the_unit_of_their_kind() {
        let second = Duration::from_secs(1);
        assert_eq!(Test::round_trip(64).figure(1_000, second), 1e6);
        assert_eq!(Test::one_way(1_000_000).figure(5, second), 5.0);
        assert_eq!(Test::connect().figure(7, second), 7.0);
    }

    #[test]
    fn cost_is_above_one_for_the_slower_side_in_every_unit() {
        assert_eq!(Unit::Nanoseconds.cost(110.0, 100.0), 1.1);
        assert_eq!(Unit::MegabytesPerSecond.cost(100.0, 110.0), 1.1);
        assert_eq!(Unit::PerSecond.cost(100.0, 110.0), 1.1);
    }

    #[test]
    fn sizes_read_well() {
        let text: Vec<String> = [64, 4096, 65536, 1 << 20, 1500]
            .map(|bytes| Test::one_way(bytes).to_string())
            .into();
        assert_eq!(
            text,
            [
                "one_way 64 B",
                "one_way 4 KiB",
                "one_way 64 KiB",
                "one_way 1 MiB",
                "one_way 1500 B"
            ]
        );
        assert_eq!(Test::connect().to_string(), "connect");
        assert_eq!(Test::round_trip(64).label(), "round_trip/64");
    }
}
