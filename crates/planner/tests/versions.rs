//! Changes of the release: which legs lie on the way, and in which order members take them.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what it expects"
)]

mod scripted;
mod worlds;

use std::fmt::Write as _;

use etcdup_core::observation::{DataDir, Observation};
use etcdup_core::observed::Observed;
use etcdup_core::stage::{Content, Goal, HostStep, Work};
use etcdup_planner::{Ending, Planner};
use scripted::{halt, seen_by};

/// Three members of this file.
fn with(head: &str) -> Planner {
    let members: String = (1..=3)
        .map(|n| format!("[[member]]\nname = \"m{n}\"\nhost = \"10.0.0.{n}\"\n"))
        .collect();
    let text = format!("format = 1\ncluster = \"prod\"\n{head}\n{members}");
    worlds::planner(worlds::topology_of(&text))
}

/// A cluster of this release, and everything as its file says.
fn running(version: &str) -> Observation {
    let planner = with(&format!("etcd = \"{version}\""));
    scripted::carry_out(&planner, worlds::bare(&planner))
}

/// The stages to come, by their keys, and how they end.
fn plan(planner: &Planner, seen: &Observation) -> String {
    let planner = planner.clone().next_leg(seen).unwrap();
    let forecast = planner.forecast(seen);
    let mut text = String::new();
    for stage in &forecast.stages {
        writeln!(text, "{}", stage.key).unwrap();
    }
    match forecast.ending {
        Ending::Done => {}
        Ending::Blocked(findings) => {
            for finding in findings {
                writeln!(text, "blocked {}: {}", finding.id, finding.evidence).unwrap();
            }
        }
        Ending::Loop(key) => writeln!(text, "loops at {key}").unwrap(),
    }
    text
}

/// Carries out so many stages of whatever the file says.
fn after(planner: &Planner, mut seen: Observation, stages: usize) -> Observation {
    for _ in 0..stages {
        let leg = planner.clone().next_leg(&seen).unwrap();
        seen = leg.predict(&seen, &scripted::stage(&leg, &seen));
    }
    seen
}

#[test]
fn two_minors_are_two_legs_each_rolled_with_the_leader_last() {
    let seen = running("3.4.23");
    let found = plan(&with("etcd = \"3.6.14\""), &seen);
    assert_eq!(
        found,
        "install@v3.5.33\nroll:m2@v3.5.33\nroll:m3@v3.5.33\nmove-leader@v3.5.33\nroll:m1@v3.5.33\n\
         install\nroll:m1\nroll:m3\nmove-leader\nroll:m2\nrefresh-files\n"
    );
}

#[test]
fn from_3_5_to_3_7_members_take_a_raft_snapshot_before_the_last_leg() {
    let found = plan(&with("etcd = \"3.7.1\""), &running("3.5.30"));
    assert_eq!(
        found,
        "install@v3.5.33\nroll:m2@v3.5.33\nroll:m3@v3.5.33\nmove-leader@v3.5.33\nroll:m1@v3.5.33\n\
         install@v3.6.16\nroll:m1@v3.6.16\nroll:m3@v3.6.16\nmove-leader@v3.6.16\nroll:m2@v3.6.16\n\
         install\nraft-snapshot\nroll:m2\nroll:m3\nmove-leader\nroll:m1\nrefresh-files\n"
    );
}

#[test]
fn the_file_says_which_releases_lie_on_the_way() {
    let planner = with("etcd = \"3.7.1\"\nthrough = [\"3.5.32\", \"3.6.14\"]");
    let found = plan(&planner, &running("3.5.30"));
    assert!(found.starts_with("install@v3.5.32\n"), "{found}");
    assert!(found.contains("roll:m1@v3.6.14"), "{found}");
    let early = with("etcd = \"3.7.1\"\nthrough = [\"3.5.31\"]");
    let found = plan(&early, &running("3.5.30"));
    assert!(found.starts_with("blocked version-change"), "{found}");
    assert!(
        found.contains("3.5.31 is no release to pass through"),
        "{found}"
    );
}

#[test]
fn a_downgrade_is_begun_rolled_and_waited_for() {
    let seen = running("3.7.1");
    assert_eq!(
        plan(&with("etcd = \"3.6.14\""), &seen),
        "install\ndowngrade\nroll:m2\nroll:m3\nmove-leader\nroll:m1\nrefresh-files\n"
    );
    let down = after(&with("etcd = \"3.6.14\""), seen, 2);
    // Given up while nothing was replaced.
    let found = plan(&with("etcd = \"3.7.1\""), &down);
    // The links lead to what runs again.
    assert_eq!(found, "refresh-files\ndowngrade\n");
}

/// A downgrade ends once all that are listed run the older minor: one that is to go never would,
/// and one that comes could not join before.
#[test]
fn members_neither_come_nor_go_during_a_downgrade() {
    let seen = running("3.7.1");
    let of = |numbers: &[u32], version: &str| {
        let members: String = numbers
            .iter()
            .map(|n| format!("[[member]]\nname = \"m{n}\"\nhost = \"10.0.0.{n}\"\n"))
            .collect();
        let text = format!("format = 1\ncluster = \"prod\"\netcd = \"{version}\"\n{members}");
        worlds::planner(worlds::topology_of(&text))
    };
    let fewer = of(&[1, 2], "3.6.14");
    let found = plan(&fewer, &seen);
    assert!(
        found.starts_with("blocked downgrade-alone: m3 is to be removed"),
        "{found}"
    );
    let more = of(&[1, 2, 3, 4], "3.6.14");
    let found = plan(&more, &seen_by(&more, &seen));
    assert!(
        found.starts_with("blocked downgrade-alone: m4 is to be added"),
        "{found}"
    );
    // The same once it has begun.
    let begun = after(&with("etcd = \"3.6.14\""), seen.clone(), 3);
    let found = plan(&fewer, &begun);
    assert!(
        found.starts_with("blocked downgrade-alone: m3 is to be removed"),
        "{found}"
    );
    let found = plan(&more, &seen_by(&more, &begun));
    let at = |wanted: &str| found.find(wanted).unwrap();
    assert!(at("roll:m1") < at("add:m4"), "{found}");
    assert!(found.ends_with("refresh-files\n"), "{found}");
}

/// A disk is lost in the middle: two voters cannot spare one for a restart, so the member is
/// replaced first.
#[test]
fn a_member_lost_during_a_downgrade_is_replaced() {
    let down = with("etcd = \"3.6.14\"");
    let mut seen = after(&down, running("3.7.1"), 3);
    let member = down.topology().members[2].clone();
    halt(&down, &mut seen, 2);
    let view = scripted::host(&mut seen, &member);
    view.data.insert(member.layout.data.clone(), DataDir::Empty);
    view.marks.clear();
    let found = plan(&down, &seen);
    let at = |wanted: &str| found.find(wanted).unwrap_or(usize::MAX);
    assert!(at("remove:m3") < at("add:m3"), "{found}");
    assert!(at("promote:m3") < at("roll:m1"), "{found}");
    assert!(found.ends_with("refresh-files\n"), "{found}");
}

#[test]
fn where_etcd_has_no_downgrade_it_is_refused() {
    let found = plan(&with("etcd = \"3.4.45\""), &running("3.5.33"));
    assert!(
        found.starts_with("blocked version-change: 3.5.33 to 3.4.45 is a downgrade"),
        "{found}"
    );
}

/// The first member runs the newer minor: the others go on, or it comes back.
#[test]
fn an_edit_in_the_middle_is_answered_by_what_runs() {
    let up = with("etcd = \"3.6.14\"");
    let half = after(&up, running("3.5.33"), 2);
    assert!(plan(&up, &half).starts_with("roll:m3\n"));
    let back = plan(&with("etcd = \"3.5.33\""), &half);
    assert!(back.starts_with("refresh-files\nroll:m2\n"), "{back}");
    assert!(!back.contains("roll:m1"), "{back}");
}

/// etcd's guides want all healthy before another minor: one that is down comes up as it was.
#[test]
fn a_member_that_is_down_starts_with_what_it_ran() {
    let mut seen = running("3.5.33");
    let planner = with("etcd = \"3.5.33\"");
    halt(&planner, &mut seen, 2);
    let found = plan(&with("etcd = \"3.6.14\""), &seen);
    assert!(found.starts_with("start@v3.5.33\ninstall\n"), "{found}");
}

/// A member was upgraded to 3.6 outside etcdup while others run 3.5.30, which cannot be upgraded:
/// all go to a patch of 3.5 that can, and then on.
#[test]
fn a_cluster_that_was_left_mixed_is_recognised() {
    let up = with("etcd = \"3.6.14\"");
    let mut seen = after(&up, running("3.5.33"), 2);
    for index in [0, 2] {
        let member = up.topology().members[index].clone();
        scripted::view(&mut seen, &member).version = "3.5.30".to_owned();
        let process = scripted::host(&mut seen, &member)
            .processes
            .get_mut(&member.name);
        process.unwrap().exe = "/opt/etcd/v3.5.30/etcd".to_owned();
    }
    let found = plan(&up, &seen);
    assert!(found.contains("roll:m2@v3.5.33\n"), "{found}");
    assert!(
        found.ends_with("move-leader\nroll:m2\nrefresh-files\n"),
        "{found}"
    );
    let back = plan(&with("etcd = \"3.5.33\""), &seen);
    assert!(back.starts_with("refresh-files\nroll:"), "{back}");
}

#[test]
fn what_is_of_one_release_alone_is_named_before_anything_starts() {
    let found = plan(
        &with("etcd = \"3.6.14\"\nbinaries = { directory = { path = \"bin\" } }"),
        &running("3.4.23"),
    );
    assert!(found.contains("blocked leg-binaries"), "{found}");
    let found = plan(
        &with("etcd = \"3.6.14\"\nbinaries = { directory = { path = \"bin/{version}\" } }"),
        &running("3.4.23"),
    );
    assert!(!found.contains("leg-binaries"), "{found}");
}

/// The member that does not come up runs what it ran, and the same binary is tried again only where
/// a person asks for it.
#[test]
fn a_release_that_failed_is_put_back_and_not_tried_again_by_itself() {
    let mut before = after(&with("etcd = \"3.5.33\""), running("3.5.30"), 1);
    let member = with("etcd = \"3.5.33\"").topology().members[1].clone();
    let unit = member.layout.unit_file().unwrap();
    let unit = scripted::host(&mut before, &member).files.get_mut(&unit);
    unit.unwrap().text = Some("ExecStart=/opt/etcd/v3.5.30/etcd --name=m2\n".to_owned());
    let planner = with("etcd = \"3.5.33\"").next_leg(&before).unwrap();
    let roll = scripted::stage(&planner, &before);
    assert_eq!(roll.key.to_string(), "roll:m2");
    let mut seen = planner.predict(&before, &roll);
    halt(&planner, &mut seen, 1);
    let back = planner.put_back(&roll, &before, &seen).unwrap();
    assert_eq!(
        (back.ran.to_string(), back.failed.to_string()),
        ("3.5.30".into(), "3.5.33".into())
    );
    assert_eq!(
        back.stage.stops(planner.topology()),
        roll.stops(planner.topology())
    );
    // While it is looked at it may be up for a moment: systemd counts how often it ended, from
    // nothing after a restart by hand.
    let restarted = |earlier: u64, now: u64| {
        let mut before = before.clone();
        let set = |seen: &mut Observation, count: u64| {
            let unit = scripted::host(seen, &member)
                .units
                .get_mut(&member.layout.unit);
            unit.unwrap().restarts = count.try_into().unwrap();
        };
        set(&mut before, earlier);
        let mut up = planner.predict(&before, &roll);
        set(&mut up, now);
        let silent = Observed::unknown("connection refused");
        up.members.insert(member.name.clone(), silent);
        planner.put_back(&roll, &before, &up).is_some()
    };
    assert!(restarted(0, 3) && restarted(20, 5) && restarted(20, 21));
    assert!(!restarted(0, 0) && !restarted(20, 0) && !restarted(20, 20));
    // The member runs as before, and its host's record says what failed.
    let Work::Hosts(tasks) = &back.stage.work else {
        panic!("{back:?}");
    };
    let noted = tasks[&member.host].iter().find_map(|step| match step {
        HostStep::NoteFailed { failed, .. } => Some(failed.clone()),
        _ => None,
    });
    let mut seen = before;
    let record = scripted::host(&mut seen, &member).record_mut().unwrap();
    record.failed.insert(member.name.clone(), noted.unwrap());
    let found = plan(&with("etcd = \"3.5.33\""), &seen);
    assert!(found.starts_with("blocked version-failed"), "{found}");
    // Another release is another matter, and so is a person's word.
    assert!(plan(&with("etcd = \"3.5.32\""), &seen).contains("roll:m2"));
    let goal = Goal::Converge {
        allow_outage: false,
        retry: true,
    };
    let topology = with("etcd = \"3.5.33\"").topology().clone();
    let again = Planner::new(topology, goal, None).unwrap();
    assert!(plan(&again, &seen).contains("roll:m2"));
}

/// A record that is older than the data of a member that is down decides nothing while others run.
#[test]
fn a_stale_record_starts_no_older_release() {
    let six = with("etcd = \"3.6.14\"");
    let mut seen = running("3.6.14");
    let member = six.topology().members[2].clone();
    halt(&six, &mut seen, 2);
    let record = scripted::host(&mut seen, &member).record_mut().unwrap();
    record.members.get_mut(&member.name).unwrap().version = "3.5.30".to_owned();
    // The unit says it before the record does, whether others run or not.
    let unit = member.layout.unit_file().unwrap();
    let unit = scripted::host(&mut seen, &member).files.get_mut(&unit);
    let Content::Text(text) = &six.desired(&member).settled.content else {
        panic!("a unit is no text");
    };
    unit.unwrap().text = Some(text.to_string());
    let found = plan(&six, &seen);
    assert!(
        found.starts_with("start\n") || found.starts_with("refresh-files\nstart\n"),
        "{found}"
    );
    for index in [0, 1] {
        halt(&six, &mut seen, index);
    }
    let found = plan(&six, &seen);
    assert!(!found.contains("@v"), "{found}");
}

/// What a restart would not change is not begun: no downgrade, no entries for a raft snapshot.
#[test]
fn a_binary_that_nobody_replaces_is_no_change_of_release() {
    for keeps in [
        "binaries = { host = { directory = \"/usr/bin\" } }",
        "layout = { keep-unit = true }",
        "runtime = \"static-pod\"\npod = { image = \"registry.example/etcd:mine\" }",
    ] {
        let of = |version: &str| with(&format!("etcd = \"{version}\"\n{keeps}"));
        let seen = scripted::carry_out(&of("3.7.1"), worlds::bare(&of("3.7.1")));
        let found = plan(&of("3.6.14"), &seen);
        assert!(
            found.starts_with("blocked version-change"),
            "{keeps}: {found}"
        );
        assert!(
            found.contains("a restart would not change that"),
            "{keeps}: {found}"
        );
    }
}

/// The first member of another minor, up or down, of units and of pods: two others serve with the
/// minor before.
#[test]
fn the_first_member_of_another_minor_gets_the_old_one_back() {
    let pods = "runtime = \"static-pod\"\npod = { image = \"registry.example/etcd:{version}\" }";
    for (kind, from, to) in [
        ("", "3.5.33", "3.6.14"),
        ("", "3.7.1", "3.6.14"),
        (pods, "3.5.33", "3.6.14"),
    ] {
        let of = |version: &str| with(&format!("etcd = \"{version}\"\n{kind}"));
        let mut before = scripted::carry_out(&of(from), worlds::bare(&of(from)));
        let planner = loop {
            let leg = of(to).next_leg(&before).unwrap();
            let stage = scripted::stage(&leg, &before);
            if stage.key.to_string().starts_with("roll:") {
                break leg;
            }
            before = leg.predict(&before, &stage);
        };
        // The start file is read as it is on the host.
        for member in planner.topology().members.clone() {
            let start = member.layout.start().unwrap();
            let running = of(from).next_leg(&before).unwrap();
            let Content::Text(text) = running.desired(&member).settled.content.clone() else {
                panic!("a start file is text")
            };
            let file = scripted::host(&mut before, &member).files.get_mut(&start);
            file.unwrap().text = Some(text.to_string());
        }
        let roll = scripted::stage(&planner, &before);
        let name = roll.key.subject.clone().unwrap();
        let members = &planner.topology().members;
        let index = members.iter().position(|one| one.name == name).unwrap();
        let mut seen = planner.predict(&before, &roll);
        halt(&planner, &mut seen, index);
        let back = planner.put_back(&roll, &before, &seen);
        let back = back.unwrap_or_else(|| panic!("{kind} {from} to {to}"));
        assert_eq!(back.ran.to_string(), from, "{kind}");
        let Work::Hosts(tasks) = &back.stage.work else {
            panic!("{back:?}")
        };
        let steps = &tasks[&members[index].host];
        let text = steps
            .iter()
            .find_map(|step| match &step.artifact()?.content {
                Content::Text(text) => Some(text.to_string()),
                _ => None,
            });
        let names = |text: &str| text.contains(from) && !text.contains(to);
        assert!(text.as_deref().is_some_and(names), "{kind}: {text:?}");
    }
}

/// Once all others run the newer minor the cluster may be of it, and the older one would not start.
#[test]
fn nothing_is_put_back_where_there_is_no_way_back() {
    let before = after(&with("etcd = \"3.6.14\""), running("3.5.33"), 4);
    let planner = with("etcd = \"3.6.14\"").next_leg(&before).unwrap();
    let roll = scripted::stage(&planner, &before);
    assert_eq!(roll.key.to_string(), "roll:m1");
    let mut seen = planner.predict(&before, &roll);
    halt(&planner, &mut seen, 0);
    assert_eq!(planner.put_back(&roll, &before, &seen), None);
}

#[test]
fn entries_are_not_agreed_on_by_the_million() {
    let flags = "flags = { snapshot-count = 2000000 }";
    let six = with(&format!("etcd = \"3.6.14\"\n{flags}"));
    let seen = scripted::carry_out(&six, worlds::bare(&six));
    let found = plan(&with(&format!("etcd = \"3.7.1\"\n{flags}")), &seen);
    assert!(found.contains("blocked snapshot-count"), "{found}");
}

/// What becomes of the file's flags on the way is said before anything moves.
#[test]
fn flags_that_a_release_on_the_way_has_nothing_for_are_told() {
    let seen = running("3.4.23");
    let flags = "flags = { max-learners = 2, watch-progress-notify-interval = \"5s\", \
                 feature-gates = \"PriorityRequest=true\" }";
    let planner = with(&format!("etcd = \"3.6.16\"\n{flags}"));
    let planner = planner.next_leg(&seen).unwrap();
    let found = planner.preflight(&seen);
    let told: Vec<&str> = found
        .iter()
        .filter(|finding| finding.id.as_str() == "flags-on-the-way")
        .map(|finding| finding.evidence.as_str())
        .collect();
    assert_eq!(
        told,
        [
            "on etcd 3.5.33 `feature-gates=PriorityRequest=true` is left out, `max-learners` is left out, \
             `watch-progress-notify-interval` is `experimental-watch-progress-notify-interval`"
        ]
    );
    // With nothing on the way there is nothing to say.
    let direct = with(&format!("etcd = \"3.4.45\"\n{flags}"));
    assert!(
        direct
            .preflight(&seen)
            .iter()
            .all(|finding| finding.id.as_str() != "flags-on-the-way")
    );
}
