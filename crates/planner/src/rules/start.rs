//! Starting members that do not run.

use std::collections::{BTreeMap, BTreeSet};

use etcdup_core::host::HostId;
use etcdup_core::membership::{bootstrap_quorum, quorum_of};
use etcdup_core::stage::{Gate, HostStep, Impact, Rule, Stage, StageKey, Work, limits};

use crate::assess::Assessment;
use crate::identity::{Bootstrap, Start, has_data};
use crate::places::known_members;
use crate::plan_context::{Decision, PlanContext};
use crate::preflight::unresolved;
use crate::rules::restart::{all_seen, listens, restart_steps, start_steps};
use crate::rules::spare::can_be_spared;
use crate::rules::{grow, moved};

/// Starts every member that does not run, all at once and without waiting on one another: etcd is
/// ready only after it has joined a quorum, so starting one after the other dead-locks (etcd issue
/// 13526).
///
/// A member that runs and has no leader is restarted too, where something differs that its restart
/// would fix. All such members at once only while the others provably have no quorum; else one at a
/// time, since one bad moment of a healthy member must not restart it together with others.
pub(crate) fn start(context: &PlanContext<'_>) -> Decision {
    let mut why = Vec::new();
    let mut tasks: BTreeMap<HostId, Vec<HostStep>> = BTreeMap::new();
    let mut started = Vec::new();
    let mut later = false;
    for member in context
        .members
        .iter()
        .filter(|member| member.process.is_none())
        // Whoever joins without a vote is nobody's quorum: that has a rule of its own.
        .filter(|member| !member.to_join && !grow::is_joining(member) && member.takes_part())
    {
        if member.starts == Start::Later {
            later = true;
            continue;
        }
        let name = &member.member.name;
        why.push(format!("{name}: does not run"));
        started.push(member);
        tasks
            .entry(member.member.host.clone())
            .or_default()
            .extend(restart_steps(context, member));
    }
    // Those that go vote until they are removed: without them there may be no quorum to do that.
    let unserved = context.view.is_none() && context.bootstrap == Bootstrap::Complete;
    let leaving = context.voters_that_go();
    for member in leaving.iter().filter(|_| unserved) {
        why.push(format!(
            "{}: does not run, and still votes",
            member.member.name
        ));
        tasks
            .entry(member.member.host.clone())
            .or_default()
            .extend(start_steps(member));
    }
    let stuck: Vec<(&Assessment<'_>, String)> = {
        let members = context.members.iter();
        members
            .filter_map(|member| stuck(context, member))
            .collect()
    };
    let lone = stuck.is_empty() || has_quorum_somewhere(context);
    for (member, reason) in stuck.iter().take(if lone { 1 } else { stuck.len() }) {
        if lone && !tasks.is_empty() {
            // What does not run starts first: it may be all that the others are waiting for.
            break;
        }
        let names = unresolved(context.target, member.member, member.host);
        if !names.is_empty() {
            return Decision::Block(names);
        }
        why.push(format!("{}: {reason}", member.member.name));
        tasks
            .entry(member.member.host.clone())
            .or_default()
            .extend(restart_steps(context, member));
    }
    if tasks.is_empty() {
        return Decision::Continue;
    }
    let (rule, title) = match context.bootstrap {
        Bootstrap::Pending => (Rule::Bootstrap, "bootstrap the cluster"),
        Bootstrap::InProgress => (Rule::FinishBootstrap, "finish the bootstrap"),
        Bootstrap::Complete => (Rule::Start, "start unhealthy members"),
    };
    // The members that wait for these need not be healthy before they start: without them there may
    // be no quorum. Where those with data are a quorum they must serve, since their list decides
    // about the others; where they are fewer they cannot, and only run.
    let with_data = context
        .members
        .iter()
        .filter(|member| member.has_data())
        .count();
    let needed = match context.bootstrap {
        Bootstrap::Complete => quorum_of(known_members(context.target, context.seen).len()),
        Bootstrap::Pending | Bootstrap::InProgress => bootstrap_quorum(&context.target.topology),
    };
    let postconditions = if later && with_data < needed {
        started
            .iter()
            .map(|member| listens(member, limits::PEER_LISTENS))
            .collect()
    } else {
        all_seen(context)
    };
    let one = (lone && started.is_empty())
        .then(|| stuck.first())
        .flatten();
    Decision::run(Stage {
        key: StageKey::new(rule, one.map(|(member, _)| &member.member.name)),
        title: title.to_owned(),
        why,
        impact: Impact::None,
        preconditions: Vec::new(),
        work: Work::Hosts(tasks),
        postconditions,
    })
}

/// A member that runs, answers, follows no leader, and has something that a restart would fix. One
/// that was merely not observed may serve others, unless they cannot find it where it listens and
/// do without it; one that follows a leader votes, whatever keeps its reads from being answered.
fn stuck<'w, 'a>(
    context: &PlanContext<'_>,
    member: &'w Assessment<'a>,
) -> Option<(&'w Assessment<'a>, String)> {
    member.process?;
    let is_lost =
        || moved::is_halfway(context, member) && can_be_spared(context, &member.member.name);
    if member.votes || !member.takes_part() || !(member.answers || is_lost()) {
        return None;
    }
    let wrong = member.restart_reasons().next()?;
    let reason = format!("is unhealthy, and {wrong}");
    Some((member, reason))
}

/// Whether any member votes, or may vote as far as is known.
fn has_quorum_somewhere(context: &PlanContext<'_>) -> bool {
    let all = context.target.topology.members.len();
    context.members.len() < all
        || context
            .members
            .iter()
            .any(|member| member.votes || member.process.is_some() && !member.answers)
}

/// Starts what does not run of a cluster in which other members are disputed (lost or copied data),
/// where no member serves and those with their own data are a quorum: until they serve, no advice
/// about the others can be followed.
pub(crate) fn start_undisputed(context: &PlanContext<'_>, disputed: &BTreeSet<String>) -> Decision {
    let none_serves = context.members.iter().all(|member| !member.serves);
    let undisputed = |member: &&Assessment<'_>| {
        member.has_data() && !disputed.contains(member.member.name.as_str())
    };
    // Those that go vote until they are removed.
    let leaving = context.voters_that_go();
    let members: Vec<&Assessment<'_>> = context
        .members
        .iter()
        .filter(undisputed)
        .chain(leaving.iter().filter(undisputed))
        .collect();
    let stopped = || members.iter().filter(|member| member.process.is_none());
    let known = known_members(context.target, context.seen).len();
    // Of those that go, whoever a record still has or who has data.
    let goes = context.target.topology.leaving.iter();
    let goes = goes.filter(|one| one.id.is_some() || has_data(context.seen, &one.member));
    let quorum = quorum_of(known + goes.count());
    if context.bootstrap != Bootstrap::Complete
        || !none_serves
        || members.len() < quorum
        || stopped().next().is_none()
    {
        return Decision::Continue;
    }
    let mut tasks: BTreeMap<HostId, Vec<HostStep>> = BTreeMap::new();
    for member in stopped() {
        tasks
            .entry(member.member.host.clone())
            .or_default()
            .extend(restart_steps(context, member));
    }
    let names: Vec<&str> = disputed.iter().map(String::as_str).collect();
    let why = stopped().map(|member| {
        format!(
            "{}: does not run and has its data; {} stays stopped",
            member.member.name,
            names.join(", ")
        )
    });
    Decision::run(Stage {
        key: StageKey::new(Rule::StartQuorum, None),
        title: "start the members whose data is intact".to_owned(),
        why: why.collect(),
        impact: Impact::None,
        preconditions: Vec::new(),
        postconditions: members
            .iter()
            .filter(|member| !member.standing.is_learner())
            .map(|member| Gate::serves(&member.member.name))
            .collect(),
        work: Work::Hosts(tasks),
    })
}
