//! Python's `socket` on the same path: a peer that knows nothing of pipes.

use std::thread;

use dotpipe::PipeDirection::{In, InOut, Out};
use dotpipe_interop::exchange::{
    self, SIZES, connect, serve, with_their_client, with_their_clients_at_once, with_their_server,
};
use dotpipe_interop::pattern::{end, pull, push};
use dotpipe_interop::python;
use dotpipe_testkit::{Process, limit, pipe_folder};

#[test]
fn our_server_sends() {
    python().inspect(|peer| with_their_client(peer, Out, &SIZES));
}

#[test]
fn our_server_receives() {
    python().inspect(|peer| with_their_client(peer, In, &SIZES));
}

#[test]
fn our_server_does_both_at_once() {
    python().inspect(|peer| with_their_client(peer, InOut, &SIZES));
}

#[test]
fn our_client_sends() {
    python().inspect(|peer| with_their_server(peer, Out, &SIZES));
}

#[test]
fn our_client_receives() {
    python().inspect(|peer| with_their_server(peer, In, &SIZES));
}

#[test]
fn our_client_does_both_at_once() {
    python().inspect(|peer| with_their_server(peer, InOut, &SIZES));
}

#[test]
fn eight_clients_at_once() {
    python().inspect(|peer| with_their_clients_at_once(peer, 8));
}

#[test]
fn half_a_connection_still_carries() {
    python().inspect(exchange::half_a_connection_still_carries);
}

/// A stream of one direction shuts the other down, which every kind of peer can see.
#[test]
fn a_direction_is_visible_to_the_peer() {
    let Some(peer) = python() else { return };
    let folder = pipe_folder();
    let mut server = Process::start(peer.server(folder.path(), "oneway").arg("--do=end+push:10"));
    server.wait_for_stderr("listening");
    let client = connect(folder.path(), "oneway", In);
    server.wait_for_stderr("ended after 0 bytes");
    pull(&client, 10).unwrap();
    end(&client).unwrap();
    server.finish().expect_success();
}

/// Many short connections one after the other: none is lost, none is served twice.
#[test]
fn three_hundred_connections_in_a_row() {
    const ROUNDS: usize = 300;
    let Some(peer) = python() else { return };
    let folder = pipe_folder();
    let server = serve(folder.path(), "many", InOut);
    let mut clients = peer.client(folder.path(), "many");
    let clients = Process::start(clients.args(["--clients=3", "--rounds=100", "--do=push:7+pull:7"]));
    let serving = thread::spawn(move || {
        for round in 0..ROUNDS {
            server
                .wait_for_connection_timeout(limit())
                .unwrap_or_else(|error| panic!("round {round}: {error}"));
            pull(&server, 7).unwrap();
            push(&server, 7).unwrap();
            end(&server).unwrap();
            server.disconnect().unwrap();
        }
    });
    serving.join().unwrap();
    assert_eq!(
        clients.finish().expect_success().stderr.matches("pulled 7").count(),
        ROUNDS
    );
}
