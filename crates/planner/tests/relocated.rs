//! Members that the file has elsewhere on their hosts: another runtime, unit, directory or user.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests say what they expect"
)]

mod scripted;
mod worlds;

use etcdup_core::observation::{DataDir, FileKind, FileView, HostView, LogDir};
use etcdup_core::path::{HostPath, Mode};
use etcdup_core::stage::{HostStep, Next, Stage, Work};
use etcdup_planner::Planner;
use scripted::{bootstrapped, carried_out};

fn planner(head: &str) -> Planner {
    worlds::planner(worlds::topology(3, head))
}

/// A stage's steps on the one host that it is about, in a word or two each.
fn words(stage: &Stage) -> Vec<String> {
    let Work::Hosts(tasks) = &stage.work else {
        panic!("{:?}", stage.work)
    };
    let steps = tasks.values().flatten();
    steps
        .map(|step| match step {
            HostStep::File(file) => format!("file {}", file.path),
            HostStep::Pod(file) => format!("pod {}", file.path),
            HostStep::Disable(unit) => format!("disable {unit}"),
            HostStep::Enable(unit) => format!("enable {unit}"),
            HostStep::Restart(unit) => format!("restart {unit}"),
            HostStep::Reload => "reload".to_owned(),
            HostStep::Remove(path) => format!("remove {path}"),
            HostStep::Binaries { directory, .. } => format!("binaries {directory}"),
            HostStep::User { name, .. } => format!("user {name}"),
            HostStep::Directory { path, .. } => format!("directory {path}"),
            HostStep::StopPod { manifest, .. } => format!("stop pod {manifest}"),
            HostStep::StopProcess { .. } => "stop process".to_owned(),
            HostStep::Spawn { .. } => "spawn".to_owned(),
            HostStep::CheckRoom { held, from, to } => format!("room {held:?} {from} {to}"),
            HostStep::MoveData {
                held,
                from,
                to,
                owner,
            } => format!(
                "move {held:?} {from} {to} {}",
                owner.as_ref().map(ToString::to_string).unwrap_or_default()
            ),
            HostStep::Place(known) => format!("place {}", known.place.name),
            other => format!("{other:?}"),
        })
        .collect()
}

/// The first stage that takes a member elsewhere, from a cluster of the one file to the other:
/// every host's record has where its member goes before.
fn first(from: &str, to: &str) -> Stage {
    let (_, mut seen) = bootstrapped(from);
    let mut before = Vec::new();
    loop {
        let leg = planner(to).next_leg(&seen).unwrap();
        let stage = scripted::stage(&leg, &seen);
        let key = stage.key.to_string();
        if key.starts_with("roll:") {
            assert!(
                before.contains(&"refresh-files@place".to_owned()),
                "{before:?}"
            );
            return stage;
        }
        seen = leg.predict(&seen, &stage);
        before.push(key);
    }
}

/// The members that these stages take elsewhere, where the leader is the last of them and nothing
/// but files is left to do then.
fn rolled(keys: &[String]) -> Vec<&str> {
    assert_eq!(keys.last().unwrap(), "refresh-files", "{keys:?}");
    let leader = keys.iter().position(|key| key == "move-leader@place");
    assert_eq!(leader, Some(keys.len() - 3), "{keys:?}");
    let mut members: Vec<&str> = keys
        .iter()
        .filter_map(|key| key.strip_prefix("roll:")?.strip_suffix("@place"))
        .collect();
    members.sort_unstable();
    members
}

/// From every runtime to every other, one member at a time and the leader last; then nothing is
/// left to do, and the way back is the same.
#[test]
fn members_go_from_any_runtime_to_any_other() {
    for from in scripted::RUNTIMES {
        for to in scripted::RUNTIMES {
            if from == to {
                continue;
            }
            let (_, seen) = bootstrapped(from);
            let (keys, world) = carried_out(&planner(to), &seen);
            assert_eq!(rolled(&keys), ["m1", "m2", "m3"], "{from} to {to}");
            let (keys, _) = carried_out(&planner(to), &world);
            assert!(keys.is_empty(), "{from} to {to}: {keys:?}");
            let (keys, _) = carried_out(&planner(from), &world);
            let back = rolled(&keys);
            assert_eq!(back, ["m1", "m2", "m3"], "{to} back to {from}");
        }
    }
}

#[test]
fn a_unit_becomes_a_static_pod() {
    let stage = first("", "runtime = \"static-pod\"");
    insta::assert_debug_snapshot!(words(&stage));
    insta::assert_debug_snapshot!(stage.why);
}

#[test]
fn a_static_pod_becomes_a_unit() {
    let stage = first("runtime = \"static-pod\"", "");
    insta::assert_debug_snapshot!(words(&stage));
}

#[test]
fn a_process_becomes_a_unit() {
    let stage = first("runtime = \"process\"", "");
    insta::assert_debug_snapshot!(words(&stage));
}

#[test]
fn data_goes_to_another_directory() {
    let stage = first("", "[layout]\ndata = \"/srv/etcd\"");
    insta::assert_debug_snapshot!(words(&stage));
    insta::assert_debug_snapshot!(stage.why);
}

#[test]
fn the_log_gets_a_disk_of_its_own_and_goes_back() {
    let layout = "[layout]\nwal = \"/fast/etcd\"";
    let stage = first("", layout);
    insta::assert_debug_snapshot!(words(&stage));
    insta::assert_debug_snapshot!(stage.why);
    let stage = first(layout, "");
    insta::assert_debug_snapshot!(words(&stage));
}

/// The log goes first, while the data is where it was, and the data may go on its own.
#[test]
fn data_and_log_go_together() {
    let both = "[layout]\ndata = \"/srv/etcd\"\nwal = \"/fast/etcd\"";
    insta::assert_debug_snapshot!(words(&first("", both)));
    insta::assert_debug_snapshot!(words(&first(both, "")));
}

#[test]
fn another_unit_user_and_directory_of_certificates() {
    let layout = "[layout]\nunit = \"kv\"\nuser = \"kv\"\ncertificates = \"/etc/kv\"";
    let stage = first("", layout);
    insta::assert_debug_snapshot!(words(&stage));
    insta::assert_debug_snapshot!(stage.why);
}

/// A release that does not start is put back where it ran: members change it first, and their place
/// after that.
#[test]
fn another_release_comes_first() {
    let (_, seen) = bootstrapped("");
    let head = "[layout]\ndata = \"/srv/etcd\"";
    let file = worlds::topology(3, head).at_version(&"3.5.34".parse().unwrap());
    let (keys, _) = carried_out(&worlds::planner(file.unwrap()), &seen);
    let first = |wanted: &str| keys.iter().position(|key| key.ends_with(wanted)).unwrap();
    assert_eq!(keys[first("roll:m2")], "roll:m2", "{keys:?}");
    assert!(first("@place") > first("roll:m1"), "{keys:?}");
}

/// The record has where m2 goes, and a run was cut once its data was there. Whatever the file says
/// by then, it is not lost: it starts where its data is.
#[test]
fn a_member_is_where_its_data_is() {
    let elsewhere = "[layout]\ndata = \"/srv/etcd\"";
    let (_, seen) = bootstrapped("");
    let leg = planner(elsewhere).next_leg(&seen).unwrap();
    let noted = scripted::stage(&leg, &seen);
    assert_eq!(noted.key.to_string(), "refresh-files@place");
    let mut cut = leg.predict(&seen, &noted);
    scripted::halt(&leg, &mut cut, 1);
    let member = leg.topology().members[1].clone();
    let there: HostPath = "/srv/etcd".parse().unwrap();
    let view = scripted::host(&mut cut, &member);
    let data = view
        .data
        .insert(member.layout.data.clone(), DataDir::Absent);
    view.data.insert(there.clone(), data.unwrap());
    let mark = view.marks.remove(&member.layout.data).unwrap();
    view.marks.insert(there.clone(), mark);
    for head in ["", elsewhere, "[layout]\ndata = \"/srv/third\""] {
        // Each look asks what the one before left open, and a later one does not lose it.
        let (mut leg, mut seen) = (planner(head), cut.clone());
        for round in 0..6 {
            scripted::ask(&leg, &mut seen);
            leg = leg.next_leg(&seen).unwrap();
            let found = leg.topology().members[1].layout.data.as_str();
            assert!(
                round < 2 || found == "/srv/etcd",
                "{head}: {found} in {round}"
            );
        }
        let (keys, _) = carried_out(&leg, &seen);
        assert!(
            keys.iter().all(|key| !key.contains("remove")),
            "{head}: {keys:?}"
        );
    }
}

/// It left the file in the same state: it is where its data is, and is stopped there.
#[test]
fn a_member_that_leaves_is_where_its_data_is() {
    let elsewhere = "[layout]\ndata = \"/srv/etcd\"\nunit = \"kv\"";
    let (_, mut seen) = bootstrapped("");
    loop {
        let leg = planner(elsewhere).next_leg(&seen).unwrap();
        let stage = scripted::stage(&leg, &seen);
        let before = seen.clone();
        seen = leg.predict(&seen, &stage);
        if stage.key.to_string() == "roll:m2@place" {
            // The record is the last that is written: it still has both.
            let Work::Hosts(tasks) = &stage.work else {
                panic!("{:?}", stage.work)
            };
            let host = tasks.keys().next().unwrap().clone();
            let earlier = before.host(&host).unwrap().record.clone();
            seen.hosts
                .get_mut(&host)
                .unwrap()
                .known_mut()
                .unwrap()
                .record = earlier;
            break;
        }
    }
    let mut file = worlds::topology(3, "");
    let gone = file.members.remove(1);
    let (mut leg, mut keys, mut steps) = (worlds::planner(file), Vec::new(), Vec::new());
    for _ in 0..30 {
        scripted::ask(&leg, &mut seen);
        leg = leg.next_leg(&seen).unwrap();
        let Next::Stage(stage) = leg.next(&seen) else {
            break;
        };
        keys.push(stage.key.to_string());
        if matches!(stage.work, Work::Hosts(_)) {
            steps.extend(words(&stage));
        }
        seen = leg.predict(&seen, &stage);
    }
    assert!(
        keys.iter().any(|key| key.starts_with("remove:m2")),
        "{keys:?}"
    );
    assert!(
        steps.contains(&"disable kv.service".to_owned()),
        "{steps:?}"
    );
    let host = seen.host(&gone.host).unwrap();
    let left = host.data.get(&"/srv/etcd".parse::<HostPath>().unwrap());
    assert_eq!(left, Some(&DataDir::Absent), "{keys:?}");
}

/// The same of a log: it moved, and a run was cut before anything else did. It never begins empty
/// where it was, and goes back from where it is.
#[test]
fn a_member_is_where_its_log_is() {
    let elsewhere = "[layout]\nwal = \"/fast/etcd\"";
    let (_, seen) = bootstrapped("");
    let leg = planner(elsewhere).next_leg(&seen).unwrap();
    let noted = scripted::stage(&leg, &seen);
    let mut cut = leg.predict(&seen, &noted);
    scripted::halt(&leg, &mut cut, 1);
    let member = leg.topology().members[1].clone();
    let view = scripted::host(&mut cut, &member);
    let there: HostPath = "/fast/etcd".parse().unwrap();
    view.logs.insert(there.clone(), LogDir::Log);
    view.logs
        .insert(member.layout.holds_log().unwrap(), LogDir::Absent);
    for (head, last) in [
        ("", "/var/lib/etcd/member"),
        (elsewhere, "/fast/etcd"),
        ("[layout]\nwal = \"/fast/third\"", "/fast/third"),
        ("[layout]\ndata = \"/srv/etcd\"", "/srv/etcd/member"),
    ] {
        let (mut leg, mut seen) = (planner(head), cut.clone());
        let mut moves = Vec::new();
        for _ in 0..30 {
            scripted::ask(&leg, &mut seen);
            leg = leg.next_leg(&seen).unwrap();
            let found = leg.topology().members[1].layout.wal.clone();
            let is_there = seen.host(&member.host).unwrap().logs.get(&there) == Some(&LogDir::Log);
            assert_eq!(
                found.is_some_and(|found| found == there),
                is_there,
                "{head}"
            );
            let Next::Stage(stage) = leg.next(&seen) else {
                break;
            };
            moves.push(stage.key.to_string());
            seen = leg.predict(&seen, &stage);
        }
        let view = seen.host(&member.host).unwrap();
        let holds: HostPath = last.parse().unwrap();
        assert_eq!(
            view.logs.get(&holds),
            Some(&LogDir::Log),
            "{head}: {moves:?}"
        );
    }
}

/// It does not come up at its new place, and the file is edited back: it goes back, though it does
/// not run.
#[test]
fn a_member_that_failed_at_its_new_place_goes_back() {
    let pods = "runtime = \"static-pod\"";
    let (_, mut seen) = bootstrapped("");
    loop {
        let leg = planner(pods).next_leg(&seen).unwrap();
        let stage = scripted::stage(&leg, &seen);
        seen = leg.predict(&seen, &stage);
        if stage.key.to_string() == "roll:m2@place" {
            break;
        }
    }
    let leg = planner(pods).next_leg(&seen).unwrap();
    scripted::halt(&leg, &mut seen, 1);
    let (keys, world) = carried_out(&planner(""), &seen);
    assert_eq!(
        keys[..2],
        ["refresh-files@place", "start@place"],
        "{keys:?}"
    );
    let member = &planner("").topology().members[1].clone();
    let view = world.host(&member.host).unwrap();
    assert!(view.files.contains_key(&member.layout.start().unwrap()));
    assert!(!view.files.contains_key(&member.layout.manifest));
}

/// Nothing is put over what is another's.
#[test]
fn what_is_in_the_way_is_said() {
    let head = "[layout]\ndata = \"/srv/etcd\"\ncertificates = \"/etc/kv\"\nunit = \"nginx\"";
    let (_, seen) = bootstrapped("");
    let file = planner(head);
    let member = file.topology().members[1].clone();
    let blocked = |change: &dyn Fn(&mut HostView)| {
        let mut seen = seen.clone();
        change(scripted::host(&mut seen, &member));
        scripted::blockers(&file, &seen)
    };
    for there in [
        DataDir::Foreign,
        seen.hosts
            .values()
            .next()
            .unwrap()
            .known()
            .unwrap()
            .data
            .values()
            .next()
            .unwrap()
            .clone(),
    ] {
        let taken = blocked(&|host| {
            host.data.insert(member.layout.data.clone(), there.clone());
        });
        assert_eq!(taken, ["place-taken"]);
    }
    let view = FileView {
        kind: FileKind::File,
        mode: Mode::PUBLIC,
        owner: None,
        size: 1,
        sha256: Some("another's".to_owned()),
        text: Some("[Service]\nExecStart=/usr/sbin/nginx\n".to_owned()),
        modified: None,
    };
    let key = member.layout.certificates.join("server.key").unwrap();
    let taken = blocked(&|host| {
        host.files.insert(key.clone(), view.clone());
    });
    assert_eq!(taken, ["place-taken"]);
    let unit = member.layout.unit_file().unwrap();
    let taken = blocked(&|host| {
        host.files.insert(unit.clone(), view.clone());
    });
    assert_eq!(taken, ["unit-of-another"]);
}

/// All are down: they start as they ran, and go elsewhere one by one once they serve.
#[test]
fn without_a_quorum_nobody_goes_elsewhere() {
    let pods = "runtime = \"static-pod\"";
    let (_, seen) = bootstrapped("");
    // Every record has where its member goes.
    let leg = planner(pods).next_leg(&seen).unwrap();
    let mut seen = leg.predict(&seen, &scripted::stage(&leg, &seen));
    (0..3).for_each(|index| scripted::halt(&leg, &mut seen, index));
    let (keys, _) = carried_out(&planner(pods), &seen);
    assert_eq!(keys[..2], ["install@place", "start@place"], "{keys:?}");
    assert_eq!(rolled(&keys), ["m1", "m2", "m3"]);
}

/// A copy that was made by hand, or a run that was cut, left the data with another user: it is
/// given to the one that is to run on it before it starts.
#[test]
fn data_of_another_user_is_given_to_the_one_that_starts_on_it() {
    let (leg, mut seen) = bootstrapped("");
    scripted::halt(&leg, &mut seen, 1);
    let member = leg.topology().members[1].clone();
    let view = scripted::host(&mut seen, &member);
    let mut inside = view.files[&member.layout.data].clone();
    inside.owner = Some("root:root".parse().unwrap());
    let path = member.layout.data.join("member").unwrap();
    view.files.insert(path, inside);
    let stage = scripted::stage(&leg, &seen);
    assert_eq!(
        words(&stage),
        ["move Data /var/lib/etcd /var/lib/etcd etcd:etcd"]
    );
    let after = leg.predict(&seen, &stage);
    assert_eq!(scripted::stage(&leg, &after).key.to_string(), "start");
}
