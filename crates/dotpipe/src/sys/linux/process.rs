//! What `/proc` tells of a process.

use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

/// The program that a process runs: its file if that may be known, else its name (`proc_pid_exe(5)`, `proc_pid_comm(5)`).
pub(crate) fn program_of(pid: u32) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/exe")).ok().or_else(|| {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        Some(PathBuf::from(name.trim_end_matches('\n')))
    })
}

/// As [`program_of`], but `None` if the process at the other end of `socket` has ended, so that its number may be another's by now.
pub(crate) fn program_of_peer(pid: u32, socket: BorrowedFd<'_>) -> Option<PathBuf> {
    let process = super::peer_process(socket);
    let program = program_of(pid)?;
    match process {
        // A process descriptor is readable once its process has ended.
        Ok(process) => (!crate::sys::readiness(process.as_fd()).ok()?.readable).then_some(program),
        Err(_) => Some(program),
    }
}

/// The process that holds a socket open, by the socket's number in the kernel; `None` if no process that we may look into does.
pub(crate) fn holder_of_socket(number: u32) -> Option<u32> {
    let wanted = PathBuf::from(format!("socket:[{number}]"));
    let processes = std::fs::read_dir("/proc").ok()?;
    processes.flatten().find_map(|process| {
        let pid: u32 = process.file_name().to_str()?.parse().ok()?;
        let mut descriptors = std::fs::read_dir(process.path().join("fd")).ok()?.flatten();
        descriptors
            .any(|descriptor| std::fs::read_link(descriptor.path()).is_ok_and(|target| target == wanted))
            .then_some(pid)
    })
}
