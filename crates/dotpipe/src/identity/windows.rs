//! Who is at the other end of a pipe, by the identity that the client lends to the connection.

use std::io;

use super::ClientIdentity;
use crate::sys::{self, Impersonating};
use crate::transport::Transport;

/// The client at the other end of a server's end.
///
/// The user is learned by taking the client's identity for a moment, which is what `GetNamedPipeHandleState` does for .NET.
pub(super) fn identify(transport: &Transport) -> io::Result<ClientIdentity> {
    let pipe = transport.descriptor();
    let user = Impersonating::begin(pipe)?.user()?;
    let pid = sys::client_process(pipe).ok().filter(|&pid| pid != 0);
    Ok(ClientIdentity {
        user_name: sys::name_of(&user)?.unwrap_or_else(|| user.to_string()),
        sid: Some(user.to_string()),
        pid,
        session: sys::client_session(pipe).ok(),
        computer: sys::client_computer(pipe),
        program: pid.and_then(sys::program_of),
        ..ClientIdentity::default()
    })
}

pub(super) fn impersonate(transport: &Transport, _: &ClientIdentity) -> io::Result<Option<Impersonating>> {
    Impersonating::begin(transport.descriptor()).map(Some)
}

pub(super) fn what_impersonating_takes(_: &ClientIdentity) -> String {
    "The client must connect with TokenImpersonationLevel::Impersonation, and this process needs SeImpersonatePrivilege."
        .to_owned()
}
