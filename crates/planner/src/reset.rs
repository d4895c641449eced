//! Taking a cluster down: stopped, disabled, its data kept by rename, or deleted when that was asked for.

use std::collections::BTreeMap;

use etcdup_core::observation::{DataDir, HostView, Observation};
use etcdup_core::stage::{Content, HostStep, Impact, Next, Stage, StageKey, Work};
use etcdup_core::topology::{HostId, Member};

use crate::converge::unseen_hosts;
use crate::identity::reference;
use crate::planner::Planner;

pub(crate) fn next(planner: &Planner, seen: &Observation, wipe: bool) -> Next {
    let unseen = unseen_hosts(planner, seen);
    if !unseen.is_empty() {
        return Next::Blocked(unseen);
    }
    let mut why = Vec::new();
    let mut tasks: BTreeMap<HostId, Vec<HostStep>> = BTreeMap::new();
    for member in &planner.topology.members {
        let Some(host) = seen.host(&member.host) else {
            continue;
        };
        let steps = steps(planner, member, host, reference(planner, seen), wipe);
        if !steps.is_empty() {
            why.push(format!("{}: is on {}", member.name, member.host));
            tasks.entry(member.host.clone()).or_default().extend(steps);
        }
    }
    if tasks.is_empty() {
        return Next::Done;
    }
    let fate = if wipe {
        "its data DELETED"
    } else {
        "its data kept by rename"
    };
    Next::Stage(Box::new(Stage {
        key: StageKey::new("reset", None),
        title: format!("stop and disable every member, {fate}"),
        why,
        impact: Impact::Outage("the cluster ends".to_owned()),
        before: Vec::new(),
        work: Work::Hosts(tasks),
        settle: Vec::new(),
    }))
}

fn steps(
    planner: &Planner,
    member: &Member,
    host: &HostView,
    reference: Option<u64>,
    wipe: bool,
) -> Vec<HostStep> {
    let layout = &member.layout;
    let wanted = planner.wanted(member);
    let mut steps = Vec::new();
    if planner.is_systemd() {
        if host.files.contains_key(&wanted.settled.path)
            || host.processes.contains_key(&member.name)
        {
            steps.push(HostStep::Disable(layout.unit.clone()));
        }
    } else if planner.is_pod() {
        let manifest = &layout.manifest;
        if host.files.contains_key(manifest) || host.processes.contains_key(&member.name) {
            steps.push(HostStep::StopPod {
                manifest: manifest.clone(),
                data: layout.data.clone(),
            });
        }
    } else if host.processes.contains_key(&member.name) {
        steps.push(HostStep::Kill {
            pid_file: layout.pid_file.clone(),
        });
    }
    match host.data.get(&layout.data) {
        None | Some(DataDir::Absent | DataDir::Empty | DataDir::Foreign) => {}
        // Data of another cluster is never deleted, only kept out of the way.
        Some(DataDir::Member(data)) if wipe && Some(data.cluster) == reference => {
            steps.push(HostStep::Remove(layout.data.clone()));
        }
        Some(DataDir::Member(_)) => steps.push(HostStep::Keep {
            path: layout.data.clone(),
        }),
    }
    let files = wanted
        .certificates
        .iter()
        .chain([&wanted.settled])
        .filter(|artifact| !planner.is_pod() || artifact.path != layout.manifest)
        // What lay there before is somebody else's, and may be the only one there is.
        .filter(|artifact| !matches!(&artifact.content, Content::OnHost(source) if *source == artifact.path))
        .filter(|artifact| host.files.contains_key(&artifact.path));
    steps.extend(files.map(|artifact| HostStep::Remove(artifact.path.clone())));
    if planner.is_systemd() && !steps.is_empty() {
        steps.push(HostStep::Reload);
    }
    steps
}
