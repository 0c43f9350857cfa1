//! Processes of different users. They need root, to become somebody else.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use dotpipe::{
    ErrorKind as Kind, NamedPipeClientStream, NamedPipeServerStream, PipeDirection, PipeOptions, PipeSecurity,
};
use dotpipe_interop::exchange::{Limited, rooted, serve};
use dotpipe_interop::pattern::{end, pull};
use dotpipe_interop::{Peer, dotnet, socat};
use dotpipe_testkit::{Process, TempDir, eventually, limit, pipe_folder, skip};

/// Nobody's user id, without an entry in the user table.
const STRANGER: u32 = 54_321;

/// A folder that a stranger can use; a skip and `None` if there can be no stranger.
fn open_folder() -> Option<TempDir> {
    if !rustix::process::geteuid().is_root() {
        skip("a process of another user", "only root can start one");
        return None;
    }
    let folder = pipe_folder();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    Some(folder)
}

/// Our own client program, as a stranger. It is copied to where strangers may execute it.
fn strange_client(folder: &Path, name: &str, work: &str) -> Process {
    let program = folder.join("rust_child");
    // By cp: if this process wrote it, a child that another test starts just then would hold it open for writing, and
    // nobody could execute it.
    let copied = Command::new("cp")
        .arg(env!("CARGO_BIN_EXE_rust_child"))
        .arg(&program)
        .status()
        .unwrap();
    assert!(copied.success());
    let mut command = Command::new(&program);
    Process::start(
        command
            .arg("client")
            .arg(rooted(folder, name))
            .arg(work)
            .uid(STRANGER)
            .gid(STRANGER),
    )
}

fn their_server_refuses_us(peer: &Peer) {
    let Some(folder) = open_folder() else { return };
    let server = peer.server(folder.path(), "own");
    // Before .NET 11 CurrentUserOnly leaves the mode of the socket to the umask.
    let mut command = Command::new("sh");
    command
        .args(["-c", "umask 0; exec \"$0\" \"$@\""])
        .arg(server.get_program())
        .args(server.get_args());
    command.args(["--opts=currentuser", "--retry", "--do=push:10"]);
    command.envs(server.get_envs().filter_map(|(key, value)| Some((key, value?))));
    let mut server = Process::start(&mut command);
    server.wait_for_stderr("listening");

    let stranger = strange_client(folder.path(), "own", "pull:10");
    assert!(server.wait_for_stderr("refused").contains(&STRANGER.to_string()));
    assert_eq!(stranger.finish().status.code(), Some(3));

    let builder = NamedPipeClientStream::builder(rooted(folder.path(), "own"));
    let client = builder
        .options(PipeOptions::CURRENT_USER_ONLY)
        .create()
        .unwrap()
        .limited();
    client.connect_timeout(limit()).unwrap();
    pull(&client, 10).unwrap();
    server.finish().expect_success();
}

#[test]
fn server_of_net3_1_for_the_current_user_only_refuses_us() {
    dotnet("3.1").inspect(their_server_refuses_us);
}

#[test]
fn server_of_net8_for_the_current_user_only_refuses_us() {
    dotnet("8").inspect(their_server_refuses_us);
}

/// A stranger with socat cannot even connect, and the server's wait does not notice.
#[test]
fn our_server_is_for_its_own_user() {
    let (Some(socat), Some(folder)) = (socat(), open_folder()) else {
        return;
    };
    let server = serve(folder.path(), "own", PipeDirection::InOut);
    let refused = strange_socat(socat, server.path()).finish();
    assert!(!refused.status.success());
    assert!(refused.stderr.contains("Permission denied"), "{}", refused.stderr);
    let own = Process::start(Command::new("socat").arg("-").arg(address(server.path())));
    server.wait_for_connection_timeout(limit()).unwrap();
    assert_eq!(server.client_identity().unwrap().pid(), Some(own.pid()));
    own.finish().expect_success();
    end(&server).unwrap();
}

#[test]
fn our_server_for_everyone_knows_the_stranger() {
    let (Some(socat), Some(folder)) = (socat(), open_folder()) else {
        return;
    };
    let builder = NamedPipeServerStream::builder(rooted(folder.path(), "open"));
    let server = builder.security(PipeSecurity::everyone()).create().unwrap().limited();
    let mut stranger = strange_socat(socat, server.path());
    server.wait_for_connection_timeout(limit()).unwrap();
    let identity = server.client_identity().unwrap();
    assert_eq!((identity.uid(), identity.gid()), (Some(STRANGER), Some(STRANGER)));
    assert_eq!(identity.pid(), Some(stranger.pid()));
    stranger.write(b"hello");
    let mut hello = [0; 5];
    (&server).read_exact(&mut hello).unwrap();
    assert_eq!(&hello, b"hello");
    drop(server);
    stranger.finish();
}

/// Anyone may create a name first in a shared folder, so a client does not talk to a stranger's server unasked.
#[test]
fn our_client_refuses_a_strangers_server() {
    let (Some(mut socat), Some(folder)) = (socat(), open_folder()) else {
        return;
    };
    let path = rooted(folder.path(), "strange");
    socat
        .arg(format!("UNIX-LISTEN:{},fork,mode=666", path.display()))
        .arg("EXEC:cat")
        .uid(STRANGER)
        .gid(STRANGER);
    let server = Process::start(&mut socat);
    let connect = |any_user: bool, options: PipeOptions| {
        let builder = NamedPipeClientStream::builder(&path).options(options);
        let builder = if any_user { builder.any_server_user() } else { builder };
        builder
            .create()
            .unwrap()
            .limited()
            .connect_timeout(limit())
            .map_err(|error| error.kind())
    };
    assert_eq!(connect(false, PipeOptions::NONE), Err(Kind::UnauthorizedAccess));
    assert_eq!(
        connect(true, PipeOptions::CURRENT_USER_ONLY),
        Err(Kind::UnauthorizedAccess)
    );
    assert_eq!(connect(true, PipeOptions::NONE), Ok(()));
    server.signal(15);
    server.finish();
    eventually("socat has removed its socket", || !path.exists());
}

fn strange_socat(mut socat: Command, path: &Path) -> Process {
    Process::start(socat.arg("-").arg(address(path)).uid(STRANGER).gid(STRANGER))
}

fn address(path: &Path) -> String {
    format!("UNIX-CONNECT:{}", path.display())
}
