//! Anonymous pipes of Windows: a named pipe with a name that nobody knows, of which this side is made for overlapped
//! operations and the other, which any program may get, is not.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::windows::io::{AsHandle, BorrowedHandle, OwnedHandle};
use std::path::PathBuf;
use std::sync::Arc;

use super::invalid_handle;
use crate::error::{Error, Result};
use crate::options::{HandleInheritability, PipeDirection, PipeTransmissionMode, TokenImpersonationLevel};
use crate::security::PipeSecurity;
use crate::sys::{self, NewPipe, PipeInfo, SecurityDescriptor};
use crate::transport::{Handle, Plain, Transport};

/// The buffer of a pipe for which no size is asked, as Linux has it.
const USUAL_SIZE: usize = 64 * 1024;

/// Makes a pipe: the server's end, which has this direction, and the client's handle.
pub(super) fn make(
    direction: PipeDirection,
    buffer_size: usize,
    inheritability: HandleInheritability,
) -> io::Result<(Transport, OwnedHandle)> {
    let random = RandomState::new().hash_one(std::process::id());
    let path = PathBuf::from(format!(
        r"\\.\pipe\dotpipe-anonymous-{}-{random:016x}",
        std::process::id()
    ));
    let own = sys::own_user()?;
    let security = SecurityDescriptor::parse(&PipeSecurity::strictly_current_user().to_descriptor(&own))?;
    let size = if buffer_size > 0 { buffer_size } else { USUAL_SIZE };
    let new = NewPipe {
        path: &path,
        direction,
        mode: PipeTransmissionMode::Byte,
        max: Some(1),
        first: true,
        remote_clients: false,
        inheritable: false,
        in_buffer_size: size,
        out_buffer_size: size,
        security: &security,
    };
    let server = sys::create_pipe(&new)?;
    let inheritable = inheritability == HandleInheritability::Inheritable;
    let level = TokenImpersonationLevel::Anonymous;
    let client = sys::open_pipe(&path, direction.opposite(), level, false, inheritable)?;
    Ok((Transport::Handle(Handle::new(Arc::new(server), new.info())?), client))
}

/// Checks that a handle from elsewhere is an end of a pipe of the direction asked for.
pub(super) fn check_end(handle: BorrowedHandle<'_>, direction: PipeDirection, parameter: &'static str) -> Result<()> {
    if !sys::is_pipe(handle) {
        return Err(invalid_handle().advice("It is open, but is no pipe."));
    }
    let (readable, writable) = sys::access(handle).map_err(|error| invalid_handle().with_source(error))?;
    let (fits, end, other) = if direction == PipeDirection::In {
        (readable, "writing", "Out")
    } else {
        (writable, "reading", "In")
    };
    if !fits {
        return Err(Error::argument(parameter, "The handle is the wrong end of the pipe.")
            .advice(format!("It is the pipe's {end} end: use the direction {other}.")));
    }
    Ok(())
}

/// Makes a transport of a handle from elsewhere, which is checked.
pub(super) fn transport_of(
    handle: OwnedHandle,
    direction: PipeDirection,
    parameter: &'static str,
) -> Result<Transport> {
    check_end(handle.as_handle(), direction, parameter)?;
    let failed = |error: io::Error| invalid_handle().with_source(error);
    if sys::is_synchronous(handle.as_handle()).map_err(failed)? {
        Plain::new(handle).map(Transport::Plain).map_err(failed)
    } else {
        let info = sys::pipe_info(handle.as_handle()).unwrap_or(PipeInfo::UNKNOWN);
        Handle::new(Arc::new(handle), info)
            .map(Transport::Handle)
            .map_err(failed)
    }
}
