//! What people and programs see, page by page: a change of any word shows here.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    dead_code,
    reason = "tests say what they expect, and each uses its part of the worlds"
)]

#[path = "../../../planner/tests/scripted/mod.rs"]
mod scripted;
#[path = "../../../planner/tests/worlds/mod.rs"]
mod worlds;

use std::path::PathBuf;

use etcdup_core::event::{Body, EVENT_FORMAT, Event, HostState, PlannedStage};
use etcdup_core::file::{Document, KeyPath};
use etcdup_core::finding::Finding;
use etcdup_core::host::HostId;
use etcdup_core::observation::Observation;
use etcdup_core::observed::{Cause, Observed};
use etcdup_core::operation::{OperationId, Verb};
use etcdup_core::stage::{Beyond, Next, Rule, StageKey};
use etcdup_core::topology::ResolveError;
use etcdup_core::version::EtcdVersion;
use etcdup_deploy::{
    DeployError, HostFailure, Plan, PlanDocument, ReleaseFailed, Report, StatusDocument,
    VerifyDocument,
};
use etcdup_planner::Planner;
use scripted::{bootstrapped, halt};

use crate::command::{status, verify};
use crate::view::print::captured::page;
use crate::view::{error, json, plan, progress, verdicts};

const TOPOLOGY: &str = "\
format = 1
cluster = \"prod\"
etcd = \"3.5.33\"

[[member]]
name = \"m1\"
host = \"10.0.0.1\"
";

fn key(text: &str) -> StageKey {
    text.parse().unwrap()
}

/// An apply that does a stage of two hosts, waits for a gate, and is done.
fn an_apply() -> Vec<Body> {
    let host = |host: &str, what: &str, state| Body::Host {
        host: HostId::new(host),
        what: what.to_owned(),
        state,
    };
    vec![
        Body::Started {
            format: EVENT_FORMAT.to_owned(),
            verb: Verb::Apply,
            stages: vec![PlannedStage {
                key: key("roll:m2"),
                title: "restart m2".to_owned(),
                leg: Some("etcd 3.5.33".to_owned()),
            }],
        },
        Body::Waiting {
            holder: "10.0.0.2 is locked by ada@desk (apply, since 2026-01-02T03:04:05Z)".to_owned(),
        },
        Body::StageStarted {
            index: 0,
            key: key("roll:m2"),
            title: "restart m2".to_owned(),
            leg: Some("etcd 3.5.33".to_owned()),
        },
        host("10.0.0.1", "sending", HostState::Working),
        host("10.0.0.1", "done", HostState::Done),
        host(
            "10.0.0.2",
            "restart etcd.service: it did not stop",
            HostState::Failed,
        ),
        Body::Gate {
            holds: "m2 serves".to_owned(),
            why: "m2 is unhealthy: connection refused".to_owned(),
        },
        Body::StageDone {
            index: 0,
            key: key("roll:m2"),
            elapsed_ms: 2345,
        },
        Body::Done { elapsed_ms: 4567 },
    ]
}

#[test]
fn an_apply_off_a_terminal() {
    let page = page(|| an_apply().iter().for_each(progress::plain));
    insta::assert_snapshot!("apply-plain", page);
}

#[test]
fn an_apply_for_programs() {
    let operation: OperationId = "0197a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b".parse().unwrap();
    let events = an_apply().into_iter().zip(1..).map(|(body, seq)| Event {
        operation: operation.clone(),
        seq,
        at: "2026-01-02T03:04:05Z".parse().unwrap(),
        body,
    });
    let page = page(|| events.for_each(|event| json::line(&event)));
    insta::assert_snapshot!("apply-json", page);
}

/// A plan as text and as data.
#[test]
fn a_plan() {
    let planner = worlds::planner(worlds::topology(1, ""));
    let seen = worlds::bare(&planner);
    let forecast = planner.forecast(&seen);
    let made = Plan {
        planner,
        seen,
        forecast,
        warnings: Vec::new(),
    };
    let document = Document::parse("etcdup.toml", TOPOLOGY, &[]).unwrap();
    insta::assert_snapshot!("plan-text", page(|| plan::print(&made, &document)));
    insta::assert_snapshot!(
        "plan-json",
        page(|| json::document(&PlanDocument::new(&made)))
    );
}

/// Every finding about a file at once, each at its place.
#[test]
fn a_check_of_a_faulty_file() {
    let text = "\
format = 1
cluster = \"prod\"
etcd = \"3.5.0\"
flags = { log-level = \"verbose\", snapshot-cuont = 5 }

[[member]]
name = \"m1\"
host = \"10.0.0.1\"

[[member]]
name = \"m1\"
host = \"10.0.0.2\"
";
    let document = Document::parse("etcdup.toml", text, &[]).unwrap();
    let found = etcdup_core::lint::lint(&document.spec);
    insta::assert_snapshot!("check", page(|| error::findings(&found, Some(&document))));
}

fn with_status(name: &str, planner: &Planner, seen: &Observation) {
    insta::assert_snapshot!(name, page(|| status::print(planner, seen)));
}

#[test]
fn the_status_of_a_cluster() {
    let (planner, healthy) = bootstrapped("");
    with_status("status-healthy", &planner, &healthy);
    let document = StatusDocument::new(&planner, &healthy);
    insta::assert_snapshot!("status-json", page(|| json::document(&document)));

    let mut seen = healthy.clone();
    halt(&planner, &mut seen, 2);
    with_status("status-stopped", &planner, &seen);

    let mut seen = healthy.clone();
    let member = planner.topology().members[2].clone();
    let away = || Observed::unknown_for(Cause::NotAsked, "10.0.0.3 is unreachable: timed out");
    seen.hosts
        .insert(member.host.clone(), Observed::unknown("timed out"));
    seen.members.insert(member.name.clone(), away());
    with_status("status-host-away", &planner, &seen);

    let mut seen = healthy.clone();
    for index in 0..3 {
        halt(&planner, &mut seen, index);
    }
    with_status("status-all-stopped", &planner, &seen);

    let planner = worlds::planner(worlds::topology(3, ""));
    with_status("status-bare", &planner, &worlds::bare(&planner));
}

#[test]
fn what_verify_finds() {
    let (planner, seen) = bootstrapped("");
    let pass = planner.find_drift(&seen);
    let report = |planner: Planner, seen: Observation, findings: Vec<Finding>| Report {
        planner,
        seen,
        findings,
    };
    let printed = |report: &Report| {
        page(|| {
            verdicts::print(&report.findings);
            verify::summary(report);
        })
    };
    let fine = report(planner, seen, pass);
    insta::assert_snapshot!("verify-healthy", printed(&fine));
    insta::assert_snapshot!(
        "verify-json",
        page(|| json::document(&VerifyDocument::new(&fine)))
    );

    let (planner, mut seen) = bootstrapped("");
    let member = planner.topology().members[1].clone();
    let process = scripted::host(&mut seen, &member)
        .processes
        .get_mut(&member.name);
    process.unwrap().flags.set("snapshot-count", "1");
    let findings = planner.find_drift(&seen);
    let drifted = report(planner, seen, findings);
    insta::assert_snapshot!("verify-drifted", printed(&drifted));
}

/// Each kind that has words of its own: how it reads, its exit status, and what a program gets.
/// Those that pass on another crate's error print as that one does.
fn every_error() -> Vec<DeployError> {
    let (planner, seen) = bootstrapped("");
    let forecast = || Box::new(planner.forecast(&seen));
    let host = || HostId::new("10.0.0.1");
    let failure = |host: &str| HostFailure {
        host: HostId::new(host),
        step: "install etcd 3.5.33".to_owned(),
        why: "no space left on device".to_owned(),
        lines: vec!["tar: etcd: Cannot write: No space left on device".to_owned()],
    };
    let parse = Document::parse("etcdup.toml", "format = 1\nclustre = \"x\"\n", &[]);
    let blocked = {
        let planner = worlds::planner(worlds::topology(1, ""));
        let mut seen = worlds::bare(&planner);
        let member = planner.topology().members[0].clone();
        seen.hosts.insert(
            member.host.clone(),
            Observed::unknown("timed out after 10 s"),
        );
        match planner.next(&seen) {
            Next::Blocked(findings) => findings,
            other => panic!("{other:?}"),
        }
    };
    let missing = || std::io::Error::from(std::io::ErrorKind::NotFound);
    let mut errors = vec![
        DeployError::File {
            path: PathBuf::from("etcdup.toml"),
            source: missing(),
        },
        DeployError::Parse {
            name: "etcdup.toml".to_owned(),
            text: "format = 1\nclustre = \"x\"\n".to_owned(),
            error: parse.unwrap_err(),
        },
        DeployError::Blocked(blocked),
        DeployError::PlanChanged {
            key: Box::new(key("roll:m2")),
            beyond: Beyond::Stage,
            forecast: forecast(),
        },
        DeployError::NoEffect(StageKey::new(Rule::RefreshFiles, None)),
        DeployError::Locked {
            host: host(),
            who: "ada@desk".to_owned(),
            verb: "apply".to_owned(),
            since: "2026-01-02T03:04:05Z".to_owned(),
        },
        DeployError::LeaseLost {
            host: host(),
            why: "taken over by bob@desk".to_owned(),
        },
        DeployError::FewHosts { answer: 1, all: 3 },
        DeployError::Hosts(vec![failure("10.0.0.1"), failure("10.0.0.2")]),
        DeployError::NotPermitted {
            stage: "restart m2".to_owned(),
            why: "stopping m2 would leave 1 of 3 voters healthy; quorum is 2".to_owned(),
        },
        DeployError::PutBack(Box::new(ReleaseFailed {
            member: "m2".parse().unwrap(),
            failed: EtcdVersion::new(3, 6, 14),
            ran: EtcdVersion::new(3, 5, 33),
            serves: true,
            why: "m2 is unhealthy: crash loop (3 restarts)".to_owned(),
            console: vec!["panic: no such flag".to_owned()],
        })),
        DeployError::Gate {
            holds: "m2 serves".to_owned(),
            seconds: 60,
            why: "m2 is unhealthy: connection refused".to_owned(),
            console: vec!["listen tcp 10.0.0.2:2380: bind: address already in use".to_owned()],
        },
        DeployError::Cluster {
            what: "move leadership from m1 to m2".to_owned(),
            why: "etcdserver: bad leader transferee".to_owned(),
        },
        DeployError::Busy,
        DeployError::Stopped(None),
        DeployError::Stopped(Some("stage `restart m2`".to_owned())),
    ];
    errors.push(DeployError::Resolve(ResolveError::NeedsHost {
        host: host(),
        what: "the address of `eth1`",
        at: KeyPath::member(0),
    }));
    errors
}

#[test]
fn each_error() {
    let document = Document::parse("etcdup.toml", TOPOLOGY, &[]).unwrap();
    let mut all = String::new();
    for failed in every_error() {
        for as_json in [false, true] {
            let mut code = 0;
            all += &page(|| code = error::deploy(&failed, Some(&document), as_json));
            all += &format!("(exit status {code})\n\n");
        }
    }
    insta::assert_snapshot!("errors", all);
}
