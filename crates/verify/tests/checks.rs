//! Every check over evidence: a healthy cluster passes them all, and each finds its own
//! disturbance.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests say what they expect"
)]

use etcdup_core::membership::{ClusterId, MemberId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use etcdup_core::certificate::CertFacts;
use etcdup_core::file::Document;
use etcdup_core::finding::{Finding, Verdict};
use etcdup_core::host::HostId;
use etcdup_core::observation::{
    Disk, HostRecord, HostView, ListedMember, MemberView, Observation, RosterMember, Served,
    SnapshotSeen,
};
use etcdup_core::observed::{Cause, Observed};
use etcdup_core::topology::{MemberPlace, Topology, resolve};
use etcdup_verify::{Anonymous, Evidence, MemberEvidence, Metrics, VERIFY_CHECKS, evaluate};
use jiff::{SignedDuration, Timestamp};

const CLUSTER: u64 = 0xc1;

fn topology() -> Topology {
    let members: String = (1..=3)
        .map(|n| format!("[[member]]\nname = \"m{n}\"\nhost = \"10.0.0.{n}\"\n"))
        .collect();
    let text = format!("format = 1\ncluster = \"prod\"\netcd = \"3.5.33\"\n{members}");
    resolve(
        &Document::parse("etcdup.toml", &text, &[]).unwrap().spec,
        |_| None,
    )
    .unwrap()
}

/// The metrics of a member with so many connections to each peer.
fn peers(peers: &[(u64, i64)]) -> Observed<Metrics> {
    let peers = peers
        .iter()
        .map(|(id, active)| (MemberId::new(*id), *active));
    Observed::Known(Metrics {
        peers: peers.collect(),
        cluster_version: Some("3.5".to_owned()),
    })
}

/// A cluster as its members and hosts show it.
struct World {
    topology: Topology,
    seen: Observation,
    members: Vec<MemberEvidence>,
}

impl World {
    fn healthy() -> Self {
        let topology = topology();
        let mut seen = Observation::new(Timestamp::from_second(1_800_000_000).unwrap());
        let listed: Vec<ListedMember> = topology
            .members
            .iter()
            .zip(1..)
            .map(|(member, id)| ListedMember {
                id: MemberId::new(id),
                name: member.name.to_string(),
                peer_urls: vec![topology.peer_url(member).to_string()],
                client_urls: vec![topology.client_url(member).to_string()],
                learner: false,
            })
            .collect();
        let roster: Vec<RosterMember> = topology
            .members
            .iter()
            .zip(&listed)
            .map(|(member, listed)| RosterMember {
                to: None,
                id: Some(listed.id),
                peer_url: topology.peer_url(member).to_string(),
                place: MemberPlace::of(member),
            })
            .collect();
        let mut members = Vec::new();
        for (member, id) in topology.members.iter().zip(1..) {
            let record = HostRecord {
                cluster: Some(ClusterId::new(CLUSTER)),
                roster: roster.clone(),
                ..HostRecord::default()
            };
            let mut host = HostView {
                record: Observed::Known(Some(record)),
                ..HostView::default()
            };
            let disk = Disk {
                free: 10 << 30,
                device: "/dev/sda1".to_owned(),
                fsync_us: None,
            };
            host.disks.insert(member.layout.data.clone(), disk);
            let path = member.layout.certificates.join("server.crt").unwrap();
            let certificate = certificate(seen.at);
            host.certificates.insert(path, Observed::Known(certificate));
            seen.hosts
                .insert(member.host.clone(), Observed::Known(host));
            let view = MemberView {
                id: MemberId::new(id),
                cluster: ClusterId::new(CLUSTER),
                leader: Some(MemberId::new(1)),
                version: "3.5.33".to_owned(),
                term: 2,
                raft_index: 5000,
                applied_index: 5000,
                revision: 40,
                db_size: 1 << 20,
                db_in_use: 1 << 20,
                storage_version: String::new(),
                downgrade: None,
                learner: false,
                errors: Vec::new(),
                listed: listed.clone(),
                served: Observed::Known(Served {
                    took: Duration::from_millis(2),
                    denied: false,
                }),
            };
            members.push(MemberEvidence {
                view,
                hash: Observed::Known((7, 1)),
                alarms: Observed::Known(Vec::new()),
                metrics: Observed::Known(Metrics {
                    peers: (1..=3)
                        .filter(|peer| *peer != id)
                        .map(|peer| (MemberId::new(peer), 1))
                        .collect(),
                    cluster_version: None,
                }),
                anonymous: Anonymous::Refused("certificate required".to_owned()),
            });
        }
        Self {
            topology,
            seen,
            members,
        }
    }

    fn host(&mut self, index: usize) -> &mut HostView {
        let id: &HostId = &self.topology.members[index].host;
        self.seen.hosts.get_mut(id).unwrap().known_mut().unwrap()
    }

    fn evaluate(self, silent: &[usize]) -> Vec<Finding> {
        let members = self
            .members
            .into_iter()
            .zip(&self.topology.members)
            .enumerate();
        let members: BTreeMap<_, _> = members
            .map(|(index, (evidence, member))| {
                let evidence = if silent.contains(&index) {
                    Observed::unknown("connection refused")
                } else {
                    Observed::Known(evidence)
                };
                (member.name.clone(), evidence)
            })
            .collect();
        evaluate(&Evidence {
            topology: &self.topology,
            seen: &self.seen,
            members,
        })
    }
}

fn certificate(now: Timestamp) -> CertFacts {
    CertFacts {
        name: "m1".to_owned(),
        issuer: "prod etcd CA".to_owned(),
        sans: BTreeSet::new(),
        other_sans: Vec::new(),
        server_auth: true,
        client_auth: true,
        is_ca: false,
        not_before: now - SignedDuration::from_hours(24 * 10),
        not_after: now + SignedDuration::from_hours(24 * 355),
        key_id: String::new(),
        issuer_key_id: String::new(),
        public_key: String::new(),
        algorithm: None,
        der: None,
        further: Vec::new(),
        fingerprint: String::new(),
    }
}

/// The ids of what is not a pass, with their verdicts.
fn faults(findings: &[Finding]) -> BTreeSet<(&str, Verdict)> {
    findings
        .iter()
        .filter(|finding| finding.verdict != Verdict::Pass)
        .map(|finding| (finding.id.as_str(), finding.verdict))
        .collect()
}

#[test]
fn a_healthy_cluster_passes_every_check() {
    let findings = World::healthy().evaluate(&[]);
    assert!(faults(&findings).is_empty(), "{findings:?}");
    let passed: BTreeSet<_> = findings.iter().map(|finding| finding.id.as_str()).collect();
    let all: BTreeSet<_> = VERIFY_CHECKS.iter().map(|check| check.id).collect();
    assert_eq!(passed, all, "every check says that it has passed");
}

/// What is done to a healthy cluster, and how its check judges that.
type Disturbance = (&'static str, Verdict, fn(&mut World));

const DISTURBANCES: &[Disturbance] = &[
    ("members", Verdict::Error, |world| {
        for member in &mut world.members {
            member.view.listed[2].peer_urls = vec!["https://10.0.0.9:2380".to_owned()];
        }
    }),
    ("roster", Verdict::Warning, |world| {
        let host = world.seen.hosts.values_mut().next().unwrap();
        let record = host.known_mut().unwrap().record_mut().unwrap();
        record.roster.pop();
    }),
    ("members-started", Verdict::Error, |world| {
        for member in &mut world.members {
            member.view.listed.push(ListedMember {
                id: MemberId::new(4),
                name: String::new(),
                peer_urls: vec!["https://10.0.0.4:2380".to_owned()],
                client_urls: Vec::new(),
                learner: false,
            });
        }
    }),
    ("leader", Verdict::Error, |world| {
        world.members[1].view.leader = Some(MemberId::new(2));
    }),
    ("leader", Verdict::Error, |world| {
        for member in &mut world.members {
            member.view.leader = None;
        }
    }),
    ("leader", Verdict::Warning, |world| {
        world.members[2].view.term = 3;
    }),
    ("health", Verdict::Error, |world| {
        world.members[1].view.served = Observed::unknown("no answer within 5 s");
    }),
    ("raft-lag", Verdict::Warning, |world| {
        world.members[2].view.applied_index = 3000;
    }),
    ("learner-lag", Verdict::Warning, |world| {
        world.members[2].view.learner = true;
        world.members[2].view.raft_index = 100;
    }),
    ("hash", Verdict::Error, |world| {
        world.members[2].hash = Observed::Known((8, 1));
    }),
    ("hash", Verdict::Warning, |world| {
        world.members[2].hash = Observed::Known((8, 2));
    }),
    ("hash", Verdict::Warning, |world| {
        world.members[2].hash = Observed::unknown_for(Cause::Denied, "permission denied");
    }),
    ("peers-active", Verdict::Error, |world| {
        world.members[1].metrics = peers(&[(1, 1), (3, 0)]);
    }),
    ("cluster-version", Verdict::Warning, |world| {
        if let Some(metrics) = world.members[1].metrics.known_mut() {
            metrics.cluster_version = Some("3.4".to_owned());
        }
    }),
    ("alarms", Verdict::Error, |world| {
        world.members[0].alarms = Observed::Known(vec![(MemberId::new(2), "NOSPACE")]);
    }),
    ("db-size", Verdict::Warning, |world| {
        let view = &mut world.members[0].view;
        view.db_size = (2 << 30) / 100 * 85;
        view.db_in_use = view.db_size;
    }),
    ("db-size", Verdict::Error, |world| {
        let view = &mut world.members[0].view;
        view.db_size = (2 << 30) / 100 * 97;
        view.db_in_use = view.db_size;
    }),
    ("fragmented", Verdict::Warning, |world| {
        let view = &mut world.members[0].view;
        view.db_size = 64 << 20;
        view.db_in_use = 31 << 20;
    }),
    ("version-skew", Verdict::Warning, |world| {
        world.members[0].view.version = "3.5.30".to_owned();
    }),
    ("snapshot-age", Verdict::Warning, |world| {
        world.topology.snapshots.every = Some("6h".parse().unwrap());
        world.seen.snapshot = Observed::Known(Some(SnapshotSeen {
            name: "prod-1".to_owned(),
            taken: world.seen.at - SignedDuration::from_hours(13),
            size: 1,
        }));
    }),
    ("snapshot-age", Verdict::Warning, |world| {
        world.topology.snapshots.every = Some("6h".parse().unwrap());
        world.seen.snapshot = Observed::unknown("cannot use s3://backups: refused");
    }),
    ("snapshot-age", Verdict::Warning, |world| {
        world.topology.snapshots.every = Some("6h".parse().unwrap());
    }),
    ("certificates-end", Verdict::Error, |world| {
        let now = world.seen.at;
        for facts in world.host(0).certificates.values_mut() {
            facts.known_mut().unwrap().not_after = now;
        }
    }),
    ("certificates-end", Verdict::Warning, |world| {
        let now = world.seen.at;
        for facts in world.host(0).certificates.values_mut() {
            facts.known_mut().unwrap().not_after = now + SignedDuration::from_hours(24);
        }
    }),
    ("clocks", Verdict::Error, |world| {
        world.host(1).facts.clock_ahead_ms = 1500;
    }),
    ("clocks", Verdict::Warning, |world| {
        world.host(1).facts.clock_error_ms = 2000;
    }),
    ("disk-free", Verdict::Warning, |world| {
        for disk in world.host(2).disks.values_mut() {
            disk.free = 500 << 20;
        }
    }),
    ("disk-free", Verdict::Error, |world| {
        for disk in world.host(2).disks.values_mut() {
            disk.free = 1 << 20;
        }
    }),
    ("anonymous-refused", Verdict::Error, |world| {
        world.members[0].anonymous = Anonymous::Served;
    }),
];

#[test]
fn each_disturbance_is_found_by_its_own_check_alone() {
    for (id, verdict, disturb) in DISTURBANCES {
        let mut world = World::healthy();
        disturb(&mut world);
        let findings = world.evaluate(&[]);
        let found = faults(&findings);
        assert!(found.contains(&(id, *verdict)), "{id}: {findings:?}");
        let others = found.iter().filter(|(other, _)| other != id);
        let others: Vec<_> = others.map(|(other, _)| *other).collect();
        assert_eq!(others, companions(id), "{id}: {findings:?}");
    }
}

/// What cannot be so without other things being wrong too.
fn companions(id: &str) -> &'static [&'static str] {
    match id {
        // A fourth member is neither in the file nor connected.
        "members-started" => &["members", "peers-active", "roster"],
        _ => &[],
    }
}

#[test]
fn no_check_is_without_a_disturbance() {
    let disturbed: BTreeSet<_> = DISTURBANCES.iter().map(|(id, ..)| *id).collect();
    for check in &VERIFY_CHECKS {
        assert!(disturbed.contains(check.id), "{}", check.id);
    }
}

#[test]
fn a_member_that_does_not_answer_is_unhealthy_and_blames_no_certificate() {
    let mut world = World::healthy();
    for member in &mut world.members[..2] {
        member.metrics = peers(&[(1, 1), (2, 1), (3, 0)]);
    }
    let findings = world.evaluate(&[2]);
    let found = faults(&findings);
    assert!(found.contains(&("health", Verdict::Error)), "{findings:?}");
    let peers = findings
        .iter()
        .find(|finding| finding.id == "peers-active")
        .unwrap();
    assert!(
        peers.evidence.contains("m3, which does not answer"),
        "{peers:?}"
    );
}

#[test]
fn where_no_member_answers_nothing_passes_that_asks_them() {
    let findings = World::healthy().evaluate(&[0, 1, 2]);
    let passed: Vec<_> = findings
        .iter()
        .filter(|finding| finding.verdict == Verdict::Pass)
        .map(|finding| finding.id.as_str())
        .collect();
    let unasked = ["snapshot-age", "certificates-end", "clocks", "disk-free"];
    assert_eq!(passed, unasked);
}

/// A host that answers slowly still has the same clock as itself.
#[test]
fn one_host_has_one_clock() {
    let mut world = World::healthy();
    world.host(0).facts.clock_error_ms = 2000;
    let host = world.topology.members[0].host.clone();
    world.seen.hosts.retain(|other, _| *other == host);
    let findings = world.evaluate(&[]);
    let clocks = findings.iter().find(|finding| finding.id == "clocks");
    assert_eq!(clocks.unwrap().verdict, Verdict::Pass);
}
