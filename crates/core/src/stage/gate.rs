//! What must hold before or after a stage.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use crate::host::HostId;
use crate::membership::{ClusterView, Electorate, MemberId, NotRemoved, NotSpared};
use crate::name::MemberName;
use crate::observation::{MemberView, Observation};
use crate::stage::{Alarm, limits};

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
        /// The members of the topology, which stand in for the cluster's list if no member gives
        /// one.
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
    /// The cluster lists the member, as a learner or as a voter.
    Listed {
        /// The member.
        member: MemberName,
        /// What it is listed by: names are free to repeat.
        peer_url: String,
        /// Whether as a voter.
        voter: bool,
    },
    /// The others can go on without this member of the list.
    Removable {
        /// The member.
        member: MemberName,
        /// What the list knows it by.
        id: MemberId,
        /// The members of the topology.
        members: Vec<MemberName>,
    },
    /// The cluster lists the member no more.
    Unlisted {
        /// The member.
        member: MemberName,
        /// What the list knew it by.
        id: MemberId,
    },
    /// The member's etcd has nearly every entry that any member has.
    CaughtUp(MemberName),
    /// Another member leads.
    NotLeader(MemberName),
    /// Every member that says what its data is written for says this minor, `3.6`.
    StoredFor(String),
    /// The cluster is not being downgraded any more.
    DowngradeEnded,
    /// This alarm is not raised.
    AlarmOver(Alarm),
    /// A process of the member runs that is not the one before: the kubelet has seen the new
    /// manifest.
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
    #[error("{member} answers as {other} (member {id}): its data directory is a copy")]
    AnotherMember {
        /// The member that was asked.
        member: MemberName,
        /// Who answered.
        other: String,
        /// The ID that it answered with.
        id: MemberId,
    },
    /// Stopping the members would cost the quorum.
    #[error(transparent)]
    QuorumLost(#[from] NotSpared),
    /// The others could not go on without the member.
    #[error(transparent)]
    Needed(#[from] NotRemoved),
    /// The cluster's list still has it.
    #[error("the cluster still lists {0}")]
    StillListed(MemberName),
    /// It does not listen on its peer port.
    #[error("{0} does not listen on its peer port yet")]
    NotListening(MemberName),
    /// The cluster's list does not have it, or not as it should.
    #[error("the cluster does not list {member} as a {} yet", kind(*.voter))]
    NotListed {
        /// The member.
        member: MemberName,
        /// Whether it should be listed as a voter.
        voter: bool,
    },
    /// It lacks entries that other members have, or has not answered yet.
    #[error("{member} has not caught up: {}", lag(*.behind))]
    Behind {
        /// The member.
        member: MemberName,
        /// How many raft entries it lacks; `None` while it does not answer.
        behind: Option<u64>,
    },
    /// The old process still runs, or no new one yet.
    #[error("the new pod of {0} is not running yet")]
    NotRenewed(MemberName),
    /// It still leads.
    #[error("{0} still leads")]
    StillLeads(MemberName),
    /// Data is written for another minor.
    #[error("{member} still writes its data for {stored}")]
    StoredFor {
        /// The member.
        member: MemberName,
        /// The minor.
        stored: String,
    },
    /// The cluster is still being downgraded.
    #[error("the cluster is still being downgraded to {0}")]
    Downgrading(String),
    /// An alarm is raised.
    #[error("the alarm {0} is raised")]
    Raised(Alarm),
    /// Nobody leads, or members disagree.
    #[error("the members do not agree on a leader")]
    NoLeader,
}

impl Reason {
    /// How many raft entries a member is behind, where that is the reason and it is known.
    #[must_use]
    pub fn behind(&self) -> Option<u64> {
        if let Self::Behind { behind, .. } = self {
            *behind
        } else {
            None
        }
    }
}

impl Gate {
    /// A read goes through this member within a minute.
    #[must_use]
    pub fn serves(member: &MemberName) -> Self {
        Self {
            condition: Condition::Serves(member.clone()),
            within: limits::MEMBER_SERVES,
        }
    }

    /// A learner has caught up.
    #[must_use]
    pub fn caught_up(member: &MemberName) -> Self {
        Self {
            condition: Condition::CaughtUp(member.clone()),
            within: limits::CATCH_UP,
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
            Condition::Listed {
                member,
                peer_url,
                voter,
            } => {
                let view = ClusterView::confirmed(seen);
                let listed = view.as_ref().and_then(|view| view.at(peer_url));
                if listed.is_some_and(|listed| listed.learner != *voter) {
                    return Ok(());
                }
                Err(Reason::NotListed {
                    member: member.clone(),
                    voter: *voter,
                })
            }
            Condition::Removable { id, members, .. } => {
                Ok(Electorate::of(seen, members).remove(*id)?)
            }
            Condition::Unlisted { member, id } => {
                let view = ClusterView::confirmed(seen);
                if view.is_some_and(|view| view.member(*id).is_none()) {
                    return Ok(());
                }
                Err(Reason::StillListed(member.clone()))
            }
            Condition::CaughtUp(member) => caught_up(seen, member),
            Condition::NotLeader(member) => match seen.leader() {
                None => Err(Reason::NoLeader),
                Some(leader) if leader == member => Err(Reason::StillLeads(member.clone())),
                Some(_) => Ok(()),
            },
            Condition::StoredFor(minor) => {
                let mut members = seen.members.iter();
                let other = members.find_map(|(name, view)| {
                    let stored = &view.known()?.storage_version;
                    (!stored.is_empty() && stored != minor).then_some((name, stored))
                });
                match other {
                    None => Ok(()),
                    Some((member, stored)) => Err(Reason::StoredFor {
                        member: member.clone(),
                        stored: stored.clone(),
                    }),
                }
            }
            Condition::DowngradeEnded => match seen.downgrade() {
                None => Ok(()),
                Some(minor) => Err(Reason::Downgrading(minor.to_owned())),
            },
            Condition::AlarmOver(alarm) => match seen.alarms(alarm.as_str()).is_empty() {
                true => Ok(()),
                false => Err(Reason::Raised(*alarm)),
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

fn kind(voter: bool) -> &'static str {
    if voter { "voter" } else { "learner" }
}

fn lag(behind: Option<u64>) -> String {
    match behind {
        Some(behind) => format!("{behind} raft entries behind"),
        None => "it does not answer yet".to_owned(),
    }
}

/// How many entries a learner may lack when it is made a voter: it gets them within a moment.
const NEARLY: u64 = 1000;

fn caught_up(seen: &Observation, member: &MemberName) -> Result<(), Reason> {
    // While no voter serves, nobody says what there is to catch up with.
    let view = ClusterView::confirmed(seen);
    let newest = view.as_ref().map_or(0, ClusterView::newest);
    let own = seen.member(member).map(|own| own.raft_index);
    let own = own.filter(|_| view.is_some());
    let behind = own.map(|own| newest.saturating_sub(own));
    // etcd itself promotes a learner that has nine tenths of what the leader has
    // (`isLearnerReady` in server/etcdserver/server.go).
    match behind {
        Some(behind) if behind <= NEARLY && behind * 10 <= newest => Ok(()),
        _ => Err(Reason::Behind {
            member: member.clone(),
            behind,
        }),
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

/// Two members that answer with one ID run on copies of one data directory, whatever else is
/// healthy.
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
            Condition::Listed { member, voter, .. } => {
                write!(f, "the cluster lists {member} as a {}", kind(*voter))
            }
            Condition::Removable { member, .. } => {
                write!(f, "the others can go on without {member}")
            }
            Condition::Unlisted { member, .. } => {
                write!(f, "the cluster lists {member} no more")
            }
            Condition::CaughtUp(member) => write!(f, "{member} has caught up"),
            Condition::NotLeader(member) => write!(f, "leadership moved away from {member}"),
            Condition::StoredFor(minor) => write!(f, "data is written for {minor}"),
            Condition::DowngradeEnded => f.write_str("no downgrade is under way"),
            Condition::AlarmOver(alarm) => write!(f, "the alarm {alarm} is over"),
            Condition::PodReplaced { member, .. } => write!(f, "new pod of {member} is running"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flag::FlagSet;
    use crate::membership::ClusterId;
    use crate::observation::{EtcdProcess, HostView, ListedMember, Listener};
    use crate::observed::Observed;

    fn name(text: &str) -> MemberName {
        text.parse().unwrap()
    }

    /// Three members that answer, m1 leading, each on a host of its own with its etcd running.
    fn healthy() -> Observation {
        let mut seen = Observation::new(jiff::Timestamp::UNIX_EPOCH);
        let listed: Vec<ListedMember> = (1..=3)
            .map(|id| ListedMember {
                id: MemberId::new(id),
                name: format!("m{id}"),
                peer_urls: vec![format!("https://10.0.0.{id}:2380")],
                client_urls: vec![format!("https://10.0.0.{id}:2379")],
                learner: false,
            })
            .collect();
        for id in 1..=3 {
            let view = MemberView {
                leader: Some(MemberId::new(1)),
                listed: listed.clone(),
                ..MemberView::serving(MemberId::new(id), ClusterId::new(7))
            };
            let member = name(&format!("m{id}"));
            let mut host = HostView::default();
            let process = EtcdProcess {
                pid: 100,
                exe: "/usr/local/bin/etcd".to_owned(),
                flags: FlagSet::default(),
                outdated: false,
                since: None,
                unknown_flags: Vec::new(),
            };
            host.processes.insert(member.clone(), process);
            let listener = Listener {
                pid: Some(100),
                program: "etcd".to_owned(),
                unit: None,
            };
            host.listeners.insert(2380, listener);
            let id = HostId::new(format!("10.0.0.{id}"));
            seen.hosts.insert(id, Observed::Known(host));
            seen.members.insert(member, Observed::Known(view));
        }
        seen
    }

    fn view<'a>(seen: &'a mut Observation, member: &str) -> &'a mut MemberView {
        let view = seen.members.get_mut(&name(member)).unwrap();
        view.known_mut().unwrap()
    }

    fn check(condition: Condition, seen: &Observation) -> Result<(), Reason> {
        let within = Duration::from_secs(1);
        Gate { condition, within }.check(seen)
    }

    #[test]
    fn a_member_is_healthy_by_its_read_and_under_its_own_identity() {
        let gate = Gate::serves(&name("m2"));
        assert_eq!(gate.check(&healthy()), Ok(()));
        let mut seen = healthy();
        view(&mut seen, "m2").served = Observed::unknown("no leader");
        assert!(
            matches!(gate.check(&seen), Err(Reason::NotServing { why, .. }) if why == "no leader")
        );
        // m1's data directory was copied to m2: it answers, as m1.
        let mut seen = healthy();
        view(&mut seen, "m2").id = MemberId::new(1);
        let other = gate.check(&seen);
        assert!(
            matches!(other, Err(Reason::AnotherMember { id, .. }) if id == MemberId::new(1)),
            "{other:?}"
        );
        let mut seen = healthy();
        seen.members.clear();
        assert!(
            gate.check(&seen).is_err(),
            "what was not asked is not healthy"
        );
    }

    #[test]
    fn quorum_is_judged_for_all_members_that_stop_together() {
        let without = |stop: &[&str]| Condition::QuorumWithout {
            stop: stop.iter().map(|text| name(text)).collect(),
            members: ["m1", "m2", "m3"].map(name).to_vec(),
        };
        let mut seen = healthy();
        assert_eq!(check(without(&["m3"]), &seen), Ok(()));
        let both = check(without(&["m2", "m3"]), &seen);
        assert!(matches!(both, Err(Reason::QuorumLost(_))), "{both:?}");
        view(&mut seen, "m1").served = Observed::unknown("no answer within 5 s");
        view(&mut seen, "m1").leader = None;
        assert!(check(without(&["m3"]), &seen).is_err());
    }

    #[test]
    fn leadership_has_moved_only_when_all_agree_on_another() {
        let moved = || Condition::NotLeader(name("m1"));
        let mut seen = healthy();
        assert_eq!(check(moved(), &seen), Err(Reason::StillLeads(name("m1"))));
        for member in ["m1", "m2"] {
            view(&mut seen, member).leader = Some(MemberId::new(2));
        }
        assert_eq!(check(moved(), &seen), Err(Reason::NoLeader));
        view(&mut seen, "m3").leader = Some(MemberId::new(2));
        assert_eq!(check(moved(), &seen), Ok(()));
    }

    #[test]
    fn a_process_that_runs_listens_and_a_pod_is_replaced_by_another_process() {
        let (member, host) = (name("m1"), HostId::new("10.0.0.1"));
        let listens = |port| Condition::Listens {
            member: member.clone(),
            host: host.clone(),
            port,
        };
        let seen = healthy();
        assert_eq!(check(listens(2380), &seen), Ok(()));
        assert!(check(listens(2381), &seen).is_err());
        let replaced = |before| Condition::PodReplaced {
            member: member.clone(),
            host: host.clone(),
            before,
        };
        assert_eq!(check(replaced(99), &seen), Ok(()));
        assert!(
            check(replaced(100), &seen).is_err(),
            "the old process still runs"
        );
        let mut gone = healthy();
        gone.hosts.clear();
        assert!(
            check(replaced(99), &gone).is_err(),
            "nothing is known of the host"
        );
    }
}
