//! Members that go: leadership moved away first, then removed from the cluster's list, one at a
//! time.

use etcdup_core::finding::{Check, Finding};
use etcdup_core::membership::{MemberId, Standing};
use etcdup_core::name::MemberName;
use etcdup_core::stage::{
    ClusterStep, Condition, Gate, Impact, Rule, Stage, StageKey, Work, limits,
};

use crate::assess::Assessment;
use crate::plan_context::{Decision, LeavingPlace, PlanContext};
use crate::rules::conflict::are_many_lost;
use crate::rules::grow::{denied, is_url_free};
use crate::rules::roll::hand_over;
use crate::rules::spare::{electorate, names};

pub(crate) const CHECKS: &[Check] = &[REMOVAL_WAITS];

const REMOVAL_WAITS: Check = Check {
    id: "removal-waits",
    title: "a member that should go is still needed",
    about: "A member is removed only while the voters can agree to it and those that stay are healthy enough to go on without it. A \
            member that serves waits for those that join in its place, and for every other to be healthy.",
    advice: "repair the members that are named, then run again; if the member's host is gone for good, write absent = \"gone\" for \
             it in the file. Where no quorum is left it cannot be removed: see `etcdup explain member-lost-data`",
};

/// A member that must leave the list, and why.
struct Going {
    name: MemberName,
    id: MemberId,
    votes: bool,
    why: String,
}

/// Removes those that are of no use any more: lost their data, do not run, or their host is gone.
pub(crate) fn remove_dead(context: &PlanContext<'_>) -> Decision {
    let dead = dead(context);
    let removable = |going: &&Going| electorate(context).remove(going.id).is_ok();
    match dead.iter().find(removable) {
        Some(going) => remove(context, going),
        None => Decision::Continue,
    }
}

/// Removes a member that serves and should go, once all that join have joined.
pub(crate) fn remove_live(context: &PlanContext<'_>) -> Decision {
    if context.grows() || context.members.iter().any(|member| !member.serves) {
        return Decision::Continue;
    }
    let going = alive(context).next();
    match going {
        Some(going) if electorate(context).remove(going.id).is_ok() => remove(context, &going),
        _ => Decision::Continue,
    }
}

/// Members that should go and could not be removed.
pub(crate) fn waiting(context: &PlanContext<'_>) -> Vec<Finding> {
    dead(context)
        .into_iter()
        .chain(alive(context))
        .map(|going| {
            let why = match electorate(context).remove(going.id) {
                Err(not) => not.to_string(),
                Ok(()) => "others are still joining, or are not healthy".to_owned(),
            };
            REMOVAL_WAITS.error(&going.name, format!("{} is not removed: {why}", going.name))
        })
        .collect()
}

/// Those that should go and run, whether they serve or not.
fn alive<'c>(context: &'c PlanContext<'_>) -> impl Iterator<Item = Going> + 'c {
    let runs = |leaving: &&LeavingPlace<'_>| {
        let name = &leaving.leaving.member.name;
        let process = leaving.host.and_then(|host| host.processes.get(name));
        leaving.healthy || process.is_some()
    };
    let leaving = context.leaving.iter().filter(runs);
    leaving.filter_map(|leaving| going(leaving, "the file does not want it"))
}

/// Whether a member of the file has the peer URL that the list has for one that goes: no two are
/// listed at one, so the one that goes makes room first.
fn takes_over(context: &PlanContext<'_>, leaving: &LeavingPlace<'_>) -> bool {
    let topology = &context.target.topology;
    let url = |member: &Assessment<'_>| topology.peer_url(member.member).to_string();
    let has = |member: &Assessment<'_>| {
        let listed = leaving.listed;
        member.to_join && listed.is_some_and(|listed| listed.peer_urls.contains(&url(member)))
    };
    // One after the other: a voter less is made up for before the next one makes room.
    let under_way = |member: &Assessment<'_>| {
        member.standing.is_learner() || member.to_join && is_url_free(context, member)
    };
    context.members.iter().any(has) && !context.members.iter().any(under_way)
}

fn dead(context: &PlanContext<'_>) -> Vec<Going> {
    let leaving = context.leaving.iter();
    let mut dead: Vec<Going> = leaving
        .filter_map(|leaving| going(leaving, useless(context, leaving)?))
        .collect();
    let many = are_many_lost(context.target, context.seen);
    dead.extend(context.members.iter().filter_map(|member| {
        if let Some(elsewhere) = learns_elsewhere(context, member) {
            return Some(elsewhere);
        }
        let Standing::Lost { id: Some(id), why } = &member.standing else {
            return None;
        };
        let listed = context.view.as_ref()?.member(*id).filter(|_| !many)?;
        Some(Going {
            name: member.member.name.clone(),
            id: *id,
            votes: !listed.learner,
            why: format!("{why}. If its disk is only not mounted, mount it instead"),
        })
    }));
    dead
}

/// Why one that should go is removed before others are added; `None` where it is of use till then.
fn useless(context: &PlanContext<'_>, leaving: &LeavingPlace<'_>) -> Option<&'static str> {
    // No vote is lost with it, and no other is added while it is there.
    if leaving.listed.is_some_and(|listed| listed.learner) {
        return Some("it was to join, and the file does not want it any more");
    }
    let makes_room = takes_over(context, leaving);
    if leaving.healthy && !makes_room {
        return None;
    }
    if leaving.leaving.gone {
        return Some("the file says that its host is gone for good");
    }
    // A host that does not answer is never dead by itself, nor is an etcd that runs.
    let host = leaving.host?;
    if makes_room {
        return Some("another member has its peer URL in the file");
    }
    let runs = host.processes.contains_key(&leaving.leaving.member.name);
    (!runs).then_some("the file does not want it, and it does not run")
}

/// A learner of the file whose peer URL the file changed. It is removed and added again: etcd
/// before 3.5.31 and 3.6.12 makes a voter of a learner whose URLs change, however far behind it is.
fn learns_elsewhere(context: &PlanContext<'_>, member: &Assessment<'_>) -> Option<Going> {
    let (Standing::Learner { id, .. } | Standing::Added { id, learner: true }) = member.standing
    else {
        return None;
    };
    let listed = context.view.as_ref()?.member(id)?;
    let url = context.target.topology.peer_url(member.member).to_string();
    (!listed.peer_urls.contains(&url)).then(|| Going {
        name: member.member.name.clone(),
        id,
        votes: false,
        why: format!(
            "it was to join at {}, and the file says {url}",
            listed.peer_urls.join(", ")
        ),
    })
}

fn going(leaving: &LeavingPlace<'_>, why: &str) -> Option<Going> {
    let listed = leaving.listed?;
    Some(Going {
        name: leaving.leaving.member.name.clone(),
        id: listed.id,
        votes: !listed.learner,
        why: why.to_owned(),
    })
}

fn remove(context: &PlanContext<'_>, going: &Going) -> Decision {
    if let Some(denied) = denied(context) {
        return Decision::Block(vec![denied]);
    }
    let name = &going.name;
    // A cluster whose leader is removed elects another, and does not serve meanwhile.
    if context.seen.leader() == Some(name) {
        let to = context
            .members
            .iter()
            .find(|member| member.serves && member.member.name != *name);
        if let Some(to) = to {
            let why = format!("{name}: leads and is to be removed");
            return Decision::run(hand_over(name, &to.member.name, why));
        }
    }
    Decision::run(Stage {
        key: StageKey::new(Rule::Remove, Some(name)),
        title: format!("remove {name} from the cluster"),
        why: vec![format!("{name}: {}", going.why)],
        impact: Impact::None,
        preconditions: vec![Gate {
            condition: Condition::Removable {
                member: name.clone(),
                id: going.id,
                members: names(context),
            },
            within: limits::QUORUM_WITHOUT,
        }],
        work: Work::Cluster(ClusterStep::Remove {
            member: name.clone(),
            id: going.id,
            snapshot: going.votes,
        }),
        postconditions: vec![Gate {
            condition: Condition::Unlisted {
                member: name.clone(),
                id: going.id,
            },
            within: limits::LISTED,
        }],
    })
}
