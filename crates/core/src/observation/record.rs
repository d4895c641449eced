//! What etcdup left on a host: the host record and the lease.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::membership::{ClusterId, MemberId};
use crate::name::MemberName;
use crate::path::HostPath;
use crate::recover::{RecoverPhase, RecoverRecord};
use crate::restore::{RestorePhase, RestoreRecord};
use crate::topology::MemberPlace;

/// `<state>/<cluster>.json`: what no other place on the host remembers. That a cluster was
/// bootstrapped must outlive its data, or a lost disk would look like a first start. A record that
/// cannot be read is unknown, never absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRecord {
    /// `etcdup/record/1`.
    pub format: String,
    /// Counts the stages that changed this host.
    pub generation: u64,
    /// How often the cluster was reset: the default token of the next one counts it.
    #[serde(default)]
    pub resets: u64,
    /// Who made the first change on this host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// The generation whose bootstrap was started. A later bootstrap without any data takes the
    /// next one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begun: Option<u64>,
    /// The cluster's ID, once a quorum was seen healthy. From then on no member of it is ever
    /// started as new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterId>,
    /// The last restore of the cluster from a snapshot, which may be under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore: Option<RestoreRecord>,
    /// The last recovery of the cluster by one of its members, which may be under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recover: Option<RecoverRecord>,
    /// The members on this host that were seen healthy.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub members: BTreeMap<MemberName, RecordedMember>,
    /// The last release that a member did not come up with, where the one before was put back.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub failed: BTreeMap<MemberName, FailedRelease>,
    /// Every member of the cluster and where it is: how one is reached that the file no longer
    /// names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roster: Vec<RosterMember>,
    /// What was written, by path.
    pub files: BTreeMap<HostPath, RecordedFile>,
    /// The last operations, oldest first; at most twenty.
    pub history: Vec<Operation>,
}

impl HostRecord {
    /// Forgets a member; the cluster too, where it was the last on this host.
    pub fn forget(&mut self, member: &MemberName) {
        self.members.remove(member);
        self.failed.remove(member);
        if self.members.is_empty() {
            self.forget_cluster();
        }
    }

    /// Has where a member is now; the others stay as they are.
    pub fn place(&mut self, known: RosterMember) {
        let mut roster = self.roster.iter_mut();
        match roster.find(|one| one.place.is_of_same(&known.place)) {
            Some(one) => *one = known,
            None => self.roster.push(known),
        }
    }

    /// Has how far a restore is. The cluster before is forgotten once all of it was moved aside:
    /// until then its members must be found. The roster is of the restored cluster by then.
    pub fn note_restore(&mut self, restore: &RestoreRecord) {
        if restore.phase == RestorePhase::Restoring {
            let roster = std::mem::take(&mut self.roster);
            self.forget_cluster();
            self.roster = roster;
            self.resets = restore.generation;
        }
        self.restore = Some(restore.clone());
    }

    /// Has how far a recovery is. Once it has ended the members that were are nobody's to look for.
    pub fn note_recover(&mut self, recover: &RecoverRecord) {
        let goes_on = |own: &RecoverRecord| own.is_open() && own.is_same(recover);
        if recover.phase == RecoverPhase::Ended && self.recover.as_ref().is_some_and(goes_on) {
            self.roster.clear();
        }
        self.recover = Some(recover.clone());
    }

    /// Forgets that the cluster was bootstrapped, and all its members.
    pub fn forget_cluster(&mut self) {
        self.restore = None;
        self.recover = None;
        self.cluster = None;
        self.members.clear();
        self.failed.clear();
        self.roster.clear();
        self.begun = None;
    }
}

/// Who made the first change on a host, and from where: that is where the cluster's CA was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Who, `user@machine`.
    pub who: String,
    /// When, RFC 3339.
    pub at: String,
    /// The directory of the topology file.
    pub directory: String,
}

/// A member that was seen healthy on this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedMember {
    /// Its ID.
    pub id: MemberId,
    /// The mark that was left in its data directory, which a directory that was refilled cannot
    /// have.
    pub mark: String,
    /// The version it ran.
    pub version: String,
}

/// A release that a member did not come up with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedRelease {
    /// The release.
    pub version: String,
    /// SHA-256 of its binary, hex, or the image; empty where it is not known.
    pub binary: String,
    /// The last lines of its log.
    pub log: Vec<String>,
}

/// A member as every host's record knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RosterMember {
    /// Its ID, once the cluster lists it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<MemberId>,
    /// Its peer URL.
    pub peer_url: String,
    /// Where it is.
    #[serde(flatten)]
    pub place: MemberPlace,
    /// Where it goes on its host: written before anything of it moves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<MemberPlace>,
}

/// A file that etcdup wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedFile {
    /// Its SHA-256, hex.
    pub sha256: String,
}

/// One operation that changed this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Its id, a UUIDv7.
    pub id: String,
    /// When, RFC 3339.
    pub at: String,
    /// The verb.
    pub verb: String,
    /// Who, `user@machine`.
    pub who: String,
    /// The stage's key.
    pub stage: String,
}

/// A lease on a host, as its file says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseView {
    /// The operation that holds it.
    pub operation: String,
    /// The verb.
    pub verb: String,
    /// Counts holders: a later one is higher.
    pub epoch: u64,
    /// Who holds it, `user@machine`.
    pub who: String,
    /// Since when, by the holder's clock; for people only.
    pub since: String,
    /// Whether the host itself says that it has run out.
    pub expired: bool,
}
