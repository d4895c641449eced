//! Members whose log has a directory of its own. A stranger looked for worlds in which one is
//! started without it, or on another, or in which what is left of it is forgotten.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests say what they expect"
)]

mod scripted;
mod worlds;

use etcdup_core::observation::{DataDir, HostView, LogDir, Observation};
use etcdup_core::path::HostPath;
use etcdup_core::stage::{Content, Goal, HostStep, Next, Stage, Work};
use etcdup_core::topology::Member;
use etcdup_planner::Planner;
use scripted::{ask, blockers, bootstrapped, carried_out, halt, host, seen_by, stage};

const WAL: &str = "[layout]\nwal = \"/fast/etcd\"";

fn wal() -> HostPath {
    "/fast/etcd".parse().unwrap()
}

fn planner(head: &str) -> Planner {
    worlds::planner(worlds::topology(3, head))
}

/// Three members on logs of their own, of which the second is down and changed.
fn second(change: impl Fn(&Member, &mut HostView)) -> (Planner, Observation) {
    let (leg, mut seen) = bootstrapped(WAL);
    halt(&leg, &mut seen, 1);
    let member = leg.topology().members[1].clone();
    change(&member, host(&mut seen, &member));
    (leg, seen)
}

/// Its data is there, and its log is not.
fn without_log(log: LogDir) -> impl Fn(&Member, &mut HostView) {
    move |member, view| {
        view.logs.insert(wal(), log);
        let found = view.files[&member.layout.data].clone();
        let inside = member.layout.data.join("member").unwrap();
        view.files.insert(inside, found);
        view.data
            .insert(member.layout.data.clone(), DataDir::Foreign);
    }
}

/// Its log is there, and its data is not.
fn without_data(member: &Member, view: &mut HostView) {
    view.data.insert(member.layout.data.clone(), DataDir::Empty);
    view.marks.clear();
}

/// The directories that the stages of a course move aside or delete.
fn taken_away(stages: &[Stage]) -> Vec<String> {
    let tasks = stages.iter().flat_map(|stage| match &stage.work {
        Work::Hosts(tasks) => tasks.values().flatten().collect(),
        Work::Cluster(_) | Work::Operator(_) => Vec::new(),
    });
    let taken = tasks.filter_map(|step| match step {
        HostStep::MoveAside { path } => Some(format!("aside {path}")),
        HostStep::Remove(path) if path.as_str().contains("/etcd/") => None,
        HostStep::Remove(path) => Some(format!("delete {path}")),
        _ => None,
    });
    taken.collect()
}

fn course(planner: &Planner, seen: &Observation) -> Vec<Stage> {
    planner
        .clone()
        .next_leg(seen)
        .unwrap()
        .forecast(seen)
        .stages
}

#[test]
fn a_member_without_its_log_is_not_started_and_others_are() {
    for log in [LogDir::Absent, LogDir::Empty] {
        let (leg, mut seen) = second(without_log(log));
        assert_eq!(blockers(&leg, &seen), ["data-without-log"]);
        halt(&leg, &mut seen, 0);
        halt(&leg, &mut seen, 2);
        let first = stage(&leg, &seen);
        assert_eq!(first.key.to_string(), "start-quorum");
        let Work::Hosts(tasks) = &first.work else {
            panic!("{:?}", first.work)
        };
        assert_eq!(tasks.len(), 2, "{tasks:?}");
    }
}

/// As without a log of its own: removed and added again, once what is left of it is out of the way.
#[test]
fn a_member_without_its_data_is_replaced() {
    let (leg, seen) = second(without_data);
    let (keys, _) = carried_out(&leg, &seen);
    let at = |rule: &str| keys.iter().position(|key| key.starts_with(rule)).unwrap();
    assert!(at("remove") < at("clean-up"), "{keys:?}");
    assert!(at("clean-up") < at("promote"), "{keys:?}");
    let away = [
        "aside /fast/etcd",
        "delete /etc/systemd/system/etcd.service",
    ];
    assert_eq!(taken_away(&course(&leg, &seen)), away);
    // Without a record that says so nothing proves whose it is.
    let (leg, seen) = second(|member, view| {
        without_data(member, view);
        view.record_mut().unwrap().roster.clear();
    });
    assert_eq!(blockers(&leg, &seen), ["data-without-log"]);
}

/// A reset that was cut when the data was aside and the log was not.
#[test]
fn what_a_cut_reset_left_is_taken_away_by_the_next() {
    let (leg, seen) = bootstrapped(WAL);
    for wipe in [false, true] {
        let goal = Goal::Reset {
            wipe,
            cluster_id: None,
        };
        let reset = Planner::new(worlds::topology(3, WAL), goal, None).unwrap();
        let whole = stage(&reset.clone().next_leg(&seen).unwrap(), &seen);
        let mut cut = reset
            .clone()
            .next_leg(&seen)
            .unwrap()
            .predict(&seen, &whole);
        for member in &leg.topology().members {
            let before = seen.host(&member.host).unwrap().record.clone();
            let view = host(&mut cut, member);
            view.logs.insert(wal(), LogDir::Log);
            view.record = before;
        }
        let next = course(&reset, &cut);
        let word = if wipe { "delete" } else { "aside" };
        let taken: Vec<String> = taken_away(&next);
        assert_eq!(taken, [0; 3].map(|_| format!("{word} /fast/etcd")));
    }
}

/// Whoever moved a log by hand left the old one in the data.
#[test]
fn a_member_is_never_put_on_another_log_than_its_unit_names() {
    let (leg, mut seen) = bootstrapped("");
    halt(&leg, &mut seen, 1);
    let member = leg.topology().members[1].clone();
    let Content::Text(text) = leg.desired(&member).settled.content.clone() else {
        panic!("a unit is text")
    };
    let by_hand = text.replace(
        "--data-dir=/var/lib/etcd",
        "--data-dir=/var/lib/etcd \\\n    --wal-dir=/fast/etcd/wal",
    );
    let unit = member.layout.unit_file().unwrap();
    let file = host(&mut seen, &member).files.get_mut(&unit).unwrap();
    file.text = Some(by_hand);
    file.sha256 = Some("edited".to_owned());
    assert_eq!(blockers(&leg, &seen), ["data-elsewhere"]);
}

#[test]
fn a_slash_at_the_end_is_no_other_directory() {
    let (leg, mut seen) = bootstrapped(WAL);
    for member in leg.topology().members.clone() {
        let view = host(&mut seen, &member);
        let process = view.processes.get_mut(&member.name).unwrap();
        process.flags.set("wal-dir", "/fast/etcd/wal/");
    }
    let next = leg.next(&seen);
    assert!(!matches!(next, Next::Blocked(_)), "{next:?}");
}

#[test]
fn no_log_is_inside_another_members() {
    let entry = |number: usize, at: usize, more: &str| {
        format!("[[member]]\nname = \"m{number}\"\nhost = \"10.0.0.{at}\"\n{more}\n")
    };
    let (_, earlier) = bootstrapped(WAL);
    let own = "client-port = 3379\npeer-port = 3380\ndata = \"/srv/m4\"";
    let text = format!(
        "format = 1\ncluster = \"prod\"\netcd = \"3.5.33\"\n{WAL}\n{}{}{}{}",
        entry(1, 1, ""),
        entry(2, 2, ""),
        entry(3, 3, ""),
        entry(4, 1, own)
    );
    let file = worlds::planner(worlds::topology_of(&text));
    let seen = seen_by(&file, &earlier);
    let leg = file.next_leg(&seen).unwrap();
    assert_eq!(
        scripted::ids(&scripted::blocked(&leg, &seen)),
        ["data-foreign"]
    );
}

/// A member left the file while its log was on the way: it is where that is.
#[test]
fn a_member_that_leaves_takes_its_log_along() {
    let (_, seen) = bootstrapped("");
    let leg = planner(WAL).next_leg(&seen).unwrap();
    let mut seen = leg.predict(&seen, &stage(&leg, &seen));
    halt(&leg, &mut seen, 1);
    let mut file = worlds::topology(3, WAL);
    let gone = file.members.remove(1);
    let view = host(&mut seen, &gone);
    view.logs.insert(wal(), LogDir::Log);
    let inside = gone.layout.data.join("member").unwrap();
    view.logs.insert(inside, LogDir::Absent);
    let (mut leg, mut stages) = (worlds::planner(file), Vec::new());
    for _ in 0..30 {
        ask(&leg, &mut seen);
        leg = leg.next_leg(&seen).unwrap();
        let Next::Stage(stage) = leg.next(&seen) else {
            break;
        };
        seen = leg.predict(&seen, &stage);
        stages.push(*stage);
    }
    let taken = taken_away(&stages);
    for wanted in ["aside /var/lib/etcd", "aside /fast/etcd"] {
        assert!(taken.iter().any(|one| one == wanted), "{taken:?}");
    }
}
