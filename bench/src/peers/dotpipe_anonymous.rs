//! `dotpipe_anonymous`: two of dotpipe's anonymous pipes, one a direction, since each has only one.

use std::env;
use std::io;
use std::process::{Child, Command};

use dotpipe::{AnonymousPipeClientStream, AnonymousPipeServerStream, CommandExt, PipeDirection};

use crate::peer::{AnonymousPeer, Baseline, Pair};

/// The environment variables by which the child learns its handles.
const CHILD_READS: &str = "DOTPIPE_BENCH_CHILD_READS";
const CHILD_WRITES: &str = "DOTPIPE_BENCH_CHILD_WRITES";

#[derive(Clone, Copy, Debug)]
pub(super) struct DotpipeAnonymous;

impl AnonymousPeer for DotpipeAnonymous {
    type Parent = Pair<AnonymousPipeServerStream, AnonymousPipeServerStream>;
    type Child = Pair<AnonymousPipeClientStream, AnonymousPipeClientStream>;

    const NAME: &'static str = "dotpipe_anonymous";
    const BASELINE: Option<Baseline> = Some(Baseline {
        peer: "pipe",
        gate: Some(super::GATE),
    });

    fn spawn(mut command: Command) -> io::Result<(Child, Self::Parent)> {
        let writer = AnonymousPipeServerStream::new(PipeDirection::Out)?;
        let reader = AnonymousPipeServerStream::new(PipeDirection::In)?;
        let child = command
            .env(CHILD_READS, writer.get_client_handle_as_string())
            .env(CHILD_WRITES, reader.get_client_handle_as_string())
            .inherit_client_handle(&writer)
            .inherit_client_handle(&reader)
            .spawn()?;
        writer.dispose_local_copy_of_client_handle();
        reader.dispose_local_copy_of_client_handle();
        Ok((child, Pair { reader, writer }))
    }

    fn inherited() -> io::Result<Self::Child> {
        let handle = |variable| env::var(variable).map_err(io::Error::other);
        Ok(Pair {
            reader: AnonymousPipeClientStream::from_handle_string(PipeDirection::In, &handle(CHILD_READS)?)?,
            writer: AnonymousPipeClientStream::from_handle_string(PipeDirection::Out, &handle(CHILD_WRITES)?)?,
        })
    }
}
