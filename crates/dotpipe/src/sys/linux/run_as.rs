//! Acting as another user, on one thread only.

use std::io::{self, Write as _};
use std::marker::PhantomData;

/// What a thread was before it took another identity; dropping restores it, or ends the process if that fails.
#[derive(Debug)]
pub(crate) struct Impersonating {
    uid: libc::uid_t,
    gid: libc::gid_t,
    groups: Vec<libc::gid_t>,
    capabilities: [CapabilitySet; 2],
    changed: Changed,
    /// The identity belongs to the thread that changed it.
    _not_send: PhantomData<*const ()>,
}

/// How far the change has come. What was not changed must not be restored: without the right to, even that fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Changed {
    #[default]
    Nothing,
    Groups,
    Gid,
    Uid,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct CapabilityHeader {
    version: u32,
    pid: libc::c_int,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct CapabilitySet {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

const LINUX_CAPABILITY_VERSION_3: u32 = 0x2008_0522;
/// "Leave this one as it is" for `setresuid(2)` and `setresgid(2)`.
const UNCHANGED: libc::c_long = -1;

#[cfg(target_pointer_width = "64")]
use libc::{SYS_setgroups as SETGROUPS, SYS_setresgid as SETRESGID, SYS_setresuid as SETRESUID};
#[cfg(target_pointer_width = "32")]
use libc::{SYS_setgroups32 as SETGROUPS, SYS_setresgid32 as SETRESGID, SYS_setresuid32 as SETRESUID};

impl Impersonating {
    /// Gives this thread the effective user, group and supplementary groups of another user, without any capability.
    ///
    /// The calls are the kernel's own, which change one thread; the C library's change the whole process. The real and
    /// saved ids stay, so that the other user cannot signal this process, and the way back is open. A change of user
    /// makes the whole process undumpable, and it stays so (`prctl(2)`, `PR_SET_DUMPABLE`).
    pub(crate) fn begin(uid: u32, gid: u32, groups: &[u32]) -> io::Result<Self> {
        // SAFETY: geteuid cannot fail and touches no memory.
        let own_uid = unsafe { libc::geteuid() };
        // SAFETY: getegid cannot fail and touches no memory.
        let own_gid = unsafe { libc::getegid() };
        let mut own = Self {
            uid: own_uid,
            gid: own_gid,
            groups: own_groups()?,
            capabilities: capabilities()?,
            changed: Changed::Nothing,
            _not_send: PhantomData,
        };
        // From here on, dropping `own` restores what was changed, however far this came.
        set_groups(groups)?;
        own.changed = Changed::Groups;
        set_effective_gid(gid)?;
        own.changed = Changed::Gid;
        set_effective_uid(uid)?;
        own.changed = Changed::Uid;
        // With CAP_SETUID but another user than root, a change of user leaves the capabilities as they are (capabilities(7)).
        let without = own.capabilities.map(|set| CapabilitySet { effective: 0, ..set });
        set_capabilities(&without)?;
        Ok(own)
    }

    fn restore(&self) -> io::Result<()> {
        if self.changed == Changed::Uid {
            // The permitted capabilities stayed, so that these can be raised before the user is changed back.
            set_capabilities(&self.capabilities)?;
            set_effective_uid(self.uid)?;
            // A change between root and another user resets the effective ones.
            set_capabilities(&self.capabilities)?;
        }
        if self.changed >= Changed::Gid {
            set_effective_gid(self.gid)?;
        }
        if self.changed >= Changed::Groups {
            set_groups(&self.groups)?;
        }
        Ok(())
    }
}

impl Drop for Impersonating {
    fn drop(&mut self) {
        if let Err(error) = self.restore() {
            // To go on as somebody else would be worse than to end.
            // Not eprintln!: it panics where stderr cannot be written, and the panic would go on in that identity.
            let _ = writeln!(
                io::stderr(),
                "dotpipe: the thread cannot return from the client's identity to its own ({error}); the process ends"
            );
            std::process::abort();
        }
    }
}

fn own_groups() -> io::Result<Vec<libc::gid_t>> {
    // SAFETY: with a size of zero the call only counts.
    let count = unsafe { libc::getgroups(0, std::ptr::null_mut()) };
    let mut groups = vec![0; usize::try_from(count).map_err(|_| io::Error::last_os_error())?];
    // SAFETY: the vector has room for `count` groups.
    let count = unsafe { libc::getgroups(count, groups.as_mut_ptr()) };
    groups.truncate(usize::try_from(count).map_err(|_| io::Error::last_os_error())?);
    Ok(groups)
}

fn set_groups(groups: &[libc::gid_t]) -> io::Result<()> {
    // SAFETY: the kernel reads `len` groups from the slice.
    checked(unsafe { libc::syscall(SETGROUPS, groups.len(), groups.as_ptr()) })
}

fn set_effective_gid(gid: libc::gid_t) -> io::Result<()> {
    // SAFETY: the call takes three numbers and touches no memory.
    checked(unsafe { libc::syscall(SETRESGID, UNCHANGED, libc::c_long::from(gid), UNCHANGED) })
}

fn set_effective_uid(uid: libc::uid_t) -> io::Result<()> {
    // SAFETY: the call takes three numbers and touches no memory.
    checked(unsafe { libc::syscall(SETRESUID, UNCHANGED, libc::c_long::from(uid), UNCHANGED) })
}

fn capabilities() -> io::Result<[CapabilitySet; 2]> {
    let mut header = CapabilityHeader {
        version: LINUX_CAPABILITY_VERSION_3,
        pid: 0,
    };
    let mut sets = [CapabilitySet::default(); 2];
    // SAFETY: version 3 fills two sets; both addresses live through the call.
    checked(unsafe { libc::syscall(libc::SYS_capget, &raw mut header, sets.as_mut_ptr()) })?;
    Ok(sets)
}

fn set_capabilities(sets: &[CapabilitySet; 2]) -> io::Result<()> {
    let mut header = CapabilityHeader {
        version: LINUX_CAPABILITY_VERSION_3,
        pid: 0,
    };
    // SAFETY: version 3 reads two sets; both addresses live through the call.
    checked(unsafe { libc::syscall(libc::SYS_capset, &raw mut header, sets.as_ptr()) })
}

fn checked(status: libc::c_long) -> io::Result<()> {
    if status == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Whether this thread may take another user's identity: CAP_SETUID and CAP_SETGID are effective (`capabilities(7)`).
pub(crate) fn may_change_identity() -> bool {
    const CAP_SETGID: u32 = 6;
    const CAP_SETUID: u32 = 7;
    capabilities().is_ok_and(|sets| {
        [CAP_SETGID, CAP_SETUID]
            .iter()
            .all(|capability| sets[0].effective & (1 << capability) != 0)
    })
}
