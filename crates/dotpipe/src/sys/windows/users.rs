//! Users and groups by name and by security identifier, and security descriptors.

use std::ffi::{OsStr, c_void};
use std::fmt;
use std::io;
use std::os::windows::io::{AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle};
use std::ptr;
use std::str::FromStr;

use windows_sys::Win32::Foundation::{
    ERROR_INSUFFICIENT_BUFFER, ERROR_INVALID_SID, ERROR_NONE_MAPPED, HANDLE, LocalFree,
};
use windows_sys::Win32::Security::Authorization::{
    ConvertSidToStringSidW, ConvertStringSecurityDescriptorToSecurityDescriptorW, ConvertStringSidToSidW,
    GetSecurityInfo, SDDL_REVISION_1, SE_KERNEL_OBJECT,
};
use windows_sys::Win32::Security::{
    GetTokenInformation, LookupAccountNameW, LookupAccountSidW, OWNER_SECURITY_INFORMATION, PSECURITY_DESCRIPTOR, PSID,
    TOKEN_QUERY, TOKEN_USER, TokenUser,
};
use windows_sys::Win32::System::Threading::{GetCurrentProcess, OpenProcessToken};

use super::{checked, narrow, wide};

/// A user's or group's security identifier in its text form, such as `S-1-5-18`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Sid(String);

impl Sid {
    /// The system's own account.
    pub(crate) const SYSTEM: &str = "S-1-5-18";
    /// The group of the administrators.
    pub(crate) const ADMINISTRATORS: &str = "S-1-5-32-544";

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// # Safety
    ///
    /// `sid` has to point to a valid security identifier.
    unsafe fn read(sid: PSID) -> io::Result<Self> {
        let mut text = ptr::null_mut();
        // SAFETY: the caller vouches for `sid`; the call writes an address to `text`.
        checked(unsafe { ConvertSidToStringSidW(sid, &raw mut text) })?;
        let text = Local(text.cast());
        let mut units = Vec::new();
        loop {
            // SAFETY: the text ends with a zero, at which this loop ends too, so that this is an address in it.
            let unit = unsafe { text.0.cast::<u16>().add(units.len()) };
            // SAFETY: as above.
            match unsafe { unit.read() } {
                0 => return Ok(Self(String::from_utf16_lossy(&units))),
                unit => units.push(unit),
            }
        }
    }
}

impl fmt::Display for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Sid {
    type Err = io::Error;

    /// Reads `S-1-…`, and nothing else: the system would also take two letters that stand for a group.
    fn from_str(text: &str) -> io::Result<Self> {
        if !text.starts_with("S-1-") {
            return Err(io::Error::from_raw_os_error(ERROR_INVALID_SID as i32));
        }
        let sid = parse(text)?;
        // SAFETY: the identifier was just made by the system.
        unsafe { Self::read(sid.0) }
    }
}

fn parse(text: &str) -> io::Result<Local> {
    let mut sid = ptr::null_mut();
    // SAFETY: the text lives through the call, which writes an address to `sid`.
    checked(unsafe { ConvertStringSidToSidW(wide(OsStr::new(text)).as_ptr(), &raw mut sid) })?;
    Ok(Local(sid))
}

/// Memory that the system has made and that is given back to it.
struct Local(*mut c_void);

impl Drop for Local {
    fn drop(&mut self) {
        // SAFETY: every address in a `Local` came from a call that says to free it this way, and is freed only here.
        unsafe { LocalFree(self.0) };
    }
}

/// A security descriptor, which says who owns a pipe and who may do what with it.
pub(crate) struct SecurityDescriptor(Local);

impl SecurityDescriptor {
    /// Reads the text form.
    pub(crate) fn parse(text: &str) -> io::Result<Self> {
        let mut descriptor: PSECURITY_DESCRIPTOR = ptr::null_mut();
        // SAFETY: the text lives through the call, which writes an address to `descriptor`.
        checked(unsafe {
            ConvertStringSecurityDescriptorToSecurityDescriptorW(
                wide(OsStr::new(text)).as_ptr(),
                SDDL_REVISION_1,
                &raw mut descriptor,
                ptr::null_mut(),
            )
        })?;
        Ok(Self(Local(descriptor)))
    }

    pub(super) fn as_raw(&self) -> PSECURITY_DESCRIPTOR {
        self.0.0
    }
}

impl fmt::Debug for SecurityDescriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecurityDescriptor").finish_non_exhaustive()
    }
}

/// Who owns a pipe: the user of the server that made it, or a group that its token names. `None` if the system does not
/// tell, as Wine does for a pipe that was made without a descriptor.
pub(crate) fn owner_of(pipe: BorrowedHandle<'_>) -> io::Result<Option<Sid>> {
    let (mut owner, mut descriptor) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: the two addresses live through the call; null ones stand for what is not asked.
    let error = unsafe {
        GetSecurityInfo(
            pipe.as_raw_handle(),
            SE_KERNEL_OBJECT,
            OWNER_SECURITY_INFORMATION,
            &raw mut owner,
            ptr::null_mut(),
            ptr::null_mut(),
            ptr::null_mut(),
            &raw mut descriptor,
        )
    };
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error as i32));
    }
    let _descriptor = Local(descriptor);
    if owner.is_null() {
        return Ok(None);
    }
    // SAFETY: the owner points into the descriptor, which lives until the end of this function.
    unsafe { Sid::read(owner) }.map(Some)
}

/// The user that this process runs as.
pub(crate) fn own_user() -> io::Result<Sid> {
    // SAFETY: the call takes nothing; its result stands for this process and needs no closing.
    let process = unsafe { GetCurrentProcess() };
    let mut token = ptr::null_mut();
    // SAFETY: the call writes a handle to `token`.
    checked(unsafe { OpenProcessToken(process, TOKEN_QUERY, &raw mut token) })?;
    // SAFETY: the handle was just made, and nothing else knows it.
    user_of_token(&unsafe { OwnedHandle::from_raw_handle(token) })
}

/// The user that a token is of.
pub(super) fn user_of_token(token: &OwnedHandle) -> io::Result<Sid> {
    let token: HANDLE = token.as_raw_handle();
    // As numbers of eight bytes, so that the structure in it is aligned. A security identifier has at most 68 bytes.
    let mut buffer = [0_u64; 32];
    let mut length = 0;
    // SAFETY: the call writes no more bytes than the buffer has, and a number to `length`.
    checked(unsafe {
        GetTokenInformation(
            token,
            TokenUser,
            buffer.as_mut_ptr().cast(),
            size_of_val(&buffer) as u32,
            &raw mut length,
        )
    })?;
    // SAFETY: the call has put a TOKEN_USER at the buffer's start, which is aligned for it.
    let user = unsafe { buffer.as_ptr().cast::<TOKEN_USER>().read() };
    // SAFETY: the identifier is in the buffer, behind the structure.
    unsafe { Sid::read(user.User.Sid) }
}

/// The log-in name of a user; `None` if the system knows none.
pub(crate) fn name_of(user: &Sid) -> io::Result<Option<String>> {
    let sid = parse(user.as_str())?;
    let (mut name, mut domain) = ([0_u16; 257], [0_u16; 257]);
    let (mut name_length, mut domain_length, mut kind) = (name.len() as u32, domain.len() as u32, 0);
    // SAFETY: the buffers have the lengths given, and all addresses live through the call.
    let found = checked(unsafe {
        LookupAccountSidW(
            ptr::null(),
            sid.0,
            name.as_mut_ptr(),
            &raw mut name_length,
            domain.as_mut_ptr(),
            &raw mut domain_length,
            &raw mut kind,
        )
    });
    match found {
        Ok(()) => Ok(Some(narrow(&name))),
        Err(error) if error.raw_os_error() == Some(ERROR_NONE_MAPPED as i32) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The user with this log-in name, which may have a domain and a backslash before it.
pub(crate) fn user_number(name: &str) -> io::Result<Option<Sid>> {
    let account = wide(OsStr::new(name));
    let mut sid = [0_u64; 16];
    let mut domain = [0_u16; 257];
    let (mut sid_length, mut domain_length, mut kind) = (size_of_val(&sid) as u32, domain.len() as u32, 0);
    // SAFETY: the buffers have the lengths given, and all addresses live through the call.
    let found = checked(unsafe {
        LookupAccountNameW(
            ptr::null(),
            account.as_ptr(),
            sid.as_mut_ptr().cast(),
            &raw mut sid_length,
            domain.as_mut_ptr(),
            &raw mut domain_length,
            &raw mut kind,
        )
    });
    match found {
        // SAFETY: the call has put an identifier into the buffer.
        Ok(()) => unsafe { Sid::read(sid.as_mut_ptr().cast()) }.map(Some),
        Err(error) if error.raw_os_error() == Some(ERROR_NONE_MAPPED as i32) => Ok(None),
        Err(error) if error.raw_os_error() == Some(ERROR_INSUFFICIENT_BUFFER as i32) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The group with this name; groups and users are looked up alike.
pub(crate) fn group_number(name: &str) -> io::Result<Option<Sid>> {
    user_number(name)
}
