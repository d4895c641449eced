//! The planner against an independent model of hosts and etcd: what `predict` says comes true, and
//! whatever goes wrong on the way, no acknowledged write is lost, no second cluster appears and no
//! quorum is spent.
//!
//! `ETCDUP_WORLDS` says how many worlds each property looks at.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests say what they expect"
)]

mod model;
mod worlds;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use etcdup_core::stage::{Goal, Impact, Rule, Stage};
use etcdup_planner::Planner;
use model::Model;
use model::runs::{Fault, cases, fault, one_round, run, to_the_end};
use proptest::prelude::*;

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

    /// From one or two to three or more with another flag: nobody is asked for an outage, and none
    /// happens.
    #[test]
    fn a_lone_member_grows_and_restarts_without_an_outage(
        before in 1_usize..3,
        after in 3_usize..6,
        pods in any::<bool>(),
    ) {
        let mut model = Model::new(planner(after, pods, false));
        to_the_end(planner(before, pods, false), &mut model)?;
        let topology = planner(after, pods, true).topology().clone();
        let goal = Goal::CONVERGE;
        let grown = Planner::new(topology, goal, None).unwrap();
        let (_, seen) = model.observe(&grown);
        let outage = |stage: &Stage| matches!(stage.impact, Impact::Outage(_));
        prop_assert!(!grown.forecast(&seen).stages.iter().any(outage));
        let done = to_the_end(&grown, &mut model)?;
        prop_assert_eq!(done.iter().filter(|rule| **rule == Rule::Roll).count(), before);
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
            let mut cut = BTreeMap::new();
            for (_, index, fault) in faults.iter().filter(|(at, ..)| *at == round) {
                let index = index % members;
                let settled = model.machines.iter().all(model::Machine::is_settled);
                match fault {
                    Fault::Power(rounds) => {
                        model.power_off(index);
                        back.push((round + rounds + 1, index));
                    }
                    Fault::Cut(steps) => {
                        cut.insert(model.machines[index].member.host.clone(), *steps);
                    }
                    Fault::Emptied if settled => model.replace_disk(None, index),
                    Fault::Copied(from) if settled => model.replace_disk(Some(from % members), index),
                    Fault::Emptied | Fault::Copied(_) => {}
                }
            }
            one_round(planner, &mut model, &cut)?;
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
