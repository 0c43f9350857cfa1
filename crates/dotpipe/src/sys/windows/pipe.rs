//! Named pipes ([Named Pipes](https://learn.microsoft.com/windows/win32/ipc/named-pipes)).

use std::io;
use std::os::windows::io::{AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle};
use std::path::Path;
use std::ptr;
use std::time::Duration;

use windows_sys::Win32::Foundation::{GENERIC_READ, INVALID_HANDLE_VALUE};
use windows_sys::Win32::Security::SECURITY_ATTRIBUTES;
use windows_sys::Win32::Storage::FileSystem::{
    CreateFileW, FILE_APPEND_DATA, FILE_FLAG_FIRST_PIPE_INSTANCE, FILE_FLAG_OVERLAPPED, FILE_GENERIC_WRITE,
    FILE_READ_ATTRIBUTES, FILE_WRITE_ATTRIBUTES, FlushFileBuffers, OPEN_EXISTING, PIPE_ACCESS_DUPLEX,
    PIPE_ACCESS_INBOUND, PIPE_ACCESS_OUTBOUND, ReadFile, SECURITY_ANONYMOUS, SECURITY_DELEGATION,
    SECURITY_IDENTIFICATION, SECURITY_IMPERSONATION, SECURITY_SQOS_PRESENT, WriteFile,
};
use windows_sys::Win32::System::Pipes::{
    CreateNamedPipeW, DisconnectNamedPipe, GetNamedPipeHandleStateW, GetNamedPipeInfo, NMPWAIT_WAIT_FOREVER,
    PIPE_READMODE_BYTE, PIPE_READMODE_MESSAGE, PIPE_REJECT_REMOTE_CLIENTS, PIPE_SERVER_END, PIPE_TYPE_BYTE,
    PIPE_TYPE_MESSAGE, PIPE_UNLIMITED_INSTANCES, PeekNamedPipe, SetNamedPipeHandleState, WaitNamedPipeW,
};

use super::{SecurityDescriptor, checked, wide};
use crate::options::{PipeDirection, PipeTransmissionMode, TokenImpersonationLevel};

/// What a new instance of a pipe is to be like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewPipe<'a> {
    pub(crate) path: &'a Path,
    pub(crate) direction: PipeDirection,
    pub(crate) mode: PipeTransmissionMode,
    /// How many instances the name may have; `None` for any number.
    pub(crate) max: Option<u32>,
    /// Fail if the name exists.
    pub(crate) first: bool,
    pub(crate) remote_clients: bool,
    pub(crate) inheritable: bool,
    pub(crate) in_buffer_size: usize,
    pub(crate) out_buffer_size: usize,
    pub(crate) security: &'a SecurityDescriptor,
}

/// Makes an instance of a pipe for overlapped operations
/// ([CreateNamedPipeW](https://learn.microsoft.com/windows/win32/api/namedpipeapi/nf-namedpipeapi-createnamedpipew)).
pub(crate) fn create_pipe(new: &NewPipe<'_>) -> io::Result<OwnedHandle> {
    let path = wide(new.path.as_os_str());
    let mut open_mode = FILE_FLAG_OVERLAPPED;
    open_mode |= match new.direction {
        PipeDirection::In => PIPE_ACCESS_INBOUND,
        PipeDirection::Out => PIPE_ACCESS_OUTBOUND,
        PipeDirection::InOut => PIPE_ACCESS_DUPLEX,
    };
    if new.first {
        open_mode |= FILE_FLAG_FIRST_PIPE_INSTANCE;
    }
    let mut pipe_mode = match new.mode {
        PipeTransmissionMode::Byte => PIPE_TYPE_BYTE | PIPE_READMODE_BYTE,
        PipeTransmissionMode::Message => PIPE_TYPE_MESSAGE | PIPE_READMODE_MESSAGE,
    };
    if !new.remote_clients {
        pipe_mode |= PIPE_REJECT_REMOTE_CLIENTS;
    }
    let size = |bytes: usize| u32::try_from(bytes).unwrap_or(i32::MAX as u32);
    let attributes = attributes(new.inheritable, new.security.as_raw());
    // SAFETY: path and attributes, with the descriptor that they point to, live through the call.
    let handle = unsafe {
        CreateNamedPipeW(
            path.as_ptr(),
            open_mode,
            pipe_mode,
            new.max.unwrap_or(PIPE_UNLIMITED_INSTANCES),
            size(new.out_buffer_size),
            size(new.in_buffer_size),
            0,
            &raw const attributes,
        )
    };
    owned(handle)
}

/// Opens a pipe's client end ([CreateFileW](https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-createfilew)).
///
/// It asks for no more than it needs: the generic right to write would include that to make further instances.
pub(crate) fn open_pipe(
    path: &Path,
    direction: PipeDirection,
    level: TokenImpersonationLevel,
    overlapped: bool,
    inheritable: bool,
) -> io::Result<OwnedHandle> {
    let path = wide(path.as_os_str());
    let write = FILE_GENERIC_WRITE & !FILE_APPEND_DATA;
    let access = match direction {
        // The right to write attributes is that to set the read mode.
        PipeDirection::In => GENERIC_READ | FILE_WRITE_ATTRIBUTES,
        PipeDirection::Out => write | FILE_READ_ATTRIBUTES,
        PipeDirection::InOut => GENERIC_READ | write,
    };
    let mut flags = SECURITY_SQOS_PRESENT
        | match level {
            TokenImpersonationLevel::None | TokenImpersonationLevel::Anonymous => SECURITY_ANONYMOUS,
            TokenImpersonationLevel::Identification => SECURITY_IDENTIFICATION,
            TokenImpersonationLevel::Impersonation => SECURITY_IMPERSONATION,
            TokenImpersonationLevel::Delegation => SECURITY_DELEGATION,
        };
    if overlapped {
        flags |= FILE_FLAG_OVERLAPPED;
    }
    let attributes = attributes(inheritable, ptr::null_mut());
    // SAFETY: path and attributes live through the call.
    let handle = unsafe {
        CreateFileW(
            path.as_ptr(),
            access,
            0,
            &raw const attributes,
            OPEN_EXISTING,
            flags,
            ptr::null_mut(),
        )
    };
    owned(handle)
}

fn attributes(inheritable: bool, descriptor: *mut std::ffi::c_void) -> SECURITY_ATTRIBUTES {
    SECURITY_ATTRIBUTES {
        nLength: size_of::<SECURITY_ATTRIBUTES>() as u32,
        lpSecurityDescriptor: descriptor,
        bInheritHandle: inheritable.into(),
    }
}

fn owned(handle: windows_sys::Win32::Foundation::HANDLE) -> io::Result<OwnedHandle> {
    if handle == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the handle was just made, and nothing else knows it.
    Ok(unsafe { OwnedHandle::from_raw_handle(handle) })
}

/// Waits in the system, no longer than `limit`, for an instance that is free
/// ([WaitNamedPipeW](https://learn.microsoft.com/windows/win32/api/namedpipeapi/nf-namedpipeapi-waitnamedpipew)).
pub(crate) fn wait_for_instance(path: &Path, limit: Duration) -> io::Result<()> {
    let path = wide(path.as_os_str());
    // Zero would stand for the server's own choice, and the largest number for ever.
    let millis = u32::try_from(limit.as_nanos().div_ceil(1_000_000)).unwrap_or(NMPWAIT_WAIT_FOREVER);
    // SAFETY: the path lives through the call.
    checked(unsafe { WaitNamedPipeW(path.as_ptr(), millis.clamp(1, NMPWAIT_WAIT_FOREVER - 1)) })
}

/// Ends the connection of a server's instance. What the client had not read is lost.
pub(crate) fn disconnect(pipe: &OwnedHandle) -> io::Result<()> {
    // SAFETY: the handle is open, and the call takes no addresses.
    checked(unsafe { DisconnectNamedPipe(pipe.as_raw_handle()) })
}

/// What lies ahead in a pipe.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ahead {
    pub(crate) read: usize,
    pub(crate) available: usize,
    pub(crate) left_in_message: usize,
}

/// Looks ahead without taking or waiting.
pub(crate) fn look_ahead(pipe: &OwnedHandle, buffer: &mut [u8]) -> io::Result<Ahead> {
    let length = u32::try_from(buffer.len()).unwrap_or(u32::MAX);
    let (mut read, mut available, mut left) = (0, 0, 0);
    // SAFETY: the buffer has the length given, and it and the numbers live through the call.
    checked(unsafe {
        PeekNamedPipe(
            pipe.as_raw_handle(),
            buffer.as_mut_ptr().cast(),
            length,
            &raw mut read,
            &raw mut available,
            &raw mut left,
        )
    })?;
    Ok(Ahead {
        read: read as usize,
        available: available as usize,
        left_in_message: left as usize,
    })
}

/// What a pipe was made like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PipeInfo {
    pub(crate) is_server: bool,
    pub(crate) mode: PipeTransmissionMode,
    pub(crate) in_buffer_size: usize,
    pub(crate) out_buffer_size: usize,
}

impl PipeInfo {
    /// For a handle from elsewhere whose holder may not ask: an end that only writes.
    pub(crate) const UNKNOWN: Self = Self {
        is_server: false,
        mode: PipeTransmissionMode::Byte,
        in_buffer_size: 0,
        out_buffer_size: 0,
    };

    /// The size of the buffer for what this end reads or writes. The system names the two as the server sees them.
    pub(crate) fn buffer_size(self, direction: PipeDirection) -> usize {
        if direction.can_read() == self.is_server {
            self.in_buffer_size
        } else {
            self.out_buffer_size
        }
    }
}

impl NewPipe<'_> {
    /// What the pipe is like once it is made, for the end that makes it.
    pub(crate) fn info(&self) -> PipeInfo {
        PipeInfo {
            is_server: true,
            mode: self.mode,
            in_buffer_size: self.in_buffer_size,
            out_buffer_size: self.out_buffer_size,
        }
    }
}

pub(crate) fn pipe_info(pipe: BorrowedHandle<'_>) -> io::Result<PipeInfo> {
    let (mut flags, mut out_size, mut in_size) = (0, 0, 0);
    // SAFETY: the three numbers live through the call; a null address stands for what is not asked.
    checked(unsafe {
        GetNamedPipeInfo(
            pipe.as_raw_handle(),
            &raw mut flags,
            &raw mut out_size,
            &raw mut in_size,
            ptr::null_mut(),
        )
    })?;
    Ok(PipeInfo {
        is_server: flags & PIPE_SERVER_END != 0,
        mode: mode_of(flags & PIPE_TYPE_MESSAGE != 0),
        in_buffer_size: in_size as usize,
        out_buffer_size: out_size as usize,
    })
}

fn mode_of(message: bool) -> PipeTransmissionMode {
    if message {
        PipeTransmissionMode::Message
    } else {
        PipeTransmissionMode::Byte
    }
}

/// How a handle reads, and how many instances its pipe has.
pub(crate) fn pipe_state(pipe: BorrowedHandle<'_>) -> io::Result<(PipeTransmissionMode, u32)> {
    let (mut state, mut instances) = (0, 0);
    // SAFETY: the two numbers live through the call; null addresses stand for what is not asked.
    checked(unsafe {
        GetNamedPipeHandleStateW(
            pipe.as_raw_handle(),
            &raw mut state,
            &raw mut instances,
            ptr::null_mut(),
            ptr::null_mut(),
            ptr::null_mut(),
            0,
        )
    })?;
    Ok((mode_of(state & PIPE_READMODE_MESSAGE != 0), instances))
}

pub(crate) fn set_pipe_read_mode(pipe: &OwnedHandle, mode: PipeTransmissionMode) -> io::Result<()> {
    let state = match mode {
        PipeTransmissionMode::Byte => PIPE_READMODE_BYTE,
        PipeTransmissionMode::Message => PIPE_READMODE_MESSAGE,
    };
    // SAFETY: the number lives through the call; null addresses stand for what is not changed.
    checked(unsafe { SetNamedPipeHandleState(pipe.as_raw_handle(), &raw const state, ptr::null(), ptr::null()) })
}

/// Waits until the other end has read everything that was written before, for as long as that takes
/// ([FlushFileBuffers](https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-flushfilebuffers)).
pub(crate) fn flush(pipe: &OwnedHandle) -> io::Result<()> {
    // SAFETY: the handle is open, and the call takes no addresses.
    checked(unsafe { FlushFileBuffers(pipe.as_raw_handle()) })
}

/// Reads through a synchronous handle, for as long as that takes. An empty buffer waits for data and takes none.
pub(crate) fn read_synchronously(pipe: &OwnedHandle, buffer: &mut [u8]) -> io::Result<usize> {
    let length = u32::try_from(buffer.len()).unwrap_or(u32::MAX);
    let mut count = 0;
    // SAFETY: the buffer has the length given, and it and the number live through the call.
    let status = unsafe {
        ReadFile(
            pipe.as_raw_handle(),
            buffer.as_mut_ptr(),
            length,
            &raw mut count,
            ptr::null_mut(),
        )
    };
    checked(status).map(|()| count as usize)
}

/// Writes through a synchronous handle, for as long as that takes.
pub(crate) fn write_synchronously(pipe: &OwnedHandle, bytes: &[u8]) -> io::Result<usize> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let mut count = 0;
    // SAFETY: the bytes have the length given, and they and the number live through the call.
    let status = unsafe {
        WriteFile(
            pipe.as_raw_handle(),
            bytes.as_ptr(),
            length,
            &raw mut count,
            ptr::null_mut(),
        )
    };
    checked(status).map(|()| count as usize)
}

/// Ends the synchronous operation in which a thread waits, if it waits in one.
pub(crate) fn cancel_synchronous<T>(thread: &std::thread::JoinHandle<T>) {
    // SAFETY: the thread's handle is open, and the call takes no addresses.
    unsafe { windows_sys::Win32::System::IO::CancelSynchronousIo(thread.as_raw_handle()) };
}
