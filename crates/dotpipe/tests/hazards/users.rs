//! Who may connect to whom, between real users.

use std::fs;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use dotpipe::{ErrorKind, NamedPipeClientStream, NamedPipeServerStream, PipeOptions, PipeSecurity};
use dotpipe_testkit::{TempDir, eventually, limit};

use crate::kit::{ALICE, MALLORY, client, error_of, name_in, nothing_left, open_folder, private_folder_of, says};
use crate::puppet::Puppet;

/// Groups of nobody else.
const STAFF: u32 = 61_001;
const GUESTS: u32 = 61_002;

fn of_groups(uid: u32, gid: u32, groups: &str, folder: &TempDir) -> Puppet {
    let options = [
        format!("--reuid={uid}"),
        format!("--regid={gid}"),
        format!("--groups={groups}"),
    ];
    Puppet::under_as_user(&options, folder.path())
}

#[test]
fn by_default_only_the_servers_own_user_and_root_connect() {
    let Some(folder) = open_folder(true) else { return };
    let name = name_in(&folder);
    let mut alice = Puppet::of_user(ALICE, folder.path());
    let mut mallory = Puppet::of_user(MALLORY, folder.path());
    alice.expect(&format!("create s {name}"));

    // The kernel keeps her out, and the text says whose pipe it is.
    let text = mallory.expect_error(&format!("client c {name} 10000 any"), ErrorKind::UnauthorizedAccess);
    says(&text, &format!("user '{ALICE}'"));
    says(&text, &format!("has not let user '{MALLORY}' in"));

    alice.tell("wait s");
    let mut own = Puppet::of_user(ALICE, folder.path());
    own.expect(&format!("client c {name} 10000"));
    assert_eq!(alice.answer(), "ok");
    alice.expect("disconnect s");
    // Root, who serves and is served.
    alice.tell("wait s");
    let root = NamedPipeClientStream::builder(&name)
        .any_server_user()
        .create()
        .unwrap();
    root.connect_timeout(limit()).unwrap();
    assert_eq!(alice.answer(), "ok");
    says(&alice.expect("who s"), "user_name: \"root\"");
}

#[test]
fn a_client_refuses_a_server_of_another_user_unless_it_is_root() {
    let Some(folder) = open_folder(true) else { return };
    let name = name_in(&folder);
    let mut alice = Puppet::of_user(ALICE, folder.path());
    let mut mallory = Puppet::of_user(MALLORY, folder.path());
    // She was first, and would read what others send.
    mallory.expect(&format!("create s {name} access=everyone"));
    let text = alice.expect_error(&format!("client c {name} 10000"), ErrorKind::UnauthorizedAccess);
    says(&text, &format!("It belongs to user '{MALLORY}'."));
    let text = alice.expect_error(
        &format!("client c {name} 10000 current-user"),
        ErrorKind::UnauthorizedAccess,
    );
    says(&text, "not owned by the current user");
    // Root is not to be harvested either.
    error_of(
        NamedPipeClientStream::new(&name).unwrap().connect(),
        ErrorKind::UnauthorizedAccess,
    );
    alice.expect(&format!("client c {name} 10000 any"));
    mallory.expect("drop s");

    let _server = NamedPipeServerStream::builder(&name)
        .security(PipeSecurity::everyone())
        .create()
        .unwrap();
    alice.expect(&format!("client d {name} 10000"));
    alice.expect_error(
        &format!("client e {name} 10000 current-user"),
        ErrorKind::UnauthorizedAccess,
    );
}

#[test]
fn current_user_only_keeps_even_root_out() {
    let Some(folder) = open_folder(true) else { return };
    let name = name_in(&folder);
    let mut alice = Puppet::of_user(ALICE, folder.path());
    alice.expect(&format!("create s {name} current-user"));
    alice.tell("wait s");
    // Root passes the mode of the file, so that the server itself must look.
    let mut root = UnixStream::connect(&name).unwrap();
    assert_eq!(root.read(&mut [0]).unwrap(), 0);
    let mut own = Puppet::of_user(ALICE, folder.path());
    own.expect(&format!("client c {name} 10000 current-user"));
    assert_eq!(alice.answer(), "ok");
    says(&alice.expect("who s"), &format!("uid: {ALICE}"));
}

#[test]
fn a_pipe_security_lets_exactly_those_in_whom_it_names() {
    let Some(folder) = open_folder(true) else { return };
    let name = name_in(&folder);
    let others = format!("{GUESTS}");
    let member = format!("{STAFF},{GUESTS}");
    // A user, the main group, the supplementary groups; and which rules admit it.
    let clients = [
        (MALLORY, MALLORY, others.as_str(), vec!["everyone", "user:54322"]),
        (
            MALLORY,
            STAFF,
            others.as_str(),
            vec!["everyone", "user:54322", "group:61001"],
        ),
        (
            54_323,
            54_323,
            member.as_str(),
            vec!["everyone", "group:61001", "user:54323,group:5"],
        ),
        (54_323, MALLORY, "61003", vec!["everyone", "user:54323,group:5"]),
        (65_534, 65_534, "61003", vec!["everyone", "group:5,user:65534"]),
    ];
    let mut alice = Puppet::of_user(ALICE, folder.path());
    for access in [
        "current-user",
        "everyone",
        "user:54322",
        "group:61001",
        "user:54323,group:5",
        "group:5,user:65534",
    ] {
        alice.expect(&format!("create s {name} access={access}"));
        for (uid, gid, groups, admitted_by) in &clients {
            let mut client = of_groups(*uid, *gid, groups, &folder);
            let connect = format!("client c {name} 10000 any");
            if access == "current-user" {
                client.expect_error(&connect, ErrorKind::UnauthorizedAccess);
                continue;
            }
            alice.tell("wait s");
            client.expect(&connect);
            if admitted_by.contains(&access) {
                assert_eq!(alice.answer(), "ok", "{access} {uid}");
                let who = alice.expect("who s");
                says(
                    &who,
                    &format!("uid: {uid}, gid: {gid}, groups: [{}]", groups.replace(',', ", ")),
                );
                says(&who, &format!("pid: Some({})", client.pid));
            } else {
                // A plain end, also for one who has written something already.
                let _ = client.ask("write c 1000");
                assert_eq!(client.expect("read c 1"), "ok 0", "{access} {uid}");
                // The server goes on waiting.
                let mut own = Puppet::of_user(ALICE, folder.path());
                own.expect(&format!("client c {name} 10000"));
                assert_eq!(alice.answer(), "ok", "{access} {uid}");
                says(&alice.expect("who s"), &format!("uid: {ALICE}"));
            }
            alice.expect("disconnect s");
        }
        alice.expect("drop s");
    }
    nothing_left(&folder, &["puppet", &format!(".dotpipe-{ALICE}")]);
    assert!(
        fs::read_dir(private_folder_of(&folder, ALICE))
            .unwrap()
            .next()
            .is_none()
    );
}

#[test]
fn strangers_that_knock_all_the_time_keep_nobody_out() {
    let Some(folder) = open_folder(true) else { return };
    let name = name_in(&folder);
    let mut alice = Puppet::of_user(ALICE, folder.path());
    alice.expect(&format!("create s {name} access=user:{ALICE}"));
    let mut strangers: Vec<_> = (0..2).map(|_| Puppet::of_user(MALLORY, folder.path())).collect();
    for stranger in &mut strangers {
        stranger.tell(&format!("& knock {name}"));
        eventually("she knocks", || stranger.ask("knocks") != "0");
    }
    // A limit holds however many there are.
    alice.expect_error("wait s 100", ErrorKind::TimedOut);
    alice.expect_error("wait s 0", ErrorKind::TimedOut);
    let mut own = Puppet::of_user(ALICE, folder.path());
    for _ in 0..50 {
        alice.tell("wait s");
        own.expect(&format!("client c {name} 10000"));
        assert_eq!(alice.answer(), "ok");
        says(&alice.expect("who s"), &format!("uid: {ALICE}"));
        alice.expect("disconnect s");
        own.expect("drop c");
    }
}

#[test]
fn all_instances_of_a_name_share_its_access_rule() {
    let Some(folder) = open_folder(true) else { return };
    let name = name_in(&folder);
    let builder = || NamedPipeServerStream::builder(&name).max_number_of_server_instances(-1);
    let _first = builder().create().unwrap();
    error_of(
        builder().security(PipeSecurity::everyone()).create(),
        ErrorKind::UnauthorizedAccess,
    );
    error_of(
        builder().options(PipeOptions::CURRENT_USER_ONLY).create(),
        ErrorKind::UnauthorizedAccess,
    );
    drop(builder().create().unwrap());
}

#[test]
fn the_identity_is_known_at_once_and_stays_known() {
    let Some(folder) = open_folder(true) else { return };
    let name = name_in(&folder);
    let server = NamedPipeServerStream::builder(&name)
        .security(PipeSecurity::everyone())
        .create()
        .unwrap();
    let mut client = of_groups(MALLORY, STAFF, "61002,61003", &folder);
    client.expect(&format!("client c {name} 10000 any"));
    server.wait_for_connection_timeout(limit()).unwrap();
    let who = server.client_identity().unwrap();
    assert_eq!(
        (who.uid(), who.gid(), who.groups()),
        (Some(MALLORY), Some(STAFF), &[GUESTS, 61_003][..])
    );
    assert_eq!((who.pid(), who.user_name()), (Some(client.pid), "54322"));
    let program = fs::read_link(format!("/proc/{}/exe", client.pid)).unwrap();
    assert_eq!(who.program(), Some(program.as_path()));
    client.kill();
    // The number may be another process's by now, so that no program is told.
    let after = server.client_identity().unwrap();
    assert_eq!((after.uid(), after.program()), (Some(MALLORY), None));
}

#[test]
fn a_refusal_stops_no_other_instance() {
    let Some(folder) = open_folder(true) else { return };
    let name = name_in(&folder);
    let security = PipeSecurity::current_user().allow_user(ALICE);
    let create = || {
        let builder = NamedPipeServerStream::builder(&name).max_number_of_server_instances(-1);
        builder.security(security.clone()).create().unwrap()
    };
    let stop = Arc::new(AtomicBool::new(false));
    let servers: Vec<_> = (0..4)
        .map(|_| {
            let (server, stop) = (create(), Arc::clone(&stop));
            thread::spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    server.wait_for_connection_timeout(limit()).unwrap();
                    server.disconnect().unwrap();
                }
            })
        })
        .collect();
    let mut mallory = Puppet::of_user(MALLORY, folder.path());
    for _ in 0..100 {
        mallory.expect(&format!("client c {name} 10000 any"));
        assert_eq!(mallory.expect("read c 1"), "ok 0");
        assert_eq!((&client(&name)).read(&mut [0]).unwrap(), 0);
    }
    stop.store(true, Ordering::SeqCst);
    for server in servers {
        // Each that still waits needs one more client to see that it is over.
        eventually("a server ends", || {
            let client = NamedPipeClientStream::new(&name).unwrap();
            if client.connect_timeout(Duration::ZERO).is_ok() {
                let _ = (&client).read(&mut [0]);
            }
            server.is_finished()
        });
        server.join().unwrap();
    }
}
