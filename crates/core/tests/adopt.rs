//! Adopting what runs: the topology that is written makes the members that were read.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests say what they expect"
)]

use etcdup_core::adopt::{AdoptError, AdoptFilter, AdoptTarget, OperatorFiles, adopt};
use etcdup_core::file::{Document, RuntimeKind, Ssh, TransportSecurity};
use etcdup_core::flag::FlagSource;
use etcdup_core::observation::EtcdInstance;
use etcdup_core::topology::{ClusterState, Topology, resolve};

/// An etcd of a systemd unit on 10.0.0.`number`, with these flags beside those that every member
/// needs.
fn instance(number: u8, flags: &[&str]) -> AdoptTarget {
    let own = format!(
        "etcd --name=m{number} --data-dir=/var/lib/etcd/m{number} --initial-cluster-token=abc \
         --listen-peer-urls=https://10.0.0.{number}:2380 --initial-advertise-peer-urls=https://10.0.0.{number}:2380 \
         --listen-client-urls=https://10.0.0.{number}:2379,https://127.0.0.1:2379 \
         --advertise-client-urls=https://10.0.0.{number}:2379"
    );
    let all = own.split_whitespace().map(str::to_owned);
    let command: Vec<String> = all
        .chain(flags.iter().map(|&flag| flag.to_owned()))
        .collect();
    AdoptTarget {
        target: format!("root@10.0.0.{number}"),
        etcd: EtcdInstance {
            pid: 100,
            exe: "/usr/local/bin/etcd".to_owned(),
            version: "3.5.33".to_owned(),
            user: "etcd".to_owned(),
            unit: Some("etcd.service".to_owned()),
            manifest: None,
            image: None,
            text: None,
            flags: FlagSource::process(&command, Vec::new()).flags,
        },
    }
}

const TLS: [&str; 8] = [
    "--cert-file=/etc/etcd/server.crt",
    "--key-file=/etc/etcd/server.key",
    "--trusted-ca-file=/etc/etcd/ca.crt",
    "--client-cert-auth=true",
    "--peer-cert-file=/etc/etcd/peer.crt",
    "--peer-key-file=/etc/etcd/peer.key",
    "--peer-trusted-ca-file=/etc/etcd/ca.crt",
    "--peer-client-cert-auth=true",
];

fn adopted(found: &[AdoptTarget], filter: &AdoptFilter) -> Result<Topology, AdoptError> {
    let ssh = Ssh::default();
    let text = adopt("prod", found, filter, &ssh, &OperatorFiles::default())?;
    let document = Document::parse("etcdup.toml", &text, &[])
        .unwrap_or_else(|error| panic!("{error}\n{text}"));
    Ok(resolve(&document.spec, |_| None).unwrap())
}

fn three(flags: &[&str]) -> Vec<AdoptTarget> {
    let all: Vec<&str> = TLS.iter().chain(flags).copied().collect();
    (1..=3).map(|number| instance(number, &all)).collect()
}

#[test]
fn members_keep_the_flags_that_they_run_with() {
    let found = three(&["--quota-backend-bytes=4294967296"]);
    let topology = adopted(&found, &AdoptFilter::default()).unwrap();
    assert_eq!(topology.runtime, RuntimeKind::Systemd);
    assert_eq!(topology.security.client, TransportSecurity::Mutual);
    assert_eq!(topology.token.as_str(), "abc");
    for (member, found) in topology.members.iter().zip(&found) {
        let flags = topology.flags(member, ClusterState::Existing);
        for (name, value) in found.etcd.flags.iter() {
            assert_eq!(flags.get(name), Some(value), "{name} of {}", member.name);
        }
    }
}

/// The file names the directory that holds it: etcd makes a log beside its place and renames it.
#[test]
fn a_log_of_its_own_is_kept() {
    let found = three(&["--wal-dir=/fast/etcd/wal"]);
    let topology = adopted(&found, &AdoptFilter::default()).unwrap();
    for member in &topology.members {
        let flags = topology.flags(member, ClusterState::Existing);
        assert_eq!(flags.get("wal-dir"), Some("/fast/etcd/wal"));
    }
    let inside = three(&["--wal-dir=/var/lib/etcd/m1/member/wal"]);
    let topology = adopted(&inside[..1], &AdoptFilter::default()).unwrap();
    assert_eq!(topology.members[0].layout.wal, None);
    for odd in [
        "/fast/log",
        "/var/lib/etcd/m1/wal",
        "/var/lib/etcd/wal",
        "wal",
        "/wal",
        "/fast/member/wal",
    ] {
        let flag = format!("--wal-dir={odd}");
        let refused = adopted(&three(&[&flag]), &AdoptFilter::default());
        let refused = refused.map(|_| ()).unwrap_err().to_string();
        assert!(refused.contains("--wal-dir"), "{odd}: {refused}");
    }
}

#[test]
fn what_all_members_share_is_written_once_and_the_rest_at_its_member() {
    let mut found = three(&["--snapshot-count=5000"]);
    found[2] = instance(3, &[&TLS[..], &["--snapshot-count=7000"]].concat());
    let topology = adopted(&found, &AdoptFilter::default()).unwrap();
    let count = |index: usize| {
        let flags = topology.flags(&topology.members[index], ClusterState::Existing);
        flags.get("snapshot-count").map(str::to_owned)
    };
    assert_eq!(
        [count(0), count(2)],
        [Some("5000".into()), Some("7000".into())]
    );
}

#[test]
fn members_that_contradict_each_other_are_refused() {
    let mut found = three(&[]);
    found[1].etcd.version = "3.5.30".to_owned();
    let differ = adopted(&found, &AdoptFilter::default()).unwrap_err();
    assert!(matches!(differ, AdoptError::Differ { .. }), "{differ}");
    assert!(differ.to_string().contains("3.5.30"), "{differ}");
    let nothing = adopted(&[], &AdoptFilter::default()).unwrap_err();
    assert_eq!(nothing, AdoptError::Nothing);
}

#[test]
fn of_several_etcds_of_a_host_only_those_on_one_data_directory_are_adopted() {
    let filter = AdoptFilter {
        data: Some("/var/lib/etcd/m2".to_owned()),
    };
    let topology = adopted(&three(&[]), &filter).unwrap();
    let names: Vec<_> = topology
        .members
        .iter()
        .map(|member| member.name.as_str())
        .collect();
    assert_eq!(names, ["m2"]);
}

#[test]
fn a_release_that_cannot_be_known_is_asked_for() {
    let mut found = three(&[]);
    found[0].etcd.version = String::new();
    let unknown = adopted(&found, &AdoptFilter::default()).unwrap_err();
    assert!(matches!(unknown, AdoptError::Release { .. }), "{unknown}");
    // An image's tag says it, with a suffix of the distribution or not.
    for (number, found) in found.iter_mut().enumerate() {
        found.etcd.version = String::new();
        let suffix = ["", "-0", "-k3s1"][number];
        found.etcd.image = Some(format!("registry.example.com:5000/etcd:v3.5.33{suffix}"));
    }
    let topology = adopted(&found, &AdoptFilter::default()).unwrap();
    assert_eq!(topology.version.to_string(), "3.5.33");
}

#[test]
fn a_flag_that_a_member_needs_is_named() {
    let mut found = three(&[]);
    found[0].etcd.flags =
        FlagSource::process(&["etcd".to_owned(), "--name=m1".to_owned()], Vec::new()).flags;
    let missing = adopted(&found, &AdoptFilter::default()).unwrap_err();
    assert!(matches!(missing, AdoptError::Missing { .. }), "{missing}");
}
