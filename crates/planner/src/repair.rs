//! Starting what does not run, waiting for members to become healthy, and refreshing what needs no restart.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use etcdup_core::host::HostId;
use etcdup_core::path::Mode;
use etcdup_core::stage::{Artifact, Content, Gate, Holds, HostStep, Impact, Stage, StageKey, Work};

use crate::assess::{Assessment, Difference, Weight};
use crate::converge::{Rule, World};
use crate::identity::{Formation, Start, serving};
use crate::note;
use crate::planner::Planner;
use crate::preflight::unresolved;
use crate::roll::can_be_spared;
use crate::trust::is_cut_off;

/// Starts every member that does not run, all at once and without waiting on one another: etcd is ready only after it
/// has joined a quorum, so starting one after the other dead-locks (etcd issue 13526).
///
/// A member that runs and has no leader is restarted too, where something differs that its restart would fix. All such
/// members at once only while the others provably have no quorum; else one at a time, since one bad moment of a healthy
/// member must not restart it together with others.
pub(crate) fn start(world: &World<'_>) -> Rule {
    let mut why = Vec::new();
    let mut tasks: BTreeMap<HostId, Vec<HostStep>> = BTreeMap::new();
    let mut started = Vec::new();
    let mut later = false;
    for member in world
        .members
        .iter()
        .filter(|member| member.process.is_none())
    {
        if member.starts == Start::Later {
            later = true;
            continue;
        }
        let name = &member.member.name;
        why.push(format!("{name}: does not run"));
        started.push(member);
        tasks
            .entry(member.member.host.clone())
            .or_default()
            .extend(restart_steps(world.planner, member));
    }
    let stuck: Vec<(&Assessment<'_>, String)> = world.members.iter().filter_map(stuck).collect();
    let lone = stuck.is_empty() || has_quorum_somewhere(world);
    for (member, reason) in stuck.iter().take(if lone { 1 } else { stuck.len() }) {
        if lone && !tasks.is_empty() {
            // What does not run starts first: it may be all that the others are waiting for.
            break;
        }
        let names = unresolved(world.planner, member.member, member.host);
        if !names.is_empty() {
            return Rule::Block(names);
        }
        why.push(format!("{}: {reason}", member.member.name));
        tasks
            .entry(member.member.host.clone())
            .or_default()
            .extend(restart_steps(world.planner, member));
    }
    if tasks.is_empty() {
        return Rule::Pass;
    }
    let (word, title) = match world.formation {
        Formation::Unborn => ("bootstrap", "bootstrap the cluster"),
        Formation::Forming => ("finish-bootstrap", "finish the bootstrap"),
        Formation::Formed => ("start", "start unhealthy members"),
    };
    // The members that wait for these need not be healthy before they start: without them there may be no quorum.
    // Where those with data are a quorum they must serve, since their list decides about the others; where they are fewer they
    // cannot, and only run.
    let with_data = world
        .members
        .iter()
        .filter(|member| member.has_data())
        .count();
    let settle = if later && with_data < world.planner.topology.quorum() {
        started.iter().map(|member| listens(member)).collect()
    } else {
        all_seen(world)
    };
    let one = (lone && started.is_empty())
        .then(|| stuck.first())
        .flatten();
    Rule::Do(Stage {
        key: StageKey::new(word, one.map(|(member, _)| &member.member.name)),
        title: title.to_owned(),
        why,
        impact: Impact::None,
        before: Vec::new(),
        work: Work::Hosts(tasks),
        settle,
    })
}

/// A member that runs, answers, follows no leader, and has something that a restart would fix. One that was merely not
/// observed may well serve others; one that follows a leader votes, whatever keeps its reads from being answered.
fn stuck<'w, 'a>(member: &'w Assessment<'a>) -> Option<(&'w Assessment<'a>, String)> {
    member.process?;
    if !member.answers || member.votes {
        return None;
    }
    let wrong = member.restart_reasons().next()?;
    let reason = format!("is unhealthy, and {} {}", wrong.what, wrong.why);
    Some((member, reason))
}

/// Whether any member votes, or may vote as far as is known.
fn has_quorum_somewhere(world: &World<'_>) -> bool {
    let all = world.planner.topology.members.len();
    world.members.len() < all
        || world
            .members
            .iter()
            .any(|member| member.votes || member.process.is_some() && !member.answers)
}

/// The member's etcd listens on its peer port.
fn listens(member: &Assessment<'_>) -> Gate {
    Gate {
        holds: Holds::Listens {
            member: member.member.name.clone(),
            host: member.member.host.clone(),
            port: member.member.ports.peer,
        },
        within: Duration::from_secs(60),
    }
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
    // Those that wait for others to serve first are not waited for in turn.
    let runs = |member: &&Assessment<'_>| {
        (member.process.is_some() || member.starts != Start::Later) && !is_learner(world, member)
    };
    world.members.iter().filter(runs).map(serves).collect()
}

fn is_learner(world: &World<'_>, member: &Assessment<'_>) -> bool {
    let view = world.seen.member(&member.member.name);
    let url = world.planner.topology.peer_url(member.member).to_string();
    // One that was just added does not answer yet; the others know what it is.
    let listed = serving(world.seen)
        .into_iter()
        .flat_map(|view| &view.listed)
        .any(|listed| listed.learner && listed.peer_urls.contains(&url));
    listed || view.is_some_and(|view| view.learner)
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

/// Refreshes, on every host at once, what needs no restart: before any member is waited for, since a missing file may be
/// why it is unhealthy. Certificates of members that run are left to [`renew`].
pub(crate) fn touch_up(world: &World<'_>) -> Rule {
    // While members are rolled one by one, records are written once at the end instead of after each.
    let rolls = |member: &Assessment<'_>| {
        member.serves && member.restart_reasons().next().is_some() && !member.only_settles()
    };
    let later = world.members.iter().any(rolls);
    let mut why = Vec::new();
    let mut tasks: BTreeMap<HostId, Vec<HostStep>> = BTreeMap::new();
    for member in &world.members {
        let leave_out = |artifact: &Artifact| member.process.is_some() && is_identity(artifact);
        let note = note::step(world, member).filter(|_| !later);
        let steps = quiet_steps(world.planner, member, |artifact| !leave_out(artifact));
        if steps.is_empty() && note.is_none() {
            continue;
        }
        let left_out = member
            .files
            .iter()
            .filter(|(artifact, _)| leave_out(artifact));
        let left_out: Vec<&Difference> = left_out.map(|(_, difference)| difference).collect();
        let quiet = member.differences().filter(|difference| {
            difference.weight == Weight::Quiet && !left_out.contains(difference)
        });
        why.extend(quiet.map(|difference| {
            format!(
                "{}: {} {}",
                member.member.name, difference.what, difference.why
            )
        }));
        if note.is_some() {
            why.push(note::reason(world, member));
        }
        let task = tasks.entry(member.member.host.clone()).or_default();
        task.extend(steps);
        task.extend(note);
    }
    if tasks.is_empty() {
        return Rule::Pass;
    }
    Rule::Do(Stage {
        key: StageKey::new("refresh-files", None),
        title: "update files without restarting members".to_owned(),
        why,
        impact: Impact::None,
        before: Vec::new(),
        work: Work::Hosts(tasks),
        settle: Vec::new(),
    })
}

/// Whether a file is a member's own certificate or key.
fn is_identity(artifact: &Artifact) -> bool {
    match artifact.content {
        Content::Issued { .. } | Content::Provided(_) | Content::OnHost(_) => true,
        Content::Text(_) | Content::Authority => false,
    }
}

/// Replaces the certificates of one running member, then proves that all members are still healthy before the next one:
/// etcd reads them again at each handshake, so a wrong one would cut off every member at once. A member that could not be
/// asked keeps what it has, unless the others are a quorum without it, or what it has is missing or expired.
pub(crate) fn renew(world: &World<'_>) -> Rule {
    let mut due = world.members.iter().filter_map(|member| {
        member.process?;
        let quiet = |(artifact, difference): &&(&Artifact, Difference)| {
            is_identity(artifact) && difference.weight == Weight::Quiet
        };
        let files: Vec<_> = member.files.iter().filter(quiet).collect();
        let cut_off = || {
            // Keys say nothing of validity; certificates are the files that anyone may read.
            let mut certificates = files
                .iter()
                .filter(|(artifact, _)| artifact.mode == Mode::PUBLIC);
            certificates.any(|(artifact, _)| is_cut_off(world.seen, member.host, &artifact.path))
        };
        // Where the others are a quorum without it, a member that does not answer can only gain.
        let alone = || can_be_spared(world, &member.member.name);
        let may = member.answers || cut_off() || alone();
        (may && !files.is_empty()).then_some((member, files))
    });
    let Some((member, files)) = due.next() else {
        return Rule::Pass;
    };
    let name = &member.member.name;
    let why = files
        .iter()
        .map(|(_, difference)| format!("{name}: {} {}", difference.what, difference.why));
    let steps = files
        .iter()
        .map(|(artifact, _)| HostStep::File((*artifact).clone()));
    // Those that cannot serve for want of a certificate of their own are not waited for yet.
    let more = due.next().is_some();
    let healthy = world
        .members
        .iter()
        .filter(|other| (!more || other.serves) && !is_learner(world, other));
    Rule::Do(Stage {
        key: StageKey::new("renew", Some(name)),
        title: format!("replace the certificates of {name} without a restart"),
        why: why.collect(),
        impact: Impact::None,
        before: Vec::new(),
        work: Work::Hosts(BTreeMap::from([(
            member.member.host.clone(),
            steps.collect(),
        )])),
        settle: healthy
            .map(|other| Gate::serves(&other.member.name))
            .collect(),
    })
}

fn quiet_steps(
    planner: &Planner,
    member: &Assessment<'_>,
    wanted: impl Fn(&Artifact) -> bool,
) -> Vec<HostStep> {
    let quiet = |weight: Weight| weight == Weight::Quiet;
    let start = &planner.wanted(member.member).settled.path;
    let mut steps: Vec<HostStep> = member
        .files
        .iter()
        .filter(|(artifact, difference)| quiet(difference.weight) && wanted(artifact))
        .map(|(artifact, _)| HostStep::File((*artifact).clone()))
        .collect();
    let unit_changed = member
        .files
        .iter()
        .any(|(artifact, difference)| artifact.path == *start && quiet(difference.weight));
    let layout = &member.member.layout;
    // Links lead to the new version only once its binaries are in place.
    let links_differ = member.running.iter().any(|difference| {
        quiet(difference.weight)
            && layout
                .links
                .as_ref()
                .is_some_and(|links| difference.what.starts_with(&format!("{links}/")))
    });
    if let Some(links) = layout
        .links
        .as_ref()
        .filter(|_| links_differ && member.binaries.is_none())
    {
        steps.push(HostStep::Links {
            directory: layout.binaries.clone(),
            links: links.clone(),
        });
    }
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
                ended: member.process.is_none(),
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
            data: layout.data.clone(),
        },
        HostStep::Spawn {
            member: member.member.name.clone(),
            start_file: layout.start_file.clone(),
            pid_file: layout.pid_file.clone(),
            log_file: layout.log_file.clone(),
            data: layout.data.clone(),
        },
    ]);
    steps
}

/// Starts what does not run of a cluster in which other members are disputed (lost or copied data), where no member serves and
/// those with their own data are a quorum: until they serve, no advice about the others can be followed.
pub(crate) fn start_undisputed(world: &World<'_>, disputed: &BTreeSet<String>) -> Rule {
    let none_serves = world.members.iter().all(|member| !member.serves);
    let undisputed = |member: &&Assessment<'_>| {
        member.has_data() && !disputed.contains(member.member.name.as_str())
    };
    let members: Vec<&Assessment<'_>> = world.members.iter().filter(undisputed).collect();
    let stopped = || members.iter().filter(|member| member.process.is_none());
    let quorum = world.planner.topology.quorum();
    if world.formation != Formation::Formed
        || !none_serves
        || members.len() < quorum
        || stopped().next().is_none()
    {
        return Rule::Pass;
    }
    let mut tasks: BTreeMap<HostId, Vec<HostStep>> = BTreeMap::new();
    for member in stopped() {
        tasks
            .entry(member.member.host.clone())
            .or_default()
            .extend(restart_steps(world.planner, member));
    }
    let names: Vec<&str> = disputed.iter().map(String::as_str).collect();
    let why = stopped().map(|member| {
        format!(
            "{}: does not run and has its data; {} stays stopped",
            member.member.name,
            names.join(", ")
        )
    });
    Rule::Do(Stage {
        key: StageKey::new("start-quorum", None),
        title: "start the members whose data is intact".to_owned(),
        why: why.collect(),
        impact: Impact::None,
        before: Vec::new(),
        settle: members
            .iter()
            .filter(|member| !is_learner(world, member))
            .map(|member| Gate::serves(&member.member.name))
            .collect(),
        work: Work::Hosts(tasks),
    })
}
