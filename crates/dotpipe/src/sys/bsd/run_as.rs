//! Acting as another user, on one thread only: macOS can, the BSDs know only whole processes.

use std::io;
use std::marker::PhantomData;

/// A thread that has another identity; dropping restores its own, or ends the process if that fails.
#[derive(Debug)]
pub(crate) struct Impersonating {
    /// The identity belongs to the thread that changed it.
    _not_send: PhantomData<*const ()>,
}

#[cfg(target_os = "macos")]
unsafe extern "C" {
    /// `pthread_setugid_np(2)`: the thread's own user and group, or the process's again for the two numbers below.
    safe fn pthread_setugid_np(uid: libc::uid_t, gid: libc::gid_t) -> libc::c_int;
}

/// `KAUTH_UID_NONE` and `KAUTH_GID_NONE` of `sys/kauth.h`.
#[cfg(target_os = "macos")]
const NONE: u32 = u32::MAX - 100;

impl Impersonating {
    /// Gives this thread the user and group of another user. The kernel looks that user's other groups up by itself.
    #[cfg(target_os = "macos")]
    pub(crate) fn begin(uid: u32, gid: u32, _: &[u32]) -> io::Result<Self> {
        if pthread_setugid_np(uid, gid) == -1 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { _not_send: PhantomData })
    }

    /// This system has no identity of a thread, and changing the process's would change all other threads.
    #[cfg(not(target_os = "macos"))]
    pub(crate) fn begin(_: u32, _: u32, _: &[u32]) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl Drop for Impersonating {
    fn drop(&mut self) {
        #[cfg(target_os = "macos")]
        if pthread_setugid_np(NONE, NONE) == -1 {
            let error = io::Error::last_os_error();
            // To go on as somebody else would be worse than to end.
            eprintln!(
                "dotpipe: the thread cannot return from the client's identity to its own ({error}); the process ends"
            );
            std::process::abort();
        }
    }
}

/// Whether this thread may take another user's identity.
pub(crate) fn may_change_identity() -> bool {
    cfg!(target_os = "macos") && super::super::effective_uid() == 0
}
