//! `pipe`: two of the standard library's anonymous pipes. Each `read` and `write` is one bare system call.

use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::AsFd;
use std::process::{Child, Command};

use crate::peer::{AnonymousPeer, Pair};

#[derive(Clone, Copy, Debug)]
pub(super) struct PipePeer;

impl AnonymousPeer for PipePeer {
    type Parent = Pair<PipeReader, PipeWriter>;
    type Child = Pair<PipeReader, PipeWriter>;

    const NAME: &'static str = "pipe";

    /// The child has its ends as stdin and stdout: what the standard library can hand to a child without `unsafe`.
    fn spawn(mut command: Command) -> io::Result<(Child, Self::Parent)> {
        let (to_child, writer) = io::pipe()?;
        let (reader, from_child) = io::pipe()?;
        let child = command.stdin(to_child).stdout(from_child).spawn()?;
        // The command holds this process's copies of the child's ends, and ends here.
        Ok((child, Pair { reader, writer }))
    }

    /// Duplicates, because Rust's stdin and stdout have buffers.
    fn inherited() -> io::Result<Self::Child> {
        Ok(Pair {
            reader: io::stdin().as_fd().try_clone_to_owned()?.into(),
            writer: io::stdout().as_fd().try_clone_to_owned()?.into(),
        })
    }
}
