//! The member that goes on alone can be reached: nobody else could say how it is.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests say what they expect"
)]

mod scripted;
mod worlds;

use etcdup_core::membership::ClusterId;
use etcdup_core::observation::{CaView, HostView, Observation};
use etcdup_core::observed::Observed;
use etcdup_core::stage::{Content, HostStep, Rule, Stage, Work};
use etcdup_core::topology::Topology;
use scripted::lost::{after, host_of, left, recover, stages};
use scripted::{blockers, carried_out};

const GONE: [&str; 2] = ["m2", "m3"];

fn m1() -> (Topology, Observation) {
    left(3, &[("m1", 90, 90)])
}

fn host<'a>(topology: &Topology, seen: &'a mut Observation) -> &'a mut HostView {
    let view = seen.hosts.get_mut(&host_of(topology, "m1")).unwrap();
    view.known_mut().unwrap()
}

/// What m1 shows has ended.
fn end(topology: &Topology, seen: &mut Observation) {
    let at = seen.at;
    let facts = host(topology, seen).certificates.iter_mut();
    let shown = facts.filter(|(path, _)| !path.as_str().ends_with("/ca.crt"));
    for (_, facts) in shown {
        facts.known_mut().unwrap().not_after = at;
    }
}

fn issued(stage: &Stage) -> usize {
    let Work::Hosts(tasks) = &stage.work else {
        return 0;
    };
    let steps = tasks.values().flatten();
    steps
        .filter(|step| {
            matches!(step, HostStep::File(artifact) if matches!(artifact.content, Content::Issued { .. }))
        })
        .count()
}

#[test]
fn certificates_that_have_ended_are_replaced_before_it_starts() {
    let (topology, mut seen) = m1();
    let planner = recover(&topology, &GONE);
    let force = |seen: &Observation| {
        let mut all = stages(&planner, seen).into_iter();
        all.find(|stage| stage.key.rule == Rule::ForceNew).unwrap()
    };
    assert_eq!(issued(&force(&seen)), 0);
    end(&topology, &mut seen);
    let stage = force(&seen);
    assert!(issued(&stage) > 0, "{:?}", stage.work);
    assert!(
        stage.why.iter().any(|why| why.contains("ended at")),
        "{:?}",
        stage.why
    );
    assert!(
        carried_out(&planner, &seen)
            .0
            .contains(&"end-recover".to_owned())
    );
}

/// It runs already, and nobody can reach it.
#[test]
fn certificates_that_end_on_the_way_are_replaced() {
    let (topology, seen) = m1();
    let planner = recover(&topology, &GONE);
    let mut forced = after(&planner, &seen, 4);
    let view = forced.members.get_mut(&"m1".parse().unwrap()).unwrap();
    *view = Observed::unknown("certificate has expired");
    end(&topology, &mut forced);
    let first = &stages(&planner, &forced)[0];
    assert_eq!(first.key.rule, Rule::RefreshFiles);
    assert!(issued(first) > 0);
}

#[test]
fn what_would_keep_it_from_being_reached_stops_nothing() {
    let (topology, whole) = m1();
    let planner = recover(&topology, &GONE);
    let mut ended = whole.clone();
    end(&topology, &mut ended);
    let CaView::Usable(facts) = ended.ca.clone() else {
        panic!("{:?}", ended.ca)
    };
    ended.ca = CaView::WithoutKey(facts.clone());
    assert_eq!(blockers(&planner, &ended), ["ca-without-key"]);
    let mut keyless = whole.clone();
    keyless.ca = CaView::WithoutKey(facts.clone());
    assert!(!stages(&planner, &keyless).is_empty());
    let mut ca = whole.clone();
    let at = ca.at;
    ca.ca = CaView::Usable(etcdup_core::certificate::CertFacts {
        not_after: at,
        ..facts
    });
    assert_eq!(blockers(&planner, &ca), ["ca-unusable"]);
    for ahead in [-3_600_000, 3_600_000] {
        let mut clock = whole.clone();
        host(&topology, &mut clock).facts.clock_ahead_ms = ahead;
        assert_eq!(blockers(&planner, &clock), ["recover-clock"]);
        // What cannot be measured says nothing.
        host(&topology, &mut clock).facts.clock_error_ms = 3_600_000;
        assert!(!stages(&planner, &clock).is_empty());
    }
}

/// What a host remembers of the cluster before is over where another serves in its place.
#[test]
fn a_recovery_of_another_cluster_is_over() {
    let (topology, seen) = m1();
    let forced = after(&recover(&topology, &GONE), &seen, 4);
    let open = host(&topology, &mut forced.clone()).record().cloned();
    let apply = worlds::planner(topology.clone());
    let (apply, mut serving) = (
        apply.clone(),
        scripted::carry_out(&apply, worlds::bare(&apply)),
    );
    let own = host(&topology, &mut serving).record_mut().unwrap();
    own.recover = open.unwrap().recover;
    assert_eq!(blockers(&apply, &serving), ["recover-open"]);
    let own = host(&topology, &mut serving).record_mut().unwrap();
    own.recover.as_mut().unwrap().cluster = ClusterId::new(7);
    assert_eq!(carried_out(&apply, &serving).0, Vec::<String>::new());
}
