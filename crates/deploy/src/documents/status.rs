//! How members stand, as a document.

use etcdup_core::flag::quota_of as quota_of_flags;
use etcdup_core::membership::{ClusterId, Electorate, MemberId, Place, Standing};
use etcdup_core::observation::{MemberView, Observation, SnapshotSeen};
use etcdup_core::observed::Observed;
use etcdup_core::topology::{Member, Topology};
use etcdup_planner::Planner;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The format that states name.
pub const STATUS_FORMAT: &str = "etcdup/status/1";

/// How a cluster and its members stand.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct StatusDocument {
    /// The format, [`STATUS_FORMAT`].
    pub format: String,
    /// The cluster's name.
    pub cluster: String,
    /// How many voters the cluster has, by its own list.
    pub voters: usize,
    /// How many of them are a quorum.
    pub quorum: usize,
    /// How many of them are healthy.
    pub healthy: usize,
    /// The members of the topology, those that still have to go, and those that only the cluster
    /// lists.
    pub members: Vec<MemberStatus>,
    /// The newest snapshot that is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<SnapshotSeen>,
    /// Why it is not known which is the newest, where that is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_unseen: Option<String>,
}

/// How a member stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct MemberStatus {
    /// Its name.
    pub name: String,
    /// Its host; empty for one that only the cluster lists.
    pub host: String,
    /// How it stands with the cluster.
    pub standing: MemberStanding,
    /// Whether it should go.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leaves: bool,
    /// How many raft entries a learner is behind, where it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behind: Option<u64>,
    /// How it is.
    pub health: MemberHealth,
    /// Why it is not healthy, or why that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What it answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<MemberAnswer>,
}

/// How a member stands with the cluster, by the cluster's list, its host's record and its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MemberStanding {
    /// Nothing knows it yet: it is bootstrapped with the others, or to be added.
    New,
    /// A bootstrap named it, and it never started.
    Bootstrapped,
    /// It was added, and never started.
    Added,
    /// It follows without a vote.
    Learner,
    /// It votes.
    Voter,
    /// It has lost its data, and must be removed and added again.
    Lost,
    /// Its data is gone or moved aside, and a restore that has not ended gives it back.
    Restoring,
    /// It was a member, and the list has it no more.
    Removed,
    /// The cluster lists it, and neither the file nor a host record knows it.
    Unmanaged,
    /// It is not known.
    Unknown,
}

impl MemberStanding {
    fn of(place: &Place, seen: &Observation) -> Self {
        let host = place.host.as_ref();
        let is_being_restored = || host.is_some_and(|host| seen.is_being_restored(host));
        match &place.standing {
            Standing::New => Self::New,
            Standing::Bootstrapped(_) => Self::Bootstrapped,
            Standing::Added { .. } => Self::Added,
            Standing::Learner { .. } => Self::Learner,
            Standing::Voter { .. } => Self::Voter,
            Standing::Lost { .. } if is_being_restored() => Self::Restoring,
            Standing::Lost { .. } => Self::Lost,
            Standing::Removed { .. } => Self::Removed,
            Standing::Unmanaged(_) => Self::Unmanaged,
            Standing::Unknown(_) => Self::Unknown,
        }
    }
}

/// How a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MemberHealth {
    /// A linearizable read went through it.
    Healthy,
    /// None did.
    Unhealthy,
    /// It could not be asked: it may be either.
    Unknown,
}

/// What a member says of itself. IDs are hex, as etcdctl prints them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct MemberAnswer {
    /// Its member ID.
    pub id: MemberId,
    /// The cluster's ID.
    pub cluster: ClusterId,
    /// The member ID of the leader it follows; none where it follows nobody.
    pub leader: Option<MemberId>,
    /// Whether it is the leader.
    pub leads: bool,
    /// Whether it is a learner.
    pub learner: bool,
    /// The version it runs.
    pub version: String,
    /// The raft term.
    pub term: u64,
    /// The last raft entry it has.
    pub raft_index: u64,
    /// The last raft entry it applied.
    pub applied_index: u64,
    /// The store's revision.
    pub revision: i64,
    /// The size of its database file, in bytes.
    pub db_bytes: i64,
    /// How much of that is in use, in bytes.
    pub db_in_use_bytes: i64,
    /// How large its database may become, in bytes; none where it is not limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota_bytes: Option<u64>,
    /// How long the read took, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_ms: Option<f64>,
    /// Errors that it tells of itself, such as alarms.
    pub errors: Vec<String>,
}

impl StatusDocument {
    /// What was observed, as a document.
    #[must_use]
    pub fn new(planner: &Planner, seen: &Observation) -> Self {
        let topology = planner.topology();
        let names: Vec<_> = topology
            .members
            .iter()
            .map(|member| member.name.clone())
            .collect();
        let electorate = Electorate::of(seen, &names);
        let places = planner.places(seen);
        Self {
            format: STATUS_FORMAT.to_owned(),
            cluster: topology.cluster.to_string(),
            voters: electorate.len(),
            quorum: electorate.quorum(),
            healthy: electorate.healthy(),
            members: places
                .iter()
                .filter_map(|place| MemberStatus::of(topology, place, seen))
                .collect(),
            snapshot: seen.snapshot.known().cloned().flatten(),
            snapshot_unseen: seen.snapshot.why().map(str::to_owned),
        }
    }
}

impl MemberStatus {
    /// `None` for one that goes and of which nothing is left.
    fn of(topology: &Topology, place: &Place, seen: &Observation) -> Option<Self> {
        let name = place.name.as_ref();
        if place.has_left() {
            return None;
        }
        let member = name
            .filter(|_| place.host.is_some())
            .and_then(|name| topology.member(name));
        let standing = MemberStanding::of(place, seen);
        let Some(member) = member else {
            let id = if let Standing::Unmanaged(id) = &place.standing {
                id.to_string()
            } else {
                String::new()
            };
            return Some(Self {
                name: name.map_or(id, ToString::to_string),
                host: String::new(),
                standing,
                leaves: false,
                behind: None,
                health: MemberHealth::Unknown,
                why: Some("no file and no host record names it".to_owned()),
                answer: None,
            });
        };
        let behind = if let Standing::Learner { behind, .. } = place.standing {
            behind
        } else {
            None
        };
        Some(Self {
            standing,
            leaves: place.leaves,
            behind,
            ..Self::new(member, seen)
        })
    }

    fn new(member: &Member, seen: &Observation) -> Self {
        let (health, why, answer) = match seen.members.get(&member.name) {
            Some(Observed::Known(view)) => {
                let health = match view.served {
                    Observed::Known(_) => MemberHealth::Healthy,
                    Observed::Unknown(_) => MemberHealth::Unhealthy,
                };
                (
                    health,
                    view.served.why(),
                    Some(MemberAnswer::new(view, quota_of(member, seen))),
                )
            }
            Some(Observed::Unknown(unseen)) => {
                let health = if unseen.is_unknown() {
                    MemberHealth::Unknown
                } else {
                    MemberHealth::Unhealthy
                };
                (health, Some(unseen.why.as_str()), None)
            }
            None => (MemberHealth::Unknown, Some("it was not asked"), None),
        };
        Self {
            name: member.name.to_string(),
            host: member.host.to_string(),
            standing: MemberStanding::Unknown,
            leaves: false,
            behind: None,
            health,
            why: why.map(str::to_owned),
            answer,
        }
    }
}

impl MemberAnswer {
    fn new(view: &MemberView, quota_bytes: Option<u64>) -> Self {
        let took = view.served.known().map(|served| served.took);
        Self {
            id: view.id,
            cluster: view.cluster,
            leader: view.leader,
            leads: view.leader == Some(view.id),
            learner: view.learner,
            version: view.version.clone(),
            term: view.term,
            raft_index: view.raft_index,
            applied_index: view.applied_index,
            revision: view.revision,
            db_bytes: view.db_size,
            db_in_use_bytes: view.db_in_use,
            quota_bytes,
            // A hundredth of a millisecond is more than a read's time means.
            read_ms: took.map(|took| (took.as_secs_f64() * 100_000.0).round() / 100.0),
            errors: view.errors.clone(),
        }
    }
}

/// The quota that a member runs with.
fn quota_of(member: &Member, seen: &Observation) -> Option<u64> {
    let process = seen.host(&member.host)?.processes.get(&member.name)?;
    quota_of_flags(&process.flags)?.try_into().ok()
}
