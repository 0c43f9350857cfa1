//! Who holds a pipe's name: what a lock file says, and what the kernel tells of sockets that have none.

use std::ffi::OsStr;
use std::fmt;
use std::path::PathBuf;

use crate::identity::user_for_text;
use crate::options::{PipeDirection, PipeTransmissionMode};
use crate::sys;
use crate::text::printable;

/// The process that holds a pipe's name, and what it says of the pipe. A hint: for people, not for decisions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) pid: Option<u32>,
    /// The user, where the socket's file tells; no part of the record.
    pub(crate) user: Option<u32>,
    pub(crate) program: Option<PathBuf>,
    pub(crate) direction: Option<PipeDirection>,
    pub(crate) mode: Option<PipeTransmissionMode>,
    /// Instances that exist in the process, and how many may, `None` for any number.
    pub(crate) instances: Option<(u32, Option<u32>)>,
}

const HEADER: &str = "dotpipe 1";

impl Owner {
    /// A process of which only the number is known.
    pub(crate) fn of_process(pid: Option<u32>) -> Self {
        Self {
            pid,
            program: pid.and_then(sys::program_of),
            ..Self::default()
        }
    }

    /// This process.
    pub(crate) fn this_process() -> Self {
        Self::of_process(Some(std::process::id()))
    }

    /// The form of a lock file: a line that names the format, then a line for each field.
    pub(crate) fn to_record(&self) -> Vec<u8> {
        let mut record = format!("{HEADER}\n");
        let mut line = |key: &str, value: Option<String>| {
            if let Some(value) = value {
                record.push_str(&format!("{key} {value}\n"));
            }
        };
        line("pid", self.pid.map(|pid| pid.to_string()));
        line(
            "program",
            self.program.as_ref().map(|program| printable(program.as_os_str())),
        );
        line("direction", self.direction.map(|direction| direction.to_string()));
        line("mode", self.mode.map(|mode| mode.to_string()));
        line("instances", self.instances.map(|(count, _)| count.to_string()));
        line(
            "max",
            self.instances.and_then(|(_, max)| max).map(|max| max.to_string()),
        );
        record.into_bytes()
    }

    /// Reads a lock file, in which anything may stand: what is not understood is left out.
    pub(crate) fn from_record(record: &[u8]) -> Self {
        let text = String::from_utf8_lossy(record);
        let mut lines = text.lines();
        if lines.next() != Some(HEADER) {
            return Self::default();
        }
        let mut owner = Self::default();
        let (mut count, mut max) = (None, None);
        for (key, value) in lines.filter_map(|line| line.split_once(' ')) {
            match key {
                "pid" => owner.pid = value.parse().ok().filter(|&pid| pid > 0),
                "program" => owner.program = Some(PathBuf::from(printable(OsStr::new(value)))),
                "direction" => owner.direction = value.parse().ok(),
                "mode" => owner.mode = value.parse().ok(),
                "instances" => count = value.parse().ok(),
                "max" => max = value.parse().ok(),
                _ => {}
            }
        }
        owner.instances = count.map(|count| (count, max));
        owner
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let program = self.program.as_ref().map(|program| printable(program.as_os_str()));
        match (self.pid, program) {
            (Some(pid), _) if pid == std::process::id() => write!(f, "this process ({pid})"),
            (Some(pid), Some(program)) => write!(f, "process {pid} ({program})"),
            (Some(pid), None) => write!(f, "process {pid}"),
            (None, _) => f.write_str("another process"),
        }?;
        match self.user {
            Some(user) if user != sys::effective_uid() => write!(f, " of {}", user_for_text(user)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back() {
        let owner = Owner {
            direction: Some(PipeDirection::Out),
            mode: Some(PipeTransmissionMode::Byte),
            instances: Some((2, Some(4))),
            ..Owner::this_process()
        };
        assert_eq!(Owner::from_record(&owner.to_record()), owner);
        assert_eq!(owner.to_string(), format!("this process ({})", std::process::id()));
    }

    #[test]
    fn junk_names_nobody() {
        for junk in [
            &b""[..],
            b"\xff\xfe\0",
            b"dotpipe 2\npid 5\n",
            b"pid 5",
            b"dotpipe 1\npid -5\npid x\n\n \n",
        ] {
            let owner = Owner::from_record(junk);
            assert_eq!((owner.pid, owner.to_string()), (None, "another process".to_owned()));
        }
        let hostile = Owner::from_record(b"dotpipe 1\npid 7\nprogram /bin/\x1b[31mx\n");
        assert_eq!(hostile.to_string(), r"process 7 (/bin/\u{1b}[31mx)");
    }
}
