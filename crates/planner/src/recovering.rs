//! How far a recovery is, by what hosts remember of it.

use std::collections::BTreeSet;

use etcdup_core::membership::MemberId;
use etcdup_core::name::MemberName;
use etcdup_core::observation::{DataIdentity, HostView, Observation};
use etcdup_core::recover::{RecoverPhase, RecoverRecord};
use etcdup_core::topology::{Member, Topology};

use crate::generation::member_id;
use crate::identity::identity_of;
use crate::target::Target;

/// The last recovery, by what any host remembers: the furthest that it is known to be. Of two that
/// never heard of one another it is the later one. What a host remembers of a cluster that another
/// has taken the place of, which serves, is over.
pub(crate) fn last<'a>(topology: &'a Topology, seen: &'a Observation) -> Option<&'a RecoverRecord> {
    let hosts = topology.hosts.keys();
    let mut serving = seen.members.keys().filter(|name| seen.serves(name));
    let serves = serving.find_map(|name| Some(seen.member(name)?.cluster));
    let remembered = hosts.filter_map(|host| seen.host(host)?.record()?.recover.as_ref());
    let remembered = remembered.filter(|one| serves.is_none_or(|serves| serves == one.cluster));
    remembered.max_by_key(|one| (one.count, one.begun, one.phase))
}

/// The member that was made the only one and has no others yet, as far as is known: until it serves
/// nobody else says so.
pub(crate) fn forced(target: &Target, seen: &Observation) -> Option<(MemberName, DataIdentity)> {
    let record = last(&target.topology, seen)?;
    let by = record
        .by
        .as_ref()
        .filter(|_| record.phase == RecoverPhase::Forced)?;
    let member = target.topology.member(&by.member)?;
    Some((member.name.clone(), identity_of(seen, member)?))
}

/// Whether a member's data is of one that a recovery left behind.
pub(crate) fn is_left_behind(target: &Target, seen: &Observation, member: &Member) -> bool {
    let Some(last) = last(&target.topology, seen) else {
        return false;
    };
    let left = |data: &DataIdentity| {
        data.cluster == last.cluster && last.left_behind().contains(&data.member)
    };
    identity_of(seen, member).as_ref().is_some_and(left)
}

/// Members of before a recovery that are there with their data.
pub(crate) fn came_back<'a>(target: &'a Target, seen: &Observation) -> Vec<&'a Member> {
    let members = target.topology.everyone();
    members
        .filter(|member| is_left_behind(target, seen, member))
        .collect()
}

/// Whether the cluster that a recovery made serves: by a list in which none is that was left
/// behind, unless as a learner.
pub(crate) fn recovered_serves(seen: &Observation, last: &RecoverRecord) -> bool {
    let left = last.left_behind();
    seen.known_members().any(|view| {
        let mut voters = view.listed.iter().filter(|listed| !listed.learner);
        let served = view.served.known().is_some() && view.cluster == last.cluster;
        served && voters.all(|listed| !left.contains(&listed.id)) && !left.contains(&view.id)
    })
}

/// Whether data was refilled since its member was last seen: it has forgotten what it voted for.
pub(crate) fn is_refilled(host: &HostView, member: &Member) -> bool {
    let recorded = host
        .record()
        .and_then(|record| record.members.get(&member.etcd_name));
    recorded.is_some_and(|known| host.marks.get(&member.layout.data) != Some(&known.mark))
}

/// Every ID that members of the cluster had.
pub(crate) fn known_ids(target: &Target, seen: &Observation) -> BTreeSet<MemberId> {
    let topology = &target.topology;
    let hosts = || topology.hosts.keys().filter_map(|host| seen.host(host));
    let records = hosts().filter_map(HostView::record);
    let recorded = records.flat_map(|record| {
        let before = record.recover.iter().flat_map(RecoverRecord::left_behind);
        let own = record.members.values().map(|known| known.id);
        own.chain(record.roster.iter().filter_map(|known| known.id))
            .chain(before)
    });
    let views = seen.known_members();
    let listed = views.flat_map(|view| view.listed.iter().map(|listed| listed.id));
    let on_disk = topology.everyone();
    let on_disk = on_disk.filter_map(|member| Some(identity_of(seen, member)?.member));
    // What a bootstrap gave them, where no record is left.
    let computed = topology.everyone();
    let computed = computed.map(|member| member_id(topology, member, &topology.token));
    recorded
        .chain(listed)
        .chain(on_disk)
        .chain(computed)
        .collect()
}
