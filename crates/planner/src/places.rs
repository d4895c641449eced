//! How every member that anyone knows of stands with the cluster: judged once, and asked by every
//! rule.

use std::collections::BTreeSet;

use etcdup_core::membership::{ClusterView, MemberId, Place, Standing};
use etcdup_core::name::MemberName;
use etcdup_core::observation::{
    DataDir, DataIdentity, HostView, ListedMember, Observation, RecordedMember,
};
use etcdup_core::topology::Member;

use crate::identity::{Bootstrap, has_data};
use crate::target::Target;

/// The members of the file, then those that only the cluster's list has.
pub(crate) fn places(target: &Target, seen: &Observation, bootstrap: Bootstrap) -> Vec<Place> {
    let of_file = target.topology.members.iter().map(|member| Place {
        name: Some(member.name.clone()),
        host: Some(member.host.clone()),
        standing: standing(target, seen, bootstrap, member),
    });
    let unmanaged = unmanaged(target, seen).into_iter().map(|listed| Place {
        name: listed.name.parse().ok(),
        host: None,
        standing: Standing::Unmanaged(listed.id),
    });
    of_file.chain(unmanaged).collect()
}

/// Members that the cluster lists and the file does not have: by peer URLs, for names are free to
/// repeat.
pub(crate) fn unmanaged<'a>(target: &Target, seen: &'a Observation) -> Vec<&'a ListedMember> {
    let urls: Vec<String> = target
        .topology
        .members
        .iter()
        .map(|member| target.topology.peer_url(member).to_string())
        .collect();
    let unknown = |listed: &&ListedMember| !listed.peer_urls.iter().any(|url| urls.contains(url));
    ClusterView::confirmed(seen)
        .map(|view| view.members().filter(unknown).collect())
        .unwrap_or_default()
}

/// The members of the file that the cluster lists.
pub(crate) fn listed(target: &Target, view: &ClusterView<'_>) -> BTreeSet<MemberName> {
    let members = target.topology.members.iter();
    let listed = members.filter(|member| {
        let url = target.topology.peer_url(member).to_string();
        view.at(&url).is_some()
    });
    listed.map(|member| member.name.clone()).collect()
}

/// How a member of the file stands.
pub(crate) fn standing(
    target: &Target,
    seen: &Observation,
    bootstrap: Bootstrap,
    member: &Member,
) -> Standing {
    let view = ClusterView::confirmed(seen);
    let url = target.topology.peer_url(member).to_string();
    let listed = view.as_ref().and_then(|view| view.at(&url));
    if let Some(host) = seen.host(&member.host)
        && let Some(lost) = lost(seen, bootstrap, member, host, (view.as_ref(), listed))
    {
        return lost;
    }
    match (&view, listed) {
        (Some(view), Some(listed)) => by_list(seen, view, member, listed),
        (Some(_), None) => unlisted(seen, member),
        (None, _) => unconfirmed(seen, bootstrap, member),
    }
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
    host.record()?.members.get(&member.name)
}

/// A member that has lost its data, with what shows it.
fn lost(
    seen: &Observation,
    bootstrap: Bootstrap,
    member: &Member,
    host: &HostView,
    (view, listed): (Option<&ClusterView<'_>>, Option<&ListedMember>),
) -> Option<Standing> {
    let lost = |id: Option<MemberId>, why: String| Some(Standing::Lost { id, why });
    let path = &member.layout.data;
    // Removed and added again since: the record is of a former membership.
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
        (None, _) if bootstrap == Bootstrap::Complete => {
            let why = format!(
                "the cluster was bootstrapped before, and {path} on {} is empty or missing",
                member.host
            );
            lost(None, why)
        }
        (None, _) => None,
    }
}
