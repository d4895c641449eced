//! What stands in the way of touching a cluster: data, records, processes and member lists that do
//! not fit the file.

use std::collections::BTreeSet;

use etcdup_core::file::KeyPath;
use etcdup_core::finding::Finding;
use etcdup_core::membership::{ClusterId, ClusterView, Electorate, MemberId, Standing, quorum_of};
use etcdup_core::observation::{DataDir, DataIdentity, HostView, MemberView, Observation};
use etcdup_core::observed::{Cause, Observed};
use etcdup_core::topology::Member;

use crate::generation::{cluster_id, member_id, recorded_cluster};
use crate::identity::{Bootstrap, bootstrap, data_of, expected_cluster_id};
use crate::listed::entry;
use crate::places::{is_former, standing, unmanaged};
use crate::roster::is_place_of;
use crate::rules::clean_up::log_left;
use crate::target::Target;

mod checks;
mod place;

pub use checks::AUTH_DENIED;
pub(crate) use checks::{CHECKS, FOREIGN_UNIT};
use checks::{
    FOREIGN_DATA, LOST_DATA, NO_LOG, NOT_LISTED, NOT_MOUNTED, OTHER_CLUSTER, OTHER_MEMBER,
    OTHER_NAME, RECORD_UNREADABLE, RESTORED, SPLIT, UNKNOWN_CLUSTER, UNWANTED,
};
pub(crate) use place::started_by_others;
use place::{not_mounted, torn};

/// Findings about single members, which leave it open whether the others may run.
pub(crate) const DISPUTED: [&str; 3] =
    ["member-lost-data", "data-other-member", "data-without-log"];

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

/// What stands in the way in data directories, records and member lists.
pub(crate) fn conflicts(target: &Target, seen: &Observation) -> Vec<Finding> {
    let mut findings = Vec::new();
    let bootstrap = bootstrap(target, seen);
    let reference = expected_cluster_id(target, seen);
    let view = ClusterView::confirmed(seen);
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
    findings.extend(overruled(target, seen));
    findings.extend(strangers(target, seen));
    let restored = restored(target, seen);
    let is_restored = restored.is_some();
    findings.extend(restored);
    for member in &target.topology.members {
        let at = || KeyPath::member(member.index);
        let Some(host) = seen.host(&member.host) else {
            continue;
        };
        started_by_others(target, seen, member, host, &mut findings);
        if let Some(finding) = other_name(seen, member, host) {
            findings.push(finding);
            continue;
        }
        if bootstrap == Bootstrap::Pending
            && let Some(evidence) = not_mounted(member, host)
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
        if let Some(evidence) = torn(member, host)
            && !is_left_over(target, seen, bootstrap, member, host)
            // A restore that was cut off between the two, which makes both once more.
            && target.restored_with().is_none()
        {
            findings.push(NO_LOG.error(&member.name, evidence).at(at()));
            continue;
        }
        if matches!(data, Some(DataDir::Foreign)) {
            let evidence = format!(
                "{} on {} contains files that are not etcd data",
                member.layout.data, member.host
            );
            findings.push(FOREIGN_DATA.error(&member.name, evidence).at(at()));
            continue;
        }
        let stands = standing(target, seen, bootstrap, member);
        if let (Some(view), Standing::Removed { data: true, .. }) = (&view, &stands)
            && is_former(seen, view, member)
        {
            // Of a former membership: it is cleaned up, and then added again.
            continue;
        }
        if let Some(DataDir::Member(found)) = data
            && let Some(finding) = foreign(target, seen, member, *found, reference)
        {
            findings.push(finding.at(at()));
            continue;
        }
        let finding = match stands {
            // One that the list has is removed, and added again.
            Standing::Lost { id: Some(id), .. } if is_removable(target, seen, id) => continue,
            Standing::Lost { why, .. } => LOST_DATA.error(&member.name, why),
            // Its ID is listed, where another is to be.
            Standing::Removed { data: true, .. } if view.is_some() => {
                let evidence = format!(
                    "the data of {} on {} is of a member that the cluster lists at a peer URL which the file gives to another",
                    member.name, member.host
                );
                let finding = OTHER_MEMBER.error(&member.name, evidence);
                finding.advise(
                    "if its host has another name in the file now, name it as before; if two members change places, move one after the other",
                )
            }
            // Without its data nothing proves whose it is.
            Standing::Removed {
                runs: true,
                data: false,
            } if view.is_some() => {
                let url = target.topology.peer_url(member);
                let evidence = format!(
                    "the cluster lists no member with the peer URL {url}, and an etcd runs in its place"
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
    findings.extend(inside_another(target));
    findings
}

/// Data directories that lie in those of other members: of those that go, and of those that keep
/// what they had before they shared their host.
fn inside_another(target: &Target) -> Vec<Finding> {
    let topology = &target.topology;
    let gone = |member: &Member| topology.leaving(&member.name).is_some_and(|one| one.gone);
    let clash = |member: &Member| {
        let host = &member.host;
        let others = topology.everyone().filter(|other| !gone(other));
        let others = others.filter(|other| other.host == *host && other.name != member.name);
        let mut places = others.flat_map(|other| {
            let theirs = other.layout.own();
            theirs.map(move |(_, theirs)| (other, theirs))
        });
        let (key, own, other, theirs) = places.find_map(|(other, theirs)| {
            let mut own = member.layout.own();
            let (key, own) = own.find(|(_, own)| own != &theirs && own.is_within(theirs))?;
            Some((key, own, other, theirs))
        })?;
        let evidence = format!(
            "{own} of {} on {host} is inside {theirs} of {}",
            member.name, other.name
        );
        let finding = FOREIGN_DATA.error(&member.name, evidence);
        let advice = format!("give the member a `{key}` of its own, outside the other's");
        let finding = finding.advise(advice);
        Some(finding.at(KeyPath::member(member.index).key(key)))
    };
    topology.members.iter().filter_map(clash).collect()
}

/// Whether a log without its data is what is left of a member that was removed, or is to be: then
/// it is moved aside before the member is added again.
fn is_left_over(
    target: &Target,
    seen: &Observation,
    bootstrap: Bootstrap,
    member: &Member,
    host: &HostView,
) -> bool {
    log_left(member, host).is_some()
        && match standing(target, seen, bootstrap, member) {
            Standing::Removed { .. } => true,
            Standing::Lost { id, .. } => id.is_some_and(|id| is_removable(target, seen, id)),
            Standing::New
            | Standing::Bootstrapped(_)
            | Standing::Added { .. }
            | Standing::Learner { .. }
            | Standing::Voter { .. }
            | Standing::Unmanaged(_)
            | Standing::Unknown(_) => false,
        }
}

/// Members that lost their data and are removed and added again.
pub(crate) fn replaceable(target: &Target, seen: &Observation) -> Vec<Finding> {
    let bootstrap = bootstrap(target, seen);
    let members = target.topology.members.iter();
    let lost = members.filter_map(|member| match standing(target, seen, bootstrap, member) {
        Standing::Lost { id: Some(id), why } if is_removable(target, seen, id) => Some(
            LOST_DATA
                .error(&member.name, why)
                .at(KeyPath::member(member.index)),
        ),
        Standing::Lost { .. }
        | Standing::New
        | Standing::Removed { .. }
        | Standing::Bootstrapped(_)
        | Standing::Added { .. }
        | Standing::Learner { .. }
        | Standing::Voter { .. }
        | Standing::Unmanaged(_)
        | Standing::Unknown(_) => None,
    });
    lost.collect()
}

/// Whether half of the members or more look lost: then something else happened, such as disks that
/// were copied without their marks, and none is replaced for it.
pub(crate) fn are_many_lost(target: &Target, seen: &Observation) -> bool {
    let bootstrap = bootstrap(target, seen);
    let members = target.topology.everyone();
    let lost = members.filter(|member| {
        let stands = standing(target, seen, bootstrap, member);
        matches!(stands, Standing::Lost { .. })
    });
    let lost = lost.count();
    let view = ClusterView::confirmed(seen);
    let all = view.map_or(0, |view| view.members().filter(|one| !one.learner).count());
    lost > 1 && 2 * lost >= all
}

/// Whether the list has a member, and the others can remove it.
fn is_removable(target: &Target, seen: &Observation, id: MemberId) -> bool {
    if are_many_lost(target, seen) {
        return false;
    }
    let members = target.topology.everyone();
    let names: Vec<_> = members.map(|member| member.name.clone()).collect();
    ClusterView::confirmed(seen).is_some_and(|view| view.member(id).is_some())
        && Electorate::of(seen, &names).remove(id).is_ok()
}

/// Members of the cluster that the file does not have.
pub(crate) fn unwanted(target: &Target, seen: &Observation) -> Vec<Finding> {
    unmanaged(target, seen)
        .into_iter()
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

/// Former members whose data is intact, as their hosts recorded it, and who would be a quorum of
/// those that serve and themselves: the cluster was split off, not shrunk, and they may know more.
fn overruled(target: &Target, seen: &Observation) -> Option<Finding> {
    let view = ClusterView::confirmed(seen)?;
    let intact = |member: &&Member| {
        let Some(host) = seen.host(&member.host) else {
            // What was not seen counts, where a record knows it by an ID that the list lacks.
            return recorded_id(seen, member).is_some_and(|id| view.member(id).is_none());
        };
        let record = host.record();
        let known = record.and_then(|record| record.members.get(&member.etcd_name));
        let mark = host.marks.get(&member.layout.data);
        // Emptied and filled again since, which the record of its host knows.
        let refilled = known.is_some_and(|own| mark != Some(&own.mark));
        is_former(seen, &view, member) && !refilled
    };
    // Of those that should go the file itself says that they are not to know more.
    let members = target.topology.members.iter();
    let former: Vec<&Member> = members.filter(intact).collect();
    let serve = view.members().filter(|listed| !listed.learner).count();
    if former.len() < quorum_of(serve + former.len()) {
        return None;
    }
    let names: Vec<&str> = former.iter().map(|member| member.name.as_str()).collect();
    let evidence = format!(
        "the cluster lists {serve} voters; {} are not among them, have their data as it was recorded, and would be a quorum",
        names.join(", ")
    );
    let finding = SPLIT.error("cluster", evidence);
    Some(finding.advise(
        "find out who knows more: if one was started with --force-new-cluster by mistake, stop it and start the others; if they were \
         removed on purpose, stop them, move their data directories aside, and run again",
    ))
}

/// The ID that any record's roster has for a member.
fn recorded_id(seen: &Observation, member: &Member) -> Option<MemberId> {
    let records = seen
        .hosts
        .values()
        .filter_map(|host| host.known()?.record());
    let mut roster = records.flat_map(|record| &record.roster);
    roster.find_map(|known| known.id.filter(|_| is_place_of(known, member)))
}

/// Members that should go and answer, or are known, as another cluster's: their hosts were given to
/// another.
fn strangers(target: &Target, seen: &Observation) -> Vec<Finding> {
    let topology = &target.topology;
    let recorded = recorded_cluster(topology, seen);
    let leaving = topology.leaving.iter().filter(|one| !one.gone);
    let strange = leaving.filter_map(|leaving| {
        let member = &leaving.member;
        if let Some(finding) = other_name(seen, member, seen.host(&member.host)?) {
            return Some(finding);
        }
        let cluster = seen.member(&member.name)?.cluster;
        let another = recorded.is_some_and(|recorded| recorded != cluster);
        let evidence = format!(
            "{} should go, and the etcd on {} is of cluster {cluster}",
            member.name, member.host
        );
        let finding = OTHER_CLUSTER.error(&member.name, evidence);
        another.then(|| {
            finding.advise("its host runs another cluster now: write absent = \"gone\" for it")
        })
    });
    strange.collect()
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
    let view = ClusterView::confirmed(seen)?;
    let by_url = view.at(&target.topology.peer_url(member).to_string());
    let listed = by_url.or_else(|| entry(&target.topology, seen, &view, member));
    Some(listed?.id)
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
