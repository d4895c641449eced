//! How every member that anyone knows of stands with the cluster: judged once, and asked by every
//! rule.

use std::collections::BTreeSet;

use etcdup_core::membership::{ClusterView, MemberId, Place, Standing};
use etcdup_core::observation::{
    DataDir, DataIdentity, HostView, ListedMember, Observation, RecordedMember,
};
use etcdup_core::topology::Member;

use crate::identity::{Bootstrap, has_data, read_flags};
use crate::listed::{data_id, entry, leaving_entry};
use crate::target::Target;

/// The members of the file, those that should go, then those that only the cluster's list has.
pub(crate) fn places(target: &Target, seen: &Observation, bootstrap: Bootstrap) -> Vec<Place> {
    let of_topology = target.topology.everyone().map(|member| Place {
        name: Some(member.name.clone()),
        host: Some(member.host.clone()),
        standing: standing(target, seen, bootstrap, member),
        leaves: target.topology.leaving(&member.name).is_some(),
    });
    let unmanaged = unmanaged(target, seen).into_iter().map(|listed| Place {
        name: listed.name.parse().ok(),
        host: None,
        standing: Standing::Unmanaged(listed.id),
        leaves: false,
    });
    of_topology.chain(unmanaged).collect()
}

/// Members that the cluster lists, and that neither the file nor the roster has.
pub(crate) fn unmanaged<'a>(target: &Target, seen: &'a Observation) -> Vec<&'a ListedMember> {
    let Some(view) = ClusterView::confirmed(seen) else {
        return Vec::new();
    };
    let topology = &target.topology;
    let members = topology.members.iter();
    let of_file = members.filter_map(|member| entry(topology, seen, &view, member));
    let leaving = topology.leaving.iter();
    let leaving =
        leaving.filter_map(|leaving| leaving_entry(&target.topology, seen, &view, leaving));
    let known: BTreeSet<MemberId> = of_file.chain(leaving).map(|listed| listed.id).collect();
    let members = view.members();
    members
        .filter(|listed| !known.contains(&listed.id))
        .collect()
}

/// How a member of the file stands, or one that should go.
pub(crate) fn standing(
    target: &Target,
    seen: &Observation,
    bootstrap: Bootstrap,
    member: &Member,
) -> Standing {
    let view = ClusterView::confirmed(seen);
    let listed = view
        .as_ref()
        .and_then(|view| entry(&target.topology, seen, view, member));
    if let Some(view) = &view {
        let Some(listed) = listed else {
            return unlisted(seen, member);
        };
        // Added again while the data of its former membership is there.
        if !view.has_started(listed) && is_former(seen, view, member) {
            return unlisted(seen, member);
        }
    }
    if let Some(host) = seen.host(&member.host)
        && let Some(lost) = lost(
            target,
            seen,
            bootstrap,
            member,
            host,
            (view.as_ref(), listed),
        )
    {
        return lost;
    }
    match (&view, listed) {
        (Some(view), Some(listed)) => by_list(seen, view, member, listed),
        _ => added_without_quorum(target, seen, member)
            .unwrap_or_else(|| unconfirmed(seen, bootstrap, member)),
    }
}

/// Whether its data is of this cluster, and of an ID that the list has no more.
pub(crate) fn is_former(seen: &Observation, view: &ClusterView<'_>, member: &Member) -> bool {
    data_id(seen, view, member).is_some_and(|id| view.member(id).is_none())
}

/// Added as a voter to a cluster that has no quorum without it: no list is confirmed, and it must
/// start before one can be. Only where every list has it so and no host remembers it.
fn added_without_quorum(target: &Target, seen: &Observation, member: &Member) -> Option<Standing> {
    let host = seen.host(&member.host)?;
    if has_data(seen, member) || recorded(host, member).is_some() {
        return None;
    }
    let url = target.topology.peer_url(member).to_string();
    let views = seen.known_members();
    let lists: Vec<_> = views
        .filter(|view| !view.listed.is_empty())
        .map(|view| {
            let mut listed = view.listed.iter();
            listed.find(|listed| listed.peer_urls.contains(&url))
        })
        .collect();
    let first = lists.first().copied().flatten()?;
    let same = |listed: &Option<&ListedMember>| {
        listed.is_some_and(|listed| listed.id == first.id && listed.added())
    };
    lists.iter().all(same).then_some(Standing::Added {
        id: first.id,
        learner: first.learner,
    })
}

fn by_list(
    seen: &Observation,
    view: &ClusterView<'_>,
    member: &Member,
    listed: &ListedMember,
) -> Standing {
    let id = listed.id;
    if !view.has_started(listed) {
        let learner = listed.learner;
        // A bootstrap knows every name beforehand; one that was added tells its own once it runs.
        return if listed.added() {
            Standing::Added { id, learner }
        } else {
            Standing::Bootstrapped(id)
        };
    }
    let answer = seen.member(&member.name);
    if listed.learner {
        return Standing::Learner {
            id,
            behind: answer.map(|own| view.newest() - own.raft_index),
        };
    }
    Standing::Voter {
        id,
        healthy: seen.is_healthy_voter(&member.name),
    }
}

/// The list, which a quorum confirms, does not have it.
fn unlisted(seen: &Observation, member: &Member) -> Standing {
    let Some(host) = seen.host(&member.host) else {
        return Standing::Unknown(format!("{} was not observed", member.host));
    };
    let runs = host.processes.contains_key(&member.name);
    let data = has_data(seen, member);
    if runs || data || recorded(host, member).is_some() {
        Standing::Removed { runs, data }
    } else {
        Standing::New
    }
}

/// No quorum confirms a list: its data says who it is.
fn unconfirmed(seen: &Observation, bootstrap: Bootstrap, member: &Member) -> Standing {
    let Some(host) = seen.host(&member.host) else {
        return Standing::Unknown(format!("{} was not observed", member.host));
    };
    match host.data.get(&member.layout.data) {
        Some(DataDir::Member(DataIdentity { member: id, .. })) => {
            let own = seen.member(&member.name);
            if own.is_some_and(|own| own.learner) {
                Standing::Learner {
                    id: *id,
                    behind: None,
                }
            } else {
                Standing::Voter {
                    id: *id,
                    healthy: seen.is_healthy_voter(&member.name),
                }
            }
        }
        Some(DataDir::Foreign) => {
            Standing::Unknown(format!("{} holds something else", member.layout.data))
        }
        Some(DataDir::Absent | DataDir::Empty) if bootstrap != Bootstrap::Complete => Standing::New,
        Some(DataDir::Absent | DataDir::Empty) | None => {
            Standing::Unknown("it has no data, and no member answers for it".to_owned())
        }
    }
}

fn recorded<'a>(host: &'a HostView, member: &Member) -> Option<&'a RecordedMember> {
    host.record()?.members.get(&member.etcd_name)
}

/// A member that has lost its data, with what shows it.
fn lost(
    target: &Target,
    seen: &Observation,
    bootstrap: Bootstrap,
    member: &Member,
    host: &HostView,
    (view, listed): (Option<&ClusterView<'_>>, Option<&ListedMember>),
) -> Option<Standing> {
    let lost = |id: Option<MemberId>, why: String| Some(Standing::Lost { id, why });
    let path = &member.layout.data;
    // Removed and added again since: the record is of a former membership.
    // Only a list says so: by the data alone it may be a copy of a member whose host is away.
    let replaced =
        |recorded: &&RecordedMember| listed.is_some_and(|listed| listed.id != recorded.id);
    let recorded = recorded(host, member).filter(|recorded| !replaced(recorded));
    if matches!(host.data.get(path), Some(DataDir::Member(_))) {
        // The kubelet and systemd restart etcd on an emptied directory within seconds, so that it
        // looks like data again.
        let recorded = recorded?;
        let mark = host.marks.get(path);
        // Mark and record are not written in one step. A member that serves under its recorded ID
        // on marked data is not lost.
        let healthy = seen
            .member(&member.name)
            .is_some_and(|view| view.served.known().is_some() && view.id == recorded.id);
        if mark == Some(&recorded.mark) || healthy && mark.is_some() {
            return None;
        }
        let why = format!(
            "{path} on {} is not the directory that member {} ran on: it was emptied and filled again",
            member.host, recorded.id
        );
        return lost(Some(recorded.id), why);
    }
    // Removed from the list since: what is left to do is to add it, and that it is not listed has
    // its own finding.
    let removed =
        |recorded: &&RecordedMember| view.is_some_and(|view| view.member(recorded.id).is_none());
    if let Some(recorded) = recorded.filter(|recorded| !removed(recorded)) {
        let why = format!(
            "member {} was healthy on this host, and {path} on {} is empty or missing",
            recorded.id, member.host
        );
        return lost(Some(recorded.id), why);
    }
    match (view, listed) {
        (Some(view), Some(listed)) if view.has_started(listed) => {
            let why = format!(
                "member {} has started before, and {path} on {} is empty or missing",
                listed.id, member.host
            );
            lost(Some(listed.id), why)
        }
        (Some(_), _) => None,
        // A file that has grown names members that never were: those that have data start first,
        // and their list decides.
        (None, _) if bootstrap == Bootstrap::Complete && was_member(target, seen, member) => {
            let why = format!(
                "the cluster was bootstrapped before, and {path} on {} is empty or missing",
                member.host
            );
            lost(None, why)
        }
        (None, _) => None,
    }
}

/// The members of the file that are known to be the cluster's while no list says so: those that
/// have data, and those that others' start files name.
pub(crate) fn known_members<'a>(target: &'a Target, seen: &Observation) -> Vec<&'a Member> {
    let members = target.topology.members.iter();
    let known = |member: &&Member| has_data(seen, member) || was_member(target, seen, member);
    members.filter(known).collect()
}

/// Whether a member without data was one when the cluster was last seen whole: what starts the
/// others names it. Where nobody has data it is taken for one.
fn was_member(target: &Target, seen: &Observation, member: &Member) -> bool {
    let url = target.topology.peer_url(member).to_string();
    let mut others = target
        .topology
        .members
        .iter()
        .filter(|other| has_data(seen, other))
        .peekable();
    if others.peek().is_none() {
        return true;
    }
    others.any(|other| {
        let Some(host) = seen.host(&other.host) else {
            return false;
        };
        let start = &target.desired(other).settled.path;
        let file = host.files.get(start);
        let text = file.and_then(|file| file.text.as_deref());
        let flags = match (host.processes.get(&other.name), text) {
            (Some(process), _) => process.flags.clone(),
            (None, Some(text)) => read_flags(member, text),
            // The file that this target writes.
            (None, None) => {
                let (sum, wanted) = (
                    file.and_then(|file| file.sha256.as_deref()),
                    target.desired(other),
                );
                return sum
                    .is_some_and(|sum| wanted.is_fresh(sum) || wanted.sum(start) == Some(sum));
            }
        };
        let listed = flags.get("initial-cluster").unwrap_or_default();
        // Of a bootstrap by SRV records nothing is known.
        listed.is_empty()
            || listed
                .split(',')
                .any(|one| one.ends_with(&format!("={url}")))
    })
}
