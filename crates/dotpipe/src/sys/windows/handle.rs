//! Handles: what they are, who inherits them, and those that another process left to this one.

use std::io;
use std::mem::MaybeUninit;
use std::os::windows::io::{AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use windows_sys::Wdk::Storage::FileSystem::{
    FILE_INFORMATION_CLASS, FileAccessInformation, FileModeInformation, NtQueryInformationFile,
};
use windows_sys::Win32::Foundation::{
    DUPLICATE_SAME_ACCESS, DuplicateHandle, ERROR_INVALID_HANDLE, GetHandleInformation, HANDLE, HANDLE_FLAG_INHERIT,
    RtlNtStatusToDosError, SetHandleInformation,
};
use windows_sys::Win32::Storage::FileSystem::{FILE_READ_DATA, FILE_TYPE_PIPE, FILE_WRITE_DATA, GetFileType};
use windows_sys::Win32::System::IO::IO_STATUS_BLOCK;
use windows_sys::Win32::System::Threading::GetCurrentProcess;

use super::{Number, checked};

/// `FILE_SYNCHRONOUS_IO_ALERT` and `FILE_SYNCHRONOUS_IO_NONALERT` of `NtCreateFile`.
const SYNCHRONOUS: u32 = 0x30;

pub(crate) fn is_pipe(handle: BorrowedHandle<'_>) -> bool {
    // SAFETY: the handle is open, and the call takes no addresses.
    unsafe { GetFileType(handle.as_raw_handle()) == FILE_TYPE_PIPE }
}

/// Asks for one of the properties of a handle that are a single number.
fn property(handle: BorrowedHandle<'_>, class: FILE_INFORMATION_CLASS) -> io::Result<u32> {
    let mut value = 0_u32;
    let mut status_block = MaybeUninit::<IO_STATUS_BLOCK>::zeroed();
    // SAFETY: the call writes no more than the four bytes of `value`, and the status; both live through it.
    let status = unsafe {
        NtQueryInformationFile(
            handle.as_raw_handle(),
            status_block.as_mut_ptr(),
            (&raw mut value).cast(),
            size_of::<u32>() as u32,
            class,
        )
    };
    if status < 0 {
        // SAFETY: the call takes a number and touches no memory of ours.
        let error = unsafe { RtlNtStatusToDosError(status) };
        return Err(io::Error::from_raw_os_error(error as i32));
    }
    Ok(value)
}

/// Whether a handle may be read and written through.
pub(crate) fn access(handle: BorrowedHandle<'_>) -> io::Result<(bool, bool)> {
    let access = property(handle, FileAccessInformation)?;
    Ok((access & FILE_READ_DATA != 0, access & FILE_WRITE_DATA != 0))
}

/// Whether operations on a handle end with the call that starts them.
pub(crate) fn is_synchronous(handle: BorrowedHandle<'_>) -> io::Result<bool> {
    Ok(property(handle, FileModeInformation)? & SYNCHRONOUS != 0)
}

pub(crate) fn set_inheritable(handle: BorrowedHandle<'_>, inheritable: bool) -> io::Result<()> {
    let flags = if inheritable { HANDLE_FLAG_INHERIT } else { 0 };
    // SAFETY: the handle is open, and the call takes no addresses.
    checked(unsafe { SetHandleInformation(handle.as_raw_handle(), HANDLE_FLAG_INHERIT, flags) })
}

/// Another handle for the same open pipe, inherited by children or not.
pub(crate) fn duplicate(handle: BorrowedHandle<'_>, inheritable: bool) -> io::Result<OwnedHandle> {
    let duplicate = handle.try_clone_to_owned()?;
    if inheritable {
        use std::os::windows::io::AsHandle;
        set_inheritable(duplicate.as_handle(), true)?;
    }
    Ok(duplicate)
}

/// How a number that another process wrote down turned out.
#[derive(Debug)]
pub(crate) enum Adopted<E> {
    Descriptor(OwnedHandle),
    NotOpen,
    /// Open, but children do not inherit it: this process opened it itself, so that somebody here owns it.
    OwnedHere,
    /// Open and inherited, but the caller has no use for it. It stays as it is.
    Unfit(E),
}

/// Takes over a handle that this process inherited, by its number, if `fits` finds nothing wrong with it.
///
/// An inherited handle is inheritable itself; those that Rust's libraries open are not. Taking makes it so that children
/// do not inherit it, so that no handle is taken twice. Standard handles belong to the program: they are duplicated.
pub(crate) fn adopt<E>(
    number: Number,
    fits: impl FnOnce(BorrowedHandle<'_>) -> Result<(), E>,
) -> io::Result<Adopted<E>> {
    /// Two threads must not both find the same handle free.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let raw = std::ptr::with_exposed_provenance_mut(number as usize);
    let mut flags = 0;
    // SAFETY: the call writes one number to `flags`, and fails for a number that is no open handle.
    if number <= 0 || unsafe { GetHandleInformation(raw, &raw mut flags) } == 0 {
        return Ok(Adopted::NotOpen);
    }
    if flags & HANDLE_FLAG_INHERIT == 0 {
        return Ok(Adopted::OwnedHere);
    }
    // SAFETY: the handle is open, and the borrow ends before anything here closes it.
    if let Err(unfit) = fits(unsafe { BorrowedHandle::borrow_raw(raw) }) {
        return Ok(Adopted::Unfit(unfit));
    }
    let standard = [
        io::stdin().as_raw_handle(),
        io::stdout().as_raw_handle(),
        io::stderr().as_raw_handle(),
    ];
    if standard.contains(&raw) {
        return duplicate_raw(raw).map(Adopted::Descriptor);
    }
    // SAFETY: the handle is open, and nothing in this process owned it: it was inherited and not taken before.
    let handle = unsafe { OwnedHandle::from_raw_handle(raw) };
    {
        use std::os::windows::io::AsHandle;
        set_inheritable(handle.as_handle(), false)?;
    }
    Ok(Adopted::Descriptor(handle))
}

fn duplicate_raw(raw: HANDLE) -> io::Result<OwnedHandle> {
    // SAFETY: the call takes nothing; its result stands for this process and needs no closing.
    let process = unsafe { GetCurrentProcess() };
    let mut duplicate = std::ptr::null_mut();
    // SAFETY: the call fails for a number that is no open handle, else it writes a new one to `duplicate`.
    checked(unsafe { DuplicateHandle(process, raw, process, &raw mut duplicate, 0, 0, DUPLICATE_SAME_ACCESS) })?;
    // SAFETY: the handle was just made, and nothing else knows it.
    Ok(unsafe { OwnedHandle::from_raw_handle(duplicate) })
}

/// Lets the children that are started from now on inherit a handle, under its own number.
pub(crate) fn keep_through_exec(number: Number) -> io::Result<()> {
    let raw = std::ptr::with_exposed_provenance_mut(number as usize);
    // SAFETY: the call takes no addresses, and fails for a number that is no open handle.
    checked(unsafe { SetHandleInformation(raw, HANDLE_FLAG_INHERIT, HANDLE_FLAG_INHERIT) })
}

/// Runs `action` before the children of `command` are started. Here that is at once: the system has no moment in between.
pub(crate) fn before_exec(_: &mut Command, mut action: impl FnMut() -> io::Result<()> + Send + Sync + 'static) {
    // A handle that is gone cannot be inherited, which the child sees at its first use.
    let _ = action();
}

/// The error of a handle that is not open.
pub(crate) fn bad_descriptor() -> io::Error {
    io::Error::from_raw_os_error(ERROR_INVALID_HANDLE as i32)
}
