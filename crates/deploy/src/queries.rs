//! What is asked of a host: it follows from the topology alone.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::IpAddr;

use etcdup_core::certificate::CertFacts;
use etcdup_core::path::Mode;
use etcdup_core::stage::{Artifact, Content};
use etcdup_core::topology::{Binaries, Download, HostId, ProvidedFrom, RuntimeKind, Topology};
use etcdup_core::url::Address;
use etcdup_planner::Planner;

/// Tools of the host contract.
const TOOLS: [&str; 18] = [
    "cmp",
    "touch",
    "getent",
    "find",
    "base64",
    "timeout",
    "mktemp",
    "sha256sum",
    "sync",
    "tar",
    "gzip",
    "flock",
    "grep",
    "sed",
    "awk",
    "od",
    "stat",
    "df",
];

/// The queries for a host, one a line, closed by `end`. `names` are looked up beside the members' own: those that
/// provided certificates hold.
pub(crate) fn queries(
    planner: &Planner,
    host: &HostId,
    provided: &[CertFacts],
    measure: bool,
) -> String {
    let topology = &planner.topology;
    let mut text = TOOLS.map(|tool| format!("tool|{tool}\n")).concat();
    let mut ask = |line: std::fmt::Arguments<'_>| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{line}");
    };
    if topology.spec.time.is_some() {
        ask(format_args!("time|sync"));
    }
    let systemd = topology.spec.runtime == RuntimeKind::Systemd;
    if systemd {
        ask(format_args!("tool|systemctl"));
        ask(format_args!("tool|useradd"));
        ask(format_args!("user|{}", topology.user()));
    }
    if topology.spec.runtime == RuntimeKind::Process {
        ask(format_args!("tool|setsid"));
    }
    if matches!(&topology.spec.binaries, Binaries::Release(release) if release.download == Download::Host)
    {
        ask(format_args!("tool|curl"));
        ask(format_args!("tool|wget"));
    }
    if topology.spec.runtime == RuntimeKind::StaticPod && topology.spec.pod.archive.is_some() {
        ask(format_args!("image|{}", etcdup_render::image(topology)));
    }
    for member in topology.on_host(host) {
        let (layout, wanted) = (&member.layout, planner.wanted(member));
        ask(format_args!("dir|{}", layout.data));
        ask(format_args!("dir|{}", layout.certificates));
        if topology.spec.runtime != RuntimeKind::StaticPod {
            ask(format_args!("bin|{}", wanted.etcd));
        }
        if let Some(links) = &layout.links {
            ask(format_args!("link|{links}/etcd"));
            ask(format_args!("link|{links}/etcdctl"));
        }
        ask(format_args!("text|{}", wanted.settled.path));
        for artifact in &wanted.certificates {
            certificate(artifact, &mut ask);
        }
        if systemd {
            ask(format_args!("member|{}|unit|{}", member.name, layout.unit));
        } else if topology.spec.runtime == RuntimeKind::StaticPod {
            ask(format_args!(
                "member|{}|pod|{}|{}",
                member.name, layout.data, layout.manifest
            ));
        } else {
            ask(format_args!(
                "member|{}|file|{}|{}",
                member.name, layout.pid_file, layout.data
            ));
        }
        ask(format_args!("data|{}", layout.data));
        ask(format_args!(
            "disk|{}|{}",
            layout.data,
            if measure { "measure" } else { "-" }
        ));
        ask(format_args!("disk|{}|-", layout.binaries));
        ask(format_args!("disk|{}|-", layout.state));
        for port in [
            Some(member.ports.client),
            Some(member.ports.peer),
            member.ports.metrics,
        ]
        .into_iter()
        .flatten()
        {
            ask(format_args!("port|{port}|{}", member.name));
        }
    }
    let (names, addresses) = lookups(topology, provided);
    names
        .iter()
        .for_each(|name| ask(format_args!("name|{name}")));
    addresses
        .iter()
        .for_each(|address| ask(format_args!("reverse|{address}")));
    ask(format_args!("end"));
    text
}

fn certificate(artifact: &Artifact, ask: &mut impl FnMut(std::fmt::Arguments<'_>)) {
    // What others may not read stays on its host: only its digest is asked for.
    let kind = if artifact.mode == Mode::PUBLIC {
        "cert"
    } else {
        "file"
    };
    ask(format_args!("{kind}|{}", artifact.path));
    if let Content::OnHost(source) = &artifact.content {
        ask(format_args!("{kind}|{source}"));
    }
}

/// Members' names, and with provided certificates theirs too, with members' addresses in reverse: what etcd's own rule
/// for peers will ask the resolver.
fn lookups(topology: &Topology, provided: &[CertFacts]) -> (BTreeSet<String>, BTreeSet<IpAddr>) {
    let mut names: BTreeSet<String> = topology
        .members
        .iter()
        .filter_map(|member| match &member.address {
            Address::Name(name) if name.as_str() != "localhost" => Some(name.to_string()),
            Address::Name(_) | Address::Ip(_) => None,
        })
        .collect();
    let mut addresses = BTreeSet::new();
    let on_hosts = topology
        .spec
        .certificates
        .provided
        .as_ref()
        .is_some_and(|provided| provided.from == ProvidedFrom::Host);
    if on_hosts || !provided.is_empty() {
        addresses.extend(topology.members.iter().filter_map(|member| {
            // Where a member is called by a name, it connects from the address that it listens on.
            let own = Some(member.listen).filter(|ip| !ip.is_unspecified());
            member.address.ip().or(own)
        }));
        for san in provided.iter().flat_map(|facts| &facts.sans) {
            if let Address::Name(name) = san {
                names.insert(name.to_string());
            }
        }
    }
    (names, addresses)
}
