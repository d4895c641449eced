//! Taking a cluster down: stopped, disabled, its data moved aside, or deleted when that was asked
//! for. What it touches is proven to be this cluster's first.

use etcdup_core::membership::ClusterId;
use std::collections::BTreeMap;

use etcdup_core::file::KeyPath;
use etcdup_core::finding::{Check, Finding};
use etcdup_core::host::HostId;
use etcdup_core::observation::{DataDir, HostView, Observation};
use etcdup_core::observed::Observed;
use etcdup_core::recover::RecoverRecord;
use etcdup_core::restore::RestoreRecord;
use etcdup_core::stage::{HostStep, Impact, Next, Rule, Stage, StageKey, Work};
use etcdup_core::topology::Member;

use crate::generation::recorded_cluster;
use crate::identity::is_ours;
use crate::preflight::unseen_hosts;
use crate::rules::clean_up::{held, is_written_by_us, stop, written};
use crate::rules::conflict::{other_name, started_by_others, unwanted};
use crate::target::Target;

pub(crate) const CHECKS: &[Check] = &[RESET_OF_ANOTHER];

const RESET_OF_ANOTHER: Check = Check {
    id: "reset-of-another",
    title: "what is there belongs to another cluster",
    about: "`etcdup reset` and `etcdup restore` stop members and move or delete their data. The data or the running etcd at this member's place is \
            not known to be this cluster's: neither the ID that this file makes, nor the one in the host record.",
    advice: "use the topology file of that cluster; if it really is this one, run again with --cluster-id ID",
};

pub(crate) fn next(
    target: &Target,
    seen: &Observation,
    wipe: bool,
    cluster_id: Option<ClusterId>,
) -> Next {
    let unseen = unseen_hosts(target, seen);
    if !unseen.is_empty() {
        return Next::Blocked(unseen);
    }
    let foreign = foreign(target, seen, cluster_id);
    if !foreign.is_empty() {
        return Next::Blocked(foreign);
    }
    let mut why = Vec::new();
    let mut tasks: BTreeMap<HostId, Vec<HostStep>> = BTreeMap::new();
    for member in target.topology.everyone() {
        let Some(host) = seen.host(&member.host) else {
            continue;
        };
        let steps = steps(target, member, host, wipe);
        if !steps.is_empty() {
            why.push(format!("{} on {}", member.name, member.host));
            tasks.entry(member.host.clone()).or_default().extend(steps);
        }
    }
    if tasks.is_empty() {
        return Next::Done;
    }
    let fate = if wipe {
        "DELETING its data"
    } else {
        "moving its data aside"
    };
    Next::Stage(Box::new(Stage {
        key: StageKey::new(Rule::Reset, None),
        title: format!("stop and disable every member, {fate}"),
        why,
        impact: Impact::Outage("the cluster is shut down".to_owned()),
        preconditions: Vec::new(),
        work: Work::Hosts(tasks),
        postconditions: Vec::new(),
    }))
}

/// What is at a member's place and is not known to be this cluster's.
pub(crate) fn foreign(
    target: &Target,
    seen: &Observation,
    typed: Option<ClusterId>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let ours = |host: &HostView, cluster: ClusterId| {
        typed == Some(cluster) || is_ours(target, host, cluster)
    };
    for member in target.topology.everyone() {
        let Some(host) = seen.host(&member.host) else {
            continue;
        };
        let at = || KeyPath::member(member.index);
        started_by_others(target, seen, member, host, &mut findings);
        if let Some(finding) = other_name(seen, member, host) {
            findings.push(finding);
            continue;
        }
        // The host of one that goes may be another cluster's by now, of the same name: then its own
        // record proves nothing.
        let leaves = target.topology.leaving(&member.name).is_some();
        let known = recorded_cluster(&target.topology, seen);
        let is_known =
            |cluster: ClusterId| known == Some(cluster) || is_made(target, seen, cluster);
        let ours = |host: &HostView, cluster: ClusterId| {
            typed == Some(cluster) || ours(host, cluster) && (!leaves || is_known(cluster))
        };
        let mut refuse = |cluster: ClusterId, what: String| {
            let evidence =
                format!("{what} of cluster {cluster}, which is not known to be this one");
            findings.push(RESET_OF_ANOTHER.error(&member.name, evidence).at(at()));
        };
        let record = host.record().and_then(|record| record.cluster);
        if let Some(other) = record.filter(|other| leaves && !ours(host, *other)) {
            refuse(other, format!("the record on {} is", member.host));
            continue;
        }
        // What it answers is surer than what is on the disk, which may have been swapped under it.
        let runs = host.processes.contains_key(&member.name);
        // What a member answered before it was stopped says nothing any more.
        let answered = seen.member(&member.name).filter(|_| runs);
        let answered = answered.map(|view| view.cluster);
        if let Some(cluster) = answered.filter(|cluster| !ours(host, *cluster)) {
            refuse(cluster, format!("the etcd at {} is", member.host));
            continue;
        }
        if let Some(DataDir::Member(data)) = host.data.get(&member.layout.data)
            && !ours(host, data.cluster)
        {
            refuse(
                data.cluster,
                format!("{} on {} is", member.layout.data, member.host),
            );
            continue;
        }
        // Its data may be anywhere, and it may answer to another CA: what is not proven ours is not
        // stopped.
        let start = &target.desired(member).settled.path;
        let there = host.files.contains_key(start) || host.processes.contains_key(&member.name);
        if there && !is_proven(target, seen, member, host, typed) {
            let evidence = format!(
                "{start} on {}, or the etcd that it started, is not known to be of this cluster",
                member.host
            );
            findings.push(RESET_OF_ANOTHER.error(&member.name, evidence).at(at()));
        }
    }
    // Left running without their quorum they would be nobody's.
    findings.extend(unwanted(target, seen));
    for (host, observed) in &seen.hosts {
        if let Some(Observed::Unknown(unseen)) = observed.known().map(|host| &host.record) {
            let evidence = format!("the host record on {host} cannot be read: {unseen}");
            findings.push(RESET_OF_ANOTHER.error(host, evidence));
        }
    }
    findings
}

/// Whether a restore that has not ended was to make this cluster, as a host of the file's members
/// remembers.
fn is_made(target: &Target, seen: &Observation, cluster: ClusterId) -> bool {
    target.topology.member_hosts().any(|host| {
        let record = seen.host(host).and_then(HostView::record);
        let restore = record.and_then(|record| record.restore.as_ref());
        restore.is_some_and(|restore| restore.is_open() && restore.makes(cluster))
    })
}

/// Whether a member's unit, manifest or process is proven to be this cluster's: we wrote what
/// starts it, it is on our data directory, our data is there, or it answers as our cluster.
fn is_proven(
    target: &Target,
    seen: &Observation,
    member: &Member,
    host: &HostView,
    typed: Option<ClusterId>,
) -> bool {
    let ours = |cluster: ClusterId| typed == Some(cluster) || is_ours(target, host, cluster);
    let data = &member.layout.data;
    let process = host.processes.get(&member.name);
    let runs_on = process.and_then(|process| process.flags.get("data-dir"));
    let answers = seen.member(&member.name).map(|view| view.cluster);
    let on_disk = match host.data.get(data) {
        Some(DataDir::Member(found)) => ours(found.cluster),
        _ => false,
    };
    // Proven before it was stopped: what was proof then has been moved aside.
    let restores = host.record().and_then(|record| record.restore.as_ref());
    let recovers = host.record().and_then(|record| record.recover.as_ref());
    let is_open = restores.is_some_and(RestoreRecord::is_open)
        || recovers.is_some_and(RecoverRecord::is_open);
    let was_proven =
        is_open && process.is_none() && !matches!(host.data.get(data), Some(DataDir::Member(_)));
    was_proven
        || is_written_by_us(target, member, host, &target.desired(member).settled.path)
        || runs_on == Some(data.as_str())
        || answers.is_some_and(ours)
        || on_disk
}

fn steps(target: &Target, member: &Member, host: &HostView, wipe: bool) -> Vec<HostStep> {
    let layout = &member.layout;
    let mut steps = stop(target, member, host);
    let held = held(member, host).into_iter();
    steps.extend(held.map(|path| match wipe {
        true => HostStep::Remove(path),
        false => HostStep::MoveAside { path },
    }));
    steps.extend(written(target, member, host));
    if layout.is_systemd() && !steps.is_empty() {
        steps.push(HostStep::Reload);
    }
    // A reset that was cut off may have left nothing but what the record remembers, which would
    // keep the next cluster from being bootstrapped.
    let remembers = host.record().is_some_and(|record| {
        let restores = record.restore.as_ref().is_some_and(RestoreRecord::is_open);
        let recovers = record.recover.as_ref().is_some_and(RecoverRecord::is_open);
        restores
            || recovers
            || record.cluster.is_some()
            || !record.members.is_empty()
            || record.begun.is_some()
    });
    if steps.is_empty() && remembers {
        steps.push(HostStep::Forget);
    }
    steps
}
