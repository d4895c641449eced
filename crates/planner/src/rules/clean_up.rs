//! What is left of members that the cluster removed: stopped, and their data moved aside.

use std::collections::BTreeMap;

use etcdup_core::membership::{ClusterView, Standing};
use etcdup_core::observation::{DataDir, HostView, LogDir, Observation};
use etcdup_core::path::HostPath;
use etcdup_core::restore::RestoreRecord;
use etcdup_core::stage::{HostStep, Impact, Rule, Stage, StageKey, Work};
use etcdup_core::topology::{Leaving, Member};

use crate::identity::read_flags;
use crate::places::is_former;
use crate::plan_context::{Decision, PlanContext};
use crate::roster::is_place_of;
use crate::target::Target;

/// Stops what is left of a removed member and moves its data aside: of one that goes, and of one
/// that is to be added again.
pub(crate) fn clean_up(context: &PlanContext<'_>) -> Decision {
    let (target, seen) = (context.target, context.seen);
    let Some(view) = &context.view else {
        return Decision::Continue;
    };
    for leaving in &context.leaving {
        let (Some(host), None) = (leaving.host, leaving.listed) else {
            continue;
        };
        let steps = left_over(target, seen, leaving.leaving, host);
        if !steps.is_empty() {
            return Decision::run(stage(&leaving.leaving.member, steps, "is to go"));
        }
    }
    for member in &context.members {
        let Standing::Removed { runs, data } = member.standing else {
            continue;
        };
        // Only data of this very cluster, of an ID that its list has no more.
        let aside = aside(member.member, member.host);
        if !runs && aside.is_empty() || data && !is_former(seen, view, member.member) {
            continue;
        }
        let mut steps = stop(target, member.member, member.host);
        steps.extend(aside);
        // What started it is of the place it had: the file may have it elsewhere by the time that
        // it is added.
        let start = &target.desired(member.member).settled.path;
        let is_unit = member.member.layout.is_systemd();
        if is_unit && is_written_by_us(target, member.member, member.host, start) {
            steps.extend([HostStep::Remove(start.clone()), HostStep::Reload]);
        }
        steps.push(HostStep::ForgetMember(member.member.etcd_name.clone()));
        return Decision::run(stage(member.member, steps, "is to be added again"));
    }
    Decision::Continue
}

fn stage(member: &Member, steps: Vec<HostStep>, then: &str) -> Stage {
    let name = &member.name;
    let moves = |step: &HostStep| matches!(step, HostStep::MoveAside { .. });
    let title = if steps.iter().any(moves) {
        format!("clean up after {name}, moving its data aside")
    } else {
        format!("clean up after {name}")
    };
    Stage {
        key: StageKey::new(Rule::CleanUp, Some(name)),
        title,
        why: vec![format!(
            "{name}: the cluster lists it no more, and it {then}"
        )],
        impact: Impact::None,
        preconditions: Vec::new(),
        work: Work::Hosts(BTreeMap::from([(member.host.clone(), steps)])),
        postconditions: Vec::new(),
    }
}

/// What to do about what is left of a member that goes and is no longer listed: only about what is
/// proven to be this cluster's.
pub(crate) fn left_over(
    target: &Target,
    seen: &Observation,
    leaving: &Leaving,
    host: &HostView,
) -> Vec<HostStep> {
    let member = &leaving.member;
    let Some(view) = ClusterView::confirmed(seen) else {
        return Vec::new();
    };
    let topology = &target.topology;
    // Its place was taken by a member that the file wants.
    let mut members = topology.members.iter();
    if members.any(|other| other.host == member.host && other.layout.data == member.layout.data) {
        return Vec::new();
    }
    // The host is another cluster's by now, whose files may have the very same names.
    let record = host.record();
    let of_another = record
        .and_then(|record| record.cluster)
        .is_some_and(|cluster| cluster != view.cluster());
    if of_another || host.other_name_of(view.cluster()).is_some() {
        return Vec::new();
    }
    let (data, foreign) = match host.data.get(&member.layout.data) {
        Some(DataDir::Member(found)) => {
            let of_former = found.cluster == view.cluster() && view.member(found.member).is_none();
            (of_former, !of_former)
        }
        Some(DataDir::Foreign) => (false, true),
        Some(DataDir::Absent | DataDir::Empty) | None => (false, false),
    };
    // Something else is there by now: nothing of it is ours to stop or to move.
    let mut steps = if foreign || runs_elsewhere(target, member, host) {
        Vec::new()
    } else {
        remnants(target, member, host, data)
    };
    let name = &member.etcd_name;
    if let Some(record) = record.filter(|record| record.cluster == Some(view.cluster())) {
        let mut others = topology.leaving.iter().map(|other| &other.member);
        let stays = topology.has_member_on(&member.host)
            || others.any(|other| {
                let known = record.members.contains_key(&other.etcd_name);
                other.host == member.host && other.name != member.name && known
            });
        if !stays {
            steps.push(HostStep::Forget);
        } else if record.members.contains_key(name) {
            steps.push(HostStep::ForgetMember(name.clone()));
        }
    }
    steps
}

/// Whether what starts or runs in its place is on another data directory: another's etcd.
fn runs_elsewhere(target: &Target, member: &Member, host: &HostView) -> bool {
    let own = member.layout.data.as_str();
    let process = host.processes.get(&member.name);
    let runs = process.and_then(|process| process.flags.get("data-dir"));
    let file = host.files.get(&target.desired(member).settled.path);
    let text = file.and_then(|file| file.text.as_deref());
    let flags = text.map(|text| read_flags(member, text));
    let starts = flags.as_ref().and_then(|flags| flags.get("data-dir"));
    [runs, starts].into_iter().flatten().any(|data| data != own)
}

/// Whether a member that stays on the same host is started by the very same unit, manifest or
/// process file.
fn shares_start(target: &Target, member: &Member) -> bool {
    let start = &target.desired(member).settled.path;
    let mut members = target.topology.members.iter();
    members.any(|other| {
        let same = &target.desired(other).settled.path == start
            || other.layout.unit == member.layout.unit && member.layout.is_systemd();
        other.host == member.host && same
    })
}

/// What starts a member, its data and its files, as far as they are this cluster's.
fn remnants(target: &Target, member: &Member, host: &HostView, data: bool) -> Vec<HostStep> {
    let start = &target.desired(member).settled.path;
    let proven = data || is_written_by_us(target, member, host, start);
    let mut steps = if proven && !shares_start(target, member) {
        stop(target, member, host)
    } else {
        Vec::new()
    };
    steps.extend(aside(member, host));
    steps.extend(written(target, member, host));
    if member.layout.is_systemd() && !steps.is_empty() {
        steps.push(HostStep::Reload);
    }
    steps
}

/// A member's data, with its log, under another name.
fn aside(member: &Member, host: &HostView) -> Vec<HostStep> {
    let held = held(member, host).into_iter();
    held.map(|path| HostStep::MoveAside { path }).collect()
}

/// The log of a member whose data is gone already: a run was cut between the two, or its disk was
/// lost. It is ours by the host's record.
pub(crate) fn log_left<'m>(member: &'m Member, host: &HostView) -> Option<&'m HostPath> {
    let wal = member.layout.wal.as_ref()?;
    let data = host.data.get(&member.layout.data)?;
    let mut roster = host.record()?.roster.iter();
    let recorded =
        roster.any(|known| is_place_of(known, member) && known.place.wal.as_ref() == Some(wal));
    let alone = matches!(data, DataDir::Absent | DataDir::Empty);
    let restores = host.record()?.restore.as_ref();
    let recorded = recorded || restores.is_some_and(RestoreRecord::is_open);
    (recorded && alone && host.logs.get(wal) == Some(&LogDir::Log)).then_some(wal)
}

/// The directories that hold what there is of a member's: its data, and its log where that has its
/// own, or what is left of the two.
pub(crate) fn held(member: &Member, host: &HostView) -> Vec<HostPath> {
    match host.data.get(&member.layout.data) {
        Some(DataDir::Member(_)) => {
            let log = member.layout.wal.as_ref();
            let log = log.filter(|wal| host.logs.get(*wal) == Some(&LogDir::Log));
            let data = std::iter::once(&member.layout.data);
            data.chain(log).cloned().collect()
        }
        Some(DataDir::Absent | DataDir::Empty) => {
            log_left(member, host).cloned().into_iter().collect()
        }
        Some(DataDir::Foreign) | None => Vec::new(),
    }
}

/// Stops a member that runs or would start by itself, for good.
pub(crate) fn stop_for_good(target: &Target, member: &Member, host: &HostView) -> Vec<HostStep> {
    // A unit of another hand stays where it is, and is stopped and disabled once.
    let unit = host.units.get(&member.layout.unit);
    let may_run = host.processes.contains_key(&member.name)
        || !member.layout.is_systemd()
        || unit.is_some_and(|unit| unit.enabled);
    match may_run {
        true => stop(target, member, host),
        false => Vec::new(),
    }
}

/// The same, and its data is moved aside; what starts it goes, since it would start without data.
pub(crate) fn stop_and_keep(target: &Target, member: &Member, host: &HostView) -> Vec<HostStep> {
    let layout = &member.layout;
    let mut steps = stop_for_good(target, member, host);
    steps.extend(aside(member, host));
    let start = &target.desired(member).settled.path;
    if !layout.is_pod() && is_written_by_us(target, member, host, start) {
        steps.push(HostStep::Remove(start.clone()));
    }
    if layout.is_systemd() && !steps.is_empty() {
        steps.push(HostStep::Reload);
    }
    steps
}

/// Stops a member, and keeps it from starting at boot.
pub(crate) fn stop(target: &Target, member: &Member, host: &HostView) -> Vec<HostStep> {
    let layout = &member.layout;
    let runs = host.processes.contains_key(&member.name);
    let start = &target.desired(member).settled.path;
    let there = host.files.contains_key(start) || runs;
    let step = if member.layout.is_systemd() {
        there.then(|| HostStep::Disable(layout.unit.clone()))
    } else if member.layout.is_pod() {
        there.then(|| HostStep::StopPod {
            manifest: layout.manifest.clone(),
            data: layout.data.clone(),
        })
    } else {
        runs.then(|| HostStep::StopProcess {
            pid_file: layout.pid_file.clone(),
            data: layout.data.clone(),
        })
    };
    step.into_iter().collect()
}

/// Deletes the files of a member that etcdup wrote.
pub(crate) fn written(target: &Target, member: &Member, host: &HostView) -> Vec<HostStep> {
    let wanted = target.desired(member);
    // Members of one host may share a directory.
    let of_others = |path: &HostPath| {
        let members = target.topology.members.iter();
        let mut others = members.filter(|one| one.host == member.host && one.name != member.name);
        others.any(|other| {
            let own = target.desired(other);
            let mut files = own.certificates.iter().chain([&own.settled]);
            files.any(|artifact| artifact.path == *path)
        })
    };
    let files = wanted
        .certificates
        .iter()
        .chain([&wanted.settled])
        .filter(|artifact| !member.layout.is_pod() || artifact.path != member.layout.manifest)
        // What was there before may be the only one there is.
        .filter(|artifact| !artifact.lies_in_place())
        .filter(|artifact| !of_others(&artifact.path))
        .filter(|artifact| is_written_by_us(target, member, host, &artifact.path));
    files
        .map(|artifact| HostStep::Remove(artifact.path.clone()))
        .collect()
}

/// Whether a file still is what etcdup wrote: by the digest in the host record, or because it is
/// the very file that would be rendered.
pub(crate) fn is_written_by_us(
    target: &Target,
    member: &Member,
    host: &HostView,
    path: &HostPath,
) -> bool {
    let Some(found) = host.files.get(path) else {
        return false;
    };
    let wanted = target.desired(member);
    let sum = found.sha256.as_deref();
    let recorded = host.record().and_then(|record| record.files.get(path));
    if recorded.is_some_and(|recorded| Some(recorded.sha256.as_str()) == sum) {
        return true;
    }
    let rendered = sum.is_some_and(|sum| wanted.sum(path) == Some(sum) || wanted.is_fresh(sum));
    // A unit that was edited by hand is still ours to remove if it starts our data: left behind it
    // would start at boot.
    let starts_ours = wanted.settled.path == *path
        && found.text.as_deref().is_some_and(|text| {
            read_flags(member, text).get("data-dir") == Some(member.layout.data.as_str())
        });
    rendered || starts_ours
}
