//! `dotpipe_raw`: dotpipe's named pipe over the socket that every program can reach, .NET's included.

use std::io;
use std::path::Path;

use dotpipe::{NamedPipeClientStream, NamedPipeServerStream};

use crate::peer::{Baseline, NamedPeer};

#[derive(Clone, Copy, Debug)]
pub(super) struct DotpipeRaw;

impl NamedPeer for DotpipeRaw {
    type Server = NamedPipeServerStream;
    type Connection = NamedPipeServerStream;
    type Client = NamedPipeClientStream;

    const NAME: &'static str = "dotpipe_raw";
    const BASELINE: Option<Baseline> = Some(Baseline {
        peer: "unix_stream",
        gate: Some(super::GATE),
    });

    fn bind(path: &Path) -> io::Result<NamedPipeServerStream> {
        Ok(NamedPipeServerStream::new(path)?)
    }

    /// One server object serves all clients, as in .NET: it disconnects from one and waits for the next.
    fn serve_one<R>(
        server: &mut NamedPipeServerStream,
        work: impl FnOnce(&mut NamedPipeServerStream) -> io::Result<R>,
    ) -> io::Result<R> {
        server.wait_for_connection()?;
        let result = work(server)?;
        server.disconnect()?;
        Ok(result)
    }

    fn connect(path: &Path) -> io::Result<NamedPipeClientStream> {
        let client = NamedPipeClientStream::new(path)?;
        client.connect()?;
        Ok(client)
    }
}
