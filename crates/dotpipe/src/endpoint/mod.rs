//! The places where a server's name can be reached, and where a client looks for it.

mod connect;
mod folder;
mod listener;
mod liveness;
mod owner;
mod publish;
mod registry;

pub(crate) use connect::{ServerPolicy, connect};
pub(crate) use registry::{Instance, Instances};

/// How many instances of a name its owner says that it has; `None` if it does not say.
pub(crate) fn instances_of(path: &std::path::Path) -> Option<u32> {
    let owner = crate::sys::entry(path).ok()??.owner;
    folder::PrivateFolder::record_of(path, owner)?
        .instances
        .map(|(count, _)| count)
}
