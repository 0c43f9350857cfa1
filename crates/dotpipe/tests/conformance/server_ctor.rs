//! Creating named servers: what is refused, what is granted, and whose the name then is.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use dotpipe::{
    ErrorKind, NamedPipeClientStream, NamedPipeServerBuilder, NamedPipeServerStream, PipeDirection, PipeName,
    PipeOptions,
};
use dotpipe_testkit::{Process, limit};

use crate::child;
use crate::support::{Place, connected, fails, fails_saying, join, passes, refuses};
use PipeDirection::{In, InOut, Out};

const DIRECTIONS: [PipeDirection; 3] = [In, Out, InOut];
const BUSY: &str = "All pipe instances are busy.";

fn of_many(place: &Place, max: i32) -> NamedPipeServerBuilder {
    NamedPipeServerStream::builder(place.name()).max_number_of_server_instances(max)
}

fn denied(place: &Place) -> String {
    format!("Access to the path '{}' is denied.", place.name())
}

/// Each way to ask for a server, for refusals that must come from all of them.
fn constructors(name: &str) -> Vec<dotpipe::Result<NamedPipeServerStream>> {
    let builder = || NamedPipeServerStream::builder(name);
    vec![
        NamedPipeServerStream::new(name),
        builder().direction(InOut).create(),
        builder().direction(InOut).max_number_of_server_instances(2).create(),
        builder().options(PipeOptions::NONE).create(),
        builder().in_buffer_size(0).out_buffer_size(0).create(),
    ]
}

#[test]
fn c028_an_empty_name_is_an_argument_error() {
    for made in constructors("") {
        let error = refuses(made, ErrorKind::Argument, "pipeName");
        assert!(
            error.to_string().starts_with("The value cannot be an empty string."),
            "{error}"
        );
    }
}

#[test]
fn c029_the_name_anonymous_is_reserved_in_any_letter_case() {
    for name in ["anonymous", "ANONYMOUS", "Anonymous", r"\\.\pipe\anonymous"] {
        for made in constructors(name) {
            let error = refuses(made, ErrorKind::ArgumentOutOfRange, "pipeName");
            assert!(
                error.to_string().starts_with("The pipeName \"anonymous\" is reserved."),
                "{error}"
            );
        }
    }
}

#[test]
fn c030_a_name_alone_makes_a_server() {
    let place = Place::new();
    let server = NamedPipeServerStream::new(place.name()).unwrap();
    assert!(!server.is_connected());
    assert_eq!((server.can_read(), server.can_write()), (true, true));
}

#[test]
fn c031_a_direction_and_one_instance_make_a_server() {
    for direction in DIRECTIONS {
        let place = Place::new();
        let server = of_many(&place, 1).direction(direction).create().unwrap();
        assert_eq!(server.direction(), direction);
    }
}

#[test]
fn c032_minus_one_allows_any_number_of_instances_and_streams_over_their_handles() {
    let place = Place::new();
    assert_eq!(NamedPipeServerStream::MAX_ALLOWED_SERVER_INSTANCES, -1);
    // More than the greatest number that can be asked for.
    let servers: Vec<_> = (0..300).map(|_| of_many(&place, -1).create().unwrap()).collect();
    let client = NamedPipeClientStream::new(place.name()).unwrap();
    join(&servers[7], &client);
    let wrapped = NamedPipeServerStream::from_handle(InOut, servers[7].safe_pipe_handle().unwrap()).unwrap();
    passes(3, &wrapped, &client);
}

#[test]
fn c034_no_instance_and_minus_two_instances_are_out_of_range() {
    let place = Place::new();
    for max in [0, -2, i32::MIN] {
        refuses(
            of_many(&place, max).create(),
            ErrorKind::ArgumentOutOfRange,
            "maxNumberOfServerInstances",
        );
    }
    assert!(!Path::new(&place.name()).exists());
}

#[test]
fn c035_more_than_254_instances_are_out_of_range() {
    let place = Place::new();
    for max in [255, 300, i32::MAX] {
        refuses(
            of_many(&place, max).create(),
            ErrorKind::ArgumentOutOfRange,
            "maxNumberOfServerInstances",
        );
    }
    of_many(&place, 254).create().unwrap();
}

#[test]
fn c037_unknown_options_are_out_of_range() {
    let place = Place::new();
    for bits in [255, 1, PipeOptions::CURRENT_USER_ONLY.bits() | 2] {
        let options = PipeOptions::from_bits_retain(bits);
        let made = NamedPipeServerStream::builder(place.name()).options(options).create();
        let error = refuses(made, ErrorKind::ArgumentOutOfRange, "options");
        assert!(
            error.to_string().starts_with("options contains an invalid flag."),
            "{error}"
        );
    }
}

#[test]
fn c038_buffer_sizes_over_a_c_int_are_out_of_range() {
    let place = Place::new();
    let too_large = i32::MAX as usize + 1;
    let builder = || NamedPipeServerStream::builder(place.name());
    refuses(
        builder().in_buffer_size(too_large).create(),
        ErrorKind::ArgumentOutOfRange,
        "inBufferSize",
    );
    refuses(
        builder().out_buffer_size(too_large).create(),
        ErrorKind::ArgumentOutOfRange,
        "outBufferSize",
    );
    assert!(!Path::new(&place.name()).exists());
}

#[test]
fn c041_a_regular_files_handle_is_no_pipe() {
    let place = Place::new();
    for direction in DIRECTIONS {
        let file = File::create(place.folder().join("file")).unwrap();
        let made = NamedPipeServerStream::from_handle(direction, file.into());
        fails_saying(made, ErrorKind::Io, "Invalid pipe handle.");
    }
}

#[test]
fn c042_the_handle_of_a_closed_server_cannot_be_taken() {
    let (server, _client, _place) = connected();
    server.close();
    fails(server.safe_pipe_handle(), ErrorKind::ObjectDisposed);
    fails(OwnedFd::try_from(server), ErrorKind::ObjectDisposed);
}

#[test]
fn c043_a_server_that_was_never_connected_has_no_handle() {
    let place = Place::new();
    let server = NamedPipeServerStream::new(place.name()).unwrap();
    fails(server.safe_pipe_handle(), ErrorKind::InvalidOperation);
    fails(OwnedFd::try_from(server), ErrorKind::InvalidOperation);
}

#[test]
fn c045_a_second_server_on_a_name_for_one_is_refused() {
    let place = Place::new();
    let first = NamedPipeServerStream::new(place.name()).unwrap();
    for max in [1, 3, -1] {
        fails_saying(of_many(&place, max).create(), ErrorKind::InstancesBusy, BUSY);
    }
    // The place is free again when the instance goes.
    drop(first);
    NamedPipeServerStream::new(place.name()).unwrap();
}

#[test]
fn c046_instances_may_differ_in_their_direction() {
    let place = Place::new();
    let first = of_many(&place, 2).direction(In).create().unwrap();
    let second = of_many(&place, 2).direction(Out).create().unwrap();
    let writer = NamedPipeClientStream::builder(place.name())
        .direction(Out)
        .create()
        .unwrap();
    let reader = NamedPipeClientStream::builder(place.name())
        .direction(In)
        .create()
        .unwrap();
    join(&first, &writer);
    join(&second, &reader);
    passes(1, &writer, &first);
    passes(2, &second, &reader);
}

fn first_instance(name: &str) -> dotpipe::Result<NamedPipeServerStream> {
    NamedPipeServerStream::builder(name)
        .max_number_of_server_instances(-1)
        .options(PipeOptions::FIRST_PIPE_INSTANCE)
        .create()
}

#[test]
fn c047_the_first_instance_is_the_first_in_this_process_and_in_others() {
    let place = Place::new();
    let first = first_instance(&place.name()).unwrap();
    fails_saying(
        first_instance(&place.name()),
        ErrorKind::UnauthorizedAccess,
        &denied(&place),
    );
    drop(first);
    let plain = of_many(&place, -1).create().unwrap();
    fails_saying(
        first_instance(&place.name()),
        ErrorKind::UnauthorizedAccess,
        &denied(&place),
    );

    let other = Process::start(&mut child::command("fails to be the first", &[&place.name()]));
    other.finish().expect_success();
    drop(plain);
    let other = Process::start(&mut child::command("is the first", &[&place.name()]));
    other.finish().expect_success();
}

pub(crate) fn fails_to_be_the_first(words: &[String]) {
    fails(first_instance(&words[0]), ErrorKind::UnauthorizedAccess);
}

pub(crate) fn is_the_first(words: &[String]) {
    first_instance(&words[0]).unwrap();
}

#[test]
fn c082_the_socket_is_private_and_every_instance_keeps_it() {
    let place = Place::new();
    let mode = || fs::metadata(place.name()).unwrap().permissions().mode() & 0o777;
    let instance = |options| of_many(&place, -1).options(options).create();
    let first = instance(PipeOptions::CURRENT_USER_ONLY).unwrap();
    assert_eq!(mode(), 0o600);
    let _second = instance(PipeOptions::CURRENT_USER_ONLY).unwrap();
    assert_eq!(mode(), 0o600);
    // Nobody gets another rule than the one asked for.
    fails(instance(PipeOptions::NONE), ErrorKind::UnauthorizedAccess);
    drop(first);
    assert_eq!(mode(), 0o600);
}

#[test]
fn c103_a_server_for_messages_is_not_supported() {
    let place = Place::new();
    let made = NamedPipeServerStream::builder(place.name())
        .transmission_mode(dotpipe::PipeTransmissionMode::Message)
        .create();
    let text = "Message transmission mode is not supported on this platform.";
    fails_saying(made, ErrorKind::NotSupported, text);
    assert!(!Path::new(&place.name()).exists());
}

#[test]
fn c110_the_first_path_that_is_too_long_has_108_bytes() {
    let place = Place::new();
    let of_length = |length: usize| place.named(&"x".repeat(length - place.folder().as_os_str().len() - 1));
    let longest = of_length(107);
    let server = NamedPipeServerStream::new(&longest).unwrap();
    let client = NamedPipeClientStream::new(&longest).unwrap();
    join(&server, &client);
    passes(9, &server, &client);

    let name = of_length(108);
    let error = refuses(NamedPipeServerStream::new(&name), ErrorKind::ArgumentOutOfRange, "path");
    let text = format!("The path '{name}' is of an invalid length for use with domain sockets on this platform.");
    assert!(error.to_string().starts_with(&text), "{error}");
    refuses(NamedPipeClientStream::new(&name), ErrorKind::ArgumentOutOfRange, "path");
}

#[test]
fn m01_names_may_hold_anything_but_slash_and_nul() {
    let place = Place::new();
    for name in [r"a\b", "a b", "a\nb", r#"a:b*?"<>|"#, "a..", "ünï", "P", "p"] {
        // Under a root, so that the tests' folder is used; plain names take the same way behind the prefix.
        let rooted = place.named(name);
        let server = NamedPipeServerStream::new(&rooted).unwrap();
        assert!(fs::symlink_metadata(&rooted).unwrap().file_type().is_socket());
        let client = NamedPipeClientStream::new(&rooted).unwrap();
        join(&server, &client);
        let file = PipeName::parse(name).unwrap().socket_path().unwrap();
        assert_eq!(
            file.file_name().unwrap().to_str().unwrap(),
            format!("CoreFxPipe_{name}")
        );
    }
    assert_eq!(
        PipeName::parse("..")
            .unwrap()
            .socket_path()
            .unwrap()
            .file_name()
            .unwrap(),
        "CoreFxPipe_.."
    );

    let _upper = NamedPipeServerStream::new(place.named("CASE")).unwrap();
    NamedPipeServerStream::new(place.named("case")).unwrap();

    let text = "The name of a pipe on this platform must be a valid file name or a valid absolute path to a file name.";
    for name in ["a/b", "a\0b", "/tmp/x/", "/", "/tmp/a\0b"] {
        fails_saying(NamedPipeServerStream::new(name), ErrorKind::NotSupported, text);
        fails_saying(NamedPipeClientStream::new(name), ErrorKind::NotSupported, text);
    }
}

#[test]
fn m02_a_path_has_at_most_107_bytes_of_utf8() {
    let place = Place::new();
    let start = place.folder().as_os_str().len() + 1;
    let letters = (107 - start) / 2;
    let fits = place.named(&"ü".repeat(letters));
    let client = NamedPipeClientStream::new(&fits).unwrap();
    let server = NamedPipeServerStream::new(&fits).unwrap();
    join(&server, &client);
    let too_long = place.named(&"ü".repeat(letters + 1));
    assert!(too_long.chars().count() < 107);
    refuses(
        NamedPipeServerStream::new(&too_long),
        ErrorKind::ArgumentOutOfRange,
        "path",
    );
    refuses(
        NamedPipeClientStream::new(&too_long),
        ErrorKind::ArgumentOutOfRange,
        "path",
    );
}

#[test]
fn m05_only_a_dead_socket_is_replaced() {
    let place = Place::new();
    drop(UnixListener::bind(place.name()).unwrap());
    assert!(Path::new(&place.name()).exists());
    drop(NamedPipeServerStream::new(place.name()).unwrap());

    fs::write(place.name(), "precious").unwrap();
    let in_use = "Address already in use";
    let error = fails_saying(NamedPipeServerStream::new(place.name()), ErrorKind::Io, in_use);
    assert!(error.to_string().contains("A regular file"), "{error}");
    assert_eq!(fs::read_to_string(place.name()).unwrap(), "precious");
    fs::remove_file(place.name()).unwrap();

    fs::create_dir(place.name()).unwrap();
    fails_saying(NamedPipeServerStream::new(place.name()), ErrorKind::Io, in_use);
    assert!(Path::new(&place.name()).is_dir());
}

#[test]
fn m06_another_process_cannot_take_a_live_name() {
    let place = Place::new();
    let mut holder = Process::start(&mut child::command("serves", &[&place.name()]));
    holder.wait_for_stderr("serving");
    for max in [1, -1] {
        let error = fails_saying(of_many(&place, max).create(), ErrorKind::InstancesBusy, BUSY);
        assert!(
            error.to_string().contains(&format!("process {}", holder.pid())),
            "{error}"
        );
    }
    // The holder is none the worse for it.
    let client = NamedPipeClientStream::new(place.name()).unwrap();
    client.connect_timeout(limit()).unwrap();
    holder.wait_for_stderr("connected");
    holder.finish().expect_success();
}

/// Serves one client, until standard input ends.
pub(crate) fn serves(words: &[String]) {
    let server = NamedPipeServerStream::new(&words[0]).unwrap();
    eprintln!("serving");
    server.wait_for_connection_timeout(limit()).unwrap();
    eprintln!("connected");
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).unwrap();
}

#[test]
fn m07_the_first_instance_replaces_what_is_dead_and_clients_have_no_such_option() {
    let place = Place::new();
    drop(UnixListener::bind(place.name()).unwrap());
    let first = first_instance(&place.name()).unwrap();
    of_many(&place, -1).create().unwrap();
    drop(first);

    // A live socket of any program counts as the first.
    let _other = UnixListener::bind(place.name()).unwrap();
    fails_saying(
        first_instance(&place.name()),
        ErrorKind::UnauthorizedAccess,
        &denied(&place),
    );

    let made = NamedPipeClientStream::builder(place.name())
        .options(PipeOptions::FIRST_PIPE_INSTANCE)
        .create();
    refuses(made, ErrorKind::ArgumentOutOfRange, "options");
}

#[test]
fn m08_the_last_instance_removes_its_own_socket_and_no_other() {
    let place = Place::new();
    let path = place.name();
    let first = of_many(&place, 2).create().unwrap();
    let second = of_many(&place, 2).create().unwrap();
    drop(first);
    UnixStream::connect(&path).unwrap();
    drop(second);
    assert!(!Path::new(&path).exists());

    let server = NamedPipeServerStream::new(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let newer = UnixListener::bind(&path).unwrap();
    drop(server);
    UnixStream::connect(&path).unwrap();
    drop(newer);
}

#[test]
fn m09_a_killed_server_leaves_its_socket_and_the_next_one_takes_it() {
    for signal in [15, 9] {
        let place = Place::new();
        let mut holder = Process::start(&mut child::command("serves", &[&place.name()]));
        holder.wait_for_stderr("serving");
        holder.signal(signal);
        assert!(!holder.finish().status.success());
        assert!(Path::new(&place.name()).exists());
        let server = NamedPipeServerStream::new(place.name()).unwrap();
        join(&server, &NamedPipeClientStream::new(place.name()).unwrap());
    }
}
