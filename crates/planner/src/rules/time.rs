//! Time synchronization, before anything that depends on clocks.

use std::collections::BTreeMap;

use etcdup_core::stage::{HostStep, Impact, Rule, Stage, StageKey, Work};

use crate::plan_context::{Decision, PlanContext};

/// Sets time synchronization up on every host that has none running, those that are no members too.
pub(crate) fn synchronize(context: &PlanContext<'_>) -> Decision {
    let topology = &context.target.topology;
    if topology.time.is_none() {
        return Decision::Continue;
    }
    let without: Vec<_> = topology
        .hosts
        .keys()
        .filter(|host| {
            let view = context.seen.host(host);
            view.is_some_and(|view| view.facts.time_service.is_none())
        })
        .collect();
    if without.is_empty() {
        return Decision::Continue;
    }
    let tasks = without
        .iter()
        .map(|host| ((*host).clone(), vec![HostStep::TimeSync]))
        .collect::<BTreeMap<_, _>>();
    Decision::run(Stage {
        key: StageKey::new(Rule::Time, None),
        title: "set up time synchronization".to_owned(),
        why: without
            .iter()
            .map(|host| format!("{host}: no time synchronization service is running"))
            .collect(),
        impact: Impact::None,
        preconditions: Vec::new(),
        work: Work::Hosts(tasks),
        postconditions: Vec::new(),
    })
}
