//! The roster: which members the host records know, and who of them the file no longer names.

use etcdup_core::host::HostId;
use etcdup_core::membership::{ClusterView, MemberId};
use etcdup_core::observation::{HostRecord, HostView, ListedMember, Observation, RosterMember};
use etcdup_core::restore::RestoreRecord;
use etcdup_core::topology::{Member, MemberPlace, Topology};

use crate::listed::{data_id, entry};

/// The file's topology, with what host records know of the members in it.
pub(crate) fn with_recorded(file: &Topology, seen: &Observation) -> Topology {
    let mut topology = file.clone();
    let agreed = agreed(file, seen);
    for leaving in &mut topology.leaving {
        let mut known = agreed.iter();
        if let Some(known) = known.find(|known| is_place_of(known, &leaving.member)) {
            leaving.id = known.id;
            // Where it is, whatever its `[[member]]` says by now.
            leaving.member.stay_at(newest(file, seen, known));
        }
    }
    for member in &mut topology.members {
        let mut known = agreed.iter();
        if let Some(known) = known.find(|known| is_place_of(known, member)) {
            member.keep_shared(&newest(file, seen, known));
        }
    }
    topology
}

/// Adds the members that the file left out and that host records still know.
pub(crate) fn add_leaving(topology: &mut Topology, seen: &Observation) {
    let file = &topology.clone();
    let agreed = agreed(file, seen);
    let view = ClusterView::confirmed(seen);
    let ids: Vec<MemberId> = agreed.iter().filter_map(|known| known.id).collect();
    for known in agreed {
        let listed = view.as_ref().and_then(|view| listed(view, &known));
        // One that takes another's address over is not the other.
        let listed = listed.filter(|one| known.id == Some(one.id) || !ids.contains(&one.id));
        if left_out(file, seen, view.as_ref(), &known, listed) {
            let id = known.id.or(listed.map(|listed| listed.id));
            topology.let_go(newest(file, seen, &known), id);
        }
    }
}

/// What the list says of a member of the roster.
fn listed<'a>(view: &ClusterView<'a>, known: &RosterMember) -> Option<&'a ListedMember> {
    let by_id = known.id.and_then(|id| view.member(id));
    // It was recorded before the cluster listed it, or was added again since.
    by_id.or_else(|| view.at_address(&known.peer_url))
}

/// Whether nothing in the file means this member of the roster: on its own host, by its name, its
/// URL or its data. The same name, address or data on another host is a copy, or takes its place.
fn left_out(
    file: &Topology,
    seen: &Observation,
    view: Option<&ClusterView<'_>>,
    known: &RosterMember,
    listed: Option<&ListedMember>,
) -> bool {
    let means = |member: &Member| {
        let url = file.peer_url(member).to_string();
        if !is_one_machine(seen, &member.host, &known.place.host) {
            return false;
        }
        if let (Some(view), Some(listed)) = (view, listed) {
            // One that moved within its host, and lost its data too, is another member by now.
            return entry(file, seen, view, member).is_some_and(|own| own.id == listed.id);
        }
        let data = view.and_then(|view| data_id(seen, view, member));
        known.place.name == member.etcd_name
            || url == known.peer_url
            || known.id.is_some() && data == known.id
    };
    !file.everyone().any(means)
}

/// Whether two hosts are one machine under two names: by its machine ID, which clones share, and
/// its boot ID, which containers of one kernel share.
fn is_one_machine(seen: &Observation, one: &HostId, other: &HostId) -> bool {
    let ids = |host: &HostId| {
        let facts = &seen.host(host)?.facts;
        let ids = (facts.machine_id.as_str(), facts.boot_id.as_str());
        (!ids.0.is_empty() && !ids.1.is_empty()).then_some(ids)
    };
    one == other || ids(one).is_some_and(|found| ids(other) == Some(found))
}

/// Where a member is by the record of its own host, which is the first to know: others keep what
/// was before until all members are where the file has them.
fn newest(file: &Topology, seen: &Observation, known: &RosterMember) -> MemberPlace {
    let record = seen.host(&known.place.host).and_then(HostView::record);
    let mut roster = record.into_iter().flat_map(|record| &record.roster);
    let own = roster.find(|own| own.place.is_of_same(&known.place));
    let own = own.filter(|own| file.may_lead_to(&own.place));
    let mut place = known.place.clone();
    if let Some(own) = own {
        // Where on the host, and not which address is asked.
        place.lie_as(&own.place);
    }
    place
}

pub(crate) fn is_place_of(known: &RosterMember, member: &Member) -> bool {
    known.place.is_of(member)
}

/// The members that more than half of the hosts' records name alike: no single host says which
/// others are connected to. A host that does not answer agrees with nobody; one that has no record
/// of the cluster has no say.
fn agreed(file: &Topology, seen: &Observation) -> Vec<RosterMember> {
    let hosts = file.member_hosts();
    let mut say = 0;
    let mut rosters: Vec<&[RosterMember]> = Vec::new();
    for host in hosts {
        match seen.host(host) {
            None => say += 1,
            Some(view) => {
                // While a restore is under way a record names those that it makes, or those of
                // before. One that is new to the cluster names nobody, and has no say either.
                let restores =
                    |one: &HostRecord| one.restore.as_ref().is_some_and(RestoreRecord::is_open);
                let says = |one: &&HostRecord| {
                    one.cluster.is_some() || restores(one) && !one.roster.is_empty()
                };
                if let Some(record) = view.record().filter(says) {
                    say += 1;
                    rosters.push(&record.roster);
                }
            }
        }
    }
    // Where on its host a member lies is for that host to say.
    let alike = |a: &RosterMember, b: &RosterMember| {
        a.place.is_reached_as(&b.place) && a.peer_url == b.peer_url
    };
    let mut found: Vec<RosterMember> = Vec::new();
    for known in rosters.iter().copied().flatten() {
        if !file.may_lead_to(&known.place) || found.iter().any(|other| alike(other, known)) {
            continue;
        }
        let named = rosters
            .iter()
            .filter_map(|roster| roster.iter().find(|one| alike(one, known)));
        let ids: Vec<Option<MemberId>> = named.map(|one| one.id).collect();
        if 2 * ids.len() > say {
            // One that was recorded before the cluster listed it has no ID: then its URL counts.
            let id = known.id.filter(|_| ids.iter().all(|id| *id == known.id));
            found.push(RosterMember {
                id,
                ..known.clone()
            });
        }
    }
    found
}
