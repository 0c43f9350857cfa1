//! A second process that does with the library what a test tells it, line by line.
//!
//! It is this test program itself, started with one environment variable set, so that it can be run as another user, in
//! other namespaces, under strace, and be killed. Each command gets one answer, a line with `= `.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use dotpipe::{ErrorKind, NamedPipeClientStream, NamedPipeServerStream, PipeOptions, PipeSecurity, PipeStream};
use dotpipe_testkit::Process;

const VARIABLE: &str = "DOTPIPE_TEST_PUPPET";

/// The strings of a puppet.
pub(crate) struct Puppet {
    process: Process,
    /// The puppet's own process, where something like strace stands between it and this one.
    pub(crate) pid: u32,
}

impl Puppet {
    /// An ordinary second process.
    #[track_caller]
    pub(crate) fn start() -> Self {
        Self::under(&[] as &[&str])
    }

    /// A process that is started by a command such as `unshare -n`.
    #[track_caller]
    pub(crate) fn under<S: AsRef<OsStr>>(wrapper: &[S]) -> Self {
        Self::run(wrapper, &std::env::current_exe().expect("a program has a path"))
    }

    /// A process of another user, with no groups but its own. `folder` is for a copy of the program, if that user may
    /// not run the program where it is.
    #[track_caller]
    pub(crate) fn of_user(uid: u32, folder: &Path) -> Self {
        Self::under_as_user(
            &[
                format!("--reuid={uid}"),
                format!("--regid={uid}"),
                "--clear-groups".into(),
            ],
            folder,
        )
    }

    /// A process that `setpriv` starts with these options.
    #[track_caller]
    pub(crate) fn under_as_user(options: &[String], folder: &Path) -> Self {
        let mut wrapper = vec!["setpriv".to_owned()];
        wrapper.extend_from_slice(options);
        Self::run(&wrapper, &program_for_everyone(folder))
    }

    #[track_caller]
    fn run<S: AsRef<OsStr>>(wrapper: &[S], program: &Path) -> Self {
        let mut words: Vec<&OsStr> = wrapper.iter().map(AsRef::as_ref).collect();
        words.push(program.as_os_str());
        let mut command = Command::new(words[0]);
        command.args(&words[1..]);
        command.args(["puppet", "--exact", "--nocapture", "--test-threads=1"]);
        command.env(VARIABLE, "1").env("RUST_TEST_THREADS", "1");
        let mut process = Process::start(&mut command);
        let ready = process.wait_for_stdout("= ready ");
        let pid = ready.rsplit(' ').next().and_then(|pid| pid.parse().ok());
        Self {
            process,
            pid: pid.expect("a puppet says its number"),
        }
    }

    /// Gives a command, and does not wait for its answer.
    #[track_caller]
    pub(crate) fn tell(&mut self, command: &str) {
        self.process.write_line(command);
    }

    /// The next answer.
    #[track_caller]
    pub(crate) fn answer(&mut self) -> String {
        let line = self.process.wait_for_stdout("= ");
        line.split_once("= ").expect("the line was looked for").1.to_owned()
    }

    #[track_caller]
    pub(crate) fn ask(&mut self, command: &str) -> String {
        self.tell(command);
        self.answer()
    }

    /// As [`ask`](Self::ask), for a command that must not fail.
    #[track_caller]
    pub(crate) fn expect(&mut self, command: &str) -> String {
        let answer = self.ask(command);
        assert!(!answer.starts_with("error "), "{command}: {answer}");
        answer
    }

    /// As [`ask`](Self::ask), for a command that must fail with this class; returns the text.
    #[track_caller]
    pub(crate) fn expect_error(&mut self, command: &str, kind: ErrorKind) -> String {
        let answer = self.ask(command);
        let wanted = format!("error {kind:?}: ");
        match answer.strip_prefix(&wanted) {
            Some(text) => text.to_owned(),
            None => panic!("{command}: '{answer}' instead of '{wanted}'"),
        }
    }

    /// Has the puppet's server wait for a client, and is that client.
    #[track_caller]
    pub(crate) fn serves(&mut self, server: &str, name: &str) {
        self.tell(&format!("wait {server}"));
        let client = crate::kit::client(name);
        assert_eq!(self.answer(), "ok");
        drop(client);
    }

    /// Kills the puppet as nothing else does: by SIGKILL, and waits until it is gone.
    #[track_caller]
    pub(crate) fn kill(self) {
        self.signal(rustix::process::Signal::KILL);
        self.process.finish();
    }

    /// Lets the puppet end by itself.
    #[track_caller]
    pub(crate) fn finish(self) -> dotpipe_testkit::Finished {
        self.process.finish()
    }

    /// Sends a signal to the puppet.
    #[track_caller]
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.pid)
            .ok()
            .and_then(rustix::process::Pid::from_raw)
            .expect("a process has a number");
        rustix::process::kill_process(pid, signal).expect("a puppet takes signals");
    }
}

/// This test program at a path where every user can run it.
fn program_for_everyone(folder: &Path) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let own = std::env::current_exe().expect("a program has a path");
    let open = |path: &Path, bits| std::fs::metadata(path).is_ok_and(|it| it.permissions().mode() & bits == bits);
    if open(&own, 0o5) && own.ancestors().skip(1).all(|folder| open(folder, 0o1)) {
        return own;
    }
    let copy = folder.join("puppet");
    if !copy.exists() {
        dotpipe_testkit::copy_program(&own, &copy);
        std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755)).expect("the copy is ours");
    }
    copy
}

/// Does what the lines on stdin say, if this process was started as a puppet.
pub(crate) fn dance() {
    if std::env::var_os(VARIABLE).is_none() {
        return;
    }
    say(&format!("ready {}", std::process::id()));
    let stage = Arc::new(Stage::default());
    let mut held = None;
    for line in std::io::stdin().lines() {
        let line = line.expect("commands are text");
        // `@` starts a command on a thread of its own, which says its number and waits for a line `go`.
        if let Some(command) = line.strip_prefix("@ ") {
            let (stage, command) = (Arc::clone(&stage), command.to_owned());
            let (go, may_go) = mpsc::channel();
            held = Some(go);
            thread::spawn(move || {
                say(&format!("tid {}", rustix::thread::gettid().as_raw_nonzero()));
                may_go.recv().expect("the command is let go");
                say(&stage.answer(&command));
            });
            continue;
        }
        if line == "go" {
            held.take()
                .expect("a command is held")
                .send(())
                .expect("its thread waits");
            continue;
        }
        // `&` starts a command on a thread of its own.
        if let Some(command) = line.strip_prefix("& ") {
            let (stage, command) = (Arc::clone(&stage), command.to_owned());
            thread::spawn(move || say(&stage.answer(&command)));
        } else {
            say(&stage.answer(&line));
        }
    }
    std::process::exit(0);
}

fn say(text: &str) {
    // One write, and past the harness, which would hold the line back.
    let line = format!("= {}\n", text.replace('\n', " "));
    let mut out = std::io::stdout().lock();
    out.write_all(line.as_bytes())
        .and_then(|()| out.flush())
        .expect("the test listens");
}

#[derive(Default)]
struct Stage {
    servers: Mutex<HashMap<String, Arc<NamedPipeServerStream>>>,
    clients: Mutex<HashMap<String, Arc<NamedPipeClientStream>>>,
    strangers: Mutex<Vec<UnixListener>>,
    knocks: AtomicUsize,
}

type Answer = Result<String, Box<dyn std::error::Error>>;

impl Stage {
    fn answer(&self, line: &str) -> String {
        let words: Vec<&str> = line.split(' ').collect();
        self.obey(words[0], &words[1..]).unwrap_or_else(|error| {
            let inner = error.downcast_ref::<std::io::Error>().and_then(dotpipe::Error::of);
            match error.downcast_ref::<dotpipe::Error>().or(inner) {
                Some(error) => format!("error {:?}: {error}", error.kind()),
                None => format!("error other: {error}"),
            }
        })
    }

    fn obey(&self, verb: &str, words: &[&str]) -> Answer {
        let ok = || Ok("ok".to_owned());
        match (verb, words) {
            ("create", [id, path, options @ ..]) => {
                let server = create(path, options)?;
                self.servers.lock().unwrap().insert((*id).to_owned(), Arc::new(server));
                ok()
            }
            // A name that is not kept.
            ("touch", [path, options @ ..]) => create(path, options).map(|_| "ok".to_owned()).map_err(Into::into),
            ("wait", [id]) => self
                .server(id)
                .wait_for_connection()
                .map(|()| "ok".to_owned())
                .map_err(Into::into),
            ("wait", [id, limit]) => {
                let limit = Duration::from_millis(limit.parse()?);
                self.server(id).wait_for_connection_timeout(limit)?;
                ok()
            }
            ("disconnect", [id]) => self
                .server(id)
                .disconnect()
                .map(|()| "ok".to_owned())
                .map_err(Into::into),
            ("client", [id, path, limit, options @ ..]) => {
                let mut builder = NamedPipeClientStream::builder(path);
                if options.contains(&"any") {
                    builder = builder.any_server_user();
                }
                if options.contains(&"current-user") {
                    builder = builder.options(PipeOptions::CURRENT_USER_ONLY);
                }
                let client = builder.create()?;
                client.connect_timeout(Duration::from_millis(limit.parse()?))?;
                self.clients.lock().unwrap().insert((*id).to_owned(), Arc::new(client));
                ok()
            }
            ("write", [id, count]) => {
                let stream = self.stream(id);
                (&**stream).write_all(&vec![b'x'; count.parse()?])?;
                ok()
            }
            ("read", [id, count]) => {
                let mut bytes = vec![0; count.parse()?];
                let count = (&**self.stream(id)).read(&mut bytes)?;
                Ok(format!("ok {count}"))
            }
            ("drain", [id]) => self
                .stream(id)
                .wait_for_pipe_drain()
                .map(|()| "ok".to_owned())
                .map_err(Into::into),
            ("who", [id]) => {
                let who = self.server(id).client_identity()?;
                Ok(format!("{who:?}"))
            }
            ("instances", [id]) => Ok(self.client(id).number_of_server_instances()?.to_string()),
            ("drop", [id]) => {
                let server = self.servers.lock().unwrap().remove(*id);
                let client = self.clients.lock().unwrap().remove(*id);
                drop((server, client));
                ok()
            }
            ("act-as-client", [id, act @ ..]) => Ok(crate::run_as::act(&self.server(id), act)?),
            ("act-alone-as-client", [id, folder]) => {
                crate::run_as::act_alone(&self.server(id), Path::new(folder));
                ok()
            }
            ("limit-descriptors", []) => crate::shortage::use_up_descriptors().map_err(Into::into),
            ("free-descriptors", []) => crate::shortage::give_descriptors_back().map_err(Into::into),
            // A server and a client that know nothing of dotpipe.
            ("listen", [path]) => {
                self.strangers.lock().unwrap().push(UnixListener::bind(path)?);
                ok()
            }
            ("knock", [path]) => loop {
                if let Ok(mut stream) = UnixStream::connect(path) {
                    let _ = stream.write_all(&[b'x'; 100]);
                    self.knocks.fetch_add(1, Ordering::SeqCst);
                }
            },
            ("knocks", []) => Ok(self.knocks.load(Ordering::SeqCst).to_string()),
            ("anonymous", [case]) => {
                crate::anonymous::case(case);
                ok()
            }
            ("churn", [path, rounds]) => crate::races::churn(path, rounds.parse()?),
            _ => Err(format!("no such command: {verb}").into()),
        }
    }

    fn server(&self, id: &str) -> Arc<NamedPipeServerStream> {
        Arc::clone(&self.servers.lock().unwrap()[id])
    }

    fn client(&self, id: &str) -> Arc<NamedPipeClientStream> {
        Arc::clone(&self.clients.lock().unwrap()[id])
    }

    fn stream(&self, id: &str) -> Box<dyn std::ops::Deref<Target = PipeStream>> {
        struct Of<T>(Arc<T>);
        impl<T: std::ops::Deref<Target = PipeStream>> std::ops::Deref for Of<T> {
            type Target = PipeStream;
            fn deref(&self) -> &PipeStream {
                &self.0
            }
        }
        if self.clients.lock().unwrap().contains_key(id) {
            Box::new(Of(self.client(id)))
        } else {
            Box::new(Of(self.server(id)))
        }
    }
}

fn create(path: &str, options: &[&str]) -> dotpipe::Result<NamedPipeServerStream> {
    let mut builder = NamedPipeServerStream::builder(path);
    for option in options {
        builder = match option.split_once('=') {
            Some(("max", max)) => builder.max_number_of_server_instances(max.parse().expect("a number")),
            Some(("access", who)) => builder.security(who.parse::<PipeSecurity>()?),
            None if *option == "first" => builder.options(PipeOptions::FIRST_PIPE_INSTANCE),
            None if *option == "current-user" => builder.options(PipeOptions::CURRENT_USER_ONLY),
            _ => panic!("no such option: {option}"),
        };
    }
    builder.create()
}
