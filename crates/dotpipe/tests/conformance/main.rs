//! What .NET's tests of System.IO.Pipes assert, row by row of `docs/conformance.md`.
//!
//! A test's name begins with the ids of the rows that it stands for; the module `table` checks that none is missing.

#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]

mod anonymous;
mod cancel;
mod child;
mod client_ctor;
mod cross_process;
mod forms;
mod lists;
mod pairs;
mod server_ctor;
mod serving;
mod states;
mod streams;
mod support;
mod table;
mod users;
