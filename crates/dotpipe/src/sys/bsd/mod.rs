//! What macOS and the BSDs have where Linux has something else.
//!
//! What they do not have at all is said here by `None` and [`Unsupported`](std::io::ErrorKind::Unsupported), for which the
//! layers above have another way: no table of sockets (a probe connects), no watched folder (a look now and then).

mod notify;
mod peer;
mod process;
mod run_as;
mod socket_table;

pub(crate) use notify::*;
pub(crate) use peer::*;
pub(crate) use process::*;
pub(crate) use run_as::*;
pub(crate) use socket_table::*;
