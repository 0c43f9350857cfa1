//! The operating system: the only place with system calls and `unsafe`. Nothing here decides anything.

#[cfg(not(any(unix, windows)))]
compile_error!("dotpipe does not run on this system yet");

#[cfg(unix)]
pub(crate) mod unix;
#[cfg(unix)]
pub(crate) use unix::*;

#[cfg(target_os = "linux")]
pub(crate) mod linux;
#[cfg(target_os = "linux")]
pub(crate) use linux::*;

#[cfg(all(unix, not(target_os = "linux")))]
pub(crate) mod bsd;
#[cfg(all(unix, not(target_os = "linux")))]
pub(crate) use bsd::*;

#[cfg(windows)]
pub(crate) mod windows;
#[cfg(windows)]
pub(crate) use windows::*;
