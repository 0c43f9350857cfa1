//! Waiting until a pipe of Windows is empty, which only a call that blocks can tell.

use std::io;
use std::os::windows::io::OwnedHandle;
use std::sync::{Arc, Mutex};
use std::thread;

use super::{Unread, is_gone};
use crate::sys;
use crate::wait::lock;

/// The call that waits, on a thread of its own, and what came of it.
///
/// It belongs to the transport: a drain whose time is over leaves it, and the next one finds it.
#[derive(Debug, Default)]
pub(super) struct Flush {
    call: Mutex<Call>,
}

#[derive(Debug, Default)]
enum Call {
    #[default]
    None,
    /// It waits for what had been written when this many writes had been made.
    Running(u64, Arc<Mutex<Option<io::Result<()>>>>),
}

impl Flush {
    /// Whether all of the `writes` that were made until now have been read.
    pub(super) fn unread(&self, pipe: &Arc<OwnedHandle>, writes: u64) -> io::Result<Unread> {
        let mut call = lock(&self.call);
        if let Call::Running(covered, result) = &*call {
            let covers_all = *covered == writes;
            let Some(result) = lock(result).take() else {
                return Ok(Unread::Something);
            };
            *call = Call::None;
            match result {
                Ok(()) if covers_all => return Ok(Unread::Nothing),
                // There was more to wait for when it began.
                Ok(()) => {}
                Err(error) if is_gone(&error) => return Ok(Unread::Abandoned),
                Err(error) => return Err(error),
            }
        }
        let result = Arc::new(Mutex::new(None));
        let (there, pipe) = (Arc::clone(&result), Arc::clone(pipe));
        thread::Builder::new().name("dotpipe-drain".to_owned()).spawn(move || {
            let outcome = sys::flush(&pipe);
            // Before the news is out: whoever hears it may go on to close the pipe.
            drop(pipe);
            *lock(&there) = Some(outcome);
        })?;
        *call = Call::Running(writes, result);
        Ok(Unread::Something)
    }
}
