//! Making every member hold what a snapshot does: what is there is moved aside, each host makes its
//! member's data of the snapshot, and clients are let in once all is verified.
//!
//! How far it is, every host remembers. As long as no client was let in nothing is lost by
//! beginning once more, so whatever does not belong to this very restore is moved aside again.

use std::collections::BTreeMap;

use etcdup_core::file::KeyPath;
use etcdup_core::finding::{Check, Finding};
use etcdup_core::flag::quota_of;
use etcdup_core::host::HostId;
use etcdup_core::observation::{DataDir, HostView, Observation};
use etcdup_core::path::HostPath;
use etcdup_core::restore::{RestoreOrder, RestorePhase, RestoreRecord, can_bump};
use etcdup_core::stage::{HostStep, Impact, Next, Rule};
use etcdup_core::topology::{ClusterState, Topology};
use etcdup_core::version::EtcdVersion;

use crate::identity::is_ours;
use crate::lists::care::{denied, disarm_restored};
use crate::lists::on_hosts::stage;
use crate::lists::{converge, reset};
use crate::preflight::unseen_hosts;
use crate::restoring::{Phase, is_under_way, last_closed, phase};
use crate::rules::clean_up::stop_and_keep;
use crate::rules::roster::of_file;
use crate::target::Target;

pub(crate) const CHECKS: &[Check] = &[
    RESTORE_ABORTED,
    RESTORE_OPEN,
    RESTORE_OTHER,
    RESTORE_QUOTA,
    RESTORE_RELEASE,
    RESTORE_REVISION,
    RESTORE_ROOM,
    RESTORE_UNREADABLE,
    RESTORED_SHORT,
];

const RESTORE_ABORTED: Check = Check {
    id: "restore-aborted",
    title: "the restore was given up",
    about: "`etcdup restore --abort` gave up what had been ordered until then. An operation that was interrupted before does not begin \
            it again by itself.",
    advice: "run `etcdup restore` to begin another",
};
pub(crate) const RESTORE_OPEN: Check = Check {
    id: "restore-open",
    title: "a restore of this cluster has not ended",
    about: "A host's record says that the cluster is being restored from a snapshot. Until that has ended nothing else is done \
            to it: members may hold what was restored, or nothing.",
    advice: "run `etcdup restore` with the same snapshot to go on, or `etcdup restore --abort` as long as members have their own data. \
             `etcdup reset` leaves no cluster: what was there lies beside each data directory, in .kept-*, and in the snapshot that \
             was taken before, if members served",
};
const RESTORE_OTHER: Check = Check {
    id: "restore-other",
    title: "a restore of another snapshot has not ended",
    about: "A host's record says that the cluster is being restored from another snapshot than the one that is named. What was \
            meant by `latest` may be another one by now.",
    advice: "name the snapshot of the restore that is under way to go on with it, or give --again to begin with this one",
};
const RESTORE_QUOTA: Check = Check {
    id: "restore-quota",
    title: "the snapshot would fill the quota",
    about: "etcd compares its whole database with quota-backend-bytes, 2 GiB where the file says nothing. Members that hold more \
            raise NOSPACE at the first write, and the restored cluster would take none.",
    advice: "raise quota-backend-bytes under [flags], or in that member's `flags`, and run it again; etcd warns above 8 GiB and takes \
             it. `etcdup maintain --compact` makes the database smaller once the cluster is restored",
};
const RESTORE_RELEASE: Check = Check {
    id: "restore-release",
    title: "this release of etcd cannot start on the snapshot",
    about: "A snapshot is restored by the release that took it or by the next minor. An older one does not know what a newer one \
            has written, and no minor may be skipped.",
    advice: "set `etcd` to the snapshot's minor, restore, then set it to the release that you want and run `etcdup apply`",
};
const RESTORE_REVISION: Check = Check {
    id: "restore-revision",
    title: "this release of etcd cannot raise the revision of what it restores",
    about: "A restored cluster counts its revisions on from where the snapshot ended. Clients that watch, Kubernetes' API servers \
            above all, take what is written then for what they have seen, and keep what is gone. Raised revisions, with all \
            before compacted, tell them to list again. etcd can since 3.4.27 and 3.5.10.",
    advice: "set `etcd` to a newer patch; or restart every client that watches, and give --no-bump-revision",
};
const RESTORE_ROOM: Check = Check {
    id: "restore-room",
    title: "there is no room to restore the snapshot",
    about: "The snapshot is sent to the host, into etcdup's own directory, and made into the member's data there, beside what is moved \
            aside.",
    advice: "free the disk, or give the member a larger one (`data` of its [[member]])",
};
const RESTORE_UNREADABLE: Check = Check {
    id: "restore-unreadable",
    title: "what is at a member's place cannot be proven to be this cluster's",
    about: "Data is moved aside only where its log says that it is this cluster's. A log that is damaged or missing says nothing, and \
            the directory may be another program's.",
    advice: "look at it, and move it aside yourself: `mv /var/lib/etcd /var/lib/etcd.damaged`; then run the same command again",
};
const RESTORED_SHORT: Check = Check {
    id: "restored-short",
    title: "a member does not hold all of the snapshot",
    about: "The snapshot's document says at which revision it was taken, and the member is at an earlier one. Clients are kept \
            out.",
    advice: "where the document is wrong, move it away: the file ending in .json; otherwise restore another snapshot",
};

/// What must be free besides the snapshot, in bytes: the log's first segments.
const SPARE: u64 = 256 << 20;

/// Whether a restore of the cluster is under way, where anything else is asked for.
pub(crate) fn open(target: &Target, seen: &Observation) -> Vec<Finding> {
    let found = under_way(&target.topology, seen).map(|(host, restore)| {
        let evidence = format!("it is being restored from {}", restore.snapshot);
        RESTORE_OPEN.error(host, evidence)
    });
    found.collect()
}

/// Whether a restore of another snapshot is under way.
fn another(target: &Target, seen: &Observation, order: &RestoreOrder) -> Vec<Finding> {
    let topology = &target.topology;
    let found = under_way(topology, seen).filter(|(_, one)| one.sha256 != order.sha256);
    let finding = |(host, one): (&HostId, &RestoreRecord)| {
        let evidence = format!("it is being restored from {}", one.snapshot);
        RESTORE_OTHER.error(host, evidence)
    };
    found.map(finding).collect()
}

/// The restores that hosts remember and that have not ended.
pub(crate) fn under_way<'a>(
    topology: &'a Topology,
    seen: &'a Observation,
) -> impl Iterator<Item = (&'a HostId, &'a RestoreRecord)> {
    let closed = last_closed(topology, seen);
    topology.hosts.keys().filter_map(move |host| {
        let restore = seen.host(host)?.record()?.restore.as_ref()?;
        is_under_way(restore, closed).then_some((host, restore))
    })
}

/// A host that was not reached when a restore ended, or was given up, remembers so, too.
pub(crate) fn agree(target: &Target, seen: &Observation) -> Option<Next> {
    let topology = &target.topology;
    let closed = last_closed(topology, seen)?;
    let differs = |host: &&HostId| {
        let known = seen
            .host(host)
            .and_then(|host| host.record()?.restore.as_ref());
        known.is_some_and(|known| known.is_open() && !is_under_way(known, Some(closed)))
    };
    let note = || vec![HostStep::NoteRestore(Box::new(closed.clone()))];
    let tasks: BTreeMap<HostId, Vec<HostStep>> = topology
        .member_hosts()
        .filter(differs)
        .map(|host| (host.clone(), note()))
        .collect();
    (!tasks.is_empty()).then(|| {
        let (rule, fate) = match closed.phase {
            RestorePhase::Aborted => (Rule::AbortRestore, "was given up"),
            RestorePhase::Ended | RestorePhase::SettingAside | RestorePhase::Restoring => {
                (Rule::EndRestore, "has ended")
            }
        };
        let why = format!(
            "the restore from {} {fate}, as another host knows",
            closed.snapshot
        );
        let title = format!("note on every host that the restore {fate}");
        stage(rule, title, vec![why], Impact::None, tasks)
    })
}

pub(crate) fn next(target: &Target, seen: &Observation, order: &RestoreOrder) -> Next {
    let record = match phase(target.file(), seen, order) {
        Phase::SetAside(record) => return set_aside(target, seen, order, &record),
        Phase::Restoring(record) => record,
        Phase::Ended(ended) => {
            // What was typed for the restore is not asked again while its last members open, also
            // by the same command that is run again.
            let goes_on = order.is_same(&ended) && are_kept_out(target, seen);
            let own = ended.id == order.id || goes_on;
            let next = || converge::next(target, seen, own, false);
            return agree(target, seen).unwrap_or_else(next);
        }
        // Whoever gave it up is not overruled by what was ordered before.
        Phase::Aborted => {
            let evidence = format!("{} is not restored", order.snapshot());
            let aborted = || {
                Next::Blocked(vec![
                    RESTORE_ABORTED.error(&target.topology.cluster, evidence),
                ])
            };
            return agree(target, seen).unwrap_or_else(aborted);
        }
    };
    let mut unfit = cannot_raise(target, order);
    // Once all have their data nobody waits outside for an edit of the quota.
    if !are_made(target, seen, &record) {
        unfit.extend(over_quota(&target.topology, order));
    }
    if !unfit.is_empty() {
        return Next::Blocked(unfit);
    }
    // A disk of the cluster before that is back counts as what was there.
    let mut why = Vec::new();
    let mut tasks: BTreeMap<HostId, Vec<HostStep>> = BTreeMap::new();
    for member in &target.topology.members {
        let Some(host) = seen.host(&member.host) else {
            continue;
        };
        let own = match host.data.get(&member.layout.data) {
            Some(DataDir::Member(data)) => {
                data.cluster != record.cluster && is_ours(target, host, data.cluster)
            }
            Some(DataDir::Absent | DataDir::Empty | DataDir::Foreign) | None => false,
        };
        if own && !host.processes.contains_key(&member.name) {
            why.push(format!("{} on {}", member.name, member.host));
            let task = tasks.entry(member.host.clone()).or_default();
            task.extend(stop_and_keep(target, member, host));
        }
    }
    if !tasks.is_empty() {
        let title = "move data aside that has come back".to_owned();
        return stage(Rule::SetAside, title, why, Impact::None, tasks);
    }
    match converge::next(target, seen, true, false) {
        Next::Done => {
            // Some releases let whoever has a certificate ask how a member is, and no more.
            let denied = denied(target, seen);
            if !denied.is_empty() {
                return Next::Blocked(denied);
            }
            disarm_restored(seen).unwrap_or_else(|| end(target, seen, order, &record))
        }
        next @ (Next::Stage(_) | Next::Blocked(_)) => next,
    }
}

/// Whether a member still listens apart from where clients look for it.
fn are_kept_out(target: &Target, seen: &Observation) -> bool {
    let apart = Topology {
        clients_kept_out: true,
        ..target.topology.clone()
    };
    apart.members.iter().any(|member| {
        let host = seen.host(&member.host);
        let process = host.and_then(|host| host.processes.get(&member.name));
        let listens = process.and_then(|process| process.flags.get("listen-client-urls"));
        let flags = apart.flags(member, ClusterState::Existing);
        listens.is_some() && listens == flags.get("listen-client-urls")
    })
}

fn cannot_raise(target: &Target, order: &RestoreOrder) -> Vec<Finding> {
    let wanted = &target.topology.version;
    let cannot = order.bump && !can_bump(wanted);
    let found = cannot.then(|| {
        let evidence = format!("the file asks for etcd {wanted}");
        RESTORE_REVISION.error("etcd", evidence)
    });
    found.into_iter().collect()
}

/// What a disk has free, and what comes onto it.
struct Room<'a> {
    /// A directory on it.
    path: &'a HostPath,
    free: u64,
    needed: u64,
}

/// The disks of a host that something comes onto, by their device.
fn needed<'a>(
    topology: &'a Topology,
    host: &'a HostId,
    view: &'a HostView,
    size: u64,
) -> BTreeMap<&'a str, Room<'a>> {
    let mut disks: BTreeMap<&str, Room<'_>> = BTreeMap::new();
    let mut add = |path: &'a HostPath, needed: u64| {
        if let Some(disk) = view.disks.get(path) {
            let room = disks.entry(disk.device.as_str()).or_insert(Room {
                path,
                free: disk.free,
                needed: 0,
            });
            room.needed = room.needed.saturating_add(needed);
        }
    };
    let mut sent = false;
    for member in topology.on_host(host) {
        let layout = &member.layout;
        // The snapshot itself is unpacked there, once a host.
        if !std::mem::replace(&mut sent, true) {
            add(&layout.state, size);
        }
        add(&layout.data, size.saturating_add(SPARE));
        if let Some(wal) = &layout.wal {
            add(wal, SPARE);
        }
    }
    disks
}

/// Where the snapshot would fill a quota: one finding where all members have the same.
fn over_quota(topology: &Topology, order: &RestoreOrder) -> Vec<Finding> {
    let bytes = i64::try_from(order.size).unwrap_or(i64::MAX);
    let size = bytes >> 20;
    let quotas: Vec<_> = topology
        .members
        .iter()
        .map(|member| (member, quota_of(&topology.flags(member, ClusterState::New))))
        .collect();
    let full = quotas.iter().filter_map(|(member, quota)| {
        let quota = (*quota)?;
        (bytes >= quota).then_some((member, quota >> 20))
    });
    let mut full = full.peekable();
    let is_common = quotas.iter().all(|(_, quota)| *quota == quotas[0].1);
    if let (true, Some((_, quota))) = (is_common, full.peek()) {
        let evidence = format!("it has {size} MiB, and the members' quota is {quota} MiB");
        let at = KeyPath::root("flags").key("quota-backend-bytes");
        return vec![RESTORE_QUOTA.error(order.snapshot(), evidence).at(at)];
    }
    let found = full.map(|(member, quota)| {
        let evidence =
            format!("the snapshot has {size} MiB, and the member's quota is {quota} MiB");
        let at = KeyPath::member(member.index);
        RESTORE_QUOTA.error(&member.name, evidence).at(at)
    });
    found.collect()
}

/// Whether every member has its data of this restore.
fn are_made(target: &Target, seen: &Observation, record: &RestoreRecord) -> bool {
    target.topology.members.iter().all(|member| {
        let host = seen.host(&member.host);
        match host.and_then(|host| host.data.get(&member.layout.data)) {
            Some(DataDir::Member(data)) => data.cluster == record.cluster,
            Some(DataDir::Absent | DataDir::Empty | DataDir::Foreign) | None => false,
        }
    })
}

/// What keeps the snapshot from being restored, before the cluster that was there is moved aside.
fn refused(target: &Target, seen: &Observation, order: &RestoreOrder) -> Vec<Finding> {
    let topology = &target.topology;
    let wanted = &topology.version;
    let mut findings = Vec::new();
    let taken_by = order.known.as_ref().map(|known| known.etcd.as_str());
    if let Some(Ok(from)) = taken_by.map(str::parse::<EtcdVersion>)
        && !(from.minor()..=from.minor() + 1).contains(&wanted.minor())
    {
        let evidence = format!("etcd {from} took it, and the file asks for {wanted}");
        findings.push(RESTORE_RELEASE.error(order.snapshot(), evidence));
    }
    if let Some(Err(_)) = taken_by.map(str::parse::<EtcdVersion>) {
        let evidence = "its document does not say which release of etcd took it".to_owned();
        findings.push(RESTORE_RELEASE.error(order.snapshot(), evidence));
    }
    findings.extend(cannot_raise(target, order));
    findings.extend(over_quota(topology, order));
    for host in topology.hosts.keys() {
        let Some(view) = seen.host(host) else {
            continue;
        };
        for room in needed(topology, host, view, order.size).into_values() {
            let Room { path, free, needed } = room;
            if free < needed {
                let evidence = format!(
                    "{} MiB are free on the disk of {path}, and {} MiB are needed",
                    free >> 20,
                    needed >> 20
                );
                findings.push(RESTORE_ROOM.error(host, evidence));
            }
        }
    }
    for member in &topology.members {
        let Some(host) = seen.host(&member.host) else {
            continue;
        };
        if host.data.get(&member.layout.data) == Some(&DataDir::Foreign) {
            let evidence = format!(
                "{} on {} holds files, and no log of etcd's that can be read",
                member.layout.data, member.host
            );
            findings.push(RESTORE_UNREADABLE.error(&member.name, evidence));
        }
    }
    findings
}

fn set_aside(
    target: &Target,
    seen: &Observation,
    order: &RestoreOrder,
    record: &RestoreRecord,
) -> Next {
    let unseen = unseen_hosts(target, seen);
    if !unseen.is_empty() {
        return Next::Blocked(unseen);
    }
    let mut findings = reset::foreign(target, seen, order.cluster_id);
    if !order.again {
        findings.extend(another(target, seen, order));
    }
    findings.extend(refused(target, seen, order));
    if !findings.is_empty() {
        return Next::Blocked(findings);
    }
    let topology = &target.topology;
    // First of all, on every host: whatever is cut later, `apply` knows of it.
    let unaware = |host: &&HostId| {
        let known = seen
            .host(host)
            .and_then(|host| host.record()?.restore.as_ref());
        known.is_none_or(|known| {
            // An order that goes on with it is known, so that it is given up with the others.
            let other = known.generation != record.generation || known.id < record.id;
            other || !known.is_open()
        })
    };
    let note = |phase: RestorePhase| vec![HostStep::NoteRestore(Box::new(record.at(phase)))];
    let begun = note(RestorePhase::SettingAside);
    let tasks: BTreeMap<HostId, Vec<HostStep>> = topology
        .member_hosts()
        .filter(unaware)
        .map(|host| (host.clone(), begun.clone()))
        .collect();
    if !tasks.is_empty() {
        let title = format!("begin to restore {}", order.snapshot());
        return stage(
            Rule::BeginRestore,
            title,
            reasons(order, record),
            Impact::None,
            tasks,
        );
    }
    let mut why = Vec::new();
    let mut tasks: BTreeMap<HostId, Vec<HostStep>> = BTreeMap::new();
    for member in topology.everyone() {
        let Some(host) = seen.host(&member.host) else {
            continue;
        };
        let steps = stop_and_keep(target, member, host);
        if !steps.is_empty() {
            why.push(format!("{} on {}", member.name, member.host));
            tasks.entry(member.host.clone()).or_default().extend(steps);
        }
    }
    let outage = Impact::Outage("no member runs until the snapshot is restored".to_owned());
    if !tasks.is_empty() {
        let title = "stop every member, moving its data aside".to_owned();
        return stage(Rule::SetAside, title, why, outage, tasks);
    }
    // Until nothing of it is left anywhere, records say where its members are.
    // Whoever leaves the file before all has ended is found by it, and stopped.
    let mut forgotten = vec![HostStep::Roster(of_file(topology))];
    forgotten.extend(note(RestorePhase::Restoring));
    let members = topology.member_hosts();
    tasks.extend(members.map(|host| (host.clone(), forgotten.clone())));
    for host in topology
        .hosts
        .keys()
        .filter(|host| !topology.has_member_on(host))
    {
        let known = seen.host(host).and_then(HostView::record);
        if known.is_some_and(|known| known.cluster.is_some() || !known.roster.is_empty()) {
            tasks.insert(host.clone(), vec![HostStep::Forget]);
        }
    }
    let why = vec!["nothing of the cluster that was there runs or lies at its place".to_owned()];
    let title = "forget the cluster that was moved aside".to_owned();
    stage(Rule::Forget, title, why, Impact::None, tasks)
}

/// What a person must know before it.
fn reasons(order: &RestoreOrder, record: &RestoreRecord) -> Vec<String> {
    let mut why = vec![match &order.known {
        Some(known) => format!(
            "the cluster becomes what it was at {}, at revision {} or a little later: whatever was written since is lost",
            known.taken.strftime("%Y-%m-%d %H:%M:%S UTC"),
            known.revision
        ),
        None => format!(
            "the cluster becomes what {} holds: whatever was written since is lost",
            order.snapshot()
        ),
    }];
    why.push(match record.bump {
        0 => "revisions are not raised: clients that watch miss what changed, and must be restarted"
            .to_owned(),
        bump => format!(
            "revisions are raised by {bump}, and all before compacted: clients that watch list again"
        ),
    });
    why
}

/// Every member holds what was restored, and all of it.
fn end(target: &Target, seen: &Observation, order: &RestoreOrder, record: &RestoreRecord) -> Next {
    let topology = &target.topology;
    let least = order.least_revision(record).unwrap_or_default();
    let short = topology.members.iter().filter_map(|member| {
        let view = seen.member(&member.name)?;
        (view.revision < least).then(|| {
            let evidence = format!(
                "it is at revision {}, and should be at {least}",
                view.revision
            );
            RESTORED_SHORT.error(&member.name, evidence)
        })
    });
    let short: Vec<Finding> = short.collect();
    if !short.is_empty() {
        return Next::Blocked(short);
    }
    let ended = Box::new(record.at(RestorePhase::Ended));
    let hosts = topology.member_hosts();
    let tasks = hosts.map(|host| (host.clone(), vec![HostStep::NoteRestore(ended.clone())]));
    stage(
        Rule::EndRestore,
        "verify what was restored, and end the restore".to_owned(),
        vec!["every member holds the snapshot; clients come in as members restart".to_owned()],
        Impact::None,
        tasks.collect(),
    )
}
