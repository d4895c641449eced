//! Checks of the topology as meant: of names, addresses, ports and paths, some of which only hosts know.

use std::collections::BTreeMap;

use super::document::KeyPath;
use super::lint::ADDRESS;
use super::resolve::{Member, Topology};
use super::spec::Plane;
use super::target::HostTarget;
use crate::finding::{Check, Finding};
use crate::name::MemberName;
use crate::path::HostPath;

pub(super) const DUPLICATE_NAME: Check = Check {
    id: "duplicate-name",
    title: "two members have one name",
    about: "etcd tells members apart by name while a cluster forms; two of one name never do.",
    advice: "give each member a name of its own",
};
pub(super) const DUPLICATE_ADDRESS: Check = Check {
    id: "duplicate-address",
    title: "two members have one URL",
    about: "Two members with the same address and peer port would be one to their peers. Users have noticed only \
            after an outage that two hosts were the same (kubespray issue 2111).",
    advice: "give each member its own address, or its own ports where members share a host",
};
pub(super) const PORT_CLASH: Check = Check {
    id: "port-clash",
    title: "members of one host want one port",
    about: "Members that share a host also share its ports. Each needs its own client, peer and metrics port.",
    advice: "set client-port, peer-port and metrics-port for the member",
};
pub(super) const PATH_CLASH: Check = Check {
    id: "path-clash",
    title: "members of one host want one directory",
    about: "Two members in one data directory destroy each other's data.",
    advice: "leave `data` out, or name a directory for each member",
};
pub(super) const PLAIN_EXPOSED: Check = Check {
    id: "plain-exposed",
    title: "plain HTTP that the network can reach",
    about: "Whoever reaches a plain client port reads and changes everything in etcd, Kubernetes' secrets too.",
    advice: "use `mutual`, listen on loopback, or say `allow-plain = true` under [security]",
};
pub(super) const SYSTEM_PATH: Check = Check {
    id: "system-path",
    title: "a directory that belongs to the system",
    about: "Directories for certificates, data and binaries are created, and their mode and owner are set. On /etc or /usr that \
            would break the host; inside one another they would be in each other's way.",
    advice: "name a directory of etcd's own, such as /etc/etcd",
};

/// All that is wrong or questionable once every name and address is known.
#[must_use]
pub fn lint_resolved(topology: &Topology) -> Vec<Finding> {
    let mut findings = Vec::new();
    duplicates(topology, &mut findings);
    security(topology, &mut findings);
    clashes(topology, &mut findings);
    places(topology, &mut findings);
    discovery(topology, &mut findings);
    findings
}

pub(super) fn duplicate_name(name: &MemberName, first: usize, index: usize) -> Finding {
    let evidence = format!("member {} of the file is called `{name}` too", first + 1);
    DUPLICATE_NAME
        .error(name, evidence)
        .at(KeyPath::member(index).key("name"))
}

fn duplicates(topology: &Topology, findings: &mut Vec<Finding>) {
    let mut urls: BTreeMap<String, usize> = BTreeMap::new();
    let mut names: BTreeMap<&MemberName, usize> = BTreeMap::new();
    for (index, member) in topology.members.iter().enumerate() {
        let given = &topology.spec.member[index];
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
    if topology.spec.discovery.is_none() {
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
    let security = &topology.spec.security;
    if security.allow_plain {
        return;
    }
    let planes = [("client", security.client), ("peer", security.peer)];
    for (plane, _) in planes.into_iter().filter(|(_, kind)| *kind == Plane::Plain) {
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
fn places(topology: &Topology, findings: &mut Vec<Finding>) {
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
    let apart = topology.hosts.len() > 1;
    for member in &topology.members {
        let at = || KeyPath::member(member.index);
        let own = [
            ("certificates", &member.layout.certificates),
            ("data", &member.layout.data),
        ];
        for (what, path) in own {
            if SYSTEM.contains(&path.as_str()) {
                let evidence =
                    format!("{what} of {} in {path}, which is the system's", member.name);
                findings.push(
                    SYSTEM_PATH
                        .error(&member.name, evidence)
                        .at(KeyPath::root("layout").key(what)),
                );
            }
        }
        // Binaries lie in a directory per version: `/opt` itself may hold those.
        let binaries = topology.spec.layout.binaries.as_ref();
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
        let (certificates, data) = (&member.layout.certificates, &member.layout.data);
        if certificates.is_within(data) || data.is_within(certificates) {
            let evidence =
                format!("certificates in {certificates} and data in {data} lie in each other");
            findings.push(
                SYSTEM_PATH
                    .error(&member.name, evidence)
                    .at(KeyPath::root("layout").key("data")),
            );
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

/// Where the sshd of a member's host listens. A port of etcd's is a slip in the host, which has its own finding.
fn ssh_port(topology: &Topology, member: &Member) -> Option<u16> {
    let host = &topology.spec.member.get(member.index)?.host;
    match HostTarget::from_spec(host, &topology.spec.ssh) {
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
            if member.layout.data.is_within(&other.layout.data)
                || other.layout.data.is_within(&member.layout.data)
            {
                let evidence = format!(
                    "{} and {} of {} would share {}",
                    other.name, member.name, member.host, member.layout.data
                );
                findings.push(
                    PATH_CLASH
                        .error(&member.name, evidence)
                        .at(at().key("data")),
                );
            }
        }
    }
}
