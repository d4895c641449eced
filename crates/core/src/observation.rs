//! What was seen of the hosts, the cluster and the operator's own files. Nothing here decides
//! anything.

mod cluster;
mod host;
mod query;
mod raft_log;
mod record;
mod wal;

pub use cluster::{CORRUPT, ListedMember, MemberView, NO_SPACE, Served};
pub use host::{
    Console, DataDir, Disk, DropIn, EtcdInstance, EtcdProcess, FileKind, FileView, HostView,
    Listener, LogDir, UnitView,
};
pub use query::Query;
pub use raft_log::{RaftLog, RaftLogReader};
pub use record::{
    FailedRelease, HostRecord, LeaseView, Operation, Origin, RecordedFile, RecordedMember,
    RosterMember,
};
pub use wal::{DataIdentity, wal_identity};

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::certificate::{CertFacts, CertIdentity, Issuer};
use crate::host::HostId;
use crate::membership::MemberId;
use crate::name::MemberName;
use crate::observed::Observed;
use crate::restore::RestoreRecord;
use crate::stage::StageKey;
use crate::topology::SrvRecord;

/// All that was seen, and when.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// When: the only clock the planner knows.
    pub at: Timestamp,
    /// The certificate authority, on the operator's machine.
    pub ca: CaView,
    /// The CAs of `certificates.trust`, in its order.
    pub trusted: Vec<CaView>,
    /// SHA-256 of what members' CA files are to hold, hex, where etcdup writes them.
    pub ca_file: Option<String>,
    /// The certificates of clients beside the CA on the operator's machine, by name: those that the
    /// file names, and others that were issued there.
    pub clients: BTreeMap<String, Observed<CertFacts>>,
    /// Files on the operator's machine that the topology names, by path: SHA-256, and what a
    /// certificate says.
    pub sources: BTreeMap<String, Observed<SourceFacts>>,
    /// The hosts.
    pub hosts: BTreeMap<HostId, Observed<HostView>>,
    /// The members, as their own client port answers.
    pub members: BTreeMap<MemberName, Observed<MemberView>>,
    /// SRV records by host and service, as the host's own resolver answers.
    pub srv: BTreeMap<(HostId, String), Observed<Vec<SrvRecord>>>,
    /// Whether a host reaches an `address:port`, dialled from that host.
    pub reach: BTreeMap<(HostId, String), Reach>,
    /// The newest snapshot that is kept, where there is one.
    pub snapshot: Observed<Option<SnapshotSeen>>,
    /// The stages that the operation under way has carried out. What may be done again at any time,
    /// as a defragmentation may, is done once an operation.
    pub done: BTreeSet<StageKey>,
}

/// A snapshot that is kept, as its name and document have it; whether it is whole is another
/// question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SnapshotSeen {
    /// Its name.
    pub name: String,
    /// When it was taken.
    pub taken: Timestamp,
    /// Its size, in bytes.
    pub size: u64,
}

/// What became of a dial from a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// Something answered.
    Reachable,
    /// Nothing listens there, but the port is reachable.
    Refused,
    /// No answer: a filter, or no such host.
    TimedOut,
    /// It could not be tried, for the host's sshd forwards nothing.
    ForwardingDenied,
    /// It could not be tried, for this reason.
    Unknown(String),
}

/// The certificate authority as it is.
#[derive(Debug, Clone, PartialEq)]
pub enum CaView {
    /// The topology needs none.
    Unneeded,
    /// Its files are not there; the first apply makes it.
    Absent,
    /// It is there, with its key.
    Usable(CertFacts),
    /// It is there, without a key: nothing can be issued.
    WithoutKey(CertFacts),
    /// It cannot be used.
    Broken(String),
}

impl CaView {
    /// The CA's certificate.
    #[must_use]
    pub fn facts(&self) -> Option<&CertFacts> {
        match self {
            CaView::Usable(facts) | CaView::WithoutKey(facts) => Some(facts),
            CaView::Unneeded | CaView::Absent | CaView::Broken(_) => None,
        }
    }
}

/// A file on the operator's machine.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceFacts {
    /// SHA-256 of the file, hex.
    pub sha256: String,
    /// What it says, where it is a certificate.
    pub certificate: Option<CertFacts>,
    /// Why etcd would not start with it as a CA file.
    pub damage: Option<String>,
    /// SHA-256 of the public key, hex, where it is a certificate or a private key: those of a pair
    /// are equal.
    pub public_key: Option<String>,
    /// How much is sent to hosts from it, in bytes: for a directory's etcd its other programs too.
    pub size: u64,
    /// The version of etcd in it, where it is a binary or an archive and that could be found out.
    pub version: Option<String>,
    /// The version that should be in it: the file's, or one on the way to it.
    pub wanted: Option<String>,
}

impl Observation {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(at: Timestamp) -> Self {
        Self {
            at,
            ca: CaView::Unneeded,
            trusted: Vec::new(),
            ca_file: None,
            clients: BTreeMap::new(),
            sources: BTreeMap::new(),
            hosts: BTreeMap::new(),
            members: BTreeMap::new(),
            srv: BTreeMap::new(),
            reach: BTreeMap::new(),
            snapshot: Observed::default(),
            done: BTreeSet::new(),
        }
    }

    /// The member that answers with this ID, by its name in the file.
    #[must_use]
    pub fn name_of(&self, id: MemberId) -> Option<&MemberName> {
        let mut members = self.members.iter();
        let known = members.find(|(_, view)| view.known().is_some_and(|view| view.id == id));
        known.map(|(name, _)| name)
    }

    /// The same for people: the ID where no member answers with it, and words where it is none.
    #[must_use]
    pub fn shown_name_of(&self, id: MemberId) -> String {
        match (self.name_of(id), id.get()) {
            (Some(name), _) => name.to_string(),
            (None, 0) => "a member that etcd does not name".to_owned(),
            (None, _) => id.to_string(),
        }
    }

    /// The members of which some member says that this alarm is theirs; ID 0 where it does not say
    /// whose it is.
    #[must_use]
    pub fn alarms(&self, alarm: &str) -> BTreeSet<MemberId> {
        let views = self.known_members();
        views.flat_map(|view| view.alarms(alarm)).collect()
    }

    /// The CA that signs for this issuer, where it is known.
    #[must_use]
    pub fn issuer(&self, issuer: Issuer) -> Option<&CaView> {
        match issuer {
            Issuer::Own => Some(&self.ca),
            Issuer::Trusted(index) => self.trusted.get(index),
        }
    }

    /// Whether another CA issued a certificate than the one that issues now, where that is known.
    #[must_use]
    pub fn is_of_another_ca(&self, facts: &CertFacts) -> bool {
        let own = self.ca.facts().map(CertFacts::identity);
        !facts.is_ca && own.is_some_and(|own| !facts.is_issued_by(&[own]))
    }

    /// Every certificate of the CA file that members are to have: the own CA's first, then those
    /// that the file trusts beside it, each once.
    #[must_use]
    pub fn bundle(&self) -> Vec<CertIdentity> {
        let views = std::iter::once(&self.ca).chain(&self.trusted);
        let mut bundle: Vec<CertIdentity> = Vec::new();
        for one in views.filter_map(CaView::facts).flat_map(CertFacts::file) {
            if bundle
                .iter()
                .all(|other| other.fingerprint != one.fingerprint)
            {
                bundle.push(one);
            }
        }
        bundle
    }

    /// A host, where it was seen.
    #[must_use]
    pub fn host(&self, id: &HostId) -> Option<&HostView> {
        self.hosts.get(id)?.known()
    }

    /// Whether a host's record says that the cluster is being restored.
    #[must_use]
    pub fn is_being_restored(&self, id: &HostId) -> bool {
        let record = self.host(id).and_then(HostView::record);
        let restore = record.and_then(|record| record.restore.as_ref());
        restore.is_some_and(RestoreRecord::is_open)
    }

    /// A member's own answer, where it gave one.
    #[must_use]
    pub fn member(&self, name: &MemberName) -> Option<&MemberView> {
        self.members.get(name)?.known()
    }

    /// Whether a member serves: a linearizable read went through it.
    #[must_use]
    pub fn serves(&self, name: &MemberName) -> bool {
        self.member(name)
            .is_some_and(|member| member.served.known().is_some())
    }

    /// Whether a member counts towards a quorum: a linearizable read went through it, or it follows
    /// a leader. A member that refuses reads because of an alarm still votes, so stopping it costs
    /// a vote.
    #[must_use]
    pub fn is_healthy_voter(&self, name: &MemberName) -> bool {
        self.member(name).is_some_and(|member| {
            !member.learner && (member.served.known().is_some() || member.leader.is_some())
        })
    }

    /// What members that answer say of themselves.
    pub fn known_members(&self) -> impl Iterator<Item = &MemberView> {
        self.members.values().filter_map(Observed::known)
    }

    /// The minor that the cluster is being downgraded to, such as `3.6`, where it is. Releases
    /// before 3.6 do not say.
    #[must_use]
    pub fn downgrade(&self) -> Option<&str> {
        self.known_members()
            .find_map(|view| view.downgrade.as_deref())
    }

    /// The member that others follow, where all who answer agree.
    #[must_use]
    pub fn leader(&self) -> Option<&MemberName> {
        let mut leaders = self
            .members
            .values()
            .filter_map(Observed::known)
            .map(|member| member.leader);
        let leader = leaders.next()??;
        if leaders.any(|other| other != Some(leader)) {
            return None;
        }
        self.name_of(leader)
    }
}
