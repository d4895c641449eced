//! etcd's own arithmetic of member and cluster IDs, and which generation of the token a cluster is
//! of.

use etcdup_core::membership::{ClusterId, MemberId};
use etcdup_core::name::ClusterToken;
use etcdup_core::observation::{DataDir, HostRecord, HostView, Observation};
use etcdup_core::topology::{Member, Topology};
use sha1::{Digest, Sha1};

/// A member's ID as etcd computes it at bootstrap: the first eight bytes of the SHA-1 of its sorted
/// peer URLs followed by the token (`membership/cluster.go`).
pub(crate) fn member_id(topology: &Topology, member: &Member, token: &ClusterToken) -> MemberId {
    let mut hash = Sha1::new();
    hash.update(topology.peer_url(member).to_string());
    hash.update(token.as_str());
    MemberId::new(first_eight(&hash.finalize()))
}

/// The cluster's ID as etcd computes it at bootstrap: the same hash of all member IDs in order.
pub(crate) fn cluster_id(topology: &Topology) -> ClusterId {
    cluster_id_with(topology, &topology.token)
}

pub(crate) fn cluster_id_with(topology: &Topology, token: &ClusterToken) -> ClusterId {
    let mut ids: Vec<MemberId> = topology
        .members
        .iter()
        .map(|member| member_id(topology, member, token))
        .collect();
    ids.sort_unstable();
    let mut hash = Sha1::new();
    for id in ids {
        hash.update(id.get().to_be_bytes());
    }
    ClusterId::new(first_eight(&hash.finalize()))
}

/// The records of the cluster's hosts that can be read.
fn records<'a>(
    topology: &'a Topology,
    seen: &'a Observation,
) -> impl Iterator<Item = &'a HostRecord> {
    let hosts = topology.hosts.keys().filter_map(|host| seen.host(host));
    hosts.filter_map(HostView::record)
}

/// The cluster's ID that most records name on the hosts of the file's members: one stale record
/// must not outvote the others. Those of members that go count only where the file's say nothing:
/// their hosts may be another cluster's by now.
pub(crate) fn recorded_cluster(topology: &Topology, seen: &Observation) -> Option<ClusterId> {
    let of_hosts = |stays: bool| {
        let hosts = topology.hosts.keys();
        let hosts = hosts.filter(move |host| topology.has_member_on(host) == stays);
        let records = hosts.filter_map(|host| seen.host(host)?.record());
        most(records.filter_map(|record| record.cluster))
    };
    of_hosts(true).or_else(|| of_hosts(false))
}

/// The value that comes most often; of equals the first.
fn most(values: impl Iterator<Item = ClusterId>) -> Option<ClusterId> {
    let values: Vec<ClusterId> = values.collect();
    let count = |value: ClusterId| values.iter().filter(|other| **other == value).count();
    let most = values.iter().map(|value| count(*value)).max()?;
    values.iter().copied().find(|value| count(*value) == most)
}

/// The generation and the token of it that this cluster has, or will have when it is bootstrapped.
///
/// Data that is found decides. Without any data a bootstrap takes a generation that no bootstrap
/// before had, so that an old disk which comes back later is refused by its cluster ID instead of
/// being taken for this cluster's.
pub(crate) fn generation(topology: &Topology, seen: &Observation) -> (u64, ClusterToken) {
    let resets = records(topology, seen).map(|record| record.resets).max();
    let begun = records(topology, seen)
        .filter_map(|record| record.begun)
        .max();
    let next = resets.unwrap_or(0).max(begun.map_or(0, |begun| begun + 1));
    let of_data: Vec<ClusterId> = topology
        .members
        .iter()
        .filter_map(|member| seen.host(&member.host)?.data.get(&member.layout.data))
        .filter_map(|data| match data {
            DataDir::Member(identity) => Some(identity.cluster),
            DataDir::Absent | DataDir::Empty | DataDir::Foreign => None,
        })
        .chain(recorded_cluster(topology, seen))
        .collect();
    // Generations are tried beyond what the records say: a record that was lost must not make the
    // data another cluster's. The one that most data is of decides, and of equals the newest: an
    // old disk must not make the new ones foreign.
    let count = |generation: u64| {
        let id = cluster_id_with(topology, &name(topology, generation));
        of_data.iter().filter(|cluster| **cluster == id).count()
    };
    let found = (0..=next.max(9))
        .map(|generation| (count(generation), generation))
        .filter(|(count, _)| *count > 0)
        .max();
    let generation = match found {
        Some((_, generation)) => generation,
        None if of_data.is_empty() => next,
        // Data that no generation of this file's token made was adopted, or its token was edited:
        // nothing is bootstrapped.
        None => resets.unwrap_or(0),
    };
    (generation, name(topology, generation))
}

pub(crate) fn name(topology: &Topology, generation: u64) -> ClusterToken {
    let first = &topology.first_token;
    match generation {
        0 => first.clone(),
        later => {
            let named = format!("{first}-g{later}").parse();
            named.unwrap_or_else(|_| topology.token.clone())
        }
    }
}

fn first_eight(digest: &[u8]) -> u64 {
    digest
        .iter()
        .take(8)
        .fold(0, |id, byte| id << 8 | u64::from(*byte))
}
