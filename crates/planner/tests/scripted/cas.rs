//! Clusters whose CA is about to change.

use etcdup_core::certificate::CertFacts;
use etcdup_core::observation::{CaView, Observation};
use etcdup_core::observed::Observed;
use etcdup_core::topology::Topology;
use etcdup_planner::Planner;

use super::{bootstrapped, ids, worlds};

pub(crate) const TRUST: &str = "[certificates]\ntrust = [\"old-ca.crt\"]";

pub(crate) fn planner(topology: &Topology) -> Planner {
    worlds::planner(topology.clone())
}

/// A cluster whose CA is called `old`, and what to plan for it with.
pub(crate) fn of_old(head: &str, with: &str) -> (Topology, Observation) {
    let (_, mut seen) = bootstrapped(head);
    for view in seen.hosts.values_mut().filter_map(Observed::known_mut) {
        for facts in view
            .certificates
            .values_mut()
            .filter_map(Observed::known_mut)
        {
            rename(facts);
        }
    }
    let CaView::Usable(mut old) = seen.ca.clone() else {
        panic!("no CA")
    };
    rename(&mut old);
    seen.ca = CaView::Usable(old);
    (worlds::topology(3, &format!("{head}\n{with}")), seen)
}

/// What the world calls `new` is the old one here.
pub(crate) fn rename(facts: &mut CertFacts) {
    let old = || "old".to_owned();
    facts.issuer = old();
    facts.issuer_key_id = old();
    if facts.is_ca {
        facts.name = old();
        facts.key_id = old();
        facts.public_key = old();
        facts.fingerprint = old();
    }
}

/// The CA that was the cluster's is trusted, and there is no other yet.
pub(crate) fn set_aside(seen: &mut Observation, key: bool) {
    let Some(old) = seen.ca.facts().cloned() else {
        panic!("no CA")
    };
    seen.trusted = vec![match key {
        true => CaView::Usable(old),
        false => CaView::WithoutKey(old),
    }];
    seen.ca = CaView::Absent;
}

/// Every stage from here to the end, and the world then.
pub(crate) fn carried_out(topology: &Topology, seen: &Observation) -> (Vec<String>, Observation) {
    super::carried_out(&planner(topology), seen)
}

/// Without the members' names: which of them leads is not the same for all runtimes.
pub(crate) fn rules(keys: &[String]) -> Vec<String> {
    let rule = |key: &String| {
        let (rule, rest) = key.split_once(':')?;
        let leg = rest.find('@').map_or("", |at| &rest[at..]);
        Some(format!("{rule}{leg}"))
    };
    keys.iter()
        .map(|key| rule(key).unwrap_or_else(|| key.clone()))
        .collect()
}

pub(crate) fn blockers(topology: &Topology, seen: &Observation) -> Vec<String> {
    super::blockers(&planner(topology), seen)
}

pub(crate) fn warnings(topology: &Topology, seen: &Observation) -> Vec<String> {
    let planner = planner(topology).next_leg(seen).unwrap();
    let found = planner.preflight(seen);
    ids(&found).into_iter().map(str::to_owned).collect()
}

pub(crate) fn next_ca(old: &CertFacts) -> CertFacts {
    let next = || "next".to_owned();
    CertFacts {
        name: next(),
        issuer: next(),
        key_id: next(),
        issuer_key_id: next(),
        public_key: next(),
        fingerprint: next(),
        ..old.clone()
    }
}

/// The world once all trust both, and before anything is reissued.
pub(crate) fn spread(topology: &Topology, seen: &Observation) -> Observation {
    let start = planner(topology).next_leg(seen).unwrap();
    let forecast = start.forecast(seen);
    let mut stages = forecast.stages.iter();
    let spreads = stages
        .by_ref()
        .take_while(|stage| stage.key.leg.trust.is_some());
    spreads.fold(seen.clone(), |world, stage| {
        start
            .clone()
            .next_leg(&world)
            .unwrap()
            .predict(&world, stage)
    })
}
