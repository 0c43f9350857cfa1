//! Waiting for a server: at no cost, until it comes, and no longer than asked for.

use std::fs;
use std::time::{Duration, Instant};

use dotpipe::{ErrorKind, NamedPipeClientStream};
use dotpipe_testkit::{limit, pipe_folder};

use crate::kit::{Pending, dead_socket, error_of, name_in, nothing_left, says, server};
use crate::puppet::Puppet;

fn connecting(name: &str) -> Pending<dotpipe::Result<NamedPipeClientStream>> {
    let name = name.to_owned();
    Pending::start(move || {
        let client = NamedPipeClientStream::new(name).unwrap();
        client.connect().map(|()| client)
    })
}

#[test]
fn a_client_that_waits_is_woken_by_the_server_however_it_comes() {
    let folder = pipe_folder();
    let name = name_in(&folder);
    for round in 0..50 {
        let pending = connecting(&name);
        assert!(pending.goes_on());
        // Other files are no server.
        fs::write(folder.path().join("other"), "").unwrap();
        fs::remove_file(folder.path().join("other")).unwrap();
        // A dead socket that comes first, and is then replaced by exchange, which is no news of a new file.
        if round % 2 == 1 {
            dead_socket(&name);
        }
        let server = server(&name);
        pending.result().unwrap();
        drop(server);
    }
    nothing_left(&folder, &[]);
}

#[test]
fn a_folder_that_does_not_exist_yet_may_still_come() {
    let folder = pipe_folder();
    let name = folder.path().join("later/CoreFxPipe_p").display().to_string();
    let pending = connecting(&name);
    fs::create_dir(folder.path().join("later")).unwrap();
    let _server = server(&name);
    pending.result().unwrap();

    // And one that is removed and made anew while it is watched.
    let name = folder.path().join("again/CoreFxPipe_p").display().to_string();
    fs::create_dir(folder.path().join("again")).unwrap();
    let pending = connecting(&name);
    fs::remove_dir(folder.path().join("again")).unwrap();
    fs::create_dir(folder.path().join("again")).unwrap();
    let again = server(&name);
    pending.result().unwrap();
    drop(again);

    // Or moved away.
    let pending = connecting(&name);
    fs::rename(folder.path().join("again"), folder.path().join("away")).unwrap();
    fs::create_dir(folder.path().join("again")).unwrap();
    let _server = server(&name);
    pending.result().unwrap();
}

#[test]
fn what_was_in_the_way_is_said_when_the_time_is_over() {
    let folder = pipe_folder();
    let name = name_in(&folder);
    let try_for = |limit: u64| {
        let client = NamedPipeClientStream::new(&name).unwrap();
        let start = Instant::now();
        let text = error_of(
            client.connect_timeout(Duration::from_millis(limit)),
            ErrorKind::TimedOut,
        );
        assert!(start.elapsed() >= Duration::from_millis(limit), "it gave up too soon");
        says(&text, "The operation has timed out.");
        text
    };
    for limit in [0, 1, 40] {
        says(&try_for(limit), "No server has created it.");
        dead_socket(&name);
        says(&try_for(limit), "its process has ended");
        fs::remove_file(&name).unwrap();
        fs::write(&name, "").unwrap();
        says(&try_for(limit), "no server listens there");
        fs::remove_file(&name).unwrap();
    }
}

/// Counted in waits of the thread, which no slow machine changes: one that spins makes a hundred thousand.
#[test]
fn to_wait_costs_next_to_nothing() {
    for plant in [
        (|_| {}) as fn(&str),
        |name| dead_socket(name),
        |name| fs::write(name, "").unwrap(),
    ] {
        let folder = pipe_folder();
        let name = name_in(&folder);
        plant(&name);
        let mut puppet = Puppet::start();
        puppet.expect_error(&format!("client c {name} 1000"), ErrorKind::TimedOut);
        let status = fs::read_to_string(format!("/proc/{}/stat", puppet.pid)).unwrap();
        let fields: Vec<&str> = status.rsplit(") ").next().unwrap().split(' ').collect();
        // User and system time of the whole process, in hundredths of a second: start-up included.
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        assert!(ticks <= 5, "{ticks} ticks of the processor for a second of waiting");
        let switches = fs::read_to_string(format!("/proc/{}/status", puppet.pid)).unwrap();
        let waits = switches
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))
            .unwrap();
        let waits: u64 = waits.trim().parse().unwrap();
        assert!(waits < 400, "{waits} waits in a second");
    }
}

#[test]
fn many_clients_wait_for_one_server() {
    let folder = pipe_folder();
    let name = name_in(&folder);
    let pending: Vec<_> = (0..64).map(|_| connecting(&name)).collect();
    let server = server(&name);
    let clients: Vec<_> = pending.into_iter().map(|pending| pending.result().unwrap()).collect();
    for _ in &clients {
        server.wait_for_connection_timeout(limit()).unwrap();
        server.disconnect().unwrap();
    }
}

#[test]
fn a_server_that_is_killed_and_started_again_is_found_again() {
    let folder = pipe_folder();
    let name = name_in(&folder);
    let mut first = Puppet::start();
    first.expect(&format!("create s {name}"));
    first.kill();
    // The dead socket gives no event when it is replaced by an exchange.
    let pending = connecting(&name);
    let mut second = Puppet::start();
    second.expect(&format!("create s {name}"));
    pending.result().unwrap();
}
