//! Acting as the client, on one thread.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::mpsc;
use std::thread;

use dotpipe::{ErrorKind, NamedPipeServerStream, PipeSecurity};
use dotpipe_testkit::{TempDir, limit, skip};

use crate::kit::{ALICE, MALLORY, error_of, name_in, open_folder, says};
use crate::puppet::Puppet;

/// What the kernel says of one thread.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rights {
    /// Real, effective, saved and file system's.
    uids: Vec<u32>,
    gids: Vec<u32>,
    groups: Vec<u32>,
    effective: u64,
    permitted: u64,
}

impl Rights {
    fn of(thread: &str) -> Self {
        let status = fs::read_to_string(format!("/proc/self/task/{thread}/status")).unwrap();
        let line = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
            line.trim_start_matches(':').trim().to_owned()
        };
        let numbers = |key: &str| {
            line(key)
                .split_whitespace()
                .map(|number| number.parse().unwrap())
                .collect()
        };
        Self {
            uids: numbers("Uid"),
            gids: numbers("Gid"),
            groups: numbers("Groups"),
            effective: u64::from_str_radix(&line("CapEff"), 16).unwrap(),
            permitted: u64::from_str_radix(&line("CapPrm"), 16).unwrap(),
        }
    }

    fn own() -> Self {
        Self::of(&rustix::thread::gettid().as_raw_nonzero().to_string())
    }

    fn of_all_others() -> BTreeMap<String, Self> {
        let own = rustix::thread::gettid().as_raw_nonzero().to_string();
        let tasks = fs::read_dir("/proc/self/task").unwrap();
        tasks
            .map(|task| task.unwrap().file_name().into_string().unwrap())
            .filter(|task| *task != own)
            .map(|task| (task.clone(), Self::of(&task)))
            .collect()
    }
}

/// Run by puppets: what a server there can do as its client.
pub(crate) fn act(server: &NamedPipeServerStream, what: &[&str]) -> dotpipe::Result<String> {
    let mut ran = false;
    let result = server.run_as_client(|| {
        ran = true;
        match what {
            ["ids"] => format!("{:?}", Rights::own()),
            ["read", path] => format!("{:?}", fs::read_to_string(path).map_err(|error| error.kind())),
            _ => panic!("no such act"),
        }
    });
    match result {
        Ok(text) => Ok(format!("{text} then {:?}", Rights::own())),
        Err(error) => {
            assert!(!ran, "it ran without the client's rights");
            Err(error)
        }
    }
}

/// A server of root, connected with a client of Alice's.
fn connected() -> Option<(TempDir, NamedPipeServerStream, Puppet)> {
    let folder = open_folder(true)?;
    let name = name_in(&folder);
    let server = NamedPipeServerStream::builder(&name)
        .security(PipeSecurity::everyone())
        .create()
        .unwrap();
    let options = [
        format!("--reuid={ALICE}"),
        format!("--regid={ALICE}"),
        "--groups=61001,61002".to_owned(),
    ];
    let mut client = Puppet::under_as_user(&options, folder.path());
    client.expect(&format!("client c {name} 10000"));
    server.wait_for_connection_timeout(limit()).unwrap();
    Some((folder, server, client))
}

#[test]
fn this_thread_alone_takes_the_clients_rights_and_gives_them_back() {
    let Some(folder) = open_folder(true) else { return };
    let name = name_in(&folder);
    // In a process of its own, where no other test acts as its client at the same time.
    let mut server = Puppet::start();
    server.expect(&format!("create s {name} access=everyone"));
    let options = [
        format!("--reuid={ALICE}"),
        format!("--regid={ALICE}"),
        "--groups=61001,61002".to_owned(),
    ];
    let mut client = Puppet::under_as_user(&options, folder.path());
    server.tell("wait s");
    client.expect(&format!("client c {name} 10000"));
    assert_eq!(server.answer(), "ok");
    server.expect(&format!("act-alone-as-client s {}", folder.path().display()));
}

/// Run by a puppet of root whose client is Alice.
pub(crate) fn act_alone(server: &NamedPipeServerStream, folder: &Path) {
    let secret = folder.join("secret");
    fs::write(&secret, "root's").unwrap();
    fs::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();

    // A thread that is there all the time, and looks at its own rights while the other acts.
    let (ask, asked) = mpsc::channel::<()>();
    let (tell, told) = mpsc::channel();
    let neighbour = thread::spawn(move || {
        for () in asked {
            tell.send(Rights::own()).unwrap();
        }
    });
    let before = Rights::own();
    let made = folder.join("made");
    let (own, others, neighbours, read) = server
        .run_as_client(|| {
            ask.send(()).unwrap();
            fs::write(&made, "").unwrap();
            (
                Rights::own(),
                Rights::of_all_others(),
                told.recv().unwrap(),
                fs::read(&secret),
            )
        })
        .unwrap();
    let as_client = Rights {
        // The real ones stay, so that the client cannot signal this process.
        uids: vec![0, ALICE, 0, ALICE],
        gids: vec![0, ALICE, 0, ALICE],
        groups: vec![61_001, 61_002],
        effective: 0,
        permitted: before.permitted,
    };
    assert_eq!(own, as_client);
    assert_eq!(neighbours, before);
    assert!(!others.is_empty());
    for (thread, rights) in others {
        assert_eq!(rights, before, "thread {thread} has changed, too");
    }
    assert_eq!(read.unwrap_err().kind(), std::io::ErrorKind::PermissionDenied);
    assert_eq!(fs::metadata(made).unwrap().uid(), ALICE);
    assert_eq!(Rights::own(), before);
    assert_eq!(fs::read(&secret).unwrap(), b"root's");
    drop(ask);
    neighbour.join().unwrap();
}

#[test]
fn a_panic_gives_the_rights_back() {
    let Some((_folder, server, _client)) = connected() else {
        return;
    };
    let before = Rights::own();
    let panic = catch_unwind(AssertUnwindSafe(|| {
        server.run_as_client(|| {
            assert_eq!(Rights::own().uids[1], ALICE);
            std::panic::resume_unwind(Box::new("on purpose"));
        })
    }));
    assert_eq!(panic.unwrap_err().downcast_ref::<&str>(), Some(&"on purpose"));
    assert_eq!(Rights::own(), before);
}

#[test]
fn a_thread_started_inside_keeps_the_clients_rights() {
    let Some((_folder, server, _client)) = connected() else {
        return;
    };
    let inside = server
        .run_as_client(|| {
            let (go, wait) = mpsc::channel::<()>();
            let thread = thread::spawn(move || {
                let _ = wait.recv();
                Rights::own()
            });
            (go, thread)
        })
        .unwrap();
    let (go, thread) = inside;
    drop(go);
    let rights = thread.join().unwrap();
    assert_eq!((rights.uids[1], rights.effective), (ALICE, 0));
}

#[test]
fn acting_as_the_client_again_and_again_leaks_nothing() {
    let Some((_folder, server, _client)) = connected() else {
        return;
    };
    let before = Rights::own();
    for _ in 0..200 {
        assert_eq!(server.run_as_client(|| Rights::own().uids[1]).unwrap(), ALICE);
        // Inside each other: as the client it is the client already.
        let nested = server.run_as_client(|| server.run_as_client(|| Rights::own().uids[1]));
        assert_eq!(nested.unwrap().unwrap(), ALICE);
    }
    assert_eq!(Rights::own(), before);
}

#[test]
fn without_the_right_to_it_nothing_is_run() {
    let Some(folder) = open_folder(true) else { return };
    let name = name_in(&folder);
    let mut alice = Puppet::of_user(ALICE, folder.path());
    alice.expect(&format!("create s {name} access=everyone"));
    let mut mallory = Puppet::of_user(MALLORY, folder.path());
    alice.tell("wait s");
    mallory.expect(&format!("client c {name} 10000 any"));
    assert_eq!(alice.answer(), "ok");
    let text = alice.expect_error("act-as-client s ids", ErrorKind::UnauthorizedAccess);
    says(&text, "CAP_SETUID");
    says(&text, &format!("user '{MALLORY}'"));
    alice.expect("disconnect s");
    // As itself it needs no right.
    alice.tell("wait s");
    let mut own = Puppet::of_user(ALICE, folder.path());
    own.expect(&format!("client c {name} 10000"));
    assert_eq!(alice.answer(), "ok");
    says(
        &alice.expect("act-as-client s ids"),
        &format!("uids: [{ALICE}, {ALICE}, {ALICE}, {ALICE}]"),
    );
    error_of(
        crate::kit::server(&format!("{name}2")).run_as_client(|| ()),
        ErrorKind::InvalidOperation,
    );
}

/// With capabilities but another user than root, the kernel takes none of them away at a change of user.
#[test]
fn a_service_with_capabilities_lays_them_down() {
    let Some(folder) = open_folder(true) else { return };
    let capabilities = "+setuid,+setgid,+dac_override,+kill";
    let options = [
        format!("--reuid={ALICE}"),
        format!("--regid={ALICE}"),
        "--clear-groups".to_owned(),
        format!("--inh-caps={capabilities}"),
        format!("--ambient-caps={capabilities}"),
    ];
    let probe = std::process::Command::new("setpriv")
        .args(&options)
        .arg("true")
        .status()
        .unwrap();
    if !probe.success() {
        return skip("ambient capabilities", "setpriv cannot give them here");
    }
    let name = name_in(&folder);
    let secret = folder.path().join("secret");
    fs::write(&secret, "root's").unwrap();
    fs::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();
    let mut service = Puppet::under_as_user(&options, folder.path());
    service.expect(&format!("create s {name} access=everyone"));
    let mut mallory = Puppet::of_user(MALLORY, folder.path());
    service.tell("wait s");
    mallory.expect(&format!("client c {name} 10000 any"));
    assert_eq!(service.answer(), "ok");
    let ids = service.expect("act-as-client s ids");
    let (inside, after) = ids.split_once(" then ").unwrap();
    says(inside, &format!("uids: [{ALICE}, {MALLORY}, {ALICE}, {MALLORY}]"));
    says(inside, "groups: [], effective: 0,");
    let set = (1 << 1) | (1 << 5) | (1 << 6) | (1 << 7);
    says(after, &format!("uids: [{ALICE}, {ALICE}, {ALICE}, {ALICE}]"));
    says(after, &format!("effective: {set}, permitted: {set}"));
    // CAP_DAC_OVERRIDE would open it.
    let read = service.expect(&format!("act-as-client s read {}", secret.display()));
    says(&read, "Err(PermissionDenied)");
}
