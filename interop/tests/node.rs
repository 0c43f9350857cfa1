//! Node's `net` on the same path.

use dotpipe::PipeDirection::{In, InOut, Out};
use dotpipe_interop::exchange::{self, SIZES, with_their_client, with_their_clients_at_once, with_their_server};
use dotpipe_interop::node;

#[test]
fn our_server_sends() {
    node().inspect(|peer| with_their_client(peer, Out, &SIZES));
}

#[test]
fn our_server_receives() {
    node().inspect(|peer| with_their_client(peer, In, &SIZES));
}

#[test]
fn our_server_does_both_at_once() {
    node().inspect(|peer| with_their_client(peer, InOut, &SIZES));
}

#[test]
fn our_client_sends() {
    node().inspect(|peer| with_their_server(peer, Out, &SIZES));
}

#[test]
fn our_client_receives() {
    node().inspect(|peer| with_their_server(peer, In, &SIZES));
}

#[test]
fn our_client_does_both_at_once() {
    node().inspect(|peer| with_their_server(peer, InOut, &SIZES));
}

#[test]
fn eight_clients_at_once() {
    node().inspect(|peer| with_their_clients_at_once(peer, 8));
}

#[test]
fn half_a_connection_still_carries() {
    node().inspect(exchange::half_a_connection_still_carries);
}
