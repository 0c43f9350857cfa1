//! To whom a name belongs when dotpipe and real .NET want the same one.
//!
//! .NET takes a name without asking: it removes what is there and binds. That cannot be prevented, but it is noticed; and
//! dotpipe never does the same to .NET.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use dotpipe::{ErrorKind as Kind, NamedPipeClientStream, NamedPipeServerStream, PipeOptions};
use dotpipe_interop::exchange::{Limited, rooted};
use dotpipe_interop::pattern::push;
use dotpipe_interop::{Peer, dotnet};
use dotpipe_testkit::{Process, limit, pipe_folder, within_limit};

/// A .NET server that receives five bytes from one client and ends.
fn listening(peer: &Peer, folder: &Path) -> Process {
    let mut server = Process::start(peer.server(folder, "own").arg("--do=pull:5"));
    server.wait_for_stderr("listening");
    server
}

#[track_caller]
fn connect(name: &Path) -> NamedPipeClientStream {
    let client = NamedPipeClientStream::new(name).unwrap().limited();
    client.connect_timeout(limit()).unwrap();
    client
}

/// The server is reached by its name, and this is its first connection.
#[track_caller]
fn serves(server: Process, name: &Path) {
    push(&connect(name), 5).unwrap();
    let finished = server.finish().expect_success();
    assert_eq!(finished.stderr.matches("connected").count(), 1, "{}", finished.stderr);
}

fn a_live_server_keeps_its_name(peer: &Peer) {
    let folder = pipe_folder();
    let name = rooted(folder.path(), "own");
    let server = listening(peer, folder.path());
    for options in [PipeOptions::NONE, PipeOptions::FIRST_PIPE_INSTANCE] {
        let error = NamedPipeServerStream::builder(&name)
            .options(options)
            .create()
            .unwrap_err();
        let kind = if options == PipeOptions::NONE {
            Kind::InstancesBusy
        } else {
            Kind::UnauthorizedAccess
        };
        assert_eq!(error.kind(), kind);
        let text = error.to_string();
        assert!(
            text.contains(&format!("process {} (", server.pid())) && text.contains("dotnet)"),
            "{text}"
        );
    }
    // It never saw a connection of these.
    serves(server, &name);
}

fn a_dead_servers_name_is_free(peer: &Peer) {
    let folder = pipe_folder();
    let name = rooted(folder.path(), "own");
    let server = listening(peer, folder.path());
    server.signal(9);
    server.finish();
    assert!(Path::new(&name).exists());
    let server = NamedPipeServerStream::new(&name).unwrap();
    let client = connect(&name);
    server.wait_for_connection_timeout(limit()).unwrap();
    drop((client, server));
    assert!(!Path::new(&name).exists());
}

fn a_theft_is_noticed_and_names_the_thief(peer: &Peer) {
    let folder = pipe_folder();
    let name = rooted(folder.path(), "own");
    let server = Arc::new(NamedPipeServerStream::new(&name).unwrap());
    let waiting = thread::spawn({
        let server = Arc::clone(&server);
        move || server.wait_for_connection()
    });
    let thief = listening(peer, folder.path());
    let error = within_limit("a wait of a server that was robbed", move || {
        waiting.join().unwrap().unwrap_err()
    });
    assert_eq!(error.kind(), Kind::NameLost);
    let text = error.to_string();
    assert!(
        text.contains(&format!("taken over by process {} (", thief.pid())),
        "{text}"
    );
    assert!(text.contains("dotnet)"), "{text}");
    // The robbed server's end is not the thief's.
    drop(server);
    serves(thief, &name);
}

/// .NET from 8 on can ask for a name that nobody has, and then keeps its hands off ours.
fn the_first_instance_of_theirs_is_refused_by_ours(peer: &Peer) {
    let folder = pipe_folder();
    let name = rooted(folder.path(), "own");
    let server = NamedPipeServerStream::new(&name).unwrap().limited();
    let refused = Process::start(peer.server(folder.path(), "own").arg("--opts=first")).finish();
    assert_eq!(refused.status.code(), Some(3));
    assert!(
        refused.stderr.contains("UnauthorizedAccessException"),
        "{}",
        refused.stderr
    );
    let _client = connect(&name);
    server.wait_for_connection_timeout(limit()).unwrap();
}

/// Takes and gives up a name as fast as it can. Returns how often it had it, and was robbed of it.
fn churn(name: &Path, stop: &AtomicBool) -> (usize, usize) {
    let (mut owned, mut robbed) = (0, 0);
    while !stop.load(Ordering::SeqCst) {
        match NamedPipeServerStream::new(name) {
            Ok(server) => {
                owned += 1;
                match server.wait_for_connection_timeout(Duration::from_micros(100)) {
                    Err(error) if error.kind() == Kind::TimedOut => {}
                    Err(error) if error.kind() == Kind::NameLost => robbed += 1,
                    other => panic!("{other:?}"),
                }
            }
            Err(error) => assert_eq!(error.kind(), Kind::InstancesBusy, "{error}"),
        }
    }
    (owned, robbed)
}

/// Whatever the moment at which .NET takes the name, it keeps it, and dotpipe has the right error.
fn races(peer: &Peer, rounds: usize) {
    let mut all = (0, 0);
    for round in 0..rounds {
        let folder = pipe_folder();
        let name = rooted(folder.path(), "own");
        let stop = Arc::new(AtomicBool::new(false));
        let racer = thread::spawn({
            let (name, stop) = (name.clone(), Arc::clone(&stop));
            move || churn(&name, &stop)
        });
        let mut server = Process::start(peer.server(folder.path(), "own").arg("--do=pull:5"));
        let outcome = server.wait_for_stderr("");
        stop.store(true, Ordering::SeqCst);
        let (owned, robbed) = racer.join().unwrap();
        all = (all.0 + owned, all.1 + robbed);
        if outcome == "listening" {
            let error = NamedPipeServerStream::new(&name).unwrap_err();
            assert_eq!(error.kind(), Kind::InstancesBusy, "round {round}");
            assert!(
                error.to_string().contains(&format!("process {} (", server.pid())),
                "round {round}: {error}"
            );
            serves(server, &name);
        } else {
            // dotpipe had taken the name between .NET's removal and its own socket.
            assert!(outcome.contains("Address already in use"), "round {round}: {outcome}");
            drop(NamedPipeServerStream::new(&name).unwrap());
        }
        // .NET removes its socket at its end, dotpipe its own: nothing is left but an empty folder.
        let left: Vec<_> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|it| it.unwrap().file_name())
            .collect();
        assert!(
            left.iter().all(|name| name.to_string_lossy().starts_with(".dotpipe-")),
            "{left:?}"
        );
        for private in left {
            assert!(std::fs::read_dir(folder.path().join(private)).unwrap().next().is_none());
        }
    }
    let (owned, robbed) = all;
    assert!(
        owned > rounds && robbed > 0,
        "they hardly met: {owned} times dotpipe had the name, {robbed} times it lost it"
    );
}

macro_rules! with_both {
    ($($test:ident => $call:expr;)*) => {
        mod core31 {
            $(#[test]
            fn $test() {
                if let Some(peer) = super::dotnet("3.1") {
                    $call(&peer);
                }
            })*
        }
        mod net8 {
            $(#[test]
            fn $test() {
                if let Some(peer) = super::dotnet("8") {
                    $call(&peer);
                }
            })*
        }
    };
}

with_both! {
    a_live_server_keeps_its_name => super::a_live_server_keeps_its_name;
    a_dead_servers_name_is_free => super::a_dead_servers_name_is_free;
    a_theft_is_noticed_and_names_the_thief => super::a_theft_is_noticed_and_names_the_thief;
    a_hundred_races_have_one_winner_each => |peer| super::races(peer, 100);
}

#[test]
fn the_first_instance_of_net8_is_refused() {
    if let Some(peer) = dotnet("8") {
        the_first_instance_of_theirs_is_refused_by_ours(&peer);
    }
}
