//! What only Linux has.

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
