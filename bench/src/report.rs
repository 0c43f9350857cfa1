//! What the samples say, in the shape of the JSON form.

use serde::{Deserialize, Serialize};

use crate::machine::Machine;
use crate::peer::Baseline;
use crate::placement::{Cpus, Pinning, Placement};
use crate::stats::{Interval, Summary, confidence_of_median};
use crate::test::{Kind, Test, Unit};

/// All that a run found. Its serialised form is the JSON of `--json`; fields may be added to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The machine.
    pub machine: Machine,
    /// How the two processes were bound to CPUs.
    pub pinning: Pinning,
    /// The CPUs that came to be.
    pub cpus: Cpus,
    /// How often each test of each peer was repeated.
    pub repeats: usize,
    /// The time of one sample, in seconds.
    pub sample_seconds: f64,
    /// The figures, test by test.
    pub results: Vec<TestResult>,
    /// The cost of peers against their baselines, test by test.
    pub ratios: Vec<Ratio>,
    /// What went wrong.
    pub failures: Vec<Failure>,
}

/// The figures of one peer in one test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TestResult {
    /// The peer's name.
    pub peer: String,
    /// The kind of work.
    pub test: Kind,
    /// The size of one block.
    pub bytes: usize,
    /// Median and spread of all samples.
    #[serde(flatten)]
    pub summary: Summary,
    /// The unit of all figures.
    pub unit: Unit,
    /// The same for the samples of each placement.
    pub placements: Vec<PerPlacement>,
    /// All samples.
    pub samples: Vec<Sample>,
}

/// The figures of the samples that were taken while the two CPUs were placed in one way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PerPlacement {
    /// The placement.
    pub placement: Placement,
    /// Median and spread.
    #[serde(flatten)]
    pub summary: Summary,
}

/// One sample.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// The repeat that it belongs to; samples of one repeat were taken next to each other.
    pub repeat: usize,
    /// The figure.
    pub value: f64,
    /// The round trip of a cache line between the two CPUs, measured just before.
    pub line_ns: Option<f64>,
}

impl Sample {
    /// How the CPUs were placed.
    pub fn placement(&self) -> Placement {
        Placement::of(self.line_ns)
    }
}

/// The cost of a peer against its baseline: a factor of time for the same work, 1.03 being 3 % more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ratio {
    /// The peer's name.
    pub peer: String,
    /// The name of its baseline.
    pub baseline: String,
    /// The kind of work.
    pub test: Kind,
    /// The size of one block.
    pub bytes: usize,
    /// Median and spread of the ratios of samples of one repeat and one placement.
    #[serde(flatten)]
    pub summary: Summary,
    /// Where the true median lies with a probability of 95 %.
    pub confidence: Interval,
    /// The most that is promised, if anything is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<f64>,
    /// Whether the promise is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
}

/// Whether a cost is within its gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The whole confidence interval is.
    Within,
    /// The whole confidence interval is not.
    Beyond,
    /// The interval contains the gate: too much noise, or too few repeats, to tell.
    Undecided,
}

impl Verdict {
    fn of(confidence: Interval, gate: f64) -> Self {
        if confidence.high <= gate {
            Self::Within
        } else if confidence.low > gate {
            Self::Beyond
        } else {
            Self::Undecided
        }
    }
}

/// A sample that could not be taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The peer's name.
    pub peer: String,
    /// The kind of work.
    pub test: Kind,
    /// The size of one block.
    pub bytes: usize,
    /// What happened.
    pub error: String,
}

impl TestResult {
    /// Summarises the samples of one peer in one test; None if there are none.
    pub(crate) fn of(peer: &str, test: Test, samples: Vec<Sample>) -> Option<Self> {
        let summary = summary_of(samples.iter())?;
        let mut placements: Vec<Placement> = samples.iter().map(Sample::placement).collect();
        placements.sort_unstable();
        placements.dedup();
        let placements = placements
            .into_iter()
            .filter_map(|placement| {
                let summary = summary_of(samples.iter().filter(|sample| sample.placement() == placement))?;
                Some(PerPlacement { placement, summary })
            })
            .collect();
        Some(Self {
            peer: peer.to_owned(),
            test: test.kind,
            bytes: test.bytes,
            summary,
            unit: test.kind.unit(),
            placements,
            samples,
        })
    }

    /// The test that the figures are of.
    pub fn test(&self) -> Test {
        Test {
            kind: self.test,
            bytes: self.bytes,
        }
    }
}

impl Ratio {
    /// Compares two peers in one test by the samples that lie next to each other; None if no two do.
    pub(crate) fn of(result: &TestResult, baseline_result: &TestResult, baseline: Baseline) -> Option<Self> {
        let costs = paired_costs(result.unit, &result.samples, &baseline_result.samples);
        let confidence = confidence_of_median(&costs)?;
        // Connecting does more than a bare connect: it checks who is there, and who may. No promise is made for it.
        let gate = baseline.gate.filter(|_| result.test != Kind::Connect);
        Some(Self {
            peer: result.peer.clone(),
            baseline: baseline_result.peer.clone(),
            test: result.test,
            bytes: result.bytes,
            summary: Summary::of(&costs)?,
            confidence,
            gate,
            verdict: gate.map(|gate| Verdict::of(confidence, gate)),
        })
    }
}

fn summary_of<'a>(samples: impl Iterator<Item = &'a Sample>) -> Option<Summary> {
    Summary::of(&samples.map(|sample| sample.value).collect::<Vec<_>>())
}

/// The costs of those samples that have a counterpart in the same repeat, taken in the same placement.
fn paired_costs(unit: Unit, samples: &[Sample], baseline: &[Sample]) -> Vec<f64> {
    samples
        .iter()
        .filter_map(|sample| {
            let other = baseline.iter().find(|other| other.repeat == sample.repeat)?;
            (sample.placement() == other.placement()).then(|| unit.cost(sample.value, other.value))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(repeat: usize, value: f64, line_ns: f64) -> Sample {
        Sample {
            repeat,
            value,
            line_ns: Some(line_ns),
        }
    }

    #[test]
    fn pairs_are_of_one_repeat_and_one_placement() {
        let peer = [
            sample(0, 110.0, 100.0),
            sample(1, 240.0, 110.0),
            sample(2, 9.0, 30.0),
            sample(4, 1.0, 100.0),
        ];
        let base = [
            sample(0, 100.0, 105.0),
            sample(1, 200.0, 99.0),
            sample(2, 3.0, 470.0),
            sample(3, 5.0, 100.0),
        ];
        assert_eq!(paired_costs(Unit::Nanoseconds, &peer, &base), [1.1, 1.2]);
        assert_eq!(paired_costs(Unit::MegabytesPerSecond, &base, &peer), [1.1, 1.2]);
    }

    #[test]
    fn a_verdict_needs_the_whole_interval() {
        let verdict = |low, high| Verdict::of(Interval { low, high }, 1.03);
        assert_eq!(verdict(0.98, 1.02), Verdict::Within);
        assert_eq!(verdict(1.04, 1.09), Verdict::Beyond);
        assert_eq!(verdict(1.01, 1.09), Verdict::Undecided);
    }

    #[test]
    fn the_ratio_is_the_median_of_pairs_and_connecting_has_no_gate() {
        let baseline = Baseline {
            peer: "bare",
            gate: Some(1.03),
        };
        let of = |test: Test, factor: f64| {
            let samples = (0..9).map(|i| sample(i, (100.0 + i as f64) * factor, 100.0)).collect();
            TestResult::of("x", test, samples).unwrap()
        };
        let test = Test::round_trip(64);
        let ratio = Ratio::of(&of(test, 1.02), &of(test, 1.0), baseline).unwrap();
        assert!((ratio.summary.median - 1.02).abs() < 1e-9);
        assert_eq!((ratio.summary.count, ratio.verdict), (9, Some(Verdict::Within)));
        let ratio = Ratio::of(&of(Test::connect(), 1.02), &of(Test::connect(), 1.0), baseline).unwrap();
        assert_eq!((ratio.gate, ratio.verdict), (None, None));
    }

    #[test]
    fn results_are_split_by_placement() {
        let samples = vec![sample(0, 1.0, 100.0), sample(1, 9.0, 30.0), sample(2, 3.0, 100.0)];
        let result = TestResult::of("x", Test::one_way(64), samples).unwrap();
        assert_eq!(result.summary.median, 3.0);
        let split: Vec<_> = result
            .placements
            .iter()
            .map(|p| (p.placement, p.summary.median))
            .collect();
        assert_eq!(split, [(Placement::SameCore, 9.0), (Placement::SameCache, 2.0)]);
        assert_eq!(TestResult::of("x", Test::one_way(64), Vec::new()), None);
    }

    /// Scripts read these names.
    #[test]
    fn the_json_has_the_documented_shape() {
        let test = Test::round_trip(64);
        let result = TestResult::of("dotpipe_raw", test, vec![sample(0, 51_000.0, 104.0)]).unwrap();
        let baseline = Baseline {
            peer: "unix_stream",
            gate: Some(1.03),
        };
        let ratio = Ratio::of(
            &result,
            &TestResult {
                peer: "unix_stream".to_owned(),
                ..result.clone()
            },
            baseline,
        );
        let report = Report {
            machine: Machine::default(),
            pinning: Pinning::TwoCpus,
            cpus: Cpus {
                near: Some(0),
                far: Some(1),
            },
            repeats: 1,
            sample_seconds: 0.1,
            results: vec![result],
            ratios: ratio.into_iter().collect(),
            failures: Vec::new(),
        };
        let json = serde_json::to_value(&report).unwrap();
        assert!(json["machine"].is_object());
        let result = &json["results"][0];
        assert_eq!(
            (&result["peer"], &result["test"]),
            (&"dotpipe_raw".into(), &"round_trip".into())
        );
        assert_eq!((&result["bytes"], &result["unit"]), (&64.into(), &"ns".into()));
        assert_eq!(result["median"], 51_000.0);
        assert_eq!((&result["min"], &result["max"]), (&result["median"], &result["median"]));
        let ratio = &json["ratios"][0];
        assert_eq!(
            (&ratio["peer"], &ratio["baseline"]),
            (&"dotpipe_raw".into(), &"unix_stream".into())
        );
        assert_eq!((&ratio["median"], &ratio["verdict"]), (&1.0.into(), &"within".into()));
        assert_eq!(serde_json::from_value::<Report>(json).unwrap(), report);
        let units = [Unit::Nanoseconds, Unit::MegabytesPerSecond, Unit::PerSecond];
        assert_eq!(
            serde_json::to_value(units).unwrap(),
            serde_json::json!(["ns", "MB/s", "per second"])
        );
    }
}
