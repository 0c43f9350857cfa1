//! The harness as its users run it, with so little to do that the figures mean nothing.

#![cfg(unix)]

use std::process::{Command, Output};

use dotpipe_bench::{Kind, Report};

fn bench(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dotpipe-bench"))
        .args(arguments)
        .output()
        .unwrap()
}

#[track_caller]
fn text_of_success(output: Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{stderr}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// Every peer in every test, between two processes; table and JSON agree.
#[test]
fn every_peer_gets_through_every_test() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("figures.json");
    let table = text_of_success(bench(&[
        "--control",
        "--repeats",
        "2",
        "--time",
        "1",
        "--json",
        json.to_str().unwrap(),
    ]));
    let report: Report = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    assert_eq!(report.failures, []);
    let listed = text_of_success(bench(&["--control", "--list"]));
    assert_eq!(report.results.len(), listed.lines().count());
    for result in &report.results {
        let label = format!("{}/{}", result.peer, result.test().label());
        assert!(listed.lines().any(|line| line == label), "{label}");
        assert!(
            table.contains(&result.peer) && table.contains(&result.test().to_string()),
            "{label}"
        );
        assert_eq!(result.samples.len(), 2, "{label}");
        assert!(result.summary.min > 0.0 && result.summary.max.is_finite(), "{label}");
    }
    for ratio in &report.ratios {
        let promised = ratio.test != Kind::Connect;
        assert_eq!(
            (ratio.gate.is_some(), ratio.verdict.is_some()),
            (promised, promised),
            "{}",
            ratio.peer
        );
    }
}

#[test]
fn samples_are_printed_one_a_line() {
    let text = text_of_success(bench(&[
        "--samples",
        "--repeats",
        "3",
        "--time",
        "1",
        "--filter",
        "pipe/round_trip/64",
    ]));
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("repeat\tpeer\ttest\tbytes\tvalue\tunit\tline_ns"));
    let columns = lines.map(|line| line.split('\t').collect::<Vec<_>>());
    let samples: Vec<_> = columns.filter(|columns| columns[1] == "pipe").collect();
    assert_eq!(
        samples.iter().map(|columns| columns[0]).collect::<Vec<_>>(),
        ["0", "1", "2"]
    );
    for columns in samples {
        assert_eq!((columns.len(), columns[2], columns[5]), (7, "round_trip", "ns"));
        assert!(columns[4].parse::<f64>().unwrap() > 0.0);
    }
}

#[test]
fn both_sides_can_share_a_cpu_or_run_free() {
    for pinning in ["one", "none"] {
        text_of_success(bench(&[
            "--pin",
            pinning,
            "--repeats",
            "1",
            "--time",
            "1",
            "--filter",
            "unix_stream/",
        ]));
    }
}

#[test]
fn wrong_usage_has_status_2() {
    let output = bench(&["--fast"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--fast"));
}
