//! Members that come: added as learners, started, and made voters, one after the other.

use std::collections::BTreeMap;

use etcdup_core::finding::{Check, Finding};
use etcdup_core::membership::{MemberId, Standing};
use etcdup_core::stage::{
    ClusterStep, Condition, Gate, HostStep, Impact, Rule, Stage, StageKey, Work, limits,
};

use crate::assess::{Assessment, Difference};
use crate::plan_context::{Decision, PlanContext};
use crate::preflight::unresolved;
use crate::rules::conflict::AUTH_DENIED;
use crate::rules::restart::{listens, restart_steps};
use crate::rules::version::first_of_minor;

pub(crate) const CHECKS: &[Check] = &[ADD_WAITS];

const ADD_WAITS: Check = Check {
    id: "add-waits",
    title: "a new member waits for the others",
    about: "A member is added only while every member of the cluster is healthy and none is still joining: etcd refuses it \
            otherwise, and each member that is added raises the number of members that must agree.",
    advice: "repair the members that are named, then run again; where a member's host is gone for good, write absent = \"gone\" for it \
             in the file",
};

/// Whether it was added as a learner and has not started: it joins by a stage of its own.
pub(crate) fn is_joining(member: &Assessment<'_>) -> bool {
    matches!(member.standing, Standing::Added { learner: true, .. })
}

/// Starts a learner that was added, and lets it catch up; one that runs already and is not
/// listed by its name yet is waited for.
pub(crate) fn join(context: &PlanContext<'_>) -> Decision {
    let joining = |member: &&Assessment<'_>| is_joining(member);
    let Some(member) = context.members.iter().find(joining) else {
        return Decision::Continue;
    };
    let names = unresolved(context.target, member.member, member.host);
    if !names.is_empty() {
        return Decision::Block(names);
    }
    let name = &member.member.name;
    // One that runs is left to its snapshot, unless what differs keeps it from joining.
    let starts = member.process.is_none() || member.restart_reasons().next().is_some();
    let mut steps = if starts {
        restart_steps(context, member)
    } else {
        Vec::new()
    };
    if starts && member.running.iter().any(Difference::is_not_enabled) {
        let enable = HostStep::Enable(member.member.layout.unit.clone());
        let restart = |step: &HostStep| matches!(step, HostStep::Restart(_));
        let at = steps.iter().position(restart).unwrap_or(steps.len());
        steps.insert(at, enable);
    }
    let within = if member.member.layout.is_pod() {
        limits::POD_SERVES
    } else {
        limits::PEER_LISTENS
    };
    Decision::run(Stage {
        key: StageKey::new(Rule::Join, Some(name)),
        title: if starts {
            format!("start {name}, and let it catch up")
        } else {
            format!("let {name} catch up")
        },
        why: std::iter::once(if starts {
            format!("{name}: was added, and has not started")
        } else {
            format!("{name}: was added, and does not answer yet")
        })
        .chain(first_of_minor(context))
        .collect(),
        impact: Impact::None,
        preconditions: Vec::new(),
        work: Work::Hosts(if starts {
            BTreeMap::from([(member.member.host.clone(), steps)])
        } else {
            BTreeMap::new()
        }),
        postconditions: vec![listens(member, within), Gate::caught_up(name)],
    })
}

/// Makes a voter of a learner that has caught up.
pub(crate) fn promote(context: &PlanContext<'_>) -> Decision {
    let mut learners: Vec<_> = context
        .members
        .iter()
        .filter_map(|member| {
            let Standing::Learner { id, behind } = member.standing else {
                return None;
            };
            member.process.map(|_| (member, id, behind))
        })
        .collect();
    // One that is stuck keeps no other waiting.
    learners.sort_by_key(|(_, _, behind)| behind.unwrap_or(u64::MAX));
    let Some((member, id, _)) = learners.first().copied() else {
        return Decision::Continue;
    };
    if let Some(denied) = denied(context) {
        return Decision::Block(vec![denied]);
    }
    let name = &member.member.name;
    Decision::run(Stage {
        key: StageKey::new(Rule::Promote, Some(name)),
        title: format!("make {name} a voter"),
        why: vec![format!("{name}: follows without a vote")],
        impact: Impact::None,
        preconditions: vec![Gate::caught_up(name)],
        work: Work::Cluster(ClusterStep::Promote {
            member: name.clone(),
            id,
        }),
        postconditions: vec![listed(context, member, true), Gate::serves(name)],
    })
}

/// Adds one member, while all others are healthy and none is on its way.
pub(crate) fn add(context: &PlanContext<'_>) -> Decision {
    // Where another is still listed at its URL, that one goes first.
    let mut to_join = context.members.iter().filter(|member| member.to_join);
    let Some(member) = to_join.find(|member| is_url_free(context, member)) else {
        return Decision::Continue;
    };
    if waits_for(context).is_some() {
        return Decision::Continue;
    }
    if let Some(denied) = denied(context) {
        return Decision::Block(vec![denied]);
    }
    let name = &member.member.name;
    let voters = context.members.iter();
    let voters = voters.filter(|other| !other.to_join && other.takes_part());
    Decision::run(Stage {
        key: StageKey::new(Rule::Add, Some(name)),
        title: format!("add {name} to the cluster as a learner"),
        why: std::iter::once(format!("{name}: the cluster does not list it"))
            .chain(first_of_minor(context))
            .collect(),
        impact: Impact::None,
        preconditions: voters
            .map(|other| Gate::serves(&other.member.name))
            .collect(),
        work: Work::Cluster(ClusterStep::AddLearner {
            member: name.clone(),
            peer_url: context.target.topology.peer_url(member.member),
        }),
        postconditions: vec![listed(context, member, false)],
    })
}

/// Whether the cluster lists nobody at the peer URL that a member has in the file.
pub(crate) fn is_url_free(context: &PlanContext<'_>, member: &Assessment<'_>) -> bool {
    let url = context.target.topology.peer_url(member.member).to_string();
    let view = context.view.as_ref();
    view.is_none_or(|view| view.at_address(&url).is_none())
}

/// etcd's authentication lets reads through to anybody it knows, and changes of the list to root
/// alone.
pub(crate) fn denied(context: &PlanContext<'_>) -> Option<Finding> {
    let mut members = context.members.iter();
    members.find_map(|member| {
        let name = &member.member.name;
        let served = context.seen.member(name)?.served.known()?;
        let evidence = format!("{name} does not let this client change the member list");
        served.denied.then(|| AUTH_DENIED.error(name, evidence))
    })
}

pub(crate) fn listed(context: &PlanContext<'_>, member: &Assessment<'_>, voter: bool) -> Gate {
    let peer_url = context.target.topology.peer_url(member.member);
    Gate {
        condition: Condition::Listed {
            member: member.member.name.clone(),
            peer_url: peer_url.to_string(),
            voter,
        },
        within: limits::LISTED,
    }
}

/// What keeps members from being added, where something does.
fn waits_for(context: &PlanContext<'_>) -> Option<String> {
    let view = context.view.as_ref()?;
    let healthy = |id: MemberId| {
        let mut views = context.seen.known_members();
        views.any(|view| view.id == id && view.served.known().is_some())
    };
    view.members().find_map(|listed| {
        let name = if listed.name.is_empty() {
            listed.id.to_string()
        } else {
            listed.name.clone()
        };
        if listed.learner {
            return Some(format!("{name} is still joining"));
        }
        (!healthy(listed.id)).then(|| format!("{name} is not healthy"))
    })
}

/// Members that are still to be added, and why they were not.
pub(crate) fn waiting(context: &PlanContext<'_>) -> Vec<Finding> {
    let Some(why) = waits_for(context) else {
        return Vec::new();
    };
    let to_join = context.members.iter().filter(|member| member.to_join);
    to_join
        .map(|member| {
            let name = &member.member.name;
            ADD_WAITS.error(name, format!("{name} is not added: {why}"))
        })
        .collect()
}
