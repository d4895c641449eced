//! Time synchronisation, before anything that depends on clocks.

use std::collections::BTreeMap;

use etcdup_core::stage::{HostStep, Impact, Stage, StageKey, Work};

use crate::plan_context::{Rule, World};

/// Sets time synchronisation up on every host that has none running, those that are no members too.
pub(crate) fn synchronise(world: &World<'_>) -> Rule {
    let topology = &world.target.topology;
    if topology.time.is_none() {
        return Rule::Pass;
    }
    let without: Vec<_> = topology
        .hosts
        .keys()
        .filter(|host| {
            let view = world.seen.host(host);
            view.is_some_and(|view| view.facts.time_service.is_none())
        })
        .collect();
    if without.is_empty() {
        return Rule::Pass;
    }
    let tasks = without
        .iter()
        .map(|host| ((*host).clone(), vec![HostStep::TimeSync]))
        .collect::<BTreeMap<_, _>>();
    Rule::Do(Stage {
        key: StageKey::new("time", None),
        title: "set up time synchronisation".to_owned(),
        why: without
            .iter()
            .map(|host| format!("{host}: nothing keeps its clock right"))
            .collect(),
        impact: Impact::None,
        before: Vec::new(),
        work: Work::Hosts(tasks),
        settle: Vec::new(),
    })
}
