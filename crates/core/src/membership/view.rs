//! The cluster as one of its members lists it: the best informed one that answers.

use std::collections::BTreeSet;

use super::{ClusterId, MemberId};
use crate::observation::{ListedMember, MemberView, Observation};

/// The cluster's own account of itself. There is none while no member answers.
#[derive(Debug, Clone)]
pub struct ClusterView<'a> {
    told_by: &'a MemberView,
    answering: BTreeSet<MemberId>,
    newest: u64,
}

impl<'a> ClusterView<'a> {
    /// The list of a member whose reads a quorum confirms. Only such a list says who was never
    /// added, or was removed: the list of a member that lags behind may not know yet.
    #[must_use]
    pub fn confirmed(seen: &'a Observation) -> Option<Self> {
        Self::best(seen, |view| view.served.known().is_some())
    }

    /// The list of any member that gives one, a confirmed one if there is one: for counting voters,
    /// where an old list is still better than none.
    #[must_use]
    pub fn any(seen: &'a Observation) -> Option<Self> {
        Self::confirmed(seen).or_else(|| Self::best(seen, |view| !view.listed.is_empty()))
    }

    /// Of several the longest list decides, since a member that lags behind may not know of the
    /// newest voters; of equals the one of the member that has applied most.
    fn best(seen: &'a Observation, counts: impl Fn(&MemberView) -> bool) -> Option<Self> {
        let answering = || seen.known_members();
        let told_by = answering()
            .filter(|view| counts(view))
            .max_by_key(|view| (view.listed.len(), view.applied_index))?;
        Some(Self {
            told_by,
            answering: answering().map(|view| view.id).collect(),
            newest: answering().map(|view| view.raft_index).max().unwrap_or(0),
        })
    }

    /// The cluster's ID.
    #[must_use]
    pub fn cluster(&self) -> ClusterId {
        self.told_by.cluster
    }

    /// The leader, where one is known.
    #[must_use]
    pub fn leader(&self) -> Option<MemberId> {
        self.told_by.leader
    }

    /// The answer that this view is made from.
    #[must_use]
    pub fn told_by(&self) -> &'a MemberView {
        self.told_by
    }

    /// The newest raft entry that any member has: what a learner's lag is measured against.
    #[must_use]
    pub fn newest(&self) -> u64 {
        self.newest
    }

    /// All members, learners too.
    pub fn members(&self) -> impl Iterator<Item = &'a ListedMember> {
        self.told_by.listed.iter()
    }

    /// The member with this ID.
    #[must_use]
    pub fn member(&self, id: MemberId) -> Option<&'a ListedMember> {
        self.members().find(|listed| listed.id == id)
    }

    /// The member with this peer URL.
    #[must_use]
    pub fn at(&self, peer_url: &str) -> Option<&'a ListedMember> {
        let mut members = self.members();
        members.find(|listed| listed.peer_urls.iter().any(|url| url == peer_url))
    }

    /// The member with this peer URL by either scheme: while peers change to TLS or back, the list
    /// may have one that is still to join by the other.
    #[must_use]
    pub fn at_address(&self, peer_url: &str) -> Option<&'a ListedMember> {
        let address = |url: &str| url.split_once("://").map(|(_, address)| address.to_owned());
        let wanted = address(peer_url);
        let mut members = self.members();
        self.at(peer_url).or_else(|| {
            members.find(|listed| listed.peer_urls.iter().any(|url| address(url) == wanted))
        })
    }

    /// Whether a listed member has ever started. One that answers has, though the list of a member
    /// that lags behind may not have its client URLs yet.
    #[must_use]
    pub fn has_started(&self, listed: &ListedMember) -> bool {
        listed.started() || self.answering.contains(&listed.id)
    }
}
