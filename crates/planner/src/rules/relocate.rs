//! Taking a member to where the file has it on its host: another runtime, unit, data directory,
//! user or directory of certificates. It happens while the member is down, in place of its restart.

use etcdup_core::file::KeyPath;
use etcdup_core::finding::{Check, Finding};
use etcdup_core::observation::{DataDir, HostView, Observation};
use etcdup_core::stage::HostStep;
use etcdup_core::topology::Member;

use crate::assess::{Assessment, certificates_to_write};
use crate::identity::read_flags;
use crate::roster::is_place_of;
use crate::rules::clean_up::{stop, written};
use crate::rules::conflict::FOREIGN_UNIT;
use crate::rules::needs::{binaries, directories, user};
use crate::rules::roster;
use crate::target::Target;

pub(crate) const CHECKS: &[Check] = &[PLACE_TAKEN];

const PLACE_TAKEN: Check = Check {
    id: "place-taken",
    title: "there is something where a member's data should go",
    about: "The file has another data directory for a member that is in use, and there is data or something else in it. \
            etcdup moves a member's data only into a directory that is missing or empty.",
    advice: "name another directory, or move away what is in it, then run again",
};

/// The steps that stop a member, take it where the file has it, and start it there; `None` where
/// it is there, or another leg comes first.
pub(crate) fn steps(
    target: &Target,
    seen: &Observation,
    member: &Assessment<'_>,
) -> Option<Vec<HostStep>> {
    let (beyond, there) = target.there(&member.member.name)?;
    let (here, host) = (member.member, member.host);
    let (from, to) = (&here.layout.data, &there.layout.data);
    let mut steps = Vec::new();
    if from != to {
        steps.push(HostStep::CheckRoom {
            from: from.clone(),
            to: to.clone(),
        });
    }
    // What is in nobody's way comes before the member stops.
    steps.extend(binaries(beyond, there, host));
    steps.extend(user(there, host));
    steps.extend(stop(target, here, host));
    let wanted = beyond.desired(there);
    let stays = |step: &HostStep| {
        let mut files = wanted.certificates.iter().chain([&wanted.settled]);
        matches!(step, HostStep::Remove(path) if files.any(|artifact| artifact.path == *path))
    };
    let old = written(target, here, host);
    steps.extend(old.into_iter().filter(|step| !stays(step)));
    if from != to || here.layout.owner() != there.layout.owner() {
        steps.push(HostStep::MoveData {
            from: from.clone(),
            to: to.clone(),
            owner: there.layout.owner(),
        });
    }
    steps.extend(directories(beyond, there, host, false));
    for artifact in certificates_to_write(beyond, seen, there, host) {
        steps.push(HostStep::File(artifact));
    }
    // The record of its host has its new place with the file that starts it there.
    if let Some(mut known) = roster::wanted(target, seen) {
        let own = roster::wanted(beyond, seen).unwrap_or_default();
        for entry in &mut known {
            let same = |other: &&_| roster::is_same_member(entry, other);
            if is_place_of(entry, here)
                && let Some(own) = own.iter().find(same)
            {
                *entry = own.clone();
            }
        }
        steps.push(HostStep::Roster(known));
    }
    steps.extend(start(there, wanted.settled.clone()));
    Some(steps)
}

/// Starts a member that does not run, once what starts it is written.
fn start(there: &Member, settled: etcdup_core::stage::Artifact) -> Vec<HostStep> {
    let layout = &there.layout;
    if layout.is_pod() {
        return vec![HostStep::Pod(settled)];
    }
    let mut steps = vec![HostStep::File(settled)];
    if layout.is_systemd() {
        steps.extend([
            HostStep::Reload,
            HostStep::Enable(layout.unit.clone()),
            HostStep::Restart(layout.unit.clone()),
        ]);
        return steps;
    }
    steps.push(HostStep::Spawn {
        member: there.name.clone(),
        start_file: layout.start_file.clone(),
        pid_file: layout.pid_file.clone(),
        log_file: layout.log_file.clone(),
        data: layout.data.clone(),
    });
    steps
}

/// What stands in the way where members are to go.
pub(crate) fn conflicts(target: &Target, seen: &Observation) -> Vec<Finding> {
    let mut findings = Vec::new();
    for here in &target.topology.members {
        let (Some((beyond, there)), Some(host)) = (target.there(&here.name), seen.host(&here.host))
        else {
            continue;
        };
        findings.extend(taken(here, there, host));
        findings.extend(started_by_others(beyond, here, there, host));
    }
    findings
}

fn taken(here: &Member, there: &Member, host: &HostView) -> Option<Finding> {
    let (from, to) = (&here.layout.data, &there.layout.data);
    if from == to {
        return None;
    }
    let holds = match host.data.get(to) {
        None | Some(DataDir::Absent | DataDir::Empty) => {
            // One inside the other would be moved into itself, or not be empty.
            let inside = from.is_within(to) || to.is_within(from);
            inside.then_some("and the one is inside the other")?
        }
        Some(DataDir::Member(_)) => "which has data of an etcd member",
        Some(DataDir::Foreign) => "which is not empty",
    };
    let evidence = format!(
        "the data of {} on {} is in {from} and should go to {to}, {holds}",
        here.name, here.host
    );
    let at = KeyPath::member(here.index).key("data");
    Some(PLACE_TAKEN.error(&here.name, evidence).at(at))
}

/// A unit or manifest where the member's is to be, that starts another etcd.
fn started_by_others(
    beyond: &Target,
    here: &Member,
    there: &Member,
    host: &HostView,
) -> Option<Finding> {
    let start = &beyond.desired(there).settled.path;
    let text = host.files.get(start)?.text.as_deref()?;
    let flags = read_flags(there, text);
    let data = flags.get("data-dir")?;
    let own = [&here.layout.data, &there.layout.data];
    if own.iter().any(|own| own.as_str() == data) {
        return None;
    }
    let evidence = format!("{start} on {} starts an etcd on {data}", there.host);
    let at = KeyPath::member(here.index);
    Some(FOREIGN_UNIT.error(&here.name, evidence).at(at))
}
