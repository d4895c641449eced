//! A snapshot that a cluster is restored from, and what its hosts remember of that.

use std::collections::BTreeSet;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::membership::ClusterId;
use crate::name::MemberName;
use crate::path::{HostPath, Owner};
use crate::version::EtcdVersion;

/// By how much the revision is raised, or a multiple of it, so that no watcher takes what comes for
/// what it has seen.
pub const BUMP: i64 = 1_000_000_000;

/// An order to restore a cluster from a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct RestoreOrder {
    /// Tells this order from an earlier one of the same snapshot: that is not carried out again by
    /// one that is taken up after a crash.
    pub id: String,
    /// The file, on the operator's machine.
    pub path: String,
    /// SHA-256 of the database in it, hex: what etcd appended to it.
    pub sha256: String,
    /// The file's size, in bytes.
    pub size: u64,
    /// What its document says, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known: Option<KnownSnapshot>,
    /// Whether the revision is raised beyond all that clients may have seen and all before is
    /// compacted, so that a watch from an old revision is refused as `compacted`.
    pub bump: bool,
    /// The highest revision that a snapshot of the cluster is known to have; 0 where none is.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub above: i64,
    /// Whether a cluster that was restored from this snapshot already is restored once more, and
    /// loses what was written since.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub again: bool,
    /// A cluster ID that the operator typed: data of it is this cluster's too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<ClusterId>,
}

/// What is known of a snapshot beside what is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct KnownSnapshot {
    /// The cluster's ID.
    pub cluster_id: ClusterId,
    /// The release of etcd that sent it.
    pub etcd: String,
    /// The revision that it has at least.
    pub revision: i64,
    /// When it was taken.
    pub taken: Timestamp,
}

/// A restore, as a host remembers it: `apply` leaves the cluster alone while it is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreRecord {
    /// The order that began it.
    pub id: String,
    /// The snapshot's file name.
    pub snapshot: String,
    /// SHA-256 of the database in it, hex.
    pub sha256: String,
    /// By how much the revision is raised; 0 where it stays as it is.
    pub bump: i64,
    /// The generation of the cluster that it makes.
    pub generation: u64,
    /// The cluster that it makes.
    pub cluster: ClusterId,
    /// What restores before it were to make that have not ended: members may hold it still.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub earlier: BTreeSet<ClusterId>,
    /// How far it is.
    pub phase: RestorePhase,
}

/// How far a restore is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestorePhase {
    /// What was there is stopped and moved aside.
    SettingAside,
    /// Members get the snapshot's data and start. No client is let in yet.
    Restoring,
    /// It has ended well.
    Ended,
    /// It was given up while enough members still had their own data.
    Aborted,
}

impl RestoreOrder {
    /// The snapshot's file name.
    #[must_use]
    pub fn snapshot(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// By how much the revision is raised: past `seen`, the highest that a member has, and further
    /// than the restores before raised it, of which the last did so by `before`. In whole steps, so
    /// that a plan holds while clients write.
    #[must_use]
    pub fn raised_by(&self, seen: i64, before: i64) -> i64 {
        if !self.bump {
            return 0;
        }
        let own = self.known.as_ref().map_or(0, |known| known.revision);
        let ahead = seen.max(self.above).saturating_sub(own).max(0);
        // Half a step is left for what is written after the last look.
        let steps = ahead.saturating_add(BUMP / 2).saturating_add(BUMP - 1) / BUMP;
        let steps = steps.max(1).max(before / BUMP + 1);
        steps.saturating_mul(BUMP)
    }

    /// What hosts remember of it.
    #[must_use]
    pub fn record(&self, generation: u64, cluster: ClusterId, bump: i64) -> RestoreRecord {
        RestoreRecord {
            id: self.id.clone(),
            snapshot: self.snapshot().to_owned(),
            sha256: self.sha256.clone(),
            bump,
            generation,
            cluster,
            earlier: BTreeSet::new(),
            phase: RestorePhase::SettingAside,
        }
    }

    /// Whether a restore that a host remembers is of the same snapshot, in the same way.
    #[must_use]
    pub fn is_same(&self, record: &RestoreRecord) -> bool {
        record.sha256 == self.sha256 && (record.bump > 0) == self.bump
    }

    /// The least revision that members have once they are restored so, where that is known.
    #[must_use]
    pub fn least_revision(&self, record: &RestoreRecord) -> Option<i64> {
        match record.bump {
            0 => self.known.as_ref().map(|known| known.revision),
            // etcd's tool adds to the last revision of a key: one that was deleted and compacted
            // counts no more, and neither does the first, at which there is none.
            bump => Some(bump),
        }
    }
}

impl RestoreRecord {
    /// Whether it is under way.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(
            self.phase,
            RestorePhase::SettingAside | RestorePhase::Restoring
        )
    }

    /// Whether it, or one before it that has not ended, was to make this cluster.
    #[must_use]
    pub fn makes(&self, cluster: ClusterId) -> bool {
        self.cluster == cluster || self.earlier.contains(&cluster)
    }

    /// The same, so far.
    #[must_use]
    pub fn at(&self, phase: RestorePhase) -> Self {
        Self {
            phase,
            ..self.clone()
        }
    }
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// Whether a release has the tool that raises the revision of what it restores: since 3.4.27 and
/// 3.5.10 (etcd issue 16028).
#[must_use]
pub fn can_bump(version: &EtcdVersion) -> bool {
    match version.minor() {
        0..=3 => false,
        4 => *version >= EtcdVersion::new(3, 4, 27),
        5 => *version >= EtcdVersion::new(3, 5, 10),
        _ => true,
    }
}

/// What etcd's tool makes of a snapshot on one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoredMember {
    /// The member.
    pub member: MemberName,
    /// Its data directory.
    pub data: HostPath,
    /// The directory that holds its log, where that is not in its data.
    pub log: Option<HostPath>,
    /// Whose the data becomes.
    pub owner: Option<Owner>,
    /// The directory of etcdutl, or of etcdctl where there is no etcdutl.
    pub tools: HostPath,
    /// The new cluster's token.
    pub token: String,
    /// Its peer URL.
    pub peer_url: String,
    /// Every member with its peer URL, as `initial-cluster` has them.
    pub initial_cluster: String,
    /// How far the revision is raised.
    pub bump: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raised_by(revision: i64, above: i64, seen: i64, before: i64) -> i64 {
        let known = KnownSnapshot {
            cluster_id: ClusterId::new(1),
            etcd: "3.5.33".to_owned(),
            revision,
            taken: Timestamp::UNIX_EPOCH,
        };
        let order = RestoreOrder {
            id: String::new(),
            path: String::new(),
            sha256: String::new(),
            size: 0,
            known: Some(known),
            bump: true,
            above,
            again: false,
            cluster_id: None,
        };
        let unraised = RestoreOrder {
            bump: false,
            ..order.clone()
        };
        assert_eq!(unraised.raised_by(seen, before), 0);
        order.raised_by(seen, before)
    }

    /// Each restore ends beyond what clients of the one before may have seen.
    #[test]
    fn revisions_never_go_down() {
        assert_eq!(raised_by(500, 500, 700, 0), BUMP);
        // The same once more: members are at what the first raised it to, or are gone.
        assert_eq!(raised_by(500, 500, BUMP + 900, BUMP), 2 * BUMP);
        assert_eq!(raised_by(500, 500, 0, BUMP), 2 * BUMP);
        assert_eq!(raised_by(500, BUMP + 900, 0, 0), 2 * BUMP);
        // An earlier one than that of a cluster that was restored twice.
        assert_eq!(raised_by(100, 3 * BUMP, 3 * BUMP + 5, 2 * BUMP), 4 * BUMP);
        for seen in (0..40).map(|at| at * (BUMP / 7)) {
            assert!(raised_by(500, 0, seen, 0) + 500 >= seen + BUMP / 2);
        }
    }
}
