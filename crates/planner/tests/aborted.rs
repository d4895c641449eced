//! A restore that is given up: what is left serves on, and whatever was ordered before is over.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests say what they expect"
)]

mod scripted;
mod worlds;

use etcdup_core::restore::{RestoreOrder, RestorePhase, RestoreRecord};
use etcdup_core::stage::{Goal, Rule};
use etcdup_core::topology::Topology;
use etcdup_planner::{Planner, restore_under_way};
use scripted::{blockers, bootstrapped, carried_out, record, until};

fn restore(topology: &Topology, id: &str) -> Planner {
    of(topology, order(id))
}

fn of(topology: &Topology, order: RestoreOrder) -> Planner {
    let order = Box::new(order);
    Planner::new(topology.clone(), Goal::Restore { order }, None).unwrap()
}

fn order(id: &str) -> RestoreOrder {
    RestoreOrder {
        id: id.to_owned(),
        path: "/backup/a.db".to_owned(),
        sha256: "a".to_owned(),
        size: 1 << 20,
        known: None,
        bump: false,
        above: 0,
        again: false,
        cluster_id: None,
    }
}

/// Later than any order here.
fn abort(topology: &Topology) -> Planner {
    abort_by(topology, "6")
}

fn abort_by(topology: &Topology, id: &str) -> Planner {
    let id = id.to_owned();
    Planner::new(topology.clone(), Goal::AbortRestore { id }, None).unwrap()
}

#[test]
fn one_that_changed_nothing_is_given_up_and_the_cluster_serves_on() {
    let (planner, seen) = bootstrapped("");
    let topology = planner.topology();
    assert_eq!(carried_out(&abort(topology), &seen).0, Vec::<String>::new());
    let begun = until(&restore(topology, "2"), &seen, Rule::SetAside);
    assert_eq!(blockers(&planner, &begun), ["restore-open"; 3]);
    let (keys, world) = carried_out(&abort(topology), &begun);
    assert_eq!(keys, ["abort-restore"]);
    assert_eq!(carried_out(&planner, &world).0, Vec::<String>::new());
    // What was ordered before is over, and a later order begins another one.
    for id in ["1", "2", "5"] {
        assert_eq!(
            blockers(&restore(topology, id), &world),
            ["restore-aborted"]
        );
    }
    let (keys, again) = carried_out(&restore(topology, "7"), &world);
    assert_eq!(keys[0], "begin-restore", "{keys:?}");
    // Nor is an abort of before carried out later.
    let begun = until(&restore(topology, "7"), &world, Rule::SetAside);
    assert_eq!(
        carried_out(&abort(topology), &begun).0,
        Vec::<String>::new()
    );
    assert_eq!(
        carried_out(&abort_by(topology, "8"), &again).0,
        Vec::<String>::new()
    );
}

/// Whoever went on with it is known on every host before anything is done for it.
#[test]
fn an_order_that_went_on_with_it_is_given_up_too() {
    let (planner, seen) = bootstrapped("");
    let topology = planner.topology();
    let begun = until(&restore(topology, "1"), &seen, Rule::SetAside);
    let gone_on = until(&restore(topology, "2"), &begun, Rule::SetAside);
    let (_, world) = carried_out(&abort(topology), &gone_on);
    assert_eq!(
        blockers(&restore(topology, "2"), &world),
        ["restore-aborted"]
    );
}

#[test]
fn it_is_too_late_once_data_was_moved_aside() {
    let (planner, seen) = bootstrapped("");
    let topology = planner.topology();
    for rule in [Rule::Forget, Rule::Bootstrap, Rule::EndRestore] {
        let cut = until(&restore(topology, "1"), &seen, rule);
        let found = blockers(&abort(topology), &cut);
        assert!(found.iter().all(|id| id == "abort-too-late"), "{found:?}");
        assert!(!found.is_empty());
    }
}

/// What an earlier restore made was never verified: it is nobody's own data.
#[test]
fn it_is_too_late_once_an_earlier_restore_made_data() {
    let (planner, seen) = bootstrapped("");
    let topology = planner.topology();
    let made = until(&restore(topology, "1"), &seen, Rule::EndRestore);
    let again = RestoreOrder {
        again: true,
        sha256: "b".to_owned(),
        ..order("2")
    };
    let begun = until(&of(topology, again), &made, Rule::SetAside);
    let found = blockers(&abort(topology), &begun);
    assert!(found.iter().all(|id| id == "abort-too-late"), "{found:?}");
}

/// A host that missed it hears of it by the next `apply`, and goes on with nothing.
#[test]
fn a_host_that_missed_it_hears_of_it() {
    let (planner, seen) = bootstrapped("");
    let topology = planner.topology();
    let begun = until(&restore(topology, "1"), &seen, Rule::SetAside);
    let (_, mut world) = carried_out(&abort(topology), &begun);
    let missed = record(&planner, &mut world, 1);
    missed.restore = missed
        .restore
        .as_ref()
        .map(|one| one.at(RestorePhase::SettingAside));
    for goal in [&planner, &abort(topology)] {
        assert_eq!(carried_out(goal, &world).0, ["abort-restore"]);
    }
}

/// A host that was away while the cluster was restored elsewhere has an earlier order, though it
/// counts further.
#[test]
fn an_order_of_before_is_over_whatever_its_host_counts() {
    let (planner, seen) = bootstrapped("");
    let topology = planner.topology();
    let (_, mut world) = carried_out(&restore(topology, "5"), &seen);
    let away = record(&planner, &mut world, 1);
    away.restore = away.restore.as_ref().map(|one| RestoreRecord {
        id: "3".to_owned(),
        generation: one.generation + 4,
        ..one.at(RestorePhase::Restoring)
    });
    assert_eq!(carried_out(&planner, &world).0, ["end-restore@g1"]);
    assert_eq!(restore_under_way(topology, &world), None);
}
