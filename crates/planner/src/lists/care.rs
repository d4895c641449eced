//! The care of a cluster that serves: its databases give back what they do not use, the alarm of a
//! full one is taken back, another member leads. Nothing on a host is changed by it.

use std::collections::BTreeSet;

use etcdup_core::finding::{Check, Finding};
use etcdup_core::membership::{ClusterView, Electorate};
use etcdup_core::name::MemberName;
use etcdup_core::observation::{CORRUPT, MemberView, NO_SPACE, Observation};
use etcdup_core::stage::{
    ClusterStep, Condition, Gate, Impact, Next, Rule, Stage, StageKey, Work, limits,
};
use etcdup_core::topology::Member;

use crate::rules::roll::{OUTAGE, hand_over};
use crate::target::Target;

pub(crate) const CHECKS: &[Check] = &[NO_QUORUM, CORRUPT_DATA, NO_ROOM, STILL_FULL, CANNOT_LEAD];

const NO_QUORUM: Check = Check {
    id: "no-quorum",
    title: "no quorum of the cluster serves",
    about: "Compaction, alarms and leadership are what members agree on. Without a quorum there is nothing to agree with.",
    advice: "`etcdup status` shows who is down; `etcdup apply` starts what does not run",
};
const CORRUPT_DATA: Check = Check {
    id: "corrupt",
    title: "a member's data differs from the others'",
    about: "etcd raised the alarm CORRUPT. Taking it back, or freeing space, would only hide that members answer differently.",
    advice: "find out which member is wrong (`etcdup verify` compares hashes), and replace it: delete its [[member]], apply, \
             add it again, apply",
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
    title: "the database is as large as its quota even after it was defragmented",
    about: "What is in it is in use. An alarm that is taken back would be raised again by the next write.",
    advice: "delete keys, or raise quota-backend-bytes under [flags] (8 GiB at most), apply, and run `etcdup maintain` again",
};
const CANNOT_LEAD: Check = Check {
    id: "cannot-lead",
    title: "nobody can take over leadership",
    about: "A leader is a voter that serves, and another than the one that leads.",
    advice: "`etcdup status` shows who serves",
};

/// How much the disk must have left besides the new database, in bytes.
const SPARE: u64 = 64 << 20;
/// What etcd writes a second, in bytes: about 10 s for a gigabyte, as its documentation has it.
const SPEED: i64 = 100 << 20;
/// etcd's own default of the quota.
const QUOTA: i64 = 2 << 30;

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

/// A voter that serves, and what it answered.
struct Voter<'a> {
    member: &'a Member,
    view: &'a MemberView,
}

/// The voters that serve, in the file's order.
fn voters<'a>(target: &'a Target, seen: &'a Observation) -> Vec<Voter<'a>> {
    let serving = target.topology.everyone().filter_map(|member| {
        let view = seen.member(&member.name)?;
        (seen.serves(&member.name) && !view.learner).then_some(Voter { member, view })
    });
    serving.collect()
}

fn names(target: &Target) -> Vec<MemberName> {
    let everyone = target.topology.everyone();
    everyone.map(|member| member.name.clone()).collect()
}

fn blocked(findings: Vec<Finding>) -> Next {
    Next::Blocked(findings)
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

/// Whether this operation has carried such a stage out.
fn is_done(seen: &Observation, rule: Rule, subject: Option<&MemberName>) -> bool {
    seen.done.contains(&StageKey::new(rule, subject))
}

/// What no care is taken without, and whom it is taken of.
fn usable<'a>(target: &'a Target, seen: &'a Observation) -> Result<Vec<Voter<'a>>, Vec<Finding>> {
    let corrupt = seen.alarms(CORRUPT);
    if !corrupt.is_empty() {
        let of = |id| {
            let mut known = seen.members.iter();
            let named = known.find(|(_, view)| view.known().is_some_and(|view| view.id == id));
            let name = named.map_or_else(|| id.to_string(), |(name, _)| name.to_string());
            CORRUPT_DATA.error(name, "the alarm CORRUPT is raised")
        };
        return Err(corrupt.into_iter().map(of).collect());
    }
    let voters = voters(target, seen);
    if voters.is_empty() || ClusterView::confirmed(seen).is_none() {
        let evidence = "no member confirms a read with a quorum";
        return Err(vec![NO_QUORUM.error("cluster", evidence)]);
    }
    Ok(voters)
}

/// History first, then one member after the other, the leader last, then the alarm.
pub(crate) fn maintain(target: &Target, seen: &Observation, wanted: Wanted) -> Next {
    let voters = match usable(target, seen) {
        Ok(voters) => voters,
        Err(findings) => return blocked(findings),
    };
    let full = !seen.alarms(NO_SPACE).is_empty();
    if (full || wanted.compact) && !is_done(seen, Rule::Compact, None) {
        return Next::Stage(Box::new(compact(&voters, full)));
    }
    let due = |voter: &&Voter<'_>| {
        let done = is_done(seen, Rule::Defragment, Some(&voter.member.name));
        !done && (full || wanted.all || voter.view.is_fragmented())
    };
    let due: Vec<&Voter<'_>> = voters.iter().filter(due).collect();
    if !due.is_empty() {
        return match defragment(target, seen, &voters, &due, wanted) {
            Ok(stage) => Next::Stage(Box::new(stage)),
            Err(findings) => blocked(findings),
        };
    }
    match full {
        true => disarm(target, seen, &voters),
        false => Next::Done,
    }
}

/// All that was before what every one of them has applied is forgotten. Kubernetes' apiserver drops
/// what is older than five minutes by itself, and cannot while the cluster takes no writes.
fn compact(voters: &[Voter<'_>], full: bool) -> Stage {
    let applied = voters.iter().map(|voter| voter.view.revision);
    let revision = applied.min().unwrap_or_default();
    let step = ClusterStep::Compact { revision };
    let title = format!("forget what keys were before revision {revision}");
    let mut stage = stage(Rule::Compact, None, title, step);
    stage.why.push(match full {
        true => "the alarm NOSPACE is raised: a database is full, and the cluster takes no writes"
            .to_owned(),
        false => {
            "it was asked for; a watch from an older revision is told `compacted`, and lists again"
                .to_owned()
        }
    });
    let serve = voters.iter().map(|voter| Gate::serves(&voter.member.name));
    stage.postconditions = serve.collect();
    stage
}

fn defragment(
    target: &Target,
    seen: &Observation,
    voters: &[Voter<'_>],
    due: &[&Voter<'_>],
    wanted: Wanted,
) -> Result<Stage, Vec<Finding>> {
    let room: Vec<Finding> = due
        .iter()
        .filter_map(|voter| no_room(seen, voter))
        .collect();
    if !room.is_empty() {
        return Err(room);
    }
    let leads = |voter: &Voter<'_>| seen.leader() == Some(&voter.member.name);
    let follower = due.iter().find(|voter| !leads(voter));
    let voter = match follower.or(due.first()) {
        Some(voter) => *voter,
        None => return Err(Vec::new()),
    };
    let name = &voter.member.name;
    let all = names(target);
    let electorate = Electorate::of(seen, &all);
    // One or two voters have nobody to spare.
    let outage = electorate.len() < 3;
    if leads(voter) && !outage {
        let others = voters.iter().filter(|other| other.member.name != *name);
        if let Some(other) = others.max_by_key(|other| other.view.applied_index) {
            let why = format!("{name}: leads, and answers nothing while it is defragmented");
            return Ok(hand_over(name, &other.member.name, why));
        }
    }
    if outage && !wanted.allow_outage {
        let evidence = format!(
            "{name} answers nothing while it is defragmented, and no quorum is left meanwhile (voters: {})",
            electorate.len()
        );
        return Err(vec![OUTAGE.error(name, evidence)]);
    }
    let (size, used) = (voter.view.db_size, voter.view.db_in_use);
    let step = ClusterStep::Defragment {
        member: name.clone(),
    };
    let title = format!("defragment {name}");
    let mut stage = stage(Rule::Defragment, Some(name), title, step);
    let seconds = used / SPEED + 1;
    stage.why.push(format!(
        "{name}: {} of {} are in use; some {seconds} s",
        mebibytes(used),
        mebibytes(size)
    ));
    stage.postconditions.push(Gate::serves(name));
    if outage {
        stage.impact = Impact::Outage(format!("no quorum while {name} is defragmented"));
    } else {
        stage.impact = Impact::Pause(name.clone());
        stage.preconditions.push(Gate {
            condition: Condition::QuorumWithout {
                stop: BTreeSet::from([name.clone()]),
                members: all,
            },
            within: limits::QUORUM_WITHOUT,
        });
    }
    Ok(stage)
}

/// Whether the disk has no room for the new database beside the old one, where that is known.
fn no_room(seen: &Observation, voter: &Voter<'_>) -> Option<Finding> {
    let host = seen.host(&voter.member.host)?;
    let disk = host.disks.get(&voter.member.layout.data)?;
    let needed = u64::try_from(voter.view.db_in_use).ok()? + SPARE;
    (disk.free < needed).then(|| {
        let evidence = format!(
            "{} is free on {}, and {} is needed",
            mebibytes(disk.free.try_into().unwrap_or(i64::MAX)),
            voter.member.host,
            mebibytes(needed.try_into().unwrap_or(i64::MAX))
        );
        NO_ROOM.error(&voter.member.name, evidence)
    })
}

fn mebibytes(bytes: i64) -> String {
    format!("{} MiB", bytes >> 20)
}

/// The alarm goes once there is room: else the next write raises it again.
fn disarm(target: &Target, seen: &Observation, voters: &[Voter<'_>]) -> Next {
    let full = voters.iter().filter_map(|voter| {
        let quota = quota_of(target, seen, voter.member);
        (voter.view.db_size >= quota).then(|| {
            let (size, quota) = (mebibytes(voter.view.db_size), mebibytes(quota));
            STILL_FULL.error(&voter.member.name, format!("{size} of a quota of {quota}"))
        })
    });
    let full: Vec<Finding> = full.collect();
    match full.is_empty() {
        true => Next::Stage(Box::new(take_back(seen))),
        false => blocked(full),
    }
}

/// The quota that a member runs with, in bytes.
fn quota_of(target: &Target, seen: &Observation, member: &Member) -> i64 {
    let host = seen.host(&member.host);
    let process = host.and_then(|host| host.processes.get(&member.name));
    let given = |flags: &etcdup_core::flag::FlagSet| {
        let quota = flags.get("quota-backend-bytes")?.parse::<i64>().ok()?;
        // None is the default, and less than none is no limit.
        Some(match quota {
            0 => QUOTA,
            ..0 => i64::MAX,
            quota => quota,
        })
    };
    let runs = process.map(|process| given(&process.flags));
    let file = || given(&target.desired(member).flags);
    runs.unwrap_or_else(file).unwrap_or(QUOTA)
}

fn take_back(seen: &Observation) -> Stage {
    let members: Vec<_> = seen.alarms(NO_SPACE).into_iter().collect();
    let title = "take the alarm NOSPACE back".to_owned();
    let mut stage = stage(Rule::Disarm, None, title, ClusterStep::Disarm { members });
    stage
        .why
        .push("the cluster takes no writes before".to_owned());
    stage.postconditions.push(Gate {
        condition: Condition::NoSpaceAlarmOver,
        within: limits::ALARM_OVER,
    });
    stage
}

/// The alarm of a full database alone.
pub(crate) fn disarm_only(target: &Target, seen: &Observation) -> Next {
    match usable(target, seen) {
        Err(findings) => blocked(findings),
        Ok(_) if seen.alarms(NO_SPACE).is_empty() => Next::Done,
        Ok(voters) => disarm(target, seen, &voters),
    }
}

/// Another member leads: the one that is named, or whoever has most of the log.
pub(crate) fn move_leader(target: &Target, seen: &Observation, to: Option<&MemberName>) -> Next {
    let voters = match usable(target, seen) {
        Ok(voters) => voters,
        Err(findings) => return blocked(findings),
    };
    let refuse = |subject: &str, why: &str| blocked(vec![CANNOT_LEAD.error(subject, why)]);
    let Some(leader) = seen.leader() else {
        return refuse("cluster", "the members do not agree on a leader");
    };
    if to == Some(leader) || to.is_none() && is_done(seen, Rule::MoveLeader, None) {
        return Next::Done;
    }
    let mut others = voters.iter().filter(|voter| voter.member.name != *leader);
    let other = match to {
        Some(to) => others.find(|voter| voter.member.name == *to),
        None => others.max_by_key(|voter| voter.view.applied_index),
    };
    match (other, to) {
        (Some(other), _) => {
            let why = format!("{leader} leads, and another is to");
            Next::Stage(Box::new(hand_over(leader, &other.member.name, why)))
        }
        (None, Some(to)) => refuse(to.as_str(), "it does not serve as a voter"),
        (None, None) => refuse("cluster", "there is no other voter that serves"),
    }
}
