//! `dotpipe chat` at a terminal: the line can be edited, and the terminal is left as it was found.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Instant;

use dotpipe_testkit::{eventually, limit};
use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use crate::setup::{Folder, user_name};

/// A command at a terminal of its own.
struct Terminal {
    keys: File,
    side: OwnedFd,
    screen: Receiver<Vec<u8>>,
    seen: Vec<u8>,
    searched: usize,
    child: Child,
}

impl Terminal {
    fn start(folder: &Folder, arguments: &[&str]) -> Self {
        let keys =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("there are terminals left");
        grantpt(&keys).and_then(|()| unlockpt(&keys)).expect("it is new");
        let name = ptsname(&keys, Vec::new()).expect("it is new");
        let side = open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).expect("it is unlocked");
        let size = Winsize {
            ws_row: 24,
            ws_col: 80,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&side, size).expect("it is a terminal");
        let stdio = || Stdio::from(side.try_clone().expect("there are descriptors left"));
        let command = folder.command(arguments);
        // The terminal becomes the one that Ctrl-C comes from.
        let child = Command::new("setsid")
            .args(["--ctty", "--wait"])
            .arg(command.get_program())
            .args(command.get_args())
            .envs([("TMPDIR", folder.path().as_os_str()), ("TERM", "xterm".as_ref())])
            .stdin(stdio())
            .stdout(stdio())
            .stderr(stdio())
            .spawn()
            .expect("setsid is in util-linux");
        let keys = File::from(keys);
        let mut reader = keys.try_clone().expect("there are descriptors left");
        let (show, screen) = mpsc::channel();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = reader.read(&mut buffer) {
                if show.send(buffer[..length].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self {
            keys,
            side,
            screen,
            seen: Vec::new(),
            searched: 0,
            child,
        }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("the terminal takes keys");
    }

    /// Waits until `text` is shown, behind what was waited for before.
    #[track_caller]
    fn wait_for(&mut self, text: &str) {
        let deadline = Instant::now() + limit();
        loop {
            let found = self.seen[self.searched..]
                .windows(text.len())
                .position(|window| window == text.as_bytes());
            if let Some(position) = found {
                self.searched += position + text.len();
                return;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.screen.recv_timeout(left) {
                Ok(more) => self.seen.extend(more),
                Err(_) => panic!("'{text}' is not shown in {:?}", String::from_utf8_lossy(&self.seen)),
            }
        }
    }

    /// Whether typed letters are shown and lines are collected, as a shell expects it.
    fn is_as_it_was(&self) -> bool {
        let modes = tcgetattr(&self.side).expect("it is a terminal").local_modes;
        modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    }

    #[track_caller]
    fn expect_success(mut self) {
        let mut status = None;
        eventually("the command has ended", || {
            status = self.child.try_wait().expect("it is our child");
            status.is_some()
        });
        let status = status.expect("it has ended");
        assert!(
            status.success(),
            "{status}, after {:?}",
            String::from_utf8_lossy(&self.seen)
        );
        assert!(self.is_as_it_was());
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const LEFT: &str = "\x1b[D";
const UP: &str = "\x1b[A";
const CTRL_A: &str = "\x01";
const CTRL_C: &str = "\x03";
const CTRL_D: &str = "\x04";
const BACKSPACE: &str = "\x7f";

fn server(folder: &Folder) -> Terminal {
    let mut terminal = Terminal::start(folder, &["chat", "server", "p"]);
    terminal.wait_for("Waiting for client connection...");
    terminal
}

#[test]
fn a_line_is_edited_before_it_is_sent() {
    let folder = Folder::new();
    let mut terminal = server(&folder);
    let client = folder.start(["chat", "client", "p"]);
    terminal.wait_for(&format!("Client connected. {}", user_name()));
    terminal.wait_for("Enter text: ");
    terminal.press(&format!("wrldx{BACKSPACE}{LEFT}{LEFT}{LEFT}o{CTRL_A}hello \r"));
    terminal.wait_for("Response: Client received: hello world");
    terminal.wait_for("Enter text: ");
    terminal.press(&format!("{UP}!\r"));
    terminal.wait_for("Response: Client received: hello world!");
    terminal.wait_for("Enter text: ");
    terminal.press("exit\r");
    terminal.wait_for("Client disconnected.");
    terminal.expect_success();
    assert!(
        client
            .finish()
            .expect_success()
            .stdout_text()
            .ends_with("\nhello world\nhello world!\n")
    );
    folder.expect_empty();
}

#[test]
fn ctrl_d_ends_the_conversation() {
    let folder = Folder::new();
    let mut terminal = server(&folder);
    let _client = folder.plain_client("p");
    terminal.wait_for("Enter text: ");
    terminal.press(CTRL_D);
    terminal.wait_for("Client disconnected.");
    terminal.expect_success();
    folder.expect_empty();
}

#[test]
fn ctrl_c_ends_it_wherever_it_is() {
    let folder = Folder::new();
    let mut terminal = server(&folder);
    terminal.press(CTRL_C);
    terminal.expect_success();
    folder.expect_empty();

    let mut terminal = server(&folder);
    let _client = folder.plain_client("p");
    terminal.wait_for("Enter text: ");
    terminal.press("half a li");
    terminal.wait_for("half a li");
    terminal.press(CTRL_C);
    terminal.expect_success();
    folder.expect_empty();
}

#[test]
fn other_programs_see_ctrl_c_as_the_signal_that_it_is() {
    let folder = Folder::new();
    let mut terminal = Terminal::start(&folder, &["serve", "p", "--echo"]);
    terminal.wait_for("listening");
    terminal.press(CTRL_C);
    terminal.expect_success();
    folder.expect_empty();
}

#[test]
fn a_person_is_told_what_a_client_waits_for() {
    let folder = Folder::new();
    let mut terminal = Terminal::start(&folder, &["connect", "p"]);
    terminal.wait_for(r"waiting for a server of \\.\pipe\p");
    let _server = folder.serve(&["p", "--exec", "echo", "here you are"]);
    terminal.wait_for("here you are");
    terminal.expect_success();
}

#[test]
fn text_from_this_terminal_goes_both_ways() {
    let folder = Folder::new();
    let _server = folder.serve(&["p", "--echo"]);
    let mut terminal = Terminal::start(&folder, &["connect", "p"]);
    terminal.press("hello\r");
    // Shown twice: as it is typed, and as it comes back.
    terminal.wait_for("hello\r\n");
    terminal.wait_for("hello\r\n");
    terminal.press(CTRL_D);
    terminal.expect_success();
}
