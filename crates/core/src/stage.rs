//! What to do, as data: stages of host steps or one call to the cluster, with the gates before and
//! after.

mod approval;
mod gate;
mod key;
pub mod limits;
mod step;

pub use approval::{Approval, Beyond, Scope};
pub use gate::{Condition, Gate, Reason};
pub use key::{LegTag, Rule, StageKey, StageKeyError, TrustLeg};
pub use step::{
    Alarm, Artifact, BinarySource, ClusterStep, Content, Held, HostStep, Noted, OperatorStep, Part,
};

use crate::membership::ClusterId;
use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::host::HostId;
use crate::name::MemberName;
use crate::restore::RestoreOrder;
use crate::topology::{Member, Topology};

/// One stage of a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// What tells it from others.
    pub key: StageKey,
    /// One line for people.
    pub title: String,
    /// Why, one line a subject. Never empty.
    pub why: Vec<String>,
    /// What it does to the cluster's service.
    pub impact: Impact,
    /// What must hold before.
    pub preconditions: Vec<Gate>,
    /// What is done.
    pub work: Work,
    /// What must hold after, which is what proves the stage.
    pub postconditions: Vec<Gate>,
}

impl Stage {
    /// The members that this stage stops, if only for a moment.
    #[must_use]
    pub fn stops(&self, topology: &Topology) -> BTreeSet<MemberName> {
        let tasks = match &self.work {
            Work::Hosts(tasks) => tasks,
            Work::Cluster(step) => return step.stops().into_iter().collect(),
            Work::Operator(_) => return BTreeSet::new(),
        };
        let stops = |member: &&Member| {
            let steps = tasks.get(&member.host);
            steps.is_some_and(|steps| steps.iter().any(|step| step.stops(member)))
        };
        let stopped = topology.everyone().filter(stops);
        stopped.map(|member| member.name.clone()).collect()
    }

    /// Whether this stage changes nothing and only waits for its gates.
    #[must_use]
    pub fn only_waits(&self) -> bool {
        matches!(&self.work, Work::Hosts(tasks) if tasks.is_empty())
    }
}

/// What a stage does to the cluster's service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Impact {
    /// Nothing that a client sees.
    None,
    /// A member restarts while the others serve.
    Restart(MemberName),
    /// A member answers nothing for a while, and the others serve.
    Pause(MemberName),
    /// The cluster does not serve for a while.
    Outage(String),
}

/// What a stage does.
#[derive(Debug, Clone, PartialEq)]
pub enum Work {
    /// Steps on the operator's own machine.
    Operator(Vec<OperatorStep>),
    /// Steps on hosts, side by side, one script run a host.
    Hosts(BTreeMap<HostId, Vec<HostStep>>),
    /// One call to the cluster.
    Cluster(ClusterStep),
}

/// What a run is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(
    tag = "goal",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
pub enum Goal {
    /// The cluster is as the file says.
    Converge {
        /// A restart that takes the cluster out of service is approved.
        allow_outage: bool,
        /// A release that a member did not come up with is tried once more.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        retry: bool,
    },
    /// The cluster is stopped and disabled, its data kept by rename or deleted.
    Reset {
        /// Delete data instead of moving it aside.
        wipe: bool,
        /// A cluster ID that the operator typed: data of it is this cluster's too.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cluster_id: Option<ClusterId>,
    },
    /// Databases give back what they do not use, and writes that a full one stopped go on.
    Maintain {
        /// History is dropped though nothing demands it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        compact: bool,
        /// Every member is defragmented, however little that gives back.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        all: bool,
        /// A pause that takes the cluster out of service is approved.
        allow_outage: bool,
    },
    /// The alarm of a full database is disarmed, and nothing else.
    Disarm,
    /// All members hold what a snapshot does, as a new cluster, and nothing else.
    Restore {
        /// Of which, and how.
        order: Box<RestoreOrder>,
    },
    /// A restore that was begun is given up, as long as enough members have their own data.
    AbortRestore {
        /// What was ordered before this is over; one that is later is another's.
        id: String,
    },
    /// The cluster goes on with the one of its members whose data goes furthest, where too few are
    /// left to agree on anything.
    Recover {
        /// Members that are lost for good.
        gone: Vec<MemberName>,
        /// A cluster ID that the operator typed: data of it is this cluster's too.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cluster_id: Option<ClusterId>,
    },
    /// Another member leads.
    MoveLeader {
        /// Who; the first healthy voter in the file where it is left open.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<MemberName>,
    },
}

impl Goal {
    /// As the file says, with nothing approved beyond that: what whoever only looks asks for, too.
    pub const CONVERGE: Self = Goal::Converge {
        allow_outage: false,
        retry: false,
    };
}

/// What to do next.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// This stage.
    Stage(Box<Stage>),
    /// Nothing: the goal is reached.
    Done,
    /// Nothing can be done before these are fixed.
    Blocked(Vec<crate::finding::Finding>),
}
