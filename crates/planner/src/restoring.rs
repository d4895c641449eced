//! How far a restore is, by what hosts remember of it.

use etcdup_core::observation::{DataDir, Observation};
use etcdup_core::restore::{RestoreOrder, RestorePhase, RestoreRecord};
use etcdup_core::topology::Topology;

use crate::generation::{cluster_id_with, generation, name};

/// How members' data is made of a snapshot.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RestoredWith {
    /// By how much its revision is raised.
    pub(crate) bump: i64,
    /// The least revision that members have afterwards.
    pub(crate) revision: i64,
}

/// How far an order is.
pub(crate) enum Phase {
    /// What is there is moved aside, and each host remembers this.
    SetAside(RestoreRecord),
    /// Members get their data, and start.
    Restoring(RestoreRecord),
    /// It has ended: the cluster becomes what the file says.
    Ended(RestoreRecord),
    /// It was given up, and nothing of it is done any more.
    Aborted,
}

/// The restores that the hosts of the file's members remember; `None` for a host without one.
fn remembered<'a>(
    file: &'a Topology,
    seen: &'a Observation,
) -> impl Iterator<Item = Option<&'a RestoreRecord>> + Clone {
    let hosts = file.hosts.keys().filter(|host| file.has_member_on(host));
    hosts.map(|host| seen.host(host)?.record()?.restore.as_ref())
}

/// The last restore that has ended or was given up, by what any host remembers: where one does, all
/// was verified, or all still had their data.
pub(crate) fn last_closed<'a>(
    file: &'a Topology,
    seen: &'a Observation,
) -> Option<&'a RestoreRecord> {
    let all = remembered(file, seen).flatten();
    // By when it was ordered: hosts that knew nothing begin to count generations again.
    all.filter(|one| !one.is_open())
        .max_by_key(|one| (&one.id, one.generation))
}

/// Whether a restore is under way, where this one was the last that ended or was given up.
pub(crate) fn is_under_way(one: &RestoreRecord, closed: Option<&RestoreRecord>) -> bool {
    one.is_open() && closed.is_none_or(|closed| closed.id < one.id)
}

/// The restore that is under way, by what the hosts of the file's members remember.
#[must_use]
pub fn restore_under_way<'a>(
    topology: &'a Topology,
    seen: &'a Observation,
) -> Option<&'a RestoreRecord> {
    let closed = last_closed(topology, seen);
    remembered(topology, seen)
        .flatten()
        .find(|one| is_under_way(one, closed))
}

/// How far an order is, by what hosts remember.
pub(crate) fn phase(file: &Topology, seen: &Observation, order: &RestoreOrder) -> Phase {
    let made = |generation| cluster_id_with(file, &name(file, generation));
    let all = remembered(file, seen);
    let closed = last_closed(file, seen);
    // Another list of members makes another cluster.
    let fits = |one: &&RestoreRecord| {
        is_under_way(one, closed) && order.is_same(one) && one.cluster == made(one.generation)
    };
    let newest = all.clone().flatten().filter(fits);
    if let Some(newest) = newest.max_by_key(|one| one.generation) {
        let at = |phase: Option<RestorePhase>| {
            move |one: Option<&RestoreRecord>| {
                one.is_some_and(|one| {
                    let same = one.generation == newest.generation && order.is_same(one);
                    same && phase.is_none_or(|phase| one.phase == phase)
                })
            }
        };
        // Whoever goes on with it has ordered it: an earlier order does not begin again by that.
        let mut record = newest.clone();
        record.id = record.id.max(order.id.clone());
        let begun = Some(RestorePhase::Restoring);
        if all.clone().all(at(begun)) {
            return Phase::Restoring(record.at(RestorePhase::Restoring));
        }
        // Once a host was that far its member may have started: where another forgot it, all of it
        // is made once more, as another cluster.
        let whole = all.clone().all(at(None)) && !has_data_of(file, seen, newest);
        if whole || !all.clone().any(at(begun)) {
            return Phase::SetAside(record.at(RestorePhase::SettingAside));
        }
    } else if let Some(closed) = closed {
        let before = order.id <= closed.id;
        let is_aborted = closed.phase == RestorePhase::Aborted;
        if is_aborted && before {
            return Phase::Aborted;
        }
        if !is_aborted && (before || order.is_same(closed) && !order.again) {
            return Phase::Ended(closed.clone());
        }
    }
    // One that no data and no record has, and the snapshot's own cluster had not either: an old
    // disk that comes back is refused by its cluster ID.
    let before = generation(file, seen).0;
    let records = file
        .hosts
        .keys()
        .filter_map(|host| seen.host(host)?.record());
    let counted = records.map(|record| record.resets.max(record.begun.unwrap_or(0)));
    let counted = counted.chain(all.clone().flatten().map(|one| one.generation));
    let least = counted.chain([before]).max().unwrap_or(before) + 1;
    let of = order.known.as_ref().map(|known| known.cluster_id);
    let own = (0..=least.max(20)).find(|generation| Some(made(*generation)) == of);
    let generation = least.max(own.map_or(0, |own| own + 1));
    let before = all.clone().flatten().map(|one| one.bump).max();
    let revision = seen.known_members().map(|view| view.revision).max();
    let bump = order.raised_by(revision.unwrap_or(0), before.unwrap_or(0));
    let open = all.flatten().filter(|one| one.is_open());
    let earlier = open.flat_map(|one| one.earlier.iter().chain([&one.cluster]));
    Phase::SetAside(RestoreRecord {
        earlier: earlier.copied().collect(),
        ..order.record(generation, made(generation), bump)
    })
}

/// Whether any member has data of what a restore makes.
fn has_data_of(file: &Topology, seen: &Observation, record: &RestoreRecord) -> bool {
    let mut data = file
        .members
        .iter()
        .filter_map(|member| seen.host(&member.host)?.data.get(&member.layout.data));
    data.any(|data| matches!(data, DataDir::Member(found) if found.cluster == record.cluster))
}
