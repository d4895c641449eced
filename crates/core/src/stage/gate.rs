//! What must hold before or after a stage.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use crate::host::HostId;
use crate::membership::{Electorate, NotSpared};
use crate::name::MemberName;
use crate::observation::{MemberView, Observation};

/// Something that must hold within a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gate {
    /// What must hold.
    pub condition: Condition,
    /// Within which time.
    pub within: Duration,
}

/// What must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// A linearizable read goes through this member.
    Serves(MemberName),
    /// While these members are stopped together, a quorum of the cluster's voters stays healthy.
    QuorumWithout {
        /// The members that may stop.
        stop: BTreeSet<MemberName>,
        /// The members of the topology, which stand in for the cluster's list if no member gives one.
        members: Vec<MemberName>,
    },
    /// The member's etcd runs and listens on its peer port.
    Listens {
        /// The member.
        member: MemberName,
        /// Its host.
        host: HostId,
        /// Its peer port.
        port: u16,
    },
    /// Another member leads.
    NotLeader(MemberName),
    /// A process of the member runs that is not the one before: the kubelet has seen the new manifest.
    PodReplaced {
        /// The member.
        member: MemberName,
        /// Its host.
        host: HostId,
        /// The process before.
        before: u32,
    },
}

/// Why a gate does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The member did not answer, or its read did not go through.
    #[error("{member} is unhealthy: {why}")]
    NotServing {
        /// The member.
        member: MemberName,
        /// What it said.
        why: String,
    },
    /// Another member answers under this one's address: its data was copied from there.
    #[error("{member} answers as {other} (member {id:x}): its data directory is a copy")]
    AnotherMember {
        /// The member that was asked.
        member: MemberName,
        /// Who answered.
        other: String,
        /// The ID that it answered with.
        id: u64,
    },
    /// Stopping the members would cost the quorum.
    #[error(transparent)]
    QuorumLost(#[from] NotSpared),
    /// It does not listen on its peer port.
    #[error("{0} does not listen on its peer port yet")]
    NotListening(MemberName),
    /// The old process still runs, or no new one yet.
    #[error("the new pod of {0} is not running yet")]
    NotRenewed(MemberName),
    /// It still leads.
    #[error("{0} still leads")]
    StillLeads(MemberName),
    /// Nobody leads, or members disagree.
    #[error("the members do not agree on a leader")]
    NoLeader,
}

impl Gate {
    /// A read goes through this member within a minute.
    #[must_use]
    pub fn serves(member: &MemberName) -> Self {
        Self {
            condition: Condition::Serves(member.clone()),
            within: Duration::from_secs(60),
        }
    }

    /// Whether it holds now.
    ///
    /// # Errors
    /// Why it does not.
    pub fn check(&self, seen: &Observation) -> Result<(), Reason> {
        match &self.condition {
            Condition::Serves(member) => serves(seen, member),
            Condition::QuorumWithout { stop, members } => {
                Ok(Electorate::of(seen, members).spare(stop)?)
            }
            Condition::Listens { member, host, port } => {
                let view = seen.host(host);
                let runs = view.is_some_and(|view| view.processes.contains_key(member));
                if runs && view.is_some_and(|view| view.listeners.contains_key(port)) {
                    Ok(())
                } else {
                    Err(Reason::NotListening(member.clone()))
                }
            }
            Condition::NotLeader(member) => match seen.leader() {
                None => Err(Reason::NoLeader),
                Some(leader) if leader == member => Err(Reason::StillLeads(member.clone())),
                Some(_) => Ok(()),
            },
            Condition::PodReplaced {
                member,
                host,
                before,
            } => {
                let process = seen.host(host).and_then(|host| host.processes.get(member));
                match process {
                    Some(process) if process.pid != *before => Ok(()),
                    _ => Err(Reason::NotRenewed(member.clone())),
                }
            }
        }
    }
}

fn serves(seen: &Observation, member: &MemberName) -> Result<(), Reason> {
    use crate::observed::Observed;
    let not = |why: &str| {
        Err(Reason::NotServing {
            member: member.clone(),
            why: why.to_owned(),
        })
    };
    match seen.members.get(member) {
        None => not("it was not asked"),
        Some(Observed::Unknown(unseen)) => not(&unseen.why),
        Some(Observed::Known(view)) => match &view.served {
            Observed::Known(_) => own_identity(seen, member, view),
            Observed::Unknown(unseen) => not(&unseen.why),
        },
    }
}

/// Two members that answer with one ID run on copies of one data directory, whatever else is healthy.
fn own_identity(seen: &Observation, member: &MemberName, view: &MemberView) -> Result<(), Reason> {
    let others = seen.members.iter().filter(|(name, _)| *name != member);
    let same = others
        .filter_map(|(name, other)| Some((name, other.known()?)))
        .find(|(_, other)| other.id == view.id && other.cluster == view.cluster);
    match same {
        None => Ok(()),
        Some((other, _)) => Err(Reason::AnotherMember {
            member: member.clone(),
            other: other.to_string(),
            id: view.id,
        }),
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Condition::Serves(member) => write!(f, "{member} is healthy"),
            Condition::QuorumWithout { stop, .. } => {
                let names: Vec<&str> = stop.iter().map(MemberName::as_str).collect();
                write!(f, "quorum holds without {}", names.join(", "))
            }
            Condition::Listens { member, .. } => write!(f, "{member} listens on its peer port"),
            Condition::NotLeader(member) => write!(f, "leadership moved away from {member}"),
            Condition::PodReplaced { member, .. } => write!(f, "new pod of {member} is running"),
        }
    }
}
