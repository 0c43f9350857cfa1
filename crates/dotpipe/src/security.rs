//! Who may connect to a server.

use std::str::FromStr;

use crate::error::{Error, ErrorKind, Result};
use crate::identity::Peer;
use crate::sys;

/// Who may connect to a named pipe's server, beside the server's own user.
///
/// The server's own user and root may always connect, unless [`PipeOptions::CURRENT_USER_ONLY`](crate::PipeOptions::CURRENT_USER_ONLY)
/// is set. A pipe that nobody else may use is a socket of mode 0600, which the kernel guards. One that others may use is
/// a socket of mode 0666, whose server asks the kernel at each connection who is there (`SO_PEERCRED`, `SO_PEERGROUPS`),
/// closes strangers' connections at once, and goes on waiting.
///
/// As text: `current-user`, `everyone`, or a list such as `user:alice,user:1001,group:staff`. Its counterpart in .NET is
/// [PipeSecurity](https://learn.microsoft.com/dotnet/api/system.io.pipes.pipesecurity), which works on Windows only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PipeSecurity {
    everyone: bool,
    users: Vec<u32>,
    groups: Vec<u32>,
    /// Not even root.
    strict: bool,
}

impl PipeSecurity {
    /// Only the server's own user and root: the default.
    #[must_use]
    pub fn current_user() -> Self {
        Self::default()
    }

    /// Every user of the machine.
    #[must_use]
    pub fn everyone() -> Self {
        Self {
            everyone: true,
            ..Self::default()
        }
    }

    /// Lets a user connect too, by number.
    #[must_use]
    pub fn allow_user(mut self, uid: u32) -> Self {
        insert(&mut self.users, uid);
        self
    }

    /// Lets the members of a group connect too, by number.
    #[must_use]
    pub fn allow_group(mut self, gid: u32) -> Self {
        insert(&mut self.groups, gid);
        self
    }

    /// Lets a user connect too, by log-in name or decimal number.
    ///
    /// # Errors
    ///
    /// Argument if the user database has no such user; Io if it cannot be asked.
    pub fn allow_user_named(self, user: &str) -> Result<Self> {
        number_of(user, "user", sys::user_number).map(|uid| self.allow_user(uid))
    }

    /// Lets the members of a group connect too, by name or decimal number.
    ///
    /// # Errors
    ///
    /// Argument if the group database has no such group; Io if it cannot be asked.
    pub fn allow_group_named(self, group: &str) -> Result<Self> {
        number_of(group, "group", sys::group_number).map(|gid| self.allow_group(gid))
    }

    /// The server's own user and nobody else, whatever was allowed before.
    pub(crate) fn strictly_current_user() -> Self {
        Self {
            strict: true,
            ..Self::default()
        }
    }

    /// The mode that the socket's file gets: connecting needs the right to write (`unix(7)`).
    pub(crate) fn socket_mode(&self) -> u32 {
        if self.everyone || !self.users.is_empty() || !self.groups.is_empty() {
            0o666
        } else {
            0o600
        }
    }

    pub(crate) fn allows(&self, peer: &Peer) -> bool {
        // Users without a number in this user namespace all look alike, so that only a pipe for everyone is for them.
        if peer.is_unmapped() {
            return self.everyone;
        }
        peer.is_current_user()
            || (!self.strict && peer.is_root())
            || self.everyone
            || self.users.contains(&peer.uid())
            || peer
                .groups()
                .any(|gid| self.groups.contains(&gid) && !sys::is_unmapped_group(gid))
    }
}

fn insert(numbers: &mut Vec<u32>, number: u32) {
    if let Err(position) = numbers.binary_search(&number) {
        numbers.insert(position, number);
    }
}

fn number_of(
    text: &str,
    what: &'static str,
    by_name: impl FnOnce(&str) -> std::io::Result<Option<u32>>,
) -> Result<u32> {
    let shown = crate::text::printable(text.as_ref());
    match by_name(text) {
        Ok(Some(number)) => Ok(number),
        Ok(None) => text
            .parse()
            .map_err(|_| Error::argument("pipeSecurity", format!("There is no {what} '{shown}' on this machine."))),
        Err(error) => {
            Err(Error::new(ErrorKind::Io, format!("The {what} '{shown}' could not be looked up.")).with_source(error))
        }
    }
}

impl FromStr for PipeSecurity {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "current-user" => return Ok(Self::current_user()),
            "everyone" => return Ok(Self::everyone()),
            _ => {}
        }
        text.split(',').try_fold(Self::current_user(), |security, part| {
            match part.trim().split_once(':') {
                Some(("user", name)) if !name.is_empty() => security.allow_user_named(name),
                Some(("group", name)) if !name.is_empty() => security.allow_group_named(name),
                _ => Err(no_rule(part.trim())),
            }
        })
    }
}

fn no_rule(part: &str) -> Error {
    let shown = crate::text::printable(part.as_ref());
    let meant = match part {
        "" | "user" | "group" => String::new(),
        _ if part.contains(':') => String::new(),
        _ => format!("Write user:{shown} for the user of that name, group:{shown} for the group. "),
    };
    Error::argument("pipeSecurity", format!("'{shown}' is no access rule.")).advice(format!(
        "{meant}The rules are current-user, everyone, and lists such as user:alice,group:staff."
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_name_is_told_how_to_be_written() {
        let told = |text: &str| text.parse::<PipeSecurity>().unwrap_err().to_string();
        let rules = "The rules are current-user, everyone, and lists such as user:alice,group:staff.";
        assert_eq!(
            told("user:0, nobody"),
            format!(
                "'nobody' is no access rule. Write user:nobody for the user of that name, group:nobody for the group. {rules}"
            )
        );
        for text in ["", "user", "user:", "mail:nobody"] {
            assert_eq!(told(text), format!("'{text}' is no access rule. {rules}"));
        }
    }

    #[test]
    fn reads_the_command_lines_forms() {
        assert_eq!(
            "current-user".parse::<PipeSecurity>().unwrap(),
            PipeSecurity::current_user()
        );
        assert_eq!("everyone".parse::<PipeSecurity>().unwrap(), PipeSecurity::everyone());
        let named = "user:root,group:root,user:4242".parse::<PipeSecurity>().unwrap();
        assert_eq!(
            named,
            PipeSecurity::current_user()
                .allow_user(4242)
                .allow_group(0)
                .allow_user(0)
        );
        for text in ["", "everybody", "user:", "user", "user:no-such-user-here", "user:-1"] {
            assert_eq!(
                text.parse::<PipeSecurity>().unwrap_err().kind(),
                ErrorKind::Argument,
                "{text}"
            );
        }
    }

    #[test]
    fn the_socket_is_private_unless_somebody_else_is_let_in() {
        assert_eq!(PipeSecurity::current_user().socket_mode(), 0o600);
        assert_eq!(PipeSecurity::strictly_current_user().socket_mode(), 0o600);
        assert_eq!(PipeSecurity::current_user().allow_user(1).socket_mode(), 0o666);
    }

    #[test]
    fn decides_by_user_and_group() {
        let own = sys::effective_uid();
        let peer = |uid, groups: &[u32]| Peer::for_test(uid, groups);
        let other = own + 4000;
        assert!(PipeSecurity::current_user().allows(&peer(own, &[])));
        assert!(!PipeSecurity::current_user().allows(&peer(other, &[])));
        assert!(PipeSecurity::current_user().allow_user(other).allows(&peer(other, &[])));
        assert!(
            PipeSecurity::current_user()
                .allow_group(77)
                .allows(&peer(other, &[5, 77]))
        );
        assert!(!PipeSecurity::current_user().allow_group(77).allows(&peer(other, &[5])));
        assert!(PipeSecurity::everyone().allows(&peer(other, &[])));
        assert!(PipeSecurity::current_user().allows(&peer(0, &[])));
        if own != 0 {
            assert!(!PipeSecurity::strictly_current_user().allows(&peer(0, &[])));
        }
    }
}
