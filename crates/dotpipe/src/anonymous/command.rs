//! Handing the client handle to exactly one child.

use std::process::Command;
use std::sync::Arc;

use super::AnonymousPipeServerStream;
use crate::sys;

/// What dotpipe adds to [`std::process::Command`].
pub trait CommandExt {
    /// Lets the processes that this command starts inherit the client handle of `server`, under its own number.
    ///
    /// The handle is close-on-exec everywhere else: it is opened up in the new process alone, between `fork` and `exec`,
    /// so that no other child of this process gets it, whatever other threads start meanwhile. Starting the command
    /// after the server's `dispose_local_copy_of_client_handle` fails.
    ///
    /// On Windows std's command has no list of handles: the handle becomes inheritable with this call, for every child that
    /// is started before the local copy is disposed of, and a command started after that finds no handle.
    fn inherit_client_handle(&mut self, server: &AnonymousPipeServerStream) -> &mut Self;
}

impl CommandExt for Command {
    fn inherit_client_handle(&mut self, server: &AnonymousPipeServerStream) -> &mut Self {
        let client = Arc::downgrade(server.client());
        sys::before_exec(self, move || {
            // A reference held here would keep the handle open for as long as the command lives, and its reader waiting.
            client
                .upgrade()
                .map_or_else(|| Err(sys::bad_descriptor()), |client| client.keep_through_exec())
        });
        self
    }
}
