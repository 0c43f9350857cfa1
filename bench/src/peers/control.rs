//! `..._again`: a baseline a second time, compared with itself. Its true cost is nothing, so what a run finds for it is
//! the noise of the machine: no smaller difference between other peers means anything.

use std::io;
use std::path::Path;
use std::time::Duration;

use crate::far::Launcher;
use crate::peer::{Baseline, Peer};
use crate::test::Test;

pub(super) struct Again {
    pub(super) name: &'static str,
    pub(super) peer: &'static dyn Peer,
    pub(super) gate: f64,
}

impl Peer for Again {
    fn name(&self) -> &'static str {
        self.name
    }

    fn baseline(&self) -> Option<Baseline> {
        Some(Baseline {
            peer: self.peer.name(),
            gate: Some(self.gate),
        })
    }

    fn can(&self, test: Test) -> bool {
        self.peer.can(test)
    }

    fn near(&self, launcher: &Launcher, test: Test, time: Duration) -> io::Result<f64> {
        self.peer.near(launcher, test, time)
    }

    fn far(&self, place: &Path, test: Test) -> io::Result<()> {
        self.peer.far(place, test)
    }
}
