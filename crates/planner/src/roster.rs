//! The roster: which members the host records know, and who of them the file no longer names.

use etcdup_core::membership::ClusterView;
use etcdup_core::observation::{ListedMember, Observation, RosterMember};
use etcdup_core::topology::{Member, Topology};

use crate::listed::{data_id, entry};

/// The file's topology with the members that it left out and that host records still know.
pub(crate) fn with_leaving(file: &Topology, seen: &Observation) -> Topology {
    let mut topology = file.clone();
    let agreed = agreed(file, seen);
    let view = ClusterView::confirmed(seen);
    for leaving in &mut topology.leaving {
        let known = agreed
            .iter()
            .find(|known| is_place_of(known, &leaving.member));
        leaving.id = known.and_then(|known| known.id);
    }
    for known in agreed {
        let listed = view.as_ref().and_then(|view| listed(view, &known));
        if left_out(file, seen, view.as_ref(), &known, listed) {
            let id = known.id.or(listed.map(|listed| listed.id));
            topology.let_go(known.place, id);
        }
    }
    topology
}

/// What the list says of a member of the roster.
fn listed<'a>(view: &ClusterView<'a>, known: &RosterMember) -> Option<&'a ListedMember> {
    let by_id = known.id.and_then(|id| view.member(id));
    by_id.or_else(|| view.at(&known.peer_url))
}

/// Whether nothing in the file means this member of the roster.
fn left_out(
    file: &Topology,
    seen: &Observation,
    view: Option<&ClusterView<'_>>,
    known: &RosterMember,
    listed: Option<&ListedMember>,
) -> bool {
    if let (Some(view), Some(listed)) = (view, listed) {
        // One that moved within its host, and lost its data too, is another member by now.
        let of_file = |member: &Member| entry(file, seen, view, member);
        return file
            .everyone()
            .filter_map(of_file)
            .all(|own| own.id != listed.id);
    }
    let same = |member: &Member| {
        let url = file.peer_url(member).to_string();
        let data = view.and_then(|view| data_id(seen, view, member));
        is_place_of(known, member)
            || url == known.peer_url
            || known.id.is_some() && data == known.id
    };
    !file.everyone().any(same)
}

pub(crate) fn is_place_of(known: &RosterMember, member: &Member) -> bool {
    known.place.name == member.etcd_name && known.place.host == member.host
}

/// The members that more than half of the records with a roster name alike: no single host says
/// which others are connected to.
fn agreed(file: &Topology, seen: &Observation) -> Vec<RosterMember> {
    let hosts = file.hosts.keys().filter(|host| file.has_member_on(host));
    let records = hosts.filter_map(|host| seen.host(host)?.record());
    let rosters: Vec<&Vec<RosterMember>> = records
        .map(|record| &record.roster)
        .filter(|roster| !roster.is_empty())
        .collect();
    let mut found: Vec<(usize, RosterMember)> = Vec::new();
    for known in rosters.iter().copied().flatten() {
        let same = |(_, other): &&mut (usize, RosterMember)| {
            other.place == known.place && other.peer_url == known.peer_url
        };
        match found.iter_mut().find(same) {
            None => found.push((1, known.clone())),
            Some((count, other)) => {
                *count += 1;
                // One that was recorded before the cluster listed it has no ID.
                other.id = other.id.or(known.id);
            }
        }
    }
    let agreed = found.into_iter();
    let agreed = agreed.filter(|(count, _)| 2 * count > rosters.len());
    agreed.map(|(_, known)| known).collect()
}
