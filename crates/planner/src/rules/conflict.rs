//! What stands in the way of touching a cluster: data, records, processes and member lists that do
//! not fit the file.

use std::collections::BTreeSet;

use etcdup_core::file::KeyPath;
use etcdup_core::finding::{Check, Finding};
use etcdup_core::membership::{ClusterId, ClusterView, MemberId, Standing};
use etcdup_core::observation::{
    DataDir, DataIdentity, HostView, ListedMember, MemberView, Observation,
};
use etcdup_core::observed::{Cause, Observed};
use etcdup_core::path::Mode;
use etcdup_core::topology::Member;

use crate::generation::{cluster_id, member_id, recorded_cluster};
use crate::identity::{Bootstrap, bootstrap, data_of, expected_cluster_id, read_flags};
use crate::places::{entry, standing, unmanaged};
use crate::target::Target;

pub(crate) const CHECKS: &[Check] = &[
    RECORD_UNREADABLE,
    FOREIGN_UNIT,
    OTHER_RUNTIME,
    FOREIGN_DATA,
    OTHER_CLUSTER,
    UNKNOWN_CLUSTER,
    OTHER_MEMBER,
    LOST_DATA,
    NOT_LISTED,
    MOVED,
    UNWANTED,
    AUTH_DENIED,
    DATA_ELSEWHERE,
    SPLIT,
    RESTORED,
    NOT_MOUNTED,
    OTHER_NAME,
];

/// Findings about single members, which leave it open whether the others may run.
pub(crate) const DISPUTED: [&str; 2] = ["member-lost-data", "data-other-member"];

/// Also of a reset, where a copied file would delete the cluster that it was copied from.
const OTHER_NAME: Check = Check {
    id: "cluster-of-another-name",
    title: "the cluster is known by another name here",
    about: "The host records a cluster of another name with the very ID of what runs, or lies, at this member's place: the file is a \
            copy with a new name, and still means the first cluster's members, units and data.",
    advice: "use that cluster's file; for a cluster of its own, give this one other hosts, or its own ports and [layout]. To rename \
             the cluster for good, delete the record that the evidence names on each host",
};

/// A member whose cluster etcdup knows under another name on its host.
pub(crate) fn other_name(seen: &Observation, member: &Member, host: &HostView) -> Option<Finding> {
    let answers = seen.member(&member.name).map(|view| view.cluster);
    let on_disk = match host.data.get(&member.layout.data) {
        Some(DataDir::Member(data)) => Some(data.cluster),
        _ => None,
    };
    [answers, on_disk]
        .into_iter()
        .flatten()
        .find_map(|cluster| {
            let name = host.other_name_of(cluster)?;
            let evidence = format!(
                "cluster {cluster} at {} is `{name}`, by {}/{name}.json",
                member.host, member.layout.state
            );
            let at = KeyPath::root("cluster");
            Some(OTHER_NAME.error(&member.name, evidence).at(at))
        })
}

const DATA_ELSEWHERE: Check = Check {
    id: "data-elsewhere",
    title: "a running member uses another data directory",
    about: "The member's etcd runs on another data directory than the topology names. Restarting it would put it on whatever is at \
            the named place: an old copy there would forget what the member voted for and acknowledged.",
    advice: "set `data` to the directory that the member runs on",
};
const SPLIT: Check = Check {
    id: "cluster-split",
    title: "members that answer do not agree on their cluster",
    about: "Two members serve reads, follow different leaders and list different members. One was split off, by \
            `--force-new-cluster` or by a restored snapshot, and kept its IDs: counting it as a voter would spend the quorum of the \
            others.",
    advice: "stop the member that was split off, remove it from the cluster, and add it again",
};
const RESTORED: Check = Check {
    id: "cluster-restored",
    title: "the data is of a restored cluster",
    about: "Every member has data, all of one cluster, and none of it is what the host records know. That is what a snapshot that \
            was restored by hand on all members looks like.",
    advice: "if it was restored, move /var/lib/etcdup/<cluster>.json aside on every host and run again; if it was restored with \
             another token, set `token` to that",
};
const NOT_MOUNTED: Check = Check {
    id: "data-not-mounted",
    title: "the data directory is not the one that was prepared",
    about: "A bootstrap was started on this host before, no member has data, and the data directory has lost the owner and mode that \
            it was given: most likely its disk is not mounted. A new bootstrap would make an empty cluster over the mount point.",
    advice: "mount the disk; if there never was any data, run `etcdup reset` first",
};

pub(super) const AUTH_DENIED: Check = Check {
    id: "etcd-auth-denied",
    title: "etcd's own authentication refuses etcdup",
    about: "The cluster has authentication turned on (`etcdctl auth enable`), and etcdup connects with a client certificate that \
            no etcd user belongs to. A member that cannot be asked is never changed, so nothing can be applied.",
    advice: "with client = \"mutual\", let the operator's certificate in: `etcdctl user add etcdup-operator --no-password`, then \
             `etcdctl user grant-role etcdup-operator root`; otherwise turn authentication off while applying",
};

const RECORD_UNREADABLE: Check = Check {
    id: "record-unreadable",
    title: "the host record cannot be read",
    about: "The host record keeps what no other place remembers: that the cluster was bootstrapped, and the IDs of its members. \
            One that cannot be read is not the same as none, so nothing is changed on its word.",
    advice: "restore the file, or move it aside if you know that the member's data is intact",
};
const OTHER_MEMBER: Check = Check {
    id: "data-other-member",
    title: "the data directory belongs to another member",
    about: "The first bytes of a WAL hold the IDs of the member and its cluster. A directory that was copied from another member, \
            or whose disk was swapped, would put two processes under one raft ID: both vote and acknowledge, and the healthy one \
            panics (\"tocommit is out of range\").",
    advice: "move the copy away and bring back the member's own data; without it, the member must be removed and added again",
};

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
            ID mismatch\" or \"already bootstrapped\" (etcd issues 10897, 11410, 12361).",
    advice: "set `token` to the value the data was created with, or move the directory away",
};
const UNKNOWN_CLUSTER: Check = Check {
    id: "cluster-not-known",
    title: "whose data this is cannot be determined",
    about: "All data that was found is of one cluster, no member answers, no host record names it, and its ID is not the one that a \
            bootstrap of this file makes: the cluster was adopted, grown or made by another tool. Its ID depends on the members that \
            it began with, so no token in the file can match it.",
    advice: "start the members that have data by hand; once a quorum of them answers, run again. Leave the directories where they are \
             unless you know that they are not this cluster's",
};
const LOST_DATA: Check = Check {
    id: "member-lost-data",
    title: "a member has lost its data",
    about: "The member has started before, and its data directory is missing, empty, or was refilled by etcd itself. Starting it \
            as the old member makes etcd panic (\"tocommit is out of range\") or lose acknowledged writes: it must be removed from \
            the cluster and added again. An older copy of its data is no way back either, since it has forgotten what it voted for. Where half the members or \
            more have lost theirs, no quorum is left to remove them: restore a snapshot, or start one of the remaining data \
            directories with etcd's `--force-new-cluster` after copying it.",
    advice: "mount its disk again if it is only missing; otherwise remove the member with `etcdctl member remove`, then run \
             `etcdup apply`, which adds it again",
};
const NOT_LISTED: Check = Check {
    id: "member-not-listed",
    title: "a former member's data is in the way",
    about: "The cluster removed this member, and what it ran on is still there. Its ID is never valid again: to come back it is added \
            as a new member, which starts without data.",
    advice: "stop its etcd if it runs, move its data directory aside, then run `etcdup apply`, which adds it again",
};
const MOVED: Check = Check {
    id: "peer-url-changed",
    title: "a member's peer URL is another in the file",
    about: "The cluster lists the member whose data is on this host under another peer URL than the file gives it: its address, its \
            peer port or the peers' TLS was changed in the file. Moving a member that exists is not supported yet, and as a new one \
            it would be a second member on one data directory.",
    advice: "set the address, port or security back to what the cluster lists",
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
    about: "The cluster's member list has a member that the file does not name. Removing members is not supported yet.",
    advice: "add the member to the file, or remove it with `etcdctl member remove`; where others take its place, keep it in the file \
             until they have joined",
};

/// What stands in the way in data directories, records and member lists.
pub(crate) fn conflicts(target: &Target, seen: &Observation) -> Vec<Finding> {
    let mut findings = Vec::new();
    let bootstrap = bootstrap(target, seen);
    let reference = expected_cluster_id(target, seen);
    let confirmed = ClusterView::confirmed(seen).is_some();
    for (host, observed) in &seen.hosts {
        let record = observed.known().map(|host| &host.record);
        if let Some(Observed::Unknown(unseen)) = record {
            let evidence = format!(
                "the host record of {} on {host}: {unseen}",
                target.topology.cluster
            );
            findings.push(RECORD_UNREADABLE.error(host, evidence));
        }
    }
    findings.extend(split(seen));
    let restored = restored(target, seen);
    let is_restored = restored.is_some();
    findings.extend(restored);
    for member in &target.topology.members {
        let at = || KeyPath::member(member.index);
        let Some(host) = seen.host(&member.host) else {
            continue;
        };
        started_by_others(target, member, host, &mut findings);
        if let Some(finding) = other_name(seen, member, host) {
            findings.push(finding);
            continue;
        }
        if bootstrap == Bootstrap::Pending
            && let Some(evidence) = not_mounted(target, member, host)
        {
            findings.push(NOT_MOUNTED.error(&member.name, evidence).at(at()));
            continue;
        }
        if is_restored {
            continue;
        }
        if let Some(Observed::Unknown(unseen)) = seen.members.get(&member.name)
            && unseen.cause == Cause::Denied
        {
            findings.push(AUTH_DENIED.error(&member.name, unseen.why.clone()).at(at()));
            continue;
        }
        let data = host.data.get(&member.layout.data);
        if matches!(data, Some(DataDir::Foreign)) {
            let evidence = format!(
                "{} on {} contains files that are not etcd data",
                member.layout.data, member.host
            );
            findings.push(FOREIGN_DATA.error(&member.name, evidence).at(at()));
            continue;
        }
        if let Some(DataDir::Member(found)) = data
            && let Some(finding) = foreign(target, seen, member, *found, reference)
        {
            findings.push(finding.at(at()));
            continue;
        }
        if let Some(listed) = moved(target, seen, member) {
            let url = target.topology.peer_url(member);
            let evidence = format!(
                "the cluster lists member {} at {}, the file says {url}",
                listed.id,
                listed.peer_urls.join(", ")
            );
            findings.push(MOVED.error(&member.name, evidence).at(at()));
            continue;
        }
        let finding = match standing(target, seen, bootstrap, member) {
            Standing::Lost { why, .. } => LOST_DATA.error(&member.name, why),
            Standing::Removed { runs, data } if confirmed && (runs || data) => {
                let url = target.topology.peer_url(member);
                let what = if runs {
                    "its etcd runs"
                } else {
                    "its data is there"
                };
                let evidence = format!(
                    "the cluster lists no member with the peer URL {url}, and {what} still"
                );
                NOT_LISTED.error(&member.name, evidence)
            }
            Standing::New
            | Standing::Removed { .. }
            | Standing::Bootstrapped(_)
            | Standing::Added { .. }
            | Standing::Learner { .. }
            | Standing::Voter { .. }
            | Standing::Unmanaged(_)
            | Standing::Unknown(_) => continue,
        };
        findings.push(finding.at(at()));
    }
    findings.extend(unwanted(target, seen));
    findings
}

/// The cluster's own entry of the member whose data is on this member's host, where its peer URL is
/// another than the file's.
fn moved<'a>(target: &Target, seen: &'a Observation, member: &Member) -> Option<&'a ListedMember> {
    let view = ClusterView::confirmed(seen)?;
    let url = target.topology.peer_url(member).to_string();
    entry(target, seen, &view, member).filter(|listed| !listed.peer_urls.contains(&url))
}

/// Members of the cluster that the file does not have.
pub(crate) fn unwanted(target: &Target, seen: &Observation) -> Vec<Finding> {
    // One whose peer URL the file changed has a finding of its own.
    let members = &target.topology.members;
    let is_moved = |listed: &&ListedMember| {
        let mut found = members
            .iter()
            .filter_map(|member| moved(target, seen, member));
        found.any(|found| found.id == listed.id)
    };
    unmanaged(target, seen)
        .into_iter()
        .filter(|listed| !is_moved(listed))
        .map(|listed| {
            let name = if listed.name.is_empty() {
                "(unstarted)"
            } else {
                &listed.name
            };
            let urls = listed.peer_urls.join(", ");
            let evidence = format!(
                "the cluster lists member {name} (ID {}, peer URL {urls}); no member of the file has that URL",
                listed.id
            );
            UNWANTED.error(name, evidence)
        })
        .collect()
}

/// Two members that serve, and are not of one cluster any more.
fn split(seen: &Observation) -> Option<Finding> {
    let ids = |view: &MemberView| {
        let ids: BTreeSet<MemberId> = view.listed.iter().map(|listed| listed.id).collect();
        ids
    };
    let serves = |view: &&MemberView| view.served.known().is_some() && view.leader.is_some();
    let confirmed = ClusterView::confirmed(seen)?;
    let known = Some(confirmed.told_by()).filter(serves)?;
    let views = seen
        .members
        .iter()
        .filter_map(|(name, view)| Some((name, view.known()?)));
    // Another leader alone is an election; another list alone is a list that lags behind.
    let mut others = views
        .filter(|(_, view)| serves(view) && view.leader != known.leader && ids(view) != ids(known));
    let (name, view) = others.next()?;
    let evidence = format!(
        "{name} follows leader {} among {} members; the others follow {} among {}",
        leader_id(view),
        view.listed.len(),
        leader_id(known),
        known.listed.len()
    );
    Some(SPLIT.error(name, evidence))
}

fn leader_id(view: &MemberView) -> String {
    let leader = view.leader.map(|id| id.to_string());
    leader.unwrap_or_else(|| "nobody".to_owned())
}

/// Every member has data, all of one cluster, and the records know none of it.
fn restored(target: &Target, seen: &Observation) -> Option<Finding> {
    let recorded = recorded_cluster(&target.topology, seen)?;
    let mut clusters = BTreeSet::new();
    let mut known = false;
    for member in &target.topology.members {
        let host = seen.host(&member.host)?;
        let DataDir::Member(data) = host.data.get(&member.layout.data)? else {
            return None;
        };
        clusters.insert(data.cluster);
        let entry = host
            .record()
            .and_then(|record| record.members.get(&member.name));
        let mark = host.marks.get(&member.layout.data);
        known |= data.cluster == recorded && entry.is_none_or(|entry| mark == Some(&entry.mark));
    }
    if known || clusters.len() != 1 {
        return None;
    }
    let found = clusters.first()?;
    let evidence = format!(
        "all {} members have data of cluster {found} that was put there since; the host records know cluster {recorded}",
        target.topology.members.len()
    );
    Some(RESTORED.error("cluster", evidence))
}

/// A bootstrap was started on this host, and its data directory is not as it was prepared then.
fn not_mounted(target: &Target, member: &Member, host: &HostView) -> Option<String> {
    host.record()?.begun?;
    let path = &member.layout.data;
    let found = host.files.get(path);
    let owner = target.topology.owner();
    let same = found.is_some_and(|found| {
        found.mode == Mode::CLOSED && (owner.is_none() || found.owner == owner)
    });
    (!same).then(|| {
        let is = found.map_or("is missing".to_owned(), |found| {
            format!("has mode {}", found.mode)
        });
        format!(
            "{path} on {} {is}, and was prepared with mode {}",
            member.host,
            Mode::CLOSED
        )
    })
}

/// Data of another cluster, or of another member of this one.
fn foreign(
    target: &Target,
    seen: &Observation,
    member: &Member,
    found: DataIdentity,
    reference: Option<ClusterId>,
) -> Option<Finding> {
    let path = &member.layout.data;
    if Some(found.cluster) != reference {
        let evidence = format!(
            "{path} on {} is member {} of cluster {}; this cluster is {}",
            member.host,
            found.member,
            found.cluster,
            reference.map_or_else(|| "another".to_owned(), |id| id.to_string())
        );
        let check = if is_of_unknown(target, seen, found.cluster) {
            UNKNOWN_CLUSTER
        } else {
            OTHER_CLUSTER
        };
        return Some(check.error(&member.name, evidence));
    }
    let is = format!("{path} on {} is member {}", member.host, found.member);
    if let Some(listed) = listed_id(target, seen, member) {
        // The cluster says who the member is: anything else is a copy, or of a former membership.
        if listed == found.member {
            return None;
        }
        let evidence = match owner_of(target, seen, member, found) {
            Some(other) => format!(
                "{is}, a copy of {other}; {} is member {listed}",
                member.name
            ),
            None => format!("{is}; {} is member {listed}", member.name),
        };
        return Some(OTHER_MEMBER.error(&member.name, evidence));
    }
    let expected = expected_id(target, seen, member, found);
    if expected == Some(found.member) {
        return None;
    }
    // Another member's ID is a copy. An ID that nobody else has may be of a membership that is
    // newer than the record.
    if let Some(other) = owner_of(target, seen, member, found) {
        let evidence = format!("{is}, a copy of {other}");
        return Some(OTHER_MEMBER.error(&member.name, evidence));
    }
    let away = target
        .topology
        .members
        .iter()
        .find(|other| seen.host(&other.host).is_none());
    away.filter(|_| expected.is_none()).map(|other| {
        let evidence = format!(
            "{is}, and whether that is {} cannot be known while {} is unreachable",
            member.name, other.host
        );
        OTHER_MEMBER
            .error(&member.name, evidence)
            .advise(format!("bring {} back, then run again", other.host))
    })
}

/// Whether all data is of this cluster, and nobody says that the file's is another.
fn is_of_unknown(target: &Target, seen: &Observation, cluster: ClusterId) -> bool {
    let members = target.topology.members.iter();
    let mut found = members.filter_map(|member| match data_of(seen, member)? {
        DataDir::Member(data) => Some(data.cluster),
        DataDir::Absent | DataDir::Empty | DataDir::Foreign => None,
    });
    ClusterView::confirmed(seen).is_none()
        && recorded_cluster(&target.topology, seen).is_none()
        && found.all(|other| other == cluster)
}

/// The other member that an ID belongs to: by its data, by any readable host record, or as computed
/// at bootstrap.
fn owner_of(
    target: &Target,
    seen: &Observation,
    member: &Member,
    found: DataIdentity,
) -> Option<String> {
    let topology = &target.topology;
    let computed = found.cluster == cluster_id(topology);
    let others = || {
        topology
            .members
            .iter()
            .filter(|other| other.name != member.name)
    };
    let by_data = others().find(
        |other| matches!(data_of(seen, other), Some(DataDir::Member(data)) if *data == found),
    );
    let by_bootstrap = || {
        others()
            .find(|other| computed && member_id(topology, other, &topology.token) == found.member)
    };
    if let Some(other) = by_data.or_else(by_bootstrap) {
        return Some(other.name.to_string());
    }
    let records = seen
        .hosts
        .values()
        .filter_map(|host| host.known()?.record());
    let recorded = records.flat_map(|record| &record.members);
    let mut recorded =
        recorded.filter(|(name, known)| **name != member.name && known.id == found.member);
    recorded.next().map(|(name, _)| name.to_string())
}

/// The ID that the cluster's own list has for a member.
fn listed_id(target: &Target, seen: &Observation, member: &Member) -> Option<MemberId> {
    let url = target.topology.peer_url(member).to_string();
    Some(ClusterView::confirmed(seen)?.at(&url)?.id)
}

/// The ID that a member's data must have, where no member serves: by the host record, or as
/// computed at bootstrap.
fn expected_id(
    target: &Target,
    seen: &Observation,
    member: &Member,
    found: DataIdentity,
) -> Option<MemberId> {
    let topology = &target.topology;
    let record = seen.host(&member.host).and_then(HostView::record);
    let recorded = record
        .and_then(|record| record.members.get(&member.name))
        .map(|recorded| recorded.id);
    let computed = found.cluster == cluster_id(topology);
    recorded.or_else(|| computed.then(|| member_id(topology, member, &topology.token)))
}

/// A unit or manifest in our place that is for other data, and a process that none of ours started.
pub(crate) fn started_by_others(
    target: &Target,
    member: &Member,
    host: &HostView,
    findings: &mut Vec<Finding>,
) {
    let start = &target.desired(member).settled.path;
    let at = || KeyPath::member(member.index);
    let file = host.files.get(start);
    let text = file.and_then(|file| file.text.as_deref());
    let read = text.map(|text| read_flags(target, text));
    let data = read.as_ref().and_then(|flags| flags.get("data-dir"));
    if let Some(data) = data.filter(|data| *data != member.layout.data.as_str()) {
        let evidence = format!("{start} on {} starts an etcd on {data}", member.host);
        findings.push(FOREIGN_UNIT.error(&member.name, evidence).at(at()));
    }
    // Flags may come from anywhere (an EnvironmentFile, a drop-in): what runs is certain. A restart
    // would put the member on whatever lies at the file's place, such as an old copy.
    let running = host.processes.get(&member.name);
    let elsewhere = running.and_then(|process| process.flags.get("data-dir"));
    if let Some(data) = elsewhere.filter(|data| *data != member.layout.data.as_str()) {
        let evidence = format!(
            "{} runs on {data}, and the topology names {}",
            member.name, member.layout.data
        );
        findings.push(DATA_ELSEWHERE.error(&member.name, evidence).at(at()));
    }
    // One that we wrote and that was taken away a moment ago comes back as any other file.
    let ours = host
        .record()
        .is_some_and(|record| record.files.contains_key(start));
    let runs = host.processes.get(&member.name).filter(|_| !ours);
    if let (None, Some(process)) = (file, runs.filter(|_| target.is_pod())) {
        let evidence = format!(
            "process {} of {} is an etcd on {}, and {start} is missing",
            process.pid, member.host, member.layout.data
        );
        findings.push(OTHER_RUNTIME.error(&member.name, evidence).at(at()));
    }
}
