//! Members that the file has elsewhere on their hosts: another runtime, unit, directory or user.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests say what they expect"
)]

mod scripted;
mod worlds;

use etcdup_core::stage::{HostStep, Stage, Work};
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
            HostStep::CheckRoom { from, to } => format!("room {from} {to}"),
            HostStep::MoveData { from, to, owner } => format!(
                "move {from} {to} {}",
                owner.as_ref().map(ToString::to_string).unwrap_or_default()
            ),
            HostStep::Roster(_) => "roster".to_owned(),
            other => format!("{other:?}"),
        })
        .collect()
}

/// The first stage from a cluster of the one file to the other.
fn first(from: &str, to: &str) -> Stage {
    let (_, seen) = bootstrapped(from);
    let leg = planner(to).next_leg(&seen).unwrap();
    scripted::stage(&leg, &seen)
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
fn another_unit_user_and_directory_of_certificates() {
    let layout = "[layout]\nunit = \"kv\"\nuser = \"kv\"\ncertificates = \"/etc/kv\"";
    let stage = first("", layout);
    insta::assert_debug_snapshot!(words(&stage));
    insta::assert_debug_snapshot!(stage.why);
}
