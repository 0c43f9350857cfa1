//! What can go wrong around a pipe, done on purpose: strangers, thieves, killed processes, full tables, other namespaces.

#![cfg(target_os = "linux")]

mod anonymous;
mod connecting;
mod ending;
mod killed;
mod kit;
mod locks;
mod namespaces;
mod peers;
mod planted;
mod puppet;
mod races;
mod run_as;
mod shortage;
mod signals;
mod theft;
mod users;

/// Not a test of its own: what a puppet runs. See `puppet.rs`.
#[test]
fn puppet() {
    puppet::dance();
}
