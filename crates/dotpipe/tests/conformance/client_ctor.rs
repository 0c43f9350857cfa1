//! Making named clients, and connecting them.

use std::fs::{self, File};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use dotpipe::{ErrorKind, NamedPipeClientStream, NamedPipeServerStream, PipeDirection, PipeOptions};
use dotpipe_testkit::{Process, limit, within_limit};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType};

use crate::child;
use crate::support::{
    Pending, Place, SHORT, at_once, connected, fails, fails_saying, join, passes, read_byte, refuses,
};
use PipeDirection::{In, InOut, Out};

const LATE: &str = "The operation has timed out.";

fn host_name() -> String {
    rustix::system::uname().nodename().to_str().unwrap().to_owned()
}

fn on_server(server: &str, name: &str) -> dotpipe::Result<NamedPipeClientStream> {
    NamedPipeClientStream::builder(name).server_name(server).create()
}

/// How long this thread has run on a processor (`proc_pid_schedstat(5)`).
fn busy_time() -> Duration {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
}

/// A server of this process with room for one connection in its queue, and the connection that fills it.
fn full_server(place: &Place) -> (UnixListener, UnixStream) {
    let listener = UnixListener::bind(place.name()).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let queued = UnixStream::connect(place.name()).unwrap();
    (listener, queued)
}

#[test]
fn c049_an_empty_name_is_an_argument_error() {
    for made in [NamedPipeClientStream::new(""), on_server(".", "")] {
        refuses(made, ErrorKind::Argument, "pipeName");
    }
}

#[test]
fn c051_an_empty_server_name_is_an_argument_error() {
    let error = refuses(on_server("", "p"), ErrorKind::Argument, "serverName");
    let text = "serverName cannot be an empty string. Use \".\" for current machine.";
    assert!(error.to_string().starts_with(text), "{error}");
}

#[test]
fn c052_the_name_anonymous_is_reserved() {
    for name in ["anonymous", "AnonYmous"] {
        refuses(
            NamedPipeClientStream::new(name),
            ErrorKind::ArgumentOutOfRange,
            "pipeName",
        );
        refuses(on_server(".", name), ErrorKind::ArgumentOutOfRange, "pipeName");
    }
}

#[test]
fn c054_unknown_options_are_out_of_range() {
    for bits in [255, 1, PipeOptions::FIRST_PIPE_INSTANCE.bits()] {
        let options = PipeOptions::from_bits_retain(bits);
        let made = NamedPipeClientStream::builder("p").options(options).create();
        refuses(made, ErrorKind::ArgumentOutOfRange, "options");
    }
}

#[test]
fn c058_a_regular_files_handle_is_no_pipe() {
    let place = Place::new();
    for direction in [In, Out, InOut] {
        let file = File::create(place.folder().join("file")).unwrap();
        let made = NamedPipeClientStream::from_handle(direction, file.into());
        fails_saying(made, ErrorKind::Io, "Invalid pipe handle.");
    }
}

#[test]
fn c061_names_that_this_system_cannot_open_are_not_supported() {
    fails(on_server("bad-server", "p"), ErrorKind::NotSupported);
    for name in ["a/b", "a\0b", "/tmp/foo\0bar", "/tmp/foobar/", "/", "\0"] {
        fails(NamedPipeClientStream::new(name), ErrorKind::NotSupported);
        fails(on_server(".", name), ErrorKind::NotSupported);
    }
    on_server(&host_name(), "p").unwrap();
}

#[test]
fn c092_a_limit_may_be_as_long_as_a_duration() {
    let over_an_int = Duration::from_millis(i32::MAX as u64 + 1);
    for limit in [over_an_int, Duration::MAX] {
        let place = Place::new();
        let name = place.name();
        let pending = Pending::blocked("connect within a very long time", move || {
            let client = NamedPipeClientStream::new(name).unwrap();
            client.connect_timeout(limit).map(|()| client)
        });
        let server = NamedPipeServerStream::new(place.name()).unwrap();
        // A client that has gone again would be passed over.
        let _client = pending.result().unwrap();
        let waiting = Pending::start("wait for a client", move || server.wait_for_connection_timeout(limit));
        waiting.result().unwrap();
    }
}

#[test]
fn c093_a_missing_server_is_a_time_out() {
    let place = Place::new();
    for limit in [Duration::from_millis(50), Duration::from_millis(60)] {
        let client = NamedPipeClientStream::new(place.name()).unwrap();
        let start = Instant::now();
        fails_saying(client.connect_timeout(limit), ErrorKind::TimedOut, LATE);
        assert!(start.elapsed() >= limit);
        assert!(!client.is_connected());
    }
}

#[test]
fn c111_c113_connect_to_a_missing_pipe_times_out_with_and_without_a_canceller() {
    let place = Place::new();
    let client = NamedPipeClientStream::new(place.name()).unwrap();
    fails_saying(
        client.connect_timeout(Duration::from_millis(91)),
        ErrorKind::TimedOut,
        LATE,
    );
    let unused = client.canceller();
    fails_saying(
        client.connect_timeout(Duration::from_millis(91)),
        ErrorKind::TimedOut,
        LATE,
    );
    assert!(!unused.is_canceled());
}

#[test]
fn c112_m16_waiting_for_a_missing_server_costs_next_to_nothing_and_ends_when_it_comes() {
    let place = Place::new();
    let client = NamedPipeClientStream::new(place.name()).unwrap();
    let (before, start) = (busy_time(), Instant::now());
    fails(client.connect_timeout(Duration::from_millis(500)), ErrorKind::TimedOut);
    let (busy, waited) = (busy_time() - before, start.elapsed());
    assert!(busy * 50 < waited, "{busy:?} busy in {waited:?}");

    fails_saying(client.connect_timeout(Duration::ZERO), ErrorKind::TimedOut, LATE);

    let pending = Pending::blocked("connect to a server that is yet to come", move || {
        client.connect().map(|()| Instant::now())
    });
    let created = Instant::now();
    let _server = NamedPipeServerStream::new(place.name()).unwrap();
    // Less than the second after which the client would look by itself.
    let took = pending.result().unwrap().duration_since(created);
    assert!(
        took < Duration::from_millis(900),
        "connected {took:?} after the server's creation began"
    );
}

#[test]
fn c114_c115_m17_clients_of_a_busy_server_are_queued_and_may_write() {
    let (server, first, place) = connected();
    let second = NamedPipeClientStream::new(place.name()).unwrap();
    second.connect_timeout(limit()).unwrap();
    assert!(second.is_connected());
    let mut bytes = &second;
    std::io::Write::write_all(&mut bytes, b"early").unwrap();
    passes(1, &server, &first);
    server.disconnect().unwrap();
    server.wait_for_connection_timeout(limit()).unwrap();
    let mut early = [0; 5];
    std::io::Read::read_exact(&mut &server, &mut early).unwrap();
    assert_eq!(&early, b"early");
}

#[test]
fn c116_a_client_that_waits_for_a_place_in_the_queue_can_be_cancelled() {
    let place = Place::new();
    let _full = full_server(&place);
    let client = NamedPipeClientStream::new(place.name()).unwrap();
    let canceller = client.canceller();
    let pending = Pending::blocked("connect to a full server", move || client.connect());
    canceller.cancel();
    fails(pending.result(), ErrorKind::Canceled);
}

#[test]
fn c118_a_client_connects_to_a_plain_socket() {
    let place = Place::new();
    let listener = UnixListener::bind(place.name()).unwrap();
    let client = NamedPipeClientStream::builder(place.name())
        .options(PipeOptions::CURRENT_USER_ONLY)
        .create()
        .unwrap();
    client.connect_timeout(limit()).unwrap();
    client.set_read_timeout(Some(limit()));
    let (accepted, _) = within_limit("accept", move || listener.accept()).unwrap();
    accepted.set_read_timeout(Some(limit())).unwrap();
    passes(1, &client, &accepted);
    passes(2, &accepted, &client);
}

#[test]
fn m03_this_machine_is_a_dot_or_its_own_name() {
    on_server(".", "p").unwrap();
    on_server(&host_name(), "p").unwrap();
    let text = "Access to remote named pipes is not supported on this platform.";
    for server in ["localhost", "127.0.0.1", "remotehost"] {
        fails_saying(on_server(server, "p"), ErrorKind::NotSupported, text);
    }
}

#[test]
fn m04_tmpdir_decides_where_a_plain_name_is() {
    let place = Place::new();
    let folder = place.folder().to_str().unwrap();
    let in_folder = |folder: &str, role: &str| {
        let mut command = child::command(role, &["plain"]);
        command.env("TMPDIR", folder);
        Process::start(&mut command)
    };
    let mut server = in_folder(folder, "serves");
    server.wait_for_stderr("serving");
    let client = in_folder(folder, "connects");
    server.wait_for_stderr("connected");
    client.finish().expect_success();
    server.finish().expect_success();

    let missing = place.named("missing");
    in_folder(&missing, "finds no folder").finish().expect_success();
}

pub(crate) fn connects(words: &[String]) {
    let client = NamedPipeClientStream::new(&words[0]).unwrap();
    client.connect_timeout(limit()).unwrap();
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).unwrap();
}

pub(crate) fn finds_no_folder(words: &[String]) {
    let error = fails(NamedPipeServerStream::new(&words[0]), ErrorKind::Io);
    assert!(
        error.to_string().contains("The folder of the pipe does not exist"),
        "{error}"
    );
    let client = NamedPipeClientStream::new(&words[0]).unwrap();
    fails(client.connect_timeout(SHORT), ErrorKind::TimedOut);
}

#[test]
fn m18_the_time_limit_holds_against_a_full_queue() {
    let place = Place::new();
    let _full = full_server(&place);
    let client = NamedPipeClientStream::new(place.name()).unwrap();
    for limit in [Duration::ZERO, Duration::from_millis(500)] {
        let start = Instant::now();
        let error = fails(client.connect_timeout(limit), ErrorKind::TimedOut);
        assert!(error.to_string().contains("its queue is full"), "{error}");
        let took = start.elapsed();
        assert!(
            took >= limit && took < limit + Duration::from_secs(2),
            "{took:?} of {limit:?}"
        );
    }
}

#[test]
fn m20_what_does_not_listen_is_tried_until_the_time_is_over() {
    let place = Place::new();
    let late = || {
        let client = NamedPipeClientStream::new(place.name()).unwrap();
        let start = Instant::now();
        fails_saying(client.connect_timeout(SHORT), ErrorKind::TimedOut, LATE);
        assert!(start.elapsed() >= SHORT);
    };
    late();
    drop(UnixListener::bind(place.name()).unwrap());
    late();

    // A server that comes while the client tries is found.
    let name = place.name();
    let pending = Pending::blocked("connect to a dead socket", move || {
        let client = NamedPipeClientStream::new(name).unwrap();
        client.connect_timeout(limit()).map(|()| client)
    });
    let server = NamedPipeServerStream::new(place.name()).unwrap();
    pending.result().unwrap();
    drop(server);

    fs::write(place.name(), "no socket").unwrap();
    late();
}

#[test]
fn m19_a_socket_of_another_type_is_an_error_at_once() {
    let place = Place::new();
    let listener = rustix::net::socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).unwrap();
    rustix::net::bind(&listener, &SocketAddrUnix::new(place.name()).unwrap()).unwrap();
    rustix::net::listen(&listener, 1).unwrap();
    let client = NamedPipeClientStream::new(place.name()).unwrap();
    fails_saying(
        client.connect_timeout(limit()),
        ErrorKind::Io,
        "Protocol wrong type for socket",
    );
}

#[test]
fn c123_cloned_client_acts_as_original() {
    for (server, client) in [(Out, In), (In, Out), (InOut, InOut)] {
        let (server, original, _place) = crate::support::connected_with(server, client);
        let handle = original.safe_pipe_handle().unwrap();
        let clone = NamedPipeClientStream::from_handle(client, handle).unwrap();
        clone.set_read_timeout(Some(limit()));
        assert!(clone.is_connected());
        if client.can_read() {
            passes(1, &server, &clone);
        }
        if client.can_write() {
            passes(2, &clone, &server);
        }
    }
}

#[test]
fn c117_a_plain_socket_connects_to_a_server_whose_file_goes_with_it() {
    let place = Place::new();
    let server = NamedPipeServerStream::builder(place.name())
        .options(PipeOptions::CURRENT_USER_ONLY)
        .create()
        .unwrap();
    assert!(fs::exists(place.name()).unwrap());
    let client = UnixStream::connect(place.name()).unwrap();
    client.set_read_timeout(Some(limit())).unwrap();
    server.wait_for_connection_timeout(limit()).unwrap();
    passes(1, &server, &client);
    passes(2, &client, &server);
    drop(server);
    assert!(!fs::exists(place.name()).unwrap());
    assert_eq!(read_byte(&client).unwrap(), None);
}

#[test]
fn c095_m21_directions_that_do_not_fit_connect_and_carry_nothing() {
    use std::io::Write as _;
    let with = crate::support::connected_with;
    let (server, client, _place) = with(In, In);
    assert_eq!(read_byte(&server).unwrap(), None);
    assert_eq!(read_byte(&client).unwrap(), None);

    let (server, client, _place) = with(Out, Out);
    assert!(client.is_connected());
    fails((&server).write(b"x"), ErrorKind::Broken);
    fails((&client).write(b"x"), ErrorKind::Broken);

    let (server, client, _place) = with(Out, InOut);
    fails((&client).write(b"x"), ErrorKind::Broken);
    assert!(!client.is_connected());
    passes(1, &server, &client);
}

#[test]
fn c124_connecting_twice_is_an_invalid_operation() {
    let (_server, client, _place) = connected();
    let again = "Already in a connected state.";
    fails_saying(
        at_once(&client, || client.connect()),
        ErrorKind::InvalidOperation,
        again,
    );
    fails_saying(
        client.connect_timeout(Duration::ZERO),
        ErrorKind::InvalidOperation,
        again,
    );
}

#[test]
fn c100_the_number_of_server_instances_is_what_the_server_has() {
    let place = Place::new();
    let instance = || {
        NamedPipeServerStream::builder(place.name())
            .max_number_of_server_instances(3)
            .create()
            .unwrap()
    };
    let server = instance();
    let client = NamedPipeClientStream::new(place.name()).unwrap();
    join(&server, &client);
    assert_eq!(client.number_of_server_instances().unwrap(), 1);
    let second = instance();
    assert_eq!(client.number_of_server_instances().unwrap(), 2);
    drop(second);
    assert_eq!(client.number_of_server_instances().unwrap(), 1);
}
