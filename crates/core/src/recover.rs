//! A cluster that goes on with one of its members, where too few are left to agree on anything.

use std::collections::BTreeSet;

use jiff::Timestamp;
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
    /// When it was begun: of two that never heard of one another the later one counts.
    pub begun: Timestamp,
    /// The cluster, whose ID stays.
    pub cluster: ClusterId,
    /// The member that goes on, and where; none before every member was stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<RecoveredBy>,
    /// Every ID that members had, as far as that was known when it was begun.
    pub members: BTreeSet<MemberId>,
    /// The members that could have gone on when it was begun.
    pub candidates: BTreeSet<MemberName>,
    /// Members whose data etcd says to differ from the others'.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub corrupt: BTreeSet<MemberId>,
    /// How many votes there were then.
    pub voters: usize,
    /// Members without a vote, as others said while they still answered: none of them can go on.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub learners: BTreeSet<MemberId>,
    /// The members that earlier recoveries left behind: whoever comes back as one of them is none
    /// any more.
    pub earlier: BTreeSet<MemberId>,
    /// How far it is.
    pub phase: RecoverPhase,
}

/// The member that goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RecoveredBy {
    /// The member.
    pub member: MemberName,
    /// The raft index of the last entry that it knew to be committed: what came later is lost.
    pub index: u64,
    /// The members that it leaves behind.
    pub before: BTreeSet<MemberId>,
}

/// How far a recovery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecoverPhase {
    /// Every member stops; nothing was changed in any data.
    Stopping,
    /// Enough members came back before anything was changed. Whoever knows of a later phase knows
    /// better.
    GivenUp,
    /// A member's data may name it as the only one already.
    Forcing,
    /// A member's data names it as the only one.
    Forced,
    /// It has ended well.
    Ended,
}

impl RecoverRecord {
    /// Whether it is under way.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(
            self.phase,
            RecoverPhase::Stopping | RecoverPhase::Forcing | RecoverPhase::Forced
        )
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
        (self.count, self.begun) == (other.count, other.begun)
    }

    /// The members that were left behind for good, by this one and by earlier ones.
    #[must_use]
    pub fn left_behind(&self) -> BTreeSet<MemberId> {
        let own = self.by.iter().filter(|_| self.phase == RecoverPhase::Ended);
        let own = own.flat_map(|by| &by.before);
        own.chain(&self.earlier).copied().collect()
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
}
