//! The care of a cluster that serves: space, the alarm of a full database, who leads.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests say what they expect"
)]

mod scripted;
mod worlds;

use std::fmt::Write;

use etcdup_core::observation::Observation;
use etcdup_core::observed::Observed;
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
fn an_alarm_that_would_be_raised_again_stays() {
    let (planner, mut seen) = world(3, Goal::Disarm);
    assert_eq!(plan(&planner, &seen), "");
    fill(&planner, &mut seen);
    assert_eq!(plan(&planner, &seen), "disarm\n");
    let member = planner.topology().members[1].clone();
    let process = host(&mut seen, &member).processes.get_mut(&member.name);
    process
        .unwrap()
        .flags
        .set("quota-backend-bytes", SIZE.to_string());
    assert_eq!(plan(&planner, &seen), "blocked still-full: m2\n");
}

#[test]
fn nobody_is_stopped_who_is_needed() {
    let (planner, mut seen) = world(3, usual());
    let down = planner.topology().members[2].clone();
    let silent = Observed::unknown("connection refused");
    seen.members.insert(down.name, silent);
    // The gate of the first stage says so, and the run looks again before.
    let Next::Stage(stage) = planner.next(&seen) else {
        panic!("no stage")
    };
    assert!(stage.preconditions[0].check(&seen).is_err());
    assert_eq!(stage.stops(planner.topology()).len(), 1);
    for (members, approved) in [(1, true), (2, true), (1, false), (2, false)] {
        let (planner, seen) = world(members, maintain(false, false, approved));
        let plan = plan(&planner, &seen);
        match approved {
            true => assert_eq!(plan.matches("(OUTAGE)").count(), members, "{plan}"),
            false => assert!(plan.starts_with("blocked outage-not-approved"), "{plan}"),
        }
    }
}

#[test]
fn what_stands_in_the_way_is_named() {
    let (planner, mut seen) = world(3, usual());
    for member in planner.topology().members.clone() {
        let disks = &mut host(&mut seen, &member).disks;
        disks.get_mut(&member.layout.data).unwrap().free = 100 << 20;
    }
    assert_eq!(
        plan(&planner, &seen),
        "blocked defragment-room: m1\nblocked defragment-room: m2\nblocked defragment-room: m3\n"
    );
    let (planner, mut seen) = world(3, usual());
    let id = seen.known_members().next().unwrap().id;
    let member = planner.topology().members[0].clone();
    view(&mut seen, &member).errors = vec![format!("memberID:{} alarm:CORRUPT ", id.get())];
    assert!(plan(&planner, &seen).starts_with("blocked corrupt: m"));
    for view in seen.members.values_mut() {
        *view = Observed::unknown("connection refused");
    }
    assert_eq!(plan(&planner, &seen), "blocked no-quorum: cluster\n");
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
