//! Golden plans of changes that take several legs, as people read them.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests say what they expect"
)]

mod printed;
#[path = "../../planner/tests/scripted/mod.rs"]
mod scripted;
#[path = "../../planner/tests/worlds/mod.rs"]
mod worlds;

use etcdup_core::observation::{FailedRelease, Observation};
use etcdup_core::observed::Observed;
use etcdup_planner::Planner;
use printed::printed;
use scripted::cas::{TRUST, carried_out, of_old, set_aside};
use scripted::seen_by;

/// Three members of a file of this release.
fn of(version: &str, rest: &str) -> Planner {
    let members: String = (1..=3)
        .map(|n| format!("[[member]]\nname = \"m{n}\"\nhost = \"10.0.0.{n}\"\n"))
        .collect();
    let head = format!("format = 1\ncluster = \"prod\"\netcd = \"{version}\"\n");
    worlds::planner(worlds::topology_of(&format!("{head}{rest}\n{members}")))
}

/// The plan from a cluster that is as the one file says to the other.
fn from_to(from: &Planner, to: Planner) -> String {
    let before = scripted::carry_out(from, worlds::bare(from));
    from_world(&before, to)
}

fn from_world(before: &Observation, to: Planner) -> String {
    let seen = seen_by(&to, before);
    let planner = to.next_leg(&seen).unwrap();
    printed(planner, seen)
}

#[test]
fn up_three_minors() {
    insta::assert_snapshot!(from_to(&of("3.4.23", ""), of("3.7.1", "")));
}

/// A lone member grows before it restarts: who joins is the first to run the new minor.
#[test]
fn from_one_to_three_and_up_a_minor() {
    let lone = "format = 1\ncluster = \"prod\"\netcd = \"3.4.23\"\n[[member]]\nname = \"m1\"\n\
                host = \"10.0.0.1\"\n";
    let lone = worlds::planner(worlds::topology_of(lone));
    insta::assert_snapshot!(from_to(&lone, of("3.5.33", "")));
}

#[test]
fn down_a_minor() {
    insta::assert_snapshot!(from_to(&of("3.7.1", ""), of("3.6.14", "")));
}

/// A downgrade was begun, no member runs the older minor yet, and the file asks for what runs.
#[test]
fn a_downgrade_given_up() {
    let from = of("3.7.1", "");
    let mut seen = scripted::carry_out(&from, worlds::bare(&from));
    for view in seen.members.values_mut().filter_map(Observed::known_mut) {
        view.downgrade = Some("3.6".to_owned());
    }
    insta::assert_snapshot!(from_world(&seen, of("3.7.1", "")));
}

/// A member did not come up with the file's release, and runs the one before again.
#[test]
fn a_release_that_failed() {
    let from = of("3.5.33", "");
    let mut seen = scripted::carry_out(&from, worlds::bare(&from));
    let (member, host) = {
        let first = &from.topology().members[0];
        (first.etcd_name.clone(), first.host.clone())
    };
    let view = seen.hosts.get_mut(&host).and_then(Observed::known_mut);
    let Some(Observed::Known(Some(record))) = view.map(|view| &mut view.record) else {
        panic!("it has a record");
    };
    let failed = FailedRelease {
        version: "3.6.14".to_owned(),
        binary: String::new(),
        log: vec!["panic: cannot open the database".to_owned()],
    };
    record.failed.insert(member, failed);
    insta::assert_snapshot!(from_world(&seen, of("3.6.14", "")));
}

/// Another hand has restarted one member with the next minor.
#[test]
fn half_upgraded_by_another_hand() {
    let from = of("3.5.33", "");
    let mut seen = scripted::carry_out(&from, worlds::bare(&from));
    let first = from.topology().members[0].clone();
    if let Some(view) = seen
        .members
        .get_mut(&first.name)
        .and_then(Observed::known_mut)
    {
        view.version = "3.6.14".to_owned();
    }
    let host = seen
        .hosts
        .get_mut(&first.host)
        .and_then(Observed::known_mut);
    if let Some(process) = host.and_then(|host| host.processes.get_mut(&first.name)) {
        process.exe = "/opt/etcd/v3.6.14/etcd".to_owned();
    }
    insta::assert_snapshot!(from_world(&seen, of("3.6.14", "")));
    insta::assert_snapshot!(from_world(&seen, from));
}

#[test]
fn another_ca() {
    let (topology, mut seen) = of_old("", TRUST);
    set_aside(&mut seen, true);
    let planner = scripted::cas::planner(&topology);
    insta::assert_snapshot!(printed(planner.next_leg(&seen).unwrap(), seen));
}

/// What runs trusts both, and the file names the new one alone; a client of the old one is left.
#[test]
fn the_old_ca_goes() {
    let (topology, mut seen) = of_old("", TRUST);
    set_aside(&mut seen, true);
    let (_, world) = carried_out(&topology, &seen);
    let planner = scripted::cas::planner(&worlds::topology(3, ""));
    let seen = seen_by(&planner, &world);
    insta::assert_snapshot!(printed(planner.next_leg(&seen).unwrap(), seen));
}

/// With the old CA's key members get certificates that both accept; without it none can be made
/// that they accept, and all restart together.
#[test]
fn all_certificates_have_ended() {
    for key in [true, false] {
        let (topology, mut seen) = of_old("", TRUST);
        set_aside(&mut seen, key);
        seen.at += jiff::SignedDuration::from_hours(24 * 400);
        for member in &topology.members {
            let silent = Observed::unknown("certificate has expired");
            seen.members.insert(member.name.clone(), silent);
        }
        let planner = scripted::cas::planner(&topology);
        insta::assert_snapshot!(printed(planner.next_leg(&seen).unwrap(), seen));
    }
}

#[test]
fn plain_to_mutual() {
    let security = |client: &str, peer: &str| {
        let rest = format!(
            "[security]\nclient = \"{client}\"\nclient-also = \"plain\"\npeer = \"{peer}\"\n\
             allow-plain = true"
        );
        of("3.5.33", &rest)
    };
    let plain = "[security]\nclient = \"plain\"\npeer = \"plain\"\nallow-plain = true";
    insta::assert_snapshot!(from_to(&of("3.5.33", plain), security("mutual", "mutual")));
}

/// Clients have all changed, and plain HTTP beside TLS goes.
#[test]
fn the_end_of_plain_clients() {
    let also = "[security]\nclient = \"mutual\"\nclient-also = \"plain\"\nallow-plain = true";
    insta::assert_snapshot!(from_to(&of("3.5.33", also), of("3.5.33", "")));
}

#[test]
fn mutual_to_plain() {
    let plain = "[security]\nclient = \"plain\"\nclient-also = \"mutual\"\npeer = \"plain\"\n\
                 allow-plain = true";
    insta::assert_snapshot!(from_to(&of("3.5.33", ""), of("3.5.33", plain)));
}

#[test]
fn units_to_static_pods() {
    insta::assert_snapshot!(from_to(
        &of("3.5.33", ""),
        of("3.5.33", "runtime = \"static-pod\"")
    ));
}

#[test]
fn static_pods_to_units() {
    insta::assert_snapshot!(from_to(
        &of("3.5.33", "runtime = \"static-pod\""),
        of("3.5.33", "")
    ));
}

#[test]
fn processes_to_units() {
    insta::assert_snapshot!(from_to(
        &of("3.5.33", "runtime = \"process\""),
        of("3.5.33", "")
    ));
}

/// The data on one disk, the log on another, another unit and user, all in one edit.
#[test]
fn everything_lies_elsewhere() {
    let layout = "[layout]\ndata = \"/srv/etcd\"\nwal = \"/fast/etcd\"\n\
                  unit = \"kv\"\nuser = \"kv\"";
    insta::assert_snapshot!(from_to(&of("3.5.33", ""), of("3.5.33", layout)));
}

/// A release, another CA and another layout at once, which come one after the other.
#[test]
fn release_ca_and_layout() {
    let (_, mut seen) = of_old("", TRUST);
    set_aside(&mut seen, true);
    let file = of(
        "3.6.14",
        &format!("{TRUST}\n[layout]\ndata = \"/srv/etcd\""),
    );
    insta::assert_snapshot!(printed(file.next_leg(&seen).unwrap(), seen));
}
