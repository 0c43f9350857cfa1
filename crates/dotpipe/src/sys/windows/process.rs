//! Processes, the machine's name, and acting as another user.

use std::ffi::OsString;
use std::io;
use std::marker::PhantomData;
use std::os::windows::ffi::OsStringExt;
use std::os::windows::io::{AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle};
use std::path::PathBuf;
use std::ptr;

use windows_sys::Win32::Foundation::HANDLE;
use windows_sys::Win32::Security::{RevertToSelf, TOKEN_QUERY};
use windows_sys::Win32::System::LibraryLoader::{GetModuleHandleW, GetProcAddress};
use windows_sys::Win32::System::Pipes::{
    GetNamedPipeClientProcessId, GetNamedPipeClientSessionId, ImpersonateNamedPipeClient,
};
use windows_sys::Win32::System::SystemInformation::{ComputerNamePhysicalDnsHostname, GetComputerNameExW};
use windows_sys::Win32::System::Threading::{
    GetCurrentThread, OpenProcess, OpenThreadToken, PROCESS_QUERY_LIMITED_INFORMATION, QueryFullProcessImageNameW,
};
use windows_sys::core::BOOL;

use super::{Sid, checked, narrow, user_of_token};

/// This machine's name.
pub(crate) fn host_name() -> Option<String> {
    let mut name = [0_u16; 256];
    let mut length = name.len() as u32;
    // SAFETY: the buffer has the length given, and both addresses live through the call.
    let status = unsafe { GetComputerNameExW(ComputerNamePhysicalDnsHostname, name.as_mut_ptr(), &raw mut length) };
    (status != 0).then(|| narrow(&name))
}

/// The file of the program that a process runs, if that may be known.
pub(crate) fn program_of(pid: u32) -> Option<PathBuf> {
    // SAFETY: the call takes numbers only.
    let process = unsafe { OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION, 0, pid) };
    if process.is_null() {
        return None;
    }
    // SAFETY: the handle was just made, and nothing else knows it.
    let process = unsafe { OwnedHandle::from_raw_handle(process) };
    let mut path = vec![0_u16; 32 * 1024];
    let mut length = path.len() as u32;
    // SAFETY: the buffer has the length given, and both addresses live through the call.
    let status = unsafe { QueryFullProcessImageNameW(process.as_raw_handle(), 0, path.as_mut_ptr(), &raw mut length) };
    (status != 0).then(|| PathBuf::from(OsString::from_wide(&path[..length as usize])))
}

/// The process of the client of a server's end.
pub(crate) fn client_process(pipe: BorrowedHandle<'_>) -> io::Result<u32> {
    let mut pid = 0;
    // SAFETY: the number lives through the call.
    checked(unsafe { GetNamedPipeClientProcessId(pipe.as_raw_handle(), &raw mut pid) })?;
    Ok(pid)
}

/// The log-on session of the client of a server's end.
pub(crate) fn client_session(pipe: BorrowedHandle<'_>) -> io::Result<u32> {
    let mut session = 0;
    // SAFETY: the number lives through the call.
    checked(unsafe { GetNamedPipeClientSessionId(pipe.as_raw_handle(), &raw mut session) })?;
    Ok(session)
}

/// The machine of the client of a server's end, where the system can tell. Looked up when it is called, as Wine lacks it.
pub(crate) fn client_computer(pipe: BorrowedHandle<'_>) -> Option<String> {
    type GetNamedPipeClientComputerNameW = unsafe extern "system" fn(HANDLE, *mut u16, u32) -> BOOL;
    let library: Vec<u16> = "kernel32.dll\0".encode_utf16().collect();
    // SAFETY: the name lives through the call.
    let library = unsafe { GetModuleHandleW(library.as_ptr()) };
    // SAFETY: the library is one that no process unloads, and the name lives through the call.
    let function = unsafe { GetProcAddress(library, c"GetNamedPipeClientComputerNameW".as_ptr().cast()) }?;
    // SAFETY: the function of this name has this signature.
    let function = unsafe {
        std::mem::transmute::<unsafe extern "system" fn() -> isize, GetNamedPipeClientComputerNameW>(function)
    };
    let mut name = [0_u16; 256];
    // SAFETY: the buffer has as many bytes as the call is told.
    let status = unsafe { function(pipe.as_raw_handle(), name.as_mut_ptr(), size_of_val(&name) as u32) };
    (status != 0).then(|| narrow(&name)).filter(|name| !name.is_empty())
}

/// A thread that has a client's identity; dropping restores its own, or ends the process if that fails.
#[derive(Debug)]
pub(crate) struct Impersonating {
    /// The identity belongs to the thread that changed it.
    _not_send: PhantomData<*const ()>,
}

impl Impersonating {
    /// Gives this thread the identity of the client of a server's end, as far as the client allows
    /// ([ImpersonateNamedPipeClient](https://learn.microsoft.com/windows/win32/api/namedpipeapi/nf-namedpipeapi-impersonatenamedpipeclient)).
    pub(crate) fn begin(pipe: BorrowedHandle<'_>) -> io::Result<Self> {
        // SAFETY: the handle is open, and the call takes no addresses.
        checked(unsafe { ImpersonateNamedPipeClient(pipe.as_raw_handle()) })?;
        Ok(Self { _not_send: PhantomData })
    }

    /// The user whose identity the thread has now.
    pub(crate) fn user(&self) -> io::Result<Sid> {
        // SAFETY: the call takes nothing; its result stands for this thread and needs no closing.
        let thread = unsafe { GetCurrentThread() };
        let mut token = ptr::null_mut();
        // SAFETY: the call writes a handle to `token`. The process's own rights are used to open it.
        checked(unsafe { OpenThreadToken(thread, TOKEN_QUERY, 1, &raw mut token) })?;
        // SAFETY: the handle was just made, and nothing else knows it.
        user_of_token(&unsafe { OwnedHandle::from_raw_handle(token) })
    }
}

impl Drop for Impersonating {
    fn drop(&mut self) {
        // SAFETY: the call takes nothing.
        if unsafe { RevertToSelf() } == 0 {
            let error = io::Error::last_os_error();
            // To go on as somebody else would be worse than to end.
            eprintln!(
                "dotpipe: the thread cannot return from the client's identity to its own ({error}); the process ends"
            );
            std::process::abort();
        }
    }
}
