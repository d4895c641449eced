//! The planner against an independent model of hosts and etcd: what `predict` says comes true, and
//! whatever goes wrong on the way, no acknowledged write is lost, no second cluster appears and no
//! quorum is spent.
//!
//! `ETCDUP_WORLDS` says how many worlds each property looks at.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests say what they expect, and how many worlds is for whoever runs them to say"
)]

mod model;
mod worlds;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use etcdup_core::membership::MemberId;
use etcdup_core::observation::{DataDir, Observation};
use etcdup_core::observed::Observed;
use etcdup_core::stage::{Impact, Next, Rule};
use etcdup_planner::Planner;
use model::Model;
use proptest::prelude::*;

fn cases() -> u32 {
    let given = std::env::var("ETCDUP_WORLDS").ok();
    given.and_then(|given| given.parse().ok()).unwrap_or(1000)
}

/// What both must agree on: files, processes, data and records of each host, and what members say.
/// A member that was added has an ID that nobody can foretell: its peer URL stands for it.
fn told(seen: &Observation) -> BTreeMap<String, String> {
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

/// Planners are made once: rendering their files takes longer than planning.
static PLANNERS: LazyLock<BTreeMap<(usize, bool, bool), Planner>> = LazyLock::new(|| {
    let kinds = (1..6).flat_map(|members| {
        let runtimes = [false, true].into_iter();
        runtimes.flat_map(move |pods| [false, true].map(|flag| (members, pods, flag)))
    });
    kinds
        .map(|(members, pods, flag)| {
            let runtime = if pods {
                "runtime = \"static-pod\"\n"
            } else {
                ""
            };
            let flags = if flag {
                "flags = { snapshot-count = 4321 }"
            } else {
                ""
            };
            let topology = worlds::topology(members, &format!("{runtime}{flags}"));
            ((members, pods, flag), worlds::planner(topology))
        })
        .collect()
});

fn planner(members: usize, pods: bool, flag: bool) -> &'static Planner {
    &PLANNERS[&(members, pods, flag)]
}

/// Carries out what the planner says until it has nothing to say, as it is predicted all the way;
/// what that was.
fn to_the_end(planner: &Planner, model: &mut Model) -> Result<Vec<Rule>, TestCaseError> {
    run(planner, model, true)
}

/// The same; what a cut left behind, which nobody sees, may make something else of a stage.
fn run(planner: &Planner, model: &mut Model, predicted: bool) -> Result<Vec<Rule>, TestCaseError> {
    let mut done = Vec::new();
    for _ in 0..60 {
        let seen = model.observe();
        let stage = match planner.next(&seen) {
            Next::Stage(stage) => stage,
            Next::Done => return Ok(done),
            Next::Blocked(findings) => return Err(TestCaseError::fail(format!("{findings:?}"))),
        };
        let foretold = told(&planner.predict(&seen, &stage));
        model.carry_out(planner, &stage, &[]);
        done.push(stage.key.rule);
        let came_true = told(&model.observe());
        // Where a stage is not waited for, what comes of it may not be there yet.
        let waited = !stage.postconditions.is_empty();
        if predicted && (waited || stage.stops(&planner.topology().members).is_empty()) {
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
    Err(TestCaseError::fail("it does not end"))
}

/// Something that happens to a machine between two stages, or in the middle of one.
#[derive(Debug, Clone, Copy)]
enum Fault {
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

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        3 => (0_usize..3).prop_map(Fault::Power),
        3 => (0_usize..12).prop_map(Fault::Cut),
        1 => Just(Fault::Emptied),
        1 => (0_usize..6).prop_map(Fault::Copied),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    /// From bare hosts, through a change of a flag: every stage has the effect that was predicted.
    #[test]
    fn what_is_predicted_comes_true(
        members in 1_usize..6,
        pods in any::<bool>(),
        off in proptest::collection::vec(0_usize..6, 0..2),
    ) {
        let first = planner(members, pods, false);
        let mut model = Model::new(first);
        to_the_end(first, &mut model)?;
        prop_assert_eq!(model.healthy().len(), members);
        for index in off {
            model.power_off(index % members);
            model.power_on(index % members);
        }
        let changed = planner(members, pods, true);
        to_the_end(changed, &mut model)?;
        prop_assert_eq!(&model.lost, &Vec::<String>::new());
        prop_assert_eq!(model.healthy().len(), members);
    }

    /// A file that names more members than the cluster has: each joins, as it is predicted, and the
    /// flag that changed as well takes no outage where there are enough of them in the end.
    #[test]
    fn a_cluster_grows_as_it_is_predicted(
        before in 1_usize..5,
        more in 1_usize..4,
        pods in any::<bool>(),
        flag in any::<bool>(),
    ) {
        let after = (before + more).min(5);
        let mut model = Model::new(planner(after, pods, false));
        to_the_end(planner(before, pods, false), &mut model)?;
        let grown = planner(after, pods, flag);
        let done = to_the_end(grown, &mut model)?;
        prop_assert!(flag || !done.contains(&Rule::Roll), "a restart for nothing: {done:?}");
        prop_assert_eq!(&model.lost, &Vec::<String>::new());
        prop_assert_eq!((model.healthy().len(), model.voters()), (after, after));
    }

    /// The file grows while every machine is off, and only systemd or the kubelet starts some.
    #[test]
    fn a_cluster_that_is_down_is_started_before_it_grows(
        before in 1_usize..4,
        more in 1_usize..3,
        pods in any::<bool>(),
        disabled in any::<bool>(),
    ) {
        let after = before + more;
        let mut model = Model::new(planner(after, pods, false));
        to_the_end(planner(before, pods, false), &mut model)?;
        for index in 0..before {
            if disabled {
                model.stop_by_hand(index);
            } else {
                model.power_off(index);
            }
        }
        for index in 0..before {
            if !disabled {
                model.power_on(index);
            }
        }
        to_the_end(planner(after, pods, false), &mut model)?;
        prop_assert_eq!(&model.lost, &Vec::<String>::new());
        prop_assert_eq!((model.healthy().len(), model.voters()), (after, after));
    }

    /// Power losses, stages that are cut anywhere on any host, disks that come back empty: nothing
    /// that was promised is lost, and a stage that is no outage leaves a quorum that was there.
    #[test]
    fn nothing_is_lost_whatever_goes_wrong(
        first in 1_usize..6,
        more in 0_usize..4,
        pods in any::<bool>(),
        faults in proptest::collection::vec((0_usize..36, 0_usize..6, fault()), 0..8),
    ) {
        let members = (first + more).min(5);
        let plans = [planner(first, pods, false), planner(members, pods, true)];
        let mut model = Model::new(planner(members, pods, false));
        let mut back: Vec<(usize, usize)> = Vec::new();
        for round in 0..60 {
            // Then the file asks for another flag, and maybe for more members.
            let planner = plans[usize::from(round >= 14)];
            back.retain(|(when, index)| {
                let due = *when <= round;
                if due {
                    model.power_on(*index);
                }
                !due
            });
            let mut cut = vec![None; members];
            for (_, index, fault) in faults.iter().filter(|(at, ..)| *at == round) {
                let index = index % members;
                let settled = model.machines.iter().all(model::Machine::is_settled);
                match fault {
                    Fault::Power(rounds) => {
                        model.power_off(index);
                        back.push((round + rounds + 1, index));
                    }
                    Fault::Cut(steps) => cut[index] = Some(*steps),
                    Fault::Emptied if settled => model.replace_disk(None, index),
                    Fault::Copied(from) if settled => model.replace_disk(Some(from % members), index),
                    Fault::Emptied | Fault::Copied(_) => {}
                }
            }
            let healthy = model.healthy();
            if let Next::Stage(stage) = planner.next(&model.observe()) {
                let voters = model.voters();
                let outage = matches!(stage.impact, Impact::Outage(_)) || voters < 3;
                let stopped = stage.stops(&planner.topology().members);
                let left = healthy.difference(&stopped).count();
                let (had, has) = (2 * healthy.len() > voters, 2 * left > voters);
                prop_assert!(outage || !had || has, "{} leaves {left} of {healthy:?}", stage.key);
                // Before a stop members are asked again, as the executor does; whom that shows to
                // be needed is not stopped.
                let held = stage.preconditions.iter().all(|gate| gate.check(&model.observe()).is_ok());
                if held {
                    model.carry_out(planner, &stage, &cut);
                }
            } else {
                model.settle();
            }
            prop_assert_eq!(&model.lost, &Vec::<String>::new(), "round {}", round);
        }
        // Where no disk was taken, all comes right once power stays on. A bootstrap that is cut in
        // its first steps looks like a disk that is not mounted, which a person must say.
        let taken = |at: usize, fault: &Fault| match fault {
            Fault::Emptied | Fault::Copied(_) => true,
            Fault::Cut(_) => at < 14,
            Fault::Power(_) => false,
        };
        if !faults.iter().any(|(at, _, fault)| taken(*at, fault)) {
            for index in 0..members {
                if !model.machines[index].up {
                    model.power_on(index);
                }
            }
            run(plans[1], &mut model, false)?;
            prop_assert_eq!((model.healthy().len(), model.voters()), (members, members));
        }
    }
}
