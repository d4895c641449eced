//! Bringing a cluster to what the file says: an ordered list of rules, the first that has something to do decides.

use etcdup_core::finding::{Check, Finding, Verdict};
use etcdup_core::observation::Observation;
use etcdup_core::seen::Seen;
use etcdup_core::stage::{Next, Stage};
use etcdup_core::topology::HostId;

use crate::assess::{Assessment, assess};
use crate::identity::{Formation, conflicts, formation};
use crate::planner::Planner;
use crate::preflight::HOST_UNSEEN;
use crate::{bootstrap, operator, preflight, repair, roll, time, transition, trust};

/// What a rule says.
pub(crate) enum Rule {
    /// Nothing to do here; ask the next rule.
    Pass,
    /// Do this.
    Do(Stage),
    /// This stands in the way.
    Block(Vec<Finding>),
}

/// Everything the rules look at.
pub(crate) struct World<'a> {
    pub(crate) planner: &'a Planner,
    pub(crate) seen: &'a Observation,
    pub(crate) formation: Formation,
    pub(crate) members: Vec<Assessment<'a>>,
}

pub(crate) fn next(planner: &Planner, seen: &Observation, allow_outage: bool) -> Next {
    let unseen = unseen_hosts(planner, seen);
    let formation = formation(planner, seen);
    let formed = formation == Formation::Formed;
    let wrong = || -> Vec<Finding> {
        conflicts(planner, seen)
            .into_iter()
            .chain(transition::conflicts(planner, seen))
            .chain(trust::conflicts(planner, seen))
            .chain(errors(preflight::preflight(planner, seen)))
            .collect()
    };
    // Nothing begins without all hosts; a cluster that has formed is looked after where most of them answer.
    let of_members = |host: &&HostId| planner.topology.on_host(host).next().is_some();
    let all = planner.topology.hosts.keys().filter(of_members).count();
    let answer = planner.topology.hosts.keys().filter(of_members);
    let answer = answer.filter(|host| seen.host(host).is_some()).count();
    let few = answer * 2 <= all;
    if !unseen.is_empty() && (few || !formed) {
        // Whatever else is known to be wrong is told in the same breath.
        return Next::Blocked(unseen.into_iter().chain(wrong()).collect());
    }
    let members = planner
        .topology
        .members
        .iter()
        .filter_map(|member| assess(planner, seen, member, formed))
        .collect();
    let world = World {
        planner,
        seen,
        formation,
        members,
    };
    let rules: [&dyn Fn() -> Rule; 11] = [
        &|| block(wrong()),
        &|| time::synchronise(&world),
        &|| operator::authority(&world),
        &|| operator::clients(&world),
        &|| bootstrap::install(&world),
        &|| repair::start(&world),
        &|| repair::touch_up(&world),
        &|| repair::wait(&world),
        &|| roll::move_leader(&world),
        &|| roll::restart_one(&world, allow_outage),
        &|| {
            block(
                unseen
                    .iter()
                    .cloned()
                    .chain(roll::waiting(&world))
                    .collect(),
            )
        },
    ];
    for rule in rules {
        match rule() {
            Rule::Pass => {}
            Rule::Do(stage) => return Next::Stage(Box::new(stage)),
            Rule::Block(findings) => return Next::Blocked(findings),
        }
    }
    Next::Done
}

fn block(findings: Vec<Finding>) -> Rule {
    if findings.is_empty() {
        Rule::Pass
    } else {
        Rule::Block(findings)
    }
}

fn errors(findings: Vec<Finding>) -> Vec<Finding> {
    findings
        .into_iter()
        .filter(|finding| finding.verdict == Verdict::Error)
        .collect()
}

/// Hosts that were not seen: what is unseen is not touched.
pub(crate) fn unseen_hosts(planner: &Planner, seen: &Observation) -> Vec<Finding> {
    let check: Check = HOST_UNSEEN;
    planner
        .topology
        .hosts
        .keys()
        .filter_map(|host| match seen.hosts.get(host) {
            Some(Seen::Yes(_)) => None,
            Some(Seen::No(unseen)) => Some(check.error(host, unseen.why.clone())),
            None => Some(check.error(host, "it was not asked")),
        })
        .map(|finding| {
            let member = planner
                .topology
                .members
                .iter()
                .find(|member| member.host.as_str() == finding.subject);
            match member {
                Some(member) => {
                    finding.at(etcdup_core::topology::KeyPath::member(member.index).key("host"))
                }
                None => finding,
            }
        })
        .collect()
}
