//! Checks of the topology that need no host: all at once, each with its place and a way out.

use std::collections::BTreeMap;

use super::document::KeyPath;
use super::layout::Ports;
use super::lint_flags::{
    FLAG_IN_VERSION, FLAG_OWNED, FLAG_VALUE, TLS_CONTRADICTION, UNKNOWN_FLAG, lint_flags,
};
use super::resolve::{Topology, resolve};
use super::spec::{AddressSpec, Binaries, HostSpec, Plane, RuntimeKind, Spec};
use crate::advisory::{Weight, advisories};
use crate::finding::{Check, Finding};
use crate::version::{KNOWN_MINORS, NEWEST_PATCHES};

/// Every check of this file and of the flags, for `etcdup explain`.
pub const LINTS: &[Check] = &[
    NO_MEMBERS,
    DUPLICATE_NAME,
    DUPLICATE_ADDRESS,
    EVEN_MEMBERS,
    MANY_VOTERS,
    PORT_CLASH,
    PATH_CLASH,
    VERSION_HAZARD,
    VERSION_UNKNOWN,
    PLAIN_EXPOSED,
    CHECKSUM_FORM,
    MIRROR_URL,
    SYSTEM_PATH,
    ADDRESS,
    CLIENT_NAME,
    NOT_YET,
    UNKNOWN_FLAG,
    FLAG_IN_VERSION,
    FLAG_OWNED,
    FLAG_VALUE,
    TLS_CONTRADICTION,
];

const NO_MEMBERS: Check = Check {
    id: "no-members",
    title: "the file names no member",
    about: "A cluster has at least one member. Each is a `[[member]]` table with a `host`.",
    advice: "add a [[member]] with a name and a host",
};
const DUPLICATE_NAME: Check = Check {
    id: "duplicate-name",
    title: "two members have one name",
    about: "etcd tells members apart by name while a cluster forms; two of one name never do.",
    advice: "give each member a name of its own",
};
const DUPLICATE_ADDRESS: Check = Check {
    id: "duplicate-address",
    title: "two members have one URL",
    about: "Two members with the same address and peer port would be one to their peers. Users have noticed only \
            after an outage that two hosts were the same (kubespray issue 2111).",
    advice: "give each member its own address, or its own ports where members share a host",
};
const EVEN_MEMBERS: Check = Check {
    id: "even-members",
    title: "an even number of members",
    about: "Four members survive the loss of one, as three do, but need three of four to agree. An even number costs \
            more and protects no better.",
    advice: "use 1, 3, 5 or 7 members",
};
const MANY_VOTERS: Check = Check {
    id: "many-voters",
    title: "more than seven voters",
    about: "Every write waits for a majority; past seven voters writes get slower and little is won. etcd's FAQ \
            recommends seven at most.",
    advice: "use 3 or 5 members",
};
const PORT_CLASH: Check = Check {
    id: "port-clash",
    title: "members of one host want one port",
    about: "Members that share a host also share its ports. Each needs its own client, peer and metrics port.",
    advice: "set client-port, peer-port and metrics-port for the member",
};
const PATH_CLASH: Check = Check {
    id: "path-clash",
    title: "members of one host want one directory",
    about: "Two members in one data directory destroy each other's data.",
    advice: "leave `data` out, or name a directory for each member",
};
const VERSION_HAZARD: Check = Check {
    id: "version-hazard",
    title: "a release with a known hazard",
    about: "The release has a fault that etcd's maintainers have described. A fault that loses data is refused for a new \
            cluster; others are warnings, for distributions lag behind.",
    advice: "use the newest patch of the minor",
};
const VERSION_UNKNOWN: Check = Check {
    id: "version-unknown",
    title: "a release this etcdup does not know",
    about: "A newer patch of a known minor is taken to have the flags of the newest known patch. A newer minor is refused, \
            for its flags and hazards are not known.",
    advice: "use a known minor, or a newer etcdup",
};
const PLAIN_EXPOSED: Check = Check {
    id: "plain-exposed",
    title: "plain HTTP that the network can reach",
    about: "Whoever reaches a plain client port reads and changes everything in etcd, Kubernetes' secrets too.",
    advice: "use `mutual`, listen on loopback, or say `allow-plain = true` under [security]",
};
const CHECKSUM_FORM: Check = Check {
    id: "checksum-form",
    title: "a checksum that is none",
    about: "A SHA-256 is 64 hexadecimal digits.",
    advice: "copy the line from SHA256SUMS",
};
const MIRROR_URL: Check = Check {
    id: "mirror-url",
    title: "a mirror's URL that cannot be used",
    about: "A mirror is an http or https URL. A password in it would show in plans, reports and the hosts' process lists.",
    advice: "write https://host/path; let a netrc file or a proxy log in",
};
const SYSTEM_PATH: Check = Check {
    id: "system-path",
    title: "a directory that belongs to the system",
    about: "Directories for certificates, data and binaries are created, and their mode and owner are set. On /etc or /usr that \
            would break the host; inside one another they would be in each other's way.",
    advice: "name a directory of etcd's own, such as /etc/etcd",
};
const ADDRESS: Check = Check {
    id: "address-unusable",
    title: "an address that others cannot use",
    about: "Peers and clients connect to this address. 0.0.0.0 is no place, and loopback leads each host to itself.",
    advice: "name the host's own address, or `address = { interface = \"..\" }`",
};
const CLIENT_NAME: Check = Check {
    id: "client-name",
    title: "a client named like the CA",
    about: "A client's files lie beside the CA's and carry its name: one called `ca` would overwrite the authority.",
    advice: "give the client another name",
};
const NOT_YET: Check = Check {
    id: "not-yet",
    title: "something this release does not do yet",
    about: "The file may say it already, so that files stay good; this release stops before anything changes rather than \
            pass over it.",
    advice: "leave it out, or wait for the release that does it",
};

/// All that is wrong or questionable about a topology, before any host is asked.
#[must_use]
pub fn lint(spec: &Spec) -> Vec<Finding> {
    let mut findings = Vec::new();
    not_yet(spec, &mut findings);
    versions(spec, &mut findings);
    counts(spec, &mut findings);
    duplicates(spec, &mut findings);
    security(spec, &mut findings);
    checksums(spec, &mut findings);
    names(spec, &mut findings);
    lint_flags(spec, &mut findings);
    if let Ok(topology) = resolve(spec, |_| None) {
        clashes(&topology, &mut findings);
        places(&topology, &mut findings);
    }
    findings
}

fn not_yet(spec: &Spec, findings: &mut Vec<Finding>) {
    let mut blocked = |subject: &str, what: &str, at: KeyPath| {
        findings.push(
            NOT_YET
                .error(subject, format!("{what} not done by this release"))
                .at(at),
        );
    };
    if spec.runtime == RuntimeKind::StaticPod {
        blocked("runtime", "static pods are", KeyPath::root("runtime"));
    }
    if spec.discovery.is_some() {
        blocked("discovery", "SRV discovery is", KeyPath::root("discovery"));
    }
    for (index, member) in spec.member.iter().enumerate() {
        if matches!(member.host, HostSpec::Vagrant(_)) {
            blocked(
                "host",
                "Vagrant machines are",
                KeyPath::member(index).key("host"),
            );
        }
        if member.absent {
            blocked(
                "absent",
                "taking members away is",
                KeyPath::member(index).key("absent"),
            );
        }
    }
}

fn versions(spec: &Spec, findings: &mut Vec<Finding>) {
    let at = || KeyPath::root("etcd");
    let Some(column) = spec.etcd.column() else {
        let known = KNOWN_MINORS.map(|minor| format!("3.{minor}")).join(", ");
        let evidence = format!("{} is of no known minor ({known})", spec.etcd);
        findings.push(VERSION_UNKNOWN.error(&spec.etcd, evidence).at(at()));
        return;
    };
    if !spec.etcd.is_known() {
        let newest = format!("3.{}.{}", KNOWN_MINORS[column], NEWEST_PATCHES[column]);
        let evidence = format!(
            "{} is newer than {newest}, the newest known; its flags are taken to be the same",
            spec.etcd
        );
        findings.push(VERSION_UNKNOWN.warning(&spec.etcd, evidence).at(at()));
    }
    for advisory in advisories(&spec.etcd) {
        let evidence = format!("{}: {} ({})", spec.etcd, advisory.what, advisory.source);
        let advice = match advisory.fixed {
            u64::MAX => "use a newer minor".to_owned(),
            fixed => format!("use 3.{}.{fixed} or later", advisory.minor),
        };
        let finding = match advisory.weight {
            Weight::Refuse => VERSION_HAZARD.error(&spec.etcd, evidence),
            Weight::Warn => VERSION_HAZARD.warning(&spec.etcd, evidence),
        };
        findings.push(finding.at(at()).advise(advice));
    }
}

fn counts(spec: &Spec, findings: &mut Vec<Finding>) {
    let count = spec.member.len();
    let at = || KeyPath::root("member");
    if count == 0 {
        findings.push(
            NO_MEMBERS
                .error("cluster", "there is no [[member]]")
                .at(KeyPath::root("cluster")),
        );
    } else if count.is_multiple_of(2) {
        let survives = (count - 1) / 2;
        let evidence = format!(
            "{count} members survive the loss of {survives}, as {} do",
            count - 1
        );
        findings.push(EVEN_MEMBERS.warning("cluster", evidence).at(at()));
    }
    if count > 7 {
        findings.push(
            MANY_VOTERS
                .warning(
                    "cluster",
                    format!("{count} voters; each write waits for {}", count / 2 + 1),
                )
                .at(at()),
        );
    }
}

fn duplicates(spec: &Spec, findings: &mut Vec<Finding>) {
    let mut names = BTreeMap::new();
    let mut urls = BTreeMap::new();
    for (index, member) in spec.member.iter().enumerate() {
        if let Some(name) = &member.name
            && let Some(first) = names.insert(name.clone(), index)
        {
            let evidence = format!("member {} of the file is called `{name}` too", first + 1);
            findings.push(
                DUPLICATE_NAME
                    .error(name, evidence)
                    .at(KeyPath::member(index).key("name")),
            );
        }
        let (address, key) = match (&member.address, &member.host) {
            (Some(AddressSpec::Given(address)), _) => (address.to_string(), "address"),
            (Some(AddressSpec::Interface(_)), _) => continue,
            (None, HostSpec::Text(text)) => (
                text.rsplit('@').next().unwrap_or(text).to_ascii_lowercase(),
                "host",
            ),
            (None, HostSpec::Ssh(ssh)) => (ssh.ssh.to_ascii_lowercase(), "host"),
            (None, HostSpec::Vagrant(machine)) => (machine.vagrant.clone(), "host"),
        };
        let port = Ports::of(member, &spec.layout).peer;
        if let Some(first) = urls.insert((address.clone(), port), index) {
            let evidence = format!(
                "member {} of the file has {address}, peer port {port}, too",
                first + 1
            );
            findings.push(
                DUPLICATE_ADDRESS
                    .error(&address, evidence)
                    .at(KeyPath::member(index).key(key)),
            );
        }
    }
}

fn security(spec: &Spec, findings: &mut Vec<Finding>) {
    if spec.security.allow_plain {
        return;
    }
    let Ok(topology) = resolve(spec, |_| None) else {
        return;
    };
    let planes = [
        ("client", spec.security.client),
        ("peer", spec.security.peer),
    ];
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

fn checksums(spec: &Spec, findings: &mut Vec<Finding>) {
    let at = |kind: &str| KeyPath::root("binaries").key(kind).key("sha256");
    let mut check = |sum: &str, at: KeyPath| {
        if sum.len() != 64 || !sum.chars().all(|c| c.is_ascii_hexdigit()) {
            findings.push(
                CHECKSUM_FORM
                    .error("sha256", format!("`{sum}` is no SHA-256"))
                    .at(at),
            );
        }
    };
    match &spec.binaries {
        Binaries::Release(release) => release
            .sha256
            .iter()
            .for_each(|(arch, sum)| check(sum, at("release").key(arch))),
        Binaries::Archive(archive) => archive
            .sha256
            .iter()
            .for_each(|sum| check(sum, at("archive"))),
        Binaries::Directory(_) | Binaries::Host(_) => {}
    }
}

fn names(spec: &Spec, findings: &mut Vec<Finding>) {
    if let Binaries::Release(release) = &spec.binaries
        && let Some(mirror) = &release.mirror
    {
        let rest = mirror
            .strip_prefix("https://")
            .or_else(|| mirror.strip_prefix("http://"));
        let plain = rest.is_some_and(|rest| {
            !rest.is_empty()
                && !rest.contains('@')
                && rest
                    .chars()
                    .all(|c| c.is_ascii_graphic() && c != '|' && c != '\'')
        });
        if !plain {
            let at = KeyPath::root("binaries").key("release").key("mirror");
            findings.push(
                MIRROR_URL
                    .error("mirror", "it is no http or https URL without a login")
                    .at(at),
            );
        }
    }
    for client in spec
        .certificates
        .clients
        .iter()
        .filter(|client| client.name.as_str() == "ca")
    {
        let at = KeyPath::root("certificates").key("clients");
        findings.push(
            CLIENT_NAME
                .error(&client.name, "its files would be the CA's own")
                .at(at),
        );
    }
    for (index, member) in spec.member.iter().enumerate() {
        let host = match &member.host {
            HostSpec::Text(text) => text,
            HostSpec::Ssh(ssh) => &ssh.ssh,
            HostSpec::Vagrant(_) => continue,
        };
        let bare = host.rsplit('@').next().unwrap_or_default();
        let bad = bare.is_empty()
            || bare.starts_with('-')
            || host.chars().any(|c| c.is_whitespace() || c.is_control());
        let port = bare
            .rsplit_once(':')
            .filter(|(left, _)| !left.contains(':') || left.ends_with(']'));
        if bad || port.is_some_and(|(_, port)| port.parse::<u16>().is_err()) {
            let evidence = format!("`{host}` is not `local` or [user@]host[:port]");
            findings.push(
                ADDRESS
                    .error("host", evidence)
                    .at(KeyPath::member(index).key("host")),
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

fn clashes(topology: &Topology, findings: &mut Vec<Finding>) {
    for (index, member) in topology.members.iter().enumerate() {
        let at = || KeyPath::member(member.index);
        let own = [
            ("client-port", Some(member.ports.client)),
            ("peer-port", Some(member.ports.peer)),
            ("metrics-port", member.ports.metrics),
        ];
        if member.ports.client == member.ports.peer {
            let evidence = format!("clients and peers both want port {}", member.ports.client);
            findings.push(PORT_CLASH.error(&member.name, evidence).at(at()));
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

#[cfg(test)]
#[path = "lint_tests.rs"]
mod tests;
