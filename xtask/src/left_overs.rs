//! What tests left behind: files, sockets, processes. Tests that clean up only when they pass hide bugs in the
//! library's own clean-up, so every left-over is a failure with a name.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::process::Command;

/// Describes everything that is still in `folder` or runs with it in its environment, and removes it.
pub(crate) fn find_and_remove(folder: &Path) -> Vec<String> {
    let mut found = processes(folder);
    match fs::read_dir(folder) {
        Ok(entries) => {
            for entry in entries.flatten() {
                let path = entry.path();
                if !may_stay(&path) {
                    found.push(describe(&path, folder));
                }
                let _ = if path.is_dir() {
                    fs::remove_dir_all(&path)
                } else {
                    fs::remove_file(&path)
                };
            }
        }
        Err(error) => found.push(format!(
            "the tests' folder {} cannot be read any more: {error}",
            folder.display()
        )),
    }
    found
}

/// The library's private folder and its lock files may stay, as they do for users; sockets in it may not.
fn may_stay(path: &Path) -> bool {
    let private = path
        .file_name()
        .is_some_and(|name| name.as_bytes().starts_with(b".dotpipe-"));
    private && fs::read_dir(path).is_ok_and(|entries| entries.flatten().all(|entry| entry.path().is_file()))
}

fn describe(path: &Path, folder: &Path) -> String {
    let shown = path.strip_prefix(folder).unwrap_or(path).display();
    let kind = match fs::symlink_metadata(path).map(|metadata| metadata.file_type()) {
        Ok(kind) if kind.is_socket() => "socket",
        Ok(kind) if kind.is_fifo() => "fifo",
        Ok(kind) if kind.is_dir() => {
            let names = fs::read_dir(path)
                .into_iter()
                .flatten()
                .flatten()
                .map(|entry| entry.file_name());
            let names: Vec<_> = names.map(|name| name.to_string_lossy().into_owned()).collect();
            return format!("folder {shown} with [{}]", names.join(", "));
        }
        Ok(_) => "file",
        Err(_) => "something at",
    };
    format!("{kind} {shown}")
}

/// Processes are recognised by the run's own folder in their environment, which survives double forks and new
/// sessions, unlike parents and groups. Only where there is a /proc.
fn processes(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        if runs_in(&entry.path(), folder) {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            found.push(format!(
                "process {pid}: {}",
                String::from_utf8_lossy(&line).replace('\0', " ").trim_end()
            ));
            // By the shell's kill, as there may be no program of that name.
            let _ = Command::new("sh").args(["-c", &format!("kill -9 {pid}")]).status();
        }
    }
    found
}

/// Whether the process of this /proc entry has `TMPDIR` at `folder` or below. A zombie's environment is empty.
fn runs_in(process: &Path, folder: &Path) -> bool {
    let environment = fs::read(process.join("environ")).unwrap_or_default();
    let mut variables = environment.split(|&byte| byte == 0);
    variables.any(|variable| {
        let value = variable.strip_prefix(b"TMPDIR=");
        value.is_some_and(|value| Path::new(std::ffi::OsStr::from_bytes(value)).starts_with(folder))
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn everything_is_found_named_and_removed() {
        let folder = std::env::temp_dir().join(format!("left-{}", std::process::id()));
        fs::create_dir_all(folder.join("sub/deep")).unwrap();
        fs::create_dir_all(folder.join(".dotpipe-0")).unwrap();
        fs::write(folder.join(".dotpipe-0/name.lock"), "").unwrap();
        fs::write(folder.join("text"), "").unwrap();
        let socket = UnixListener::bind(folder.join("CoreFxPipe_x")).unwrap();
        let mut child = Command::new("sleep")
            .arg("1000")
            .env("TMPDIR", folder.join("sub"))
            .spawn()
            .unwrap();

        let mut found = find_and_remove(&folder);
        found.sort();
        let process = format!("process {}: sleep 1000", child.id());
        assert_eq!(
            found,
            [
                "file text",
                "folder sub with [deep]",
                process.as_str(),
                "socket CoreFxPipe_x"
            ]
        );
        assert!(!child.wait().unwrap().success());
        assert_eq!(find_and_remove(&folder), Vec::<String>::new());
        drop(socket);
        fs::remove_dir(&folder).unwrap();
    }
}
