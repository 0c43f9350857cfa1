//! Node's `net` on the same path.

use dotpipe::PipeDirection::{In, InOut, Out};
use dotpipe_interop::exchange::{SIZES, serve, with_their_client, with_their_clients_at_once, with_their_server};
use dotpipe_interop::node;
use dotpipe_interop::pattern::{end, pull, push};
use dotpipe_testkit::{Process, limit, pipe_folder};

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

/// A peer that ends its writing side still gets everything that we write after that.
#[test]
fn half_a_connection_still_carries() {
    let Some(peer) = node() else { return };
    let folder = pipe_folder();
    let server = serve(folder.path(), "half", InOut);
    let client = Process::start(peer.client(folder.path(), "half").arg("--do=push:10+half"));
    server.wait_for_connection_timeout(limit()).unwrap();
    pull(&server, 10).unwrap();
    end(&server).unwrap();
    push(&server, 3_000_000).unwrap();
    server.disconnect().unwrap();
    assert!(
        client
            .finish()
            .expect_success()
            .stderr
            .contains("ended after 3000000 bytes")
    );
}
