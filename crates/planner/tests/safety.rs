//! Worlds in which a careless plan would lose a cluster or its data. Each was found on real hosts or with real etcd.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests say what they expect"
)]

mod worlds;

use etcdup_core::certificate::CertFacts;
use etcdup_core::finding::Finding;
use etcdup_core::observation::{
    AuthorityView, DataDir, HostView, ListedMember, MemberView, Observation,
};
use etcdup_core::seen::Seen;
use etcdup_core::stage::{HostStep, Next, Stage, Work};
use etcdup_core::topology::Member;
use etcdup_planner::Planner;

/// A cluster of three that was bootstrapped by this very planner, its files and all.
fn bootstrapped(head: &str) -> (Planner, Observation) {
    let planner = worlds::planner(worlds::topology(3, head));
    let seen = carry_out(&planner, worlds::bare(&planner));
    (planner, seen)
}

fn carry_out(planner: &Planner, mut seen: Observation) -> Observation {
    for _ in 0..30 {
        match planner.next(&seen) {
            Next::Stage(stage) => seen = planner.predict(&seen, &stage),
            Next::Done => return seen,
            Next::Blocked(findings) => panic!("blocked: {findings:?}"),
        }
    }
    panic!("it does not end");
}

fn host<'a>(seen: &'a mut Observation, member: &Member) -> &'a mut HostView {
    seen.hosts
        .get_mut(&member.host)
        .and_then(Seen::yes_mut)
        .unwrap()
}

fn view<'a>(seen: &'a mut Observation, member: &Member) -> &'a mut MemberView {
    seen.members
        .get_mut(&member.name)
        .and_then(Seen::yes_mut)
        .unwrap()
}

fn halt(planner: &Planner, seen: &mut Observation, index: usize) {
    let member = &planner.topology.members[index];
    let host = host(seen, member);
    host.processes.clear();
    seen.members
        .insert(member.name.clone(), Seen::no("it does not run"));
}

fn blocked(planner: &Planner, seen: &Observation) -> Vec<Finding> {
    match planner.next(seen) {
        Next::Blocked(findings) => findings,
        Next::Stage(stage) => panic!("`{}` instead of a finding", stage.key),
        Next::Done => panic!("done instead of a finding"),
    }
}

fn ids(findings: &[Finding]) -> Vec<&str> {
    findings.iter().map(|finding| finding.id).collect()
}

fn stage(planner: &Planner, seen: &Observation) -> Stage {
    match planner.next(seen) {
        Next::Stage(stage) => *stage,
        other => panic!("{other:?} instead of a stage"),
    }
}

const RUNTIMES: [&str; 3] = [
    "runtime = \"systemd\"",
    "runtime = \"static-pod\"",
    "runtime = \"process\"",
];

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
            let member = &planner.topology.members[index];
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

/// S6, F3, U2: a downgrade and a skipped minor are refused, whether members run or not; a patch is rolled.
#[test]
fn a_version_that_cannot_follow_is_never_drift() {
    let (planner, seen) = bootstrapped("");
    let with = |version: &str| {
        let mut topology = planner.topology.clone();
        topology.spec.etcd = version.parse().unwrap();
        let text = toml_of(version);
        let document = etcdup_core::topology::Document::parse("t", &text, &[]).unwrap();
        let topology = etcdup_core::topology::resolve(&document.spec, |_| None).unwrap_or(topology);
        worlds::planner(topology)
    };
    for (version, refused) in [
        ("3.4.45", true),
        ("3.7.1", true),
        ("3.5.32", false),
        ("3.6.14", false),
    ] {
        let other = with(version);
        match (refused, other.next(&seen)) {
            (true, Next::Blocked(found)) => assert_eq!(ids(&found), ["version-change"; 3]),
            (false, Next::Stage(_)) => {}
            (_, next) => panic!("{version}: {next:?}"),
        }
    }
}

fn toml_of(version: &str) -> String {
    let members: String = (1..=3)
        .map(|n| format!("[[member]]\nname = \"m{n}\"\nhost = \"10.0.0.{n}\"\n"))
        .collect();
    format!("format = 1\ncluster = \"prod\"\netcd = \"{version}\"\n{members}")
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
        for member in other.topology.members.clone() {
            seen.members
                .insert(member.name, Seen::no("access follows the file"));
        }
        let found = blocked(&other, &seen);
        assert!(
            ids(&found).contains(&"security-change"),
            "{from} to {to}: {found:?}"
        );
    }
}

/// A bootstrap of three whose third member never started, as etcd lists it: with a name, without client URLs.
fn missed(head: &str) -> (Planner, Observation) {
    let planner = worlds::planner(worlds::topology(3, head));
    let mut seen = worlds::bare(&planner);
    while let Next::Stage(mut next) = planner.next(&seen) {
        let last = next.key.as_str() == "start";
        if let (true, Work::Hosts(tasks)) = (last, &mut next.work) {
            tasks.remove(&planner.topology.members[2].host);
        }
        seen = planner.predict(&seen, &next);
        if last {
            break;
        }
    }
    (planner, seen)
}

/// B7, F1: one member missed the bootstrap, and the next run finishes it, as new.
#[test]
fn a_bootstrap_that_one_member_missed_is_finished() {
    for head in RUNTIMES {
        let (planner, seen) = missed(head);
        let listed = &seen
            .member(&planner.topology.members[0].name)
            .unwrap()
            .listed;
        assert!(!listed[2].name.is_empty() && !listed[2].started());
        assert_eq!(
            stage(&planner, &seen).title,
            "finish the bootstrap",
            "{head}"
        );
        let done = carry_out(&planner, seen);
        assert!(done.serves(&planner.topology.members[2].name));
    }
}

/// A member's own list may lag behind the start of another: what answers has started, and the bootstrap is over.
#[test]
fn a_member_that_answers_has_started_whatever_a_list_says() {
    let (planner, mut seen) = bootstrapped("");
    let first = planner.topology.members[0].clone();
    view(&mut seen, &first).listed[2].client_urls.clear();
    assert_eq!(planner.next(&seen), Next::Done);
    let unit = first.layout.unit_file().unwrap();
    assert!(host(&mut seen, &first).files.contains_key(&unit));
    let fresh = worlds::planner(worlds::topology(3, ""));
    assert!(
        fresh
            .drift(&seen)
            .iter()
            .all(|finding| finding.id == "drift" && finding.subject == "cluster")
    );
}

/// S1, F2: a member that `etcdctl member add` announced has no name, and may start as `existing` only.
#[test]
fn an_added_member_never_starts_as_new() {
    for head in RUNTIMES {
        let (planner, mut seen) = bootstrapped(head);
        let members = planner.topology.members.clone();
        halt(&planner, &mut seen, 2);
        let data = members[2].layout.data.clone();
        host(&mut seen, &members[2])
            .data
            .insert(data, DataDir::Absent);
        for member in &members[..2] {
            let listed: &mut Vec<ListedMember> = &mut view(&mut seen, member).listed;
            listed[2].name.clear();
            listed[2].client_urls.clear();
            listed[2].id = 7;
        }
        let mut texts = Vec::new();
        while let Next::Stage(next) = planner.next(&seen) {
            if let Work::Hosts(tasks) = &next.work {
                for step in tasks.values().flatten() {
                    if let HostStep::File(artifact) | HostStep::Pod(artifact) = step
                        && let etcdup_core::stage::Content::Text(text) = &artifact.content
                    {
                        texts.push(text.clone());
                    }
                }
            }
            let starts = ["start", "roll:m3"].contains(&next.key.as_str());
            seen = planner.predict(&seen, &next);
            if starts {
                break;
            }
        }
        assert!(
            texts
                .iter()
                .all(|text| !text.contains("initial-cluster-state=new")),
            "{head}"
        );
    }
}
