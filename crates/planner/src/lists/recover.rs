//! Going on with one member where too few are left to agree on anything: the one whose log goes
//! furthest is made the only one, and `etcdup apply` gives it others again.
//!
//! Nothing of any data is changed before every member is stopped, and the data of the others is
//! moved aside only once the one serves: until then another can go on in its stead.

use std::collections::{BTreeMap, BTreeSet};

use etcdup_core::finding::{Check, Finding};
use etcdup_core::host::HostId;
use etcdup_core::membership::{ClusterView, quorum_of};
use etcdup_core::name::MemberName;
use etcdup_core::observation::{DataDir, HostView, Observation, RaftLog};
use etcdup_core::observed::Observed;
use etcdup_core::recover::{ForcedMember, RecoverPhase, RecoverRecord};
use etcdup_core::stage::{Gate, HostStep, Impact, Next, Rule, Stage, StageKey, Work};
use etcdup_core::topology::Member;
use jiff::Timestamp;

use crate::assess::assess;
use crate::generation::recorded_cluster;
use crate::identity::{Bootstrap, data_of};
use crate::lists::reset;
use crate::places::known_members;
use crate::recovering::{came_back, last, open_record, others, serves_alone};
use crate::rules::clean_up::{held, is_written_by_us, stop};
use crate::rules::restart::{serves, start_steps};
use crate::rules::restored::fetch_tools;
use crate::target::Target;

pub(crate) const CHECKS: &[Check] = &[
    CAME_BACK,
    NOT_LOST,
    RECOVER_DATA,
    RECOVER_GONE,
    RECOVER_LOG,
    RECOVER_OPEN,
    RECOVER_RELEASE,
    RECOVER_UNSEEN,
];

const RECOVER_OPEN: Check = Check {
    id: "recover-open",
    title: "a recovery of this cluster has not ended",
    about: "A host's record says that the cluster is being recovered by one of its members. Until that has ended nothing else is \
            done to it: members that would agree with one another may no longer belong together.",
    advice: "run `etcdup recover` to go on, or `etcdup restore` with a snapshot",
};
const CAME_BACK: Check = Check {
    id: "came-back",
    title: "a member of before the recovery is back",
    about: "The cluster was recovered by one member, whose list has no other of that time. One that comes back with its data still \
            knows the old list. Where a quorum of those come back they serve, under the same cluster ID, and clients that know them \
            read and write what the recovered cluster does not have.",
    advice: "run `etcdup recover` again: it stops what came back and moves its data aside",
};
const NOT_LOST: Check = Check {
    id: "quorum-not-lost",
    title: "the cluster has a quorum, or can have one",
    about: "A recovery gives up what the other members hold. Where enough of them have their data nothing needs to be lost.",
    advice: "`etcdup apply` starts what does not run, and replaces members that are lost",
};
const RECOVER_UNSEEN: Check = Check {
    id: "recover-unseen",
    title: "a member may still be running",
    about: "Its host does not answer. If it runs, or comes back, with others, they are a cluster of their own beside the one that \
            is recovered. Only you can know that it is gone.",
    advice: "bring the host back; or, if it is gone for good and never starts again, name its member with --gone",
};
const RECOVER_GONE: Check = Check {
    id: "recover-gone",
    title: "a member that is called gone is not",
    about: "Members that are gone for good are named with --gone, by the names in the file. One that answers may hold what no other \
            does.",
    advice: "leave out whatever is not gone: a member whose host answers is stopped anyway",
};
const RECOVER_DATA: Check = Check {
    id: "recover-data",
    title: "no member has data to go on with",
    about: "A recovery needs the data of one voter of this cluster, on a host that answers, with a log that is whole.",
    advice: "run `etcdup restore` with a snapshot: `etcdup snapshot list` shows what is kept",
};
const RECOVER_LOG: Check = Check {
    id: "recover-log",
    title: "a member's log cannot be read",
    about: "Which member goes on is decided by how far their logs go. One whose log cannot be read may have gone furthest.",
    advice: "put right what keeps it from being read; if its data is of no use, name it with --gone",
};
const RECOVER_RELEASE: Check = Check {
    id: "recover-release",
    title: "the file asks for another release than the member ran",
    about: "A recovery changes nothing but who is a member: the release of etcd that wrote the data goes on with it.",
    advice: "set `etcd` to the release that it ran, recover, then set it back and run `etcdup apply`",
};

/// Whether a recovery of the cluster is under way, or was undone by members that came back, where
/// anything else is asked for.
pub(crate) fn open(target: &Target, seen: &Observation) -> Vec<Finding> {
    let file = target.file();
    if let Some(record) = open_record(file, seen) {
        let hosts = file.hosts.keys().filter(|host| {
            let known = seen.host(host).and_then(HostView::record);
            let known = known.and_then(|known| known.recover.as_ref());
            known.is_some_and(|known| known.is_same(record))
        });
        let evidence = || format!("{} goes on alone", record.member);
        return hosts
            .map(|host| RECOVER_OPEN.error(host, evidence()))
            .collect();
    }
    let back = came_back(target, seen).into_iter();
    back.map(|member| {
        let evidence = format!("{} on {} has data of before", member.name, member.host);
        CAME_BACK.error(&member.name, evidence)
    })
    .collect()
}

pub(crate) fn next(target: &Target, seen: &Observation, gone: &[MemberName]) -> Next {
    let open = open_record(target.file(), seen).filter(|open| {
        // One that is lost meanwhile cannot go on: another does.
        !gone.contains(&open.member)
    });
    match open {
        Some(open) => go_on(target, seen, open, gone),
        None => begin(target, seen, gone),
    }
}

/// A member that could go on, and how far its log goes.
struct Survivor<'a> {
    member: &'a Member,
    log: RaftLog,
}

fn begin(target: &Target, seen: &Observation, gone: &[MemberName]) -> Next {
    let ended = last(target.file(), seen).filter(|last| !last.is_open());
    let goes_on = ended.filter(|ended| serves_alone(seen, ended));
    let back: BTreeSet<&MemberName> = came_back(target, seen)
        .into_iter()
        .map(|member| &member.name)
        .collect();
    if goes_on.is_some() {
        let aside = set_aside(target, seen, |member| back.contains(&member.name));
        return aside.unwrap_or(Next::Done);
    }
    let served: Vec<&MemberName> = {
        let names = seen.members.keys();
        names.filter(|name| seen.serves(name)).collect()
    };
    if let (Some(ended), false) = (ended, served.is_empty() || back.is_empty()) {
        let evidence = format!(
            "{} does not serve, by which the cluster was recovered",
            ended.member
        );
        let advice = "start that member on its host, and run `etcdup recover` again";
        let found = back.into_iter();
        let found = found.map(|name| CAME_BACK.error(name, evidence.clone()).advise(advice));
        return Next::Blocked(found.collect());
    }
    if !served.is_empty() {
        let served = served.into_iter();
        let served = served.map(|name| NOT_LOST.error(name, "it serves"));
        return Next::Blocked(served.collect());
    }
    let mut findings = unproven(target, seen, gone);
    findings.extend(reset::foreign(target, seen, None));
    if !findings.is_empty() {
        return Next::Blocked(findings);
    }
    let survivors = match survivors(target, seen, gone) {
        Ok(survivors) => survivors,
        Err(findings) => return Next::Blocked(findings),
    };
    let Some(first) = survivors.first() else {
        let evidence = "no host that answers has data of one of its voters";
        return Next::Blocked(vec![RECOVER_DATA.error(&target.topology.cluster, evidence)]);
    };
    let voters = voters(target, seen);
    if survivors.len() >= quorum_of(voters) {
        let evidence = format!("{} of {voters} voters have their data", survivors.len());
        return Next::Blocked(vec![NOT_LOST.error(&target.topology.cluster, evidence)]);
    }
    if let Some(finding) = other_release(target, seen, first.member) {
        return Next::Blocked(vec![finding]);
    }
    let Some(DataDir::Member(data)) = data_of(seen, first.member) else {
        return Next::Done;
    };
    let record = RecoverRecord {
        count: last(target.file(), seen).map_or(1, |last| last.count + 1),
        before: others(target, seen, data.member),
        member: first.member.name.clone(),
        cluster: data.cluster,
        index: first.log.committed,
        phase: RecoverPhase::Stopping,
    };
    let tasks = answering(target, seen).map(|host| {
        let note = HostStep::NoteRecover(Box::new(record.clone()));
        (host.clone(), vec![note])
    });
    let title = format!("begin to recover the cluster by {}", first.member.name);
    let why = reasons(&survivors, gone);
    stage(
        Rule::BeginRecover,
        title,
        why,
        Impact::None,
        tasks.collect(),
    )
}

/// The hosts of members that answer.
fn answering<'a>(target: &'a Target, seen: &'a Observation) -> impl Iterator<Item = &'a HostId> {
    let topology = &target.topology;
    let hosts = topology.hosts.keys();
    hosts.filter(|host| topology.on_host(host).next().is_some() && seen.host(host).is_some())
}

/// Members that may run though nobody sees them, and what is wrong with those that are called gone.
fn unproven(target: &Target, seen: &Observation, gone: &[MemberName]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for name in gone {
        if target.topology.member(name).is_none() {
            findings.push(RECOVER_GONE.error(name, "the file has no member of that name"));
        } else if seen.member(name).is_some() {
            findings.push(RECOVER_GONE.error(name, "it answers"));
        }
    }
    for member in target.topology.everyone() {
        let why = match seen.hosts.get(&member.host) {
            Some(Observed::Known(_)) => continue,
            Some(Observed::Unknown(unseen)) => unseen.why.clone(),
            None => "it was not asked".to_owned(),
        };
        if !gone.contains(&member.name) {
            let evidence = format!("{}: {why}", member.host);
            findings.push(RECOVER_UNSEEN.error(&member.name, evidence));
        }
    }
    findings
}

/// How many votes there were: by a member's own list, or as the file and the data have it.
fn voters(target: &Target, seen: &Observation) -> usize {
    let listed = ClusterView::any(seen).map(|view| {
        let members = view.members();
        members.filter(|listed| !listed.learner).count()
    });
    listed.unwrap_or_else(|| known_members(target, seen).len())
}

/// The members that could go on, whoever's log goes furthest first.
fn survivors<'a>(
    target: &'a Target,
    seen: &Observation,
    gone: &[MemberName],
) -> Result<Vec<Survivor<'a>>, Vec<Finding>> {
    let recorded = recorded_cluster(&target.topology, seen);
    let (mut found, mut unknown) = (Vec::new(), Vec::new());
    for member in target.topology.everyone() {
        let Some(host) = seen.host(&member.host) else {
            continue;
        };
        let Some(DataDir::Member(data)) = host.data.get(&member.layout.data) else {
            continue;
        };
        let learner = seen.member(&member.name).is_some_and(|view| view.learner);
        let other = recorded.is_some_and(|recorded| recorded != data.cluster);
        if learner || other || gone.contains(&member.name) {
            continue;
        }
        match host.raft_logs.get(&member.layout.data) {
            Some(Observed::Known(log)) if log.damaged => {
                let evidence = format!("it is damaged after entry {}", log.last);
                unknown.push(RECOVER_LOG.error(&member.name, evidence));
            }
            Some(Observed::Known(log)) => found.push(Survivor { member, log: *log }),
            Some(Observed::Unknown(unseen)) => {
                unknown.push(RECOVER_LOG.error(&member.name, unseen.why.clone()));
            }
            None => unknown.push(RECOVER_LOG.error(&member.name, "it was not read")),
        }
    }
    if !unknown.is_empty() {
        return Err(unknown);
    }
    // What is not known to be committed is dropped by etcd, so that only the rest counts. Of equals
    // the first in the file.
    found.sort_by_key(|one| std::cmp::Reverse((one.log.committed, one.log.term)));
    Ok(found)
}

/// The member's release is not the file's.
fn other_release(target: &Target, seen: &Observation, member: &Member) -> Option<Finding> {
    let record = seen.host(&member.host)?.record()?;
    let ran = &record.members.get(&member.etcd_name)?.version;
    let wanted = target.topology.version.to_string();
    (*ran != wanted).then(|| {
        let evidence = format!("it ran etcd {ran}, and the file asks for {wanted}");
        RECOVER_RELEASE.error(&member.name, evidence)
    })
}

/// What a person must know before it.
fn reasons(survivors: &[Survivor<'_>], gone: &[MemberName]) -> Vec<String> {
    let mut why = Vec::new();
    for Survivor { member, log } in survivors {
        let written = log.written.and_then(|at| Timestamp::from_second(at).ok());
        let written = written.map(|at| format!(", last written {}", at.strftime("%F %T UTC")));
        let dropped = match log.last.saturating_sub(log.committed) {
            0 => String::new(),
            1 => "; 1 later entry is not known to be committed, and is dropped".to_owned(),
            more => {
                format!("; {more} later entries are not known to be committed, and are dropped")
            }
        };
        why.push(format!(
            "{} on {}: committed up to entry {} in term {}{}{dropped}",
            member.name,
            member.host,
            log.committed,
            log.term,
            written.unwrap_or_default()
        ));
    }
    if let Some(Survivor { member, log }) = survivors.first() {
        why.push(format!(
            "{} goes on: whatever was acknowledged after entry {} is lost",
            member.name, log.committed
        ));
    }
    if !gone.is_empty() {
        let names: Vec<&str> = gone.iter().map(MemberName::as_str).collect();
        why.push(format!(
            "you say that these are gone: {}; one that starts again with its data divides the cluster",
            names.join(", ")
        ));
    }
    why
}

fn go_on(target: &Target, seen: &Observation, open: &RecoverRecord, gone: &[MemberName]) -> Next {
    let findings = unproven(target, seen, gone);
    if !findings.is_empty() {
        return Next::Blocked(findings);
    }
    let chosen = target.topology.member(&open.member);
    let Some((member, host)) = chosen.and_then(|member| Some((member, seen.host(&member.host)?)))
    else {
        let evidence = format!("it was to go on with {}, which is not there", open.member);
        return Next::Blocked(vec![RECOVER_DATA.error(&open.member, evidence)]);
    };
    match open.phase {
        RecoverPhase::Stopping => {
            let foreign = reset::foreign(target, seen, None);
            if !foreign.is_empty() {
                return Next::Blocked(foreign);
            }
            stop_all(target, seen).unwrap_or_else(|| force(target, seen, member, host, open))
        }
        RecoverPhase::Forced | RecoverPhase::Ended => {
            if !host.processes.contains_key(&member.name) {
                return start(target, seen, member);
            }
            if !seen.serves(&member.name) {
                return wait(target, member);
            }
            let others = |other: &Member| other.name != member.name;
            set_aside(target, seen, others).unwrap_or_else(|| end(seen, member, open))
        }
    }
}

/// Whether a member runs, or would at the next boot.
fn may_run(member: &Member, host: &HostView) -> bool {
    let unit = host.units.get(&member.layout.unit);
    let enabled = member.layout.is_systemd() && unit.is_some_and(|unit| unit.enabled);
    let pod = member.layout.is_pod() && host.files.contains_key(&member.layout.manifest);
    host.processes.contains_key(&member.name) || enabled || pod
}

fn stop_all(target: &Target, seen: &Observation) -> Option<Next> {
    let mut why = Vec::new();
    let mut tasks: BTreeMap<HostId, Vec<HostStep>> = BTreeMap::new();
    for member in target.topology.everyone() {
        let Some(host) = seen.host(&member.host) else {
            continue;
        };
        if may_run(member, host) {
            why.push(format!("{} on {}", member.name, member.host));
            let task = tasks.entry(member.host.clone()).or_default();
            task.extend(stop(target, member, host));
        }
    }
    let outage = Impact::Outage("no member runs until one of them goes on".to_owned());
    let title = "stop every member; no data is changed yet".to_owned();
    (!tasks.is_empty()).then(|| stage(Rule::StopAll, title, why, outage, tasks))
}

fn force(
    target: &Target,
    seen: &Observation,
    member: &Member,
    host: &HostView,
    open: &RecoverRecord,
) -> Next {
    let layout = &member.layout;
    let fetched = layout
        .is_pod()
        .then(|| fetch_tools(&target.topology, member));
    let (tools, fetch) = fetched.flatten().unzip();
    let forced = ForcedMember {
        member: member.name.clone(),
        name: member.etcd_name.clone(),
        data: layout.data.clone(),
        log: layout.wal.clone(),
        owner: layout.owner(),
        binaries: tools.clone().unwrap_or_else(|| layout.binaries.clone()),
        client_port: member.ports.client,
        peer_port: member.ports.peer,
    };
    let mut steps: Vec<HostStep> = fetch.into_iter().collect();
    steps.push(HostStep::ForceNew(Box::new(forced)));
    steps.extend(tools.map(HostStep::Remove));
    let note = Box::new(open.at(RecoverPhase::Forced));
    steps.push(HostStep::NoteRecover(note));
    steps.extend(starts(target, seen, member, host));
    let name = &member.name;
    let why = vec![
        "every other member is stopped, or gone as you say".to_owned(),
        format!(
            "a copy of its data is changed; the data itself is kept on {}",
            member.host
        ),
    ];
    Next::Stage(Box::new(Stage {
        key: StageKey::new(Rule::ForceNew, Some(name)),
        title: format!("make {name} the only member, and start it"),
        why,
        impact: Impact::None,
        preconditions: Vec::new(),
        work: Work::Hosts(BTreeMap::from([(member.host.clone(), steps)])),
        postconditions: vec![serves(target, name)],
    }))
}

/// Starts a member that was stopped, as it ran.
fn starts(target: &Target, seen: &Observation, member: &Member, host: &HostView) -> Vec<HostStep> {
    let layout = &member.layout;
    let mut steps = Vec::new();
    if layout.is_systemd() {
        if !host
            .files
            .contains_key(&target.desired(member).settled.path)
        {
            let unit = target.desired(member).settled.clone();
            steps.extend([HostStep::File(unit), HostStep::Reload]);
        }
        steps.push(HostStep::Enable(layout.unit.clone()));
    }
    let assessed = assess(target, seen, member, Bootstrap::Complete);
    steps.extend(assessed.iter().flat_map(start_steps));
    steps
}

fn start(target: &Target, seen: &Observation, member: &Member) -> Next {
    let steps = seen
        .host(&member.host)
        .map(|host| starts(target, seen, member, host));
    let name = &member.name;
    Next::Stage(Box::new(Stage {
        key: StageKey::new(Rule::Start, Some(name)),
        title: format!("start {name}, the only member"),
        why: vec![format!("{name}: does not run")],
        impact: Impact::None,
        preconditions: Vec::new(),
        work: Work::Hosts(BTreeMap::from([(
            member.host.clone(),
            steps.unwrap_or_default(),
        )])),
        postconditions: vec![serves(target, name)],
    }))
}

fn wait(target: &Target, member: &Member) -> Next {
    let gate: Gate = serves(target, &member.name);
    Next::Stage(Box::new(Stage {
        key: StageKey::new(Rule::Wait, Some(&member.name)),
        title: format!("wait for {} to serve", member.name),
        why: vec![format!("{}: runs, and does not serve yet", member.name)],
        impact: Impact::None,
        preconditions: Vec::new(),
        work: Work::Hosts(BTreeMap::new()),
        postconditions: vec![gate],
    }))
}

/// Stops these members, moves their data aside and has their hosts forget the cluster.
fn set_aside(
    target: &Target,
    seen: &Observation,
    is_aside: impl Fn(&Member) -> bool,
) -> Option<Next> {
    let topology = &target.topology;
    let mut why = Vec::new();
    let mut tasks: BTreeMap<HostId, Vec<HostStep>> = BTreeMap::new();
    for member in topology.everyone().filter(|member| is_aside(member)) {
        let Some(host) = seen.host(&member.host) else {
            continue;
        };
        let steps = aside(target, member, host);
        // What stays on the host is known there still.
        let stays = topology.on_host(&member.host).any(|other| !is_aside(other));
        let record = host.record();
        let known = record.is_some_and(|record| match stays {
            true => record.members.contains_key(&member.etcd_name),
            false => record.cluster.is_some() || record.recover.is_some(),
        });
        let forget = known.then(|| match stays {
            true => HostStep::ForgetMember(member.etcd_name.clone()),
            false => HostStep::Forget,
        });
        if !steps.is_empty() || forget.is_some() {
            why.push(format!("{} on {}", member.name, member.host));
            let task = tasks.entry(member.host.clone()).or_default();
            task.extend(steps);
            task.extend(forget.filter(|forget| !task.contains(forget)));
        }
    }
    let title = "move the data of the other members aside, and forget them".to_owned();
    (!tasks.is_empty()).then(|| stage(Rule::SetAside, title, why, Impact::None, tasks))
}

fn aside(target: &Target, member: &Member, host: &HostView) -> Vec<HostStep> {
    let layout = &member.layout;
    let mut steps = match may_run(member, host) {
        true => stop(target, member, host),
        false => Vec::new(),
    };
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

fn end(seen: &Observation, member: &Member, open: &RecoverRecord) -> Next {
    let ended = Box::new(open.at(RecoverPhase::Ended));
    let revision = seen.member(&member.name).map_or(0, |view| view.revision);
    let why = vec![
        format!("{} serves alone, at revision {revision}", member.name),
        "no other member is left on a host that answers".to_owned(),
    ];
    let tasks = BTreeMap::from([(member.host.clone(), vec![HostStep::NoteRecover(ended)])]);
    stage(
        Rule::EndRecover,
        "end the recovery".to_owned(),
        why,
        Impact::None,
        tasks,
    )
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
