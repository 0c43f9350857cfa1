//! What is in the way of a server before it starts, put there by its own user, by root, or by a stranger.

use std::fs::{self, Permissions};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;

use dotpipe::{ErrorKind, NamedPipeServerStream};
use dotpipe_testkit::{pipe_folder, within_limit};
use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::kit::{
    ALICE, MALLORY, client, dead_socket, error_of, lock_file, name_in, nothing_left, open_folder, private_folder,
    private_folder_of, says, server,
};
use crate::puppet::Puppet;

fn make_fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap();
}

/// Creating where `plant` has put something fails at once, in the way that is said, and leaves it untouched.
fn stays(what: &str, plant: impl FnOnce(&Path)) {
    let folder = pipe_folder();
    let name = name_in(&folder);
    plant(name.as_ref());
    let before = fs::symlink_metadata(&name).unwrap();
    let text = within_limit("a creation", {
        let name = name.clone();
        move || error_of(NamedPipeServerStream::new(name), ErrorKind::Io)
    });
    says(&text, what);
    let after = fs::symlink_metadata(&name).unwrap();
    assert_eq!(
        (before.ino(), before.mtime()),
        (after.ino(), after.mtime()),
        "{what} was changed"
    );
    nothing_left(&folder, &["CoreFxPipe_p", "target"]);
}

#[test]
fn nothing_but_a_dead_socket_is_ever_replaced() {
    stays("A folder", |path| fs::create_dir(path).unwrap());
    stays("A regular file", |path| fs::write(path, "precious").unwrap());
    stays("A special file", make_fifo);
    stays("A symbolic link", |path| {
        fs::write(path.with_file_name("target"), "precious").unwrap();
        symlink("target", path).unwrap();
    });
    stays("A symbolic link", |path| {
        dead_socket(path.with_file_name("target"));
        symlink("target", path).unwrap();
    });
    stays("A symbolic link", |path| symlink("nowhere", path).unwrap());
}

#[test]
fn a_dead_socket_is_replaced() {
    let folder = pipe_folder();
    let name = name_in(&folder);
    dead_socket(&name);
    drop((server(&name), client(&name)));
    nothing_left(&folder, &[]);
}

#[test]
fn a_live_socket_of_another_program_is_not_stolen_nor_even_disturbed() {
    let folder = pipe_folder();
    let name = name_in(&folder);
    let listener = UnixListener::bind(&name).unwrap();
    let text = error_of(NamedPipeServerStream::new(&name), ErrorKind::InstancesBusy);
    says(&text, &format!("this process ({})", std::process::id()));
    listener.set_nonblocking(true).unwrap();
    assert_eq!(
        listener.accept().unwrap_err().kind(),
        std::io::ErrorKind::WouldBlock,
        "it saw a connection"
    );
    UnixStream::connect(&name).unwrap();
    drop(listener);
    // Datagrams have no connection to refuse, so that only the kernel's table tells.
    fs::remove_file(&name).unwrap();
    let _datagrams = UnixDatagram::bind(&name).unwrap();
    error_of(NamedPipeServerStream::new(&name), ErrorKind::InstancesBusy);
    nothing_left(&folder, &["CoreFxPipe_p"]);
}

#[test]
fn a_connection_that_outlives_its_server_does_not_keep_the_name() {
    let folder = pipe_folder();
    let name = name_in(&folder);
    let listener = UnixListener::bind(&name).unwrap();
    let _client = UnixStream::connect(&name).unwrap();
    let _connection = listener.accept().unwrap();
    drop(listener);
    drop((server(&name), client(&name)));
    nothing_left(&folder, &[]);
}

/// Each of these stands where the private folder should be.
#[test]
fn a_private_folder_that_is_none_is_refused() {
    type Plant = fn(&Path);
    let plants: [(&str, Plant); 6] = [
        ("not a folder", |path| fs::write(path, "").unwrap()),
        ("not a folder", make_fifo),
        ("not a folder", |path| symlink("/tmp", path).unwrap()),
        ("not a folder", |path| symlink("nowhere", path).unwrap()),
        ("mode 755", |path| fs::create_dir(path).unwrap()),
        ("mode 2770", |path| {
            fs::create_dir(path).unwrap();
            fs::set_permissions(path, Permissions::from_mode(0o2770)).unwrap();
        }),
    ];
    for (why, plant) in plants {
        let folder = pipe_folder();
        let name = name_in(&folder);
        plant(&private_folder(&folder));
        if why == "mode 755" {
            fs::set_permissions(private_folder(&folder), Permissions::from_mode(0o755)).unwrap();
        }
        let text = within_limit("a creation", move || {
            error_of(NamedPipeServerStream::new(name), ErrorKind::UnauthorizedAccess)
        });
        says(&text, why);
        nothing_left(
            &folder,
            &[private_folder(&folder).file_name().unwrap().to_str().unwrap()],
        );
    }
}

#[test]
fn a_folder_link_or_socket_in_the_place_of_the_lock_is_refused() {
    type Plant = fn(&Path);
    let plants: [(&str, Plant); 4] = [
        ("a folder", |path| fs::create_dir(path).unwrap()),
        ("a special file", make_fifo),
        ("a symbolic link", |path| symlink("/etc/passwd", path).unwrap()),
        ("a special file", |path| dead_socket(path)),
    ];
    for (why, plant) in plants {
        let folder = pipe_folder();
        let name = name_in(&folder);
        drop(server(&name));
        plant(&lock_file(&folder));
        let text = within_limit("a creation", {
            let name = name.clone();
            move || error_of(NamedPipeServerStream::new(name), ErrorKind::UnauthorizedAccess)
        });
        says(&text, why);
        assert!(!Path::new(&name).exists());
    }
}

#[test]
fn a_lock_file_of_another_user_is_refused_and_left_alone() {
    let Some(folder) = open_folder(true) else { return };
    let mut alice = Puppet::of_user(ALICE, folder.path());
    let name = name_in(&folder);
    alice.expect(&format!("touch {name}"));
    // Only root can put a file there.
    let lock = private_folder_of(&folder, ALICE).join("CoreFxPipe_p.lock");
    fs::write(&lock, "dotpipe 1\npid 1\n").unwrap();
    fs::set_permissions(&lock, Permissions::from_mode(0o666)).unwrap();
    let text = alice.expect_error(&format!("create s {name}"), ErrorKind::UnauthorizedAccess);
    says(&text, "user 'root'");
    assert!(lock.exists());
}

/// In a sticky folder such as /tmp anybody may make a file first, and only they can remove it.
#[test]
fn a_stranger_who_was_first_in_a_sticky_folder_is_named() {
    let Some(folder) = open_folder(true) else { return };
    let name = name_in(&folder);
    let mut alice = Puppet::of_user(ALICE, folder.path());
    let mut mallory = Puppet::of_user(MALLORY, folder.path());
    let mallorys = format!("user '{MALLORY}'");

    // Her live pipe.
    mallory.expect(&format!("create s {name}"));
    let text = alice.expect_error(&format!("create s {name}"), ErrorKind::InstancesBusy);
    says(&text, &mallorys);
    mallory.expect("drop s");

    // A socket that everybody may connect to, and that is dead.
    dead_socket(&name);
    fs::set_permissions(&name, Permissions::from_mode(0o777)).unwrap();
    std::os::unix::fs::chown(&name, Some(MALLORY), Some(MALLORY)).unwrap();
    let text = alice.expect_error(&format!("create s {name}"), ErrorKind::UnauthorizedAccess);
    says(&text, &mallorys);
    // Root may replace it.
    drop(server(&name));
    assert!(!Path::new(&name).exists());

    // A regular file, a folder.
    fs::write(&name, "").unwrap();
    std::os::unix::fs::chown(&name, Some(MALLORY), Some(MALLORY)).unwrap();
    says(
        &alice.expect_error(&format!("create s {name}"), ErrorKind::Io),
        &mallorys,
    );
    fs::remove_file(&name).unwrap();

    // Alice's own private folder, made by the stranger; and what the folder might be a trap for.
    for mode in [0o700, 0o777] {
        let planted = private_folder_of(&folder, ALICE);
        let _ = fs::remove_dir(&planted);
        fs::create_dir(&planted).unwrap();
        fs::set_permissions(&planted, Permissions::from_mode(mode)).unwrap();
        std::os::unix::fs::chown(&planted, Some(MALLORY), Some(MALLORY)).unwrap();
        let text = alice.expect_error(&format!("create s {name}"), ErrorKind::UnauthorizedAccess);
        says(&text, &mallorys);
        assert!(fs::read_dir(&planted).unwrap().next().is_none());
        fs::remove_dir(&planted).unwrap();
    }
    let target = folder.path().join("alices");
    fs::create_dir(&target).unwrap();
    fs::set_permissions(&target, Permissions::from_mode(0o700)).unwrap();
    std::os::unix::fs::chown(&target, Some(ALICE), Some(ALICE)).unwrap();
    symlink(&target, private_folder_of(&folder, ALICE)).unwrap();
    says(
        &alice.expect_error(&format!("create s {name}"), ErrorKind::UnauthorizedAccess),
        "not a folder",
    );
}

/// In a folder that is not sticky a stranger may even move things away. It must not get her more than that.
#[test]
fn a_stranger_who_moves_the_private_folder_away_gains_nothing() {
    let Some(folder) = open_folder(false) else { return };
    let name = name_in(&folder);
    let mut alice = Puppet::of_user(ALICE, folder.path());
    alice.expect(&format!("create s {name}"));
    let stolen = folder.path().join("stolen");
    fs::rename(private_folder_of(&folder, ALICE), &stolen).unwrap();
    let planted = private_folder_of(&folder, ALICE);
    fs::create_dir(&planted).unwrap();
    fs::set_permissions(&planted, Permissions::from_mode(0o777)).unwrap();
    std::os::unix::fs::chown(&planted, Some(MALLORY), Some(MALLORY)).unwrap();

    let mut second = Puppet::of_user(ALICE, folder.path());
    second.expect_error(&format!("create s {name}"), ErrorKind::UnauthorizedAccess);
    assert!(
        fs::read_dir(&planted).unwrap().next().is_none(),
        "something was made in the stranger's folder"
    );
    fs::remove_dir(&planted).unwrap();
    // Without the lock, the kernel's table still tells that the name lives, and who holds it.
    let text = second.expect_error(&format!("create s {name}"), ErrorKind::InstancesBusy);
    says(&text, &format!("process {}", alice.pid));
    alice.expect("drop s");
    assert!(!Path::new(&name).exists());
    assert!(fs::read_dir(&stolen).unwrap().next().is_none());
}

#[test]
fn the_socket_is_made_under_a_name_with_the_mark() {
    let folder = pipe_folder();
    let name = name_in(&folder);
    let _server = server(&name);
    let stream = UnixStream::connect(&name).unwrap();
    let bound = stream.peer_addr().unwrap().as_pathname().unwrap().to_owned();
    assert!(
        bound.file_name().unwrap().to_str().unwrap().starts_with("dotpipe1-"),
        "{bound:?}"
    );
    let there = fs::symlink_metadata(&name).unwrap();
    assert!(there.file_type().is_socket());
    assert_eq!(there.mode() & 0o777, 0o600);

    // A path too long for the private name beside it is bound by another way, and has the mark as well.
    let deep = folder.path().join("d".repeat(60));
    fs::create_dir(&deep).unwrap();
    let name = deep.join("CoreFxPipe_p");
    let _server = server(name.to_str().unwrap());
    let stream = UnixStream::connect(&name).unwrap();
    let bound = stream.peer_addr().unwrap().as_pathname().unwrap().to_owned();
    assert!(
        bound.file_name().unwrap().to_str().unwrap().starts_with("dotpipe1-"),
        "{bound:?}"
    );
}

#[test]
fn the_umask_does_not_decide_who_may_connect() {
    let folder = pipe_folder();
    let name = name_in(&folder);
    for umask in ["0", "077", "0777"] {
        let mut puppet = Puppet::under(&["sh", "-c", &format!("umask {umask}; exec \"$0\" \"$@\"")]);
        for (options, mode) in [
            ("", 0o600),
            (" access=everyone", 0o666),
            (" access=user:5", 0o666),
            (" current-user", 0o600),
        ] {
            puppet.expect(&format!("create s {name}{options}"));
            assert_eq!(
                fs::symlink_metadata(&name).unwrap().mode() & 0o777,
                mode,
                "{umask}{options}"
            );
            puppet.expect("drop s");
        }
    }
    nothing_left(&folder, &[]);
}
