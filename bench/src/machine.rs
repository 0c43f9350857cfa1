//! A description of the machine that is enough to judge figures by, and tells nothing about whose it is.

use std::fmt;
use std::fs;
use std::thread;

use serde::{Deserialize, Serialize};

/// The machine that figures come from. What cannot be found out is empty.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// The model of its CPU.
    pub cpu: Option<String>,
    /// How many CPUs this process may use.
    pub cpus: Option<usize>,
    /// The operating system and the release of its kernel.
    pub kernel: String,
    /// The architecture.
    pub architecture: String,
    /// The governor of the first CPU's frequency.
    pub governor: Option<String>,
    /// Whether it is a virtual machine.
    pub virtualised: Option<bool>,
    /// How many tasks wanted to run, on average of the minute before the run. Above zero others take part.
    pub load: Option<f64>,
}

impl Machine {
    /// Looks at this machine.
    pub fn here() -> Self {
        let cpuinfo = read("/proc/cpuinfo").unwrap_or_default();
        let release = read("/proc/sys/kernel/osrelease");
        Self {
            cpu: field(&cpuinfo, "model name").map(str::to_owned),
            cpus: thread::available_parallelism().ok().map(usize::from),
            kernel: release.map_or_else(
                || std::env::consts::OS.to_owned(),
                |release| format!("{} {release}", std::env::consts::OS),
            ),
            architecture: std::env::consts::ARCH.to_owned(),
            governor: read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            virtualised: field(&cpuinfo, "flags").map(|flags| flags.split(' ').any(|flag| flag == "hypervisor")),
            load: read("/proc/loadavg").and_then(|text| text.split(' ').next()?.parse().ok()),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.cpu.as_deref().unwrap_or(&self.architecture))?;
        match self.cpus {
            Some(1) => f.write_str(", 1 CPU")?,
            Some(cpus) => write!(f, ", {cpus} CPUs")?,
            None => {}
        }
        if self.virtualised == Some(true) {
            f.write_str(", virtual machine")?;
        }
        write!(f, ", {}", self.kernel)?;
        if let Some(governor) = &self.governor {
            write!(f, ", governor {governor}")?;
        }
        if let Some(load) = self.load {
            write!(f, ", load {load}")?;
        }
        Ok(())
    }
}

/// A small file's trimmed text; None if there is none, or nothing in it.
fn read(path: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// The value of the first line `name : value`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_cpuinfo() {
        let text = "processor\t: 0\nmodel name\t: Some CPU: fast\nflags\t\t: fpu hypervisor sse\n";
        assert_eq!(field(text, "model name"), Some("Some CPU: fast"));
        assert_eq!(field(text, "bogomips"), None);
    }

    #[test]
    fn a_description_says_what_it_knows_and_no_more() {
        let machine = Machine {
            kernel: "linux 6.1".to_owned(),
            architecture: "x86_64".to_owned(),
            ..Machine::default()
        };
        assert_eq!(machine.to_string(), "x86_64, linux 6.1");
        let machine = Machine {
            cpu: Some("Some CPU".to_owned()),
            cpus: Some(2),
            virtualised: Some(true),
            load: Some(0.5),
            ..machine
        };
        assert_eq!(
            machine.to_string(),
            "Some CPU, 2 CPUs, virtual machine, linux 6.1, load 0.5"
        );
    }
}
