//! The questions that are asked of a host. What was not asked is not known, whatever the answer
//! lacks.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::name::{MemberName, UserName};
use crate::path::HostPath;
use crate::runner::Runner;

/// One question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Query {
    /// Whether this tool exists.
    Tool(&'static str),
    /// Which time service keeps the clock right.
    TimeService,
    /// Whether this user exists.
    User(UserName),
    /// Whether the container runtime has this image.
    Image(String),
    /// Mode and owner of a directory.
    Directory(HostPath),
    /// Digest of a binary.
    Binary(HostPath),
    /// Target of a symbolic link.
    Link(HostPath),
    /// Mode, owner, digest and content of a text file.
    Text(HostPath),
    /// Mode, owner and digest of a file; its content stays on the host.
    File(HostPath),
    /// As [`Query::File`], and the certificates in it.
    Certificate(HostPath),
    /// The process of a member, its unit or pod, and the end of its log if it does not run.
    Member {
        /// The member.
        name: MemberName,
        /// What keeps it running.
        runner: Runner,
    },
    /// What a data directory contains.
    Data {
        /// The directory.
        path: HostPath,
        /// The directories that may hold its log, as `wal`: the first of them that does has it.
        logs: Vec<HostPath>,
    },
    /// Free space of the file system that a path is on, or will be on.
    Disk {
        /// The path.
        path: HostPath,
        /// Whether fsync is timed there too, which takes a moment.
        measure: bool,
    },
    /// Who listens on a port.
    Port {
        /// The port.
        port: u16,
        /// The member that is to listen there.
        member: MemberName,
    },
    /// The addresses of a name, by the host's own resolver.
    Name(String),
    /// The names of an address, by the host's own resolver.
    Reverse(IpAddr),
    /// Every etcd that runs, with its flags and what started it.
    EveryEtcd,
}

impl Query {
    /// The files whose text these questions ask for, and the data directories: what is not among
    /// them may be there all the same.
    #[must_use]
    pub fn paths(queries: &[Self]) -> BTreeSet<HostPath> {
        let paths = queries.iter().filter_map(|query| match query {
            Self::Text(path) | Self::Data { path, .. } => Some(path.clone()),
            _ => None,
        });
        paths.collect()
    }
}
