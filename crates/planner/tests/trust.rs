//! Worlds about certificates and the CA: what members trust is never taken from them.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests say what they expect"
)]

mod scripted;
mod worlds;

use std::collections::BTreeSet;

use etcdup_core::certificate::CertFacts;
use etcdup_core::observation::{AuthorityView, Observation, SourceFacts};
use etcdup_core::observed::Observed;
use etcdup_core::stage::{HostStep, Next, Work};
use etcdup_planner::Planner;
use jiff::{SignedDuration, Timestamp};
use scripted::{RUNTIMES, blocked, bootstrapped, carry_out, halt, host, ids, stage};

/// B1, U1: a checkout without `pki/` must not replace what every member trusts.
#[test]
fn no_new_ca_is_made_for_hosts_that_have_one() {
    for head in RUNTIMES {
        let (planner, mut seen) = bootstrapped(head);
        seen.authority = AuthorityView::Absent;
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
    let AuthorityView::Usable(facts) = seen.authority.clone() else {
        panic!("no CA")
    };
    seen.authority = AuthorityView::Usable(CertFacts {
        fingerprint: "other".into(),
        key_id: "other".into(),
        ..facts.clone()
    });
    assert_eq!(ids(&blocked(&planner, &seen)), ["ca-mismatch"; 3]);
    // A renewed certificate of the same CA verifies all that the old one did.
    seen.authority = AuthorityView::Usable(CertFacts {
        fingerprint: "renewed".into(),
        ..facts
    });
    assert!(matches!(planner.next(&seen), Next::Stage(_)));
}

/// B1 (3): certificates of running members are replaced one member at a time, each proven before the next.
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
    // One that does not answer may be renewed while the others are a quorum; where two do not answer, only the one that does.
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

/// F5: etcd reads CA files only when it starts, so one that is newer than the process is not applied.
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

/// F8: a file that turns TLS on, off, or mutual over a running cluster is refused before anything is written.
#[test]
fn the_transport_security_of_a_running_cluster_is_not_changed() {
    let plain = "security = { client = \"plain\", peer = \"plain\", allow-plain = true }";
    for (from, to) in [
        (plain, ""),
        ("", plain),
        ("security = { client = \"tls\" }", ""),
    ] {
        let (_, mut seen) = bootstrapped(from);
        let other = worlds::planner(worlds::topology(3, to));
        for member in other.topology().members.clone() {
            seen.members
                .insert(member.name, Observed::unknown("access follows the file"));
        }
        let found = blocked(&other, &seen);
        assert!(
            ids(&found).contains(&"security-change"),
            "{from} to {to}: {found:?}"
        );
    }
}

fn facts(name: &str, issuer: &str) -> CertFacts {
    let at = Timestamp::UNIX_EPOCH;
    CertFacts {
        name: name.into(),
        issuer: issuer.into(),
        sans: (1..=3)
            .map(|n| format!("10.0.0.{n}").parse().unwrap())
            .collect(),
        other_sans: Vec::new(),
        server: true,
        client: true,
        authority: name == issuer,
        not_before: at,
        not_after: at + SignedDuration::from_hours(24 * 365),
        fingerprint: format!("{name} of {issuer}"),
        key_id: name.into(),
        issuer_key_id: issuer.into(),
        further: Vec::new(),
    }
}

/// What lies beside the topology file: a CA file of these CAs, and members' certificates of this issuer.
fn provide(seen: &mut Observation, cas: &[&str], issuer: &str) {
    seen.authority = AuthorityView::Unneeded;
    let mut all = cas.iter().map(|ca| facts(ca, ca));
    let mut bundle = all.next().unwrap();
    bundle.further = all.map(|ca| ca.identity()).collect();
    let mut put = |path: String, sum: String, certificate: Option<CertFacts>, key: Option<&str>| {
        let source = SourceFacts {
            size: 1,
            sha256: sum,
            certificate,
            public_key: key.map(str::to_owned),
            version: None,
        };
        seen.sources.insert(path, Observed::Known(source));
    };
    put("ca.crt".into(), cas.join(" "), Some(bundle), None);
    let me = facts("me", "old");
    put("me.crt".into(), "me".into(), Some(me), Some("me"));
    put("me.key".into(), "me key".into(), None, Some("me"));
    for member in ["m1", "m2", "m3"] {
        let key = format!("{member} {issuer}");
        let leaf = facts(member, issuer);
        put(format!("{member}.crt"), key.clone(), Some(leaf), Some(&key));
        put(
            format!("{member}.key"),
            format!("{key} key"),
            None,
            Some(&key),
        );
    }
}

const PROVIDED: &str = "certificates.provided = { ca = \"ca.crt\", server = { cert = \"{member}.crt\", key = \"{member}.key\" }, \
                        operator = { cert = \"me.crt\", key = \"me.key\" } }";

fn with_provided() -> (Planner, Observation) {
    let planner = worlds::planner(worlds::topology(3, PROVIDED));
    let mut seen = worlds::bare(&planner);
    provide(&mut seen, &["old"], "old");
    let seen = carry_out(&planner, seen);
    (planner, seen)
}

/// The members that would refuse what another one shows: certificates as they lie on the hosts, CA files as the running
/// processes read them.
fn refused(planner: &Planner, seen: &Observation, trust: &[Vec<String>; 3]) -> BTreeSet<String> {
    let mut refused = BTreeSet::new();
    for member in &planner.topology().members {
        let host = seen.host(&member.host).unwrap();
        // Without files of its own for peers a member shows the same certificate to them.
        let path = member.layout.certificates.join("server.crt").unwrap();
        let Some(Observed::Known(shown)) = host.certificates.get(&path) else {
            panic!("{path} is not there");
        };
        if !trust.iter().all(|cas| cas.contains(&shown.issuer)) {
            refused.insert(member.name.to_string());
        }
    }
    refused
}

/// B1 (2): a CA file that holds a further CA reaches every member before any certificate which that CA issued, whether members
/// run, restart or are down meanwhile, and whichever of the two comes first in the file.
#[test]
fn a_further_ca_is_trusted_by_all_before_anything_it_issued_is_shown() {
    for (cas, stopped) in [
        (["old", "new"], None),
        (["new", "old"], None),
        (["old", "new"], Some(2)),
    ] {
        let (planner, mut seen) = with_provided();
        provide(&mut seen, &cas, "new");
        if let Some(index) = stopped {
            halt(&planner, &mut seen, index);
        }
        let mut trust = [const { Vec::new() }; 3].map(|_: Vec<String>| vec!["old".to_owned()]);
        let mut keys = Vec::new();
        loop {
            let stage = match planner.next(&seen) {
                Next::Stage(stage) => stage,
                Next::Done => break,
                Next::Blocked(found) => panic!("{cas:?} {stopped:?}: {found:?}"),
            };
            seen = planner.predict(&seen, &stage);
            if let Work::Hosts(tasks) = &stage.work {
                for (index, member) in planner.topology().members.iter().enumerate() {
                    let mut steps = tasks.get(&member.host).into_iter().flatten();
                    if steps.any(|step| matches!(step, HostStep::Restart(_))) {
                        trust[index] = cas.map(str::to_owned).to_vec();
                    }
                }
            }
            let refused = refused(&planner, &seen, &trust);
            assert!(
                refused.is_empty(),
                "{cas:?}: {refused:?} after {}",
                stage.key
            );
            keys.push(stage.key.to_string());
        }
        let of = |word: &str| keys.iter().filter(|key| key.starts_with(word)).count();
        let rolled = 3 - usize::from(stopped.is_some());
        assert_eq!((of("roll:"), of("renew:")), (rolled, 3), "{keys:?}");
    }
}

/// Clients' certificates are known to nobody here, so what verifies them is never dropped; nor does a certificate come to a
/// member from a CA that the file does not hold.
#[test]
fn a_ca_that_is_trusted_is_not_dropped_and_none_is_used_unannounced() {
    for (cas, issuer) in [(&["new"][..], "new"), (&["new"], "old"), (&["old"], "new")] {
        let (planner, mut seen) = with_provided();
        provide(&mut seen, cas, issuer);
        let found = blocked(&planner, &seen);
        let found: BTreeSet<_> = ids(&found).into_iter().collect();
        assert_eq!(found, BTreeSet::from(["ca-mismatch"]), "{cas:?} {issuer}");
    }
    // One whose own certificate has ended verifies nothing any more.
    let (planner, mut seen) = with_provided();
    provide(&mut seen, &["old", "new"], "new");
    seen = carry_out(&planner, seen);
    provide(&mut seen, &["new"], "new");
    assert_eq!(ids(&blocked(&planner, &seen)), ["ca-mismatch"; 3]);
    let ended = seen.at;
    for member in &planner.topology().members {
        let ca = member.layout.certificates.join("ca.crt").unwrap();
        let host = host(&mut seen, member);
        let file = host.certificates.get_mut(&ca).and_then(Observed::known_mut);
        file.unwrap().not_after = ended;
    }
    let next = stage(&planner, &seen);
    assert!(next.key.to_string().starts_with("roll:"), "{}", next.key);
}

/// Without a client certificate of its own etcdup shows the first member's, which no member would accept before the roll.
#[test]
fn a_client_certificate_that_no_member_trusts_yet_is_told_before_anything_is_tried() {
    let (planner, mut seen) = with_provided();
    provide(&mut seen, &["old", "new"], "new");
    let file = seen.sources.get_mut("me.crt").and_then(Observed::known_mut);
    file.unwrap().certificate = Some(facts("me", "new"));
    let found = blocked(&planner, &seen);
    assert_eq!(ids(&found), ["client-untrusted"]);
    assert!(
        found[0].evidence.contains("me.crt"),
        "{}",
        found[0].evidence
    );
}
