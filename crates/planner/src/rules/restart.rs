//! How a member restarts, and what proves that it did.

use std::time::Duration;

use etcdup_core::name::MemberName;
use etcdup_core::stage::{Condition, Gate, HostStep, limits};
use etcdup_core::topology::Member;

use crate::assess::Assessment;
use crate::identity::Start;
use crate::plan_context::PlanContext;
use crate::rules::relocate;
use crate::target::Target;

/// A member serves. A pod takes longer than a unit: the kubelet looks now and then, and may have to
/// pull an image.
pub(crate) fn serves(target: &Target, name: &MemberName) -> Gate {
    let mut gate = Gate::serves(name);
    if target.is_or_becomes_pod(name) {
        gate.within = limits::POD_SERVES;
    }
    gate
}

/// Every member whose host was seen serves: the others cannot be waited for.
pub(crate) fn all_seen(context: &PlanContext<'_>) -> Vec<Gate> {
    let serves = |member: &Assessment<'_>| serves(context.target, &member.member.name);
    // Those that wait for others to serve first are not waited for in turn.
    let runs = |member: &&Assessment<'_>| {
        (member.process.is_some() || member.starts != Start::Later)
            && member.takes_part()
            && !member.standing.is_learner()
            && !member.to_join
    };
    context.members.iter().filter(runs).map(serves).collect()
}

/// The member's etcd listens on its peer port.
pub(crate) fn listens(member: &Assessment<'_>, within: Duration) -> Gate {
    Gate {
        condition: Condition::Listens {
            member: member.member.name.clone(),
            host: member.member.host.clone(),
            port: member.member.ports.peer,
        },
        within,
    }
}

/// The gates after a restart: of a pod first of all that it is the new one.
pub(crate) fn after_restart(context: &PlanContext<'_>, member: &Assessment<'_>) -> Vec<Gate> {
    let renewed = member
        .process
        .filter(|_| member.member.layout.is_pod())
        // Its process is a unit's from then on.
        .filter(|_| context.target.there(&member.member.name).is_none())
        .map(|process| Gate {
            condition: Condition::PodReplaced {
                member: member.member.name.clone(),
                host: member.member.host.clone(),
                before: process.pid,
            },
            within: limits::POD_SERVES,
        });
    renewed.into_iter().chain(all_seen(context)).collect()
}

/// Writes what differs, then stops a member and starts it, or just starts it; where the file has it
/// elsewhere, there.
pub(crate) fn restart_steps(context: &PlanContext<'_>, member: &Assessment<'_>) -> Vec<HostStep> {
    // Without a quorum members start as they ran: it is no time to try what may not start.
    let elsewhere = relocate::steps(context.target, context.seen, member);
    if let Some(steps) = elsewhere.filter(|_| context.view.is_some()) {
        return steps;
    }
    let layout = &member.member.layout;
    let mut steps: Vec<HostStep> = member
        .files
        .iter()
        .filter(|(artifact, _)| !layout.is_pod() || artifact.path != layout.manifest)
        .map(|(artifact, _)| HostStep::File(artifact.clone().into_owned()))
        .collect();
    // A run that was cut between the two has written the unit, and systemd starts the old one.
    let unit = member.host.units.get(&layout.unit);
    let unread = unit.is_some_and(|unit| unit.needs_reload);
    if layout.is_systemd() && (unread || !steps.is_empty()) {
        steps.push(HostStep::Reload);
    }
    steps.extend(start_steps(member));
    steps
}

/// Stops a member and starts it, or just starts it, its files being right.
pub(crate) fn start_steps(member: &Assessment<'_>) -> Vec<HostStep> {
    let layout = &member.member.layout;
    let mut steps = Vec::new();
    if layout.is_pod() {
        let changes = member
            .files
            .iter()
            .any(|(artifact, _)| artifact.path == layout.manifest);
        let there = member.host.files.contains_key(&layout.manifest);
        if there && !changes {
            // The kubelet looks at the file alone: the same once more would change nothing.
            steps.push(HostStep::BouncePod {
                manifest: layout.manifest.clone(),
                data: layout.data.clone(),
                ended: member.process.is_none(),
            });
        } else {
            steps.push(HostStep::Pod(member.start.clone().into_owned()));
        }
        return steps;
    }
    steps.extend(restart(member.member));
    steps
}

/// Stops a member that is no pod and starts it by its start file, or just starts it.
pub(crate) fn restart(member: &Member) -> Vec<HostStep> {
    let layout = &member.layout;
    if layout.is_systemd() {
        return vec![HostStep::Restart(layout.unit.clone())];
    }
    vec![
        HostStep::StopProcess {
            pid_file: layout.pid_file.clone(),
            data: layout.data.clone(),
        },
        HostStep::spawn(member),
    ]
}
