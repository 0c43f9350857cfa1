//! The command line: its forms, and the help that goes with them.

use std::ffi::OsString;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use dotpipe::{PipeDirection, PipeTransmissionMode};

use crate::failure::Failure;

const ABOUT: &str = "Named and anonymous pipes with the names and manners of .NET's System.IO.Pipes";

const LONG_ABOUT: &str = "\
Named and anonymous pipes with the names and manners of .NET's System.IO.Pipes.

A pipe called testpipe here is the one that a .NET program on this machine opens with
new NamedPipeClientStream(\"testpipe\"), and the other way round.";

const START: &str = "\
Start here:
  dotpipe demo                       both kinds of pipe at work, in real processes
  dotpipe serve testpipe             in one terminal, and
  dotpipe connect testpipe           in another: what is typed here comes out there

'dotpipe COMMAND --help' tells more, with examples.";

const NAMES: &str = "\
Names of pipes:
  testpipe, '\\\\.\\pipe\\testpipe' and //./pipe/testpipe are the same pipe. Put quotes around
  backslashes: a shell takes them away otherwise. A name that begins with / is the path of
  a socket. Both sides need the same TMPDIR, which is where the pipes of a machine are.

Exit status:
  0  all went well        1  something failed, stderr says what        2  wrong usage";

const DEMO: &str = "\
Nothing is left behind, and any number of demos can run at once.";

const SERVE: &str = "\
Data goes to stdout and comes from stdin. What happens is told on stderr, a line each:
'listening', 'connected USER', 'disconnected'. Ctrl-C ends the server with status 0 and
takes the pipe's name away with it.";

const SERVE_EXAMPLES: &str = "\
Examples:
  dotpipe serve testpipe                          talk to one client from this terminal
  dotpipe serve testpipe < letter.txt             hand a file to the first who asks
  dotpipe serve testpipe --direction in > log     take what one client sends
  dotpipe serve testpipe --echo                   send everything back, to any number of clients
  dotpipe serve testpipe --exec sort              a sort for every client
  dotpipe serve testpipe --max 4 --exec sh -c 'read line; echo \"you said $line\"'

Without --echo or --exec it ends when the client has gone, or when both sides have ended
what they send (Ctrl-D here).";

const CONNECT: &str = "\
It ends when the server does. When stdin ends first, the server is told so once it has read
everything (it then reads the end of the stream), and its answer is still read to the end.
Status 0 means that the server has read all that was sent.";

const CONNECT_EXAMPLES: &str = "\
Examples:
  dotpipe connect testpipe                        talk to a server from this terminal
  echo hello | dotpipe connect testpipe           send a line, print the answer
  dotpipe connect '\\\\.\\pipe\\testpipe' --timeout 500
  dotpipe connect testpipe --direction out < file

Without --timeout it waits for the server as long as it takes; --timeout 0 tries once. A server
that is busy with others keeps a client in its queue, which counts as connected.";

const CHAT: &str = "\
The server asks for a text and sends it as a line; the client prints it and answers
'Client received: TEXT'; the server prints that. Any line-wise program may be at the other
end, .NET's StreamReader and StreamWriter among them.";

const CHAT_EXAMPLES: &str = "\
Example, in two terminals:
  dotpipe chat server testpipe
  dotpipe chat client testpipe";

const ANONYMOUS: &str = "\
An anonymous pipe has no name: a parent makes it and hands one end to a child, as a number
on its command line.";

const ANONYMOUS_EXAMPLES: &str = "\
Examples:
  echo hello | dotpipe anonymous server -- dotpipe anonymous client {handle}
  dotpipe anonymous server -- dotnet child.dll {handle} < data.bin";

const ANONYMOUS_SERVER_EXAMPLES: &str = "\
Example:
  echo hello | dotpipe anonymous server -- sh -c 'cat <&{handle}'

The child alone gets that end of the pipe, and reads its own stdin from /dev/null. The status
is 0 when the child has ended well.";

const ANONYMOUS_CLIENT_EXAMPLES: &str = "\
Example, for a C# parent:
  Process.Start(\"dotpipe\", \"anonymous client \" + pipe.GetClientHandleAsString());";

/// Whether the pipes of this system carry messages yet.
const HAS_MESSAGES: bool = cfg!(windows);

const MODE: &str = if HAS_MESSAGES {
    "byte: a stream; message: each line is one [default: byte]"
} else {
    "byte: a stream; message: each line is one (not on this system yet) [default: byte]"
};

#[derive(Debug, Parser)]
#[command(name = "dotpipe", version, about = ABOUT, long_about = LONG_ABOUT)]
#[command(after_help = START, after_long_help = format!("{START}\n\n{NAMES}"))]
#[command(arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show both kinds of pipe at work, in real processes
    #[command(after_help = DEMO)]
    Demo,
    /// Create a named pipe and talk to its clients
    #[command(long_about = format!("Create a named pipe and talk to its clients.\n\n{SERVE}"), after_help = SERVE_EXAMPLES)]
    #[command(override_usage = "dotpipe serve [OPTIONS] <NAME> [--echo | --exec <CMD>...]")]
    Serve(Serve),
    /// Connect to a named pipe: stdin to the pipe, the pipe to stdout
    #[command(long_about = format!("Connect to a named pipe: stdin to the pipe, the pipe to stdout.\n\n{CONNECT}"))]
    #[command(after_help = CONNECT_EXAMPLES)]
    Connect(Connect),
    /// Talk line by line over a named pipe: one side asks, the other answers
    #[command(long_about = format!("Talk line by line over a named pipe: one side asks, the other answers.\n\n{CHAT}"))]
    #[command(after_help = CHAT_EXAMPLES)]
    Chat {
        #[command(subcommand)]
        side: Chat,
    },
    /// Hand one end of an anonymous pipe to a child process
    #[command(long_about = format!("Hand one end of an anonymous pipe to a child process.\n\n{ANONYMOUS}"))]
    #[command(after_help = ANONYMOUS_EXAMPLES)]
    Anonymous {
        #[command(subcommand)]
        side: Anonymous,
    },
    /// One half of the demo's first conversation
    #[command(hide = true)]
    DemoParent,
    /// The other half
    #[command(hide = true)]
    DemoChild { handle: String },
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// The pipe: testpipe, '\\.\pipe\testpipe', //./pipe/testpipe or the path of a socket
    pub(crate) name: OsString,
    #[command(flatten)]
    pub(crate) shape: Shape,
    /// How many clients at once [default: unlimited with --echo and --exec, else 1]
    #[arg(long, value_name = "N|unlimited", allow_negative_numbers = true, value_parser = instances)]
    pub(crate) max: Option<i32>,
    /// Who may connect: everyone, or such as user:anna,group:staff [default: current-user]
    #[arg(long, value_name = "WHO", hide_default_value = true, default_value = "current-user")]
    pub(crate) access: String,
    /// Fail unless this is the first server of that name
    #[arg(long)]
    pub(crate) first: bool,
    /// Send everything back to where it came from, for any number of clients at once
    #[arg(long, conflicts_with = "exec")]
    pub(crate) echo: bool,
    /// Run CMD for each client, stdin and stdout on the pipe; takes the rest of the line
    #[arg(long, value_name = "CMD", num_args = 1.., allow_hyphen_values = true)]
    pub(crate) exec: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct Connect {
    /// The pipe: testpipe, '\\.\pipe\testpipe', //./pipe/testpipe or the path of a socket
    #[arg(value_name = "NAME|UNC")]
    pub(crate) name: OsString,
    /// Give up when there is no server after that many milliseconds
    #[arg(long, value_name = "MS", allow_negative_numbers = true, value_parser = milliseconds)]
    pub(crate) timeout: Option<Duration>,
    #[command(flatten)]
    pub(crate) shape: Shape,
    /// Talk to any user's server; without it only to our own user's, or root's
    #[arg(long)]
    pub(crate) any_server_user: bool,
}

/// What both ends of a named pipe have to agree on.
#[derive(Debug, Args)]
pub(crate) struct Shape {
    #[arg(
        long,
        help = MODE,
        value_enum,
        value_name = "byte|message",
        hide_possible_values = true,
        hide_default_value = true,
        default_value = "byte"
    )]
    pub(crate) mode: Mode,
    /// Which way data goes, as seen from here [default: inout]
    #[arg(
        long,
        value_enum,
        value_name = "in|out|inout",
        hide_possible_values = true,
        hide_default_value = true,
        default_value = "inout"
    )]
    pub(crate) direction: Direction,
}

impl Shape {
    /// Refuses what no pipe of this system can be, before anybody is connected to.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        if self.mode == Mode::Message && !HAS_MESSAGES {
            return Err(Failure::text(
                "Message transmission mode is not supported on this platform. \
                 Leave '--mode message' out: the pipes of this system carry bytes.",
            ));
        }
        Ok(())
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Chat {
    /// The side that asks
    Server {
        /// The pipe
        name: OsString,
        /// Serve one client after another, until the input ends
        #[arg(long = "loop")]
        again: bool,
    },
    /// The side that answers
    Client {
        /// The pipe
        name: OsString,
        /// Talk to any user's server; without it only to our own user's, or root's
        #[arg(long)]
        any_server_user: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Anonymous {
    /// Start a child and send it stdin through an anonymous pipe
    #[command(after_help = ANONYMOUS_SERVER_EXAMPLES)]
    #[command(override_usage = "dotpipe anonymous server -- <CMD>...")]
    Server {
        /// The child and its arguments; {handle} in one of them becomes the number of its end of the pipe
        #[arg(
            value_name = "CMD",
            required = true,
            trailing_var_arg = true,
            allow_hyphen_values = true
        )]
        command: Vec<OsString>,
    },
    /// Be such a child: print what the parent sends, or send it stdin
    #[command(after_help = ANONYMOUS_CLIENT_EXAMPLES)]
    Client {
        /// The number that the parent has handed over
        handle: String,
        /// in: print what comes; out: send stdin [default: in]
        #[arg(
            long,
            value_enum,
            value_name = "in|out",
            hide_possible_values = true,
            hide_default_value = true,
            default_value = "in"
        )]
        direction: OneWay,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    Byte,
    Message,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Direction {
    In,
    Out,
    Inout,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OneWay {
    In,
    Out,
}

impl From<Mode> for PipeTransmissionMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Byte => Self::Byte,
            Mode::Message => Self::Message,
        }
    }
}

impl From<Direction> for PipeDirection {
    fn from(direction: Direction) -> Self {
        match direction {
            Direction::In => Self::In,
            Direction::Out => Self::Out,
            Direction::Inout => Self::InOut,
        }
    }
}

impl From<OneWay> for PipeDirection {
    fn from(direction: OneWay) -> Self {
        match direction {
            OneWay::In => Self::In,
            OneWay::Out => Self::Out,
        }
    }
}

/// .NET's range of instances, and its -1 under the name that people know.
fn instances(text: &str) -> Result<i32, String> {
    if text == "unlimited" {
        return Ok(dotpipe::NamedPipeServerStream::MAX_ALLOWED_SERVER_INSTANCES);
    }
    let number = text.parse().ok().filter(|number| (1..=254).contains(number));
    number.ok_or_else(|| "a number from 1 to 254, or 'unlimited', is needed".into())
}

fn milliseconds(text: &str) -> Result<Duration, String> {
    let number = text.parse().map(Duration::from_millis);
    number.map_err(|_| "a whole number of milliseconds is needed, 0 or more".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(line: &[&str]) -> Result<Command, clap::Error> {
        Cli::try_parse_from(std::iter::once(&"dotpipe").chain(line)).map(|cli| cli.command)
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_fits_a_terminal() {
        fn check(command: &mut clap::Command) {
            for help in [command.render_help(), command.render_long_help()] {
                let help = help.to_string();
                let long = help.lines().find(|line| line.chars().count() > 120);
                assert_eq!(long, None, "in the help of {}", command.get_name());
            }
            command.get_subcommands_mut().for_each(check);
        }
        check(&mut Cli::command());
    }

    #[test]
    fn exec_takes_the_rest_of_the_line() {
        let Ok(Command::Serve(serve)) = parse(&["serve", "p", "--first", "--exec", "ls", "-l", "--max", "x"]) else {
            panic!("this form is fixed");
        };
        assert!(serve.first);
        assert_eq!(serve.exec, ["ls", "-l", "--max", "x"]);
        assert_eq!(serve.max, None);
    }

    #[test]
    fn the_command_of_a_child_keeps_its_options() {
        let line = ["anonymous", "server", "--", "a", "-b", "--", "{handle}"];
        let Ok(Command::Anonymous {
            side: Anonymous::Server { command },
        }) = parse(&line)
        else {
            panic!("this form is fixed");
        };
        assert_eq!(command, ["a", "-b", "--", "{handle}"]);
    }

    #[test]
    fn numbers_have_ranges() {
        assert_eq!(instances("unlimited"), Ok(-1));
        assert_eq!(instances("254"), Ok(254));
        for wrong in ["0", "255", "-1", "many", ""] {
            assert!(instances(wrong).is_err(), "{wrong}");
        }
        assert_eq!(milliseconds("0"), Ok(Duration::ZERO));
        assert!(milliseconds("-1").is_err());
        assert!(milliseconds("1s").is_err());
    }

    #[test]
    fn echo_and_exec_exclude_each_other() {
        assert!(parse(&["serve", "p", "--echo", "--exec", "cat"]).is_err());
    }
}
