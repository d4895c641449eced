//! Worlds about certificates and the CA: what members trust is never taken from them.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests say what they expect"
)]

mod scripted;
mod worlds;

use etcdup_core::certificate::CertFacts;
use etcdup_core::observation::CaView;
use etcdup_core::observed::Observed;
use etcdup_core::stage::{Next, Work};
use scripted::{RUNTIMES, blocked, bootstrapped, halt, host, ids, stage};

/// B1, U1: a checkout without `pki/` must not replace what every member trusts.
#[test]
fn no_new_ca_is_made_for_hosts_that_have_one() {
    for head in RUNTIMES {
        let (planner, mut seen) = bootstrapped(head);
        seen.ca = CaView::Absent;
        assert_eq!(ids(&blocked(&planner, &seen)), ["ca-missing"], "{head}");
        // Whatever is left of the cluster is enough to know better.
        for index in 0..3 {
            halt(&planner, &mut seen, index);
            let member = &planner.topology().members[index];
            host(&mut seen, member).certificates.clear();
            host(&mut seen, member).files.clear();
        }
        assert!(
            ids(&blocked(&planner, &seen)).contains(&"ca-missing"),
            "{head}"
        );
    }
}

/// B1: another CA than the one the members trust is refused as a whole; nothing is written half.
#[test]
fn another_ca_is_never_written_over_a_running_cluster() {
    let (planner, mut seen) = bootstrapped("");
    let CaView::Usable(facts) = seen.ca.clone() else {
        panic!("no CA")
    };
    seen.ca = CaView::Usable(CertFacts {
        fingerprint: "other".into(),
        key_id: "other".into(),
        public_key: "other".into(),
        ..facts.clone()
    });
    assert_eq!(ids(&blocked(&planner, &seen)), ["ca-mismatch"; 3]);
    // A renewed certificate of the same CA verifies all that the old one did.
    seen.ca = CaView::Usable(CertFacts {
        fingerprint: "renewed".into(),
        ..facts
    });
    assert!(matches!(planner.next(&seen), Next::Stage(_)));
}

/// B1 (3): certificates of running members are replaced one member at a time, each proven before
/// the next.
#[test]
fn certificates_are_renewed_one_member_at_a_time() {
    let (planner, mut seen) = bootstrapped("");
    seen.at += jiff::SignedDuration::from_hours(24 * 300);
    let forecast = planner.forecast(&seen);
    let keys: Vec<_> = forecast
        .stages
        .iter()
        .map(|stage| stage.key.to_string())
        .collect();
    assert_eq!(keys, ["renew:m1", "renew:m2", "renew:m3"]);
    for stage in &forecast.stages {
        assert_eq!(
            stage.postconditions.len(),
            3,
            "{} proves all members",
            stage.key
        );
    }
    // One that does not answer may be renewed while the others are a quorum; where two do not
    // answer, only the one that does.
    for name in ["m1", "m2"] {
        let name = name.parse().unwrap();
        seen.members
            .insert(name, Observed::unknown("no answer within 5 s"));
    }
    assert_eq!(stage(&planner, &seen).key.to_string(), "renew:m3");
}

/// S3: a laptop whose clock is hours off renews nothing.
#[test]
fn nothing_is_issued_by_a_clock_that_the_hosts_do_not_share() {
    let (planner, mut seen) = bootstrapped("");
    seen.at += jiff::SignedDuration::from_hours(24 * 300);
    for member in planner.topology().members.clone() {
        host(&mut seen, &member).facts.clock_ahead_ms = -300 * 24 * 3_600_000;
    }
    assert_eq!(ids(&blocked(&planner, &seen)), ["clock-operator"]);
}

/// S5: a valid certificate that is not the one that was issued belongs to another key.
#[test]
fn a_certificate_that_is_not_the_issued_one_is_replaced_with_its_key() {
    let (planner, mut seen) = bootstrapped("");
    let member = planner.topology().members[0].clone();
    let path = member.layout.certificates.join("server.crt").unwrap();
    let host = host(&mut seen, &member);
    let recorded = etcdup_core::observation::RecordedFile {
        sha256: "issued".into(),
    };
    host.record_mut()
        .unwrap()
        .files
        .insert(path.clone(), recorded);
    host.files.get_mut(&path).unwrap().sha256 = Some("other".into());
    let next = stage(&planner, &seen);
    assert_eq!(next.key.to_string(), "renew:m1");
    let Work::Hosts(tasks) = next.work else {
        panic!()
    };
    assert_eq!(tasks[&member.host].len(), 2, "both parts of the pair");
}

/// F5: etcd reads CA files only when it starts, so one that is newer than the process is not
/// applied.
#[test]
fn a_ca_file_newer_than_the_process_is_not_applied() {
    let (planner, mut seen) = bootstrapped("");
    let member = planner.topology().members[1].clone();
    let path = member.layout.certificates.join("ca.crt").unwrap();
    let host = host(&mut seen, &member);
    let file = host.files.get_mut(&path).unwrap();
    file.modified = file.modified.map(|modified| modified + 60);
    assert_eq!(stage(&planner, &seen).key.to_string(), "roll:m2");
}
