//! Checks of the topology that need no host: all at once, each with its place and a way out.

use std::collections::{BTreeMap, BTreeSet};

use super::document::KeyPath;
use super::lint_flags::{
    FLAG_IN_VERSION, FLAG_OWNED, FLAG_VALUE, TLS_CONTRADICTION, UNKNOWN_FLAG, lint_flags,
};
use super::lint_resolved::{
    DUPLICATE_ADDRESS, DUPLICATE_NAME, PATH_CLASH, PLAIN_EXPOSED, PORT_CLASH, SYSTEM_PATH,
    duplicate_name, lint_resolved,
};
use super::resolve::resolve;
use super::spec::{Binaries, HostSpec, Spec};
use crate::advisory::{Advisory, Weight, advisories};
use crate::finding::{Check, Finding};
use crate::path::HostPath;
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
    LIFETIME,
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
pub(super) const ADDRESS: Check = Check {
    id: "address-unusable",
    title: "an address that others cannot use",
    about: "Peers and clients connect to this address. 0.0.0.0 is no place, and loopback leads each host to itself.",
    advice: "name the host's own address, or `address = { interface = \"..\" }`",
};
const LIFETIME: Check = Check {
    id: "certificate-settings",
    title: "a setting of certificates that cannot be used",
    about: "Lifetimes are 1 to 36500 days, and every certificate and key has a file name of its own on its host.",
    advice: "correct the setting, or leave it out",
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
    duplicate_names(spec, &mut findings);
    lifetimes(spec, &mut findings);
    checksums(spec, &mut findings);
    names(spec, &mut findings);
    lint_flags(spec, &mut findings);
    if let Ok(topology) = resolve(spec, |_| None) {
        findings.extend(lint_resolved(&topology));
    }
    findings
}

fn duplicate_names(spec: &Spec, findings: &mut Vec<Finding>) {
    let mut names = BTreeMap::new();
    for (index, member) in spec.member.iter().enumerate() {
        if let Some(name) = &member.name
            && let Some(first) = names.insert(name.clone(), index)
        {
            findings.push(duplicate_name(name, first, index));
        }
    }
    let mut clients = BTreeSet::new();
    for client in &spec.certificates.clients {
        if !clients.insert(&client.name) {
            let at = KeyPath::root("certificates").key("clients");
            findings.push(
                CLIENT_NAME
                    .error(
                        &client.name,
                        format!("`{}` stands there twice", client.name),
                    )
                    .at(at),
            );
        }
    }
}

fn not_yet(spec: &Spec, findings: &mut Vec<Finding>) {
    let mut blocked = |subject: &str, what: &str, at: KeyPath| {
        findings.push(
            NOT_YET
                .error(subject, format!("{what} not done by this release"))
                .at(at),
        );
    };
    for (index, member) in spec.member.iter().enumerate() {
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
    let (refused, warned): (Vec<&Advisory>, Vec<&Advisory>) =
        advisories(&spec.etcd).partition(|advisory| advisory.weight == Weight::Refuse);
    // All at once: a box for each would drown what matters.
    if let Some(evidence) = known_issues(spec, &refused) {
        let finding = VERSION_HAZARD.error(&spec.etcd, evidence);
        findings.push(finding.at(at()).advise(way_out(&refused)));
    } else if let Some(evidence) = known_issues(spec, &warned) {
        let finding = VERSION_HAZARD.warning(&spec.etcd, evidence);
        findings.push(finding.at(at()).advise(way_out(&warned)));
    }
}

/// The known issues of a release in one line.
fn known_issues(spec: &Spec, advisories: &[&Advisory]) -> Option<String> {
    let what: Vec<String> = advisories
        .iter()
        .map(|advisory| format!("{} ({})", advisory.what, advisory.source))
        .collect();
    (!what.is_empty()).then(|| format!("{} has known issues: {}", spec.etcd, what.join("; ")))
}

/// The first release without any of them.
fn way_out(advisories: &[&Advisory]) -> String {
    let fixed = advisories
        .iter()
        .filter(|advisory| advisory.fixed != u64::MAX);
    match fixed.max_by_key(|advisory| advisory.fixed) {
        Some(last) => format!("use 3.{}.{} or later", last.minor, last.fixed),
        None => "use a newer minor".to_owned(),
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

fn lifetimes(spec: &Spec, findings: &mut Vec<Finding>) {
    let certificates = &spec.certificates;
    let given = [
        (certificates.days, KeyPath::root("certificates").key("days")),
        (
            certificates.authority.days,
            KeyPath::root("certificates").key("authority").key("days"),
        ),
    ];
    for (days, at) in given {
        if !(1..=36_500).contains(&days) {
            let evidence = format!("{days} days are no lifetime: 1 to 36500");
            findings.push(LIFETIME.error("certificates", evidence).at(at));
        }
    }
    for pair in certificates
        .provided
        .iter()
        .flat_map(|provided| [Some(&provided.server), provided.peer.as_ref()])
        .flatten()
    {
        if pair.cert == pair.key {
            let evidence = format!(
                "`{}` is named as certificate and as key: a certificate is for everybody to read",
                pair.cert
            );
            let at = KeyPath::root("certificates").key("provided");
            findings.push(LIFETIME.error("certificates", evidence).at(at));
        }
    }
    let files = &certificates.files;
    let names = [
        &files.ca,
        &files.server.cert,
        &files.server.key,
        &files.peer.cert,
        &files.peer.key,
    ];
    let mut seen = BTreeSet::new();
    for name in names {
        let plain = !name.contains('/') && HostPath::try_from(format!("/{name}")).is_ok();
        if !plain || !seen.insert(name) {
            let evidence = format!("`{name}` is no file name of its own");
            let at = KeyPath::root("certificates").key("files");
            findings.push(LIFETIME.error("certificates", evidence).at(at));
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
                    .error("mirror", "it is not an http or https URL without a login")
                    .at(at),
            );
        } else if mirror.starts_with("http://") && release.sha256.is_empty() && !is_loopback(mirror)
        {
            let at = KeyPath::root("binaries").key("release").key("mirror");
            let evidence = format!(
                "{mirror} is plain HTTP, and the checksums would come from there too: anyone in between could replace etcd"
            );
            findings.push(MIRROR_URL.error("mirror", evidence).at(at).advise(
                "use https, or give the archives' checksums under [binaries.release.sha256]",
            ));
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
        let scoped = bare.contains('%');
        let twice = host.matches('@').count() > 1;
        // Four numbers that are no address are a slip, not a name.
        let name = bare.split(':').next().unwrap_or_default();
        let numbers = name.split('.').count() == 4
            && name
                .split('.')
                .all(|part| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit()))
            && name.parse::<std::net::Ipv4Addr>().is_err();
        let bad = bad || scoped || twice || numbers;
        if bad || port.is_some_and(|(_, port)| port.parse::<u16>().is_err()) {
            let evidence = format!("`{host}` is not `local` or [user@]host[:port]");
            findings.push(
                ADDRESS
                    .error("host", evidence)
                    .at(KeyPath::member(index).key("host")),
            );
        } else if let Some((_, etcd @ ("2379" | "2380"))) = port {
            let evidence = format!("{etcd} is a port of etcd's, and this one is for SSH");
            findings.push(
                ADDRESS
                    .warning("host", evidence)
                    .at(KeyPath::member(index).key("host"))
                    .advise("leave the port out; etcd's own are `client-port` and `peer-port`"),
            );
        }
    }
}

/// A mirror on the machine that downloads has no network in between.
fn is_loopback(mirror: &str) -> bool {
    let host = mirror.trim_start_matches("http://");
    ["127.0.0.1", "localhost", "[::1]"].iter().any(|own| {
        host.strip_prefix(own)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/']))
    })
}

#[cfg(test)]
#[path = "lint_tests.rs"]
mod tests;
