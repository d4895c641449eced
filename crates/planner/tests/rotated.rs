//! From one CA to another: members and clients are accepted at every moment.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests say what they expect"
)]

mod scripted;
mod worlds;

use etcdup_core::certificate::CertFacts;
use etcdup_core::file::KeyPath;
use etcdup_core::observation::{CaView, Observation};
use etcdup_core::observed::Observed;
use etcdup_core::stage::{Content, Work};
use etcdup_core::topology::Topology;
use etcdup_planner::Ending;
use scripted::cas::{
    TRUST, blockers, carried_out, of_old, planner, rename, rules, set_aside, warnings,
};
use scripted::{RUNTIMES, halt, host, ids};

#[test]
fn members_trust_both_cas_then_certificates_change_then_the_old_ca_goes() {
    for head in RUNTIMES {
        let (topology, mut seen) = of_old(head, TRUST);
        set_aside(&mut seen, true);
        assert!(warnings(&topology, &seen).contains(&"clients-must-trust".to_owned()));
        let (keys, world) = carried_out(&topology, &seen);
        assert_eq!(
            rules(&keys),
            [
                "ca@trust",
                "roll@trust",
                "roll@trust",
                "move-leader@trust",
                "roll@trust",
                "renew",
                "renew",
                "renew"
            ],
            "{head}"
        );
        // Nothing is left to do while the file names both.
        assert_eq!(carried_out(&topology, &world).0, [""; 0]);
        assert!(!warnings(&topology, &world).contains(&"clients-must-trust".to_owned()));
        let mut dropped = world.clone();
        dropped.trusted.clear();
        let without = worlds::topology(3, head);
        let (keys, last) = carried_out(&without, &dropped);
        assert_eq!(
            rules(&keys),
            ["roll", "roll", "move-leader", "roll"],
            "{head}"
        );
        let ca = &last
            .hosts
            .values()
            .next()
            .unwrap()
            .known()
            .unwrap()
            .certificates;
        assert!(
            ca.values()
                .all(|facts| facts.known().unwrap().issuer_key_id == "not made yet")
        );
    }
}

/// The next CA may be trusted before anything is of it, so that clients have all the time they
/// need.
#[test]
fn the_next_ca_may_be_trusted_long_before_it_issues() {
    let (topology, mut seen) = of_old("", "[certificates]\ntrust = [\"next.crt\"]");
    let Some(old) = seen.ca.facts().cloned() else {
        panic!("no CA")
    };
    let next = CertFacts {
        name: "next".into(),
        issuer: "next".into(),
        key_id: "next".into(),
        issuer_key_id: "next".into(),
        public_key: "next".into(),
        fingerprint: "next".into(),
        ..old.clone()
    };
    seen.trusted = vec![CaView::WithoutKey(next.clone())];
    let (keys, mut world) = carried_out(&topology, &seen);
    assert_eq!(keys, ["roll:m2", "roll:m3", "move-leader", "roll:m1"]);
    // The two change places: no member restarts for it.
    world.ca = CaView::Usable(next);
    world.trusted = vec![CaView::Usable(old)];
    assert_eq!(
        carried_out(&topology, &world).0,
        ["renew:m1", "renew:m2", "renew:m3"]
    );
}

/// What must be issued before all trust the new CA is of the old one; without its key only what no
/// member accepts as it is is replaced, and no member joins.
#[test]
fn the_old_ca_signs_until_all_trust_the_new_one() {
    let (topology, mut seen) = of_old("", TRUST);
    set_aside(&mut seen, true);
    let member = topology.members[2].clone();
    let path = member.layout.certificates.join("server.crt").unwrap();
    host(&mut seen, &member).files.remove(&path);
    let planner = planner(&topology).next_leg(&seen).unwrap();
    let forecast = planner.forecast(&seen);
    let signed = |stage: &etcdup_core::stage::Stage| match &stage.work {
        Work::Hosts(tasks) => tasks
            .values()
            .flatten()
            .filter_map(|step| match &step.artifact()?.content {
                Content::Issued { request, .. } => Some(request.issuer.is_own()),
                _ => None,
            })
            .collect::<Vec<_>>(),
        _ => Vec::new(),
    };
    let first = forecast
        .stages
        .iter()
        .find(|stage| !signed(stage).is_empty())
        .unwrap();
    assert_eq!(first.key.to_string(), "renew:m3@trust");
    assert_eq!(signed(first), [false, false]);
    let last = forecast.stages.last().unwrap();
    assert!(signed(last).iter().all(|own| *own), "{}", last.key);
}

/// The line is taken out too early: nothing is written before all that is in use is accepted by
/// all.
#[test]
fn the_old_ca_does_not_go_before_its_certificates() {
    let (topology, mut seen) = of_old("", TRUST);
    set_aside(&mut seen, true);
    let without = worlds::topology(3, "");
    let start = planner(&topology).next_leg(&seen).unwrap();
    let forecast = start.forecast(&seen);
    let mut world = seen.clone();
    let mut answers = Vec::new();
    for stage in &forecast.stages {
        world = start
            .clone()
            .next_leg(&world)
            .unwrap()
            .predict(&world, stage);
        let mut early = world.clone();
        early.trusted.clear();
        let planner = planner(&without).next_leg(&early).unwrap();
        let forecast = planner.forecast(&early);
        answers.push(match forecast.ending {
            Ending::Blocked(findings) => ids(&findings).join(","),
            Ending::Done => {
                let keys = forecast.stages.iter().map(|stage| stage.key.to_string());
                keys.collect::<Vec<_>>().join(" ")
            }
            other @ Ending::Loop(_) => panic!("{other:?}"),
        });
    }
    let refused = |count: usize| vec!["ca-mismatch"; count].join(",");
    let rolls = "roll:m1 roll:m3 move-leader roll:m2";
    assert_eq!(
        answers,
        [
            refused(3),
            refused(3),
            refused(3),
            refused(3),
            format!("renew:m1@reissue renew:m2@reissue renew:m3@reissue {rolls}"),
            format!("renew:m2@reissue renew:m3@reissue {rolls}"),
            format!("renew:m3@reissue {rolls}"),
            rolls.to_owned(),
        ]
    );
}

/// A host that is away may have a member that trusts the old CA alone, and shows a certificate of
/// it.
#[test]
fn whoever_was_not_seen_may_still_need_the_old_ca() {
    let (topology, mut seen) = of_old("", TRUST);
    set_aside(&mut seen, true);
    let (_, world) = carried_out(&topology, &seen);
    let away = |world: &Observation| {
        let mut away = world.clone();
        let member = &topology.members[2];
        away.hosts
            .insert(member.host.clone(), Observed::unknown("no route"));
        away.members
            .insert(member.name.clone(), Observed::unknown("no route"));
        away
    };
    let keys = |topology: &Topology, seen: &Observation| -> Vec<String> {
        let forecast = planner(topology).next_leg(seen).unwrap().forecast(seen);
        forecast
            .stages
            .iter()
            .map(|stage| stage.key.to_string())
            .collect()
    };
    assert_eq!(keys(&topology, &away(&world)), [""; 0]);
    // Nor does the old CA go from those that are there.
    let mut dropped = away(&world);
    dropped.trusted.clear();
    assert_eq!(keys(&worlds::topology(3, ""), &dropped), [""; 0]);
    // At the start nothing is reissued before it was seen.
    let begun = keys(&topology, &away(&seen));
    assert!(begun.iter().all(|key| key.ends_with("@trust")), "{begun:?}");
}

/// One member's certificate has ended, and the old CA's key is lost: one of the new CA would be
/// refused by the others.
#[test]
fn one_that_is_cut_off_waits_for_the_old_key() {
    let (topology, mut seen) = of_old("", TRUST);
    set_aside(&mut seen, false);
    let member = &topology.members[2];
    for facts in host(&mut seen, member).certificates.values_mut() {
        if let Observed::Known(facts) = facts
            && !facts.is_ca
        {
            facts.not_after = seen_at();
        }
    }
    seen.members.insert(
        member.name.clone(),
        Observed::unknown("certificate has expired"),
    );
    assert_eq!(blockers(&topology, &seen), ["ca-without-key"]);
    set_key(&mut seen);
    let (keys, _) = carried_out(&topology, &seen);
    assert_eq!(keys[..2], ["ca@trust", "renew:m3@trust"]);
}

fn seen_at() -> jiff::Timestamp {
    jiff::Timestamp::UNIX_EPOCH
}

fn set_key(seen: &mut Observation) {
    let old = seen.trusted[0].facts().unwrap().clone();
    seen.trusted = vec![CaView::Usable(old)];
}

/// Expired certificates are accepted by no member: all members are started with the new CA's.
#[test]
fn a_cluster_whose_certificates_have_expired_gets_those_of_the_new_ca() {
    for key in [true, false] {
        let (topology, mut seen) = of_old("", TRUST);
        set_aside(&mut seen, key);
        seen.at += jiff::SignedDuration::from_hours(24 * 400);
        for index in 0..3 {
            let member = &topology.members[index];
            let silent = Observed::unknown("certificate has expired");
            seen.members.insert(member.name.clone(), silent);
        }
        let (keys, world) = carried_out(&topology, &seen);
        let renewed = [
            "ca@trust",
            "renew:m1@trust",
            "renew:m2@trust",
            "renew:m3@trust",
        ];
        if key {
            assert_eq!(keys[..4], renewed, "{keys:?}");
        } else {
            // Nothing that members accept can be made: they restart together.
            assert_eq!(keys, ["ca@keyless", "start@keyless"]);
        }
        let certificates = world
            .hosts
            .values()
            .flat_map(|host| &host.known().unwrap().certificates);
        let mut leaves = certificates
            .filter_map(|(_, facts)| facts.known())
            .filter(|facts| !facts.is_ca);
        assert!(leaves.all(|facts| facts.issuer_key_id == "not made yet"));
    }
}

#[test]
fn cas_that_cannot_be_told_apart_or_trusted_are_refused() {
    let (topology, seen) = of_old("", TRUST);
    let CaView::Usable(old) = seen.ca.clone() else {
        panic!("no CA")
    };
    // The line was added, and the files were not moved aside.
    let mut twice = seen.clone();
    twice.trusted = vec![CaView::Usable(old.clone())];
    assert_eq!(blockers(&topology, &twice), ["ca-mismatch"]);
    // Another than the one that members trust.
    let mut other = seen.clone();
    set_aside(&mut other, true);
    other.trusted = vec![CaView::Usable(CertFacts {
        public_key: "x".into(),
        key_id: "x".into(),
        fingerprint: "x".into(),
        ..old.clone()
    })];
    assert_eq!(blockers(&topology, &other), ["ca-mismatch"; 3]);
    // Two of one name, and no key IDs.
    let mut alike = seen.clone();
    alike.trusted = vec![CaView::Usable(CertFacts {
        public_key: "x".into(),
        key_id: String::new(),
        fingerprint: "x".into(),
        ..old
    })];
    assert_eq!(blockers(&topology, &alike), ["ca-mismatch"]);
    let mut broken = seen;
    set_aside(&mut broken, true);
    broken.trusted = vec![CaView::Broken("old-ca.crt: no such file".into())];
    assert!(blockers(&topology, &broken).contains(&"ca-unusable".to_owned()));
    let at = KeyPath::root("certificates").key("trust").index(0);
    assert_eq!(at.to_string(), "certificates.trust[0]");
}

/// A client that would be locked out is named before the last roll.
#[test]
fn clients_of_the_old_ca_are_named_before_it_goes() {
    let (topology, mut seen) = of_old("", TRUST);
    set_aside(&mut seen, true);
    let (_, mut world) = carried_out(&topology, &seen);
    let member = &topology.members[0];
    let path = member.layout.certificates.join("server.crt").unwrap();
    let mut alice = world.hosts[&member.host].known().unwrap().certificates[&path]
        .known()
        .unwrap()
        .clone();
    rename(&mut alice);
    alice.name = "alice".into();
    world.clients.insert("alice".into(), Observed::Known(alice));
    assert!(!warnings(&topology, &world).contains(&"client-locked-out".to_owned()));
    world.trusted.clear();
    let without = worlds::topology(3, "");
    assert!(warnings(&without, &world).contains(&"client-locked-out".to_owned()));
}

/// A member that is down starts with what all trust, and is rolled like the others.
#[test]
fn a_member_that_is_down_comes_up_with_both() {
    let (topology, mut seen) = of_old("", TRUST);
    set_aside(&mut seen, true);
    let running = planner(&topology);
    halt(&running, &mut seen, 2);
    let (keys, _) = carried_out(&topology, &seen);
    assert_eq!(
        keys,
        [
            "ca@trust",
            "install@trust",
            "start@trust",
            "roll:m2@trust",
            "move-leader@trust",
            "roll:m1@trust",
            "renew:m1",
            "renew:m2",
            "renew:m3"
        ]
    );
}
