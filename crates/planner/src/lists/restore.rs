//! Making every member hold what a snapshot does: what is there is moved aside, each host makes its
//! member's data of the snapshot, and clients are let in once all is verified.
//!
//! How far it is, every host remembers. As long as no client was let in nothing is lost by beginning
//! once more, so whatever does not belong to this very restore is moved aside again.

use std::collections::BTreeMap;

use etcdup_core::file::Binaries;
use etcdup_core::finding::{Check, Finding};
use etcdup_core::host::HostId;
use etcdup_core::observation::{HostView, Observation};
use etcdup_core::path::HostPath;
use etcdup_core::restore::{
    BUMP, RestoreOrder, RestorePhase, RestoreRecord, RestoredMember, can_bump,
};
use etcdup_core::stage::{HostStep, Impact, Next, Rule, Stage, StageKey, Work};
use etcdup_core::topology::{Member, Topology};
use etcdup_core::version::EtcdVersion;

use crate::assess::Assessment;
use crate::generation::{cluster_id_with, generation, name};
use crate::identity::Start;
use crate::lists::{converge, reset};
use crate::preflight::unseen_hosts;
use crate::rules::clean_up::{held, is_written_by_us, stop};
use crate::rules::needs::source_of;
use crate::target::Target;

pub(crate) const CHECKS: &[Check] = &[
    RESTORE_OPEN,
    RESTORE_RELEASE,
    RESTORE_REVISION,
    RESTORE_ROOM,
    RESTORE_TOOL,
    RESTORED_SHORT,
];

pub(crate) const RESTORE_OPEN: Check = Check {
    id: "restore-open",
    title: "a restore of this cluster has not ended",
    about: "A host's record says that the cluster is being restored from a snapshot. Until that has ended nothing else is done \
            to it: members may hold what was restored, or nothing.",
    advice: "run `etcdup restore` with the same snapshot to go on, or `etcdup reset` to give it up",
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
    about: "The snapshot is sent to the host and made into the member's data there, beside what is moved aside: for a moment it is \
            there twice.",
    advice: "free the disk, or give the member a larger one (`data` of its [[member]])",
};
const RESTORE_TOOL: Check = Check {
    id: "restore-tool",
    title: "the host has no tool to restore with",
    about: "Where binaries are the host's own, so is the tool: etcdutl, or etcdctl before etcd 3.6.",
    advice: "install the tool of the same release beside etcd, or let [binaries] name a release",
};
const RESTORED_SHORT: Check = Check {
    id: "restored-short",
    title: "a member does not hold all of the snapshot",
    about: "The snapshot's document says at which revision it was taken, and the member is at an earlier one. Clients are kept \
            out.",
    advice: "run `etcdup snapshot verify` on it; restore another one",
};

/// What must be free besides twice the snapshot, in bytes: the log's first segments.
const SPARE: u64 = 256 << 20;

/// How far an order is.
pub(crate) enum Phase {
    /// What is there is moved aside, and each host remembers this.
    SetAside(RestoreRecord),
    /// Members get their data, and start.
    Restoring(RestoreRecord),
    /// It has ended: the cluster becomes what the file says.
    Ended,
}

/// The restores that the hosts of the file's members remember; `None` for a host without one.
fn remembered<'a>(
    file: &'a Topology,
    seen: &'a Observation,
) -> impl Iterator<Item = Option<&'a RestoreRecord>> + Clone {
    let hosts = file.hosts.keys().filter(|host| file.has_member_on(host));
    hosts.map(|host| seen.host(host)?.record()?.restore.as_ref())
}

/// How far an order is, by what hosts remember.
pub(crate) fn phase(file: &Topology, seen: &Observation, order: &RestoreOrder) -> Phase {
    let made = |generation| cluster_id_with(file, &name(file, generation));
    // Another list of members makes another cluster.
    let fits = |record: &&RestoreRecord| {
        order.is_same(record) && record.cluster == made(record.generation)
    };
    let all = remembered(file, seen);
    let open = all
        .clone()
        .flatten()
        .filter(|one| one.is_open() && fits(one));
    if let Some(newest) = open.max_by_key(|one| one.generation) {
        let is_it = |one: &Option<&RestoreRecord>| {
            one.is_some_and(|one| {
                one.generation == newest.generation
                    && order.is_same(one)
                    && one.phase != RestorePhase::SettingAside
            })
        };
        return match all.clone().all(|one| is_it(&one)) {
            true => Phase::Restoring(newest.at(RestorePhase::Restoring)),
            false => Phase::SetAside(newest.at(RestorePhase::SettingAside)),
        };
    }
    let has_ended = |one: &RestoreRecord| {
        !one.is_open() && (one.id == order.id || order.is_same(one) && !order.again)
    };
    if all.clone().flatten().any(has_ended) {
        return Phase::Ended;
    }
    // One that no data and no record has, and the snapshot's own cluster had not either: an old disk
    // that comes back is refused by its cluster ID.
    let before = generation(file, seen).0;
    let records = file
        .hosts
        .keys()
        .filter_map(|host| seen.host(host)?.record());
    let counted = records.map(|record| record.resets.max(record.begun.unwrap_or(0)));
    let counted = counted.chain(all.flatten().map(|one| one.generation));
    let least = counted.chain([before]).max().unwrap_or(before) + 1;
    let of = order.known.as_ref().map(|known| known.cluster_id);
    let own = (0..=least.max(20)).find(|generation| Some(made(*generation)) == of);
    let generation = least.max(own.map_or(0, |own| own + 1));
    Phase::SetAside(order.record(generation, made(generation)))
}

/// Whether a restore of the cluster is under way, where anything else is asked for.
pub(crate) fn open(target: &Target, seen: &Observation) -> Vec<Finding> {
    let hosts = target.topology.hosts.keys();
    let found = hosts.filter_map(|host| {
        let restore = seen.host(host)?.record()?.restore.as_ref()?;
        restore.is_open().then(|| {
            RESTORE_OPEN.error(
                host,
                format!("it is being restored from {}", restore.snapshot),
            )
        })
    });
    found.collect()
}

pub(crate) fn next(target: &Target, seen: &Observation, order: &RestoreOrder) -> Next {
    let record = match phase(target.file(), seen, order) {
        Phase::SetAside(record) => return set_aside(target, seen, order, &record),
        Phase::Restoring(record) => record,
        Phase::Ended => return converge::next(target, seen, true, false),
    };
    match converge::next(target, seen, true, false) {
        Next::Done => end(target, seen, order, &record),
        next @ (Next::Stage(_) | Next::Blocked(_)) => next,
    }
}

/// What keeps the snapshot from being restored, before anything is stopped.
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
    if order.bump && !can_bump(wanted) {
        let evidence = format!("the file asks for etcd {wanted}");
        findings.push(RESTORE_REVISION.error("etcd", evidence));
    }
    for member in &topology.members {
        let Some(host) = seen.host(&member.host) else {
            continue;
        };
        let disk = host.disks.get(&member.layout.data);
        let needed = order.size.saturating_mul(2).saturating_add(SPARE);
        if let Some(disk) = disk.filter(|disk| disk.free < needed) {
            let evidence = format!(
                "{} MiB are free on {}, and {} MiB are needed",
                disk.free >> 20,
                member.host,
                needed >> 20
            );
            findings.push(RESTORE_ROOM.error(&member.name, evidence));
        }
        let tools = tools(member);
        let is_there = |path: &HostPath| host.files.contains_key(path);
        if is_hosts_own(topology) && !tools.iter().any(is_there) {
            let evidence = format!(
                "neither etcdutl nor etcdctl is in {}",
                member.layout.binaries
            );
            findings.push(RESTORE_TOOL.error(&member.name, evidence));
        }
    }
    findings
}

/// Whether binaries are their host's own: then the tool is as well.
pub(crate) fn is_hosts_own(topology: &Topology) -> bool {
    matches!(topology.binaries, Binaries::Host(_))
}

/// The tools that restore, beside a member's etcd.
pub(crate) fn tools(member: &Member) -> Vec<HostPath> {
    let tools = ["etcdutl", "etcdctl"].into_iter();
    tools
        .filter_map(|name| member.layout.binaries.join(name).ok())
        .collect()
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
    findings.extend(refused(target, seen, order));
    if !findings.is_empty() {
        return Next::Blocked(findings);
    }
    let topology = &target.topology;
    let hosts = || {
        topology
            .hosts
            .keys()
            .filter(|host| topology.has_member_on(host))
    };
    // First of all, on every host: whatever is cut later, `apply` knows of it.
    let unaware = |host: &&HostId| {
        let known = seen
            .host(host)
            .and_then(|host| host.record()?.restore.as_ref());
        known.is_none_or(|known| known.generation != record.generation || !known.is_open())
    };
    let note = |phase: RestorePhase| vec![HostStep::NoteRestore(Box::new(record.at(phase)))];
    let begun = note(RestorePhase::SettingAside);
    let tasks: BTreeMap<HostId, Vec<HostStep>> = hosts()
        .filter(unaware)
        .map(|host| (host.clone(), begun.clone()))
        .collect();
    if !tasks.is_empty() {
        let title = format!("begin to restore {}", order.snapshot());
        return stage(
            Rule::BeginRestore,
            title,
            reasons(order),
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
        let steps = steps(target, member, host);
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
    let forgotten = note(RestorePhase::Restoring);
    tasks.extend(hosts().map(|host| (host.clone(), forgotten.clone())));
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

fn stage(
    rule: Rule,
    title: String,
    why: Vec<String>,
    impact: Impact,
    tasks: BTreeMap<HostId, Vec<HostStep>>,
) -> Next {
    Next::Stage(Box::new(Stage {
        key: StageKey::new(rule, None),
        title,
        why,
        impact,
        preconditions: Vec::new(),
        work: Work::Hosts(tasks),
        postconditions: Vec::new(),
    }))
}

/// What a person must know before it.
fn reasons(order: &RestoreOrder) -> Vec<String> {
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
    if !order.bump {
        why.push(
            "revisions are not raised: clients that watch miss what changed, and must be restarted"
                .to_owned(),
        );
    }
    why
}

/// Stops a member and moves its data aside; what starts it goes, since it would start without data.
fn steps(target: &Target, member: &Member, host: &HostView) -> Vec<HostStep> {
    let layout = &member.layout;
    let mut steps = stop(target, member, host);
    let held = held(member, host).into_iter();
    steps.extend(held.map(|path| HostStep::MoveAside { path }));
    let start = &target.desired(member).settled.path;
    if !layout.is_pod() && is_written_by_us(target, member, host, start) {
        steps.push(HostStep::Remove(start.clone()));
    }
    if layout.is_systemd() && !steps.is_empty() {
        steps.push(HostStep::Reload);
    }
    steps
}

/// What makes a member's data of the snapshot, right before it starts for the first time.
pub(crate) fn restore_steps(target: &Target, member: &Assessment<'_>) -> Vec<HostStep> {
    let topology = &target.topology;
    let Some(with) = target.restored_with() else {
        return Vec::new();
    };
    if member.process.is_some() || member.has_data() || member.starts != Start::New {
        return Vec::new();
    }
    let layout = &member.member.layout;
    let mut restored = RestoredMember {
        member: member.member.name.clone(),
        data: layout.data.clone(),
        log: layout.wal.clone(),
        owner: layout.owner(),
        tools: layout.binaries.clone(),
        token: topology.token.to_string(),
        peer_url: topology.peer_url(member.member).to_string(),
        initial_cluster: topology.initial_cluster(),
        bump: if with.bump { BUMP } else { 0 },
    };
    // An image has no tool that could be run outside of it.
    let fetched = layout
        .is_pod()
        .then(|| fetch_tools(topology, member.member));
    let Some((directory, step)) = fetched.flatten() else {
        return vec![HostStep::Restore(Box::new(restored))];
    };
    restored.tools = directory.clone();
    vec![
        step,
        HostStep::Restore(Box::new(restored)),
        HostStep::Remove(directory),
    ]
}

/// The binaries of a release, for the time of a restore, and where they go.
fn fetch_tools(topology: &Topology, member: &Member) -> Option<(HostPath, HostStep)> {
    let directory = member.layout.state.join("tools").ok()?;
    let step = HostStep::Binaries {
        directory: directory.clone(),
        version: topology.version.clone(),
        links: None,
        source: source_of(topology)?,
    };
    Some((directory, step))
}

/// Every member holds what was restored, and all of it.
fn end(target: &Target, seen: &Observation, order: &RestoreOrder, record: &RestoreRecord) -> Next {
    let topology = &target.topology;
    let least = order.least_revision().unwrap_or_default();
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
    let hosts = topology
        .hosts
        .keys()
        .filter(|host| topology.has_member_on(host));
    let tasks = hosts.map(|host| (host.clone(), vec![HostStep::NoteRestore(ended.clone())]));
    stage(
        Rule::EndRestore,
        "verify what was restored, and end the restore".to_owned(),
        vec!["every member holds the snapshot; clients come in as members restart".to_owned()],
        Impact::None,
        tasks.collect(),
    )
}
