//! What the checks look at.

use etcdup_core::membership::MemberId;
use std::collections::BTreeMap;

use etcdup_core::name::MemberName;
use etcdup_core::observation::{ListedMember, Observation};
use etcdup_core::observed::Observed;
use etcdup_core::topology::Topology;

use crate::gather::MemberEvidence;

/// All that the checks look at.
pub struct Evidence<'a> {
    /// What should be.
    pub topology: &'a Topology,
    /// What was seen of hosts.
    pub seen: &'a Observation,
    /// What members answered.
    pub members: BTreeMap<MemberName, Observed<MemberEvidence>>,
}

impl<'a> Evidence<'a> {
    /// What the file calls a listed member, else its own name, else its ID.
    pub(crate) fn name_of(&self, listed: &ListedMember) -> String {
        let named = self.topology.members.iter().find(|member| {
            let url = self.topology.peer_url(member).to_string();
            listed.peer_urls.contains(&url)
        });
        match named {
            Some(member) => member.name.to_string(),
            None if listed.name.is_empty() => format!("{}", listed.id),
            None => listed.name.clone(),
        }
    }

    /// What the file calls the member of an ID.
    pub(crate) fn name_of_id(&self, id: MemberId) -> String {
        let listed = self
            .answered()
            .find_map(|(_, member)| member.view.listed.iter().find(|listed| listed.id == id));
        listed.map_or_else(|| format!("{id}"), |listed| self.name_of(listed))
    }

    /// The members that answered.
    pub(crate) fn answered(&self) -> impl Iterator<Item = (&MemberName, &MemberEvidence)> {
        self.members
            .iter()
            .filter_map(|(name, evidence)| Some((name, evidence.known()?)))
    }
}
