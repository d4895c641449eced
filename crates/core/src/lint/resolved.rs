//! Checks of the topology as it is meant, once every address is known.

use std::collections::BTreeMap;

use super::duplicate::duplicate_name;
use super::rows::{
    ADDRESS, CLIENT_ALSO, DUPLICATE_ADDRESS, PATH_CLASH, PLAIN_EXPOSED, PORT_CLASH, SYSTEM_PATH,
};
use crate::file::{KeyPath, ProvidedFrom, Spec, TransportSecurity};
use crate::finding::Finding;
use crate::host::HostTarget;
use crate::name::MemberName;
use crate::path::HostPath;
use crate::topology::{Member, Topology};

/// All that is wrong or questionable once every name and address is known.
#[must_use]
pub fn lint_resolved(spec: &Spec, topology: &Topology) -> Vec<Finding> {
    let mut findings = Vec::new();
    duplicates(spec, topology, &mut findings);
    security(topology, &mut findings);
    clashes(topology, &mut findings);
    places(spec, topology, &mut findings);
    discovery(topology, &mut findings);
    findings
}

fn duplicates(spec: &Spec, topology: &Topology, findings: &mut Vec<Finding>) {
    let mut urls: BTreeMap<String, usize> = BTreeMap::new();
    let mut names: BTreeMap<&MemberName, usize> = BTreeMap::new();
    for member in &topology.members {
        let index = member.index;
        let given = &spec.member[index];
        if let Some(first) = names.insert(&member.name, index)
            && given.name.is_none()
        {
            findings.push(duplicate_name(&member.name, first, index));
        }
        let key = if given.address.is_some() {
            "address"
        } else {
            "host"
        };
        let own = [
            ("peer", topology.peer_url(member)),
            ("client", topology.client_url(member)),
        ];
        for (plane, url) in own {
            let Some(first) = urls.insert(format!("{plane} {url}"), index) else {
                continue;
            };
            let evidence = format!(
                "member {} of the file has the {plane} URL {url} too",
                first + 1
            );
            findings.push(
                DUPLICATE_ADDRESS
                    .error(&member.name, evidence)
                    .at(KeyPath::member(index).key(key)),
            );
            break;
        }
    }
}

/// SRV records point at names, and certificates are compared with them.
fn discovery(topology: &Topology, findings: &mut Vec<Finding>) {
    if topology.discovery.is_none() {
        return;
    }
    for member in topology
        .members
        .iter()
        .filter(|member| member.address.ip().is_some())
    {
        let evidence = format!(
            "{} is known by {}, and SRV records point at names",
            member.name, member.address
        );
        findings.push(
            ADDRESS
                .error(&member.name, evidence)
                .at(KeyPath::member(member.index).key("address"))
                .advise("give the member `address = \"m1.example.com\"`, a name of the zone"),
        );
    }
}

fn security(topology: &Topology, findings: &mut Vec<Finding>) {
    let security = &topology.security;
    let plain = |kind: TransportSecurity| kind == TransportSecurity::Plain;
    if let Some(also) = security.client_also
        && plain(also) == plain(security.client)
    {
        let evidence = "one of `client` and `client-also` is plain, and the other is not: the port serves both";
        let at = KeyPath::root("security").key("client-also");
        findings.push(CLIENT_ALSO.error("client", evidence).at(at));
    }
    if security.allow_plain {
        return;
    }
    let planes = [("client", security.client), ("peer", security.peer)];
    let also = security.client_also.map(|also| ("client-also", also));
    for (plane, _) in planes
        .into_iter()
        .chain(also)
        .filter(|(_, kind)| *kind == TransportSecurity::Plain)
    {
        let exposed: Vec<_> = topology
            .members
            .iter()
            .filter(|member| !member.listen.is_loopback())
            .map(|m| m.name.to_string())
            .collect();
        if !exposed.is_empty() {
            let evidence = format!(
                "the {plane} plane of {} is plain HTTP on an address of the network",
                exposed.join(", ")
            );
            findings.push(
                PLAIN_EXPOSED
                    .error(plane, evidence)
                    .at(KeyPath::root("security").key(plane)),
            );
        }
    }
}

/// Directories that are the system's, and those of one member that lie in each other.
fn places(spec: &Spec, topology: &Topology, findings: &mut Vec<Finding>) {
    const SYSTEM: [&str; 24] = [
        "/bin",
        "/boot",
        "/dev",
        "/etc",
        "/home",
        "/lib",
        "/lib64",
        "/opt",
        "/proc",
        "/root",
        "/run",
        "/sbin",
        "/srv",
        "/sys",
        "/tmp",
        "/usr",
        "/usr/bin",
        "/usr/lib",
        "/usr/local",
        "/usr/sbin",
        "/usr/share",
        "/var",
        "/var/lib",
        "/var/tmp",
    ];
    // Directories that other programs share: their mode and owner are not etcdup's to set, but for
    // files that are there already.
    const SHARED: [&str; 8] = [
        "/etc/ssl",
        "/etc/ssl/certs",
        "/etc/ssl/private",
        "/etc/pki",
        "/etc/kubernetes",
        "/etc/kubernetes/pki",
        "/etc/systemd",
        "/etc/systemd/system",
    ];
    let in_place = topology
        .certificates
        .provided
        .as_ref()
        .is_some_and(|provided| provided.from == ProvidedFrom::Host);
    let apart = topology.hosts.len() > 1;
    for member in &topology.members {
        let at = || KeyPath::member(member.index);
        let own = || {
            let certificates = ("certificates", &member.layout.certificates);
            std::iter::once(certificates).chain(member.layout.own())
        };
        for (what, path) in own() {
            let is_shared =
                SHARED.contains(&path.as_str()) && (what != "certificates" || !in_place);
            if SYSTEM.contains(&path.as_str()) || is_shared {
                let evidence =
                    format!("{what} of {} in {path}, which is the system's", member.name);
                findings.push(
                    SYSTEM_PATH
                        .error(&member.name, evidence)
                        .at(KeyPath::root("layout").key(what)),
                );
            }
        }
        // etcd alone writes in both, and other users do not get in.
        let layout = &member.layout;
        let manifests = layout.manifest.parent();
        let reserved = [
            ("binaries", layout.binaries.parent()),
            ("host records", Some(layout.state.clone())),
            ("manifests", manifests),
        ];
        for (what, path) in layout.own() {
            let taken = |(_, other): &&(&str, Option<HostPath>)| {
                other.as_ref().is_some_and(|other| other.is_within(path))
            };
            if let Some((which, other)) = reserved.iter().find(taken) {
                let other = other.as_ref().map(ToString::to_string).unwrap_or_default();
                let evidence = format!("{what} in {path}, where {which} are in {other}");
                findings.push(
                    SYSTEM_PATH
                        .error(&member.name, evidence)
                        .at(KeyPath::root("layout").key(what)),
                );
            }
        }
        // The scripts know by its name whether a directory holds a member's data or its log alone.
        if let Some(wal) = &member.layout.wal
            && wal.file_name() == "member"
        {
            let evidence = format!("wal in {wal}: `member` is what etcd calls its data");
            findings.push(
                SYSTEM_PATH
                    .error(&member.name, evidence)
                    .at(KeyPath::root("layout").key("wal")),
            );
        }
        // Binaries lie in a directory per version: `/opt` itself may hold those.
        let binaries = spec.layout.binaries.as_ref();
        let spoilt = |path: &&HostPath| {
            SYSTEM.contains(&path.as_str()) && !["/opt", "/srv"].contains(&path.as_str())
        };
        if let Some(path) = binaries.filter(spoilt) {
            let evidence = format!("binaries in {path}, which is the system's");
            findings.push(
                SYSTEM_PATH
                    .error(&member.name, evidence)
                    .at(KeyPath::root("layout").key("binaries")),
            );
        }
        let mut seen: Vec<(&str, &HostPath)> = Vec::new();
        for (what, path) in own() {
            let mut others = seen.iter();
            let within =
                |(_, other): &&(&str, &HostPath)| path.is_within(other) || other.is_within(path);
            if let Some((which, other)) = others.find(within) {
                let evidence = format!("{which} in {other} and {what} in {path} lie in each other");
                findings.push(
                    SYSTEM_PATH
                        .error(&member.name, evidence)
                        .at(KeyPath::root("layout").key(what)),
                );
            }
            seen.push((what, path));
        }
        let nowhere = member.address.ip().is_some_and(|ip| ip.is_unspecified());
        if nowhere || (apart && member.address.is_loopback()) {
            let evidence = format!(
                "{} is not where other hosts find {}",
                member.address, member.name
            );
            findings.push(
                ADDRESS
                    .error(&member.name, evidence)
                    .at(at().key("address")),
            );
        }
    }
}

/// Where the sshd of a member's host listens. A port of etcd's is a slip in the host, which has its
/// own finding.
fn ssh_port(topology: &Topology, member: &Member) -> Option<u16> {
    match topology.hosts.get(&member.host)? {
        HostTarget::Ssh(ssh) => {
            Some(ssh.port.unwrap_or(22)).filter(|port| !matches!(port, 2379 | 2380))
        }
        HostTarget::Local { .. } | HostTarget::Vagrant(_) => None,
    }
}

fn clashes(topology: &Topology, findings: &mut Vec<Finding>) {
    for (index, member) in topology.members.iter().enumerate() {
        let at = || KeyPath::member(member.index);
        let own = [
            ("client-port", Some(member.ports.client)),
            ("peer-port", Some(member.ports.peer)),
            ("metrics-port", member.ports.metrics),
        ];
        let given: Vec<(&str, u16)> = own
            .iter()
            .filter_map(|(key, port)| Some((*key, (*port)?)))
            .collect();
        for (position, (key, port)) in given.iter().enumerate() {
            if *port == 0 {
                let evidence = format!("{key} is 0, which is no port");
                findings.push(PORT_CLASH.error(&member.name, evidence).at(at().key(key)));
            } else if Some(*port) == ssh_port(topology, member) {
                let evidence = format!("{key} is {port}, where its host's sshd listens");
                findings.push(PORT_CLASH.error(&member.name, evidence).at(at().key(key)));
            } else if let Some((other, _)) =
                given[..position].iter().find(|(_, other)| other == port)
            {
                let evidence = format!("{other} and {key} are both {port}");
                findings.push(PORT_CLASH.error(&member.name, evidence).at(at()));
            }
        }
        for other in topology.members[..index]
            .iter()
            .filter(|other| other.host == member.host)
        {
            let taken = [
                Some(other.ports.client),
                Some(other.ports.peer),
                other.ports.metrics,
            ];
            let apart = other.listen != member.listen
                && !other.listen.is_unspecified()
                && !member.listen.is_unspecified();
            for (key, port) in own
                .iter()
                .filter(|(_, port)| port.is_some() && taken.contains(port))
            {
                let loopback_too = *key == "metrics-port" || !member.listen.is_loopback();
                if apart && !loopback_too {
                    continue;
                }
                let evidence = format!(
                    "{} wants port {} of {} too",
                    other.name,
                    port.unwrap_or_default(),
                    member.host
                );
                findings.push(PORT_CLASH.error(&member.name, evidence).at(at().key(key)));
            }
            for (what, path) in member.layout.own() {
                let mut taken = other.layout.own();
                if taken.any(|(_, other)| path.is_within(other) || other.is_within(path)) {
                    let evidence = format!(
                        "{} and {} of {} would share {path}",
                        other.name, member.name, member.host
                    );
                    findings.push(PATH_CLASH.error(&member.name, evidence).at(at().key(what)));
                }
            }
        }
    }
}
