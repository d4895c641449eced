//! What is asked of a host: it follows from the topology alone.

use std::collections::BTreeSet;
use std::net::IpAddr;

use etcdup_core::certificate::CertFacts;
use etcdup_core::file::{Binaries, Download, ProvidedFrom, RuntimeKind};
use etcdup_core::host::HostId;
use etcdup_core::membership::ClusterView;
use etcdup_core::observation::{DataDir, Observation, Query};
use etcdup_core::path::{HostPath, Mode};
use etcdup_core::runner::Runner;
use etcdup_core::stage::Content;
use etcdup_core::topology::{LOG, Member, MemberLayout, Topology};
use etcdup_core::url::Address;

use crate::target::Target;

/// Tools of the host contract.
const TOOLS: [&str; 19] = [
    "install",
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

/// What a move between file systems leaves beside the data until it has ended.
pub(crate) const COPY: &str = ".etcdup-copy";

/// The questions for a host. `provided` are certificates whose names peers would look up.
pub(crate) fn queries(
    target: &Target,
    host: &HostId,
    provided: &[CertFacts],
    measure: bool,
) -> Vec<Query> {
    let topology = &target.topology;
    let runtime = topology.runtime;
    let mut asked: Vec<Query> = TOOLS.into_iter().map(Query::Tool).collect();
    if topology.time.is_some() {
        asked.push(Query::TimeService);
    }
    match runtime {
        RuntimeKind::Systemd => asked.extend([
            Query::Tool("systemctl"),
            Query::Tool("useradd"),
            Query::User(topology.user.clone()),
        ]),
        RuntimeKind::Process => asked.push(Query::Tool("setsid")),
        RuntimeKind::StaticPod => {
            if topology.pod.archive.is_some() {
                asked.push(Query::Image(etcdup_render::image(topology)));
            }
        }
    }
    if matches!(topology.binaries.tools(), Binaries::Release(release) if release.download == Download::Host)
    {
        asked.extend([Query::Tool("curl"), Query::Tool("wget")]);
    }
    for member in topology.on_host(host) {
        let logs = logs(target, member);
        asked.extend(of_member(target, member, &logs, measure));
        if let Some((beyond, there)) = target.goes(&member.name) {
            asked.extend(of_place(beyond, there, &logs, measure));
        }
        for place in target.may_be_in(&member.name) {
            let mut there = member.clone();
            there.stay_in(place);
            asked.extend(there.layout.start().map(Query::Text));
            asked.push(data(&there.layout, &logs));
        }
    }
    let (names, addresses) = lookups(topology, provided);
    asked.extend(names.into_iter().map(Query::Name));
    asked.extend(addresses.into_iter().map(Query::Reverse));
    asked
}

/// Where a member's log may be, where it is by its host's record first: in a directory of its own,
/// or in the data.
fn logs(target: &Target, member: &Member) -> Vec<Option<HostPath>> {
    let places = target.may_be_in(&member.name);
    let places = places.map(|place| &place.wal).chain([&member.layout.wal]);
    let there = target.goes(&member.name);
    let there = there.map(|(_, there)| &there.layout.wal);
    let mut logs: Vec<Option<HostPath>> = Vec::new();
    for wal in places.chain(there) {
        if !logs.contains(wal) {
            logs.push(wal.clone());
        }
    }
    logs
}

/// What a data directory contains, with a log in one of these places.
fn data(layout: &MemberLayout, logs: &[Option<HostPath>]) -> Query {
    let logs = logs.iter();
    let logs = logs.flat_map(|wal| layout.log_with(wal.as_ref()));
    Query::Data {
        path: layout.data.clone(),
        logs: logs.collect(),
    }
}

/// What is asked of the place of a member on its host, whether it runs there or not.
fn of_place(
    target: &Target,
    member: &Member,
    logs: &[Option<HostPath>],
    measure: bool,
) -> Vec<Query> {
    let (layout, wanted) = (&member.layout, target.desired(member));
    let mut asked = vec![
        Query::Directory(layout.data.clone()),
        Query::Directory(layout.certificates.clone()),
    ];
    asked.extend(layout.data.join("member").map(Query::Directory));
    asked.extend(layout.data.join(COPY).map(Query::File));
    if let Some(wal) = &layout.wal {
        asked.push(Query::Directory(wal.clone()));
        asked.extend(wal.join(LOG).map(Query::Directory));
    }
    if let Ok(holds) = layout.holds_log() {
        asked.extend(holds.join(COPY).map(Query::File));
    }
    if !layout.is_pod() {
        asked.push(Query::Binary(wanted.etcd.clone()));
    }
    if let Some(links) = &layout.links {
        asked.extend(
            ["etcd", "etcdctl"]
                .into_iter()
                .filter_map(|name| links.join(name).ok())
                .map(Query::Link),
        );
    }
    asked.push(Query::Text(wanted.settled.path.clone()));
    for artifact in &wanted.certificates {
        let kind = |path: &HostPath| match artifact.mode {
            Mode::PUBLIC => Query::Certificate(path.clone()),
            // What others may not read stays on its host: only its digest is asked for.
            _ => Query::File(path.clone()),
        };
        asked.push(kind(&artifact.path));
        if let Content::OnHost(source) = &artifact.content {
            asked.push(kind(source));
        }
    }
    asked.push(data(layout, logs));
    let disk = |path: &HostPath, measure| Query::Disk {
        path: path.clone(),
        measure,
    };
    // etcd waits for the disk of its log.
    asked.extend(layout.wal.iter().map(|wal| disk(wal, measure)));
    asked.extend([
        disk(&layout.data, measure && layout.wal.is_none()),
        disk(&layout.binaries, false),
        disk(&layout.state, false),
    ]);
    asked
}

fn of_member(
    target: &Target,
    member: &Member,
    logs: &[Option<HostPath>],
    measure: bool,
) -> Vec<Query> {
    let layout = &member.layout;
    let mut asked = of_place(target, member, logs, measure);
    let data = layout.data.clone();
    let runner = match layout.runtime {
        RuntimeKind::Systemd => Runner::Unit(layout.unit.clone()),
        RuntimeKind::StaticPod => Runner::Pod {
            manifest: layout.manifest.clone(),
            data,
        },
        RuntimeKind::Process => Runner::Process {
            pid_file: layout.pid_file.clone(),
            data,
        },
    };
    let name = member.name.clone();
    asked.push(Query::Member { name, runner });
    let ports = [
        Some(member.ports.client),
        Some(member.ports.peer),
        member.ports.metrics,
    ];
    asked.extend(ports.into_iter().flatten().map(|port| Query::Port {
        port,
        member: member.name.clone(),
    }));
    asked
}

/// Hosts to observe again before anything is decided: their members started while they were
/// observed, or after that and before the members were asked.
pub(crate) fn hosts_to_observe_again(target: &Target, seen: &Observation) -> Vec<HostId> {
    let view = ClusterView::confirmed(seen);
    // The list says that it has started while its directory still looks empty, which together would
    // read as lost data.
    let late = |member: &Member| {
        let Some(view) = &view else { return false };
        let url = target.topology.peer_url(member).to_string();
        let has_started = view
            .at_address(&url)
            .is_some_and(|listed| view.has_started(listed));
        // A process may be there already: etcd makes its data a moment after it has started.
        let looks_new = seen.host(&member.host).is_some_and(|host| {
            let data = host.data.get(&member.layout.data);
            !matches!(data, Some(DataDir::Member(_)))
        });
        has_started && looks_new
    };
    // Between two lives of its unit it has no process, and a moment later the next one listens.
    let between = |member: &Member| {
        let ports = [member.ports.client, member.ports.peer];
        seen.host(&member.host).is_some_and(|host| {
            let mut listeners = ports.iter().filter_map(|port| host.listeners.get(port));
            !host.processes.contains_key(&member.name)
                && listeners.any(|listener| listener.program == "etcd")
        })
    };
    let members = target.topology.members.iter();
    let members = members.filter(|member| late(member) || between(member));
    let hosts: BTreeSet<HostId> = members.map(|member| member.host.clone()).collect();
    hosts.into_iter().collect()
}

/// Members' names, and with provided certificates theirs too, with members' addresses in reverse:
/// what etcd's own rule for peers will ask the resolver.
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
