//! Servers that want one name at the same moment.

use std::fs::{self, OpenOptions};
use std::sync::{Arc, Barrier};
use std::thread;

use dotpipe::{ErrorKind, NamedPipeServerStream};
use dotpipe_testkit::{limit, pipe_folder};

use crate::kit::{dead_socket, name_in, nothing_left};
use crate::puppet::Puppet;

const ROUNDS: usize = 1000;

/// Every fourth round the name is free, in the others it is a dead socket's, a leftover lock's, or both.
#[test]
fn of_two_processes_that_race_for_a_name_exactly_one_gets_it() {
    let folder = pipe_folder();
    let name = name_in(&folder);
    let lock = crate::kit::lock_file(&folder);
    let mut racers = [Puppet::start(), Puppet::start()];
    let mut won = [0; 2];
    for round in 0..ROUNDS {
        if round % 2 == 1 {
            dead_socket(&name);
        }
        if round % 4 >= 2 {
            fs::write(&lock, "").unwrap();
        }
        for racer in &mut racers {
            racer.tell(&format!("create s {name}"));
        }
        let answers: Vec<String> = racers.iter_mut().map(Puppet::answer).collect();
        let winners: Vec<usize> = (0..2).filter(|&racer| answers[racer] == "ok").collect();
        let &[winner] = winners.as_slice() else {
            panic!("round {round}: {answers:?}")
        };
        let lost = &answers[1 - winner];
        assert!(
            lost.starts_with("error InstancesBusy: All pipe instances are busy."),
            "round {round}: {lost}"
        );
        won[winner] += 1;
        // The winner is the one who is reached.
        racers[winner].serves("s", &name);
        racers[winner].expect("drop s");
    }
    assert!(won.iter().all(|&count| count > 0), "they did not race: {won:?}");
    nothing_left(&folder, &[]);
}

/// Takes and gives up a name again and again; fails if it is anybody else's at the same time. Run by puppets.
pub(crate) fn churn(path: &str, rounds: usize) -> Result<String, Box<dyn std::error::Error>> {
    let claim = format!("{path}.claim");
    let mut owned = 0;
    while owned < rounds {
        match NamedPipeServerStream::new(path) {
            Ok(server) => {
                OpenOptions::new().write(true).create_new(true).open(&claim)?;
                // Only one of them can be reached, and only while it is there.
                let client = dotpipe::NamedPipeClientStream::new(path)?;
                client.connect_timeout(limit())?;
                server.wait_for_connection_timeout(limit())?;
                owned += 1;
                fs::remove_file(&claim)?;
            }
            Err(error) if error.kind() == ErrorKind::InstancesBusy => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(format!("owned {owned}"))
}

#[test]
fn two_processes_never_own_a_name_together() {
    let folder = pipe_folder();
    let name = name_in(&folder);
    let mut racers = [Puppet::start(), Puppet::start(), Puppet::start()];
    for racer in &mut racers {
        racer.tell(&format!("churn {name} 400"));
    }
    for racer in &mut racers {
        assert_eq!(racer.answer(), "owned 400");
    }
    nothing_left(&folder, &[]);
}

#[test]
fn of_threads_that_race_for_a_name_exactly_one_gets_it() {
    let folder = pipe_folder();
    let name = name_in(&folder);
    for _ in 0..200 {
        let barrier = Arc::new(Barrier::new(4));
        let racers: Vec<_> = (0..4)
            .map(|_| {
                let (barrier, name) = (Arc::clone(&barrier), name.clone());
                thread::spawn(move || {
                    barrier.wait();
                    let server = NamedPipeServerStream::new(name);
                    // Nobody gives the name up before all have tried.
                    barrier.wait();
                    server.map(drop).map_err(|error| error.kind())
                })
            })
            .collect();
        let results: Vec<_> = racers.into_iter().map(|racer| racer.join().unwrap()).collect();
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
        assert!(
            results
                .iter()
                .all(|result| matches!(result, Ok(()) | Err(ErrorKind::InstancesBusy))),
            "{results:?}"
        );
    }
    nothing_left(&folder, &[]);
}

/// The next owner is killed and replaced without a pause; the name is never lost for good.
#[test]
fn a_name_survives_the_killing_of_its_owners() {
    let folder = pipe_folder();
    let name = name_in(&folder);
    for _ in 0..20 {
        let mut owner = Puppet::start();
        owner.expect(&format!("create s {name}"));
        owner.serves("s", &name);
        owner.kill();
    }
    drop(crate::kit::server(&name));
    nothing_left(&folder, &[]);
}
