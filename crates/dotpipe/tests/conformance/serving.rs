//! Named servers and their clients: for one's own user only, one after another, and several at once.

use std::io::{Read, Write};
use std::sync::Arc;
use std::thread;

use dotpipe::{
    ErrorKind, NamedPipeClientStream, NamedPipeServerBuilder, NamedPipeServerStream, PipeDirection, PipeOptions,
};
use dotpipe_testkit::limit;

use crate::support::{Pending, Place, connected, fails, fails_saying, join, passes, read_byte};
use PipeDirection::{In, InOut};

const OWN: PipeOptions = PipeOptions::CURRENT_USER_ONLY;

fn server(name: &str, options: PipeOptions) -> NamedPipeServerBuilder {
    NamedPipeServerStream::builder(name).options(options)
}

fn client(name: &str, direction: PipeDirection, options: PipeOptions) -> NamedPipeClientStream {
    let builder = NamedPipeClientStream::builder(name)
        .direction(direction)
        .options(options);
    builder.create().unwrap()
}

#[test]
fn c073_a_client_takes_the_option() {
    client("p", InOut, OWN);
}

#[test]
fn c074_a_server_of_two_takes_the_option() {
    let place = Place::new();
    let instance = || {
        server(&place.name(), OWN)
            .max_number_of_server_instances(2)
            .create()
            .unwrap()
    };
    let _both = [instance(), instance()];
}

#[test]
fn c075_c076_a_client_connects_before_its_server_waits() {
    // The rooted name that all tests here use is an absolute path.
    let place = Place::new();
    let server = server(&place.name(), OWN).create().unwrap();
    let client = client(&place.name(), InOut, OWN);
    client.connect_timeout(limit()).unwrap();
    assert!(client.is_connected() && !server.is_connected());
    server.wait_for_connection_timeout(limit()).unwrap();
    passes(1, &server, &client);
}

#[test]
fn c077_one_user_connects_in_every_combination() {
    for server_options in [PipeOptions::NONE, OWN] {
        for client_options in [PipeOptions::NONE, OWN] {
            for direction in [In, InOut] {
                let place = Place::new();
                let server = server(&place.name(), server_options).create().unwrap();
                let client = client(&place.name(), direction, client_options);
                join(&server, &client);
                passes(1, &server, &client);
            }
        }
    }
}

#[test]
fn c078_c079_three_names_at_once_in_one_thread_and_in_three() {
    let place = Place::new();
    let names = ["one", "two", "three"].map(|name| place.named(name));
    let pairs = names
        .each_ref()
        .map(|name| (server(name, OWN).create().unwrap(), client(name, InOut, OWN)));
    for (server, client) in &pairs {
        join(server, client);
    }
    for (byte, (server, client)) in (0..).zip(&pairs) {
        passes(byte, server, client);
    }
    drop(pairs);

    thread::scope(|scope| {
        for name in &names {
            scope.spawn(move || {
                let (server, client) = (server(name, OWN).create().unwrap(), client(name, InOut, OWN));
                join(&server, &client);
                passes(7, &client, &server);
            });
        }
    });
}

#[test]
fn c080_five_servers_on_one_name_each_followed_by_a_client() {
    for options in [PipeOptions::NONE, OWN] {
        let place = Place::new();
        let pairs: Vec<_> = (0..5)
            .map(|_| {
                let server = server(&place.name(), options)
                    .max_number_of_server_instances(-1)
                    .create()
                    .unwrap();
                let client = client(&place.name(), InOut, options);
                client.connect_timeout(limit()).unwrap();
                (server, client)
            })
            .collect();
        for (server, _) in &pairs {
            server.wait_for_connection_timeout(limit()).unwrap();
        }
        for (byte, (server, client)) in (0..).zip(&pairs) {
            client.set_read_timeout(Some(limit()));
            passes(byte, server, client);
        }
    }
}

#[test]
fn c096_one_server_serves_waiting_clients_one_at_a_time() {
    for count in [1, 3] {
        let place = Place::new();
        let server = NamedPipeServerStream::new(place.name()).unwrap();
        let clients: Vec<_> = (0..count)
            .map(|number| {
                let client = client(&place.name(), InOut, PipeOptions::NONE);
                Pending::start("be served", move || {
                    client.connect_timeout(limit()).unwrap();
                    client.set_read_timeout(Some(limit()));
                    (&client).write_all(&[number]).unwrap();
                    assert_eq!(read_byte(&client).unwrap(), Some(number + 100));
                })
            })
            .collect();
        server.set_read_timeout(Some(limit()));
        let mut served: Vec<_> = (0..count)
            .map(|_| {
                server.wait_for_connection_timeout(limit()).unwrap();
                let number = read_byte(&server).unwrap().unwrap();
                (&server).write_all(&[number + 100]).unwrap();
                server.disconnect().unwrap();
                number
            })
            .collect();
        clients.into_iter().for_each(Pending::result);
        served.sort_unstable();
        assert_eq!(served, (0..count).collect::<Vec<_>>());
    }
}

#[test]
fn c097_the_number_of_instances_has_its_limits() {
    let place = Place::new();
    let instance = |max| {
        let builder = NamedPipeServerStream::builder(place.name());
        builder.max_number_of_server_instances(max).create()
    };
    let only = instance(1).unwrap();
    fails_saying(instance(1), ErrorKind::InstancesBusy, "All pipe instances are busy.");
    drop(only);

    let _first = instance(3).unwrap();
    let denied = format!("Access to the path '{}' is denied.", place.name());
    fails_saying(instance(1), ErrorKind::UnauthorizedAccess, &denied);
    let _second = instance(2).unwrap();
    let third = instance(4).unwrap();
    for max in [1, 3, 4, 254, -1] {
        fails(instance(max), ErrorKind::InstancesBusy);
    }
    // A place that is given back can be had again.
    drop(third);
    instance(3).unwrap();
}

#[test]
fn c098_several_instances_serve_as_many_clients_at_once() {
    for count in [1, 4] {
        let place = Place::new();
        let servers: Vec<_> = (0..count)
            .map(|number| {
                let builder = NamedPipeServerStream::builder(place.name()).max_number_of_server_instances(count);
                let server = builder.create().unwrap();
                Pending::blocked("serve", move || {
                    server.wait_for_connection_timeout(limit()).unwrap();
                    (&server).write_all(&[number as u8]).unwrap();
                    server
                })
            })
            .collect();
        let clients: Vec<_> = (0..count)
            .map(|_| client(&place.name(), InOut, PipeOptions::NONE))
            .collect();
        let mut received: Vec<_> = clients
            .iter()
            .map(|client| {
                client.connect_timeout(limit()).unwrap();
                client.set_read_timeout(Some(limit()));
                i32::from(read_byte(client).unwrap().unwrap())
            })
            .collect();
        received.sort_unstable();
        assert_eq!(received, (0..count).collect::<Vec<_>>());
        for server in servers {
            server.result();
        }
    }
}

#[test]
fn c214_a_hundred_reads_and_writes_at_once_lose_and_mix_nothing() {
    const CALLS: usize = 100;
    const SIZE: usize = 512;
    for with_canceller in [false, true] {
        let (server, client, _place) = connected();
        let _unused = with_canceller.then(|| server.canceller());
        let (server, client) = (Arc::new(server), Arc::new(client));
        let reads: Vec<_> = (0..CALLS)
            .map(|_| {
                let client = Arc::clone(&client);
                Pending::start("one of a hundred reads", move || {
                    let mut buffer = [0; SIZE];
                    let count = (&*client).read(&mut buffer).unwrap();
                    buffer[..count].to_vec()
                })
            })
            .collect();
        let writes: Vec<_> = (0..CALLS)
            .map(|number| {
                let server = Arc::clone(&server);
                Pending::start("one of a hundred writes", move || {
                    (&*server).write(&vec![number as u8; SIZE]).unwrap()
                })
            })
            .collect();
        assert!(writes.into_iter().all(|write| write.result() == SIZE));
        let mut received: Vec<u8> = reads.into_iter().flat_map(Pending::result).collect();
        // Reads may have returned less than they asked for.
        let mut rest = vec![0; CALLS * SIZE - received.len()];
        (&*client).read_exact(&mut rest).unwrap();
        received.append(&mut rest);
        for number in 0..CALLS {
            let count = received.iter().filter(|&&byte| byte == number as u8).count();
            assert_eq!(count, SIZE, "bytes of call {number}");
        }
    }
}
