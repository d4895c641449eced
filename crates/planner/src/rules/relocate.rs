//! Taking a member to where the file has it on its host: another runtime, unit, data directory,
//! user or directory of certificates. It happens while the member is down, in place of its restart.

use etcdup_core::file::KeyPath;
use etcdup_core::finding::{Check, Finding};
use etcdup_core::observation::{DataDir, HostView, LogDir, Observation, RosterMember};
use etcdup_core::path::HostPath;
use etcdup_core::stage::{Artifact, Held, HostStep};
use etcdup_core::topology::{Member, MemberPlace};

use crate::assess::{Assessment, certificates_to_write};
use crate::identity::read_flags;
use crate::roster::is_place_of;
use crate::rules::clean_up::{is_written_by_us, stop, written};
use crate::rules::conflict::FOREIGN_UNIT;
use crate::rules::needs::{binaries, directories, user};
use crate::target::Target;

pub(crate) const CHECKS: &[Check] = &[PLACE_TAKEN];

const PLACE_TAKEN: Check = Check {
    id: "place-taken",
    title: "there is something where a member should go",
    about: "The file has another directory for a member that is in use, and there is something in it. etcdup moves a \
            member's data only into a directory that is missing or empty, and writes over no other's certificates.",
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
    // Where its log goes first: into the data as it lies now, where it gets no place of its own.
    let log_from = here.layout.holds_log().ok()?;
    let log_to = here.layout.log_with(there.layout.wal.as_ref()).ok()?;
    let mut steps = Vec::new();
    let held = [(Held::Log, &log_from, &log_to), (Held::Data, from, to)];
    let moves = held.into_iter().filter(|(_, from, to)| from != to);
    steps.extend(moves.map(|(held, from, to)| HostStep::CheckRoom {
        held,
        from: from.clone(),
        to: to.clone(),
    }));
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
    let owner = there.layout.owner();
    if log_from != log_to || there.layout.wal.is_some() {
        steps.push(HostStep::MoveData {
            held: Held::Log,
            from: log_from,
            to: log_to,
            owner: owner.clone(),
        });
    }
    // Where nothing of it moves, this still proves that no etcd runs on it.
    steps.push(HostStep::MoveData {
        held: Held::Data,
        from: from.clone(),
        to: to.clone(),
        owner,
    });
    steps.extend(directories(beyond, there, host, false));
    for artifact in certificates_to_write(beyond, seen, there, host) {
        steps.push(HostStep::File(artifact));
    }
    // With the file that starts it there.
    let mut roster = host.record()?.roster.iter();
    let known = roster.find(|known| is_place_of(known, here))?;
    steps.push(HostStep::Place(Box::new(RosterMember {
        place: MemberPlace::of(there),
        to: None,
        ..known.clone()
    })));
    steps.extend(start(there, wanted.settled.clone()));
    Some(steps)
}

/// Starts a member that does not run, once what starts it is written.
fn start(there: &Member, settled: Artifact) -> Vec<HostStep> {
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
    steps.push(HostStep::spawn(there));
    steps
}

/// What stands in the way where members are to go.
pub(crate) fn conflicts(target: &Target, seen: &Observation) -> Vec<Finding> {
    let mut findings = Vec::new();
    for here in &target.topology.members {
        let (Some((beyond, there)), Some(host)) = (target.goes(&here.name), seen.host(&here.host))
        else {
            continue;
        };
        findings.extend(taken(here, there, host));
        findings.extend(log_taken(here, there, host));
        findings.extend(others_files(beyond, here, there, host));
    }
    findings
}

/// What is in the way of a member's data.
fn taken(here: &Member, there: &Member, host: &HostView) -> Option<Finding> {
    let (from, to) = (&here.layout.data, &there.layout.data);
    let holds = match host.data.get(to) {
        None | Some(DataDir::Absent | DataDir::Empty) => is_inside(from, to)?,
        Some(DataDir::Member(_)) => "which has data of an etcd member",
        Some(DataDir::Foreign) => "which is not empty",
    };
    in_the_way(here, "data", (from, to), holds)
}

/// What is in the way of a member's log.
fn log_taken(here: &Member, there: &Member, host: &HostView) -> Option<Finding> {
    let from = here.layout.holds_log().ok()?;
    let to = here.layout.log_with(there.layout.wal.as_ref()).ok()?;
    let holds = match host.logs.get(&to) {
        None | Some(LogDir::Absent | LogDir::Empty) => {
            // One of them in the data is in nobody's way.
            is_inside(here.layout.wal.as_ref()?, there.layout.wal.as_ref()?)?
        }
        Some(LogDir::Log) => "which has a log of an etcd member",
        Some(LogDir::Foreign) => "which is not empty",
    };
    in_the_way(here, "log", (&from, &to), holds)
}

/// One inside the other would be moved into itself, or not be empty.
fn is_inside(from: &HostPath, to: &HostPath) -> Option<&'static str> {
    let inside = from.is_within(to) || to.is_within(from);
    inside.then_some("and the one is inside the other")
}

/// Where it does not stay where it is.
fn in_the_way(
    here: &Member,
    what: &str,
    (from, to): (&HostPath, &HostPath),
    holds: &str,
) -> Option<Finding> {
    let evidence = format!(
        "the {what} of {} on {} is in {from} and should go to {to}, {holds}",
        here.name, here.host
    );
    let key = if what == "log" { "wal" } else { "data" };
    let at = KeyPath::member(here.index).key(key);
    (from != to).then(|| PLACE_TAKEN.error(&here.name, evidence).at(at))
}

/// Files of others where the member's are to be: certificates, or a unit or manifest that starts
/// something else.
fn others_files(beyond: &Target, here: &Member, there: &Member, host: &HostView) -> Vec<Finding> {
    let wanted = beyond.desired(there);
    let at = || KeyPath::member(here.index);
    let certificates = wanted.certificates.iter();
    let mut certificates = certificates.filter(|artifact| {
        here.layout.certificates != there.layout.certificates
            && !artifact.lies_in_place()
            // Without a sum it is one that this very plan writes.
            && host.files.get(&artifact.path).is_some_and(|found| found.sha256.is_some())
            && !is_written_by_us(beyond, there, host, &artifact.path)
    });
    let taken = certificates.next().map(|artifact| {
        let evidence = format!(
            "{} on {} is not etcdup's, and would be written over",
            artifact.path, here.host
        );
        PLACE_TAKEN.error(&here.name, evidence).at(at())
    });
    let start = &wanted.settled.path;
    let is_own = here.layout.start().is_ok_and(|own| own == *start);
    let text = host.files.get(start).and_then(|file| file.text.as_deref());
    let unit = text
        .filter(|_| !is_own && !is_written_by_us(beyond, there, host, start))
        .and_then(|text| {
            let flags = read_flags(there, text);
            let own = [&here.layout.data, &there.layout.data];
            let starts = match flags.get("data-dir") {
                Some(data) if own.iter().any(|own| own.as_str() == data) => return None,
                Some(data) => format!("an etcd on {data}"),
                None => "something else".to_owned(),
            };
            let evidence = format!("{start} on {} starts {starts}", there.host);
            Some(FOREIGN_UNIT.error(&here.name, evidence).at(at()))
        });
    taken.into_iter().chain(unit).collect()
}
