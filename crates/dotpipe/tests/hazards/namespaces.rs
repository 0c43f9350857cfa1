//! Servers and clients in other namespaces than this process: a container that shares the pipe's folder.

use std::process::{Command, Stdio};

use dotpipe::{ErrorKind, NamedPipeClientStream, NamedPipeServerStream};
use dotpipe_testkit::{limit, skip};

use crate::kit::{
    ALICE, MALLORY, client, error_of, name_in, nothing_left, open_folder, private_folder_of, says, server,
};
use crate::puppet::Puppet;

fn may_unshare(option: &str) -> bool {
    let mut command = Command::new("unshare");
    command
        .args([option, "true"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let may = command.status().is_ok_and(|status| status.success());
    if !may {
        skip(&format!("unshare {option}"), "a new namespace may not be made here");
    }
    may
}

/// The kernel's table of sockets does not show it.
#[test]
fn a_live_server_in_another_network_namespace_is_not_stolen() {
    let Some(folder) = open_folder(false) else { return };
    if !may_unshare("-n") {
        return;
    }
    let name = name_in(&folder);
    let mut far = Puppet::under(&["unshare", "-n"]);
    far.expect(&format!("create s {name}"));
    let text = error_of(NamedPipeServerStream::new(&name), ErrorKind::InstancesBusy);
    says(&text, &format!("process {}", far.pid));

    // Without its lock, only a connection tells that it lives; the server takes it for a client who gave up.
    std::fs::remove_file(crate::kit::lock_file(&folder)).unwrap();
    far.tell("wait s");
    let text = error_of(NamedPipeServerStream::new(&name), ErrorKind::InstancesBusy);
    says(&text, &format!("process {}", far.pid));
    let _client = client(&name);
    assert_eq!(far.answer(), "ok");
    far.expect("drop s");

    // A stranger to dotpipe there, which has no lock at all.
    let mut stranger = Puppet::under(&["unshare", "-n"]);
    stranger.expect(&format!("listen {name}"));
    error_of(NamedPipeServerStream::new(&name), ErrorKind::InstancesBusy);
    stranger.kill();
    // Now it is dead for certain.
    drop(server(&name));
    nothing_left(&folder, &[]);
}

#[test]
fn a_client_in_another_network_namespace_is_served() {
    let Some(folder) = open_folder(false) else { return };
    if !may_unshare("-n") {
        return;
    }
    let name = name_in(&folder);
    let server = server(&name);
    let mut far = Puppet::under(&["unshare", "-n"]);
    far.expect(&format!("client c {name} 10000"));
    server.wait_for_connection_timeout(limit()).unwrap();
    assert_eq!(server.client_identity().unwrap().pid(), Some(far.pid));
}

/// A user without a number in its namespace looks like every other such user there.
#[test]
fn users_that_have_no_number_match_nobody() {
    let Some(folder) = open_folder(true) else { return };
    if !may_unshare("-U") {
        return;
    }
    let name = name_in(&folder);
    let as_user = |uid: u32, more: &[&str]| {
        let mut options = vec![
            format!("--reuid={uid}"),
            format!("--regid={uid}"),
            "--clear-groups".to_owned(),
        ];
        options.extend(more.iter().map(|&word| word.to_owned()));
        Puppet::under_as_user(&options, folder.path())
    };

    // No server without a number: it could not tell its own clients from others.
    let mut nobody = as_user(ALICE, &["unshare", "-U"]);
    let text = nobody.expect_error(
        &format!("create s {name} access=everyone"),
        ErrorKind::UnauthorizedAccess,
    );
    says(&text, "no number in its user namespace");
    assert!(!private_folder_of(&folder, 65534).exists());

    // A server whose own number is the one of its namespace, and a stranger who has none in it.
    let mut mapped = as_user(ALICE, &["unshare", "-U", "--map-current-user"]);
    let mut stranger = as_user(MALLORY, &[]);
    for (access, admitted) in [
        ("user:65534", false),
        ("group:65534", false),
        ("user:0", false),
        ("everyone", true),
    ] {
        mapped.expect(&format!("create s {name} access={access}"));
        mapped.tell("wait s 10000");
        stranger.expect(&format!("client c {name} 10000 any"));
        if admitted {
            assert_eq!(mapped.answer(), "ok", "{access}");
            says(&mapped.expect("who s"), "65534");
        } else {
            // She is refused, and the next client, the server's own user, is served.
            assert_eq!(stranger.expect("read c 1"), "ok 0", "{access}");
            let mut own = as_user(ALICE, &[]);
            own.expect(&format!("client c {name} 10000"));
            assert_eq!(mapped.answer(), "ok", "{access}");
        }
        mapped.expect("drop s");
        stranger.expect("drop c");
    }

    // To act as a user that has no number is not possible.
    mapped.expect(&format!("create s {name} access=everyone"));
    mapped.tell("wait s 10000");
    stranger.expect(&format!("client c {name} 10000 any"));
    assert_eq!(mapped.answer(), "ok");
    mapped.expect_error("act-as-client s ids", ErrorKind::UnauthorizedAccess);
    mapped.expect("drop s");

    // A client there sees every server's user as the same number, root's too.
    let _server = NamedPipeServerStream::builder(&name)
        .security("everyone".parse().unwrap())
        .create()
        .unwrap();
    let text = nobody.expect_error(&format!("client c {name} 1000"), ErrorKind::UnauthorizedAccess);
    says(&text, "neither by the current user nor by root");
    nobody.expect_error(
        &format!("client c {name} 1000 current-user"),
        ErrorKind::UnauthorizedAccess,
    );
    nobody.expect(&format!("client c {name} 1000 any"));
}

/// The number of a process in another process namespace is 0 here, which is nobody's.
#[test]
fn a_process_that_cannot_be_seen_has_no_number() {
    let Some(folder) = open_folder(false) else { return };
    if !may_unshare("-n") {
        return;
    }
    let name = name_in(&folder);
    // The server is in a process namespace of its own; this process is outside of it, and so has no number there.
    let mut inner = Puppet::under(&["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]);
    inner.expect(&format!("create s {name}"));
    inner.tell("wait s");
    let client = NamedPipeClientStream::new(&name).unwrap();
    client.connect_timeout(limit()).unwrap();
    assert_eq!(inner.answer(), "ok");
    let who = inner.expect("who s");
    says(&who, "pid: None");
    says(&who, "program: None");
    inner.expect("drop s");
}
