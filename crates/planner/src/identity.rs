//! Whose data is on a host: etcd's own arithmetic of member and cluster IDs, and what follows from it.

use etcdup_core::finding::{Check, Finding};
use etcdup_core::flag::FlagSource;
use etcdup_core::name::ClusterToken;
use etcdup_core::observation::{DataDir, HostView, ListedMember, Observation};
use etcdup_core::topology::{KeyPath, Member, RuntimeKind, Topology};
use sha1::{Digest, Sha1};

use crate::planner::Planner;

pub(crate) const CHECKS: &[Check] = &[
    FOREIGN_UNIT,
    OTHER_RUNTIME,
    FOREIGN_DATA,
    OTHER_CLUSTER,
    LOST_DATA,
    NOT_LISTED,
    UNWANTED,
];

const FOREIGN_DATA: Check = Check {
    id: "data-foreign",
    title: "the data directory holds something else",
    about: "The directory is not empty and holds no etcd member. etcd would start in it, and the other files would be in \
            its way or be lost.",
    advice: "move the directory away, or name another with `data`",
};
const OTHER_CLUSTER: Check = Check {
    id: "data-other-cluster",
    title: "the data directory belongs to another cluster",
    about: "The first bytes of a WAL hold the IDs of the member and its cluster. etcd refuses to mix clusters with \"cluster \
            ID mismatch\" or \"already bootstrapped\" (etcd issues 10897, 11410, 12361), after an hour of looking.",
    advice: "name the token that the data was made with, or keep it by rename with `etcdup reset`",
};
const LOST_DATA: Check = Check {
    id: "member-lost-data",
    title: "a member has lost its data",
    about: "The member has started before and its data directory is gone. Starting it again as the old member makes etcd \
            panic (\"tocommit is out of range\") or split the cluster: it must be removed from the cluster and added anew.",
    advice: "bring its data back; replacing a member is for a later release",
};
const NOT_LISTED: Check = Check {
    id: "member-not-listed",
    title: "the cluster does not know a member of the file",
    about: "The cluster has formed and its member list lacks a member of the file. Adding members is for a later release.",
    advice: "take the member out of the file, or add it with etcdctl",
};
const FOREIGN_UNIT: Check = Check {
    id: "unit-of-another",
    title: "the unit or manifest there is another's",
    about: "A unit or manifest of the name that this member would have starts an etcd on another data directory: a second cluster on the \
            same hosts needs names of its own, or it would replace the first.",
    advice: "set layout.unit, layout.certificates and layout.data for this cluster",
};
const OTHER_RUNTIME: Check = Check {
    id: "started-by-another",
    title: "the member runs, and something else started it",
    about: "An etcd runs on the member's data directory, and the unit or manifest that the file means is not there: the runtime, the unit's \
            name or the manifests' directory was changed in the file. Starting another beside it would have two etcds on one \
            data directory.",
    advice: "stop it by hand, or say in the file what runs it",
};
const UNWANTED: Check = Check {
    id: "member-not-in-file",
    title: "the cluster has a member that the file does not name",
    about: "The cluster's member list has a member that the file does not name. Removing members is for a later release.",
    advice: "add the member to the file, or remove it with etcdctl",
};

/// The cluster's ID as etcd computes it at bootstrap: a member's ID is the first eight bytes of the SHA-1 of its sorted
/// peer URLs followed by the token; the cluster's is the same of all member IDs in order (`membership/cluster.go`).
pub(crate) fn cluster_id(topology: &Topology) -> u64 {
    cluster_id_with(topology, &topology.token)
}

fn cluster_id_with(topology: &Topology, token: &ClusterToken) -> u64 {
    let mut ids: Vec<u64> = topology
        .members
        .iter()
        .map(|member| {
            let mut hash = Sha1::new();
            hash.update(topology.peer_url(member).to_string());
            hash.update(token.as_str());
            first_eight(&hash.finalize())
        })
        .collect();
    ids.sort_unstable();
    let mut hash = Sha1::new();
    for id in ids {
        hash.update(id.to_be_bytes());
    }
    first_eight(&hash.finalize())
}

/// The token: the file's, else the cluster's name with the generation that the data found is of, else that of the next
/// bootstrap, which counts the resets that the hosts' records tell of.
pub(crate) fn token(topology: &Topology, seen: &Observation) -> ClusterToken {
    if topology.spec.token.is_some() {
        return topology.token.clone();
    }
    let resets = seen
        .hosts
        .values()
        .filter_map(|host| host.yes()?.record.as_ref())
        .map(|record| record.resets)
        .max()
        .unwrap_or(0);
    let of_data: Vec<u64> = topology
        .members
        .iter()
        .filter_map(|member| seen.host(&member.host)?.data.get(&member.layout.data))
        .filter_map(|data| match data {
            DataDir::Member(identity) => Some(identity.cluster),
            DataDir::Absent | DataDir::Empty | DataDir::Foreign => None,
        })
        .collect();
    // The record is a hint: one that was deleted must not make the data another cluster's.
    let generation = (0..=resets.max(9))
        .find(|generation| {
            of_data.contains(&cluster_id_with(topology, &name(topology, *generation)))
        })
        .unwrap_or(resets);
    name(topology, generation)
}

fn name(topology: &Topology, generation: u64) -> ClusterToken {
    let plain = topology.spec.cluster.as_str();
    let named = match generation {
        0 => plain.parse(),
        later => format!("{plain}-g{later}").parse(),
    };
    named.unwrap_or_else(|_| topology.token.clone())
}

fn first_eight(digest: &[u8]) -> u64 {
    digest
        .iter()
        .take(8)
        .fold(0, |id, byte| id << 8 | u64::from(*byte))
}

/// Where a cluster stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Formation {
    /// No member has data: it will be bootstrapped.
    Unborn,
    /// A bootstrap has begun; members that never started may still start as new.
    Forming,
    /// It has formed.
    Formed,
}

/// Where the cluster stands, by what its members say and what their start files still say.
pub(crate) fn formation(planner: &Planner, seen: &Observation) -> Formation {
    let members = &planner.topology.members;
    let data = |member: &Member| {
        seen.host(&member.host)
            .and_then(|host| host.data.get(&member.layout.data))
            .cloned()
    };
    let mut listed = seen
        .members
        .values()
        .filter_map(etcdup_core::seen::Seen::yes)
        .filter(|view| view.served.yes().is_some());
    if let Some(view) = listed.next() {
        // Named and never started: the bootstrap went on without it. One that was added has no name, and a cluster whose ID
        // is not the computed one was grown or adopted: neither is a bootstrap that is under way.
        // One that answers has started, though the list of a member that lags behind may not have its client URLs yet.
        let answers = |id: u64| {
            let mut views = seen.members.values();
            views.any(|view| view.yes().is_some_and(|view| view.id == id))
        };
        let mut listed = view.listed.iter();
        let missed =
            listed.any(|listed| !listed.started() && !listed.added() && !answers(listed.id));
        let added = view.listed.iter().any(ListedMember::added);
        return if missed && !added && view.cluster == cluster_id(&planner.topology) {
            Formation::Forming
        } else {
            Formation::Formed
        };
    }
    let born = members
        .iter()
        .filter(|member| matches!(data(member), Some(DataDir::Member(_))))
        .collect::<Vec<_>>();
    if born.is_empty() {
        return Formation::Unborn;
    }
    let still_new = |member: &&Member| {
        let path = &planner.wanted(member).settled.path;
        let sum = seen
            .host(&member.host)
            .and_then(|host| host.files.get(path))
            .and_then(|file| file.sha256.as_deref());
        sum.is_some_and(|sum| planner.wanted(member).says_forming(sum, path))
    };
    if born.iter().all(still_new) {
        Formation::Forming
    } else {
        Formation::Formed
    }
}

/// What stands in the way in data directories and member lists.
pub(crate) fn conflicts(planner: &Planner, seen: &Observation) -> Vec<Finding> {
    let mut findings = Vec::new();
    let formation = formation(planner, seen);
    let reference = reference(planner, seen);
    let serving = seen
        .members
        .values()
        .filter_map(etcdup_core::seen::Seen::yes)
        .find(|view| view.served.yes().is_some());
    for member in &planner.topology.members {
        let at = || KeyPath::member(member.index);
        let Some(host) = seen.host(&member.host) else {
            continue;
        };
        started_by_others(planner, member, host, &mut findings);
        let lost = match host.data.get(&member.layout.data) {
            Some(DataDir::Foreign) => {
                let evidence = format!(
                    "{} on {} holds something that is no etcd data",
                    member.layout.data, member.host
                );
                findings.push(FOREIGN_DATA.error(&member.name, evidence).at(at()));
                false
            }
            Some(DataDir::Member(found)) if Some(found.cluster) != reference => {
                let evidence = format!(
                    "{} on {} is member {:x} of cluster {:x}; this cluster is {:x}",
                    member.layout.data,
                    member.host,
                    found.member,
                    found.cluster,
                    reference.unwrap_or_default()
                );
                findings.push(OTHER_CLUSTER.error(&member.name, evidence).at(at()));
                false
            }
            Some(DataDir::Member(_)) => false,
            Some(DataDir::Absent | DataDir::Empty) | None => true,
        };
        let url = planner.topology.peer_url(member).to_string();
        match serving {
            Some(view) => match view
                .listed
                .iter()
                .find(|listed| listed.peer_urls.contains(&url))
            {
                None => findings.push(
                    NOT_LISTED
                        .error(&member.name, format!("no member has the peer URL {url}"))
                        .at(at()),
                ),
                Some(listed) if lost && listed.started() => {
                    let evidence = format!(
                        "member {:x} has started before, and {} on {} is empty",
                        listed.id, member.layout.data, member.host
                    );
                    findings.push(LOST_DATA.error(&member.name, evidence).at(at()));
                }
                Some(_) => {}
            },
            None if lost && formation == Formation::Formed => {
                let evidence = format!(
                    "the cluster has formed, and {} on {} is empty",
                    member.layout.data, member.host
                );
                findings.push(LOST_DATA.error(&member.name, evidence).at(at()));
            }
            None => {}
        }
    }
    let ours: Vec<String> = planner
        .topology
        .members
        .iter()
        .map(|member| planner.topology.peer_url(member).to_string())
        .collect();
    for listed in serving.into_iter().flat_map(|view| &view.listed) {
        if !listed.peer_urls.iter().any(|url| ours.contains(url)) {
            let name = if listed.name.is_empty() {
                "(never started)"
            } else {
                &listed.name
            };
            findings.push(UNWANTED.error(
                name,
                format!("member {:x} at {}", listed.id, listed.peer_urls.join(", ")),
            ));
        }
    }
    findings
}

/// A unit or manifest in our place that is for other data, and a process that none of ours started.
fn started_by_others(
    planner: &Planner,
    member: &Member,
    host: &HostView,
    findings: &mut Vec<Finding>,
) {
    let start = &planner.wanted(member).settled.path;
    let at = || KeyPath::member(member.index);
    let file = host.files.get(start);
    let text = file.and_then(|file| file.text.as_deref());
    let read = text.map(|text| match planner.topology.spec.runtime {
        RuntimeKind::StaticPod => FlagSource::manifest(text).unwrap_or_default(),
        RuntimeKind::Systemd | RuntimeKind::Process => FlagSource::unit(text),
    });
    let data = read.as_ref().and_then(|read| read.flags.get("data-dir"));
    if let Some(data) = data.filter(|data| *data != member.layout.data.as_str()) {
        let evidence = format!("{start} on {} starts an etcd on {data}", member.host);
        findings.push(FOREIGN_UNIT.error(&member.name, evidence).at(at()));
    }
    // One that we wrote and that somebody took away a moment ago comes back as any other file.
    let ours = host
        .record
        .as_ref()
        .is_some_and(|record| record.files.contains_key(start));
    let runs = host.processes.get(&member.name).filter(|_| !ours);
    if let (None, Some(process)) = (file, runs.filter(|_| planner.is_pod())) {
        let evidence = format!(
            "process {} of {} is an etcd on {}, and {start} is not there",
            process.pid, member.host, member.layout.data
        );
        findings.push(OTHER_RUNTIME.error(&member.name, evidence).at(at()));
    }
}

/// The cluster that data must belong to: the one that serves, else the one this file would make, where any data is of
/// it, else the one of most data on hosts whose record says that etcdup put it there.
pub(crate) fn reference(planner: &Planner, seen: &Observation) -> Option<u64> {
    let serving = seen
        .members
        .values()
        .filter_map(etcdup_core::seen::Seen::yes)
        .find(|view| view.served.yes().is_some());
    if let Some(view) = serving {
        return Some(view.cluster);
    }
    let found: Vec<(u64, bool)> = planner
        .topology
        .members
        .iter()
        .filter_map(|member| {
            let host = seen.host(&member.host)?;
            match host.data.get(&member.layout.data)? {
                DataDir::Member(identity) => Some((identity.cluster, host.record.is_some())),
                DataDir::Absent | DataDir::Empty | DataDir::Foreign => None,
            }
        })
        .collect();
    let ours = cluster_id(&planner.topology);
    if found.iter().any(|(cluster, _)| *cluster == ours) {
        return Some(ours);
    }
    let recorded = |id: u64| {
        found
            .iter()
            .filter(|(cluster, ours)| *cluster == id && *ours)
            .count()
    };
    let majority = found
        .iter()
        .map(|(cluster, _)| *cluster)
        .find(|id| recorded(*id) >= planner.topology.quorum());
    majority.or(Some(ours))
}
