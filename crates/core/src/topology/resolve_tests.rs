use super::*;
use crate::file::Document;
use crate::topology::ClusterState;

fn topology(extra: &str) -> Topology {
    let text = format!(
        "format = 1\ncluster = \"prod\"\netcd = \"3.5.30\"\n{extra}\n[[member]]\nname = \"m1\"\nhost = \"10.0.1.10\"\n\
         [[member]]\nname = \"m2\"\nhost = \"10.0.1.11\"\n"
    );
    let spec = Document::parse("etcdup.toml", &text, &[]).unwrap().spec;
    resolve(&spec, |_| None).unwrap()
}

#[test]
fn three_bare_hosts_need_nothing_else() {
    let topology = topology("");
    assert_eq!(
        topology.initial_cluster(),
        "m1=https://10.0.1.10:2380,m2=https://10.0.1.11:2380"
    );
    let flags = topology.flags(&topology.members[0], ClusterState::New);
    assert_eq!(
        flags.get("listen-client-urls"),
        Some("https://10.0.1.10:2379,https://127.0.0.1:2379")
    );
    assert_eq!(flags.get("client-cert-auth"), Some("true"));
    assert_eq!(flags.get("initial-cluster-token"), Some("prod"));
}

#[test]
fn planes_are_protected_each_by_itself() {
    let topology = topology("[security]\nclient = \"tls\"\npeer = \"plain\"");
    let flags = topology.flags(&topology.members[0], ClusterState::New);
    assert!(flags.get("cert-file").is_some());
    assert_eq!(flags.get("trusted-ca-file"), None);
    assert_eq!(flags.get("peer-cert-file"), None);
    assert_eq!(flags.get("listen-peer-urls"), Some("http://10.0.1.10:2380"));
}

#[test]
fn a_member_without_a_name_needs_its_host() {
    let text =
        "format = 1\ncluster = \"prod\"\netcd = \"3.5.30\"\n[[member]]\nhost = \"10.0.1.10\"\n";
    let spec = Document::parse("etcdup.toml", text, &[]).unwrap().spec;
    let error = resolve(&spec, |_| None).unwrap_err();
    assert!(matches!(
        error,
        ResolveError::NeedsHost {
            what: "the name",
            ..
        }
    ));
}

#[test]
fn a_server_certificate_is_valid_for_loopback_and_a_peers_is_not() {
    let topology = topology("");
    let certificates = topology.certificates(&topology.members[0]);
    let sans = |index: usize| crate::certificate::format_sans(&certificates[index].1.sans);
    assert_eq!(sans(0), "10.0.1.10, 127.0.0.1, ::1, localhost");
    assert_eq!(sans(1), "10.0.1.10");
}
