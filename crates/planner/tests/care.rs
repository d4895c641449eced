//! The care of a cluster that serves: space, the alarm of a full database, who leads.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests say what they expect"
)]

mod scripted;
mod worlds;

use std::fmt::Write;
use std::time::Duration;

use etcdup_core::membership::ClusterId;
use etcdup_core::observation::{HostRecord, Observation, Served};
use etcdup_core::observed::{Cause, Observed};
use etcdup_core::stage::{ClusterStep, Goal, Impact, Next, Work};
use etcdup_planner::{Ending, Planner};
use scripted::{host, view};

const USED: i64 = 100 << 20;
const SIZE: i64 = 1 << 30;

/// Members of a cluster that runs, of whose databases a tenth is in use.
fn world(members: usize, goal: Goal) -> (Planner, Observation) {
    let planner = worlds::planner(worlds::topology(members, ""));
    let mut seen = scripted::carry_out(&planner, worlds::bare(&planner));
    for member in planner.topology().members.clone() {
        let view = view(&mut seen, &member);
        (view.db_size, view.db_in_use) = (SIZE, USED);
    }
    seen.done.clear();
    let planner = Planner::new(planner.topology().clone(), goal, None).unwrap();
    (planner, seen)
}

fn maintain(compact: bool, all: bool, allow_outage: bool) -> Goal {
    Goal::Maintain {
        compact,
        all,
        allow_outage,
    }
}

fn usual() -> Goal {
    maintain(false, false, false)
}

/// One database is full, as all members say.
fn fill(planner: &Planner, seen: &mut Observation) {
    let id = seen.known_members().next().unwrap().id;
    for member in planner.topology().members.clone() {
        view(seen, &member).errors = vec![format!("memberID:{} alarm:NOSPACE ", id.get())];
    }
}

/// The stages to come, and how they end.
fn plan(planner: &Planner, seen: &Observation) -> String {
    let forecast = planner.forecast(seen);
    let mut text = String::new();
    for stage in &forecast.stages {
        let impact = match &stage.impact {
            Impact::None => "",
            Impact::Pause(_) => " (pauses)",
            Impact::Restart(_) => " (restarts)",
            Impact::Outage(_) => " (OUTAGE)",
        };
        writeln!(text, "{}{impact}", stage.key).unwrap();
    }
    match forecast.ending {
        Ending::Done => {}
        Ending::Blocked(findings) => {
            for finding in findings {
                writeln!(text, "blocked {}: {}", finding.id, finding.subject).unwrap();
            }
        }
        Ending::Loop(key) => writeln!(text, "loops at {key}").unwrap(),
    }
    text
}

#[test]
fn the_leader_is_defragmented_last_and_does_not_lead_then() {
    let (planner, seen) = world(3, usual());
    assert_eq!(
        plan(&planner, &seen),
        "defragment:m2 (pauses)\ndefragment:m3 (pauses)\nmove-leader\ndefragment:m1 (pauses)\n"
    );
}

#[test]
fn what_is_in_use_is_not_written_again_unless_that_is_asked_for() {
    let (planner, mut seen) = world(3, usual());
    for member in planner.topology().members.clone() {
        view(&mut seen, &member).db_in_use = SIZE / 2;
    }
    assert_eq!(plan(&planner, &seen), "");
    let (planner, _) = world(3, maintain(false, true, false));
    assert_eq!(plan(&planner, &seen).matches("defragment").count(), 3);
}

#[test]
fn history_goes_only_where_a_database_is_full_or_that_is_asked_for() {
    let (planner, mut seen) = world(3, usual());
    for (member, revision) in planner.topology().members.clone().iter().zip([70, 68, 69]) {
        view(&mut seen, member).revision = revision;
    }
    let (asked, _) = world(3, maintain(true, false, false));
    let Next::Stage(stage) = asked.next(&seen) else {
        panic!("no stage")
    };
    // What every member has applied: nobody forgets what another still lacks.
    assert_eq!(
        stage.work,
        Work::Cluster(ClusterStep::Compact { revision: 68 })
    );
    assert!(!plan(&planner, &seen).contains("compact"));
    fill(&planner, &mut seen);
    assert_eq!(
        plan(&planner, &seen),
        "compact\ndefragment:m2 (pauses)\ndefragment:m3 (pauses)\nmove-leader\n\
         defragment:m1 (pauses)\ndisarm\n"
    );
}

#[test]
fn an_alarm_that_would_soon_be_raised_again_stays() {
    let (planner, mut seen) = world(3, Goal::Disarm);
    assert_eq!(plan(&planner, &seen), "");
    fill(&planner, &mut seen);
    assert_eq!(plan(&planner, &seen), "disarm\n");
    let member = planner.topology().members[1].clone();
    let mut quota = |bytes: i64| {
        let process = host(&mut seen, &member).processes.get_mut(&member.name);
        let flags = &mut process.unwrap().flags;
        flags.set("quota-backend-bytes", bytes.to_string());
        plan(&planner, &seen)
    };
    assert_eq!(quota(SIZE), "blocked still-full: m2\n");
    assert_eq!(quota(SIZE + SIZE / 20), "blocked still-full: m2\n");
    assert_eq!(quota(SIZE + SIZE / 5), "disarm\n");
    assert_eq!(quota(-1), "disarm\n");
}

/// After a reset every stage is of another leg: what is done once an operation is done once then
/// too.
#[test]
fn a_cluster_that_was_reset_is_cared_for_as_any_other() {
    for (goal, stages) in [
        (maintain(true, true, false), 5),
        (Goal::MoveLeader { to: None }, 1),
    ] {
        let planner = worlds::planner(worlds::topology(3, ""));
        let mut bare = worlds::bare(&planner);
        for host in bare.hosts.values_mut().filter_map(Observed::known_mut) {
            let resets = HostRecord {
                resets: 1,
                ..HostRecord::default()
            };
            host.record = Observed::Known(Some(resets));
        }
        let mut seen = scripted::carry_out(&planner.clone().next_leg(&bare).unwrap(), bare);
        for member in planner.topology().members.clone() {
            let view = view(&mut seen, &member);
            (view.db_size, view.db_in_use) = (SIZE, USED);
        }
        seen.done.clear();
        let planner = Planner::new(planner.topology().clone(), goal, None).unwrap();
        let leg = planner.next_leg(&seen).unwrap();
        let plan = plan(&leg, &seen);
        assert!(plan.contains("@g1") && !plan.contains("loops"), "{plan}");
        assert_eq!(plan.lines().count(), stages, "{plan}");
    }
}

#[test]
fn nobody_is_stopped_who_is_needed() {
    let (planner, mut seen) = world(3, usual());
    fill(&planner, &mut seen);
    let down = planner.topology().members[2].clone();
    let silent = Observed::unknown("connection refused");
    seen.members.insert(down.name, silent);
    // Before history is dropped, for nothing.
    assert_eq!(
        plan(&planner, &seen),
        "blocked outage-not-approved: m1\nblocked outage-not-approved: m2\n"
    );
    let (allowed, _) = world(3, maintain(false, false, true));
    assert_eq!(
        plan(&allowed, &seen),
        "compact\ndefragment:m2 (OUTAGE)\nmove-leader\ndefragment:m1 (OUTAGE)\ndisarm\n"
    );
    for (members, approved) in [(1, true), (2, true), (1, false), (2, false)] {
        let (planner, seen) = world(members, maintain(false, false, approved));
        let plan = plan(&planner, &seen);
        match approved {
            true => assert_eq!(plan.matches("(OUTAGE)").count(), members, "{plan}"),
            false => assert!(plan.starts_with("blocked outage-not-approved"), "{plan}"),
        }
    }
    // Each stage asks again, right before.
    let (planner, mut seen) = world(3, usual());
    let Next::Stage(stage) = planner.next(&seen) else {
        panic!("no stage")
    };
    assert_eq!(stage.stops(planner.topology()).len(), 1);
    let held = |seen: &Observation| {
        stage
            .preconditions
            .iter()
            .all(|gate| gate.check(seen).is_ok())
    };
    assert!(held(&seen));
    let third = planner.topology().members[2].name.clone();
    seen.members
        .insert(third, Observed::unknown("connection refused"));
    assert!(!held(&seen));
}

/// A learner votes for nothing, and its full database stops writes as any other's does.
#[test]
fn learners_are_defragmented_too() {
    let (planner, mut seen) = world(3, usual());
    let third = planner.topology().members[2].clone();
    let view = view(&mut seen, &third);
    view.learner = true;
    view.served = Observed::unknown("rpc not supported for learner");
    let id = view.id;
    for view in seen.members.values_mut().filter_map(Observed::known_mut) {
        let listed = view.listed.iter_mut().find(|listed| listed.id == id);
        listed.unwrap().learner = true;
    }
    let plan = plan(&planner, &seen);
    assert!(
        plan.starts_with("blocked outage-not-approved: m1\n"),
        "{plan}"
    );
    assert!(!plan.contains("m3"), "{plan}");
}

#[test]
fn another_clusters_member_is_left_alone() {
    let (planner, mut seen) = world(3, usual());
    fill(&planner, &mut seen);
    let first = planner.topology().members[0].clone();
    view(&mut seen, &first).cluster = ClusterId::new(77);
    assert_eq!(plan(&planner, &seen), "blocked answers-for-another: m1\n");
    let (planner, mut seen) = world(3, Goal::MoveLeader { to: None });
    let id = view(&mut seen, &first).id;
    let second = planner.topology().members[1].clone();
    view(&mut seen, &second).id = id;
    assert!(plan(&planner, &seen).starts_with("blocked answers-for-another: m"));
}

#[test]
fn where_etcd_does_not_let_us_in_nothing_is_begun() {
    let (planner, mut seen) = world(3, maintain(true, true, true));
    let second = planner.topology().members[1].clone();
    view(&mut seen, &second).served = Observed::Known(Served {
        took: Duration::ZERO,
        denied: true,
    });
    assert_eq!(plan(&planner, &seen), "blocked etcd-auth-denied: m2\n");
    let denied = Observed::unknown_for(Cause::Denied, "user name is empty");
    seen.members.insert(second.name, denied);
    assert_eq!(plan(&planner, &seen), "blocked etcd-auth-denied: m2\n");
}

/// The alarm outlives the member that it is about.
#[test]
fn corrupt_data_is_replaced_and_its_alarm_then_taken_back() {
    let (planner, mut seen) = world(3, usual());
    let (disarm, _) = world(3, Goal::Disarm);
    let (leader, _) = world(3, Goal::MoveLeader { to: None });
    let first = planner.topology().members[0].clone();
    let id = view(&mut seen, &first).id;
    let raise = |seen: &mut Observation, id: u64| {
        for view in seen.members.values_mut().filter_map(Observed::known_mut) {
            // As etcd says it: what is zero is left out.
            let whose = match id {
                0 => String::new(),
                id => format!("memberID:{id} "),
            };
            view.errors = vec![format!("{whose}alarm:CORRUPT ")];
        }
    };
    raise(&mut seen, id.get());
    assert_eq!(plan(&planner, &seen), "blocked corrupt: m1\n");
    assert_eq!(plan(&disarm, &seen), "blocked corrupt: m1\n");
    // Away from it is where leadership should go.
    assert_eq!(plan(&leader, &seen), "move-leader\n");
    // etcd named no member: some member's data is wrong all the same, and it may still be there.
    raise(&mut seen, 0);
    assert_eq!(plan(&planner, &seen), "blocked corrupt: cluster\n");
    assert_eq!(plan(&disarm, &seen), "blocked corrupt: cluster\n");
    raise(&mut seen, 99);
    assert_eq!(plan(&disarm, &seen), "disarm\n");
    assert!(plan(&planner, &seen).starts_with("disarm\ndefragment:m2"));
}

#[test]
fn what_stands_in_the_way_is_named() {
    let (planner, mut seen) = world(3, usual());
    let mut free = |index: usize, bytes: u64| {
        let member = planner.topology().members[index].clone();
        let disks = &mut host(&mut seen, &member).disks;
        disks.get_mut(&member.layout.data).unwrap().free = bytes;
    };
    // What one gives back may be what another needs.
    free(1, 100 << 20);
    assert!(plan(&planner, &seen).starts_with("defragment:m3"));
    for index in [0, 2] {
        let member = planner.topology().members[index].clone();
        let disks = &mut host(&mut seen, &member).disks;
        disks.get_mut(&member.layout.data).unwrap().free = 100 << 20;
    }
    assert_eq!(
        plan(&planner, &seen),
        "blocked defragment-room: m1\nblocked defragment-room: m2\nblocked defragment-room: m3\n"
    );
    // What is not known is not room.
    let (planner, mut seen) = world(3, usual());
    for index in 0..3 {
        let member = planner.topology().members[index].clone();
        host(&mut seen, &member).disks.clear();
    }
    assert!(plan(&planner, &seen).starts_with("blocked defragment-room: m1\n"));
    // Nobody waits for one of them while no client can write.
    let (planner, mut seen) = world(3, usual());
    fill(&planner, &mut seen);
    let member = planner.topology().members[1].clone();
    seen.hosts
        .insert(member.host, Observed::unknown("no route"));
    let stages = plan(&planner, &seen);
    assert!(
        !stages.contains("defragment:m2") && stages.contains("defragment:m3"),
        "{stages}"
    );
    assert!(stages.ends_with("disarm\n"), "{stages}");
    // Unless it is so full that the alarm would be raised again.
    view(&mut seen, &planner.topology().members[1].clone()).db_size = 2 << 30;
    assert!(plan(&planner, &seen).contains("blocked still-full: m2"));
    for view in seen.members.values_mut() {
        *view = Observed::unknown("connection refused");
    }
    assert_eq!(plan(&planner, &seen), "blocked no-quorum: cluster\n");
}

/// A full cluster's plan says what it costs: watchers, and time.
#[test]
fn what_a_full_cluster_is_in_for_is_said_before() {
    let (planner, mut seen) = world(3, usual());
    fill(&planner, &mut seen);
    let stages = planner.forecast(&seen).stages;
    let why: Vec<String> = stages.into_iter().flat_map(|stage| stage.why).collect();
    let says = |words: &str| why.iter().any(|line| line.contains(words));
    assert!(says("its client must list again"), "{why:?}");
    assert!(
        says("m2: its database is 1024 MiB; at most about 11 s"),
        "{why:?}"
    );
}

/// A restart with less than the database has would stop every write.
#[test]
fn a_quota_below_the_database_is_refused_where_it_is_lowered() {
    let (planner, mut seen) =
        scripted::bootstrapped("flags = { quota-backend-bytes = 4294967296 }");
    for member in planner.topology().members.clone() {
        view(&mut seen, &member).db_size = 3 << 30;
    }
    let of = |quota: u64| {
        let flags = format!("flags = {{ quota-backend-bytes = {quota} }}");
        worlds::planner(worlds::topology(3, &flags))
    };
    let lowered = scripted::blockers(&of(2 << 30), &seen);
    assert_eq!(lowered, ["quota-below-database"; 3]);
    // Lower, and still enough; or as it is, however full that is.
    for quota in [(3 << 30) + 1, 8 << 30] {
        assert!(!scripted::carried_out(&of(quota), &seen).0.is_empty());
    }
    for member in planner.topology().members.clone() {
        view(&mut seen, &member).db_size = 5 << 30;
    }
    assert!(scripted::carried_out(&planner, &seen).0.is_empty());
}

#[test]
fn leadership_goes_to_whom_it_is_given() {
    let to = |name: &str| Goal::MoveLeader {
        to: Some(name.parse().unwrap()),
    };
    let (planner, mut seen) = world(3, to("m2"));
    assert_eq!(plan(&planner, &seen), "move-leader\n");
    let (planner, _) = world(3, to("m1"));
    assert_eq!(plan(&planner, &seen), "");
    let (planner, _) = world(3, Goal::MoveLeader { to: None });
    assert_eq!(plan(&planner, &seen), "move-leader\n");
    let (planner, _) = world(3, to("m3"));
    let third = planner.topology().members[2].clone();
    view(&mut seen, &third).learner = true;
    assert_eq!(plan(&planner, &seen), "blocked cannot-lead: m3\n");
    let (planner, seen) = world(1, Goal::MoveLeader { to: None });
    assert_eq!(plan(&planner, &seen), "blocked cannot-lead: cluster\n");
}
