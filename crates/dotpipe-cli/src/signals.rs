//! Ctrl-C, SIGTERM and a closed terminal: what must not outlive the process is ended first, then the process.
//!
//! Everything of that kind (a server's socket, a child, a terminal's settings) is a [`Kept`]: it is ended when it is
//! dropped, or by the signal thread. The signal thread takes the list of them and never gives it back, so nothing new
//! can be made while the process ends, and nothing is ended twice.

use std::collections::BTreeMap;
use std::mem;
use std::ops::Deref;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::{flag, low_level};

use crate::failure::{Attempt, Result};

/// What a signal means for the exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AfterSignal {
    /// A signal is the ordinary way to end this command, a server: status 0.
    Succeed,
    /// The shell shall see that a signal ended the command: 130 for Ctrl-C, 143 for SIGTERM.
    DieOfIt,
}

/// Something that must not outlive the process.
#[derive(Debug)]
pub(crate) struct Kept<T> {
    value: Arc<T>,
    key: u64,
}

/// What is left to do for something that was told to end and takes its time: wait for it, but not beyond the moment given.
pub(crate) type Finish = Box<dyn FnOnce(Instant) + Send>;

struct List {
    next: u64,
    endings: BTreeMap<u64, Box<dyn FnOnce() -> Option<Finish> + Send>>,
}

/// How long things that were told to end may take, all together.
const GRACE: Duration = Duration::from_secs(2);

static LIST: Mutex<List> = Mutex::new(List {
    next: 0,
    endings: BTreeMap::new(),
});
/// How many threads are in [`during`].
static CALLS: Mutex<usize> = Mutex::new(0);
static CALL_OVER: Condvar = Condvar::new();
/// Whether the process ends, by a signal or by itself.
static ENDING: AtomicBool = AtomicBool::new(false);
static CAUGHT: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Starts the signal thread.
pub(crate) fn watch(after: AfterSignal) -> Result<()> {
    let mut wanted = vec![SIGINT, SIGTERM];
    if !is_ignored(SIGHUP) {
        wanted.push(SIGHUP);
    }
    let caught = CAUGHT.get_or_init(Arc::default);
    for &signal in &wanted {
        // Set by the handler itself: a Ctrl-C ends our children too, and their end must not be seen before the signal.
        flag::register(signal, Arc::clone(caught)).attempt(|| "cannot watch for signals".into())?;
    }
    let mut signals = Signals::new(wanted).attempt(|| "cannot watch for signals".into())?;
    let run = move || {
        let Some(signal) = signals.forever().next() else { return };
        // Whoever presses Ctrl-C twice does not want to wait.
        thread::spawn(move || signals.forever().for_each(die_of));
        end_all();
        match after {
            AfterSignal::Succeed => process::exit(0),
            AfterSignal::DieOfIt => die_of(signal),
        }
    };
    let started = thread::Builder::new().name("signals".into()).spawn(run);
    started
        .map(drop)
        .attempt(|| "cannot start the thread that watches for signals".into())
}

/// Whether a signal ends the process right now: failures that it causes in other threads are not worth a word.
pub(crate) fn caught() -> bool {
    CAUGHT.get().is_some_and(|caught| caught.load(Ordering::SeqCst))
}

/// Whether the process ends right now, for whatever reason: what is closed under other threads' hands is no failure.
pub(crate) fn ending() -> bool {
    caught() || ENDING.load(Ordering::SeqCst)
}

/// For a thread that has nothing left to do but to let the signal thread finish.
pub(crate) fn wait_for_the_end() -> ! {
    loop {
        thread::park();
    }
}

/// Makes a call that ends when something kept is ended, and that must be over before the process is: a server's name is
/// given up only when nobody waits for its clients any more.
pub(crate) fn during<T>(call: impl FnOnce() -> T) -> T {
    struct Over;
    impl Drop for Over {
        fn drop(&mut self) {
            *calls() -= 1;
            CALL_OVER.notify_all();
        }
    }
    *calls() += 1;
    let _over = Over;
    call()
}

/// Acts as if Ctrl-C had been pressed.
pub(crate) fn interrupt() -> ! {
    // If it cannot be raised, the process ends without it.
    if low_level::raise(SIGINT).is_err() {
        end_all();
        die_of(SIGINT);
    }
    wait_for_the_end()
}

/// Ends all that is kept. Nothing can be kept any more.
pub(crate) fn end_all() {
    ENDING.store(true, Ordering::SeqCst);
    let mut list = list();
    // All are told first, so that those who take their time take it at once.
    let told: Vec<_> = mem::take(&mut list.endings)
        .into_values()
        .filter_map(|end| end())
        .collect();
    let deadline = Instant::now() + GRACE;
    for finish in told {
        finish(deadline);
    }
    let left = deadline.saturating_duration_since(Instant::now());
    let _ = CALL_OVER.wait_timeout_while(calls(), left, |calls| *calls > 0);
    mem::forget(list);
}

/// Makes something that must not outlive the process; `end` ends it, once, from this thread or another, without waiting.
///
/// No signal falls between the making and the keeping.
pub(crate) fn keep<T, E>(
    make: impl FnOnce() -> std::result::Result<T, E>,
    end: impl FnOnce(&T) -> Option<Finish> + Send + 'static,
) -> std::result::Result<Kept<T>, E>
where
    T: Send + Sync + 'static,
{
    let mut list = list();
    let value = Arc::new(make()?);
    let key = list.next;
    list.next += 1;
    let ended = Arc::clone(&value);
    list.endings.insert(key, Box::new(move || end(&ended)));
    Ok(Kept { value, key })
}

impl<T> Kept<T> {
    /// The thing itself, for another thread. It is ended when the `Kept` is, not when the last of these goes.
    pub(crate) fn share(&self) -> Arc<T> {
        Arc::clone(&self.value)
    }

    /// Forgets how to end it, because it has ended.
    pub(crate) fn release(&self) {
        list().endings.remove(&self.key);
    }
}

impl<T> Deref for Kept<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> Drop for Kept<T> {
    fn drop(&mut self) {
        let ending = list().endings.remove(&self.key);
        if let Some(finish) = ending.and_then(|end| end()) {
            finish(Instant::now() + GRACE);
        }
    }
}

fn list() -> MutexGuard<'static, List> {
    LIST.lock().unwrap_or_else(PoisonError::into_inner)
}

fn calls() -> MutexGuard<'static, usize> {
    CALLS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn die_of(signal: i32) {
    let _ = low_level::emulate_default_handler(signal);
    process::exit(128 + signal);
}

/// `nohup` starts programs with SIGHUP ignored, and they are expected to leave it so. Where it cannot be told, it stays
/// as it is.
fn is_ignored(signal: i32) -> bool {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else {
        return true;
    };
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_none_or(|mask| mask & (1 << (signal - 1)) != 0)
}
