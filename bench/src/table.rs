//! The table for people.

use std::collections::BTreeMap;
use std::io::{self, Write};

use crate::placement::Placement;
use crate::report::{Ratio, Report, TestResult, Verdict};
use crate::test::Unit;

/// Writes the report as a table, test by test.
pub fn write_table(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}", report.machine)?;
    writeln!(
        out,
        "{} repeats of {} ms, {}",
        report.repeats,
        (report.sample_seconds * 1e3).round(),
        report.cpus
    )?;
    if let Some(line) = placements(report) {
        writeln!(out, "{line}")?;
    }
    writeln!(out)?;

    let head = [
        "test",
        "peer",
        "median",
        "min",
        "max",
        "cost, and its 95 % range",
        "gate",
    ]
    .map(str::to_owned);
    let mut rows = vec![head];
    for result in &report.results {
        let ratio = report
            .ratios
            .iter()
            .find(|ratio| ratio.peer == result.peer && ratio.test == result.test && ratio.bytes == result.bytes);
        rows.push(row(result, ratio));
    }
    let widths: [usize; 7] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0));
    let mut previous = "";
    for (index, row) in rows.iter().enumerate() {
        if index > 0 && row[0] != previous {
            writeln!(out)?;
        }
        let mut line = String::new();
        for (column, (text, width)) in row.iter().zip(widths).enumerate() {
            let text = if column == 0 && row[0] == previous { "" } else { text };
            if (2..5).contains(&column) {
                line.push_str(&format!("{text:>width$}  "));
            } else {
                line.push_str(&format!("{text:<width$}  "));
            }
        }
        writeln!(out, "{}", line.trim_end())?;
        previous = &row[0];
    }

    for failure in &report.failures {
        writeln!(
            out,
            "\nFAILED {} {}/{}: {}",
            failure.peer,
            failure.test.name(),
            failure.bytes,
            failure.error
        )?;
    }
    Ok(())
}

fn row(result: &TestResult, ratio: Option<&Ratio>) -> [String; 7] {
    let figure = |value| figure(result.unit, value);
    let cost = ratio.map_or_else(String::new, |ratio| {
        let (low, high) = (percent(ratio.confidence.low), percent(ratio.confidence.high));
        format!(
            "{} % [{low}, {high}] of {}",
            percent(ratio.summary.median),
            ratio.baseline
        )
    });
    let gate =
        ratio
            .and_then(|ratio| Some((ratio.gate?, ratio.verdict?)))
            .map_or_else(String::new, |(gate, verdict)| {
                let verdict = match verdict {
                    Verdict::Within => "kept",
                    Verdict::Beyond => "BROKEN",
                    Verdict::Undecided => "cannot tell",
                };
                format!("{} %: {verdict}", percent(gate))
            });
    let summary = result.summary;
    [
        result.test().to_string(),
        result.peer.clone(),
        figure(summary.median),
        figure(summary.min),
        figure(summary.max),
        cost,
        gate,
    ]
}

/// `+2.3` for a factor of 1.023.
fn percent(factor: f64) -> String {
    format!("{:+.1}", (factor - 1.0) * 100.0)
}

/// Three or four significant digits, with a unit that suits them.
fn figure(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Nanoseconds if value >= 1e6 => format!("{:.2} ms", value / 1e6),
        Unit::Nanoseconds if value >= 1e4 => format!("{:.1} us", value / 1e3),
        Unit::Nanoseconds if value >= 1e3 => format!("{:.2} us", value / 1e3),
        Unit::Nanoseconds => format!("{value:.0} ns"),
        Unit::MegabytesPerSecond => format!("{value:.0} MB/s"),
        Unit::PerSecond => format!("{value:.0} /s"),
    }
}

/// How the CPUs were placed, if that is known.
fn placements(report: &Report) -> Option<String> {
    let mut counts = BTreeMap::new();
    for sample in report.results.iter().flat_map(|result| &result.samples) {
        *counts.entry(sample.placement()).or_insert(0) += 1;
    }
    counts.remove(&Placement::Unknown);
    let counts: Vec<String> = counts
        .iter()
        .map(|(placement, count)| format!("{placement} {count}"))
        .collect();
    (!counts.is_empty()).then(|| format!("samples by placement of the two CPUs: {}", counts.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;
    use crate::peer::Baseline;
    use crate::placement::{Cpus, Pinning};
    use crate::report::{Failure, Sample};
    use crate::test::{Kind, Test};

    #[test]
    fn figures_have_units_that_suit_them() {
        let ns = |value| figure(Unit::Nanoseconds, value);
        assert_eq!(
            [ns(240.4), ns(6_123.0), ns(52_640.0), ns(3.2e6)],
            ["240 ns", "6.12 us", "52.6 us", "3.20 ms"]
        );
        assert_eq!(figure(Unit::MegabytesPerSecond, 4450.4), "4450 MB/s");
        assert_eq!(figure(Unit::PerSecond, 18641.0), "18641 /s");
        assert_eq!([percent(1.0234), percent(0.99)], ["+2.3", "-1.0"]);
    }

    #[test]
    fn a_table_of_two_peers() {
        let result = |peer: &str, figure: f64| {
            let samples = (0..7)
                .map(|repeat| Sample {
                    repeat,
                    value: figure,
                    line_ns: Some(100.0),
                })
                .collect();
            TestResult::of(peer, Test::round_trip(64), samples).unwrap()
        };
        let results = vec![result("bare", 50_000.0), result("ours", 51_000.0)];
        let baseline = Baseline {
            peer: "bare",
            gate: Some(1.03),
        };
        let report = Report {
            machine: Machine {
                kernel: "linux 6.1".to_owned(),
                architecture: "x86_64".to_owned(),
                ..Machine::default()
            },
            pinning: Pinning::TwoCpus,
            cpus: Cpus {
                near: Some(0),
                far: Some(1),
            },
            repeats: 7,
            sample_seconds: 0.04,
            ratios: Ratio::of(&results[1], &results[0], baseline).into_iter().collect(),
            results,
            failures: vec![Failure {
                peer: "theirs".to_owned(),
                test: Kind::Connect,
                bytes: 1,
                error: "it broke".to_owned(),
            }],
        };
        let mut text = Vec::new();
        write_table(&report, &mut text).unwrap();
        let expected = "\
x86_64, linux 6.1
7 repeats of 40 ms, one side on CPU 0, the other on CPU 1
samples by placement of the two CPUs: same cache 14

test             peer   median      min      max  cost, and its 95 % range     gate

round_trip 64 B  bare  50.0 us  50.0 us  50.0 us
                 ours  51.0 us  51.0 us  51.0 us  +2.0 % [+2.0, +2.0] of bare  +3.0 %: kept

FAILED theirs connect/1: it broke
";
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }
}
