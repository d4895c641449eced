//! Members that leave the file, over the model of hosts and etcd: what a plan for them would cost
//! where data was copied, a member was forced, or a disk was lost.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests say what they expect"
)]

mod model;
mod scripted;
mod worlds;

use std::collections::BTreeMap;

use etcdup_core::stage::Next;
use etcdup_planner::Planner;
use model::machine::list_of;
use model::{Model, runs};
use scripted::{blocked, ids};

fn plans(members: usize) -> Planner {
    worlds::planner(worlds::topology(members, ""))
}

/// So many machines, on the first of which the cluster of this file serves.
fn serving(machines: usize, file: &Planner) -> Model {
    let mut model = Model::new(&plans(machines));
    runs::run(file, &mut model, false).unwrap();
    model
}

/// The disks that hold data, and how many directories were moved aside.
fn data(model: &Model) -> (usize, usize) {
    let machines = &model.machines;
    let kept = machines.iter().filter(|machine| machine.data.is_some());
    let aside = machines.iter().map(|machine| machine.aside.len());
    (kept.count(), aside.sum())
}

/// m3's data was copied to another host beforehand, the file names that host, and the original
/// still runs: two processes would have one vote.
#[test]
fn a_copy_on_another_host_is_not_started_beside_the_original() {
    let mut model = serving(4, &plans(3));
    model.machines[3].data = model.machines[2].data.clone();
    let moved = "[[member]]\nname = \"m3\"\nhost = \"10.0.0.4\"";
    let edited = worlds::planner(worlds::topology(2, moved));
    let (planner, seen) = model.observe(&edited);
    assert_eq!(ids(&blocked(&planner, &seen)), ["data-other-member"]);
    assert!(model.lost.is_empty(), "{:?}", model.lost);
}

/// m5 was away while the others took writes; then those were stopped and m5 was forced. What it
/// lacks is on four disks, and stays there.
#[test]
fn the_data_of_a_quorum_stays_in_place_beside_a_forced_member() {
    let five = plans(5);
    let mut model = serving(5, &five);
    model.power_off(4);
    model.settle();
    for index in 0..4 {
        model.stop_by_hand(index);
    }
    let forced = model.machines[4].data.as_mut().unwrap();
    let id = forced.id;
    list_of(forced).retain(|listed| listed.id == id);
    model.power_on(4);
    let (planner, seen) = model.observe(&five);
    assert_eq!(ids(&blocked(&planner, &seen)), ["cluster-split"]);
    assert_eq!(data(&model), (5, 0));
}

/// m1 was away while the others took writes; then m2 is stopped, m3's host is away, and m1 is
/// forced. Neither m2's disk nor, once its host is back, m3's is moved aside for that.
#[test]
fn a_host_that_is_away_counts_for_the_quorum_that_was_overruled() {
    let three = plans(3);
    for recorded in [true, false] {
        let mut model = serving(3, &three);
        if !recorded {
            // As of a cluster that was adopted: then all must be seen.
            model.forget_records();
        }
        model.power_off(0);
        model.settle();
        for index in [1, 2] {
            model.stop_by_hand(index);
        }
        if recorded {
            model.power_off(2);
        }
        let forced = model.machines[0].data.as_mut().unwrap();
        let id = forced.id;
        list_of(forced).retain(|listed| listed.id == id);
        model.power_on(0);
        for _ in 0..2 {
            let (planner, seen) = model.observe(&three);
            let found = blocked(&planner, &seen);
            assert!(ids(&found).contains(&"cluster-split"), "{found:?}");
            assert_eq!(data(&model), (3, 0));
            model.power_on(2);
        }
    }
}

/// Two members go to other hosts and keep their addresses, so that each must go before it comes:
/// one after the other, and never two voters less.
#[test]
fn members_that_keep_their_addresses_change_hosts_one_after_the_other() {
    let mut model = serving(5, &plans(3));
    let moved = "[[member]]\nname = \"m2\"\nhost = \"10.0.0.4\"\naddress = \"10.0.0.2\"\n\
                 [[member]]\nname = \"m3\"\nhost = \"10.0.0.5\"\naddress = \"10.0.0.3\"\n";
    let edited = worlds::planner(worlds::topology(1, moved));
    let mut fewest = model.voters();
    for _ in 0..30 {
        let (planner, seen) = model.observe(&edited);
        let Next::Stage(stage) = planner.next(&seen) else {
            break;
        };
        model.carry_out(&planner, &stage, &BTreeMap::new());
        fewest = fewest.min(model.voters());
    }
    assert_eq!((fewest, model.voters()), (2, 3));
    assert!(model.lost.is_empty(), "{:?}", model.lost);
    assert_eq!(data(&model), (3, 2));
}

/// Two of three are gone: nobody can agree to remove them, and to wait for it would never end.
#[test]
fn two_of_three_that_are_gone_have_taken_the_quorum_with_them() {
    let mut model = serving(3, &plans(3));
    model.power_off(1);
    model.power_off(2);
    let gone = [2, 3].map(|n| {
        format!("[[member]]\nname = \"m{n}\"\nhost = \"10.0.0.{n}\"\nabsent = \"gone\"\n")
    });
    let edited = worlds::planner(worlds::topology(1, &gone.concat()));
    let mut keys = Vec::new();
    for _ in 0..5 {
        let (planner, seen) = model.observe(&edited);
        match planner.next(&seen) {
            Next::Stage(stage) => {
                keys.push(stage.key.to_string());
                model.carry_out(&planner, &stage, &BTreeMap::new());
            }
            Next::Blocked(findings) => {
                assert_eq!(ids(&findings), ["quorum-lost"]);
                assert_eq!(keys, ["refresh-files"]);
                return;
            }
            Next::Done => break,
        }
    }
    panic!("{keys:?}");
}

/// Five are down, m1's disk is lost, and the file asks for m1 to m3. The four are started, those
/// that go among them; m1 joins again, and m4 and m5 are removed before their data is touched.
#[test]
fn a_stopped_cluster_that_shrinks_and_lost_a_disk_serves_again() {
    let mut model = serving(5, &plans(5));
    for index in 0..5 {
        model.stop_by_hand(index);
    }
    model.replace_disk(None, 0);
    let three = plans(3);
    let mut keys = Vec::new();
    let last = loop {
        let (planner, seen) = model.observe(&three);
        match planner.next(&seen) {
            Next::Stage(stage) if keys.len() < 30 => {
                keys.push(stage.key.to_string());
                model.carry_out(&planner, &stage, &BTreeMap::new());
            }
            last => break last,
        }
    };
    assert_eq!(last, Next::Done);
    assert_eq!(
        keys,
        [
            "start-quorum",
            "refresh-files",
            "remove:m1",
            "add:m1",
            "join:m1",
            "promote:m1",
            "refresh-files",
            "remove:m4",
            "clean-up:m4",
            "remove:m5",
            "clean-up:m5",
            "refresh-files"
        ]
    );
    assert!(model.lost.is_empty(), "{:?}", model.lost);
    let hosts = three.topology().hosts.keys().cloned().collect();
    assert_eq!(model.healthy(), hosts);
    assert_eq!(data(&model), (3, 2));
}
