//! That `docs/conformance.md` and the tests agree, row by row.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::Path;

const UPSTREAM: usize = 217;
const MEASURED: usize = 36;

/// The tests of these modules are about the tests themselves.
const WITHOUT_ROWS: [&str; 2] = ["child.rs", "table.rs"];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Status {
    Same,
    Better,
    Windows,
    NotApplicable,
}

impl Status {
    const ALL: [Self; 4] = [Self::Same, Self::Better, Self::Windows, Self::NotApplicable];

    fn word(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Better => "better",
            Self::Windows => "Windows",
            Self::NotApplicable => "not applicable",
        }
    }

    fn has_test(self) -> bool {
        matches!(self, Self::Same | Self::Better)
    }

    fn needs_note(self) -> bool {
        matches!(self, Self::Better | Self::NotApplicable)
    }
}

#[derive(Debug)]
struct Row {
    id: String,
    behaviour: String,
    platform: String,
    status: Status,
    note: String,
}

/// What is wrong in a table, or between it and the tests.
type Faults = Vec<String>;

fn rows_of(document: &str, faults: &mut Faults) -> Vec<Row> {
    let lines = document
        .lines()
        .filter(|line| line.starts_with("| C") || line.starts_with("| M"));
    let mut rows = Vec::new();
    for line in lines {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [id, behaviour, platform, word, note] = cells[..] else {
            faults.push(format!("not five cells: {line}"));
            continue;
        };
        match Status::ALL.into_iter().find(|status| status.word() == word) {
            Some(status) => rows.push(Row {
                id: id.to_owned(),
                behaviour: behaviour.to_owned(),
                platform: platform.to_owned(),
                status,
                note: note.to_owned(),
            }),
            None => faults.push(format!("{id}: there is no status '{word}'")),
        }
    }
    rows
}

/// Each id that a source's tests begin with, and the tests that have none.
fn tests_of(source: &str) -> (BTreeSet<String>, Vec<String>) {
    let mut ids = BTreeSet::new();
    let mut without = Vec::new();
    let mut is_test = false;
    for line in source.lines().map(str::trim) {
        if line == "#[test]" {
            is_test = true;
        } else if let Some(rest) = line.strip_prefix("fn ").filter(|_| is_test) {
            is_test = false;
            let name = rest.split('(').next().unwrap_or_default();
            let own: Vec<String> = name.split('_').map_while(id_of).collect();
            if own.is_empty() {
                without.push(name.to_owned());
            }
            ids.extend(own);
        }
    }
    (ids, without)
}

/// The id that a part of a test's name stands for: `c016` or `m31`.
fn id_of(part: &str) -> Option<String> {
    let digits = match part.as_bytes().first()? {
        b'c' => 3,
        b'm' => 2,
        _ => return None,
    };
    let number = &part[1..];
    (number.len() == digits && number.bytes().all(|byte| byte.is_ascii_digit())).then(|| part.to_uppercase())
}

fn every_id() -> BTreeSet<String> {
    let upstream = (1..=UPSTREAM).map(|number| format!("C{number:03}"));
    let measured = (1..=MEASURED).map(|number| format!("M{number:02}"));
    upstream.chain(measured).collect()
}

/// Compares a table with the ids that have tests.
fn compare(rows: &[Row], tested: &BTreeSet<String>, faults: &mut Faults) {
    let known = every_id();
    let mut seen = BTreeSet::new();
    for row in rows {
        let id = &row.id;
        if !known.contains(id) {
            faults.push(format!("{id}: there is no such row"));
        }
        if !seen.insert(id.clone()) {
            faults.push(format!("{id}: is there twice"));
        }
        if row.behaviour.is_empty() || row.platform.is_empty() {
            faults.push(format!("{id}: says no behaviour or no platform"));
        }
        match (row.status.has_test(), tested.contains(id)) {
            (true, false) => faults.push(format!("{id}: is '{}' and has no test", row.status.word())),
            (false, true) => faults.push(format!("{id}: is '{}' and has a test", row.status.word())),
            _ => {}
        }
        if row.status.needs_note() && row.note.is_empty() {
            faults.push(format!("{id}: is '{}' and does not say why", row.status.word()));
        }
    }
    faults.extend(known.difference(&seen).map(|id| format!("{id}: is missing")));
    faults.extend(
        tested
            .difference(&known)
            .map(|id| format!("{id}: has a test and is no row")),
    );
}

#[test]
fn every_row_has_its_test_or_its_reason() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut faults = Faults::new();
    let document = fs::read_to_string(package.join("../../docs/conformance.md")).unwrap();
    let rows = rows_of(&document, &mut faults);

    let mut tested = BTreeSet::new();
    for source in fs::read_dir(package.join("tests/conformance")).unwrap() {
        let path = source.unwrap().path();
        let file = path.file_name().unwrap().to_string_lossy().into_owned();
        if WITHOUT_ROWS.contains(&file.as_str()) {
            continue;
        }
        let (ids, without) = tests_of(&fs::read_to_string(&path).unwrap());
        faults.extend(
            without
                .into_iter()
                .map(|name| format!("{file}: {name} stands for no row")),
        );
        tested.extend(ids);
    }
    compare(&rows, &tested, &mut faults);
    assert!(faults.is_empty(), "docs/conformance.md:\n{}", faults.join("\n"));

    let mut counts = BTreeMap::new();
    for row in &rows {
        *counts.entry(row.status).or_insert(0) += 1;
    }
    let counts: Vec<_> = counts
        .into_iter()
        .map(|(status, count)| format!("{} {count}", status.word()))
        .collect();
    // Not println!, which the test harness keeps for itself where a test passes.
    writeln!(std::io::stderr(), "conformance: {}", counts.join(", ")).unwrap();
}

#[test]
fn a_table_that_drifts_is_found_out() {
    let rows = "\
| C001 | one | all | same | |
| C001 | again | all | same | |
| C002 | two | all | better | |
| C003 | three | all | Windows | |
| C004 | four | all | perhaps | |
| C005 | five | all | same |
| C999 | none | all | Windows | |
| M01 | in all | linux | not applicable | as it is |
";
    let source = "
#[test]
fn c002_c003_two_rows() {}
#[test]
fn m77_no_row() {}
fn m01_no_test() {}
#[test]
fn nothing() {}
";
    let mut faults = Faults::new();
    let rows = rows_of(rows, &mut faults);
    let (tested, without) = tests_of(source);
    assert_eq!(without, ["nothing"]);
    compare(&rows, &tested, &mut faults);
    for fault in [
        "C004: there is no status 'perhaps'",
        "not five cells: | C005 | five | all | same |",
        "C001: is 'same' and has no test",
        "C001: is there twice",
        "C002: is 'better' and does not say why",
        "C003: is 'Windows' and has a test",
        "C999: there is no such row",
        "C006: is missing",
        "M77: has a test and is no row",
    ] {
        assert!(
            faults.iter().any(|found| found == fault),
            "'{fault}' is not among {faults:#?}"
        );
    }
    assert!(!faults.iter().any(|found| found.starts_with("M01")), "{faults:#?}");
}
