//! The lock file and the private folder, treated badly while a server lives and after it died.

use std::fs;
use std::os::fd::AsFd;
use std::path::Path;

use dotpipe::{ErrorKind, NamedPipeServerStream};
use dotpipe_testkit::pipe_folder;
use rustix::fs::FlockOperation;

use crate::kit::{
    ALICE, client, error_of, lock_file, name_in, names, nothing_left, open_folder, private_folder, private_folder_of,
    says, server,
};
use crate::puppet::Puppet;

#[test]
fn another_process_is_told_who_holds_the_name() {
    let folder = pipe_folder();
    let name = name_in(&folder);
    let mut holder = Puppet::start();
    holder.expect(&format!("create s {name}"));
    let text = error_of(NamedPipeServerStream::new(&name), ErrorKind::InstancesBusy);
    says(&text, "All pipe instances are busy.");
    let program = fs::read_link(format!("/proc/{}/exe", holder.pid)).unwrap();
    says(&text, &format!("process {} ({})", holder.pid, program.display()));
    // It is still served.
    holder.serves("s", &name);
    holder.kill();
    drop(server(&name));
    nothing_left(&folder, &[]);
}

/// The name stays its holder's whatever becomes of the lock file, and who that is can still be said.
#[test]
fn a_lock_file_that_was_damaged_while_serving_gives_no_name_away() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 6] = [
        ("truncated", |lock| fs::write(lock, "").unwrap()),
        ("filled with junk", |lock| fs::write(lock, [0xff; 100_000]).unwrap()),
        ("another format", |lock| fs::write(lock, "dotpipe 99\npid 1\n").unwrap()),
        ("deleted", |lock| fs::remove_file(lock).unwrap()),
        ("renamed", |lock| fs::rename(lock, lock.with_extension("old")).unwrap()),
        ("replaced", |lock| {
            fs::remove_file(lock).unwrap();
            fs::write(lock, "dotpipe 1\npid 1\n").unwrap();
        }),
    ];
    for (what, damage) in damages {
        let folder = pipe_folder();
        let name = name_in(&folder);
        let mut holder = Puppet::start();
        holder.expect(&format!("create s {name} max=-1"));
        damage(&lock_file(&folder));
        for _ in 0..2 {
            let text = error_of(NamedPipeServerStream::new(&name), ErrorKind::InstancesBusy);
            says(&text, &format!("process {}", holder.pid));
        }
        // A further instance of the holder says anew what stands in the lock file.
        holder.expect(&format!("create t {name} max=-1"));
        holder.serves("s", &name);
        holder.expect("drop s");
        holder.expect("drop t");
        assert!(!Path::new(&name).exists(), "{what}");
        // Damage made by renaming leaves what it made.
        let _ = fs::remove_file(lock_file(&folder).with_extension("old"));
        nothing_left(&folder, &[]);
    }
}

#[test]
fn a_lock_file_with_junk_that_nobody_holds_is_taken_over() {
    for junk in [&b""[..], &[0xff; 100_000], b"dotpipe 1\npid 1\n"] {
        let folder = pipe_folder();
        let name = name_in(&folder);
        drop(server(&name));
        fs::write(lock_file(&folder), junk).unwrap();
        let server = server(&name);
        let record = fs::read(lock_file(&folder)).unwrap();
        let start = format!("dotpipe 1\npid {}\n", std::process::id());
        assert!(
            record.starts_with(start.as_bytes()),
            "{:?}",
            String::from_utf8_lossy(&record)
        );
        drop(server);
        nothing_left(&folder, &[]);
    }
}

/// Whoever can read a file can lock it for reading, and thereby keep its owner from locking it for writing.
#[test]
fn a_reader_of_the_lock_file_is_named_and_a_stranger_cannot_be_one() {
    let folder = pipe_folder();
    let name = name_in(&folder);
    let mut dead = Puppet::start();
    dead.expect(&format!("create s {name}"));
    let dead_pid = dead.pid;
    dead.kill();

    let reader = fs::File::open(lock_file(&folder)).unwrap();
    rustix::fs::fcntl_lock(reader.as_fd(), FlockOperation::NonBlockingLockShared).unwrap();
    let mut second = Puppet::start();
    let text = second.expect_error(&format!("create s {name}"), ErrorKind::InstancesBusy);
    says(&text, &format!("process {}", std::process::id()));
    assert!(
        !text.contains(&dead_pid.to_string()),
        "the last holder is blamed: {text}"
    );
    drop(reader);
    second.expect(&format!("create s {name}"));

    let Some(folder) = open_folder(true) else { return };
    let name = name_in(&folder);
    let mut alice = Puppet::of_user(ALICE, folder.path());
    alice.expect(&format!("create s {name} access=everyone"));
    let lock = private_folder_of(&folder, ALICE).join("CoreFxPipe_p.lock");
    let mallory = std::process::Command::new("setpriv")
        .args(["--reuid=54322", "--regid=54322", "--clear-groups", "cat"])
        .arg(lock)
        .output()
        .unwrap();
    assert!(!mallory.status.success() && mallory.stdout.is_empty());
    says(&String::from_utf8_lossy(&mallory.stderr), "Permission denied");
}

#[test]
fn programs_that_clear_out_old_files_leave_a_lock_in_use_alone() {
    let folder = pipe_folder();
    let name = name_in(&folder);
    let mut holder = Puppet::start();
    holder.expect(&format!("create s {name}"));
    // systemd-tmpfiles tries exactly this before it removes a file.
    let lock = fs::File::open(lock_file(&folder)).unwrap();
    assert!(rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err());
    holder.kill();
    rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
    // The holder of such a lock is no owner of the name, however.
    drop(server(&name));
    nothing_left(&folder, &[]);
}

#[test]
fn a_private_folder_removed_while_serving_gives_no_name_away_and_leaves_nothing() {
    let folder = pipe_folder();
    let name = name_in(&folder);
    let mut holder = Puppet::start();
    holder.expect(&format!("create s {name}"));
    fs::remove_dir_all(private_folder(&folder)).unwrap();
    let text = error_of(NamedPipeServerStream::new(&name), ErrorKind::InstancesBusy);
    says(&text, &format!("process {}", holder.pid));
    holder.serves("s", &name);
    holder.expect("drop s");
    nothing_left(&folder, &[]);
    drop(server(&name));

    // And the whole folder of the pipe, with a server that goes before anybody makes the folder again.
    holder.expect(&format!("create s {name}"));
    fs::remove_dir_all(folder.path()).unwrap();
    says(&holder.expect_error("wait s", ErrorKind::NameLost), "removed");
    holder.expect("drop s");
    assert!(!folder.path().exists());
}

#[test]
fn a_lock_of_another_name_is_no_hindrance() {
    let folder = pipe_folder();
    let at = |name: &str| folder.path().join(name).display().to_string();
    // The lock of one is called as the socket of another might be.
    let names_of_pipes = [
        "CoreFxPipe_p",
        "CoreFxPipe_p.lock",
        "CoreFxPipe_p.lock.lock",
        "p",
        "dotpipe1-p",
    ];
    let servers: Vec<_> = names_of_pipes.iter().map(|name| server(&at(name))).collect();
    assert_eq!(names(&private_folder(&folder)).len(), names_of_pipes.len());
    for name in names_of_pipes {
        drop(client(&at(name)));
    }
    drop(servers);
    nothing_left(&folder, &[]);
}

#[test]
fn instances_are_counted_in_every_process() {
    let folder = pipe_folder();
    let name = name_in(&folder);
    let mut holder = Puppet::start();
    holder.expect(&format!("create s0 {name} max=-1"));
    let client = client(&name);
    assert_eq!(client.number_of_server_instances().unwrap(), 1);
    for number in 1..300 {
        holder.expect(&format!("create s{number} {name} max=-1"));
        assert_eq!(client.number_of_server_instances().unwrap(), number + 1);
    }
    for number in 1..300 {
        holder.expect(&format!("drop s{number}"));
    }
    assert_eq!(client.number_of_server_instances().unwrap(), 1);
}

#[test]
fn the_number_of_instances_has_its_range() {
    let folder = pipe_folder();
    let name = name_in(&folder);
    let create = |max| {
        NamedPipeServerStream::builder(&name)
            .max_number_of_server_instances(max)
            .create()
    };
    for max in [0, -2, 255, 300, i32::MAX, i32::MIN] {
        let error = create(max).unwrap_err();
        assert_eq!(
            (error.kind(), error.parameter()),
            (ErrorKind::ArgumentOutOfRange, Some("maxNumberOfServerInstances"))
        );
    }
    nothing_left(&folder, &[]);
    let all: Vec<_> = (0..254).map(|_| create(254).unwrap()).collect();
    says(
        &error_of(create(254), ErrorKind::InstancesBusy),
        "All pipe instances are busy.",
    );
    drop(all);
    nothing_left(&folder, &[]);
}
