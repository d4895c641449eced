//! Members whose peer URL the file changed: the list gets the new one right before the restart that
//! makes it true.

use etcdup_core::membership::Standing;
use etcdup_core::stage::{ClusterStep, Gate, Impact, Rule, Stage, StageKey, Work};

use crate::assess::{Assessment, Difference};
use crate::leg::peers::peer_scheme;
use crate::listed::entry;
use crate::plan_context::{Decision, PlanContext};
use crate::rules::grow::{denied, listed};

/// The call that moves a voter to where the file has it, where the list has it elsewhere. A learner
/// is never moved: before 3.5.31 and 3.6.12 etcd makes a voter of one whose URLs change.
pub(crate) fn step(context: &PlanContext<'_>, member: &Assessment<'_>) -> Option<ClusterStep> {
    if !matches!(
        member.standing,
        Standing::Voter { .. } | Standing::Added { learner: false, .. }
    ) {
        return None;
    }
    let topology = &context.target.topology;
    let view = context.view.as_ref()?;
    let listed = entry(topology, context.seen, view, member.member)?;
    let peer_url = topology.peer_url(member.member);
    let there = listed.peer_urls.contains(&peer_url.to_string());
    // One that runs and will not restart goes on listening where it does, whatever the list says.
    let process = member.process;
    let stays = process.is_some_and(|process| peer_scheme(&process.flags) != peer_url.scheme);
    if stays && member.restart_reasons().next().is_none() {
        return None;
    }
    (!there).then(|| ClusterStep::MovePeer {
        member: member.member.name.clone(),
        id: listed.id,
        peer_url,
    })
}

/// Whether the list has a member where it is to be, while it still listens elsewhere: its restart
/// was to follow at once.
pub(crate) fn is_halfway(context: &PlanContext<'_>, member: &Assessment<'_>) -> bool {
    let topology = &context.target.topology;
    let url = topology.peer_url(member.member).to_string();
    let listed = context.view.as_ref();
    let listed = listed.and_then(|view| entry(topology, context.seen, view, member.member));
    listed.is_some_and(|listed| listed.peer_urls.contains(&url))
        && member.running.iter().any(Difference::is_of_peers)
}

/// Moves members that do not serve, or that run where the file wants them already: nothing is lost
/// by it, and the others find them only so.
pub(crate) fn move_now(context: &PlanContext<'_>) -> Decision {
    let waits = |member: &&Assessment<'_>| {
        let restarts = member.restart_reasons().next().is_some();
        member.process.is_some() && member.serves && restarts
    };
    let mut members = context.members.iter().filter(|member| !waits(member));
    let moved = members.find_map(|member| Some((member, step(context, member)?)));
    match moved {
        None => Decision::Continue,
        Some((member, step)) => match denied(context) {
            Some(denied) => Decision::Block(vec![denied]),
            None => Decision::run(stage(context, member, step, Vec::new())),
        },
    }
}

pub(crate) fn stage(
    context: &PlanContext<'_>,
    member: &Assessment<'_>,
    step: ClusterStep,
    preconditions: Vec<Gate>,
) -> Stage {
    let name = &member.member.name;
    let url = context.target.topology.peer_url(member.member);
    Stage {
        key: StageKey::new(Rule::Move, Some(name)),
        title: format!("list {name} at {url}"),
        why: vec![format!(
            "{name}: the cluster lists it at another peer URL than the file"
        )],
        impact: Impact::None,
        preconditions,
        work: Work::Cluster(step),
        postconditions: vec![listed(context, member, true)],
    }
}
