//! Clusters that have lost most of their members.

use etcdup_core::host::HostId;
use etcdup_core::name::MemberName;
use etcdup_core::observation::{DataDir, Observation, RaftLog};
use etcdup_core::observed::{Cause, Observed};
use etcdup_core::stage::{Goal, Stage};
use etcdup_core::topology::Topology;
use etcdup_planner::Planner;

use super::{carry_out, worlds};

pub(crate) fn names(gone: &[&str]) -> Vec<MemberName> {
    gone.iter().map(|name| name.parse().unwrap()).collect()
}

pub(crate) fn recover(topology: &Topology, gone: &[&str]) -> Planner {
    let gone = names(gone);
    Planner::new(
        topology.clone(),
        Goal::Recover {
            gone,
            cluster_id: None,
        },
        None,
    )
    .unwrap()
}

pub(crate) fn host_of(topology: &Topology, name: &str) -> HostId {
    topology
        .member(&name.parse().unwrap())
        .unwrap()
        .host
        .clone()
}

/// A cluster of so many of which these are left, each with its log up to there.
pub(crate) fn left(of: usize, survivors: &[(&str, u64, u64)]) -> (Topology, Observation) {
    let planner = worlds::planner(worlds::topology(of, ""));
    let topology = planner.topology().clone();
    let mut seen = carry_out(&planner, worlds::bare(&planner));
    for member in &topology.members {
        let own = survivors
            .iter()
            .find(|(name, ..)| *name == member.name.as_str());
        match own {
            Some((_, committed, last)) => {
                let view = seen.members.get_mut(&member.name).unwrap();
                let view = view.known_mut().unwrap();
                view.served = Observed::unknown("no leader");
                view.leader = None;
                log(
                    &topology,
                    &mut seen,
                    member.name.as_str(),
                    *committed,
                    *last,
                );
            }
            None => power_off(&topology, &mut seen, member.name.as_str()),
        }
    }
    (topology, seen)
}

pub(crate) fn log(
    topology: &Topology,
    seen: &mut Observation,
    name: &str,
    committed: u64,
    last: u64,
) {
    let member = topology.member(&name.parse().unwrap()).unwrap();
    let log = RaftLog {
        term: 3,
        committed,
        last,
        revision: None,
        written: Some(1_700_000_000),
        damaged: false,
    };
    let host = seen.hosts.get_mut(&member.host).unwrap().known_mut();
    host.unwrap()
        .raft_logs
        .insert(member.layout.data.clone(), Observed::Known(log));
}

pub(crate) fn power_off(topology: &Topology, seen: &mut Observation, name: &str) {
    let away = Observed::unknown_for(Cause::Unreachable, "no answer");
    seen.hosts.insert(host_of(topology, name), away);
    seen.members
        .insert(name.parse().unwrap(), Observed::unknown("no answer"));
}

pub(crate) fn stages(planner: &Planner, seen: &Observation) -> Vec<Stage> {
    let planner = planner.clone().next_leg(seen).unwrap();
    planner.forecast(seen).stages
}

/// The members that have data where it belongs.
pub(crate) fn with_data(topology: &Topology, seen: &Observation) -> Vec<String> {
    let members = topology.members.iter();
    let has = |host: &HostId, path| {
        let data = seen.host(host).and_then(|host| host.data.get(path));
        matches!(data, Some(DataDir::Member(_)))
    };
    members
        .filter(|member| has(&member.host, &member.layout.data))
        .map(|member| member.name.to_string())
        .collect()
}

/// A host that is back as it was in another world.
pub(crate) fn back(topology: &Topology, seen: &mut Observation, of: &Observation, name: &str) {
    let host = host_of(topology, name);
    seen.hosts.insert(host.clone(), of.hosts[&host].clone());
    let name: MemberName = name.parse().unwrap();
    let view = of.members.get(&name).cloned();
    let view = view.unwrap_or_else(|| Observed::unknown("it does not run"));
    seen.members.insert(name, view);
}

/// A member that does not run.
pub(crate) fn stopped(topology: &Topology, seen: &mut Observation, name: &str) {
    let host = seen.hosts.get_mut(&host_of(topology, name)).unwrap();
    let host = host.known_mut().unwrap();
    host.processes.clear();
    host.listeners.clear();
    let name = name.parse().unwrap();
    seen.members.insert(name, Observed::unknown("stopped"));
}

pub(crate) fn predict(planner: &Planner, world: &Observation, stage: &Stage) -> Observation {
    let leg = planner.clone().next_leg(world).unwrap();
    leg.predict(world, stage)
}

/// The world after so many stages of a plan.
pub(crate) fn after(planner: &Planner, seen: &Observation, count: usize) -> Observation {
    let all = stages(planner, seen);
    let first = all[..count].iter();
    first.fold(seen.clone(), |world, stage| predict(planner, &world, stage))
}
