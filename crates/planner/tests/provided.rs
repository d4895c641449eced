//! Worlds of certificates that others made, and of CA files that hold more than one CA. Most were
//! found by an attacker.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests say what they expect"
)]

mod scripted;
mod worlds;

use etcdup_core::certificate::CertFacts;
use etcdup_core::observation::{CaView, FileKind, FileView, Observation, SourceFacts};
use etcdup_core::observed::Observed;
use etcdup_core::path::{HostPath, Mode};
use etcdup_core::stage::Next;
use etcdup_planner::{Ending, Planner};
use jiff::{SignedDuration, Timestamp};
use scripted::{blocked, carry_out, halt, host, ids, stage};

const PAIR: &str = "server = { cert = \"{member}.crt\", key = \"{member}.key\" }";
const OPERATOR: &str = "operator = { cert = \"me.crt\", key = \"me.key\" }";

fn head() -> String {
    format!("certificates.provided = {{ ca = \"ca.crt\", {PAIR}, {OPERATOR} }}")
}

/// With files of their own for peers.
fn split() -> String {
    let peer = "peer = { cert = \"{member}-peer.crt\", key = \"{member}-peer.key\" }";
    format!("certificates.provided = {{ ca = \"ca.crt\", {PAIR}, {peer}, {OPERATOR} }}")
}

fn day(days: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * days)
}

fn facts(name: &str, issuer: &str) -> CertFacts {
    keyed(name, issuer, name, issuer)
}

fn keyed(name: &str, issuer: &str, key: &str, issuer_key: &str) -> CertFacts {
    CertFacts {
        name: name.into(),
        issuer: issuer.into(),
        sans: (1..=3)
            .map(|n| format!("10.0.0.{n}").parse().unwrap())
            .collect(),
        other_sans: Vec::new(),
        server_auth: true,
        client_auth: true,
        is_ca: name == issuer,
        not_before: day(0),
        not_after: day(365),
        fingerprint: format!("{name} {key} of {issuer} {issuer_key}"),
        key_id: key.into(),
        issuer_key_id: issuer_key.into(),
        public_key: key.into(),
        algorithm: None,
        der: None,
        further: Vec::new(),
    }
}

/// One file of several certificates.
fn file(mut all: Vec<CertFacts>) -> CertFacts {
    let further = all.split_off(1);
    let mut first = all.remove(0);
    first.further = further.iter().map(CertFacts::identity).collect();
    first
}

fn put(seen: &mut Observation, path: &str, sum: &str, certificate: Option<CertFacts>, key: &str) {
    let source = SourceFacts {
        size: 1,
        sha256: sum.into(),
        certificate,
        damage: None,
        public_key: Some(key.into()),
        version: None,
        wanted: None,
    };
    seen.sources.insert(path.into(), Observed::Known(source));
}

/// Files beside the topology; `word` tells one set of them from the next.
fn provide(
    seen: &mut Observation,
    word: &str,
    ca: CertFacts,
    me: CertFacts,
    leaf: impl Fn(&str) -> CertFacts,
) {
    seen.ca = CaView::Unneeded;
    // The same certificates are the same file.
    let sum = |facts: &CertFacts| format!("{} {:?}", facts.fingerprint, facts.further);
    put(seen, "ca.crt", &sum(&ca), Some(ca), "");
    put(seen, "me.crt", &sum(&me), Some(me), "me");
    put(seen, "me.key", "me key", None, "me");
    pairs(seen, word, "", leaf);
}

fn pairs(seen: &mut Observation, word: &str, suffix: &str, leaf: impl Fn(&str) -> CertFacts) {
    for member in ["m1", "m2", "m3"] {
        let key = format!("{word} {member}{suffix}");
        put(
            seen,
            &format!("{member}{suffix}.crt"),
            &key,
            Some(leaf(member)),
            &key,
        );
        put(
            seen,
            &format!("{member}{suffix}.key"),
            &format!("{key} key"),
            None,
            &key,
        );
    }
}

fn running(
    head: &str,
    ca: CertFacts,
    me: CertFacts,
    leaf: impl Fn(&str) -> CertFacts,
) -> (Planner, Observation) {
    let planner = worlds::planner(worlds::topology(3, head));
    let mut seen = worlds::bare(&planner);
    provide(&mut seen, "first", ca, me, &leaf);
    pairs(&mut seen, "first", "-peer", &leaf);
    let seen = carry_out(&planner, seen);
    (planner, seen)
}

fn me() -> CertFacts {
    facts("me", "old")
}

fn old() -> (Planner, Observation) {
    running(&head(), facts("old", "old"), me(), |m| facts(m, "old"))
}

fn both() -> CertFacts {
    file(vec![facts("old", "old"), facts("new", "new")])
}

fn keys(planner: &Planner, seen: &Observation) -> Vec<String> {
    let forecast = planner.forecast(seen);
    assert_eq!(forecast.ending, Ending::Done);
    let stages = forecast.stages.iter();
    let keys = stages.map(|stage| stage.key.to_string());
    keys.filter(|key| key != "move-leader").collect()
}

fn is_blocked(planner: &Planner, seen: &Observation, by: &str) {
    let found = blocked(planner, seen);
    assert!(ids(&found).contains(&by), "{by} is not in {found:?}");
}

/// B1 (2): a CA file that holds a further CA is rolled out, and then certificates of that CA may
/// come; not both at once, since members that have not restarted yet would refuse them.
#[test]
fn a_further_ca_is_rolled_out_before_anything_that_it_issued() {
    let reversed = || file(vec![facts("new", "new"), facts("old", "old")]);
    for ca in [both(), reversed()] {
        for stopped in [None, Some(2)] {
            let (planner, mut seen) = old();
            if let Some(index) = stopped {
                halt(&planner, &mut seen, index);
            }
            let mut at_once = seen.clone();
            provide(&mut at_once, "second", ca.clone(), me(), |m| {
                facts(m, "new")
            });
            is_blocked(&planner, &at_once, "issuer-untrusted");
            provide(&mut seen, "first", ca.clone(), me(), |m| facts(m, "old"));
            let first = keys(&planner, &seen);
            let rolls = first.iter().filter(|key| key.starts_with("roll:")).count();
            assert_eq!(rolls, 3 - usize::from(stopped.is_some()), "{first:?}");
            seen = carry_out(&planner, seen);
            provide(&mut seen, "second", ca.clone(), me(), |m| facts(m, "new"));
            assert_eq!(keys(&planner, &seen), ["renew:m1", "renew:m2", "renew:m3"]);
        }
    }
}

/// A CA file that is there and was not read yet trusts nothing.
#[test]
fn a_ca_file_that_only_some_have_read_is_not_trusted_by_all() {
    let (planner, mut seen) = old();
    provide(&mut seen, "first", both(), me(), |m| facts(m, "old"));
    for _ in 0..2 {
        let next = stage(&planner, &seen);
        seen = planner.predict(&seen, &next);
    }
    provide(&mut seen, "second", both(), me(), |m| facts(m, "new"));
    is_blocked(&planner, &seen, "issuer-untrusted");
}

/// Clients' certificates are known to nobody here, so what verifies them is never dropped.
#[test]
fn a_ca_that_is_trusted_is_not_dropped_and_none_is_used_unannounced() {
    for (ca, issuer) in [
        (facts("new", "new"), "new"),
        (facts("new", "new"), "old"),
        (facts("old", "old"), "new"),
    ] {
        let (planner, mut seen) = old();
        provide(&mut seen, "second", ca, me(), |m| facts(m, issuer));
        is_blocked(&planner, &seen, "ca-mismatch");
    }
    // One whose own certificate has ended verifies nothing any more.
    let (planner, mut seen) = old();
    let ended = CertFacts {
        not_after: day(10),
        ..facts("old", "old")
    };
    provide(
        &mut seen,
        "first",
        file(vec![ended, facts("new", "new")]),
        me(),
        |m| facts(m, "old"),
    );
    seen = carry_out(&planner, seen);
    provide(
        &mut seen,
        "second",
        facts("new", "new"),
        facts("me", "new"),
        |m| facts(m, "new"),
    );
    is_blocked(&planner, &seen, "ca-mismatch");
    seen.at = day(20);
    assert_eq!(keys(&planner, &seen).len(), 6, "rolls and renewals");
}

/// Members never verify what others show to clients: it may be of a public CA.
#[test]
fn a_server_certificate_of_a_public_ca_is_not_the_members_business() {
    let own = split().replace("operator = {", "operator = { ca = \"public.crt\",");
    let head = format!("security.client = \"tls\"\n{own}");
    let planner = worlds::planner(worlds::topology(3, &head));
    let mut seen = worlds::bare(&planner);
    let public = |m: &str| file(vec![facts(m, "R3"), facts("R3", "ISRG")]);
    provide(&mut seen, "", facts("old", "old"), me(), public);
    pairs(&mut seen, "", "-peer", |m| facts(m, "old"));
    carry_out(&planner, seen);
}

/// What a chain leads to counts, not who issued the first of it.
#[test]
fn an_intermediate_that_a_new_root_signed_waits_for_the_root() {
    let chain = |m: &str, root: &str| file(vec![facts(m, "middle"), facts("middle", root)]);
    let (planner, mut seen) = running(&head(), facts("old", "old"), me(), |m| chain(m, "old"));
    let mut direct = seen.clone();
    provide(&mut seen, "second", both(), me(), |m| chain(m, "new"));
    is_blocked(&planner, &seen, "issuer-untrusted");
    // Nor is the chain left out before members have the intermediate in their CA file.
    let ca = file(vec![facts("old", "old"), facts("middle", "old")]);
    provide(&mut direct, "second", ca, me(), |m| facts(m, "middle"));
    is_blocked(&planner, &direct, "issuer-untrusted");
}

/// Both CAs are called `ca`, and certificates do not say whose key signed them.
#[test]
fn certificates_without_an_issuers_key_id_wait_for_every_ca_of_that_name() {
    let me = || keyed("me", "ca", "me", "");
    let a = || keyed("ca", "ca", "A", "A");
    let (planner, mut seen) = running(&head(), a(), me(), |m| keyed(m, "ca", m, ""));
    let ca = file(vec![a(), keyed("ca", "ca", "B", "B")]);
    provide(&mut seen, "second", ca, me(), |m| keyed(m, "ca", m, ""));
    is_blocked(&planner, &seen, "issuer-untrusted");
}

/// Without any key IDs the keys themselves tell one CA from another of its name.
#[test]
fn a_ca_without_key_ids_is_not_replaced_by_one_of_its_name() {
    let me = || keyed("me", "ca", "", "");
    let ca = |key: &str| CertFacts {
        public_key: key.into(),
        fingerprint: key.into(),
        ..keyed("ca", "ca", "", "")
    };
    let (planner, mut seen) = running(&head(), ca("A"), me(), |m| keyed(m, "ca", "", ""));
    provide(&mut seen, "second", ca("B"), me(), |m| {
        keyed(m, "ca", "", "")
    });
    is_blocked(&planner, &seen, "ca-mismatch");
}

/// m3 lost the directory of its certificates: it is not started with what the others refuse.
#[test]
fn a_member_without_certificates_does_not_start_with_what_others_refuse() {
    let (planner, mut seen) = old();
    provide(&mut seen, "second", both(), me(), |m| facts(m, "new"));
    halt(&planner, &mut seen, 2);
    let member = planner.topology().members[2].clone();
    let directory = member.layout.certificates.clone();
    let view = host(&mut seen, &member);
    view.files.retain(|path, _| !path.is_within(&directory));
    view.certificates.clear();
    is_blocked(&planner, &seen, "issuer-untrusted");
    // With what is in use it is started again.
    provide(&mut seen, "first", both(), me(), |m| facts(m, "old"));
    let next = stage(&planner, &seen);
    assert_eq!(next.key.to_string(), "install");
}

/// Certificates that move take nobody's trust with them, as long as it is the same ones.
#[test]
fn a_new_place_and_a_new_ca_do_not_come_in_one_restart() {
    let moved = format!("layout.certificates = \"/etc/etcd/tls\"\n{}", head());
    let name = "certificates.files.server = { cert = \"node.crt\", key = \"node.key\" }";
    let renamed = format!("{name}\n{}", head());
    for changed in [moved, renamed] {
        let (_, mut seen) = old();
        let planner = worlds::planner(worlds::topology(3, &changed));
        // etcdup wrote the files, and remembers what they were.
        for member in planner.topology().members.clone() {
            let view = host(&mut seen, &member);
            let written: Vec<_> = view
                .files
                .iter()
                .filter_map(|(path, file)| Some((path.clone(), file.sha256.clone()?)))
                .collect();
            let record = view.record_mut().unwrap();
            for (path, sha256) in written {
                let recorded = etcdup_core::observation::RecordedFile { sha256 };
                record.files.insert(path, recorded);
            }
        }
        provide(&mut seen, "first", facts("old", "old"), me(), |m| {
            facts(m, "old")
        });
        assert!(matches!(planner.next(&seen), Next::Stage(_)), "{changed}");
        provide(&mut seen, "second", both(), me(), |m| facts(m, "new"));
        is_blocked(&planner, &seen, "issuer-untrusted");
    }
}

/// All certificates have ended and nobody answers: there is nothing left to protect.
#[test]
fn certificates_that_have_ended_do_not_wait() {
    let lasting = |name: &str, issuer: &str| CertFacts {
        not_after: day(9999),
        ..facts(name, issuer)
    };
    let (planner, mut seen) = running(&head(), lasting("old", "old"), lasting("me", "old"), |m| {
        facts(m, "old")
    });
    seen.at = day(366);
    let ca = file(vec![lasting("old", "old"), lasting("new", "new")]);
    provide(&mut seen, "second", ca, lasting("me", "old"), |m| {
        lasting(m, "new")
    });
    for member in &planner.topology().members {
        let ended = Observed::unknown("certificate has expired");
        seen.members.insert(member.name.clone(), ended);
    }
    assert_eq!(stage(&planner, &seen).key.to_string(), "renew:m1");
}

/// Go compares names first: a certificate of `CA 2026` is refused by who knows its key as that of
/// `CA 2024`.
#[test]
fn a_ca_of_the_same_key_and_another_name_is_another_issuer() {
    let me = || keyed("me", "CA 2024", "me", "K");
    let ca = |name: &str| keyed(name, name, "K", "K");
    let (planner, seen) = running(&head(), ca("CA 2024"), me(), |m| {
        keyed(m, "CA 2024", m, "K")
    });
    let leaf = |m: &str| keyed(m, "CA 2026", m, "K");
    let mut together = seen.clone();
    provide(
        &mut together,
        "second",
        file(vec![ca("CA 2024"), ca("CA 2026")]),
        me(),
        leaf,
    );
    is_blocked(&planner, &together, "issuer-untrusted");
    let mut alone = seen;
    provide(&mut alone, "second", ca("CA 2026"), me(), leaf);
    is_blocked(&planner, &alone, "ca-mismatch");
}

/// A certificate of elsewhere was left on a host that never ran: writing the right one is the way
/// out of it.
#[test]
fn what_is_wrong_on_a_bare_host_does_not_keep_the_right_one_away() {
    let planner = worlds::planner(worlds::topology(3, &head()));
    let mut seen = worlds::bare(&planner);
    provide(&mut seen, "first", facts("old", "old"), me(), |m| {
        facts(m, "old")
    });
    let member = planner.topology().members[0].clone();
    let crt = member.layout.certificates.join("server.crt").unwrap();
    let bare = host(&mut seen, &member);
    bare.files.insert(crt.clone(), lying("left", Some(0)));
    bare.certificates
        .insert(crt, Observed::Known(facts("left", "elsewhere")));
    carry_out(&planner, seen);
}

fn lying(sum: &str, modified: Option<i64>) -> FileView {
    FileView {
        kind: FileKind::File,
        mode: Mode::PUBLIC,
        owner: None,
        size: 0,
        sha256: Some(sum.to_owned()),
        text: None,
        modified,
    }
}

/// A bundle may still hold a CA that has ended; a file that etcd cannot read as a whole is refused
/// before it is rolled out.
#[test]
fn a_ca_file_is_judged_as_a_whole() {
    let (planner, mut seen) = old();
    let ended = CertFacts {
        not_after: day(10),
        ..facts("old", "old")
    };
    seen.at = day(20);
    provide(
        &mut seen,
        "second",
        file(vec![ended.clone(), facts("old", "old")]),
        me(),
        |m| facts(m, "old"),
    );
    assert!(matches!(planner.next(&seen), Next::Stage(_)));
    provide(&mut seen, "second", ended, me(), |m| facts(m, "old"));
    is_blocked(&planner, &seen, "ca-unusable");
    provide(&mut seen, "first", both(), me(), |m| facts(m, "old"));
    let source = seen.sources.get_mut("ca.crt").and_then(Observed::known_mut);
    source.unwrap().damage = Some("block 2 is not a certificate: it is PRIVATE KEY".into());
    is_blocked(&planner, &seen, "source-unreadable");
}

/// Running members too show what comes: ended, or not meant for clients, the others would refuse
/// it.
#[test]
fn a_certificate_that_is_useless_does_not_come_to_a_running_member() {
    let (planner, seen) = old();
    for useless in [
        CertFacts {
            client_auth: false,
            ..facts("", "old")
        },
        CertFacts {
            not_after: day(10),
            ..facts("", "old")
        },
    ] {
        let mut seen = seen.clone();
        seen.at = day(20);
        provide(&mut seen, "second", facts("old", "old"), me(), |m| {
            CertFacts {
                name: m.into(),
                ..useless.clone()
            }
        });
        is_blocked(&planner, &seen, "cert-refused");
    }
}

/// The certificate that etcdup itself shows is looked at before anything is tried with it.
#[test]
fn a_client_certificate_that_members_would_refuse_is_told_before_anything_is_tried() {
    let (planner, seen) = old();
    for wrong in [
        facts("me", "new"),
        CertFacts {
            client_auth: false,
            ..me()
        },
        CertFacts {
            not_after: day(10),
            ..me()
        },
    ] {
        let mut seen = seen.clone();
        seen.at = day(20);
        provide(&mut seen, "first", both(), wrong, |m| facts(m, "old"));
        is_blocked(&planner, &seen, "client-untrusted");
    }
}

fn on_hosts(ca: &str) -> String {
    format!(
        "certificates.provided = {{ from = \"host\", ca = \"{ca}\", \
         server = {{ cert = \"/srv/{{member}}.crt\", key = \"/srv/{{member}}.key\" }}, \
         operator = {{ ca = \"ca.crt\", cert = \"me.crt\", key = \"me.key\" }} }}"
    )
}

/// Puts files on all hosts: the CA file at this place, and pairs of this issuer.
fn lay(
    (planner, seen): (&Planner, &mut Observation),
    (ca, facts_of_ca): (&str, &Observed<CertFacts>),
    (word, issuer): (&str, &str),
    modified: Option<i64>,
) {
    for member in planner.topology().members.clone() {
        let name = member.name.to_string();
        let view = host(seen, &member);
        let mut put = |path: String, facts: Option<Observed<CertFacts>>| {
            let path: HostPath = path.parse().unwrap();
            let file = lying(&format!("{word} {path}"), modified);
            view.files.insert(path.clone(), file);
            view.certificates.extend(facts.map(|facts| (path, facts)));
        };
        put(ca.to_owned(), Some(facts_of_ca.clone()));
        let leaf = Observed::Known(facts(&name, issuer));
        put(format!("/srv/{name}.crt"), Some(leaf));
        put(format!("/srv/{name}.key"), None);
    }
}

fn with_hosts_files(ca: &str) -> (Planner, Observation) {
    let planner = worlds::planner(worlds::topology(3, &on_hosts(ca)));
    let mut seen = worlds::bare(&planner);
    provide(&mut seen, "", facts("old", "old"), me(), |m| {
        facts(m, "old")
    });
    let known = Observed::Known(facts("old", "old"));
    lay(
        (&planner, &mut seen),
        (ca, &known),
        ("first", "old"),
        Some(0),
    );
    let seen = carry_out(&planner, seen);
    (planner, seen)
}

/// What members trust cannot be told, so nothing new comes.
#[test]
fn a_ca_file_on_hosts_that_is_not_known_is_trusted_by_nobody() {
    let ca = "/etc/etcd/ca.crt";
    for (known, modified) in [
        // It holds none, or cannot be read.
        (Observed::unknown("cannot be read"), Some(0)),
        // Behind a link: nobody knows when it was written.
        (Observed::Known(both()), None),
    ] {
        let (planner, mut seen) = with_hosts_files(ca);
        lay(
            (&planner, &mut seen),
            (ca, &known),
            ("second", "new"),
            modified,
        );
        assert!(matches!(planner.next(&seen), Next::Blocked(_)), "{known:?}");
    }
    // One that holds no certificate is not rolled out either.
    let ca = "/srv/ca.crt";
    let (planner, mut seen) = with_hosts_files(ca);
    let none = Observed::unknown("it holds no PEM block CERTIFICATE");
    lay(
        (&planner, &mut seen),
        (ca, &none),
        ("second", "old"),
        Some(0),
    );
    is_blocked(&planner, &seen, "source-unreadable");
}

/// Hosts are five seconds ahead of this machine, and the CA file was put in its place just now.
#[test]
fn a_clock_that_is_behind_is_no_circle() {
    let ca = "/etc/etcd/ca.crt";
    let (planner, mut seen) = with_hosts_files(ca);
    let known = Observed::Known(both());
    lay(
        (&planner, &mut seen),
        (ca, &known),
        ("first", "old"),
        Some(5),
    );
    assert_eq!(planner.forecast(&seen).ending, Ending::Done);
}
