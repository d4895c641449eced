//! Waiting for members that run as they should and are not healthy yet.

use std::collections::BTreeMap;

use etcdup_core::stage::{Impact, Stage, StageKey, Work};

use crate::assess::Assessment;
use crate::plan_context::{Rule, World};
use crate::rules::restart::{all_seen, is_learner};

/// Waits for members that run as they should and do not serve yet: an election, or a snapshot on its way.
pub(crate) fn wait(world: &World<'_>) -> Rule {
    let waiting: Vec<&Assessment<'_>> = world
        .members
        .iter()
        .filter(|member| !member.serves && member.process.is_some())
        // A learner answers no read that a quorum confirms, however long it is waited for.
        .filter(|member| !is_learner(world, member))
        .collect();
    if waiting.is_empty() {
        return Rule::Pass;
    }
    Rule::Do(Stage {
        key: StageKey::new("wait", None),
        title: "wait for running members to become healthy".to_owned(),
        why: waiting
            .iter()
            .map(|member| format!("{}: runs and is not healthy yet", member.member.name))
            .collect(),
        impact: Impact::None,
        before: Vec::new(),
        work: Work::Hosts(BTreeMap::new()),
        settle: all_seen(world),
    })
}
