//! What keeps a member's etcd running on its host, and how it is found there.

use crate::path::HostPath;

/// What keeps a member's etcd running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Runner {
    /// A systemd unit.
    Unit(String),
    /// The kubelet, from a manifest in its directory.
    Pod {
        /// The manifest.
        manifest: HostPath,
        /// The data directory, which tells this etcd from others.
        data: HostPath,
    },
    /// Nothing: a detached process.
    Process {
        /// The file with its process ID.
        pid_file: HostPath,
        /// The data directory, which tells this etcd from others.
        data: HostPath,
    },
}
