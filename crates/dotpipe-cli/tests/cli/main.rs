//! Tests of the command `dotpipe`, each in a folder of pipes of its own.

#![cfg(unix)]
#![forbid(unsafe_code)]

mod anonymous;
mod chat;
mod connect;
mod demo;
mod faults;
mod help;
mod serve;
mod service;
mod setup;
mod signals;
mod terminal;
