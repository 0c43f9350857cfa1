//! What the interop tests share: finding and starting peers that know nothing of dotpipe (real .NET, Python, Node,
//! socat), a pattern of bytes that both sides can check, and the exchanges that every peer must be able to make.

#![forbid(unsafe_code)]

pub mod exchange;
pub mod pattern;
mod peer;

pub use peer::{DOTNET_VERSIONS, Peer, dotnet, node, python, socat};
