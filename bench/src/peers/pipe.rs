//! `pipe`: two of the system's anonymous pipes. Each `read` and `write` is one bare system call.

use std::env;
use std::fs::{File, OpenOptions};
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, AsRawFd};
use std::process::{Child, Command};

use rustix::io::{FdFlags, fcntl_setfd};

use crate::peer::{AnonymousPeer, Pair};

/// The environment variables by which the child learns the numbers of its ends.
const CHILD_READS: &str = "DOTPIPE_BENCH_CHILD_READS";
const CHILD_WRITES: &str = "DOTPIPE_BENCH_CHILD_WRITES";

#[derive(Clone, Copy, Debug)]
pub(super) struct PipePeer;

impl AnonymousPeer for PipePeer {
    type Parent = Pair<PipeReader, PipeWriter>;
    type Child = Pair<File, File>;

    const NAME: &'static str = "pipe";

    /// Not as the child's stdin and stdout, which would be simpler: Rust's run time polls those at its start, and a pipe
    /// that was ever polled wakes its reader at every write (`poll_usage` in Linux's `fs/pipe.c`). That made small
    /// writes a seventh slower, and would flatter everything that is compared with them.
    fn spawn(mut command: Command) -> io::Result<(Child, Self::Parent)> {
        let (to_child, writer) = io::pipe()?;
        let (reader, from_child) = io::pipe()?;
        for end in [to_child.as_fd(), from_child.as_fd()] {
            // Only one child is started at a time, so that no other one gets them.
            fcntl_setfd(end, FdFlags::empty())?;
        }
        let child = command
            .env(CHILD_READS, to_child.as_raw_fd().to_string())
            .env(CHILD_WRITES, from_child.as_raw_fd().to_string())
            .spawn()?;
        Ok((child, Pair { reader, writer }))
    }

    /// Opened anew by their numbers, which needs no `unsafe`.
    fn inherited() -> io::Result<Self::Child> {
        let path = |variable| -> io::Result<String> {
            let number = env::var(variable).map_err(io::Error::other)?;
            Ok(format!("/dev/fd/{number}"))
        };
        Ok(Pair {
            reader: File::open(path(CHILD_READS)?)?,
            writer: OpenOptions::new().write(true).open(path(CHILD_WRITES)?)?,
        })
    }
}
