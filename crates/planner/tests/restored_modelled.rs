//! Restores and recoveries against the model of hosts and etcd: wherever they are cut, whatever
//! loses power, nothing serves beside what is made, nothing is deleted, and they end.
//!
//! `ETCDUP_WORLDS` says how many worlds each property looks at.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests say what they expect"
)]

mod model;
mod worlds;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use etcdup_core::finding::Finding;
use etcdup_core::host::HostId;
use etcdup_core::membership::ClusterId;
use etcdup_core::name::MemberName;
use etcdup_core::restore::RestoreOrder;
use etcdup_core::stage::{Goal, Next};
use etcdup_planner::Planner;
use model::runs::{cases, one_round, run, to_the_end};
use model::{Machine, Model};
use proptest::prelude::*;

/// What happens on the way, to a machine by its number.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// So many stages.
    Rounds(usize),
    /// A stage is cut there after so many steps.
    Cut(usize, usize),
    /// It has no power for so many stages.
    Power(usize, usize),
    /// An operator runs `apply`, which must leave all as it is.
    Apply,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (1_usize..4).prop_map(Event::Rounds),
        3 => (0_usize..5, 0_usize..12).prop_map(|(at, after)| Event::Cut(at, after)),
        2 => (0_usize..5, 0_usize..3).prop_map(|(at, rounds)| Event::Power(at, rounds)),
        1 => Just(Event::Apply),
    ]
}

/// The file of so many members.
fn apply(members: usize, pods: bool) -> &'static Planner {
    static PLANNERS: LazyLock<BTreeMap<(usize, bool), Planner>> = LazyLock::new(|| {
        let all = (1..6).flat_map(|members| [false, true].map(|pods| (members, pods)));
        all.map(|(members, pods)| {
            let head = if pods { "runtime = \"static-pod\"" } else { "" };
            let planner = worlds::planner(worlds::topology(members, head));
            ((members, pods), planner)
        })
        .collect()
    });
    &PLANNERS[&(members, pods)]
}

/// The file of the members with these numbers, as bits.
fn of(members: u8, pods: bool) -> Planner {
    let head = if pods {
        "runtime = \"static-pod\"\n"
    } else {
        ""
    };
    let numbers = (0..5).filter(|number| members & 1 << number != 0);
    let members = numbers.map(|number| {
        let number = number + 1;
        format!("[[member]]\nname = \"m{number}\"\nhost = \"10.0.0.{number}\"\n")
    });
    let text = format!("{head}{}", members.collect::<String>());
    worlds::planner(worlds::topology(0, &text))
}

/// An order to restore the cluster of this file.
fn restore(apply: &Planner, id: &str) -> Planner {
    ordered(apply, id, "a", false)
}

/// An order to restore it from another snapshot, whatever is under way.
fn restore_again(apply: &Planner, id: &str) -> Planner {
    ordered(apply, id, "b", true)
}

fn ordered(apply: &Planner, id: &str, sha256: &str, again: bool) -> Planner {
    let order = Box::new(RestoreOrder {
        id: id.to_owned(),
        path: format!("/backup/{sha256}.db"),
        sha256: sha256.to_owned(),
        size: 1 << 20,
        known: None,
        bump: false,
        above: 0,
        again,
        cluster_id: None,
    });
    Planner::new(apply.topology().clone(), Goal::Restore { order }, None).unwrap()
}

/// Only these machines are concerned: the others stay as they are.
fn happens(
    goal: &Planner,
    apply: &Planner,
    model: &mut Model,
    machines: &[usize],
    event: Event,
) -> Result<(), TestCaseError> {
    let machine = |at: usize| machines[at % machines.len()];
    match event {
        Event::Rounds(rounds) => {
            for _ in 0..rounds {
                one_round(goal, model, &BTreeMap::new())?;
            }
        }
        Event::Cut(at, after) => {
            let host = model.machines[machine(at)].member.host.clone();
            one_round(goal, model, &BTreeMap::from([(host, after)]))?;
        }
        Event::Power(at, rounds) => {
            model.power_off(machine(at));
            model.settle();
            for _ in 0..rounds {
                one_round(goal, model, &BTreeMap::new())?;
            }
            model.power_on(machine(at));
        }
        Event::Apply => {
            let record = |machine: &Machine| machine.record_is_open();
            if model.machines.iter().any(record) {
                let (planner, seen) = model.observe(apply);
                prop_assert!(matches!(planner.next(&seen), Next::Blocked(_)));
            }
        }
    }
    prop_assert_eq!(&model.lost, &Vec::<String>::new());
    Ok(())
}

fn clusters(model: &Model) -> Vec<ClusterId> {
    let datas = model.machines.iter().filter_map(|one| one.data.as_ref());
    let mut clusters: Vec<ClusterId> = datas.map(|data| data.cluster).collect();
    clusters.dedup();
    clusters
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    /// The cluster that was never serves once the other begins, its data is all kept, and in the
    /// end every member is of the other.
    #[test]
    fn a_restore_ends_wherever_it_was_cut(
        members in 1_usize..6,
        pods in any::<bool>(),
        events in proptest::collection::vec(event(), 0..10),
    ) {
        let apply = apply(members, pods);
        let mut model = Model::new(apply);
        to_the_end(apply, &mut model)?;
        let before = clusters(&model);
        let restore = restore(apply, "1");
        let all: Vec<usize> = (0..members).collect();
        for event in events {
            happens(&restore, apply, &mut model, &all, event)?;
        }
        run(&restore, &mut model, false)?;
        prop_assert_eq!(&model.lost, &Vec::<String>::new());
        prop_assert_eq!(model.healthy().len(), members);
        prop_assert_eq!(clusters(&model).len(), 1);
        prop_assert_ne!(clusters(&model), before.clone());
        for machine in &model.machines {
            prop_assert!(machine.aside.iter().any(|data| data.cluster == before[0]));
        }
        // And `apply` has nothing to do.
        prop_assert_eq!(run(apply, &mut model, false)?, Vec::new());
    }

    /// Where it can still be given up, the cluster goes on with its own data, whatever was moved
    /// aside already; otherwise it goes on and ends. What an earlier one made is not its own.
    #[test]
    fn a_restore_is_given_up_or_ends(
        members in 1_usize..6,
        pods in any::<bool>(),
        events in proptest::collection::vec(event(), 0..4),
        again in proptest::option::of(proptest::collection::vec(event(), 0..3)),
    ) {
        let apply = apply(members, pods);
        let mut model = Model::new(apply);
        to_the_end(apply, &mut model)?;
        let mut before = clusters(&model);
        let mut last = restore(apply, "1");
        let all: Vec<usize> = (0..members).collect();
        for event in events {
            happens(&last, apply, &mut model, &all, event)?;
        }
        let is_open = |model: &Model| model.machines.iter().any(Machine::record_is_open);
        if !is_open(&model) {
            before = clusters(&model);
        }
        if let Some(events) = again {
            last = restore_again(apply, "2");
            for event in events {
                happens(&last, apply, &mut model, &all, event)?;
            }
        }
        let goal = Goal::AbortRestore { id: "3".to_owned() };
        let abort = Planner::new(apply.topology().clone(), goal, None).unwrap();
        let (planner, seen) = model.observe(&abort);
        if let Next::Blocked(findings) = planner.next(&seen) {
            prop_assert!(findings.iter().all(|finding| finding.is_of(&["abort-too-late"])));
            run(&last, &mut model, false)?;
            prop_assert_ne!(clusters(&model), before);
        } else if run(&abort, &mut model, false)?.is_empty() {
            // Nothing was begun, or all has ended.
            prop_assert!(!is_open(&model));
        } else {
            run(apply, &mut model, false)?;
            prop_assert_eq!(clusters(&model), before);
            // The order that was given up is not carried out any more.
            let (planner, seen) = model.observe(&last);
            prop_assert!(matches!(planner.next(&seen), Next::Blocked(_)));
        }
        prop_assert_eq!(&model.lost, &Vec::<String>::new());
        prop_assert_eq!(model.healthy().len(), members);
        prop_assert_eq!(clusters(&model).len(), 1);
    }

    /// The file has other members by the time that the command is run again, by another operator
    /// say: those that it has then are those of the cluster, and no other serves.
    #[test]
    fn a_restore_ends_whoever_edits_the_file_on_the_way(
        before in 1_u8..32,
        after in 1_u8..32,
        pods in any::<bool>(),
        events in proptest::collection::vec(event(), 0..8),
        more in proptest::collection::vec(event(), 0..4),
    ) {
        // Where no host is left nobody knows of the others but the operator.
        prop_assume!(before & after != 0);
        let (first, edited) = (of(before, pods), of(after, pods));
        let mut model = Model::new(apply(5, pods));
        to_the_end(&first, &mut model)?;
        let machines = |of: u8| (0..5).filter(|at| of & 1 << at != 0).collect::<Vec<usize>>();
        for event in events {
            happens(&restore(&first, "1"), &first, &mut model, &machines(before), event)?;
        }
        for event in more {
            happens(&restore(&edited, "2"), &edited, &mut model, &machines(after), event)?;
        }
        run(&restore(&edited, "2"), &mut model, false)?;
        prop_assert_eq!(&model.lost, &Vec::<String>::new());
        let hosts = machines(after).into_iter();
        let hosts = hosts.map(|at| model.machines[at].member.host.clone());
        prop_assert_eq!(model.healthy(), hosts.collect::<BTreeSet<HostId>>());
        prop_assert_eq!(run(&edited, &mut model, false)?, Vec::new());
    }

    /// Members die one after the other while the others take writes, and too few come back. Of
    /// those the one goes on that knows most; whoever was left behind comes back later, and `apply`
    /// makes the whole cluster of it.
    #[test]
    fn a_recovery_ends_wherever_it_was_cut(
        members in 3_usize..6,
        pods in any::<bool>(),
        deaths in Just((0..5_usize).collect::<Vec<_>>()).prop_shuffle(),
        lives in Just((0..5_usize).collect::<Vec<_>>()).prop_shuffle(),
        survivors in 1_usize..3,
        events in proptest::collection::vec(event(), 0..10),
    ) {
        let apply = apply(members, pods);
        let mut model = Model::new(apply);
        to_the_end(apply, &mut model)?;
        for index in deaths.into_iter().filter(|index| *index < members) {
            model.settle();
            model.power_off(index);
        }
        let mut lives = lives.into_iter().filter(|index| *index < members);
        let survivors: Vec<usize> = lives.by_ref().take(survivors.min((members - 1) / 2)).collect();
        let gone: Vec<usize> = lives.collect();
        for index in &survivors {
            model.power_on(*index);
        }
        let log = |index: &usize| model.machines[*index].data.as_ref().unwrap().log;
        let most = survivors.iter().map(log).max().unwrap();
        let name = |index: &usize| model.machines[*index].member.name.clone();
        let goal = Goal::Recover { gone: gone.iter().map(name).collect(), cluster_id: None };
        let recover = Planner::new(apply.topology().clone(), goal, None).unwrap();
        for event in events {
            happens(&recover, apply, &mut model, &survivors, event)?;
        }
        run(&recover, &mut model, false)?;
        prop_assert_eq!(&model.lost, &Vec::<String>::new());
        prop_assert_eq!(model.healthy().len(), 1);
        let goes_on: Vec<&Machine> = survivors
            .iter()
            .map(|index| &model.machines[*index])
            .filter(|machine| machine.data.is_some())
            .collect();
        prop_assert_eq!(goes_on.len(), 1);
        prop_assert!(goes_on[0].data.as_ref().unwrap().log >= most);
        for index in survivors {
            let machine = &model.machines[index];
            prop_assert_eq!(machine.data.is_none(), !machine.aside.is_empty());
        }
        // They come back one after the other, as they were when they died: `apply` says what sets
        // them aside.
        for index in gone {
            model.power_on(index);
            let (planner, seen) = model.observe(apply);
            let Next::Blocked(findings) = planner.next(&seen) else {
                return Err(TestCaseError::fail("it goes on beside what came back"));
            };
            prop_assert!(findings.iter().any(|finding| finding.is_of(&["came-back"])));
            run(&recover, &mut model, false)?;
            prop_assert!(model.machines[index].data.is_none());
            prop_assert_eq!(&model.lost, &Vec::<String>::new());
        }
        run(apply, &mut model, false)?;
        prop_assert_eq!(&model.lost, &Vec::<String>::new());
        prop_assert_eq!(model.healthy().len(), members);
        prop_assert_eq!(clusters(&model).len(), 1);
    }

    /// Those that are gone leave the file before the recovery has ended, and are named still.
    #[test]
    fn a_recovery_ends_whoever_edits_the_file_on_the_way(
        after in 2_usize..5,
        pods in any::<bool>(),
        survivor in 0_usize..2,
        events in proptest::collection::vec(event(), 0..8),
    ) {
        let (first, edited) = (apply(5, pods), apply(after, pods));
        let mut model = Model::new(first);
        to_the_end(first, &mut model)?;
        let gone: Vec<usize> = (0..5).filter(|index| *index != survivor).collect();
        for index in &gone {
            model.settle();
            model.power_off(*index);
        }
        let name = |index: &usize| model.machines[*index].member.name.clone();
        let gone: Vec<MemberName> = gone.iter().map(name).collect();
        let recover = |file: &Planner, gone: &[MemberName]| {
            let goal = Goal::Recover { gone: gone.to_vec(), cluster_id: None };
            Planner::new(file.topology().clone(), goal, None).unwrap()
        };
        for event in events {
            happens(&recover(first, &gone), first, &mut model, &[survivor], event)?;
        }
        // While nobody answers, names that the file does not have are refused: they are left out.
        let (planner, seen) = model.observe(&recover(edited, &gone));
        let refuses = |finding: &Finding| finding.is_of(&["recover-gone"]);
        let left_out = matches!(planner.next(&seen), Next::Blocked(found) if found.iter().all(refuses));
        let in_file = |name: &&MemberName| !left_out || edited.topology().member(name).is_some();
        let gone: Vec<MemberName> = gone.iter().filter(in_file).cloned().collect();
        run(&recover(edited, &gone), &mut model, false)?;
        prop_assert_eq!(&model.lost, &Vec::<String>::new());
        prop_assert_eq!(model.healthy().len(), 1);
    }
}
