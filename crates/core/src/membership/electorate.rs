//! Who votes, and who can be spared.
//!
//! Voters are those of the cluster's own member list, for a file may name fewer or more members
//! than the cluster has. Only where no member answers, so that there is no list, the names of the
//! file stand in for it.

use std::collections::{BTreeMap, BTreeSet};

use super::{ClusterView, MemberId};
use crate::name::MemberName;
use crate::observation::Observation;
use crate::topology::Topology;

/// The voters of a cluster, each with the name that the topology has for it, if it has one, and
/// whether it is healthy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Electorate {
    voters: Vec<Voter>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Voter {
    id: Option<MemberId>,
    name: Option<MemberName>,
    healthy: bool,
}

/// Why members cannot be spared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "stopping {} would leave {healthy} of {voters} voters healthy; quorum is {quorum}",
    names(.stop)
)]
pub struct NotSpared {
    /// The members that were to stop.
    pub stop: BTreeSet<MemberName>,
    /// How many voters would stay healthy.
    pub healthy: usize,
    /// How many voters there are.
    pub voters: usize,
    /// How many make a quorum.
    pub quorum: usize,
}

/// Why a member cannot be removed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "without member {id} {healthy} of {voters} voters would be healthy; quorum is {quorum}, and the voters must agree"
)]
pub struct NotRemoved {
    /// The member that was to go.
    pub id: MemberId,
    /// How many of the others are healthy.
    pub healthy: usize,
    /// How many voters would be left.
    pub voters: usize,
    /// How many of those make a quorum.
    pub quorum: usize,
}

fn names(members: &BTreeSet<MemberName>) -> String {
    let names: Vec<&str> = members.iter().map(MemberName::as_str).collect();
    names.join(", ")
}

/// How many of so many voters are a quorum. Nothing else counts voters.
#[must_use]
pub fn quorum_of(voters: usize) -> usize {
    voters / 2 + 1
}

/// How many members of a topology are a quorum of the cluster that its bootstrap makes. A cluster
/// that exists has a list of its own, which [`Electorate`] counts; this is for bootstraps, and for
/// a cluster of which no member answers.
#[must_use]
pub fn bootstrap_quorum(topology: &Topology) -> usize {
    quorum_of(topology.members.len())
}

impl Electorate {
    /// The voters as the members that answer list them, else the members of the topology. What was
    /// not observed counts as unhealthy, and so does a member that follows another leader than the
    /// rest: one that was split off with `--force-new-cluster` keeps its IDs, leads itself, and
    /// votes with nobody.
    ///
    /// A list that a quorum confirmed is preferred; of several the longest one decides, since a
    /// member that lags behind may not know of the newest voters yet.
    #[must_use]
    pub fn of(seen: &Observation, members: &[MemberName]) -> Self {
        let answers: BTreeMap<MemberId, &MemberName> = seen
            .members
            .iter()
            .filter_map(|(name, view)| Some((view.known()?.id, name)))
            .collect();
        let voters = match ClusterView::any(seen) {
            None => members
                .iter()
                .map(|name| Voter {
                    id: None,
                    healthy: seen.is_healthy_voter(name),
                    name: Some(name.clone()),
                })
                .collect(),
            Some(list) => {
                let agrees = |name: &MemberName| {
                    seen.member(name).is_some_and(|view| {
                        view.cluster == list.cluster() && view.leader == list.leader()
                    })
                };
                let voters = list.members().filter(|listed| !listed.learner);
                voters
                    .map(|listed| match answers.get(&listed.id) {
                        Some(name) => Voter {
                            id: Some(listed.id),
                            healthy: seen.is_healthy_voter(name) && agrees(name),
                            name: Some((*name).clone()),
                        },
                        None => Voter {
                            id: Some(listed.id),
                            name: members
                                .iter()
                                .find(|name| name.as_str() == listed.name)
                                .cloned(),
                            healthy: false,
                        },
                    })
                    .collect()
            }
        };
        Self { voters }
    }

    /// How many voters there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.voters.len()
    }

    /// Returns whether there are no voters.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.voters.is_empty()
    }

    /// How many voters make a quorum.
    #[must_use]
    pub fn quorum(&self) -> usize {
        quorum_of(self.voters.len())
    }

    /// How many voters are healthy.
    #[must_use]
    pub fn healthy(&self) -> usize {
        self.voters.iter().filter(|voter| voter.healthy).count()
    }

    /// Whether a member may be removed from the list: the voters can agree to it, and those that
    /// stay are healthy enough to go on without it. One without a vote always may.
    ///
    /// # Errors
    /// How many would be left, and how many are needed.
    pub fn remove(&self, id: MemberId) -> Result<(), NotRemoved> {
        let goes = |voter: &&Voter| voter.id == Some(id);
        if !self.voters.iter().any(|voter| goes(&voter)) {
            return Ok(());
        }
        let stays = self.voters.iter().filter(|voter| !goes(voter));
        let healthy = stays.filter(|voter| voter.healthy).count();
        let voters = self.len() - 1;
        if voters > 0 && healthy >= quorum_of(voters) && self.healthy() >= self.quorum() {
            return Ok(());
        }
        Err(NotRemoved {
            id,
            healthy,
            voters,
            quorum: quorum_of(voters),
        })
    }

    /// Whether a quorum of healthy voters is left while all these members are stopped together.
    ///
    /// # Errors
    /// How many would be left, and how many are needed.
    pub fn spare(&self, stop: &BTreeSet<MemberName>) -> Result<(), NotSpared> {
        let stays = |voter: &&Voter| {
            voter.healthy && !voter.name.as_ref().is_some_and(|name| stop.contains(name))
        };
        let healthy = self.voters.iter().filter(stays).count();
        if healthy >= self.quorum() {
            return Ok(());
        }
        Err(NotSpared {
            stop: stop.clone(),
            healthy,
            voters: self.len(),
            quorum: self.quorum(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::ClusterId;
    use crate::observation::{ListedMember, MemberView};
    use crate::observed::Observed;

    fn name(text: &str) -> MemberName {
        text.parse().unwrap()
    }

    fn view(id: u64, listed: &[ListedMember]) -> MemberView {
        MemberView {
            leader: Some(MemberId::new(1)),
            listed: listed.to_vec(),
            ..MemberView::serving(MemberId::new(id), ClusterId::new(1))
        }
    }

    fn listed(id: u64) -> ListedMember {
        ListedMember {
            id: MemberId::new(id),
            name: format!("m{id}"),
            peer_urls: Vec::new(),
            client_urls: vec!["http://x".into()],
            learner: false,
        }
    }

    fn world(in_list: u64, answering: u64) -> Observation {
        let list: Vec<_> = (1..=in_list).map(listed).collect();
        let mut seen = Observation::new(jiff::Timestamp::UNIX_EPOCH);
        for id in 1..=answering {
            let own = name(&format!("m{id}"));
            seen.members.insert(own, Observed::Known(view(id, &list)));
        }
        seen
    }

    /// A file of three over a cluster of five of which two are dead: "2 of 3" would pass, "2 of 5"
    /// must not.
    #[test]
    fn the_clusters_own_list_counts_and_not_the_files() {
        let file = [name("m1"), name("m2"), name("m3")];
        let electorate = Electorate::of(&world(5, 3), &file);
        let stop = BTreeSet::from([name("m3")]);
        let refused = electorate.spare(&stop).unwrap_err();
        assert_eq!((refused.healthy, refused.voters, refused.quorum), (2, 5, 3));
    }

    #[test]
    fn members_are_judged_together_and_not_one_by_one() {
        let file: Vec<_> = (1..=3).map(|id| name(&format!("m{id}"))).collect();
        let electorate = Electorate::of(&world(3, 3), &file);
        for one in &file {
            assert!(electorate.spare(&BTreeSet::from([one.clone()])).is_ok());
        }
        let two = BTreeSet::from([name("m1"), name("m2")]);
        assert!(electorate.spare(&two).is_err());
    }

    /// The last of two may go, and the dead one of three; not a healthy one of three when another
    /// is dead.
    #[test]
    fn a_member_is_removed_only_while_the_others_can_go_on() {
        let may = |in_list, answering, id| {
            let file: Vec<_> = (1..=in_list).map(|id| name(&format!("m{id}"))).collect();
            let electorate = Electorate::of(&world(in_list, answering), &file);
            electorate.remove(MemberId::new(id)).is_ok()
        };
        assert!(may(2, 2, 2));
        assert!(may(3, 2, 3));
        assert!(!may(3, 2, 2));
        assert!(may(5, 3, 5) && !may(5, 3, 3));
        assert!(!may(1, 1, 1), "the last one");
        assert!(!may(2, 1, 2), "one of two cannot agree alone");
        assert!(may(3, 3, 9), "who does not vote");
    }

    #[test]
    fn without_any_list_the_file_stands_in_and_nobody_is_healthy() {
        let seen = Observation::new(jiff::Timestamp::UNIX_EPOCH);
        let electorate = Electorate::of(&seen, &[name("m1")]);
        assert_eq!((electorate.len(), electorate.healthy()), (1, 0));
    }
}
