//! Too few are left: one goes on, cut anywhere, and what comes back is kept out.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests say what they expect"
)]

mod scripted;
mod worlds;

use etcdup_core::membership::ClusterId;
use etcdup_core::name::MemberName;
use etcdup_core::observation::DataDir;
use etcdup_core::observed::Observed;
use etcdup_core::recover::RecoverPhase;
use etcdup_core::stage::{Goal, HostStep, Next, Rule, Stage, Work};
use etcdup_planner::Planner;
use scripted::lost::{host_of, left, power_off, recover, stages, with_data};
use scripted::{blockers, bootstrapped, carried_out, seen_by};

fn rules(keys: &[String]) -> Vec<&str> {
    keys.iter().map(String::as_str).collect()
}

#[test]
fn the_only_one_that_is_left_goes_on() {
    let (topology, seen) = left(3, &[("m2", 90, 93)]);
    let planner = recover(&topology, &["m1", "m3"]);
    let (keys, world) = carried_out(&planner, &seen);
    let expected = [
        "begin-recover",
        "stop-all",
        "choose:m2",
        "force-new:m2",
        "end-recover",
    ];
    assert_eq!(rules(&keys), expected);
    let m2 = world.member(&"m2".parse().unwrap()).unwrap();
    assert_eq!(m2.listed.len(), 1);
    let first = &stages(&planner, &seen)[0];
    assert!(
        first.why[0].contains("entry 90 in term 3") && first.why[0].contains("3 later entries"),
        "{:?}",
        first.why
    );
    // Carried out already: nothing more to do.
    assert!(carried_out(&planner, &world).0.is_empty());
}

/// The one that was to go on is lost for good, and a quorum of the others is back.
#[test]
fn a_recovery_whose_member_is_gone_is_given_up_where_a_quorum_is_back() {
    let (topology, seen) = left(5, &[("m1", 90, 90), ("m2", 80, 80)]);
    let others = ["m3", "m4", "m5"];
    let planner = recover(&topology, &others);
    let mut world = seen;
    for stage in stages(&planner, &world) {
        if stage.key.rule == Rule::ForceNew {
            break;
        }
        let leg = planner.clone().next_leg(&world).unwrap();
        world = leg.predict(&world, &stage);
    }
    // Three come back, as they were.
    let whole = worlds::planner(topology.clone());
    let whole = scripted::carry_out(&whole, worlds::bare(&whole));
    for name in others {
        let host = host_of(&topology, name);
        world.hosts.insert(host.clone(), whole.hosts[&host].clone());
        let name: MemberName = name.parse().unwrap();
        let view = whole.members[&name].clone();
        world.members.insert(name, view);
    }
    assert_eq!(blockers(&recover(&topology, &[]), &world), ["came-back"; 3]);
    let planner = recover(&topology, &["m1"]);
    power_off(&topology, &mut world, "m1");
    let (keys, after) = carried_out(&planner, &world);
    assert_eq!(rules(&keys), ["end-recover"]);
    let apply = worlds::planner(topology).next_leg(&after).unwrap();
    let next = apply.next(&after);
    assert!(matches!(next, Next::Stage(_)), "{next:?}");
}

/// Nobody knows the cluster of what is left: the operator says that it is this one.
#[test]
fn data_of_a_cluster_that_nobody_knows_goes_on_where_it_is_named() {
    let (topology, mut seen) = left(3, &[("m1", 90, 90)]);
    let view = seen.hosts.get_mut(&host_of(&topology, "m1")).unwrap();
    let view = view.known_mut().unwrap();
    view.record = Observed::Known(None);
    let id = ClusterId::new(77);
    for data in view.data.values_mut() {
        if let DataDir::Member(data) = data {
            data.cluster = id;
        }
    }
    seen.members
        .values_mut()
        .filter_map(Observed::known_mut)
        .for_each(|view| view.cluster = id);
    let gone = scripted::lost::names(&["m2", "m3"]);
    let of = |cluster_id: Option<ClusterId>| {
        let gone = gone.clone();
        Planner::new(topology.clone(), Goal::Recover { gone, cluster_id }, None).unwrap()
    };
    assert_eq!(blockers(&of(None), &seen), ["reset-of-another"]);
    let (keys, _) = carried_out(&of(Some(id)), &seen);
    assert!(keys.contains(&"force-new:m1".to_owned()), "{keys:?}");
}

/// What a member knows that runs is in its log once it is stopped: one plan has one number.
#[test]
fn a_plan_says_of_one_entry_alone_what_is_lost_after_it() {
    let (topology, mut seen) = left(3, &[("m2", 90, 90)]);
    let view = seen.members.get_mut(&"m2".parse().unwrap()).unwrap();
    let view = view.known_mut().unwrap();
    (view.raft_index, view.revision) = (92, 81);
    let all = stages(&recover(&topology, &["m1", "m3"]), &seen);
    let said = |rule: Rule| all.iter().find(|stage| stage.key.rule == rule).unwrap();
    let (begin, choose) = (said(Rule::BeginRecover), said(Rule::Choose));
    assert!(begin.why[0].contains("entry 92"), "{:?}", begin.why);
    assert!(begin.why[0].contains("revision 81"), "{:?}", begin.why);
    assert_eq!(begin.why[..2], choose.why[..2]);
}

#[test]
fn of_several_the_one_goes_on_that_knows_most_to_be_committed() {
    // m2 has the longer log, and etcd drops what is not known to be committed.
    let (topology, seen) = left(5, &[("m2", 90, 99), ("m4", 95, 95)]);
    let planner = recover(&topology, &["m1", "m3", "m5"]);
    let (keys, world) = carried_out(&planner, &seen);
    let expected = [
        "begin-recover",
        "stop-all",
        "choose:m4",
        "force-new:m4",
        "set-aside",
        "end-recover",
    ];
    assert_eq!(rules(&keys), expected);
    assert_eq!(with_data(&topology, &world), ["m4"]);
    // Nothing is moved before the one that goes on serves, and nothing is ever deleted.
    let all = stages(&planner, &seen);
    let moves = |stage: &Stage| match &stage.work {
        Work::Hosts(tasks) => tasks
            .values()
            .flatten()
            .any(|step| matches!(step, HostStep::MoveAside { .. })),
        Work::Cluster(_) | Work::Operator(_) => false,
    };
    let moving: Vec<String> = all
        .iter()
        .filter(|stage| moves(stage))
        .map(|stage| stage.key.to_string())
        .collect();
    assert_eq!(moving, ["set-aside"]);
}

#[test]
fn whoever_does_not_answer_must_be_called_gone() {
    let (topology, seen) = left(3, &[("m2", 90, 90)]);
    let unproven = |gone: &[&str]| blockers(&recover(&topology, gone), &seen);
    assert_eq!(unproven(&[]), ["recover-unseen", "recover-unseen"]);
    assert_eq!(unproven(&["m1"]), ["recover-unseen"]);
    assert_eq!(unproven(&["m1", "m3", "m4"]), ["recover-gone"]);
    // It answers, and may have what no other has.
    assert_eq!(unproven(&["m1", "m2", "m3"]), ["recover-gone"]);
}

#[test]
fn where_a_quorum_has_its_data_nothing_is_given_up() {
    let (topology, seen) = left(3, &[("m1", 90, 90), ("m2", 90, 90)]);
    let found = blockers(&recover(&topology, &["m3"]), &seen);
    assert_eq!(found, ["quorum-not-lost"]);
    let (planner, seen) = bootstrapped("");
    let found = blockers(&recover(planner.topology(), &[]), &seen);
    assert_eq!(found, ["quorum-not-lost"; 3]);
}

#[test]
fn what_cannot_be_read_decides_nothing() {
    let (topology, mut seen) = left(5, &[("m1", 90, 90), ("m2", 95, 95)]);
    let gone = ["m3", "m4", "m5"];
    let member = topology.member(&"m2".parse().unwrap()).unwrap();
    let host = seen.hosts.get_mut(&member.host).unwrap();
    let logs = &mut host.known_mut().unwrap().raft_logs;
    let log = logs.get_mut(&member.layout.data).unwrap();
    log.known_mut().unwrap().damaged = true;
    let found = blockers(&recover(&topology, &gone), &seen);
    assert_eq!(found, ["recover-log"]);
    // Who answers is not gone; once it is stopped its data may be given up.
    let mut stopped = seen.clone();
    stopped
        .members
        .insert(member.name.clone(), Observed::unknown("stopped"));
    let planner = recover(&topology, &["m2", "m3", "m4", "m5"]);
    let (keys, world) = carried_out(&planner, &stopped);
    assert!(keys.contains(&"force-new:m1".to_owned()), "{keys:?}");
    assert_eq!(with_data(&topology, &world), ["m1"]);
}

#[test]
fn cut_between_any_two_stages_it_ends_with_the_same_member() {
    let (topology, seen) = left(5, &[("m2", 90, 99), ("m4", 95, 95)]);
    let planner = recover(&topology, &["m1", "m3", "m5"]);
    let all = stages(&planner, &seen);
    let apply = Planner::new(topology.clone(), Goal::CONVERGE, None).unwrap();
    let mut world = seen;
    for (count, stage) in all.iter().enumerate() {
        let (_, end) = carried_out(&planner, &world);
        assert_eq!(with_data(&topology, &end), ["m4"], "after {count} stages");
        if count > 0 {
            let found = blockers(&apply, &world);
            assert!(found.iter().all(|id| id == "recover-open"), "{found:?}");
        }
        world = planner
            .clone()
            .next_leg(&world)
            .unwrap()
            .predict(&world, stage);
    }
}

/// The one that was to go on is lost in its turn, before the others' data was moved.
#[test]
fn another_goes_on_where_the_first_is_lost_meanwhile() {
    let (topology, seen) = left(5, &[("m2", 90, 99), ("m4", 95, 95)]);
    let planner = recover(&topology, &["m1", "m3", "m5"]);
    let all = stages(&planner, &seen);
    let forced = all[..4].iter().fold(seen, |world, stage| {
        planner
            .clone()
            .next_leg(&world)
            .unwrap()
            .predict(&world, stage)
    });
    let mut lost = forced.clone();
    power_off(&topology, &mut lost, "m4");
    let again = recover(&topology, &["m1", "m3", "m4", "m5"]);
    let (keys, mut world) = carried_out(&again, &lost);
    assert!(keys.contains(&"force-new:m2".to_owned()), "{keys:?}");
    // m4 is back, and its record still says that it goes on.
    let m4 = host_of(&topology, "m4");
    world.hosts.insert(m4.clone(), forced.hosts[&m4].clone());
    let (name, view) = forced
        .members
        .get_key_value(&"m4".parse::<MemberName>().unwrap())
        .unwrap();
    world.members.insert(name.clone(), view.clone());
    let (keys, world) = carried_out(&recover(&topology, &["m1", "m3", "m5"]), &world);
    assert_eq!(rules(&keys), ["set-aside"]);
    assert_eq!(with_data(&topology, &world), ["m2"]);
}

/// Two of three come back: a quorum of the old list, under the same cluster ID.
#[test]
fn what_comes_back_is_kept_out_of_the_recovered_cluster() {
    let (planner, whole) = bootstrapped("");
    let topology = planner.topology().clone();
    let (_, seen) = left(3, &[("m2", 90, 93)]);
    let (_, recovered) = carried_out(&recover(&topology, &["m1", "m3"]), &seen);
    let mut back = recovered.clone();
    for name in ["m1", "m3"] {
        let host = host_of(&topology, name);
        back.hosts.insert(host.clone(), whole.hosts[&host].clone());
        let name: MemberName = name.parse().unwrap();
        back.members
            .insert(name.clone(), whole.members[&name].clone());
    }
    assert_eq!(blockers(&planner, &back), ["came-back", "came-back"]);
    let (keys, world) = carried_out(&recover(&topology, &[]), &back);
    assert_eq!(rules(&keys), ["set-aside"]);
    assert_eq!(with_data(&topology, &world), ["m2"]);
    // Where the one that went on is not there, nobody decides between the two.
    let mut without = back.clone();
    without
        .members
        .insert("m2".parse().unwrap(), Observed::unknown("stopped"));
    let m2 = without.hosts.get_mut(&host_of(&topology, "m2")).unwrap();
    m2.known_mut().unwrap().processes.clear();
    assert_eq!(
        blockers(&recover(&topology, &[]), &without),
        ["came-back", "came-back"]
    );
    // Set aside, they join again by `apply`.
    let (keys, _) = carried_out(&planner, &world);
    assert!(keys.iter().any(|key| key.starts_with("add:m1")), "{keys:?}");
}

#[test]
fn apply_gives_it_others_on_new_hosts() {
    let (topology, seen) = left(3, &[("m1", 90, 90)]);
    let (_, recovered) = carried_out(&recover(&topology, &["m2", "m3"]), &seen);
    let text = r#"
format = 1
cluster = "prod"
etcd = "3.5.33"
[[member]]
name = "m1"
host = "10.0.0.1"
[[member]]
name = "m4"
host = "10.0.0.4"
[[member]]
name = "m5"
host = "10.0.0.5"
"#;
    let edited = worlds::planner(worlds::topology_of(text));
    let seen = seen_by(&edited, &recovered);
    let (keys, world) = carried_out(&edited, &seen);
    assert!(
        keys.iter().any(|key| key.starts_with("promote:m5")),
        "{keys:?}"
    );
    let m1 = world.member(&"m1".parse().unwrap()).unwrap();
    assert_eq!(m1.listed.len(), 3);
}

#[test]
fn a_record_says_how_far_it_is_and_whom_it_left() {
    let (topology, seen) = left(3, &[("m2", 90, 93)]);
    let (_, world) = carried_out(&recover(&topology, &["m1", "m3"]), &seen);
    let host = world.host(&host_of(&topology, "m2")).unwrap();
    let record = host.record().unwrap().recover.clone().unwrap();
    assert_eq!(record.phase, RecoverPhase::Ended);
    let by = record.by.as_ref().unwrap();
    assert_eq!((by.index, by.before.len()), (90, 2));
    assert_eq!(record.left_behind(), by.before);
    let next = recover(&topology, &["m1", "m3"]).next_leg(&world).unwrap();
    assert!(matches!(next.next(&world), Next::Done));
    assert!(Rule::ALL.contains(&Rule::EndRecover));
}
