//! Stages that are steps on hosts and wait for nothing.

use std::collections::BTreeMap;

use etcdup_core::host::HostId;
use etcdup_core::stage::{HostStep, Impact, Next, Rule, Stage, StageKey, Work};

pub(crate) fn stage(
    rule: Rule,
    title: String,
    why: Vec<String>,
    impact: Impact,
    tasks: BTreeMap<HostId, Vec<HostStep>>,
) -> Next {
    Next::Stage(Box::new(Stage {
        title,
        why,
        impact,
        ..on_hosts(rule, tasks)
    }))
}

/// The same without a word about it yet.
pub(crate) fn on_hosts(rule: Rule, tasks: BTreeMap<HostId, Vec<HostStep>>) -> Stage {
    Stage {
        key: StageKey::new(rule, None),
        title: String::new(),
        why: Vec::new(),
        impact: Impact::None,
        preconditions: Vec::new(),
        work: Work::Hosts(tasks),
        postconditions: Vec::new(),
    }
}
