//! The kernel's table of Unix sockets, asked through `sock_diag(7)`.

use std::io;

use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};

use crate::sys::FileId;

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_DUMP: u16 = 0x300;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const UDIAG_SHOW_VFS: u32 = 2;
const UNIX_DIAG_VFS: u16 = 1;
const HEADER: usize = 16;
/// `struct unix_diag_msg`: family, type, state, padding, inode, cookie.
const UNIX_DIAG_MESSAGE: usize = 16;
const TCP_ESTABLISHED: u8 = 1;
const TCP_LISTEN: u8 = 10;

/// A socket that is bound to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BoundSocket {
    /// Its number in the kernel, as in `socket:[NUMBER]` under `/proc`.
    pub(crate) number: u32,
    pub(crate) listens: bool,
    file: FileId,
}

/// The socket that serves this file, or is about to: a listening one before others.
///
/// Connections do not count. Each that a server accepts shows the file of the socket that listened, and it may outlive
/// that socket by far, in a child of a server that is dead. The table holds this network namespace's sockets only: that
/// nothing is found proves nothing.
pub(crate) fn socket_bound_to(file: FileId) -> io::Result<Option<BoundSocket>> {
    let mut found = bound_sockets()?;
    found.retain(|socket| socket.file == narrowed(file));
    Ok(found
        .iter()
        .find(|socket| socket.listens)
        .or_else(|| found.first())
        .copied())
}

/// A file's identity as the table tells it: the kernel's own coding of the device, and 32 bits of the inode.
fn narrowed(file: FileId) -> FileId {
    let (major, minor) = (rustix::fs::major(file.device), rustix::fs::minor(file.device));
    FileId {
        device: u64::from(major << 20 | minor),
        inode: file.inode & u64::from(u32::MAX),
    }
}

/// All Unix sockets of this network namespace that are bound to a file.
fn bound_sockets() -> io::Result<Vec<BoundSocket>> {
    let socket = net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(netlink::SOCK_DIAG),
    )?;
    net::sendto(
        &socket,
        &request(),
        SendFlags::empty(),
        &netlink::SocketAddrNetlink::new(0, 0),
    )?;
    let mut found = Vec::new();
    let mut buffer = vec![0_u8; 64 * 1024];
    loop {
        let (length, full) = rustix::io::retry_on_intr(|| net::recv(&socket, buffer.as_mut_slice(), RecvFlags::TRUNC))?;
        if full > buffer.len() {
            return Err(io::Error::other("an answer of the kernel's socket table was cut off"));
        }
        if !read_answer(&buffer[..length], &mut found)? {
            return Ok(found);
        }
    }
}

fn request() -> Vec<u8> {
    let mut bytes = Vec::with_capacity(40);
    // struct nlmsghdr
    bytes.extend(40_u32.to_ne_bytes());
    bytes.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes.extend((NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    bytes.extend([0; 8]);
    // struct unix_diag_req: family, protocol, padding, states, inode, show, cookie
    bytes.extend([libc::AF_UNIX as u8, 0, 0, 0]);
    bytes.extend(u32::MAX.to_ne_bytes());
    bytes.extend(0_u32.to_ne_bytes());
    bytes.extend(UDIAG_SHOW_VFS.to_ne_bytes());
    bytes.extend([0xff; 8]);
    bytes
}

/// Reads the messages of one datagram; `false` after the last of the dump.
fn read_answer(mut bytes: &[u8], found: &mut Vec<BoundSocket>) -> io::Result<bool> {
    while bytes.len() >= HEADER {
        let length = number(bytes, 0) as usize;
        if length < HEADER || length > bytes.len() {
            return Err(io::Error::other(
                "the kernel's socket table answered with a message of a wrong length",
            ));
        }
        let (message, kind) = (&bytes[HEADER..length], u16::from_ne_bytes([bytes[4], bytes[5]]));
        match kind {
            NLMSG_DONE => return Ok(false),
            NLMSG_ERROR => {
                let code = message.get(..4).map_or(0, |_| number(message, 0) as i32);
                return Err(io::Error::from_raw_os_error(-code));
            }
            SOCK_DIAG_BY_FAMILY if message.len() >= UNIX_DIAG_MESSAGE => found.extend(read_socket(message)),
            _ => {}
        }
        bytes = &bytes[aligned(length).min(bytes.len())..];
    }
    Ok(true)
}

fn read_socket(message: &[u8]) -> Option<BoundSocket> {
    let (state, own_number) = (message[2], number(message, 4));
    if state == TCP_ESTABLISHED {
        return None;
    }
    let mut attributes = &message[UNIX_DIAG_MESSAGE..];
    while attributes.len() >= 4 {
        let length = usize::from(u16::from_ne_bytes([attributes[0], attributes[1]]));
        let kind = u16::from_ne_bytes([attributes[2], attributes[3]]);
        if length < 4 || length > attributes.len() {
            return None;
        }
        if kind == UNIX_DIAG_VFS && length >= 12 {
            let file = FileId {
                inode: number(attributes, 4).into(),
                device: number(attributes, 8).into(),
            };
            return Some(BoundSocket {
                number: own_number,
                listens: state == TCP_LISTEN,
                file,
            });
        }
        attributes = &attributes[aligned(length).min(attributes.len())..];
    }
    None
}

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys;
    use std::os::unix::net::UnixListener;

    #[test]
    fn finds_a_listening_socket_by_its_file_and_its_holder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let file = sys::entry(&path).unwrap().unwrap().id;
        let socket = socket_bound_to(file).unwrap().unwrap();
        assert!(socket.listens);
        assert_eq!(sys::holder_of_socket(socket.number), Some(std::process::id()));
        drop(listener);
        assert_eq!(socket_bound_to(file).unwrap(), None);
    }

    #[test]
    fn a_connection_does_not_stand_for_its_server() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let file = sys::entry(&path).unwrap().unwrap().id;
        let _client = std::os::unix::net::UnixStream::connect(&path).unwrap();
        let _connection = listener.accept().unwrap();
        assert!(socket_bound_to(file).unwrap().is_some());
        drop(listener);
        assert_eq!(socket_bound_to(file).unwrap(), None);
    }

    #[test]
    fn broken_answers_are_refused_without_a_panic() {
        let mut found = Vec::new();
        for length in [0_u32, 15, 17, u32::MAX] {
            let mut bytes = vec![0_u8; 16];
            bytes[..4].copy_from_slice(&length.to_ne_bytes());
            assert!(read_answer(&bytes, &mut found).is_err());
        }
        let mut socket = vec![0_u8; UNIX_DIAG_MESSAGE];
        socket.extend([2, 0, 1, 0]);
        assert_eq!(read_socket(&socket), None);
    }
}
