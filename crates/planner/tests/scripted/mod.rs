//! Worlds that a planner itself brought about, and ways to look at what it does in them.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    reason = "each test file uses what it needs, and says what it expects"
)]

pub(crate) mod cas;
pub(crate) mod lost;

use etcdup_core::finding::Finding;
use etcdup_core::observation::{HostRecord, HostView, MemberView, Observation, Query};
use etcdup_core::observed::Observed;
use etcdup_core::stage::{Next, Rule, Stage};
use etcdup_core::topology::Member;
use etcdup_planner::{Ending, Planner};

use super::worlds;

/// A cluster of three that was bootstrapped by this very planner, its host records and all.
pub(crate) fn bootstrapped(head: &str) -> (Planner, Observation) {
    let planner = worlds::planner(worlds::topology(3, head));
    let seen = carry_out(&planner, worlds::bare(&planner));
    (planner, seen)
}

pub(crate) fn carry_out(planner: &Planner, mut seen: Observation) -> Observation {
    for _ in 0..30 {
        match planner.next(&seen) {
            Next::Stage(stage) => seen = planner.predict(&seen, &stage),
            Next::Done => return seen,
            Next::Blocked(findings) => panic!("blocked: {findings:?}"),
        }
    }
    panic!("it does not end");
}

/// Every stage of a plan by its key, all legs of it, and the world at the end.
pub(crate) fn carried_out(planner: &Planner, seen: &Observation) -> (Vec<String>, Observation) {
    let start = planner.clone().next_leg(seen).unwrap();
    let forecast = start.forecast(seen);
    let ending = &forecast.ending;
    assert!(matches!(ending, Ending::Done), "{ending:?}");
    let stages = forecast.stages.iter();
    let keys = stages.clone().map(|stage| stage.key.to_string()).collect();
    let world = stages.fold(seen.clone(), |world, stage| {
        let leg = start.clone().next_leg(&world).unwrap();
        leg.predict(&world, stage)
    });
    (keys, world)
}

/// Why a plan has no stage at all, by the findings' IDs.
pub(crate) fn blockers(planner: &Planner, seen: &Observation) -> Vec<String> {
    let forecast = planner.clone().next_leg(seen).unwrap().forecast(seen);
    let Ending::Blocked(findings) = forecast.ending else {
        panic!("{:?}", forecast.ending)
    };
    assert!(forecast.stages.is_empty(), "{:?}", forecast.stages[0].key);
    findings
        .iter()
        .map(|finding| finding.id.to_string())
        .collect()
}

/// Asks every host what this leg's planner asks: a later look does not lose what an earlier found.
pub(crate) fn ask(planner: &Planner, seen: &mut Observation) {
    for (host, view) in &mut seen.hosts {
        let queries = planner.queries(host, &[], false);
        view.known_mut().unwrap().asked = Query::paths(&queries);
    }
}

/// The world of an earlier file, as the planner of the edited one sees it.
pub(crate) fn seen_by(edited: &Planner, earlier: &Observation) -> Observation {
    let mut seen = worlds::bare(edited);
    seen.hosts.extend(earlier.hosts.clone());
    seen.members.extend(earlier.members.clone());
    seen.ca = earlier.ca.clone();
    seen.clients = earlier.clients.clone();
    seen
}

pub(crate) fn host<'a>(seen: &'a mut Observation, member: &Member) -> &'a mut HostView {
    seen.hosts
        .get_mut(&member.host)
        .and_then(Observed::known_mut)
        .unwrap()
}

pub(crate) fn view<'a>(seen: &'a mut Observation, member: &Member) -> &'a mut MemberView {
    seen.members
        .get_mut(&member.name)
        .and_then(Observed::known_mut)
        .unwrap()
}

pub(crate) fn halt(planner: &Planner, seen: &mut Observation, index: usize) {
    let member = &planner.topology().members[index];
    let host = host(seen, member);
    host.processes.clear();
    host.listeners.clear();
    seen.members
        .insert(member.name.clone(), Observed::unknown("it does not run"));
}

pub(crate) fn blocked(planner: &Planner, seen: &Observation) -> Vec<Finding> {
    match planner.next(seen) {
        Next::Blocked(findings) => findings,
        Next::Stage(stage) => panic!("`{}` instead of a finding", stage.key),
        Next::Done => panic!("done instead of a finding"),
    }
}

pub(crate) fn ids(findings: &[Finding]) -> Vec<&str> {
    findings.iter().map(|finding| finding.id.as_str()).collect()
}

pub(crate) fn stage(planner: &Planner, seen: &Observation) -> Stage {
    match planner.next(seen) {
        Next::Stage(stage) => *stage,
        other => panic!("{other:?} instead of a stage"),
    }
}

pub(crate) const RUNTIMES: [&str; 3] = [
    "runtime = \"systemd\"",
    "runtime = \"static-pod\"",
    "runtime = \"process\"",
];

/// The findings that are left once the members whose data is intact have been started, where those
/// are a quorum.
pub(crate) fn blocked_after_start(planner: &Planner, seen: &Observation) -> Vec<Finding> {
    match planner.next(seen) {
        Next::Stage(stage) if stage.key.rule == Rule::StartQuorum => {
            blocked(planner, &planner.predict(seen, &stage))
        }
        _ => blocked(planner, seen),
    }
}

/// Carries out what comes before a stage of this rule.
pub(crate) fn until(planner: &Planner, seen: &Observation, rule: Rule) -> Observation {
    let mut world = seen.clone();
    for _ in 0..30 {
        let leg = planner.clone().next_leg(&world).unwrap();
        match leg.next(&world) {
            Next::Stage(stage) if stage.key.rule == rule => return world,
            Next::Stage(stage) => world = leg.predict(&world, &stage),
            other @ (Next::Done | Next::Blocked(_)) => panic!("{other:?}"),
        }
    }
    panic!("it does not come to {rule}");
}

/// What the host of the file's member remembers, by the number of that member.
pub(crate) fn record<'a>(
    planner: &Planner,
    seen: &'a mut Observation,
    at: usize,
) -> &'a mut HostRecord {
    let host = planner.topology().members[at].host.clone();
    let view = seen.hosts.get_mut(&host).and_then(Observed::known_mut);
    view.unwrap().record_mut().unwrap()
}
