//! What planner and model do together: stage after stage, as predicted, with faults in between.

use std::collections::{BTreeMap, BTreeSet};

use etcdup_core::host::HostId;
use etcdup_core::membership::MemberId;
use etcdup_core::observation::{DataDir, Observation};
use etcdup_core::observed::Observed;
use etcdup_core::stage::{ClusterStep, Impact, Next, Rule, Work};
use etcdup_planner::Planner;
use proptest::prelude::*;

use super::Model;

/// How many worlds each property looks at.
#[allow(
    clippy::disallowed_methods,
    reason = "how many is for whoever runs the tests to say"
)]
pub(crate) fn cases() -> u32 {
    let given = std::env::var("ETCDUP_WORLDS").ok();
    given.and_then(|given| given.parse().ok()).unwrap_or(60)
}

/// What both must agree on: files, processes, data and records of each host, and what members say.
/// A member that was added has an ID that nobody can foretell: its peer URL stands for it.
pub(crate) fn told(seen: &Observation) -> BTreeMap<String, String> {
    let mut told = BTreeMap::new();
    let views = seen.members.values().filter_map(Observed::known);
    let urls: BTreeMap<MemberId, String> = views
        .flat_map(|view| &view.listed)
        .map(|listed| (listed.id, listed.peer_urls.join(" ")))
        .collect();
    let known = |id: &MemberId| urls.get(id).cloned().unwrap_or_else(|| id.to_string());
    for (id, host) in &seen.hosts {
        let Observed::Known(host) = host else {
            told.insert(format!("{id}"), "unknown".to_owned());
            continue;
        };
        let files: Vec<String> = host
            .files
            .iter()
            .map(|(path, file)| format!("{path} {} {:?}", file.mode, file.kind))
            .collect();
        told.insert(format!("{id} files"), files.join("\n"));
        let certificates: Vec<String> = host.certificates.keys().map(ToString::to_string).collect();
        told.insert(format!("{id} certificates"), certificates.join(" "));
        for (name, process) in &host.processes {
            let mut flags = process.flags.clone();
            // They count at the first start only, and who reads them finds out what the file said
            // at that start.
            for name in ["initial-cluster", "initial-cluster-state"] {
                flags.set(name, "any");
            }
            told.insert(format!("{id} {name} flags"), format!("{flags:?}"));
        }
        for (path, data) in &host.data {
            let data = match data {
                // A directory that etcd makes itself was not there before.
                DataDir::Absent | DataDir::Empty => "none".to_owned(),
                DataDir::Member(data) => format!("{} {}", known(&data.member), data.cluster),
                DataDir::Foreign => "foreign".to_owned(),
            };
            told.insert(format!("{id} {path}"), data);
        }
        let record = host.record().map(|record| {
            let ids = record
                .members
                .iter()
                .map(|(name, member)| (name.to_string(), known(&member.id)));
            (record.cluster, ids.collect::<Vec<_>>())
        });
        told.insert(
            format!("{id} record"),
            format!("{:?}", record.unwrap_or_default()),
        );
        told.insert(format!("{id} marks"), format!("{}", host.marks.len()));
    }
    for (name, member) in &seen.members {
        let answer = member.known().map(|view| {
            let listed = view.listed.iter();
            let mut listed: Vec<_> = listed
                .map(|one| (known(&one.id), one.name.clone(), one.started(), one.learner))
                .collect();
            listed.sort();
            (
                known(&view.id),
                view.cluster,
                view.served.known().is_some(),
                listed,
            )
        });
        told.insert(format!("{name}"), format!("{answer:x?}"));
    }
    told
}

/// Carries out what the planner says until it has nothing to say, as it is predicted all the way;
/// what that was.
pub(crate) fn to_the_end(planner: &Planner, model: &mut Model) -> Result<Vec<Rule>, TestCaseError> {
    run(planner, model, true)
}

/// The same; what a cut left behind, which nobody sees, may make something else of a stage.
pub(crate) fn run(
    planner: &Planner,
    model: &mut Model,
    predicted: bool,
) -> Result<Vec<Rule>, TestCaseError> {
    let mut done = Vec::new();
    for _ in 0..80 {
        let (planner, seen) = model.observe(planner);
        let stage = match planner.next(&seen) {
            Next::Stage(stage) => stage,
            Next::Done => return Ok(done),
            Next::Blocked(findings) => return Err(TestCaseError::fail(format!("{findings:?}"))),
        };
        let foretold = told(&planner.predict(&seen, &stage));
        model.carry_out(&planner, &stage, &BTreeMap::new());
        done.push(stage.key.rule);
        let came_true = told(&model.observe_hosts(planner.topology()));
        // Where a stage is not waited for, what comes of it may not be there yet.
        let waited = !stage.postconditions.is_empty();
        if predicted && (waited || stage.stops(planner.topology()).is_empty()) {
            for (what, value) in &came_true {
                prop_assert_eq!(
                    foretold.get(what),
                    Some(value),
                    "{} after {}",
                    what,
                    stage.key
                );
            }
        }
    }
    let rules: Vec<&str> = done.iter().map(|rule| rule.as_str()).collect();
    Err(TestCaseError::fail(format!(
        "it does not end: {}",
        rules.join(", ")
    )))
}

/// The next stage, cut on some hosts, as the executor carries it out: a stage that is no outage
/// leaves a quorum that was there.
pub(crate) fn one_round(
    planner: &Planner,
    model: &mut Model,
    cut: &BTreeMap<HostId, usize>,
) -> Result<(), TestCaseError> {
    let healthy = model.healthy();
    let (planner, seen) = model.observe(planner);
    let Next::Stage(stage) = planner.next(&seen) else {
        model.settle();
        return Ok(());
    };
    let topology = planner.topology();
    let voters = model.voters();
    let outage = matches!(stage.impact, Impact::Outage(_)) || voters < 3;
    let stopped = stage.stops(topology);
    let hosts = stopped.iter().map(|name| topology.member(name).unwrap());
    let hosts: BTreeSet<HostId> = hosts.map(|member| member.host.clone()).collect();
    let left = healthy.difference(&hosts).count();
    let (had, has) = (2 * healthy.len() > voters, 2 * left > voters);
    prop_assert!(
        outage || !had || has,
        "{} leaves {left} of {healthy:?}",
        stage.key
    );
    // Before a stop members are asked again, as the executor does; whom that shows to be needed is
    // not stopped.
    let again = model.observe_hosts(topology);
    let mut gates = stage.preconditions.iter();
    if gates.all(|gate| gate.check(&again).is_ok()) {
        model.carry_out(&planner, &stage, cut);
    }
    // A removal takes no quorum that was there.
    if let Work::Cluster(ClusterStep::Remove { .. }) = stage.work {
        let (voters, healthy) = (model.voters(), model.healthy().len());
        prop_assert!(
            !had || 2 * healthy > voters,
            "{} took the quorum",
            stage.key
        );
    }
    Ok(())
}

/// Something that happens to a machine between two stages, or in the middle of one.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// Power goes, and comes back after so many stages.
    Power(usize),
    /// A stage is cut on this machine after so many steps.
    Cut(usize),
    /// A member is stopped and disabled by hand, and its disk replaced by an empty one. (An emptied
    /// member that systemd or the kubelet starts by itself may lose writes without any planner:
    /// etcd lets it in under its old ID.)
    Emptied,
    /// The same, with a copy of another member's disk.
    Copied(usize),
}

pub(crate) fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        3 => (0_usize..3).prop_map(Fault::Power),
        3 => (0_usize..12).prop_map(Fault::Cut),
        1 => Just(Fault::Emptied),
        1 => (0_usize..6).prop_map(Fault::Copied),
    ]
}

/// Something on the way to what a file says.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Event<E> {
    /// So many stages.
    Rounds(usize),
    /// The file says something else.
    Edit(E),
    /// A machine loses power, and one comes back.
    Power(usize, usize),
    /// A stage is cut on a machine after so many steps.
    Cut(usize, usize),
}

pub(crate) fn event<E: std::fmt::Debug>(
    edit: impl Strategy<Value = E>,
) -> impl Strategy<Value = Event<E>> {
    prop_oneof![
        4 => (1_usize..6).prop_map(Event::Rounds),
        2 => edit.prop_map(Event::Edit),
        2 => (0_usize..6, 0_usize..6).prop_map(|(off, on)| Event::Power(off, on)),
        2 => (0_usize..6, 0_usize..12).prop_map(|(at, after)| Event::Cut(at, after)),
    ]
}

/// Has it happen; what the file says by then, where it was an edit.
pub(crate) fn happens<E>(
    planner: &Planner,
    model: &mut Model,
    event: Event<E>,
) -> Result<Option<E>, TestCaseError> {
    let members = model.machines.len();
    match event {
        Event::Rounds(rounds) => {
            for _ in 0..rounds {
                one_round(planner, model, &BTreeMap::new())?;
            }
        }
        Event::Edit(edit) => return Ok(Some(edit)),
        Event::Power(off, on) => {
            // One at a time: what a lost quorum leads to, other properties ask.
            (0..members).for_each(|index| model.power_on(index));
            model.settle();
            if off != on {
                model.power_off(off % members);
            }
        }
        Event::Cut(at, after) => {
            let host = model.machines[at % members].member.host.clone();
            one_round(planner, model, &BTreeMap::from([(host, after)]))?;
        }
    }
    Ok(None)
}
