//! Checks of the file as it is written.

use std::collections::{BTreeMap, BTreeSet};

use super::binaries::binaries;
use super::duplicate::duplicate_name;
use super::flags::lint_flags;
use super::resolved::lint_resolved;
use super::rows::{
    ADDRESS, CLIENT_NAME, EVEN_MEMBERS, LIFETIME, MANY_VOTERS, NO_MEMBERS, SNAPSHOT_PLACE, TRUST,
};
use super::version::versions;
use crate::file::{HostSpec, KeyPath, Snapshots, Spec, TransportSecurity};
use crate::finding::Finding;
use crate::membership::quorum_of;
use crate::path::HostPath;
use crate::topology::resolve;

/// All that is wrong or questionable about a topology, before any host is asked.
#[must_use]
pub fn lint(spec: &Spec) -> Vec<Finding> {
    let mut findings = Vec::new();
    versions(spec, &mut findings);
    counts(spec, &mut findings);
    duplicate_names(spec, &mut findings);
    lifetimes(spec, &mut findings);
    findings.extend(binaries(&spec.binaries));
    names(spec, &mut findings);
    trust(spec, &mut findings);
    snapshots(spec, &mut findings);
    lint_flags(spec, &mut findings);
    if let Ok(topology) = resolve(spec, |_| None) {
        findings.extend(lint_resolved(spec, &topology));
    }
    findings
}

fn duplicate_names(spec: &Spec, findings: &mut Vec<Finding>) {
    let mut names = BTreeMap::new();
    let members = spec.member.iter().enumerate();
    // One that goes may have its name taken over.
    for (index, member) in members.filter(|(_, member)| !member.absent.is_absent()) {
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

fn counts(spec: &Spec, findings: &mut Vec<Finding>) {
    let present = spec.member.iter().filter(|one| !one.absent.is_absent());
    let count = present.count();
    let at = || KeyPath::root("member");
    if count == 0 {
        let finding = match spec.member.is_empty() {
            true => NO_MEMBERS.error("cluster", "there is no [[member]]"),
            false => NO_MEMBERS
                .error("cluster", "every [[member]] is absent")
                .advise("keep one; `etcdup reset` takes a cluster down"),
        };
        findings.push(finding.at(KeyPath::root("cluster")));
    } else if count.is_multiple_of(2) {
        let survives = (count - 1) / 2;
        let verb = if count == 2 { "does" } else { "do" };
        let evidence = format!(
            "{count} members survive the loss of {survives}, as {} {verb}",
            count - 1
        );
        findings.push(EVEN_MEMBERS.warning("cluster", evidence).at(at()));
    }
    if count > 7 {
        findings.push(
            MANY_VOTERS
                .warning(
                    "cluster",
                    format!("{count} voters; each write waits for {}", quorum_of(count)),
                )
                .at(at()),
        );
    }
}

/// CAs that are to be trusted where nothing comes of it.
fn trust(spec: &Spec, findings: &mut Vec<Finding>) {
    let trusted = &spec.certificates.trust;
    let mut refuse = |index: usize, evidence: String| {
        let at = KeyPath::root("certificates").key("trust").index(index);
        findings.push(TRUST.error("certificates", evidence).at(at));
    };
    let plain = |plane: TransportSecurity| plane == TransportSecurity::Plain;
    for (index, path) in trusted.iter().enumerate() {
        if spec.certificates.provided.is_some() {
            let evidence =
                "certificates are provided, and so is the CA file that says what is trusted";
            refuse(index, evidence.to_owned());
        } else if plain(spec.security.client_tls()) && plain(spec.security.peer) {
            refuse(index, "nothing speaks TLS under this [security]".to_owned());
        } else if path.as_str().is_empty() {
            refuse(index, "it names no file".to_owned());
        } else if trusted[..index].contains(path) {
            refuse(index, format!("`{path}` stands there twice"));
        }
    }
}

fn snapshots(spec: &Spec, findings: &mut Vec<Finding>) {
    let settings = &spec.snapshots;
    let mut refuse = |key: &str, evidence: String| {
        let at = KeyPath::root("snapshots").key(key);
        findings.push(SNAPSHOT_PLACE.error("snapshots", evidence).at(at));
    };
    if let Some((scheme, rest)) = settings.url().and_then(|url| url.split_once("://")) {
        if !Snapshots::SCHEMES.contains(&scheme) {
            refuse("to", format!("`{scheme}` is none of s3, gs and az"));
        } else if rest.contains(['@', '?', '#']) {
            refuse("to", "it has more than a bucket and a prefix".to_owned());
        } else if rest.trim_matches('/').is_empty() {
            refuse("to", "it names no bucket".to_owned());
        }
    } else {
        let unused = "it is for an object store, and `to` names none";
        if !settings.options.is_empty() {
            refuse("options", unused.to_owned());
        }
        if settings.credentials.is_some() {
            refuse("credentials", unused.to_owned());
        }
    }
    let is_secret = |name: &&String| {
        let words = [
            "secret",
            "token",
            "password",
            "access_key",
            "account_key",
            "sas",
        ];
        let name = name.to_lowercase();
        words.iter().any(|word| name.contains(word))
    };
    if let Some(name) = settings.options.keys().find(is_secret) {
        refuse("options", format!("`{name}` is a secret"));
    }
    if settings.encrypt.is_empty() && !settings.decrypt.is_empty() {
        refuse("decrypt", "nothing says how they are encrypted".to_owned());
    }
}

fn lifetimes(spec: &Spec, findings: &mut Vec<Finding>) {
    let certificates = &spec.certificates;
    let given = [
        (certificates.days, KeyPath::root("certificates").key("days")),
        (
            certificates.ca.days,
            KeyPath::root("certificates").key("ca").key("days"),
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

fn names(spec: &Spec, findings: &mut Vec<Finding>) {
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

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
