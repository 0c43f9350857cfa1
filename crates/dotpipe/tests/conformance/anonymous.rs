//! Anonymous pipes: making them, their handles, sizes and modes.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, IntoRawFd, OwnedFd};

use dotpipe::{
    AnonymousPipeClientStream, AnonymousPipeServerStream, ErrorKind, HandleInheritability, PipeDirection,
    PipeTransmissionMode,
};
use dotpipe_testkit::limit;

use crate::support::{fails, fails_saying, passes, read_byte, refuses};
use PipeDirection::{In, InOut, Out};

const DIRECTIONS: [PipeDirection; 2] = [Out, In];

/// A server and a client in this process, whose reads end in time.
fn pair(direction: PipeDirection) -> (AnonymousPipeServerStream, AnonymousPipeClientStream) {
    let server = AnonymousPipeServerStream::new(direction).unwrap();
    let client = client_of(&server);
    for stream in [&*server, &*client] {
        stream.set_read_timeout(Some(limit()));
        stream.set_write_timeout(Some(limit()));
    }
    (server, client)
}

fn client_of(server: &AnonymousPipeServerStream) -> AnonymousPipeClientStream {
    let direction = server.direction().opposite();
    AnonymousPipeClientStream::from_handle_string(direction, &server.get_client_handle_as_string()).unwrap()
}

fn null() -> OwnedFd {
    File::open("/dev/null").unwrap().into()
}

const ONE_WAY: &str = "Anonymous pipes can only be in one direction.";

#[test]
fn c001_no_server_goes_both_ways() {
    let not_supported = |made| fails_saying(made, ErrorKind::NotSupported, ONE_WAY);
    not_supported(AnonymousPipeServerStream::new(InOut));
    not_supported(AnonymousPipeServerStream::with_inheritability(
        InOut,
        HandleInheritability::Inheritable,
    ));
    not_supported(AnonymousPipeServerStream::builder(InOut).buffer_size(0).create());
    // Before it looks at the handles, of which neither is a pipe's.
    not_supported(AnonymousPipeServerStream::from_handles(InOut, null(), null()));
}

#[test]
fn c003_a_buffer_size_out_of_range_is_told_before_the_direction() {
    let too_large = i32::MAX as usize + 1;
    for direction in [In, Out, InOut] {
        let made = AnonymousPipeServerStream::builder(direction)
            .buffer_size(too_large)
            .create();
        refuses(made, ErrorKind::ArgumentOutOfRange, "bufferSize");
    }
}

#[test]
fn c006_every_constructor_makes_a_server() {
    for direction in DIRECTIONS {
        let servers = [
            AnonymousPipeServerStream::new(direction),
            AnonymousPipeServerStream::with_inheritability(direction, HandleInheritability::None),
            AnonymousPipeServerStream::with_inheritability(direction, HandleInheritability::Inheritable),
            AnonymousPipeServerStream::builder(direction).buffer_size(0).create(),
        ];
        for server in servers {
            let server = server.unwrap();
            assert!(server.is_connected());
            assert_eq!(
                (server.can_read(), server.can_write()),
                (direction == In, direction == Out)
            );
        }
    }
}

#[test]
fn c008_the_servers_string_makes_a_client_in_the_same_process() {
    for direction in DIRECTIONS {
        let (server, client) = pair(direction);
        assert!(client.is_connected());
        match direction {
            In => passes(7, &client, &server),
            _ => passes(7, &server, &client),
        }
    }
}

#[test]
fn c009_a_string_that_is_no_handle_is_an_argument_error() {
    for text in ["abc", "-1"] {
        for direction in DIRECTIONS {
            let made = AnonymousPipeClientStream::from_handle_string(direction, text);
            let error = refuses(made, ErrorKind::Argument, "pipeHandleAsString");
            assert!(
                error.to_string().starts_with("Handle has been disposed or is invalid."),
                "{error}"
            );
        }
    }
}

#[test]
fn c011_no_client_goes_both_ways_whatever_its_handle() {
    for text in ["abc", "-1", "99999", ""] {
        let made = AnonymousPipeClientStream::from_handle_string(InOut, text);
        fails_saying(made, ErrorKind::NotSupported, ONE_WAY);
    }
    fails(
        AnonymousPipeClientStream::from_handle(InOut, null()),
        ErrorKind::NotSupported,
    );
}

#[test]
fn c015_what_was_written_survives_the_local_copy_of_the_client_handle() {
    let server = AnonymousPipeServerStream::new(In).unwrap();
    server.set_read_timeout(Some(limit()));
    let mut client = File::from(server.client_safe_pipe_handle().unwrap());
    client.write_all(&[42]).unwrap();
    drop(client);
    server.dispose_local_copy_of_client_handle();
    assert_eq!(read_byte(&server).unwrap(), Some(42));
    assert_eq!(read_byte(&server).unwrap(), None);
}

#[test]
fn c016_cloned_server_acts_as_original() {
    for direction in DIRECTIONS {
        let original = AnonymousPipeServerStream::new(direction).unwrap();
        let client_handle = original.client_safe_pipe_handle().unwrap();
        let server_handle = original.as_fd().try_clone_to_owned().unwrap();
        let server = AnonymousPipeServerStream::from_handles(direction, server_handle, client_handle).unwrap();
        drop(original);
        assert!(server.is_connected());
        let client = client_of(&server);
        match direction {
            In => passes(5, &client, &server),
            _ => {
                passes(5, &server, &client);
                drop(client);
                fails((&server).write(&[6]), ErrorKind::Broken);
            }
        }
    }
}

#[test]
fn c017_cloned_client_acts_as_original() {
    for direction in DIRECTIONS {
        let (server, original) = pair(direction);
        let handle = original.as_fd().try_clone_to_owned().unwrap();
        let client = AnonymousPipeClientStream::from_handle(direction.opposite(), handle).unwrap();
        drop(original);
        match direction {
            In => passes(5, &client, &server),
            _ => passes(5, &server, &client),
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn c018_the_size_asked_for_is_what_both_ends_report() {
    for direction in DIRECTIONS {
        let server = AnonymousPipeServerStream::builder(direction)
            .buffer_size(4096)
            .create()
            .unwrap();
        let client = client_of(&server);
        let (at_server, at_client) = match direction {
            In => (server.in_buffer_size(), client.out_buffer_size()),
            _ => (server.out_buffer_size(), client.in_buffer_size()),
        };
        assert_eq!((at_server.unwrap(), at_client.unwrap()), (4096, 4096));
    }
}

#[test]
fn c021_both_ends_carry_bytes() {
    for direction in DIRECTIONS {
        let (server, client) = pair(direction);
        for stream in [&*server, &*client] {
            assert_eq!(stream.transmission_mode().unwrap(), PipeTransmissionMode::Byte);
        }
    }
}

#[test]
fn c022_read_mode_byte_is_accepted() {
    for direction in DIRECTIONS {
        let (server, client) = pair(direction);
        for stream in [&*server, &*client] {
            stream.set_read_mode(PipeTransmissionMode::Byte).unwrap();
            assert_eq!(stream.read_mode().unwrap(), PipeTransmissionMode::Byte);
        }
    }
}

#[test]
fn c023_read_mode_message_is_not_supported() {
    for direction in DIRECTIONS {
        let (server, client) = pair(direction);
        for stream in [&*server, &*client] {
            let set = stream.set_read_mode(PipeTransmissionMode::Message);
            let text = "Anonymous pipes do not support PipeTransmissionMode.Message ReadMode.";
            fails_saying(set, ErrorKind::NotSupported, text);
            assert_eq!(stream.read_mode().unwrap(), PipeTransmissionMode::Byte);
        }
    }
}

#[test]
fn m31_a_handle_string_is_a_decimal_descriptor_of_a_pipe() {
    let server = AnonymousPipeServerStream::new(Out).unwrap();
    let number: i32 = server.get_client_handle_as_string().parse().unwrap();
    let client = AnonymousPipeClientStream::from_handle_string(In, &format!(" {number} ")).unwrap();
    passes(1, &server, &client);

    let made = |text: &str| AnonymousPipeClientStream::from_handle_string(In, text);
    for text in ["1.5", "", "0x5", "99999999999999999999"] {
        refuses(made(text), ErrorKind::Argument, "pipeHandleAsString");
    }
    fails_saying(
        made("99999"),
        ErrorKind::UnauthorizedAccess,
        "Access to the path is denied.",
    );

    // What this process has opened belongs to whoever opened it: .NET would take it away.
    let own = File::open("/dev/null").unwrap();
    let number = std::os::fd::AsRawFd::as_raw_fd(&own).to_string();
    refuses(made(&number), ErrorKind::Argument, "pipeHandleAsString");
    assert!(own.metadata().is_ok());

    // As inherited: open, and not closed on exec.
    let inherited = File::open("/dev/null").unwrap();
    rustix::io::fcntl_setfd(&inherited, rustix::io::FdFlags::empty()).unwrap();
    let number = inherited.into_raw_fd().to_string();
    fails_saying(made(&number), ErrorKind::Io, "Invalid pipe handle.");
}

/// What the kernel makes of a size: `None` if it refuses, which is no error to a pipe.
fn size_granted(bytes: usize) -> Option<usize> {
    let (_reader, writer) = rustix::pipe::pipe().unwrap();
    rustix::pipe::fcntl_setpipe_size(&writer, bytes).ok()
}

#[test]
fn m32_sizes_are_rounded_up_and_a_refused_one_is_no_error() {
    let default = AnonymousPipeServerStream::new(Out).unwrap().out_buffer_size().unwrap();
    for (asked, granted) in [
        (1, 4096),
        (100_000, 131_072),
        (2_000_000, size_granted(2_000_000).unwrap_or(default)),
    ] {
        let server = AnonymousPipeServerStream::builder(Out)
            .buffer_size(asked)
            .create()
            .unwrap();
        assert_eq!(server.out_buffer_size().unwrap(), granted, "{asked} asked");
    }
    let refused = i32::MAX as usize;
    assert_eq!(size_granted(refused), None);
    let server = AnonymousPipeServerStream::builder(Out)
        .buffer_size(refused)
        .create()
        .unwrap();
    assert_eq!(server.out_buffer_size().unwrap(), default);
}

#[test]
fn m33_the_handles_number_is_told_after_the_copy_was_disposed_of_twice() {
    let server = AnonymousPipeServerStream::new(Out).unwrap();
    let number = server.get_client_handle_as_string();
    server.dispose_local_copy_of_client_handle();
    server.dispose_local_copy_of_client_handle();
    assert_eq!(server.get_client_handle_as_string(), number);
    fails(server.client_safe_pipe_handle(), ErrorKind::ObjectDisposed);
}

#[test]
fn m34_a_dropped_server_closes_its_client_handle_inheritable_or_not() {
    for inheritability in [HandleInheritability::None, HandleInheritability::Inheritable] {
        let server = AnonymousPipeServerStream::with_inheritability(In, inheritability).unwrap();
        let exposed = server.get_client_handle_as_string();
        let reader = AnonymousPipeClientStream::from_handle(In, server.as_fd().try_clone_to_owned().unwrap()).unwrap();
        reader.set_read_timeout(Some(limit()));
        drop(server);
        // Only the client handle could still keep the pipe open. Its number may have been given to another test's file.
        assert_eq!(
            read_byte(&reader).unwrap(),
            None,
            "handle {exposed}, {inheritability:?}"
        );
    }
}

#[test]
fn m35_only_a_failed_write_ends_the_connection() {
    let (server, client) = pair(Out);
    drop(client);
    assert!(server.is_connected());
    let error = fails((&server).write(b"x"), ErrorKind::Broken);
    assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
    assert!(!server.is_connected());

    let (server, client) = pair(Out);
    (&server).write_all(b"x").unwrap();
    drop(server);
    assert_eq!(read_byte(&client).unwrap(), Some(b'x'));
    assert_eq!(read_byte(&client).unwrap(), None);
    assert!(client.is_connected());
}

#[test]
fn m36_the_wrong_end_of_a_pipe_is_refused_when_the_stream_is_made() {
    for direction in DIRECTIONS {
        let server = AnonymousPipeServerStream::new(direction).unwrap();
        let handle = server.client_safe_pipe_handle().unwrap();
        let made = AnonymousPipeClientStream::from_handle(direction, handle);
        refuses(made, ErrorKind::Argument, "safePipeHandle");
        let handles = [
            server.client_safe_pipe_handle().unwrap(),
            server.client_safe_pipe_handle().unwrap(),
        ];
        let [server_handle, client_handle] = handles;
        let made = AnonymousPipeServerStream::from_handles(direction, server_handle, client_handle);
        refuses(made, ErrorKind::Argument, "serverSafePipeHandle");
    }
}
