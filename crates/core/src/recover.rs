//! A cluster that goes on with one of its members, where too few are left to agree on anything.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::membership::{ClusterId, MemberId};
use crate::name::MemberName;
use crate::path::{HostPath, Owner};

/// A recovery, as a host remembers it: `apply` leaves the cluster alone while it is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RecoverRecord {
    /// Counts the cluster's recoveries: a later one is higher.
    pub count: u64,
    /// The member that goes on.
    pub member: MemberName,
    /// The cluster, whose ID stays.
    pub cluster: ClusterId,
    /// The raft index of the last entry that it knew to be committed: what came later is lost.
    pub index: u64,
    /// The members that it leaves behind: whoever comes back as one of them is none any more.
    pub before: BTreeSet<MemberId>,
    /// How far it is.
    pub phase: RecoverPhase,
}

/// How far a recovery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecoverPhase {
    /// Every member stops; nothing was changed in any data.
    Stopping,
    /// The member's data names it as the only one.
    Forced,
    /// It has ended well.
    Ended,
}

impl RecoverRecord {
    /// Whether it is under way.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.phase != RecoverPhase::Ended
    }

    /// The same, so far.
    #[must_use]
    pub fn at(&self, phase: RecoverPhase) -> Self {
        Self {
            phase,
            ..self.clone()
        }
    }

    /// Whether another record is of the same recovery.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        (self.count, &self.member) == (other.count, &other.member)
    }
}

/// A member's data that is made to name it as the only member, with `--force-new-cluster`: a copy
/// of it, which then takes its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForcedMember {
    /// The member.
    pub member: MemberName,
    /// The name that its etcd has.
    pub name: MemberName,
    /// Its data directory.
    pub data: HostPath,
    /// The directory that holds its log, where that is not in its data.
    pub log: Option<HostPath>,
    /// Whose the data is.
    pub owner: Option<Owner>,
    /// The directory of etcd.
    pub binaries: HostPath,
    /// The port for clients that its etcd has anyway, for the time of the run.
    pub client_port: u16,
    /// The same for peers.
    pub peer_port: u16,
}
