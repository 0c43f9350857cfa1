//! A child, without what it has started: the system has no groups of processes.

use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

pub(super) fn prepare(_: &mut Command) {}

/// Tells when a child has exited.
pub(super) struct Watch;

impl Watch {
    pub(super) fn start(_: &Child) -> Self {
        Self
    }

    /// Whether the child exits within `limit`. There is no wait with a limit in std.
    pub(super) fn wait(&mut self, child: &mut Child, limit: Duration) -> bool {
        let start = Instant::now();
        while matches!(child.try_wait(), Ok(None)) {
            if start.elapsed() >= limit {
                return false;
            }
            thread::sleep(Duration::from_millis(2));
        }
        true
    }

    pub(super) fn kill_group(&mut self, child: &mut Child) {
        let _ = child.kill();
    }
}

pub(super) fn signal(_: &Child, _: i32) -> Result<(), String> {
    Err("this system has no signals".to_owned())
}
