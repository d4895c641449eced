//! Bringing a cluster to what the file says: an ordered list of rules, the first that has something to do decides.

use etcdup_core::finding::{Check, Finding, Verdict};
use etcdup_core::host::HostId;
use etcdup_core::observation::Observation;
use etcdup_core::seen::{Cause, Seen};
use etcdup_core::stage::{Next, Stage};

use crate::assess::{Assessment, assess};
use crate::conflict::conflicts;
use crate::identity::{Formation, formation};
use crate::planner::Planner;
use crate::preflight::HOST_UNSEEN;
use crate::{bootstrap, note, operator, preflight, repair, roll, time, transition, trust};

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
    let wrong = || -> Vec<Finding> {
        conflicts(planner, seen)
            .into_iter()
            .chain(transition::conflicts(planner, seen))
            .chain(trust::conflicts(planner, seen))
            .chain(errors(preflight::preflight(planner, seen)))
            .collect()
    };
    // Two operators on either side of a partition must not both act, so a minority of the members' hosts is never enough;
    // and a bootstrap needs every one of them.
    let of_members = |host: &&HostId| planner.topology.on_host(host).next().is_some();
    let all = planner.topology.hosts.keys().filter(of_members).count();
    let answer = planner.topology.hosts.keys().filter(of_members);
    let answer = answer.filter(|host| seen.host(host).is_some()).count();
    let few = answer * 2 <= all;
    if !unseen.is_empty() && (few || formation != Formation::Formed) {
        // Whatever else is known to be wrong is reported with it.
        return Next::Blocked(unseen.into_iter().chain(wrong()).collect());
    }
    let members = planner
        .topology
        .members
        .iter()
        .filter_map(|member| assess(planner, seen, member, formation))
        .collect();
    let world = World {
        planner,
        seen,
        formation,
        members,
    };
    let rules: [&dyn Fn() -> Rule; 14] = [
        &|| {
            let wrong = wrong();
            let disputed = wrong.iter().all(|finding| DISPUTED.contains(&finding.id));
            let names = wrong
                .iter()
                .map(|finding| finding.subject.clone())
                .collect();
            match disputed && !wrong.is_empty() {
                true => match repair::start_undisputed(&world, &names) {
                    Rule::Pass => block(wrong),
                    other => other,
                },
                false => block(wrong),
            }
        },
        &|| time::synchronise(&world),
        &|| operator::clock(&world),
        &|| operator::authority(&world),
        &|| operator::clients(&world),
        &|| note::of_forming(&world),
        &|| bootstrap::install(&world),
        &|| repair::start(&world),
        &|| repair::touch_up(&world),
        &|| repair::renew(&world),
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

/// Findings about single members, which leave it open whether the others may run.
pub(crate) const DISPUTED: [&str; 2] = ["member-lost-data", "data-other-member"];

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
            Some(Seen::No(unseen)) => {
                let finding = check.error(host, unseen.why.clone());
                Some(match advice(unseen.cause) {
                    Some(advice) => finding.advise(advice),
                    None => finding,
                })
            }
            None => Some(check.error(host, "it was not queried")),
        })
        .map(|finding| {
            let member = planner
                .topology
                .members
                .iter()
                .find(|member| member.host.as_str() == finding.subject);
            match member {
                Some(member) => {
                    finding.at(etcdup_core::file::KeyPath::member(member.index).key("host"))
                }
                None => finding,
            }
        })
        .collect()
}

/// What to do about a host that was not observed, where the kind of reason is known.
fn advice(cause: Cause) -> Option<&'static str> {
    match cause {
        Cause::Unreachable => {
            Some("check that the host is up, and that its address and port are right")
        }
        Cause::HostKey => Some(
            "if the host was reinstalled, remove its old key from known_hosts; otherwise find out why its key changed before \
             connecting",
        ),
        Cause::Login => Some(
            "check the login user and the key: ssh.user, ssh.key or the host's own `user` and `key`, your SSH agent, and the \
             host's authorized_keys",
        ),
        Cause::Sudo => Some(
            "set sudo = \"password\" under [ssh] to be asked for the password, or let the user run sudo without one",
        ),
        Cause::Denied | Cause::NotAsked | Cause::Other => None,
    }
}
