//! Restarting members that must, one at a time: followers first, the leader last after it has
//! handed over.

use std::collections::{BTreeMap, BTreeSet};

use etcdup_core::finding::{Check, Finding};
use etcdup_core::name::MemberName;
use etcdup_core::stage::{
    ClusterStep, Condition, Gate, Impact, Rule, Stage, StageKey, Work, limits,
};
use etcdup_core::version::EtcdVersion;

use crate::assess::{Assessment, Difference};
use crate::leg::version::version_of;
use crate::plan_context::{Decision, PlanContext};
use crate::preflight::unresolved;
use crate::rules::moved;
use crate::rules::restart::{after_restart, restart_steps};
use crate::rules::spare::{can_be_spared, electorate, names};
use crate::rules::transition::failed_releases;
use crate::rules::version::first_of_minor;

pub(crate) const OUTAGE: Check = Check {
    id: "outage-not-approved",
    title: "a restart takes the cluster out of service",
    about: "With one or two voters no quorum is left while one restarts, so clients are not served for about a second, \
            or for as long as data is copied where it goes to another disk. This needs explicit approval.",
    advice: "run again with --allow-outage when clients can tolerate it",
};

pub(crate) const RESTART_WAITS: Check = Check {
    id: "restart-waits",
    title: "a restart waits for other members",
    about: "A member must restart, and the members that serve without it are no quorum: what was not seen counts as \
            unhealthy. Everything that needs no restart was done.",
    advice: "bring the other hosts back, then run again",
};

/// The members that must restart, followers first.
fn due<'w, 'a>(context: &'w PlanContext<'a>) -> Vec<&'w Assessment<'a>> {
    let leader = context.seen.leader();
    let mut due: Vec<_> = context
        .members
        .iter()
        .filter(|member| member.serves && member.takes_part())
        .filter(|member| member.restart_reasons().next().is_some())
        .collect();
    // One that is listed where it is to be, and does not listen there yet, comes before any other.
    due.sort_by_key(|member| {
        let leads = Some(&member.member.name) == leader;
        (leads, !moved::is_halfway(context, member))
    });
    due
}

/// Whether it may restart: with one or two voters every restart is an outage, which is asked about.
fn may_restart(context: &PlanContext<'_>, name: &MemberName) -> bool {
    electorate(context).len() < 3 || can_be_spared(context, name)
}

/// Members that must restart and cannot be spared.
pub(crate) fn waiting(context: &PlanContext<'_>) -> Vec<Finding> {
    due(context)
        .into_iter()
        .filter_map(|member| {
            let name = &member.member.name;
            let reason = member.restart_reasons().next()?;
            let evidence = format!(
                "{name} must restart ({reason}), and the other healthy members are no quorum without it"
            );
            Some(RESTART_WAITS.error(name, evidence))
        })
        .collect()
}

/// When only the leader is left to restart, it hands over to a follower first.
pub(crate) fn move_leader(context: &PlanContext<'_>) -> Decision {
    let due = due(context);
    let (Some(first), Some(leader)) = (due.first(), context.seen.leader()) else {
        return Decision::Continue;
    };
    if failed(context, first).is_some() {
        return Decision::Continue;
    }
    // With fewer than three voters the other one cannot keep a quorum alone, so leadership has
    // nowhere to stay.
    let few = electorate(context).len() < 3;
    if first.member.name != *leader || few || !can_be_spared(context, leader) {
        return Decision::Continue;
    }
    // Who may not move it restarts the leader as it is: an election follows, and a move that is
    // refused would end the roll here.
    let view = context.seen.member(leader);
    if view
        .and_then(|view| view.served.known())
        .is_some_and(|served| served.denied)
    {
        return Decision::Continue;
    }
    let Some(transferee) = context
        .members
        .iter()
        .find(|member| member.serves && member.member.name != *leader)
    else {
        return Decision::Continue;
    };
    let why = format!("{leader}: leads and must restart");
    Decision::run(hand_over(leader, &transferee.member.name, why))
}

/// Leadership moves to another member.
pub(crate) fn hand_over(leader: &MemberName, to: &MemberName, why: String) -> Stage {
    Stage {
        // Who leads when it comes to that is not known while planning, and does not matter to
        // anyone who approves it.
        key: StageKey::new(Rule::MoveLeader, None),
        title: format!("move leadership from {leader} to {to}"),
        why: vec![why],
        impact: Impact::None,
        preconditions: Vec::new(),
        work: Work::Cluster(ClusterStep::MoveLeader {
            from: leader.clone(),
            to: to.clone(),
        }),
        postconditions: vec![Gate {
            condition: Condition::NotLeader(leader.clone()),
            within: limits::LEADER_MOVED,
        }],
    }
}

pub(crate) fn restart_one(context: &PlanContext<'_>) -> Decision {
    let due = due(context);
    let Some(member) = due.first() else {
        return Decision::Continue;
    };
    let name = &member.member.name;
    if !may_restart(context, name) {
        return Decision::Continue;
    }
    if let Some(failed) = failed(context, member) {
        return Decision::Block(failed);
    }
    let unresolved = unresolved(context.target, member.member, member.host);
    if !unresolved.is_empty() {
        return Decision::Block(unresolved);
    }
    let voters = electorate(context).len();
    let outage = voters < 3;
    // Once enough members have joined it is no outage any more.
    let enough = context.target.topology.members.len() >= 3;
    // What peers reach it by may be what they need to join.
    let of_peers = member.restart_reasons().any(Difference::is_of_peers);
    if outage && enough && context.grows() && !member.only_settles() && !of_peers {
        return Decision::Continue;
    }
    // A bootstrap that has not ended is not in use yet, so its last restart needs no further
    // approval.
    if outage && !context.allow_outage && !member.only_settles() {
        let evidence =
            format!("{name} must restart, and no quorum is left meanwhile (voters: {voters})");
        return Decision::Block(vec![OUTAGE.error(name, evidence)]);
    }
    let preconditions = if outage {
        Vec::new()
    } else {
        let condition = Condition::QuorumWithout {
            stop: BTreeSet::from([name.clone()]),
            members: names(context),
        };
        vec![Gate {
            condition,
            within: limits::QUORUM_WITHOUT,
        }]
    };
    // Right before its restart: until then the others find it where it is.
    if let Some(step) = moved::step(context, member) {
        return Decision::run(moved::stage(context, member, step, preconditions));
    }
    let steps = restart_steps(context, member);
    Decision::run(Stage {
        key: StageKey::new(Rule::Roll, Some(name)),
        title: match (context.target.there(name), changes_release(context, member)) {
            (Some(_), _) => format!("stop {name}, and start it where the file has it"),
            (None, Some(version)) => format!("restart {name} with etcd {version}"),
            (None, None) => format!("restart {name}"),
        },
        why: member
            .restart_reasons()
            .map(|difference| format!("{name}: {difference}"))
            .chain(first_of_minor(context))
            .collect(),
        impact: if outage {
            Impact::Outage(format!("no quorum while {name} restarts"))
        } else {
            Impact::Restart(name.clone())
        },
        preconditions,
        work: Work::Hosts(BTreeMap::from([(member.member.host.clone(), steps)])),
        postconditions: after_restart(context, member),
    })
}

/// Who did not come up with the release that a member would restart with.
fn failed(context: &PlanContext<'_>, member: &Assessment<'_>) -> Option<Vec<Finding>> {
    if context.retry || changes_release(context, member).is_none() {
        return None;
    }
    let failed = failed_releases(context.target, context.seen);
    (!failed.is_empty()).then_some(failed)
}

/// The release that a member restarts with, where it is another.
fn changes_release<'a>(
    context: &PlanContext<'a>,
    member: &Assessment<'_>,
) -> Option<&'a EtcdVersion> {
    let wanted = &context.target.topology.version;
    let running = version_of(context.seen, member.member)?;
    (running != *wanted).then_some(wanted)
}
