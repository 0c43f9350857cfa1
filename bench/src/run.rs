//! Taking the samples.

use std::env;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::far::Launcher;
use crate::machine::Machine;
use crate::peer::Peer;
use crate::peers;
use crate::placement::{Pinning, RestoreOnDrop, line_ping_pong, pin};
use crate::report::{Failure, Ratio, Report, Sample, TestResult};
use crate::test::Test;

/// What to run, and how thoroughly.
pub struct Settings {
    /// The peers, each baseline before what is compared with it.
    pub peers: Vec<&'static dyn Peer>,
    /// The tests.
    pub tests: Vec<Test>,
    /// How often everything is repeated.
    pub repeats: usize,
    /// The time for one sample, warm-up not included.
    pub sample_time: Duration,
    /// How the two processes are bound to CPUs.
    pub pinning: Pinning,
    /// The time after which a sample counts as failed.
    pub limit: Duration,
    /// The program that is started as the far side; it calls
    /// [`run_far_side_if_asked`](crate::run_far_side_if_asked).
    pub program: PathBuf,
}

impl Settings {
    /// Everything, thoroughly: a few minutes. Many short samples: what disturbs a machine comes and goes within seconds,
    /// and the ratios of neighbours in time are the surer the nearer they are. Fails if this program does not know its own path.
    pub fn full() -> io::Result<Self> {
        Ok(Self {
            peers: peers::all().to_vec(),
            tests: Test::all(),
            repeats: 75,
            sample_time: Duration::from_millis(15),
            pinning: Pinning::default(),
            limit: Duration::from_secs(20),
            program: env::current_exe()?,
        })
    }

    /// Everything, to get an idea: a fraction of a minute.
    pub fn quick() -> io::Result<Self> {
        Ok(Self {
            repeats: 15,
            sample_time: Duration::from_millis(10),
            ..Self::full()?
        })
    }

    /// Keeps what has `text` in its label, which is `dotpipe_raw/round_trip/64`. The baseline of what is kept stays too.
    pub fn filtered(mut self, text: &str) -> Self {
        let all = self.pairs();
        let chosen = |peer: &str, test: Test| format!("{peer}/{}", test.label()).contains(text);
        let needed = |peer: &dyn Peer, test: Test| {
            chosen(peer.name(), test)
                || all.iter().any(|&(other, other_test)| {
                    other_test == test
                        && other.baseline().is_some_and(|baseline| baseline.peer == peer.name())
                        && chosen(other.name(), test)
                })
        };
        self.tests.retain(|&test| {
            all.iter()
                .any(|&(peer, other)| other == test && chosen(peer.name(), test))
        });
        let tests = self.tests.clone();
        self.peers
            .retain(|&peer| tests.iter().any(|&test| peer.can(test) && needed(peer, test)));
        self
    }

    /// What will be measured.
    pub fn pairs(&self) -> Vec<(&'static dyn Peer, Test)> {
        let peers_of = |test: Test| self.peers.iter().copied().filter(move |peer| peer.can(test));
        self.tests
            .iter()
            .flat_map(|&test| peers_of(test).map(move |peer| (peer, test)))
            .collect()
    }
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("peers", &self.peers.iter().map(|peer| peer.name()).collect::<Vec<_>>())
            .field("tests", &self.tests)
            .field("repeats", &self.repeats)
            .field("sample_time", &self.sample_time)
            .field("pinning", &self.pinning)
            .finish_non_exhaustive()
    }
}

/// Hears how a run gets on.
pub trait Progress {
    /// Sample number `index` of `count` is taken next.
    fn sampling(&mut self, index: usize, count: usize, peer: &str, test: Test);
    /// A sample was taken.
    fn sampled(&mut self, peer: &str, test: Test, sample: &Sample);
}

/// Progress that nobody watches.
#[derive(Clone, Copy, Debug)]
pub struct Quiet;

impl Progress for Quiet {
    fn sampling(&mut self, _index: usize, _count: usize, _peer: &str, _test: Test) {}
    fn sampled(&mut self, _peer: &str, _test: Test, _sample: &Sample) {}
}

/// What was found about one peer in one test.
struct Cell {
    peer: &'static dyn Peer,
    test: Test,
    samples: Vec<Sample>,
    failure: Option<io::Error>,
}

/// Measures. A peer that fails in a test is left out of it from then on, and named in the report; the others go on.
///
/// Binds the calling thread to a CPU for the time, if the settings say so.
pub fn run(settings: &Settings, progress: &mut dyn Progress) -> io::Result<Report> {
    let machine = Machine::here();
    let cpus = settings.pinning.cpus();
    let restore = RestoreOnDrop::new();
    pin(cpus.near)?;

    let mut cells: Vec<Cell> = settings
        .pairs()
        .into_iter()
        .map(|(peer, test)| Cell {
            peer,
            test,
            samples: Vec::new(),
            failure: None,
        })
        .collect();
    let count = cells.len() * settings.repeats;
    let mut index = 0;
    for repeat in 0..settings.repeats {
        for peers in cells.chunk_by_mut(|one, other| one.test == other.test) {
            // Another one begins each time, so that none always follows the same one.
            let first = repeat % peers.len();
            for position in 0..peers.len() {
                let cell = &mut peers[(first + position) % peers.len()];
                index += 1;
                if cell.failure.is_some() {
                    continue;
                }
                progress.sampling(index, count, cell.peer.name(), cell.test);
                // Each sample has a folder of its own: nothing that one leaves behind can disturb the next.
                let place = tempfile::Builder::new().prefix("dpb").tempdir()?;
                let line_ns = line_ping_pong(cpus);
                let launcher = Launcher::new(
                    &settings.program,
                    cell.peer,
                    cell.test,
                    place.path(),
                    cpus.far,
                    settings.limit,
                );
                match cell.peer.near(&launcher, cell.test, settings.sample_time) {
                    Ok(value) => {
                        let sample = Sample { repeat, value, line_ns };
                        progress.sampled(cell.peer.name(), cell.test, &sample);
                        cell.samples.push(sample);
                    }
                    Err(error) => cell.failure = Some(error),
                }
            }
        }
    }
    drop(restore);

    let failures = cells
        .iter()
        .filter_map(|cell| {
            Some(Failure {
                peer: cell.peer.name().to_owned(),
                test: cell.test.kind,
                bytes: cell.test.bytes,
                error: cell.failure.as_ref()?.to_string(),
            })
        })
        .collect();
    let results: Vec<TestResult> = cells
        .into_iter()
        .filter_map(|cell| TestResult::of(cell.peer.name(), cell.test, cell.samples))
        .collect();
    let ratios = results
        .iter()
        .filter_map(|result| {
            let peer = settings.peers.iter().find(|peer| peer.name() == result.peer)?;
            let baseline = peer.baseline()?;
            let other = results
                .iter()
                .find(|other| other.peer == baseline.peer && other.test() == result.test())?;
            Ratio::of(result, other, baseline)
        })
        .collect();
    Ok(Report {
        machine,
        pinning: settings.pinning,
        cpus,
        repeats: settings.repeats,
        sample_seconds: settings.sample_time.as_secs_f64(),
        results,
        ratios,
        failures,
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::peer::Baseline;
    use crate::test::Kind;

    /// A peer that moves nothing, and notes the order in which it is asked.
    struct Fake {
        name: &'static str,
        baseline: Option<&'static str>,
        figure: Option<f64>,
    }

    impl Peer for Fake {
        fn name(&self) -> &'static str {
            self.name
        }
        fn baseline(&self) -> Option<Baseline> {
            self.baseline.map(|peer| Baseline { peer, gate: Some(1.03) })
        }
        fn can(&self, test: Test) -> bool {
            test.kind != Kind::Connect || self.name == "bare"
        }
        fn near(&self, _launcher: &Launcher, _test: Test, _time: Duration) -> io::Result<f64> {
            self.figure.ok_or_else(|| io::Error::other("it broke"))
        }
        fn far(&self, _place: &Path, _test: Test) -> io::Result<()> {
            Ok(())
        }
    }

    static BARE: Fake = Fake {
        name: "bare",
        baseline: None,
        figure: Some(100.0),
    };
    static OURS: Fake = Fake {
        name: "ours",
        baseline: Some("bare"),
        figure: Some(102.0),
    };
    static BROKEN: Fake = Fake {
        name: "broken",
        baseline: Some("bare"),
        figure: None,
    };

    fn settings() -> Settings {
        Settings {
            peers: vec![&BARE, &OURS, &BROKEN],
            tests: vec![Test::round_trip(64), Test::connect()],
            repeats: 3,
            sample_time: Duration::from_millis(1),
            pinning: Pinning::Free,
            limit: Duration::from_secs(1),
            program: PathBuf::from("none"),
        }
    }

    /// Notes who was sampled.
    struct Order(Vec<String>);

    impl Progress for Order {
        fn sampling(&mut self, _index: usize, _count: usize, _peer: &str, _test: Test) {}
        fn sampled(&mut self, peer: &str, test: Test, _sample: &Sample) {
            self.0.push(format!("{peer}/{}", test.label()));
        }
    }

    #[test]
    fn the_order_rotates_and_a_broken_peer_stops_nobody() {
        let mut order = Order(Vec::new());
        let report = run(&settings(), &mut order).unwrap();
        let round_trips: Vec<_> = order
            .0
            .iter()
            .filter(|label| label.ends_with("round_trip/64"))
            .collect();
        let bare = "bare/round_trip/64";
        let ours = "ours/round_trip/64";
        assert_eq!(round_trips, [bare, ours, ours, bare, bare, ours]);
        assert_eq!(report.results.len(), 3);
        assert_eq!(report.failures.len(), 1);
        assert_eq!(
            (report.failures[0].peer.as_str(), report.failures[0].error.as_str()),
            ("broken", "it broke")
        );
        assert_eq!(report.ratios.len(), 1);
        assert_eq!(
            (report.ratios[0].summary.median, report.ratios[0].summary.count),
            (1.02, 3)
        );
    }

    #[test]
    fn a_filter_keeps_the_baseline() {
        let names = |text: &str| -> Vec<String> {
            let pairs = settings().filtered(text).pairs();
            pairs
                .iter()
                .map(|(peer, test)| format!("{}/{}", peer.name(), test.label()))
                .collect()
        };
        assert_eq!(names("ours"), ["bare/round_trip/64", "ours/round_trip/64"]);
        assert_eq!(names("connect"), ["bare/connect/1"]);
        assert_eq!(names("bare/r"), ["bare/round_trip/64"]);
        assert!(names("nonsense").is_empty());
    }
}
