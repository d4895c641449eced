//! Waiting for members that run as they should and are not healthy yet.

use std::collections::BTreeMap;

use etcdup_core::stage::{Impact, Rule, Stage, StageKey, Work};

use crate::assess::Assessment;
use crate::plan_context::{Decision, PlanContext};
use crate::rules::restart::all_seen;

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
