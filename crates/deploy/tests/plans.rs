//! Golden plans: worlds in, plans out, as people read them. A change of a rule shows here what it
//! does to every plan.
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

use etcdup_core::certificate::CertFacts;
use etcdup_core::observation::{CaView, DataDir, Observation};
use etcdup_core::observed::{Cause, Observed};
use etcdup_core::restore::{KnownSnapshot, RestoreOrder};
use etcdup_core::stage::Goal;
use etcdup_deploy::{Plan, PlanDocument};
use etcdup_planner::Planner;
use printed::printed;
use scripted::{bootstrapped, halt, host, lost};

fn drifted(planner: &Planner, seen: &mut Observation) {
    for member in planner.topology().members.clone() {
        let process = host(seen, &member).processes.get_mut(&member.name);
        process.unwrap().flags.set("snapshot-count", "1");
    }
}

#[test]
fn bare_hosts() {
    for (name, head) in [
        ("systemd", ""),
        ("static-pod", "runtime = \"static-pod\""),
        ("process", "runtime = \"process\""),
        (
            "plain",
            "security = { client = \"plain\", peer = \"plain\", allow-plain = true }",
        ),
    ] {
        let planner = worlds::planner(worlds::topology(1, head));
        let seen = worlds::bare(&planner);
        insta::assert_snapshot!(format!("bare-{name}"), printed(planner, seen));
    }
    let planner = worlds::planner(worlds::topology(3, ""));
    let seen = worlds::bare(&planner);
    insta::assert_snapshot!("bare-three", printed(planner, seen));
}

#[test]
fn a_finished_cluster() {
    let (planner, seen) = bootstrapped("");
    insta::assert_snapshot!("finished", printed(planner, seen));
}

#[test]
fn a_changed_flag() {
    let (planner, mut seen) = bootstrapped("");
    drifted(&planner, &mut seen);
    insta::assert_snapshot!("changed-flag", printed(planner, seen));
}

#[test]
fn one_voter_cannot_restart_without_an_outage() {
    let topology = worlds::topology(1, "");
    let planner = worlds::planner(topology.clone());
    let mut seen = scripted::carry_out(&planner, worlds::bare(&planner));
    drifted(&planner, &mut seen);
    insta::assert_snapshot!("outage-allowed", printed(planner, seen.clone()));
    let goal = Goal::CONVERGE;
    let planner = Planner::new(topology, goal, None).unwrap();
    insta::assert_snapshot!("outage-not-allowed", printed(planner, seen));
}

#[test]
fn a_stopped_member() {
    let (planner, mut seen) = bootstrapped("");
    halt(&planner, &mut seen, 2);
    insta::assert_snapshot!("stopped-member", printed(planner, seen));
}

#[test]
fn certificates_in_their_last_third() {
    let (planner, mut seen) = bootstrapped("");
    seen.at += jiff::SignedDuration::from_hours(24 * 300);
    insta::assert_snapshot!("renewal", printed(planner, seen));
}

#[test]
fn a_host_that_is_away() {
    let (planner, mut seen) = bootstrapped("");
    drifted(&planner, &mut seen);
    let member = planner.topology().members[0].clone();
    let away = Observed::unknown_for(Cause::Unreachable, "no route to host");
    seen.hosts.insert(member.host.clone(), away);
    let away = Observed::unknown_for(Cause::Unreachable, "no route to host");
    seen.members.insert(member.name, away);
    insta::assert_snapshot!("host-away", printed(planner, seen));
}

#[test]
fn a_lost_disk() {
    let (planner, mut seen) = bootstrapped("");
    halt(&planner, &mut seen, 2);
    let member = planner.topology().members[2].clone();
    let data = host(&mut seen, &member).data.values_mut().next().unwrap();
    *data = DataDir::Empty;
    insta::assert_snapshot!("lost-disk", printed(planner, seen));
}

#[test]
fn a_checkout_without_the_ca() {
    let (planner, mut seen) = bootstrapped("");
    let CaView::Usable(facts) = seen.ca.clone() else {
        panic!("no CA")
    };
    seen.ca = CaView::Absent;
    insta::assert_snapshot!("ca-missing", printed(planner, seen.clone()));
    let (planner, _) = bootstrapped("");
    seen.ca = CaView::Usable(CertFacts {
        name: "another".into(),
        key_id: "0123456789abcdef".into(),
        fingerprint: "another".into(),
        ..facts
    });
    insta::assert_snapshot!("ca-mismatch", printed(planner, seen));
}

#[test]
fn a_downgrade() {
    let (_, seen) = bootstrapped("");
    let topology = worlds::topology(3, "");
    let older = etcdup_core::topology::Topology {
        version: "3.4.45".parse().unwrap(),
        ..topology
    };
    insta::assert_snapshot!("downgrade", printed(worlds::planner(older), seen));
}

#[test]
fn a_reset() {
    for (name, wipe) in [("reset", false), ("reset-wipe", true)] {
        let (planner, seen) = bootstrapped("");
        let goal = Goal::Reset {
            wipe,
            cluster_id: None,
        };
        let planner = Planner::new(planner.topology().clone(), goal, None).unwrap();
        insta::assert_snapshot!(name, printed(planner, seen));
    }
}

/// From a snapshot, over a cluster that serves.
#[test]
fn a_restore() {
    let (planner, seen) = bootstrapped("");
    let order = RestoreOrder {
        id: "1".to_owned(),
        path: "/backup/prod-r7.db".to_owned(),
        sha256: "ab".to_owned(),
        size: 1 << 20,
        known: Some(KnownSnapshot {
            cluster_id: seen.known_members().next().unwrap().cluster,
            etcd: "3.5.33".to_owned(),
            revision: 7,
            taken: jiff::Timestamp::UNIX_EPOCH,
        }),
        bump: true,
        above: 0,
        again: false,
        cluster_id: None,
    };
    let goal = Goal::Restore {
        order: Box::new(order),
    };
    let planner = Planner::new(planner.topology().clone(), goal, None).unwrap();
    let planner = planner.next_leg(&seen).unwrap();
    insta::assert_snapshot!("restore", printed(planner, seen));
}

/// Two of five are left, and the second knows more.
#[test]
fn a_recovery() {
    let (topology, seen) = lost::left(5, &[("m2", 90, 99), ("m4", 95, 95)]);
    let planner = lost::recover(&topology, &["m1", "m3", "m5"]);
    let planner = planner.next_leg(&seen).unwrap();
    insta::assert_snapshot!("recover", printed(planner, seen));
}

/// Of a file that is not there yet no line is shown; what is in it is approved all the same.
#[test]
fn what_new_files_say_is_in_the_digest() {
    let digest = |head: &str| {
        let planner = worlds::planner(worlds::topology(3, head));
        let seen = worlds::bare(&planner);
        let plan = Plan {
            forecast: planner.forecast(&seen),
            planner,
            seen,
            warnings: Vec::new(),
        };
        PlanDocument::new(&plan).digest
    };
    assert_eq!(digest(""), digest(""));
    assert_ne!(digest(""), digest("flags = { snapshot-count = 4321 }"));
}
