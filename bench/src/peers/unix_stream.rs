//! `unix_stream`: the standard library's stream over a Unix socket. Each `read` and `write` is one bare system call.

use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use crate::peer::NamedPeer;

#[derive(Clone, Copy, Debug)]
pub(super) struct UnixStreamPeer;

impl NamedPeer for UnixStreamPeer {
    type Server = UnixListener;
    type Connection = UnixStream;
    type Client = UnixStream;

    const NAME: &'static str = "unix_stream";

    fn bind(path: &Path) -> io::Result<UnixListener> {
        UnixListener::bind(path)
    }

    fn serve_one<R>(listener: &mut UnixListener, work: impl FnOnce(&mut UnixStream) -> io::Result<R>) -> io::Result<R> {
        work(&mut listener.accept()?.0)
    }

    fn connect(path: &Path) -> io::Result<UnixStream> {
        UnixStream::connect(path)
    }
}
