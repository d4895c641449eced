//! Starting what does not run, waiting for what runs and does not serve yet, and mending what needs no restart.

use std::collections::BTreeMap;
use std::time::Duration;

use etcdup_core::stage::{Gate, Holds, HostStep, Impact, Stage, StageKey, Work};
use etcdup_core::topology::HostId;

use crate::assess::{Assessment, Weight};
use crate::converge::{Rule, World};
use crate::identity::Formation;
use crate::planner::Planner;
use crate::preflight::unresolved;

/// Starts every member that does not run, all at once and without waiting on one another: etcd is ready only after it
/// has joined a quorum, so starting one after the other dead-locks (etcd issue 13526). A voter that does not serve may be
/// restarted at any time.
pub(crate) fn start(world: &World<'_>) -> Rule {
    let mut why = Vec::new();
    let mut tasks: BTreeMap<HostId, Vec<HostStep>> = BTreeMap::new();
    for member in world.members.iter().filter(|member| !member.serves) {
        let name = &member.member.name;
        let wrong = member
            .restart_reasons()
            .next()
            .map(|difference| format!("{} {}", difference.what, difference.why));
        let reason = match (member.process, wrong) {
            (None, _) => "does not run".to_owned(),
            // It answered that no quorum confirms its reads. One that was merely not seen may well serve others.
            (Some(_), Some(wrong)) if member.answers => {
                let names = unresolved(world.planner, member.member, member.host);
                if !names.is_empty() {
                    return Rule::Block(names);
                }
                format!("does not serve, and {wrong}")
            }
            (Some(_), _) => continue,
        };
        why.push(format!("{name}: {reason}"));
        tasks
            .entry(member.member.host.clone())
            .or_default()
            .extend(restart_steps(world.planner, member));
    }
    if tasks.is_empty() {
        return Rule::Pass;
    }
    let (title, impact) = match world.formation {
        Formation::Unborn => ("bootstrap the cluster", Impact::None),
        Formation::Forming => ("finish the bootstrap", Impact::None),
        Formation::Formed => ("start what does not serve", Impact::None),
    };
    Rule::Do(Stage {
        key: StageKey::new("start", None),
        title: title.to_owned(),
        why,
        impact,
        before: Vec::new(),
        work: Work::Hosts(tasks),
        settle: all_seen(world),
    })
}

/// Every member whose host was seen serves: the others cannot be waited for. A pod takes longer than a unit: the kubelet
/// looks now and then, and may have to pull an image.
pub(crate) fn all_seen(world: &World<'_>) -> Vec<Gate> {
    let serves = |member: &Assessment<'_>| {
        let mut gate = Gate::serves(&member.member.name);
        if world.planner.is_pod() {
            gate.within = POD;
        }
        gate
    };
    world.members.iter().map(serves).collect()
}

/// How long a pod may take to come up.
pub(crate) const POD: Duration = Duration::from_secs(240);

/// The gates after a restart: of a pod first of all that it is the new one.
pub(crate) fn after_restart(world: &World<'_>, member: &Assessment<'_>) -> Vec<Gate> {
    let renewed = member
        .process
        .filter(|_| world.planner.is_pod())
        .map(|process| Gate {
            holds: Holds::Renewed {
                member: member.member.name.clone(),
                host: member.member.host.clone(),
                before: process.pid,
            },
            within: POD,
        });
    renewed.into_iter().chain(all_seen(world)).collect()
}

/// Waits for members that run as they should and do not serve yet: an election, or a snapshot on its way.
pub(crate) fn wait(world: &World<'_>) -> Rule {
    let waiting: Vec<&Assessment<'_>> = world
        .members
        .iter()
        .filter(|member| !member.serves)
        .collect();
    if waiting.is_empty() {
        return Rule::Pass;
    }
    Rule::Do(Stage {
        key: StageKey::new("wait", None),
        title: "wait for members that run and do not serve yet".to_owned(),
        why: waiting
            .iter()
            .map(|member| format!("{}: runs and does not serve", member.member.name))
            .collect(),
        impact: Impact::None,
        before: Vec::new(),
        work: Work::Hosts(BTreeMap::new()),
        settle: all_seen(world),
    })
}

/// Mends, on every host at once, what needs no restart: before anybody is waited for, since a broken certificate may be
/// why a member does not serve.
pub(crate) fn touch_up(world: &World<'_>) -> Rule {
    let mut why = Vec::new();
    let mut tasks: BTreeMap<HostId, Vec<HostStep>> = BTreeMap::new();
    for member in &world.members {
        let steps = quiet_steps(world.planner, member);
        if steps.is_empty() {
            continue;
        }
        let quiet = member
            .differences()
            .filter(|difference| difference.weight == Weight::Quiet);
        why.extend(quiet.map(|difference| {
            format!(
                "{}: {} {}",
                member.member.name, difference.what, difference.why
            )
        }));
        tasks
            .entry(member.member.host.clone())
            .or_default()
            .extend(steps);
    }
    if tasks.is_empty() {
        return Rule::Pass;
    }
    Rule::Do(Stage {
        key: StageKey::new("touch-up", None),
        title: "bring files up to date, without a restart".to_owned(),
        why,
        impact: Impact::None,
        before: Vec::new(),
        work: Work::Hosts(tasks),
        settle: Vec::new(),
    })
}

fn quiet_steps(planner: &Planner, member: &Assessment<'_>) -> Vec<HostStep> {
    let quiet = |weight: Weight| weight == Weight::Quiet;
    let start = &planner.wanted(member.member).settled.path;
    let mut steps: Vec<HostStep> = member
        .files
        .iter()
        .filter(|(_, difference)| quiet(difference.weight))
        .map(|(artifact, _)| HostStep::File((*artifact).clone()))
        .collect();
    let unit_changed = member
        .files
        .iter()
        .any(|(artifact, difference)| artifact.path == *start && quiet(difference.weight));
    if planner.is_systemd() {
        if unit_changed {
            steps.push(HostStep::Reload);
        }
        if member
            .running
            .iter()
            .any(|difference| difference.what == member.member.layout.unit)
        {
            steps.push(HostStep::Enable(member.member.layout.unit.clone()));
        }
    }
    steps
}

/// Writes what differs, then stops a member and starts it, or just starts it.
pub(crate) fn restart_steps(planner: &Planner, member: &Assessment<'_>) -> Vec<HostStep> {
    let layout = &member.member.layout;
    let mut steps: Vec<HostStep> = member
        .files
        .iter()
        .filter(|(artifact, _)| !planner.is_pod() || artifact.path != layout.manifest)
        .map(|(artifact, _)| HostStep::File((*artifact).clone()))
        .collect();
    if planner.is_pod() {
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
            });
        } else {
            steps.push(HostStep::Pod(member.start.clone()));
        }
        return steps;
    }
    if planner.is_systemd() {
        if !steps.is_empty() {
            steps.push(HostStep::Reload);
        }
        steps.push(HostStep::Restart(layout.unit.clone()));
        return steps;
    }
    steps.extend([
        HostStep::Kill {
            pid_file: layout.pid_file.clone(),
        },
        HostStep::Spawn {
            member: member.member.name.clone(),
            start_file: layout.start_file.clone(),
            pid_file: layout.pid_file.clone(),
            log_file: layout.log_file.clone(),
        },
    ]);
    steps
}
