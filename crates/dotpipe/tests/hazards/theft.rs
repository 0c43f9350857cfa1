//! Names that are taken from a server that waits. Real .NET does so in `interop/tests/ownership.rs`.

use std::fs;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;

use dotpipe::{ErrorKind, NamedPipeServerStream, Result};
use dotpipe_testkit::{limit, pipe_folder};

use crate::kit::{Pending, client, error_of, name_in, nothing_left, says, server};
use crate::puppet::Puppet;

fn waiting(name: &str) -> (Arc<NamedPipeServerStream>, Pending<Result<()>>) {
    let server = Arc::new(server(name));
    let there = Arc::clone(&server);
    (server, Pending::start(move || there.wait_for_connection()))
}

#[test]
fn a_waiting_server_notices_the_loss_of_its_name() {
    type Loss = fn(&str) -> Option<UnixListener>;
    let losses: [(&str, Loss); 5] = [
        ("removed", |name| {
            fs::remove_file(name).unwrap();
            None
        }),
        ("renamed", |name| {
            fs::rename(name, format!("{name}.away")).unwrap();
            None
        }),
        ("no socket", |name| {
            fs::remove_file(name).unwrap();
            fs::write(name, "").unwrap();
            None
        }),
        ("taken over by this process", |name| {
            fs::remove_file(name).unwrap();
            Some(UnixListener::bind(name).unwrap())
        }),
        ("taken over by this process", |name| {
            let other = format!("{name}.new");
            let listener = UnixListener::bind(&other).unwrap();
            fs::rename(other, name).unwrap();
            Some(listener)
        }),
    ];
    for (how, lose) in losses {
        let folder = pipe_folder();
        let name = name_in(&folder);
        let (server, pending) = waiting(&name);
        let thief = lose(&name);
        says(&error_of(pending.result(), ErrorKind::NameLost), how);
        // It stays lost, also for the next wait, and for one that has a limit.
        error_of(server.wait_for_connection_timeout(limit()), ErrorKind::NameLost);
        drop(server);
        // What is there now is not this server's to remove.
        assert_eq!(
            thief.is_some() || how == "no socket",
            fs::exists(&name).unwrap(),
            "{how}"
        );
        drop(thief);
        let _ = fs::remove_file(&name);
        let _ = fs::remove_file(format!("{name}.away"));
        nothing_left(&folder, &[]);
    }
}

#[test]
fn a_thief_of_another_process_is_named() {
    let folder = pipe_folder();
    let name = name_in(&folder);
    let (server, pending) = waiting(&name);
    let mut thief = Puppet::start();
    let other = folder.path().join("other").display().to_string();
    thief.expect(&format!("create s {other}"));
    fs::rename(other, &name).unwrap();
    let text = error_of(pending.result(), ErrorKind::NameLost);
    says(&text, &format!("taken over by process {} (", thief.pid));
    drop(server);
    UnixStream::connect(&name).unwrap();
}

/// They share the news of their socket's file, and each must get it.
#[test]
fn all_waiting_instances_notice() {
    for _ in 0..5 {
        let folder = pipe_folder();
        let name = name_in(&folder);
        let create = || {
            NamedPipeServerStream::builder(&name)
                .max_number_of_server_instances(-1)
                .create()
                .unwrap()
        };
        let waiting: Vec<_> = (0..16)
            .map(|_| {
                let server = create();
                Pending::start(move || server.wait_for_connection())
            })
            .collect();
        fs::remove_file(&name).unwrap();
        for pending in waiting {
            error_of(pending.result(), ErrorKind::NameLost);
        }
        nothing_left(&folder, &[]);
    }
}

#[test]
fn clients_that_were_queued_before_the_theft_are_served() {
    let folder = pipe_folder();
    let name = name_in(&folder);
    let server = server(&name);
    let clients = [client(&name), client(&name)];
    fs::remove_file(&name).unwrap();
    for _ in &clients {
        server.wait_for_connection().unwrap();
        server.disconnect().unwrap();
    }
    error_of(server.wait_for_connection(), ErrorKind::NameLost);
}

#[test]
fn a_socket_that_is_only_touched_is_not_lost() {
    use std::os::unix::fs::PermissionsExt;
    let folder = pipe_folder();
    let name = name_in(&folder);
    let (server, pending) = waiting(&name);
    for mode in [0o666, 0o600, 0o660] {
        fs::set_permissions(&name, fs::Permissions::from_mode(mode)).unwrap();
    }
    // A second name of the same file, and its removal.
    fs::hard_link(&name, format!("{name}.link")).unwrap();
    fs::remove_file(format!("{name}.link")).unwrap();
    let _client = client(&name);
    pending.result().unwrap();
    drop(server);
    nothing_left(&folder, &[]);
}

#[test]
fn a_name_that_comes_back_is_as_before() {
    let folder = pipe_folder();
    let name = name_in(&folder);
    let (server, pending) = waiting(&name);
    fs::rename(&name, format!("{name}.away")).unwrap();
    error_of(pending.result(), ErrorKind::NameLost);
    fs::rename(format!("{name}.away"), &name).unwrap();
    let again = Pending::start(move || server.wait_for_connection().map(|()| server));
    let _client = client(&name);
    drop(again.result().unwrap());
    nothing_left(&folder, &[]);
}

#[test]
fn the_name_can_be_had_again_once_it_is_free() {
    let folder = pipe_folder();
    let name = name_in(&folder);
    let lost = server(&name);
    fs::remove_file(&name).unwrap();
    error_of(lost.wait_for_connection(), ErrorKind::NameLost);
    lost.close();
    let again = server(&name);
    let _client = client(&name);
    again.wait_for_connection().unwrap();
    drop((lost, again));
    nothing_left(&folder, &[]);
}
