//! Whether the cluster's members are those of the file.

use etcdup_core::membership::MemberId;
use std::collections::BTreeSet;

use etcdup_core::finding::{Check, Finding};

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
