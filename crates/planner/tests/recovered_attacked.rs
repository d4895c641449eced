//! What an attacker found about recoveries: hosts that come back at any moment, records that never
//! heard of one another, data that only looks like a survivor's.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests say what they expect"
)]

mod scripted;
mod worlds;

use etcdup_core::observation::{DataDir, ListedMember, Observation};
use etcdup_core::stage::Goal;
use etcdup_core::topology::Topology;
use etcdup_planner::Planner;
use scripted::lost::{after, back, host_of, left, power_off, recover, stages, stopped, with_data};
use scripted::{blockers, bootstrapped, carried_out, seen_by};

/// What is done once a quorum is there again: nothing was changed, so that it is given up, and
/// `apply` goes on.
fn is_given_up(topology: &Topology, world: &Observation) {
    let (keys, after) = carried_out(&recover(topology, &[]), world);
    assert_eq!(keys, ["end-recover"]);
    let (again, _) = carried_out(&recover(topology, &[]), &after);
    assert!(again.is_empty(), "{again:?}");
    carried_out(&worlds::planner(topology.clone()), &after);
}

#[test]
fn a_quorum_that_is_back_before_anything_was_changed_is_left_alone() {
    let (planner, whole) = bootstrapped("");
    let topology = planner.topology().clone();
    let (_, seen) = left(3, &[("m1", 90, 90)]);
    let recovery = recover(&topology, &["m2", "m3"]);
    for cut in 1..=2 {
        let mut world = after(&recovery, &seen, cut);
        back(&topology, &mut world, &whole, "m2");
        back(&topology, &mut world, &whole, "m3");
        is_given_up(&topology, &world);
    }
}

/// Once a member may be alone, others that serve would be a second cluster.
#[test]
fn once_one_may_be_alone_others_must_not_serve() {
    let (planner, whole) = bootstrapped("");
    let topology = planner.topology().clone();
    let (_, seen) = left(3, &[("m1", 90, 90)]);
    let recovery = recover(&topology, &["m2", "m3"]);
    let mut world = after(&recovery, &seen, 3);
    back(&topology, &mut world, &whole, "m2");
    back(&topology, &mut world, &whole, "m3");
    let found = blockers(&recover(&topology, &[]), &world);
    assert_eq!(found, ["came-back", "came-back"]);
}

/// One was cut while a copy of its data took the place of it.
#[test]
fn a_member_without_data_in_its_place_goes_on_if_it_was_chosen() {
    let (topology, seen) = left(3, &[("m1", 90, 90)]);
    let recovery = recover(&topology, &["m2", "m3"]);
    let mut world = after(&recovery, &seen, 3);
    let host = world.hosts.get_mut(&host_of(&topology, "m1")).unwrap();
    let data = &topology.members[0].layout.data;
    host.known_mut()
        .unwrap()
        .data
        .insert(data.clone(), DataDir::Empty);
    let planner = recovery.next_leg(&world).unwrap();
    let stage = &planner.forecast(&world).stages[0];
    assert_eq!(stage.key.to_string(), "force-new:m1");
}

/// A host that died right after the note comes back to the recovered cluster, grown since.
#[test]
fn a_note_of_long_ago_stops_nothing() {
    let (topology, seen) = left(3, &[("m1", 90, 90)]);
    let recovery = recover(&topology, &["m2", "m3"]);
    let noted = after(&recovery, &seen, 1);
    let (_, recovered) = carried_out(&recovery, &seen);
    let text = |members: &[u32]| {
        let one = |n: &u32| format!("[[member]]\nname = \"m{n}\"\nhost = \"10.0.0.{n}\"\n");
        let members: String = members.iter().map(one).collect();
        format!("format = 1\ncluster = \"prod\"\netcd = \"3.5.33\"\n{members}")
    };
    let grown = worlds::planner(worlds::topology_of(&text(&[1, 6, 7])));
    let (_, mut world) = carried_out(&grown, &seen_by(&grown, &recovered));
    // Every host knows how it ended, those that joined since too.
    for member in &grown.topology().members {
        let record = world.host(&member.host).unwrap().record().unwrap();
        assert!(record.recover.is_some(), "{}", member.host);
    }
    // m1's host, which carried it out, is gone; a host with nothing but the first note is back.
    power_off(grown.topology(), &mut world, "m1");
    let stale = worlds::planner(worlds::topology_of(&text(&[1, 2, 6, 7])));
    let mut seen = seen_by(&stale, &world);
    let m1 = host_of(&topology, "m1");
    let mut host = noted.hosts[&m1].clone();
    let view = host.known_mut().unwrap();
    view.processes.clear();
    view.data
        .values_mut()
        .for_each(|data| *data = DataDir::Absent);
    seen.hosts.insert(host_of(stale.topology(), "m2"), host);
    let found = recover(stale.topology(), &["m1"]).next_leg(&seen).unwrap();
    let stages = found.forecast(&seen).stages;
    assert!(stages.is_empty(), "{:?}", stages[0].key);
}

#[test]
fn of_two_that_never_saw_each_other_the_later_one_counts() {
    let (topology, seen) = left(3, &[("m2", 90, 90)]);
    let (_, first) = carried_out(&recover(&topology, &["m1", "m3"]), &seen);
    let (_, mut seen) = left(3, &[("m1", 80, 80)]);
    seen.at += jiff::SignedDuration::from_mins(5);
    let (_, mut world) = carried_out(&recover(&topology, &["m2", "m3"]), &seen);
    back(&topology, &mut world, &first, "m2");
    let (keys, world) = carried_out(&recover(&topology, &["m3"]), &world);
    assert_eq!(keys, ["set-aside"]);
    assert_eq!(with_data(&topology, &world), ["m1"]);
}

#[test]
fn a_member_that_a_recovery_left_behind_never_goes_on() {
    let (topology, seen) = left(5, &[("m1", 95, 95)]);
    let gone = ["m2", "m3", "m4", "m5"];
    let (_, recovered) = carried_out(&recover(&topology, &gone), &seen);
    let (_, before) = left(5, &[("m1", 95, 95), ("m2", 500, 500)]);
    let mut world = recovered;
    stopped(&topology, &mut world, "m1");
    back(&topology, &mut world, &before, "m2");
    let (keys, _) = carried_out(&recover(&topology, &["m3", "m4", "m5"]), &world);
    assert!(keys.contains(&"force-new:m1".to_owned()), "{keys:?}");
}

/// etcd panics where a learner is made the only member.
#[test]
fn a_learner_is_known_after_those_that_said_so_were_stopped() {
    let (topology, mut seen) = left(5, &[("m1", 90, 90), ("m2", 95, 95)]);
    let url = topology.peer_url(&topology.members[1]).to_string();
    let view = seen.members.get_mut(&topology.members[0].name).unwrap();
    let listed = &mut view.known_mut().unwrap().listed;
    let m2 = listed.iter_mut().find(|one| one.peer_urls.contains(&url));
    m2.unwrap().learner = true;
    stopped(&topology, &mut seen, "m2");
    let (keys, _) = carried_out(&recover(&topology, &["m3", "m4", "m5"]), &seen);
    assert!(keys.contains(&"force-new:m1".to_owned()), "{keys:?}");
}

/// They may be a quorum that serves, and nothing else here leads to them.
#[test]
fn voters_that_only_a_list_names_must_be_called_gone_too() {
    let (_, seen) = left(3, &[("m1", 90, 90)]);
    let text = "format = 1\ncluster = \"prod\"\netcd = \"3.5.33\"\n\
                [[member]]\nname = \"m1\"\nhost = \"10.0.0.1\"\n";
    let edited = worlds::planner(worlds::topology_of(text));
    let mut seen = seen_by(&edited, &seen);
    let host = seen
        .hosts
        .get_mut(&edited.topology().members[0].host)
        .unwrap();
    host.known_mut()
        .unwrap()
        .record_mut()
        .unwrap()
        .roster
        .clear();
    let topology = edited.topology();
    let found = blockers(&recover(topology, &[]), &seen);
    assert_eq!(found, ["recover-unseen", "recover-unseen"]);
    let (keys, _) = carried_out(&recover(topology, &["m2", "m3"]), &seen);
    assert!(keys.contains(&"force-new:m1".to_owned()), "{keys:?}");
}

/// etcd before 3.5.30 leaves a learner in the list that was in a raft snapshot.
#[test]
fn a_learner_that_stays_in_the_list_is_removed() {
    let (topology, seen) = left(3, &[("m1", 90, 90)]);
    let recovery = recover(&topology, &["m2", "m3"]);
    let mut world = after(&recovery, &seen, 4);
    let m2 = {
        let host = world.host(&host_of(&topology, "m1")).unwrap();
        let by = host.record().unwrap().recover.clone().unwrap().by.unwrap();
        *by.before.first().unwrap()
    };
    let view = world.members.get_mut(&topology.members[0].name).unwrap();
    view.known_mut().unwrap().listed.push(ListedMember {
        id: m2,
        name: "m2".to_owned(),
        peer_urls: vec!["https://10.0.0.2:2380".to_owned()],
        client_urls: Vec::new(),
        learner: true,
    });
    let (keys, world) = carried_out(&recovery, &world);
    assert_eq!(keys, ["remove:m2", "end-recover"]);
    let view = world.member(&topology.members[0].name).unwrap();
    assert_eq!(view.listed.len(), 1);
}

/// Data without the mark was refilled: its member has forgotten what it voted for.
#[test]
fn refilled_data_is_nobodys_to_go_on_with() {
    let (topology, mut seen) = left(3, &[("m1", 90, 90), ("m2", 95, 95)]);
    let host = seen.hosts.get_mut(&host_of(&topology, "m2")).unwrap();
    host.known_mut().unwrap().marks.clear();
    let (keys, world) = carried_out(&recover(&topology, &["m3"]), &seen);
    assert!(keys.contains(&"force-new:m1".to_owned()), "{keys:?}");
    assert_eq!(with_data(&topology, &world), ["m1"]);
}

#[test]
fn reset_gives_a_recovery_up() {
    let (planner, whole) = bootstrapped("");
    let topology = planner.topology().clone();
    let (_, seen) = left(3, &[("m1", 90, 90)]);
    let recovery = recover(&topology, &["m2", "m3"]);
    let mut world = after(&recovery, &seen, 1);
    for name in ["m2", "m3"] {
        back(&topology, &mut world, &whole, name);
    }
    let reset = Goal::Reset {
        wipe: false,
        cluster_id: None,
    };
    let reset = Planner::new(topology.clone(), reset, None).unwrap();
    let (_, world) = carried_out(&reset, &world);
    let open = topology.hosts.keys().filter(|host| {
        let record = world.host(host).and_then(|host| host.record());
        record.is_some_and(|record| record.recover.is_some())
    });
    assert_eq!(open.count(), 0);
}

/// The choice reached the chosen one alone, whose host is away while the others are back.
#[test]
fn nothing_is_given_up_while_one_may_be_alone_unheard() {
    let (planner, whole) = {
        let planner = worlds::planner(worlds::topology(5, ""));
        let seen = scripted::carry_out(&planner, worlds::bare(&planner));
        (planner, seen)
    };
    let topology = planner.topology().clone();
    let (_, seen) = left(5, &[("m1", 95, 95), ("m2", 90, 90)]);
    let recovery = recover(&topology, &["m3", "m4", "m5"]);
    let (stopped, forced) = (after(&recovery, &seen, 2), after(&recovery, &seen, 4));
    let mut away = stopped;
    power_off(&topology, &mut away, "m1");
    for name in ["m3", "m4", "m5"] {
        back(&topology, &mut away, &whole, name);
    }
    let found = blockers(&recover(&topology, &[]), &away);
    assert_eq!(found, ["recover-unseen"]);
    // It is back, and alone: what it knows counts, whatever others do.
    let mut both = away.clone();
    back(&topology, &mut both, &forced, "m1");
    let found = blockers(&planner, &both);
    assert!(found.iter().all(|id| id == "recover-open"), "{found:?}");
    let found = blockers(&recover(&topology, &[]), &both);
    assert!(found.iter().all(|id| id == "came-back"), "{found:?}");
}

#[test]
fn data_that_differs_goes_on_last_of_all() {
    let (topology, mut seen) = left(5, &[("m1", 95, 95), ("m2", 90, 90)]);
    let view = seen.members.get_mut(&topology.members[0].name).unwrap();
    let view = view.known_mut().unwrap();
    let id = u64::from_str_radix(&view.id.to_string(), 16).unwrap();
    view.errors = vec![format!("memberID:{id} alarm:CORRUPT ")];
    let recovery = recover(&topology, &["m3", "m4", "m5"]);
    let (keys, _) = carried_out(&recovery, &seen);
    assert!(keys.contains(&"force-new:m2".to_owned()), "{keys:?}");
    let why = &stages(&recovery, &seen)[0].why;
    assert!(why.iter().any(|why| why.contains("CORRUPT")), "{why:?}");
}
