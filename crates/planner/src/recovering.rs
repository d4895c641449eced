//! How far a recovery is, by what hosts remember of it.

use std::collections::BTreeSet;

use etcdup_core::host::HostId;
use etcdup_core::membership::MemberId;
use etcdup_core::name::MemberName;
use etcdup_core::observation::{DataDir, DataIdentity, HostView, Observation};
use etcdup_core::recover::{RecoverPhase, RecoverRecord};
use etcdup_core::topology::{Member, Topology};

use crate::generation::member_id;
use crate::identity::data_of;
use crate::target::Target;

/// The last recovery, by what any host remembers: the furthest that it is known to be.
pub(crate) fn last<'a>(file: &Topology, seen: &'a Observation) -> Option<&'a RecoverRecord> {
    remembered(file, seen).max_by_key(|one| (one.count, one.phase))
}

/// The recovery that is under way.
pub(crate) fn open_record<'a>(file: &Topology, seen: &'a Observation) -> Option<&'a RecoverRecord> {
    last(file, seen).filter(|one| one.is_open())
}

fn remembered<'a>(
    file: &Topology,
    seen: &'a Observation,
) -> impl Iterator<Item = &'a RecoverRecord> {
    let hosts: Vec<HostId> = file.hosts.keys().cloned().collect();
    hosts
        .into_iter()
        .filter_map(|host| seen.host(&host)?.record()?.recover.as_ref())
}

/// The member that was made the only one and has no others yet, as far as is known: until it serves
/// nobody else says so.
pub(crate) fn forced(target: &Target, seen: &Observation) -> Option<(MemberName, DataIdentity)> {
    let record = open_record(target.file(), seen)?;
    let member = target.topology.member(&record.member)?;
    match data_of(seen, member)? {
        DataDir::Member(data) if record.phase == RecoverPhase::Forced => {
            Some((member.name.clone(), *data))
        }
        DataDir::Member(_) | DataDir::Absent | DataDir::Empty | DataDir::Foreign => None,
    }
}

/// Members of before a recovery that are there with their data.
pub(crate) fn came_back<'a>(target: &'a Target, seen: &Observation) -> Vec<&'a Member> {
    let Some(ended) = last(target.file(), seen) else {
        return Vec::new();
    };
    let of_before =
        |data: &DataIdentity| data.cluster == ended.cluster && ended.before.contains(&data.member);
    let members = target.topology.everyone();
    members
        .filter(|member| {
            matches!(data_of(seen, member), Some(DataDir::Member(data)) if of_before(data))
        })
        .collect()
}

/// Whether the member that a cluster was recovered by serves, whoever else has joined it since.
pub(crate) fn serves_alone(seen: &Observation, ended: &RecoverRecord) -> bool {
    let view = seen.member(&ended.member);
    view.is_some_and(|view| {
        let mut listed = view.listed.iter();
        let alone = listed.all(|listed| !ended.before.contains(&listed.id));
        view.cluster == ended.cluster && view.served.known().is_some() && alone
    })
}

/// Every ID that members of the cluster had, but for the one that goes on.
pub(crate) fn others(target: &Target, seen: &Observation, goes_on: MemberId) -> BTreeSet<MemberId> {
    let topology = &target.topology;
    let hosts = || topology.hosts.keys().filter_map(|host| seen.host(host));
    let records = hosts().filter_map(HostView::record);
    let recorded = records.flat_map(|record| {
        let before = record.recover.iter().flat_map(|last| &last.before).copied();
        let own = record.members.values().map(|known| known.id);
        own.chain(record.roster.iter().filter_map(|known| known.id))
            .chain(before)
    });
    let views = seen.known_members();
    let listed = views.flat_map(|view| view.listed.iter().map(|listed| listed.id));
    let on_disk = topology
        .everyone()
        .filter_map(|member| match data_of(seen, member)? {
            DataDir::Member(data) => Some(data.member),
            DataDir::Absent | DataDir::Empty | DataDir::Foreign => None,
        });
    // What a bootstrap gave them, where no record is left.
    let computed = topology.everyone();
    let computed = computed.map(|member| member_id(topology, member, &topology.token));
    let mut all: BTreeSet<MemberId> = recorded
        .chain(listed)
        .chain(on_disk)
        .chain(computed)
        .collect();
    all.remove(&goes_on);
    all
}
