//! What a child has written to one of its streams: collected by a thread, waited for by the test.

use std::io::{ErrorKind, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

/// All bytes of one output stream so far.
#[derive(Clone, Debug)]
pub(crate) struct Output(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    /// Where the next search starts: behind the line that the last search returned.
    searched: usize,
    ended: bool,
}

/// Why a line did not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// The stream ended without it.
    Ended,
    /// The time is over.
    Late,
}

impl Output {
    /// Starts to collect what `source` yields, on a thread that ends with the source.
    pub(crate) fn collect(mut source: impl Read + Send + 'static) -> Self {
        let output = Self(Arc::default());
        let collector = output.clone();
        thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            loop {
                match source.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(count) => collector.change(|state| state.bytes.extend_from_slice(&buffer[..count])),
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(_) => break,
                }
            }
            collector.change(|state| state.ended = true);
        });
        output
    }

    /// Waits for a line with `needle` in it and returns the line without its end.
    pub(crate) fn wait_for(&self, needle: &str, deadline: Instant) -> Result<String, Missing> {
        let mut state = self.lock();
        loop {
            if let Some(line) = state.find(needle.as_bytes()) {
                return Ok(line);
            }
            if state.ended {
                return Err(Missing::Ended);
            }
            state = self.wait(state, deadline).ok_or(Missing::Late)?;
        }
    }

    /// Waits until the stream has ended; false if it has not by `deadline`.
    pub(crate) fn wait_for_end(&self, deadline: Instant) -> bool {
        let mut state = self.lock();
        while !state.ended {
            match self.wait(state, deadline) {
                Some(next) => state = next,
                None => return false,
            }
        }
        true
    }

    /// A copy of all bytes so far.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.lock().bytes.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.0.changed.notify_all();
    }

    fn wait<'a>(&'a self, state: MutexGuard<'a, State>, deadline: Instant) -> Option<MutexGuard<'a, State>> {
        let left = deadline.checked_duration_since(Instant::now())?;
        Some(
            self.0
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0,
        )
    }
}

impl State {
    fn find(&mut self, needle: &[u8]) -> Option<String> {
        let mut start = self.searched;
        loop {
            let rest = &self.bytes[start..];
            let newline = rest.iter().position(|&byte| byte == b'\n');
            // The last line may be half written. It counts when the stream is over, and when it is a prompt, after
            // which a program waits for an answer and writes no more.
            let line = &rest[..newline.unwrap_or(rest.len())];
            let complete = newline.is_some() || self.ended;
            let prompt = needle.ends_with(b": ") && line.ends_with(needle);
            if (complete || prompt) && contains(line, needle) {
                let line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).into_owned();
                self.searched = start + newline.map_or(rest.len(), |at| at + 1);
                return Some(line);
            }
            start += newline? + 1;
        }
    }
}

fn contains(line: &[u8], needle: &[u8]) -> bool {
    needle.is_empty() || line.windows(needle.len()).any(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> State {
        State {
            bytes: text.into(),
            ..State::default()
        }
    }

    #[test]
    fn a_line_is_found_whole_and_only_once() {
        let mut state = all("listening\nconnected root\r\nconnected guest\n");
        assert_eq!(state.find(b"connected").as_deref(), Some("connected root"));
        assert_eq!(state.find(b"connected").as_deref(), Some("connected guest"));
        assert_eq!(state.find(b"connected"), None);
    }

    #[test]
    fn half_a_line_counts_only_as_a_prompt_or_at_the_end() {
        let mut state = all("connected ro");
        assert_eq!(state.find(b"connected"), None);
        state.ended = true;
        assert_eq!(state.find(b"connected").as_deref(), Some("connected ro"));
        assert_eq!(
            all("Enter text: ").find(b"Enter text: ").as_deref(),
            Some("Enter text: ")
        );
        assert_eq!(all("Enter text: a").find(b"Enter text: "), None);
    }
}
