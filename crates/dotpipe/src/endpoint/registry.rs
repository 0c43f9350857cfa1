//! The server instances of this process, by the path of their socket.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

use super::Instances;
use super::listener::{Accepted, Listener};
use super::owner::Owner;
use crate::error::{Error, ErrorKind, Result};
use crate::wait::{Control, Deadline, lock};

/// One of the instances that share a name and its listener. The last one to be dropped gives the name up.
#[derive(Debug)]
pub(crate) struct Instance {
    listener: Arc<Listener>,
    path: PathBuf,
    /// Changed under the lock of the names only.
    given_up: AtomicBool,
}

#[derive(Debug)]
struct Entry {
    listener: Arc<Listener>,
    /// The limit that the first instance set, which holds for all.
    max: Option<u32>,
    count: u32,
    owner: Owner,
}

/// Held while a name is created or given up, so that the two cannot cross.
static NAMES: LazyLock<Mutex<HashMap<PathBuf, Entry>>> = LazyLock::new(Mutex::default);

impl Instance {
    /// Makes an instance: the first takes the name, later ones share it, by .NET's rules.
    pub(crate) fn create(path: &Path, asked: Instances) -> Result<Self> {
        let mut names = lock(&NAMES);
        if let Some(entry) = names.get_mut(path) {
            check_further(path, entry, &asked)?;
            entry.count += 1;
            entry.tell();
            return Ok(Self::over(Arc::clone(&entry.listener), path));
        }
        let owner = Owner {
            direction: Some(asked.direction),
            mode: Some(asked.mode),
            instances: Some((1, asked.max)),
            ..Owner::this_process()
        };
        let listener = Arc::new(Listener::create(path, asked.security, asked.first, &owner)?);
        names.insert(
            path.to_owned(),
            Entry {
                listener: Arc::clone(&listener),
                max: asked.max,
                count: 1,
                owner,
            },
        );
        Ok(Self::over(listener, path))
    }

    fn over(listener: Arc<Listener>, path: &Path) -> Self {
        Self {
            listener,
            path: path.to_owned(),
            given_up: AtomicBool::new(false),
        }
    }

    pub(crate) fn accept(
        &self,
        control: &Arc<Control>,
        deadline: Deadline,
        ended: impl Fn() -> Result<()>,
    ) -> Result<Accepted> {
        self.listener.accept(control, deadline, ended)
    }

    /// Gives this instance up, and the name with the last one, though a thread may still be on its way out of `accept`.
    pub(crate) fn give_up(&self) {
        let mut names = lock(&NAMES);
        if self.given_up.swap(true, Ordering::Relaxed) {
            return;
        }
        if let Some(entry) = names.get_mut(&self.path) {
            entry.count -= 1;
            if entry.count == 0 {
                names.remove(&self.path);
                self.listener.give_up_name();
            } else {
                entry.tell();
            }
        }
    }
}

impl Entry {
    fn tell(&mut self) {
        self.owner.instances = Some((self.count, self.max));
        self.listener.record(&self.owner);
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.give_up();
    }
}

fn check_further(path: &Path, entry: &Entry, asked: &Instances) -> Result<()> {
    let denied = |why: String| {
        let text = format!(
            "Access to the path '{}' is denied.",
            crate::text::printable(path.as_os_str())
        );
        Err(Error::new(ErrorKind::UnauthorizedAccess, text)
            .attempted_on("creating a further instance of", path)
            .advice(why))
    };
    if asked.first {
        return denied("The name exists: this process has created it before.".to_owned());
    }
    if entry.max.is_some_and(|max| entry.count >= max) {
        return Err(Error::new(ErrorKind::InstancesBusy, "All pipe instances are busy.")
            .attempted_on("creating a further instance of", path)
            .advice("This process has as many instances of the name as its first one allowed."));
    }
    if asked.max.is_some_and(|max| entry.count >= max) {
        return denied(format!(
            "This process has {} instances of the name already, more than this one allows.",
            entry.count
        ));
    }
    if *entry.listener.security() != asked.security {
        return denied(
            "All instances of a name share one access rule, and the first one asked for another.".to_owned(),
        );
    }
    Ok(())
}
