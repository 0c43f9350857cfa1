//! The command line of `cargo bench -p dotpipe-bench`.

use std::ffi::OsString;
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use lexopt::prelude::*;

use crate::far::run_far_side_if_asked;
use crate::peers;
use crate::placement::Pinning;
use crate::report::{Report, Sample};
use crate::run::{Progress, Settings, run};
use crate::table::write_table;
use crate::test::Test;

const HELP: &str = "\
Measures dotpipe and its peers, interleaved, between two processes.

Usage: cargo bench -p dotpipe-bench -- [OPTIONS] [TEXT]

  --quick           fewer and shorter samples: an idea in a fraction of a minute
  --filter TEXT     only what has TEXT in its label, such as dotpipe_raw/round_trip/64, with its baseline
  --json FILE       write the figures to FILE (from cargo, relative to the folder bench/)
  --samples         print every sample as it is taken, instead of the table
  --pin two|one|none  bind the two processes to two CPUs (default), to the same one, or to none
  --control         measure the baselines twice, compared with themselves: the cost that noise alone shows
  --repeats N       how often everything is repeated
  --time MS         the time of one sample
  --list            name what would be measured, and end
  --help            this text

Times are medians; less is better for ns, more for MB/s and per second. The cost of a peer is the median of its ratios
to its baseline, in samples taken next to each other: +3.0 % means so much more time for the same work.
";

/// What the user asked for.
#[derive(Debug)]
struct Arguments {
    settings: Settings,
    json: Option<PathBuf>,
    samples: bool,
    list: bool,
}

/// The whole program: the far side if it was started for that, else the measurements that the arguments ask for.
/// Status 0, 1 if something failed, 2 for wrong usage.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    if let Some(status) = run_far_side_if_asked() {
        return status;
    }
    let arguments = match parse(arguments) {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("{error}\nTry --help.");
            return ExitCode::from(2);
        }
    };
    match measure(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // Whoever closed our output has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// None for a request for help.
fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Option<Arguments>, lexopt::Error> {
    let mut parser = lexopt::Parser::from_iter(arguments);
    let (mut quick, mut samples, mut list, mut control) = (false, false, false, false);
    let (mut json, mut filter, mut pinning, mut repeats, mut time) = (None, None, None, None, None);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("quick") => quick = true,
            Long("samples") => samples = true,
            Long("list") => list = true,
            Long("control") => control = true,
            Long("json") => json = Some(PathBuf::from(parser.value()?)),
            Long("repeats") => repeats = Some(at_least_one(parser.value()?.parse()?)?),
            Long("time") => time = Some(at_least_one(parser.value()?.parse()?)?),
            Long("filter") => filter = Some(parser.value()?.string()?),
            Long("pin") => {
                pinning = Some(match parser.value()?.to_str() {
                    Some("two") => Pinning::TwoCpus,
                    Some("one") => Pinning::OneCpu,
                    Some("none") => Pinning::Free,
                    _ => return Err("--pin takes two, one or none".into()),
                });
            }
            // Cargo's own sign that this is a benchmark.
            Long("bench") => {}
            Long("help") | Short('h') => return Ok(None),
            Value(text) if filter.is_none() => filter = Some(text.string()?),
            other => return Err(other.unexpected()),
        }
    }
    let path_unknown = |error: io::Error| lexopt::Error::Custom(error.into());
    let mut settings = if quick { Settings::quick() } else { Settings::full() }.map_err(path_unknown)?;
    if control {
        settings.peers.extend(peers::controls());
    }
    if let Some(text) = filter {
        settings = settings.filtered(&text);
        if settings.pairs().is_empty() {
            return Err(format!("nothing has {text:?} in its label; --list names everything").into());
        }
    }
    settings.pinning = pinning.unwrap_or(settings.pinning);
    settings.repeats = repeats.unwrap_or(settings.repeats as u64) as usize;
    settings.sample_time = time.map_or(settings.sample_time, Duration::from_millis);
    Ok(Some(Arguments {
        settings,
        json,
        samples,
        list,
    }))
}

fn at_least_one(number: u64) -> Result<u64, lexopt::Error> {
    if number == 0 {
        Err("a number must be at least 1".into())
    } else {
        Ok(number)
    }
}

/// Returns whether every sample could be taken.
fn measure(arguments: &Arguments) -> io::Result<bool> {
    let settings = &arguments.settings;
    let mut out = io::stdout().lock();
    if arguments.list {
        for (peer, test) in settings.pairs() {
            writeln!(out, "{}/{}", peer.name(), test.label())?;
        }
        return Ok(true);
    }
    let report = if arguments.samples {
        println_samples_head(&mut out)?;
        run(settings, &mut SamplePrinter { out: &mut out })?
    } else {
        let mut line = StatusLine::new();
        let report = run(settings, &mut line)?;
        line.clear();
        write_table(&report, &mut out)?;
        report
    };
    if let Some(path) = &arguments.json {
        write_json(&report, path)?;
    }
    Ok(report.failures.is_empty())
}

fn write_json(report: &Report, path: &Path) -> io::Result<()> {
    let mut text = serde_json::to_string_pretty(report)?;
    text.push('\n');
    let name = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    fs::write(path, text).map_err(name)?;
    eprintln!("wrote {}", fs::canonicalize(path).map_err(name)?.display());
    Ok(())
}

fn println_samples_head(out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "repeat\tpeer\ttest\tbytes\tvalue\tunit\tline_ns")
}

/// Prints samples as they come, in columns separated by tabs.
struct SamplePrinter<'a> {
    out: &'a mut dyn Write,
}

impl Progress for SamplePrinter<'_> {
    fn sampling(&mut self, _index: usize, _count: usize, _peer: &str, _test: Test) {}

    fn sampled(&mut self, peer: &str, test: Test, sample: &Sample) {
        let unit = match test.kind.unit() {
            crate::Unit::Nanoseconds => "ns",
            crate::Unit::MegabytesPerSecond => "MB/s",
            crate::Unit::PerSecond => "/s",
        };
        let line = sample.line_ns.map_or_else(String::new, |ns| format!("{ns:.1}"));
        // Whoever closed the output misses the rest; the run goes on for the JSON.
        let _ = writeln!(
            self.out,
            "{}\t{peer}\t{}\t{}\t{:.1}\t{unit}\t{line}",
            sample.repeat,
            test.kind.name(),
            test.bytes,
            sample.value
        );
    }
}

/// A line on stderr that changes as the run gets on, if stderr is a terminal.
struct StatusLine {
    terminal: bool,
    start: Instant,
}

impl StatusLine {
    fn new() -> Self {
        Self {
            terminal: io::stderr().is_terminal(),
            start: Instant::now(),
        }
    }

    fn clear(&self) {
        if self.terminal {
            eprint!("\r\x1b[K");
        }
    }
}

impl Progress for StatusLine {
    fn sampling(&mut self, index: usize, count: usize, peer: &str, test: Test) {
        if !self.terminal {
            return;
        }
        let done = (index - 1) as f64 / count as f64;
        // A first guess is worth showing only when there is something to guess from.
        let left = if done > 0.02 {
            format!(
                ", {:.0} s left",
                self.start.elapsed().as_secs_f64() * (1.0 - done) / done
            )
        } else {
            String::new()
        };
        eprint!("\r\x1b[K{:3.0} % {peer}, {test}{left}", done * 100.0);
    }

    fn sampled(&mut self, _peer: &str, _test: Test, _sample: &Sample) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Option<Arguments>, lexopt::Error> {
        parse(
            std::iter::once("bench")
                .chain(arguments.iter().copied())
                .map(OsString::from),
        )
    }

    #[test]
    fn arguments_change_the_settings() {
        let full = parsed(&["--bench"]).unwrap().unwrap();
        let quick = parsed(&["--quick", "--pin", "one", "--time", "5", "--json", "x"])
            .unwrap()
            .unwrap();
        assert!(quick.settings.repeats < full.settings.repeats);
        assert_eq!(
            (quick.settings.pinning, full.settings.pinning),
            (Pinning::OneCpu, Pinning::TwoCpus)
        );
        assert_eq!(quick.settings.sample_time, Duration::from_millis(5));
        assert_eq!(quick.json.as_deref(), Some(Path::new("x")));
        assert!(parsed(&["--help"]).unwrap().is_none());
    }

    #[test]
    fn wrong_arguments_are_refused() {
        let wrong: [&[&str]; 6] = [
            &["--fast"],
            &["--pin", "three"],
            &["--repeats", "0"],
            &["--json"],
            &["nothing-has-this"],
            &["a", "b"],
        ];
        for arguments in wrong {
            assert!(parsed(arguments).is_err(), "{arguments:?}");
        }
    }
}
