//! How far a restore is, by what hosts remember of it.

use etcdup_core::observation::Observation;
use etcdup_core::restore::{RestoreOrder, RestorePhase, RestoreRecord};
use etcdup_core::topology::Topology;

use crate::generation::{cluster_id_with, generation, name};

/// How members' data is made of a snapshot.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RestoredWith {
    /// Whether its revision is raised.
    pub(crate) bump: bool,
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
    Ended,
}

/// The restores that the hosts of the file's members remember; `None` for a host without one.
fn remembered<'a>(
    file: &'a Topology,
    seen: &'a Observation,
) -> impl Iterator<Item = Option<&'a RestoreRecord>> + Clone {
    let hosts = file.hosts.keys().filter(|host| file.has_member_on(host));
    hosts.map(|host| seen.host(host)?.record()?.restore.as_ref())
}

/// How far an order is, by what hosts remember.
pub(crate) fn phase(file: &Topology, seen: &Observation, order: &RestoreOrder) -> Phase {
    let made = |generation| cluster_id_with(file, &name(file, generation));
    // Another list of members makes another cluster.
    let fits = |record: &&RestoreRecord| {
        order.is_same(record) && record.cluster == made(record.generation)
    };
    let all = remembered(file, seen);
    let open = all
        .clone()
        .flatten()
        .filter(|one| one.is_open() && fits(one));
    if let Some(newest) = open.max_by_key(|one| one.generation) {
        let is_it = |one: &Option<&RestoreRecord>| {
            one.is_some_and(|one| {
                one.generation == newest.generation
                    && order.is_same(one)
                    && one.phase != RestorePhase::SettingAside
            })
        };
        return match all.clone().all(|one| is_it(&one)) {
            true => Phase::Restoring(newest.at(RestorePhase::Restoring)),
            false => Phase::SetAside(newest.at(RestorePhase::SettingAside)),
        };
    }
    let has_ended = |one: &RestoreRecord| {
        !one.is_open() && (one.id == order.id || order.is_same(one) && !order.again)
    };
    if all.clone().flatten().any(has_ended) {
        return Phase::Ended;
    }
    // One that no data and no record has, and the snapshot's own cluster had not either: an old
    // disk that comes back is refused by its cluster ID.
    let before = generation(file, seen).0;
    let records = file
        .hosts
        .keys()
        .filter_map(|host| seen.host(host)?.record());
    let counted = records.map(|record| record.resets.max(record.begun.unwrap_or(0)));
    let counted = counted.chain(all.flatten().map(|one| one.generation));
    let least = counted.chain([before]).max().unwrap_or(before) + 1;
    let of = order.known.as_ref().map(|known| known.cluster_id);
    let own = (0..=least.max(20)).find(|generation| Some(made(*generation)) == of);
    let generation = least.max(own.map_or(0, |own| own + 1));
    Phase::SetAside(order.record(generation, made(generation)))
}
