//! What the cluster's list says of a member of a topology.

use etcdup_core::membership::{ClusterView, MemberId};
use etcdup_core::observation::{DataDir, ListedMember, Observation};
use etcdup_core::topology::{Leaving, Member, Topology};

/// What the list says of a member: by its peer URL, unless that is another's who has moved; else by
/// the ID of its data, under whatever URL, unless that is a copy of another's.
pub(crate) fn entry<'a>(
    topology: &Topology,
    seen: &Observation,
    view: &ClusterView<'a>,
    member: &Member,
) -> Option<&'a ListedMember> {
    let own = data_id(seen, view, member);
    let url = |member: &Member| topology.peer_url(member).to_string();
    let others = || {
        topology
            .everyone()
            .filter(|other| other.name != member.name)
    };
    let has_data = |listed: &ListedMember| {
        let of_other = |other: &Member| data_id(seen, view, other) == Some(listed.id);
        others().any(of_other)
    };
    let by_url = view
        .at_address(&url(member))
        .filter(|listed| own == Some(listed.id) || !has_data(listed));
    let found = by_url.or_else(|| {
        let moved = view.member(own?)?;
        let at_other = |other: &Member| moved.peer_urls.contains(&url(other));
        (!has_data(moved) && !others().any(at_other)).then_some(moved)
    });
    // One that goes stays itself until it is removed, whatever has its address or its data by now.
    let goes = |listed: &ListedMember| {
        let mut leaving = topology.leaving.iter();
        leaving.any(|one| one.member.name != member.name && one.id == Some(listed.id))
    };
    found.filter(|listed| !goes(listed))
}

/// What the list says of a member that should go: as of any other, else by the ID that the roster
/// has for it.
pub(crate) fn leaving_entry<'a>(
    topology: &Topology,
    seen: &Observation,
    view: &ClusterView<'a>,
    leaving: &Leaving,
) -> Option<&'a ListedMember> {
    // Its URL may be another's by now, and so may an ID that was recorded long ago.
    let free = |listed: &&ListedMember| {
        let taken = |member: &Member| {
            entry(topology, seen, view, member).is_some_and(|own| own.id == listed.id)
        };
        !topology.members.iter().any(taken)
    };
    let by_id = leaving.id.and_then(|id| view.member(id)).filter(free);
    by_id.or_else(|| entry(topology, seen, view, &leaving.member).filter(free))
}

/// The member that a data directory is of, where it is this cluster's.
pub(crate) fn data_id(
    seen: &Observation,
    view: &ClusterView<'_>,
    member: &Member,
) -> Option<MemberId> {
    match seen.host(&member.host)?.data.get(&member.layout.data)? {
        DataDir::Member(data) => (data.cluster == view.cluster()).then_some(data.member),
        DataDir::Absent | DataDir::Empty | DataDir::Foreign => None,
    }
}
