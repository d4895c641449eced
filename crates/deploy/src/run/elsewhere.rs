//! A cluster that this machine made on other hosts: the file names none of them any more, and its
//! new hosts know nothing of it.

use std::collections::BTreeSet;

use etcdup_core::file::KeyPath;
use etcdup_core::finding::{Check, Finding};
use etcdup_core::host::HostId;
use etcdup_core::operation::{OperationState, Verb};
use etcdup_core::stage::{Goal, Rule};

use crate::plan::Plan;
use crate::store::Store;

pub(crate) const ELSEWHERE: Check = Check {
    id: "cluster-elsewhere",
    title: "the cluster was made on other hosts",
    about: "By the operations that are recorded here etcdup made, or changed, a cluster of this name on other hosts, and the file names \
            none of them. No host of the file knows it, so that a second cluster would begin, empty, beside the first.",
    advice: "to move the cluster, keep one of its members in the file until the new ones have joined; if it is gone for good, move \
             .etcdup/operations aside",
};

/// What stands in the way of a bootstrap, by what was done from here before.
pub(crate) fn elsewhere(plan: &Plan, store: &Store) -> Option<Finding> {
    let stages = &plan.forecast.stages;
    if !stages.iter().any(|stage| stage.key.rule == Rule::Bootstrap) {
        return None;
    }
    let topology = plan.planner.topology();
    // A store that cannot be read says nothing; that it cannot be written has an error of its own.
    let operations = store.list().ok()?;
    let mut done = operations.into_iter().filter(|one| {
        one.record.cluster == topology.cluster && one.record.state == OperationState::Done
    });
    let hosts = done.find_map(|one| {
        if one.record.verb == Verb::Reset {
            // It was taken down: whatever comes next is another.
            return Some(BTreeSet::new());
        }
        let stages = store.plan(&one.record.id).ok()?.stages;
        let hosts = stages.into_iter().flat_map(|stage| stage.scope.hosts);
        let hosts: BTreeSet<HostId> = hosts.collect();
        (!hosts.is_empty()).then_some(hosts)
    })?;
    let same = |host: &HostId| topology.hosts.contains_key(host);
    if hosts.is_empty() || hosts.iter().any(same) {
        return None;
    }
    let names: Vec<&str> = hosts.iter().map(HostId::as_str).collect();
    let evidence = format!("it was last changed on {}", names.join(", "));
    // What is restored is another cluster by its ID, and the one before is gone as a rule.
    let finding = match matches!(plan.planner.goal(), Goal::Restore { .. }) {
        true => ELSEWHERE
            .warning(&topology.cluster, evidence)
            .advise("make sure that none of its members comes back: clients that know them would read old data"),
        false => ELSEWHERE.error(&topology.cluster, evidence),
    };
    Some(finding.at(KeyPath::root("member")))
}
