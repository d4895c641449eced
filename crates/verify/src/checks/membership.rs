//! Whether the cluster's members are those of the file.

use etcdup_core::membership::MemberId;
use std::collections::BTreeSet;

use etcdup_core::finding::{Check, Finding};
use etcdup_core::topology::MemberPlace;

use super::evidence::Evidence;

pub(super) const MEMBERS: Check = Check {
    id: "members",
    title: "the members are those of the file",
    about: "The member list of every member names exactly the peer URLs of the file.",
    advice: "`etcdctl member list` shows the cluster's view; bring the file and the cluster together",
};
pub(super) const STARTED: Check = Check {
    id: "members-started",
    title: "every member has started",
    about: "A member that was announced and has never started counts as a voter that is down. A learner that never started \
            blocks every later join (kubeadm issues 2997 and 3269).",
    advice: "look at the member's log, then run `etcdup apply`",
};

pub(super) const ROSTER: Check = Check {
    id: "roster",
    title: "every host record knows the members",
    about: "The roster in each host's record has every member of the cluster's list and no other: it leads to a member that the file \
            no longer names, and says who belongs together when nobody answers.",
    advice: "run `etcdup apply`, which brings the records up to date",
};

pub(super) fn members(check: &Check, evidence: &Evidence<'_>) -> Vec<Finding> {
    let topology = evidence.topology;
    let wanted: BTreeSet<String> = topology
        .members
        .iter()
        .map(|member| topology.peer_url(member).to_string())
        .collect();
    let mut findings = Vec::new();
    // A learner does not answer for the list.
    let voters = evidence
        .answered()
        .filter(|(_, member)| !member.view.learner);
    for (name, member) in voters {
        let listed: BTreeSet<String> = member
            .view
            .listed
            .iter()
            .flat_map(|listed| listed.peer_urls.clone())
            .collect();
        let missing: Vec<_> = wanted.difference(&listed).cloned().collect();
        let surplus: Vec<_> = listed.difference(&wanted).cloned().collect();
        if !missing.is_empty() || !surplus.is_empty() {
            let evidence = format!(
                "{name} does not know [{}] and knows [{}] beside the file",
                missing.join(", "),
                surplus.join(", ")
            );
            findings.push(check.error(name, evidence));
        }
    }
    if findings.is_empty() {
        findings.push(check.pass(
            "cluster",
            match wanted.len() {
                1 => "1 member, as in the file".to_owned(),
                more => format!("{more} members, as in the file"),
            },
        ));
    }
    findings
}

/// Where etcdup keeps records: a cluster that was adopted and never changed has none.
pub(super) fn roster(check: &Check, evidence: &Evidence<'_>) -> Vec<Finding> {
    let mut voters = evidence.answered();
    let Some((_, teller)) = voters.find(|(_, member)| !member.view.learner) else {
        return Vec::new();
    };
    let listed: BTreeSet<MemberId> = teller.view.listed.iter().map(|one| one.id).collect();
    let members = evidence.topology.members.iter();
    let records = members.filter_map(|member| {
        let record = evidence.seen.host(&member.host)?.record()?;
        (record.cluster.is_some() && !record.roster.is_empty()).then_some((&member.host, record))
    });
    let mut findings = Vec::new();
    let mut known = 0;
    for (host, record) in records {
        known += 1;
        let named: BTreeSet<MemberId> = record.roster.iter().filter_map(|one| one.id).collect();
        // It leads to hosts: where it has a member counts as much as who it is.
        let places = record.roster.iter().all(|known| {
            let mut members = evidence.topology.members.iter();
            members.any(|member| MemberPlace::of(member) == known.place)
        });
        if named != listed || named.len() != record.roster.len() || !places {
            let names = record.roster.iter().map(|one| one.place.name.as_str());
            let names: Vec<&str> = names.collect();
            let evidence = format!(
                "the record on {host} has {}, not the {} members that the cluster lists, where the file has them",
                names.join(", "),
                listed.len()
            );
            findings.push(check.warning(host, evidence));
        }
    }
    if findings.is_empty() && known > 0 {
        findings.push(check.pass("cluster", "every record has the members of the list"));
    }
    findings
}

pub(super) fn started(check: &Check, evidence: &Evidence<'_>) -> Vec<Finding> {
    let waiting: BTreeSet<(MemberId, String)> = evidence
        .answered()
        .flat_map(|(_, member)| &member.view.listed)
        .filter(|listed| !listed.started())
        // One that answers has started, though another member's list may not have its client URLs
        // yet.
        .filter(|listed| evidence.answered().all(|(_, own)| own.view.id != listed.id))
        .map(|listed| (listed.id, listed.peer_urls.join(", ")))
        .collect();
    let mut findings: Vec<Finding> = waiting
        .into_iter()
        .map(|(id, urls)| check.error(id, format!("the member at {urls} has never started")))
        .collect();
    if findings.is_empty() {
        findings.push(check.pass("cluster", "all have started"));
    }
    findings
}
