use super::*;
use crate::file::Document;
use crate::finding::Verdict;

fn findings(head: &str, members: &str) -> Vec<(String, Verdict, String)> {
    let version = if head.contains("etcd =") {
        ""
    } else {
        "etcd = \"3.5.33\"\n"
    };
    let text = format!("format = 1\ncluster = \"prod\"\n{version}{head}\n{members}");
    let document = Document::parse("etcdup.toml", &text, &[]).unwrap();
    lint(&document.spec)
        .into_iter()
        .map(|finding| {
            let at = finding
                .at
                .as_ref()
                .and_then(|at| document.find(at))
                .map(|span| text[span].to_owned());
            (
                finding.id.to_string(),
                finding.verdict,
                format!(
                    "{} [{}] {}",
                    finding.evidence,
                    at.unwrap_or_default(),
                    finding.advice
                ),
            )
        })
        .collect()
}

fn member(name: &str, host: &str, more: &str) -> String {
    format!("[[member]]\nname = \"{name}\"\nhost = \"{host}\"\n{more}\n")
}

fn three() -> String {
    (1..=3)
        .map(|n| member(&format!("m{n}"), &format!("10.0.1.1{n}"), ""))
        .collect()
}

fn ids(findings: &[(String, Verdict, String)]) -> Vec<String> {
    findings.iter().map(|finding| finding.0.clone()).collect()
}

#[test]
fn three_bare_hosts_are_fine() {
    assert_eq!(findings("", &three()), []);
}

#[test]
fn all_mistakes_are_named_at_once_each_with_its_place() {
    let members = format!(
        "{}{}{}",
        member("m1", "10.0.1.10", "flags = { quota-backend-byte = 5 }"),
        member("m1", "10.0.1.11", ""),
        member("m3", "10.0.1.12", "address = \"10.0.1.10\""),
    );
    let found = findings("[flags]\nname = \"x\"\nsnapshot-count = \"many\"", &members);
    assert_eq!(
        ids(&found),
        [
            "duplicate-name",
            "flag-owned",
            "flag-value",
            "unknown-flag",
            "duplicate-address",
        ]
    );
    assert!(
        found[3]
            .2
            .contains("[5] did you mean `quota-backend-bytes`?"),
        "{}",
        found[3].2
    );
    assert!(found[0].2.contains("[\"m1\"]"), "{}", found[0].2);
}

#[test]
fn counts_that_protect_no_better_are_warnings() {
    let found = findings(
        "",
        &(member("a", "10.0.0.1", "") + &member("b", "10.0.0.2", "")),
    );
    assert_eq!(found[0].1, Verdict::Warning);
    assert!(
        found[0]
            .2
            .starts_with("2 members survive the loss of 0, as 1 does"),
        "{}",
        found[0].2
    );
    let nine: String = (1..=9)
        .map(|n| member(&format!("m{n}"), &format!("10.0.0.{n}"), ""))
        .collect();
    assert_eq!(ids(&findings("", &nine)), ["many-voters"]);
}

#[test]
fn a_flag_that_went_away_says_what_it_became() {
    let head = |version: &str, flag: &str| format!("etcd = \"{version}\"\n[flags]\n{flag}");
    let gone = findings(
        &head("3.7.2", "experimental-initial-corrupt-check = true"),
        &three(),
    );
    assert!(
        gone[0].2.contains("feature-gates=InitialCorruptCheck=true"),
        "{}",
        gone[0].2
    );
    let early = findings(&head("3.4.45", "max-learners = 5"), &three());
    assert!(
        early
            .iter()
            .any(|finding| finding.2.contains("it is in 3.6, 3.7")),
        "{early:?}"
    );
}

#[test]
fn members_of_one_host_need_their_own_ports() {
    let shared = member("a", "10.0.0.1", "") + &member("b", "10.0.0.1", "peer-port = 2390");
    let found = findings("", &shared);
    assert!(ids(&found).contains(&"port-clash".to_owned()), "{found:?}");
    let apart = member("a", "10.0.0.1", "")
        + &member("b", "10.0.0.1", "peer-port = 2390\nclient-port = 2389");
    assert_eq!(ids(&findings("", &apart)), ["even-members"]);
}

#[test]
fn plain_http_on_the_network_must_be_allowed_explicitly() {
    let plain = "[security]\nclient = \"plain\"\n";
    assert_eq!(ids(&findings(plain, &three())), ["plain-exposed"]);
    assert_eq!(
        ids(&findings(&format!("{plain}allow-plain = true"), &three())),
        Vec::<&str>::new()
    );
    let local = "[[member]]\nname = \"a\"\nhost = \"local\"\n";
    assert_eq!(ids(&findings(plain, local)), Vec::<&str>::new());
}

#[test]
fn a_member_that_goes_counts_no_more_and_its_name_may_be_taken_over() {
    let gone = "[[member]]\nname = \"a\"\nhost = \"10.0.0.9\"\nabsent = \"gone\"\n";
    let found = findings("", &format!("{}{gone}", three()));
    assert_eq!(ids(&found), Vec::<&str>::new());
    assert_eq!(ids(&findings("", gone)), ["no-members"]);
}

#[test]
fn a_release_that_loses_data_is_refused_and_a_lagging_one_is_not() {
    let verdict = |version: &str| {
        findings(&format!("etcd = \"{version}\""), &three())
            .iter()
            .map(|finding| finding.1)
            .max()
    };
    assert_eq!(verdict("3.5.2"), Some(Verdict::Error));
    assert_eq!(verdict("3.5.30"), Some(Verdict::Warning));
    assert_eq!(verdict("3.8.0"), Some(Verdict::Error));
    assert_eq!(verdict("3.5.99"), Some(Verdict::Warning));
}

#[test]
fn tls_flags_belong_to_security() {
    let found = findings("[flags]\ncert-file = \"/x\"\nauto-tls = true", &three());
    assert_eq!(ids(&found), ["tls-contradiction", "tls-contradiction"]);
}

#[test]
fn what_would_break_a_host_or_leak_a_password_is_refused() {
    let layout = |path: &str| {
        ids(&findings(
            &format!("layout = {{ data = \"{path}\" }}"),
            &three(),
        ))
    };
    assert_eq!(layout("/srv"), ["system-path"; 3]);
    assert_eq!(layout("/etc/etcd/data"), ["system-path"; 3]);
    assert_eq!(layout("/data"), Vec::<&str>::new());
    // What holds the log is etcd's alone, as the data is.
    let log = |path: &str| {
        ids(&findings(
            &format!("layout = {{ wal = \"{path}\" }}"),
            &three(),
        ))
    };
    for path in ["/srv", "/var/lib/etcd/log", "/etc/etcd", "/fast/member"] {
        assert_eq!(log(path), ["system-path"; 3], "{path}");
    }
    assert_eq!(log("/fast/etcd"), Vec::<&str>::new());
    let shared = "[[member]]\nname = \"m1\"\nhost = \"10.0.0.1\"\nwal = \"/fast\"\n\
                  [[member]]\nname = \"m2\"\nhost = \"10.0.0.1\"\nwal = \"/fast/m2\"\n\
                  client-port = 2479\npeer-port = 2480\n";
    assert!(
        ids(&findings("", shared))
            .iter()
            .any(|id| id == "path-clash")
    );
    // Other programs keep their keys there, and rely on its owner.
    let certificates = |head: &str| ids(&findings(head, &three()));
    assert_eq!(
        certificates("layout = { certificates = \"/etc/ssl/private\" }"),
        ["system-path"; 3]
    );
    let mirror = |url: &str| {
        ids(&findings(
            &format!("binaries = {{ release = {{ mirror = \"{url}\" }} }}"),
            &three(),
        ))
    };
    assert_eq!(mirror("https://user:s3cret@mirror"), ["mirror-url"]);
    assert_eq!(mirror("https://a|b"), ["mirror-url"]);
    // Without a checksum of one's own, plain HTTP would bring archive and checksum by the same
    // hand.
    assert_eq!(mirror("http://10.0.0.1:8000/etcd"), ["mirror-url"]);
    assert_eq!(mirror("http://127.0.0.1:8000/etcd"), Vec::<&str>::new());
    assert_eq!(mirror("https://mirror/etcd"), Vec::<&str>::new());
    for host in ["root@@x", "10.0.0.999", "fe80::1%eth0"] {
        let member = format!("[[member]]\nname = \"m1\"\nhost = \"{host}\"\n");
        let found = ids(&findings("", &member));
        assert!(!found.is_empty(), "{host} was accepted");
    }
    let clients = "certificates = { clients = [{ name = \"ca\" }] }";
    assert_eq!(ids(&findings(clients, &three())), ["client-name"]);
}

#[test]
fn addresses_that_lead_nowhere_are_refused() {
    let with = |address: &str| {
        let members = three().replacen(
            "host = \"10.0.1.11\"",
            &format!("host = \"10.0.1.11\"\naddress = \"{address}\""),
            1,
        );
        ids(&findings("", &members))
    };
    assert_eq!(with("127.0.0.1"), ["address-unusable"]);
    assert!(with("0.0.0.0").contains(&"address-unusable".to_owned()));
    assert!(
        ids(&findings("", &member("a", "-oProxyCommand=x", "")))
            .contains(&"address-unusable".to_owned())
    );
    assert!(
        ids(&findings("", &member("a", "h:99999", ""))).contains(&"address-unusable".to_owned())
    );
}

/// The port of etcd where the one of SSH belongs, and the other way round.
#[test]
fn ports_of_the_other_program_are_noticed() {
    let found = findings("", &member("m1", "10.0.0.1:2379", ""));
    assert_eq!(ids(&found), ["address-unusable"], "{found:?}");
    assert_eq!(found[0].1, Verdict::Warning);
    let found = findings("", &member("m1", "10.0.0.1", "client-port = 22"));
    assert_eq!(ids(&found), ["port-clash"], "{found:?}");
}

/// etcd starts with a large quota, and its own documentation advises against it.
#[test]
fn a_quota_beyond_what_etcd_advises_is_a_warning() {
    let head = |bytes: u64| format!("[flags]\nquota-backend-bytes = {bytes}");
    assert_eq!(findings(&head(8 << 30), &three()), []);
    let found = findings(&head((8 << 30) + 1), &three());
    assert_eq!(ids(&found), ["flag-value"]);
    assert_eq!(found[0].1, Verdict::Warning);
}

#[test]
fn a_checksum_that_would_be_compared_with_nothing_is_refused() {
    let sum = "a".repeat(64);
    for (archive, fits) in [
        ("amd64", true),
        ("3.5.33-arm64", true),
        ("amd46", false),
        ("x86_64", false),
        ("3.5-amd64", false),
        ("v3.5.33-amd64", false),
    ] {
        let head = format!("binaries.release.sha256 = {{ \"{archive}\" = \"{sum}\" }}");
        let found = findings(&head, &three());
        assert_eq!(
            ids(&found).contains(&"checksum-form".to_owned()),
            !fits,
            "{archive}"
        );
    }
}

#[test]
fn one_port_serves_plain_http_and_one_kind_of_tls() {
    let with = |client: &str, also: &str| {
        let head = format!(
            "[security]\nclient = \"{client}\"\nclient-also = \"{also}\"\nallow-plain = true\n"
        );
        ids(&findings(&head, &three())).contains(&"client-also".to_owned())
    };
    assert!(!with("mutual", "plain") && !with("plain", "tls"));
    assert!(with("mutual", "tls") && with("plain", "plain") && with("tls", "tls"));
}

#[test]
fn a_ca_that_nothing_would_trust_is_refused() {
    let trusting = |head: &str| {
        let head = format!("{head}\n[certificates]\ntrust = [\"old.crt\", \"old.crt\", \"\"]\n");
        let found = findings(&head, &three());
        found
            .iter()
            .filter(|finding| finding.0 == "trust-unused")
            .count()
    };
    // One stands there twice, one names nothing.
    assert_eq!(trusting(""), 2);
    let plain = "security = { client = \"plain\", peer = \"plain\", allow-plain = true }";
    assert_eq!(trusting(plain), 3);
}

#[test]
fn a_place_for_snapshots_that_cannot_be_is_refused() {
    let place = |settings: &str| {
        let found = findings(&format!("[snapshots]\n{settings}\n"), &three());
        let place = found.iter().filter(|finding| finding.0 == "snapshot-place");
        place.count()
    };
    for right in [
        "",
        "to = \"/mnt/backup\"",
        "to = \"s3://bucket/etcd\"\noptions = { region = \"eu-1\" }\ncredentials = \"s3.env\"",
        "encrypt = [\"age\"]",
        "encrypt = [\"age\"]\ndecrypt = [\"age\", \"-d\"]",
    ] {
        assert_eq!(place(right), 0, "{right}");
    }
    for wrong in [
        "to = \"ftp://host/etcd\"",
        "to = \"memory:///\"",
        "to = \"s3://\"",
        "to = \"s3://key:secret@bucket\"",
        "options = { region = \"eu-1\" }",
        "to = \"/mnt\"\ncredentials = \"s3.env\"",
        "to = \"s3://bucket\"\noptions = { AWS_SECRET_ACCESS_KEY = \"hush\" }",
        "decrypt = [\"age\", \"-d\"]",
    ] {
        assert_eq!(place(wrong), 1, "{wrong}");
    }
}
