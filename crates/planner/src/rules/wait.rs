//! Waiting for members that run as they should and are not healthy yet.

use std::collections::BTreeMap;

use etcdup_core::finding::{Check, Finding};
use etcdup_core::membership::{ClusterView, quorum_of};
use etcdup_core::observation::ListedMember;
use etcdup_core::stage::{Impact, Rule, Stage, StageKey, Work};

use crate::assess::Assessment;
use crate::plan_context::{Decision, PlanContext};
use crate::rules::restart::all_seen;

pub(crate) const CHECKS: &[Check] = &[QUORUM_LOST];

const QUORUM_LOST: Check = Check {
    id: "quorum-lost",
    title: "too few members are left for a quorum",
    about: "By the file so many voters are gone for good that those that are left are no quorum: they can agree to nothing, not even to \
            remove the others.",
    advice: "bring one of their hosts back and take absent = \"gone\" off it; if none can be, run `etcdup recover`, which goes on with one \
             member that has its data, or `etcdup restore` with a snapshot",
};

/// Waits for members that run as they should and do not serve yet: an election, or a snapshot on
/// its way.
pub(crate) fn wait(context: &PlanContext<'_>) -> Decision {
    let waiting: Vec<&Assessment<'_>> = context
        .members
        .iter()
        .filter(|member| !member.serves && member.process.is_some())
        // A learner answers no read that a quorum confirms, however long it is waited for.
        .filter(|member| !member.standing.is_learner() && member.takes_part())
        .collect();
    if waiting.is_empty() {
        return Decision::Continue;
    }
    if let Some(finding) = quorum_lost(context) {
        return Decision::Block(vec![finding]);
    }
    Decision::run(Stage {
        key: StageKey::new(Rule::Wait, None),
        title: "wait for running members to become healthy".to_owned(),
        why: waiting
            .iter()
            .map(|member| format!("{}: runs and is not healthy yet", member.member.name))
            .collect(),
        impact: Impact::None,
        preconditions: Vec::new(),
        work: Work::Hosts(BTreeMap::new()),
        postconditions: all_seen(context),
    })
}

/// Where even all that are left could agree to nothing, however long they are waited for.
fn quorum_lost(context: &PlanContext<'_>) -> Option<Finding> {
    if context.view.is_some() {
        return None;
    }
    let topology = &context.target.topology;
    let view = ClusterView::any(context.seen)?;
    let is_gone = |listed: &&ListedMember| {
        let mut leaving = topology.leaving.iter().filter(|leaving| leaving.gone);
        leaving.any(|leaving| {
            let url = topology.peer_url(&leaving.member).to_string();
            leaving.id == Some(listed.id) || listed.peer_urls.contains(&url)
        })
    };
    let voters: Vec<&ListedMember> = view.members().filter(|listed| !listed.learner).collect();
    let gone = voters
        .iter()
        .copied()
        .filter(|listed| is_gone(listed))
        .count();
    let (all, left) = (voters.len(), voters.len() - gone);
    let evidence =
        format!("{gone} of {all} voters are gone for good; {left} cannot agree to anything");
    (left < quorum_of(all)).then(|| QUORUM_LOST.error("cluster", evidence))
}
