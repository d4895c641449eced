//! What must hold before or after a stage.

use std::fmt;
use std::time::Duration;

use crate::name::MemberName;
use crate::observation::Observation;
use crate::topology::HostId;

/// Something that must hold within a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gate {
    /// What must hold.
    pub holds: Holds,
    /// Within which time.
    pub within: Duration,
}

/// What must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holds {
    /// A linearizable read goes through this member.
    Serves(MemberName),
    /// Without this member, the voters that serve still make a quorum of this many voters.
    QuorumWithout {
        /// The member that may stop.
        member: MemberName,
        /// All voters.
        voters: Vec<MemberName>,
    },
    /// Another member leads.
    Follows(MemberName),
    /// A process of the member runs that is not the one before: the kubelet has seen the new manifest.
    Renewed {
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
    #[error("{member} does not serve: {why}")]
    NotServing {
        /// The member.
        member: MemberName,
        /// What it said.
        why: String,
    },
    /// Stopping the member would cost the quorum.
    #[error("without {member} {healthy} of {voters} voters serve; a quorum is {quorum}")]
    QuorumLost {
        /// The member that was to stop.
        member: MemberName,
        /// Others that serve.
        healthy: usize,
        /// All voters.
        voters: usize,
        /// How many make a quorum.
        quorum: usize,
    },
    /// The old process still runs, or no new one yet.
    #[error("the new pod of {0} does not run yet")]
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
            holds: Holds::Serves(member.clone()),
            within: Duration::from_secs(60),
        }
    }

    /// Whether it holds now.
    ///
    /// # Errors
    /// Why it does not.
    pub fn check(&self, seen: &Observation) -> Result<(), Reason> {
        match &self.holds {
            Holds::Serves(member) => serves(seen, member),
            Holds::QuorumWithout { member, voters } => quorum_without(seen, member, voters),
            Holds::Follows(member) => match seen.leader() {
                None => Err(Reason::NoLeader),
                Some(leader) if leader == member => Err(Reason::StillLeads(member.clone())),
                Some(_) => Ok(()),
            },
            Holds::Renewed {
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
    use crate::seen::Seen;
    let not = |why: &str| {
        Err(Reason::NotServing {
            member: member.clone(),
            why: why.to_owned(),
        })
    };
    match seen.members.get(member) {
        None => not("it was not asked"),
        Some(Seen::No(unseen)) => not(&unseen.why),
        Some(Seen::Yes(view)) => match &view.served {
            Seen::Yes(_) => Ok(()),
            Seen::No(unseen) => not(&unseen.why),
        },
    }
}

/// Whether the voters that serve, this one left out, still make a quorum. What was not seen does not serve.
fn quorum_without(
    seen: &Observation,
    member: &MemberName,
    voters: &[MemberName],
) -> Result<(), Reason> {
    let quorum = voters.len() / 2 + 1;
    let healthy = voters
        .iter()
        .filter(|voter| *voter != member && seen.serves(voter))
        .count();
    if healthy >= quorum {
        return Ok(());
    }
    Err(Reason::QuorumLost {
        member: member.clone(),
        healthy,
        voters: voters.len(),
        quorum,
    })
}

impl fmt::Display for Holds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Holds::Serves(member) => write!(f, "{member} serves"),
            Holds::QuorumWithout { member, .. } => {
                write!(f, "the others make a quorum without {member}")
            }
            Holds::Follows(member) => write!(f, "another member than {member} leads"),
            Holds::Renewed { member, .. } => write!(f, "the new pod of {member} runs"),
        }
    }
}
