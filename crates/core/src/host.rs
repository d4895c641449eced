//! Hosts: what they are called, what they are, how they are reached.

mod facts;
mod id;
mod target;

pub use facts::{Architecture, HostFacts, Init};
pub use id::HostId;
pub use target::{HostTarget, SshTarget, split_login};
