//! What only Windows has, and what it does in its own way. Runs under Wine too, where it can.

#![cfg(windows)]
#![forbid(unsafe_code)]

mod abandoned;
mod access;
mod anonymous;
mod bytes;
mod connecting;
mod dotnet;
mod messages;
mod support;
