//! Leader, health and lag.

use etcdup_core::membership::MemberId;
use std::collections::BTreeSet;

use etcdup_core::finding::{Check, Finding};
use etcdup_core::observed::Observed;

use super::evidence::Evidence;

pub(super) const LEADER: Check = Check {
    id: "leader",
    title: "all members agree on one leader",
    about: "Every member follows the same leader in the same term. Without a leader nothing is written; two answers mean a \
            partition.",
    advice: "see that peers reach each other, and look at their logs",
};
pub(super) const HEALTH: Check = Check {
    id: "health",
    title: "every voter commits",
    about: "A linearizable read of the key `health` goes through each voter, which a quorum must confirm; it is what \
            `etcdctl endpoint health` asks.",
    advice: "look at the member's log and its host",
};
pub(super) const LAG: Check = Check {
    id: "raft-lag",
    title: "no voter lags behind",
    about: "A voter more than 1,000 raft entries behind the leader is slow, or catching up after an absence. With one more \
            loss the cluster would wait for it.",
    advice: "look at the member's disk and network",
};
pub(super) const LEARNERS: Check = Check {
    id: "learner-lag",
    title: "learners have caught up",
    about: "A learner that has 90 % of the leader's log can be promoted; one that stays behind never will.",
    advice: "promote it with `etcdctl member promote`, or look at its log",
};

const MOST_LAG: u64 = 1000;

pub(super) fn leader(check: &Check, evidence: &Evidence<'_>) -> Vec<Finding> {
    let leaders: BTreeSet<Option<MemberId>> = evidence
        .answered()
        .map(|(_, member)| member.view.leader)
        .collect();
    match leaders.iter().copied().collect::<Vec<_>>()[..] {
        [] => vec![check.error("cluster", "no member answers")],
        [None] => vec![check.error("cluster", "no member knows a leader")],
        [Some(leader)] => {
            let name = evidence
                .answered()
                .find(|(_, member)| member.view.id == leader)
                .map(|(name, _)| name.to_string());
            let name = name.unwrap_or_else(|| leader.to_string());
            let terms: BTreeSet<u64> = evidence
                .answered()
                .map(|(_, member)| member.view.term)
                .collect();
            match terms.iter().copied().collect::<Vec<_>>()[..] {
                [term] => vec![check.pass("cluster", format!("{name} leads in term {term}"))],
                // An election between two answers looks the same.
                _ => vec![check.warning(
                    "cluster",
                    format!("{name} leads, and members are in the terms {terms:?}; verify again"),
                )],
            }
        }
        _ => {
            let views = evidence
                .answered()
                .map(|(name, member)| match member.view.leader {
                    Some(leader) => format!("{name} follows {leader}"),
                    None => format!("{name} follows nobody"),
                })
                .collect::<Vec<_>>();
            vec![check.error("cluster", views.join(", "))]
        }
    }
}

pub(super) fn health(check: &Check, evidence: &Evidence<'_>) -> Vec<Finding> {
    let one = |name, member: &Observed<crate::gather::MemberEvidence>| match member {
        Observed::Unknown(unseen) => check.error(name, unseen.why.clone()),
        Observed::Known(member) => match &member.view.served {
            _ if member.view.learner => check.pass(name, "is a learner"),
            Observed::Known(served) => check.pass(
                name,
                format!(
                    "committed a proposal in {:.1} ms",
                    served.took.as_secs_f64() * 1000.0
                ),
            ),
            Observed::Unknown(unseen) => check.error(name, unseen.why.clone()),
        },
    };
    evidence
        .members
        .iter()
        .map(|(name, member)| one(name, member))
        .collect()
}

pub(super) fn lag(check: &Check, evidence: &Evidence<'_>) -> Vec<Finding> {
    let newest = evidence
        .answered()
        .map(|(_, member)| member.view.raft_index)
        .max()
        .unwrap_or(0);
    let mut findings = Vec::new();
    for (name, member) in evidence
        .answered()
        .filter(|(_, member)| !member.view.learner)
    {
        let behind = newest.saturating_sub(member.view.applied_index);
        if behind > MOST_LAG {
            findings.push(check.warning(name, format!("{behind} entries behind")));
        }
    }
    if findings.is_empty() {
        findings.push(check.pass(
            "cluster",
            format!("all within {MOST_LAG} entries of {newest}"),
        ));
    }
    findings
}

pub(super) fn learners(check: &Check, evidence: &Evidence<'_>) -> Vec<Finding> {
    let newest = evidence
        .answered()
        .map(|(_, member)| member.view.raft_index)
        .max()
        .unwrap_or(0);
    let learners = evidence
        .answered()
        .filter(|(_, member)| member.view.learner);
    let findings: Vec<Finding> = learners
        .map(|(name, member)| {
            let ready = member.view.raft_index.saturating_mul(10) >= newest.saturating_mul(9);
            let words = format!("has {} of {newest} entries", member.view.raft_index);
            if ready {
                check.pass(name, words)
            } else {
                check.warning(name, words)
            }
        })
        .collect();
    if findings.is_empty() {
        vec![check.pass("cluster", "there are no learners")]
    } else {
        findings
    }
}
