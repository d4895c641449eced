//! What is at a member's place on its host: whether it is the one that was prepared, and who starts
//! something there.

use etcdup_core::file::KeyPath;
use etcdup_core::finding::Finding;
use etcdup_core::flag::FlagSet;
use etcdup_core::membership::ClusterView;
use etcdup_core::observation::{DataDir, HostView, LogDir, Observation};
use etcdup_core::path::Mode;
use etcdup_core::topology::{LOG, Member};

use super::checks::{DATA_ELSEWHERE, FOREIGN_UNIT, OTHER_RUNTIME};
use crate::identity::read_flags;
use crate::places::is_former;
use crate::target::Target;

/// Data without its log, a log without its data, or something else where a log should begin.
pub(super) fn torn(member: &Member, host: &HostView) -> Option<String> {
    let layout = &member.layout;
    let (data, at) = (&layout.data, &member.host);
    let holds = layout.holds_log().ok()?;
    let log = host.logs.get(&holds)?;
    let found = host.data.get(data)?;
    let inside = data.join("member").ok();
    let has_inside = inside.is_some_and(|inside| host.files.contains_key(&inside));
    match (found, log) {
        (DataDir::Foreign, LogDir::Absent | LogDir::Empty) if has_inside => Some(format!(
            "there is data in {data} on {at}, and no log in {holds}"
        )),
        // Of a log within the data its own directory tells.
        (DataDir::Absent | DataDir::Empty, LogDir::Log) if layout.wal.is_some() => Some(format!(
            "there is a log in {holds} on {at}, and no data in {data}"
        )),
        (DataDir::Absent | DataDir::Empty, LogDir::Foreign) => Some(format!(
            "there is something else in {holds} on {at}, where a log should begin"
        )),
        _ => None,
    }
}

/// A bootstrap was started on this host, and its data directory is not as it was prepared then.
pub(super) fn not_mounted(member: &Member, host: &HostView) -> Option<String> {
    host.record()?.begun?;
    let path = &member.layout.data;
    let found = host.files.get(path);
    let owner = member.layout.owner();
    let same = found.is_some_and(|found| {
        found.mode == Mode::CLOSED && (owner.is_none() || found.owner == owner)
    });
    (!same).then(|| {
        let is = found.map_or("is missing".to_owned(), |found| {
            format!("has mode {}", found.mode)
        });
        format!(
            "{path} on {} {is}, and was prepared with mode {}",
            member.host,
            Mode::CLOSED
        )
    })
}

/// A unit or manifest in our place that is for other data, and a process that none of ours started.
pub(crate) fn started_by_others(
    target: &Target,
    seen: &Observation,
    member: &Member,
    host: &HostView,
    findings: &mut Vec<Finding>,
) {
    let start = &target.desired(member).settled.path;
    let at = || KeyPath::member(member.index);
    let file = host.files.get(start);
    let text = file.and_then(|file| file.text.as_deref());
    let read = text.map(|text| read_flags(member, text));
    let data = read.as_ref().and_then(|flags| flags.get("data-dir"));
    if let Some(data) = data.filter(|data| *data != member.layout.data.as_str()) {
        let evidence = format!("{start} on {} starts an etcd on {data}", member.host);
        findings.push(FOREIGN_UNIT.error(&member.name, evidence).at(at()));
    }
    // Flags may come from anywhere (an EnvironmentFile, a drop-in): what runs is certain. A restart
    // would put the member on whatever lies at the file's place, such as an old copy.
    let running = host.processes.get(&member.name);
    let elsewhere = running.and_then(|process| process.flags.get("data-dir"));
    if let Some(data) = elsewhere.filter(|data| *data != member.layout.data.as_str()) {
        let evidence = format!(
            "{} runs on {data}, and the topology names {}",
            member.name, member.layout.data
        );
        findings.push(DATA_ELSEWHERE.error(&member.name, evidence).at(at()));
    }
    // The same of a log: one that begins empty beside its data forgets what it acknowledged.
    let log = member.layout.wal.as_ref().map(|wal| format!("{wal}/{LOG}"));
    let is_ours = |flags: &FlagSet| flags.get("data-dir") == Some(member.layout.data.as_str());
    let runs = running.map(|process| &process.flags);
    let inside = format!("{}/member/{LOG}", member.layout.data);
    let is_elsewhere = |flags: &&FlagSet| {
        let wal = flags.get("wal-dir").map(|wal| wal.trim_end_matches('/'));
        is_ours(flags) && wal.filter(|wal| *wal != inside) != log.as_deref()
    };
    // What starts it may be of the place that a run was cut on the way to.
    let is_between = target.may_be_in(&member.name).next().is_some();
    // What is left of a member that the cluster removed is moved aside, wherever its log is.
    let view = ClusterView::confirmed(seen);
    let is_left = view.is_some_and(|view| is_former(seen, &view, member));
    let found = host.data.get(&member.layout.data);
    let has_data = matches!(found, Some(DataDir::Member(_) | DataDir::Foreign));
    let is_kept = has_data && !is_left;
    let starts = read.as_ref().filter(|_| is_kept && !is_between);
    if let Some(flags) = runs.into_iter().chain(starts).find(is_elsewhere) {
        let evidence = format!(
            "{} keeps its log in {}, and the topology has it in {}",
            member.name,
            flags.get("wal-dir").unwrap_or("its data"),
            log.as_deref().unwrap_or("its data")
        );
        let finding = DATA_ELSEWHERE.error(&member.name, evidence).at(at());
        let advice = "set `wal` to the directory that holds the log which the member runs on";
        findings.push(finding.advise(advice));
    }
    // One that we wrote and that was taken away a moment ago comes back as any other file.
    let ours = host
        .record()
        .is_some_and(|record| record.files.contains_key(start));
    let runs = host.processes.get(&member.name).filter(|_| !ours);
    if let (None, Some(process)) = (file, runs.filter(|_| member.layout.is_pod())) {
        let evidence = format!(
            "process {} of {} is an etcd on {}, and {start} is missing",
            process.pid, member.host, member.layout.data
        );
        findings.push(OTHER_RUNTIME.error(&member.name, evidence).at(at()));
    }
}
