//! The care of a cluster that serves: its databases give back what they do not use, the alarm of a
//! full one is disarmed, another member leads. etcdup writes no file on a host for it.

use std::collections::BTreeSet;

use etcdup_core::finding::{Check, Finding};
use etcdup_core::flag::quota_of;
use etcdup_core::membership::{ClusterView, Electorate, MemberId};
use etcdup_core::name::MemberName;
use etcdup_core::observation::{CORRUPT, MemberView, NO_SPACE, Observation};
use etcdup_core::observed::{Cause, Observed};
use etcdup_core::stage::{
    Alarm, ClusterStep, Condition, Gate, Impact, Next, Rule, Stage, StageKey, Work, limits,
};
use etcdup_core::topology::{ClusterState, Member};

use crate::generation::recorded_cluster;
use crate::rules::conflict::AUTH_DENIED;
use crate::rules::roll::{OUTAGE, hand_over};
use crate::target::Target;

pub(crate) const CHECKS: &[Check] = &[
    NO_QUORUM,
    OF_ANOTHER,
    CORRUPT_DATA,
    NO_ROOM,
    STILL_FULL,
    CANNOT_LEAD,
];

const NO_QUORUM: Check = Check {
    id: "no-quorum",
    title: "no quorum of the cluster serves",
    about: "Compaction, alarms and leadership are what members agree on. Without a quorum there is nothing to agree with.",
    advice: "`etcdup status` shows who is down; `etcdup apply` starts what does not run",
};
const OF_ANOTHER: Check = Check {
    id: "answers-for-another",
    title: "a member of the file answers as another member or cluster",
    about: "Whatever is done would be done to both: history of the one would be dropped up to a revision of the other.",
    advice: "`etcdup plan` says what it is; put that right first",
};
const CORRUPT_DATA: Check = Check {
    id: "corrupt",
    title: "a member's data differs from the others'",
    about: "etcd raised the alarm CORRUPT: the cluster takes no writes. Disarming it, or freeing space, would only hide that \
            members answer differently. The alarm outlives the member: once that was removed, `etcdup alarm disarm` disarms it.",
    advice: "replace the member (`etcdup verify` compares hashes): delete its [[member]], apply, `etcdup alarm disarm`, add it \
             again, apply",
};
const NO_ROOM: Check = Check {
    id: "defragment-room",
    title: "there is no room to defragment",
    about: "etcd writes the database again beside the old one, without what is not used, and renames it then. On a disk that is \
            full it would fail half-way.",
    advice: "free the disk of the data directory, or give the member a larger one (`data` of its [[member]])",
};
const STILL_FULL: Check = Check {
    id: "still-full",
    title: "the database nearly reaches its quota",
    about: "More than 90 % of the quota is taken, or less than 16 MiB are left of it. An alarm that is disarmed would soon be raised \
            again.",
    advice: "run `etcdup maintain`, which compacts and defragments. If it says the same, raise quota-backend-bytes under [flags] \
             (etcd warns above 8 GiB and takes it), apply, and run it again, or delete keys",
};
const CANNOT_LEAD: Check = Check {
    id: "cannot-lead",
    title: "nobody can take over leadership",
    about: "Leadership can only move to a voter that serves and is not already the leader.",
    advice: "`etcdup status` shows who serves",
};

/// How much the disk must have left besides the new database, in bytes.
const SPARE: u64 = 64 << 20;
/// What etcd writes a second, in bytes: about 10 s for a gigabyte, as its documentation has it.
const SPEED: i64 = 100 << 20;
/// How much of a quota must be left before the alarm is disarmed, in bytes: some of etcd's
/// largest requests.
const LEFT: i64 = 16 << 20;

/// The ID that etcd gives for a member that it does not know.
const NOBODY: u64 = 0;

/// How much of the work is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    /// History is dropped though nothing demands it.
    pub(crate) compact: bool,
    /// Every member is defragmented.
    pub(crate) all: bool,
    /// A pause that takes the cluster out of service is approved.
    pub(crate) allow_outage: bool,
}

/// A member that answers, and what.
#[derive(Clone, Copy)]
struct Answering<'a> {
    member: &'a Member,
    view: &'a MemberView,
}

/// The members that can be cared for, in the file's order: voters that serve, and learners, which
/// etcd refuses a linearizable read.
fn answering<'a>(target: &'a Target, seen: &'a Observation) -> Vec<Answering<'a>> {
    let found = target.topology.everyone().filter_map(|member| {
        let view = seen.member(&member.name)?;
        (seen.serves(&member.name) || view.learner).then_some(Answering { member, view })
    });
    found.collect()
}

fn voters<'a, 'b>(members: &'b [Answering<'a>]) -> impl Iterator<Item = &'b Answering<'a>> {
    members.iter().filter(|one| !one.view.learner)
}

fn names(target: &Target) -> Vec<MemberName> {
    let everyone = target.topology.everyone();
    everyone.map(|member| member.name.clone()).collect()
}

fn stage(rule: Rule, subject: Option<&MemberName>, title: String, step: ClusterStep) -> Stage {
    Stage {
        key: StageKey::new(rule, subject),
        title,
        why: Vec::new(),
        impact: Impact::None,
        preconditions: Vec::new(),
        work: Work::Cluster(step),
        postconditions: Vec::new(),
    }
}

/// Whether this operation has carried such a stage out, whatever leg it was of.
fn is_done(seen: &Observation, rule: Rule, subject: Option<&MemberName>) -> bool {
    let same = |key: &StageKey| key.rule == rule && key.subject.as_ref() == subject;
    seen.done.iter().any(same)
}

/// What no care is taken without, and whom it is taken of.
fn usable<'a>(
    target: &'a Target,
    seen: &'a Observation,
) -> Result<Vec<Answering<'a>>, Vec<Finding>> {
    let denied = denied(target, seen);
    if !denied.is_empty() {
        return Err(denied);
    }
    let Some(view) = ClusterView::confirmed(seen) else {
        let evidence = "no member confirms a read with a quorum";
        return Err(vec![NO_QUORUM.error("cluster", evidence)]);
    };
    let own = recorded_cluster(&target.topology, seen).unwrap_or(view.cluster());
    let others = target.topology.everyone().filter_map(|member| {
        let answers = seen.member(&member.name)?;
        let evidence = if answers.cluster != own {
            format!(
                "it answers for cluster {}, and this one is {own}",
                answers.cluster
            )
        } else {
            let copy = seen.members.iter().find(|(name, other)| {
                **name != member.name && other.known().is_some_and(|other| other.id == answers.id)
            });
            format!("it answers as {} does, by one member ID", copy?.0)
        };
        Some(OF_ANOTHER.error(&member.name, evidence))
    });
    let others: Vec<Finding> = others.collect();
    match others.is_empty() {
        true => Ok(answering(target, seen)),
        false => Err(others),
    }
}

/// Members whose own authentication does not let us in: some of what is to be done they would do
/// all the same, and refuse the rest.
pub(crate) fn denied(target: &Target, seen: &Observation) -> Vec<Finding> {
    let of = |member: &Member| {
        let why = match seen.members.get(&member.name)? {
            Observed::Unknown(unseen) if unseen.cause == Cause::Denied => unseen.why.clone(),
            Observed::Known(view) if view.served.known().is_some_and(|served| served.denied) => {
                "its authentication is on, and etcdup has no user of the role root".to_owned()
            }
            Observed::Known(_) | Observed::Unknown(_) => return None,
        };
        Some(AUTH_DENIED.error(&member.name, why))
    };
    target.topology.everyone().filter_map(of).collect()
}

/// Whose data is said to be corrupt: members of the list, and those that were removed, which the
/// alarm outlives. Since 3.4.23 and 3.5.7 etcd may not say whose it is: then it is of some member
/// of the list.
fn corrupt(seen: &Observation) -> (Vec<MemberId>, Vec<MemberId>) {
    let view = ClusterView::confirmed(seen);
    let listed = |id: &MemberId| {
        id.get() == NOBODY || view.as_ref().is_some_and(|view| view.member(*id).is_some())
    };
    seen.alarms(CORRUPT).into_iter().partition(listed)
}

/// What all else waits for: no member's data is corrupt, and what is left of those that were
/// removed is disarmed.
fn begin<'a>(target: &'a Target, seen: &'a Observation) -> Result<Vec<Answering<'a>>, Next> {
    let members = usable(target, seen).map_err(Next::Blocked)?;
    let (listed, removed) = corrupt(seen);
    if !listed.is_empty() {
        let of = |id: MemberId| {
            if id.get() == NOBODY {
                let evidence = "the alarm CORRUPT is raised, and etcd does not say of which member";
                let advice = "`etcdup verify` compares hashes: replace the member that differs from the others (delete its \
                              [[member]], apply, add it again, apply); once all agree, `etcdup etcdctl -- alarm disarm`";
                return CORRUPT_DATA.error("cluster", evidence).advise(advice);
            }
            let name = seen.name_of(id);
            let name = name.map_or_else(|| id.to_string(), ToString::to_string);
            CORRUPT_DATA.error(name, "the alarm CORRUPT is raised")
        };
        return Err(Next::Blocked(listed.into_iter().map(of).collect()));
    }
    if !removed.is_empty() {
        let why = "the members that it is about were removed, and the cluster takes no writes";
        return Err(take_back(Alarm::Corrupt, removed, vec![why.to_owned()]));
    }
    Ok(members)
}

/// History first, then one member after the other, the leader last, then the alarm.
pub(crate) fn maintain(target: &Target, seen: &Observation, wanted: Wanted) -> Next {
    let members = match begin(target, seen) {
        Ok(members) => members,
        Err(next) => return next,
    };
    let full = !seen.alarms(NO_SPACE).is_empty();
    let due = |one: &&Answering<'_>| {
        let done = is_done(seen, Rule::Defragment, Some(&one.member.name));
        // Nobody waits for a host that does not answer while no client can write.
        let urgent = full || is_done(seen, Rule::Disarm, None);
        let skipped = urgent && disk_unseen(seen, one).is_some();
        !done && !skipped && (full || wanted.all || one.view.is_fragmented())
    };
    let due: Vec<Answering<'_>> = members.iter().filter(due).copied().collect();
    // Before history is dropped: it would be dropped for nothing.
    let unspared = unspared(target, seen, &due, wanted.allow_outage);
    if !unspared.is_empty() {
        return Next::Blocked(unspared);
    }
    if (full || wanted.compact) && !is_done(seen, Rule::Compact, None) {
        return Next::Stage(Box::new(compact(&members, full)));
    }
    if !due.is_empty() {
        return match defragment(target, seen, &members, &due) {
            Ok(stage) => Next::Stage(Box::new(stage)),
            Err(findings) => Next::Blocked(findings),
        };
    }
    match full {
        true => disarm(target, seen, &members),
        false => Next::Done,
    }
}

/// All that was before what every one of them has applied is forgotten. Kubernetes' apiserver drops
/// what is older than five minutes by itself, and cannot while the cluster takes no writes.
fn compact(members: &[Answering<'_>], full: bool) -> Stage {
    let applied = voters(members).map(|voter| voter.view.revision);
    let revision = applied.min().unwrap_or_default();
    let step = ClusterStep::Compact { revision };
    let title = format!("compact to revision {revision}");
    let mut stage = stage(Rule::Compact, None, title, step);
    let reason = match full {
        true => "the alarm NOSPACE is raised: a database is full, and the cluster takes no writes",
        false => "asked for with --compact",
    };
    let watchers =
        "a watch from an older revision fails with `compacted`, and its client must list again";
    stage.why.extend([reason, watchers].map(str::to_owned));
    let serve = voters(members).map(|voter| Gate::serves(&voter.member.name));
    stage.postconditions = serve.collect();
    stage
}

/// Whether the others are a quorum without a member. etcd goes on voting while it defragments, but
/// it answers nothing, and whether it comes back is not known before.
fn is_spared(electorate: &Electorate, one: &Answering<'_>) -> bool {
    let stop = BTreeSet::from([one.member.name.clone()]);
    one.view.learner || electorate.spare(&stop).is_ok()
}

/// Who is due and cannot be spared, where that was not approved.
fn unspared(
    target: &Target,
    seen: &Observation,
    due: &[Answering<'_>],
    allowed: bool,
) -> Vec<Finding> {
    let electorate = Electorate::of(seen, &names(target));
    let of = |one: &Answering<'_>| {
        let name = &one.member.name;
        (!allowed && !is_spared(&electorate, one)).then(|| {
            let evidence = format!(
                "{name} answers nothing while it is defragmented, and the others are no quorum without it ({} of {} voters are healthy)",
                electorate.healthy(),
                electorate.len()
            );
            OUTAGE.error(name, evidence)
        })
    };
    due.iter().filter_map(of).collect()
}

fn defragment(
    target: &Target,
    seen: &Observation,
    members: &[Answering<'_>],
    due: &[Answering<'_>],
) -> Result<Stage, Vec<Finding>> {
    // What one gives back may be what another on the same disk needs.
    let (fit, without): (Vec<Answering<'_>>, Vec<Answering<'_>>) =
        due.iter().partition(|one| no_room(seen, one).is_none());
    let leads = |one: &Answering<'_>| seen.leader() == Some(&one.member.name);
    let follower = fit.iter().find(|one| !leads(one));
    let Some(one) = follower.or(fit.first()) else {
        return Err(without
            .iter()
            .filter_map(|one| no_room(seen, one))
            .collect());
    };
    let name = &one.member.name;
    if leads(one)
        && let Some(other) = voters(members).find(|other| other.member.name != *name)
    {
        let why = format!("{name}: leads, and answers nothing while it is defragmented");
        return Ok(hand_over(name, &other.member.name, why));
    }
    let (size, used) = (one.view.db_size, one.view.db_in_use);
    let step = ClusterStep::Defragment {
        member: name.clone(),
    };
    let mut stage = stage(
        Rule::Defragment,
        Some(name),
        format!("defragment {name}"),
        step,
    );
    stage
        .why
        .push(match is_done(seen, Rule::Compact, None) && used == 0 {
            // Predicted: how much is history is not known before it is gone.
            true => {
                let (seconds, size) = (size / SPEED + 1, mebibytes(size));
                format!("{name}: its database is {size}; at most about {seconds} s")
            }
            false => {
                let seconds = used / SPEED + 1;
                let (used, size) = (mebibytes(used), mebibytes(size));
                format!("{name}: {used} of {size} are in use; about {seconds} s")
            }
        });
    stage.postconditions.push(match one.view.learner {
        true => Gate::caught_up(name),
        false => Gate::serves(name),
    });
    if !is_spared(&Electorate::of(seen, &names(target)), one) {
        stage.impact = Impact::Outage(format!(
            "no quorum without {name}, which answers nothing while it is defragmented"
        ));
        return Ok(stage);
    }
    stage.impact = Impact::Pause(name.clone());
    stage.preconditions.push(Gate {
        condition: Condition::QuorumWithout {
            stop: BTreeSet::from([name.clone()]),
            members: names(target),
        },
        within: limits::QUORUM_WITHOUT,
    });
    if !one.view.learner {
        // Who leads may have changed since.
        stage.preconditions.push(Gate {
            condition: Condition::NotLeader(name.clone()),
            within: limits::LEADER_MOVED,
        });
    }
    Ok(stage)
}

/// Why it is not known how much a member's disk has free, where it is not.
fn disk_unseen(seen: &Observation, one: &Answering<'_>) -> Option<String> {
    let host = &one.member.host;
    let view = seen.hosts.get(host);
    let disks = view.and_then(Observed::known).map(|view| &view.disks);
    if disks.is_some_and(|disks| disks.contains_key(&one.member.layout.data)) {
        return None;
    }
    let why = view.and_then(Observed::why);
    let why = why.map_or_else(String::new, |why| format!(": {why}"));
    Some(format!("it is not known how much is free on {host}{why}"))
}

/// Why the disk has no room for the new database beside the old one, or is not known to have it.
fn no_room(seen: &Observation, one: &Answering<'_>) -> Option<Finding> {
    let host = seen.host(&one.member.host);
    let disk = host.and_then(|host| host.disks.get(&one.member.layout.data));
    let Some(disk) = disk else {
        let evidence = disk_unseen(seen, one)?;
        let finding = NO_ROOM.error(&one.member.name, evidence);
        return Some(
            finding.advise("see to it that etcdup can look at the host, and run it again"),
        );
    };
    let needed = u64::try_from(one.view.db_in_use).ok()? + SPARE;
    (disk.free < needed).then(|| {
        let evidence = format!(
            "{} is free on {}, and {} is needed",
            mebibytes(disk.free.try_into().unwrap_or(i64::MAX)),
            one.member.host,
            mebibytes(needed.try_into().unwrap_or(i64::MAX))
        );
        NO_ROOM.error(&one.member.name, evidence)
    })
}

fn mebibytes(bytes: i64) -> String {
    format!("{} MiB", bytes >> 20)
}

/// The alarms that a snapshot holds, of the cluster that it was taken of, whoever they name: every
/// member has the same data by now, which the executor makes sure of before it disarms CORRUPT, and
/// a database that is still full raises NOSPACE again.
pub(crate) fn disarm_restored(seen: &Observation) -> Option<Next> {
    let alarms = [(Alarm::NoSpace, NO_SPACE), (Alarm::Corrupt, CORRUPT)];
    alarms.into_iter().find_map(|(alarm, name)| {
        let raised: Vec<MemberId> = seen.alarms(name).into_iter().collect();
        let why = "it was raised in the cluster that the snapshot was taken of";
        (!raised.is_empty()).then(|| take_back(alarm, raised, vec![why.to_owned()]))
    })
}

/// The alarm goes once there is room: else a write raises it again soon.
fn disarm(target: &Target, seen: &Observation, members: &[Answering<'_>]) -> Next {
    let full = members.iter().filter_map(|one| {
        let host = seen.host(&one.member.host);
        let process = host.and_then(|host| host.processes.get(&one.member.name));
        // Where the host does not say, the file does.
        let quota = match process {
            Some(process) => quota_of(&process.flags),
            None => quota_of(&target.topology.flags(one.member, ClusterState::Existing)),
        }?;
        let least = (quota / 10).max(LEFT.min(quota / 4));
        (quota.saturating_sub(one.view.db_size) < least).then(|| {
            let evidence = format!(
                "{} of a quota of {}, {} of it in use",
                mebibytes(one.view.db_size),
                mebibytes(quota),
                mebibytes(one.view.db_in_use)
            );
            STILL_FULL.error(&one.member.name, evidence)
        })
    });
    let full: Vec<Finding> = full.collect();
    if !full.is_empty() {
        return Next::Blocked(full);
    }
    let raised: Vec<MemberId> = seen.alarms(NO_SPACE).into_iter().collect();
    let mut why = vec!["the cluster takes no writes until then".to_owned()];
    let silent = |id: &&MemberId| !members.iter().any(|one| one.view.id == **id);
    why.extend(raised.iter().filter(silent).map(|id| {
        format!("member {id} does not answer: if its database is full when it is back, the alarm is raised again")
    }));
    why.extend(members.iter().filter_map(|one| {
        let why = disk_unseen(seen, one)?;
        Some(format!("{} is not defragmented: {why}", one.member.name))
    }));
    take_back(Alarm::NoSpace, raised, why)
}

fn take_back(alarm: Alarm, members: Vec<MemberId>, why: Vec<String>) -> Next {
    let title = format!("disarm the alarm {alarm}");
    let step = ClusterStep::Disarm { alarm, members };
    let mut stage = stage(Rule::Disarm, None, title, step);
    stage.why = why;
    stage.postconditions.push(Gate {
        condition: Condition::AlarmOver(alarm),
        within: limits::ALARM_OVER,
    });
    Next::Stage(Box::new(stage))
}

/// The alarm of a full database alone, and what is left of members that were removed.
pub(crate) fn disarm_only(target: &Target, seen: &Observation) -> Next {
    match begin(target, seen) {
        Err(next) => next,
        Ok(_) if seen.alarms(NO_SPACE).is_empty() => Next::Done,
        Ok(members) => disarm(target, seen, &members),
    }
}

/// Another member leads: the one that is named, or the first that serves.
pub(crate) fn move_leader(target: &Target, seen: &Observation, to: Option<&MemberName>) -> Next {
    let members = match usable(target, seen) {
        Ok(members) => members,
        Err(findings) => return Next::Blocked(findings),
    };
    let refuse = |subject: &str, why: &str| Next::Blocked(vec![CANNOT_LEAD.error(subject, why)]);
    let Some(leader) = seen.leader() else {
        return refuse("cluster", "the members do not agree on a leader");
    };
    if to == Some(leader) || to.is_none() && is_done(seen, Rule::MoveLeader, None) {
        return Next::Done;
    }
    // Away from one whose data is corrupt is where one would want it to go.
    let (corrupt, _) = corrupt(seen);
    let mut others = voters(&members)
        .filter(|voter| voter.member.name != *leader && !corrupt.contains(&voter.view.id));
    let other = match to {
        Some(to) => others.find(|voter| voter.member.name == *to),
        None => others.next(),
    };
    match (other, to) {
        (Some(other), _) => {
            let why = format!("{leader} leads, and another member should");
            Next::Stage(Box::new(hand_over(leader, &other.member.name, why)))
        }
        (None, Some(to)) => refuse(
            to.as_str(),
            "it does not serve as a voter, or its data is corrupt",
        ),
        (None, None) => refuse("cluster", "there is no other voter that serves"),
    }
}
