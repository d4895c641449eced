//! Checks of certificates before anything starts with them.

use etcdup_core::certificate::{CertFacts, Lookups, accept_peer, format_sans};
use etcdup_core::file::{KeyPath, TransportSecurity};
use etcdup_core::finding::{Check, Finding};
use etcdup_core::observation::{Observation, SourceFacts};
use etcdup_core::observed::Observed;
use etcdup_core::stage::{Artifact, Content};
use etcdup_core::topology::Member;

use super::stopped::StoppedMember;
use crate::target::Target;

pub(crate) const CERT_REFUSED: Check = Check {
    id: "cert-refused",
    title: "a peer would refuse a certificate",
    about: "etcd compares the address a peer connects from with the names in its certificate. A refusal in one direction \
            leaves `endpoint health` green and silently reduces redundancy; \"bad certificate\" is all the log says.",
    advice: "issue a certificate that names the address, or a name that resolves to it",
};
/// The check of files that the topology names.
pub const SOURCE_UNREADABLE: Check = Check {
    id: "source-unreadable",
    title: "a file that the topology names cannot be used",
    about: "A provided certificate, key, archive or directory is not where the file says, or is not what it should be.",
    advice: "put the file in its place, or correct the path",
};

pub(super) fn sources(target: &Target, seen: &Observation, findings: &mut Vec<Finding>) {
    let extra = |path: &str| {
        target
            .topology
            .files
            .iter()
            .position(|file| file.from == path)
    };
    let place = |path: &str| match extra(path) {
        Some(index) => KeyPath::root("file").index(index).key("from"),
        None if target.topology.certificates.provided.is_some() => KeyPath::root("certificates"),
        None => KeyPath::root("binaries"),
    };
    for (path, source) in &seen.sources {
        if let Observed::Unknown(unseen) = source {
            findings.push(
                SOURCE_UNREADABLE
                    .error(path, unseen.why.clone())
                    .at(place(path)),
            );
        }
    }
    for (path, source) in &seen.sources {
        let Some(source) = source.known() else {
            continue;
        };
        if let (Some(version), Some(wanted)) = (&source.version, &source.wanted)
            && version != wanted
        {
            let evidence = format!("{path} is etcd {version}, and {wanted} is wanted");
            findings.push(SOURCE_UNREADABLE.error(path, evidence).at(place(path)));
        }
    }
    for member in &target.topology.members {
        pairs(target, seen, member, findings);
        let Some(host) = seen.host(&member.host) else {
            continue;
        };
        for artifact in &target.desired(member).certificates {
            if let Content::OnHost(source) = &artifact.content {
                let unread = host.certificates.get(source).and_then(Observed::why);
                let evidence = match unread {
                    _ if !host.files.contains_key(source) => {
                        format!("{source} is not on {}", member.host)
                    }
                    Some(why) => format!("{source} on {} is no certificate: {why}", member.host),
                    None => continue,
                };
                findings.push(
                    SOURCE_UNREADABLE
                        .error(&member.name, evidence)
                        .at(KeyPath::root("certificates").key("provided")),
                );
            }
        }
    }
}

/// A CA that has ended, or is not good yet, serves nobody.
pub(super) fn ca(target: &Target, seen: &Observation, findings: &mut Vec<Finding>) {
    let certificates = &target.topology.certificates;
    let check = &crate::rules::operator::CA_BROKEN;
    let Some(provided) = &certificates.provided else {
        if let Some(Err(unmet)) = seen.ca.facts().map(|facts| facts.check_validity(seen.at)) {
            let at = KeyPath::root("certificates").key("ca");
            let evidence = format!("its certificate {unmet}");
            findings.push(check.error("ca", evidence).at(at));
        }
        return;
    };
    let at = || KeyPath::root("certificates").key("provided").key("ca");
    let Some(ca) = source(seen, &provided.ca) else {
        return;
    };
    if let Some(why) = &ca.damage {
        let evidence = format!("etcd would not start with it as its CA file: {why}");
        findings.push(SOURCE_UNREADABLE.error(&provided.ca, evidence).at(at()));
    }
    // A bundle may still hold a CA that has ended.
    if let Some(facts) = &ca.certificate
        && let Err(unmet) = facts.check_validity(seen.at)
        && facts
            .further
            .iter()
            .all(|further| further.not_after <= seen.at)
    {
        let advice = "name a CA file that holds a certificate which is valid now";
        let evidence = format!("the certificate in {} {unmet}", provided.ca);
        findings.push(check.error("ca", evidence).advise(advice).at(at()));
    }
}

fn source<'a>(seen: &'a Observation, path: &str) -> Option<&'a SourceFacts> {
    seen.sources.get(path)?.known()
}

/// Provided files that are no certificates, or whose key is another's.
fn pairs(target: &Target, seen: &Observation, member: &Member, findings: &mut Vec<Finding>) {
    if target.topology.certificates.provided.is_none() {
        return;
    }
    let at = || KeyPath::root("certificates").key("provided");
    let provided = |artifact: &Artifact| {
        let path = artifact.content.provided()?;
        Some((path.to_owned(), source(seen, path)?.clone()))
    };
    let files = &target.topology.certificates.files;
    let of = |name: &str| {
        let mut own = target.desired(member).certificates.iter();
        own.find(|artifact| artifact.path.file_name() == name)
            .and_then(provided)
    };
    let mut known = vec![(of(&files.ca), None)];
    for (role, _) in target.topology.certificates(member) {
        let pair = files.of(role);
        known.push((of(&pair.cert), of(&pair.key)));
    }
    for (cert, key) in known {
        let Some((path, cert)) = cert else { continue };
        if cert.certificate.is_none() {
            findings.push(
                SOURCE_UNREADABLE
                    .error(&member.name, format!("{path} holds no certificate"))
                    .at(at()),
            );
        } else if let Some((key_path, key)) = key
            && key.public_key != cert.public_key
        {
            let evidence = format!("{key_path} is not the key of {path}");
            findings.push(SOURCE_UNREADABLE.error(&member.name, evidence).at(at()));
        }
    }
}

/// Whether every other member would accept this one's provided certificate. What etcdup issues
/// names every address.
pub(super) fn peers(fresh: &StoppedMember<'_>, findings: &mut Vec<Finding>) {
    let topology = &fresh.target.topology;
    let at = || KeyPath::root("certificates").key("provided");
    served(fresh, findings);
    let Some(facts) = provided_of(fresh, peer_role(fresh)) else {
        return;
    };
    if topology.security.peer == TransportSecurity::Plain {
        return;
    }
    if let Err(unmet) = facts.check_validity(fresh.seen.at) {
        findings.push(
            CERT_REFUSED
                .error(&fresh.member.name, format!("the peer certificate {unmet}"))
                .at(at()),
        );
    }
    let mut refuse = |why: String| {
        findings.push(CERT_REFUSED.error(&fresh.member.name, why).at(at()));
    };
    if !facts.client_auth {
        refuse(
            "the peer certificate is not meant for clients: others would refuse the connections it makes, in that one direction"
                .to_owned(),
        );
    }
    if !facts.server_auth {
        refuse(
            "the peer certificate is not meant for servers: others would not connect to it"
                .to_owned(),
        );
    }
    let provided = topology.certificates.provided.as_ref();
    let ca = provided
        .and_then(|provided| source(fresh.seen, &provided.ca))
        .and_then(|source| source.certificate.as_ref());
    if let Some(ca) = ca
        && !facts.is_trusted_by(ca)
    {
        refuse(format!(
            "the peer certificate was issued by `{}`, and members trust `{}`",
            facts.issuer, ca.name
        ));
    }
    let Some(from) = fresh
        .member
        .address
        .ip()
        .or_else(|| Some(fresh.member.listen).filter(|ip| !ip.is_unspecified()))
    else {
        return;
    };
    for other in topology
        .members
        .iter()
        .filter(|other| other.name != fresh.member.name)
    {
        let Some(host) = fresh.seen.host(&other.host) else {
            continue;
        };
        let lookups = Lookups {
            reverse: host
                .reverse
                .iter()
                .flat_map(|(ip, names)| names.iter().map(|name| (*ip, name.clone())))
                .collect(),
            forward: host
                .names
                .iter()
                .flat_map(|(name, ips)| ips.iter().map(|ip| (name.clone(), *ip)))
                .collect(),
        };
        if let Err(refusal) = accept_peer(facts, from, &lookups) {
            let evidence = format!(
                "{} would refuse {}: {refusal}",
                other.name, fresh.member.name
            );
            findings.push(CERT_REFUSED.error(&fresh.member.name, evidence).at(at()));
            return;
        }
    }
}

/// Whether whoever connects to a member's URLs would accept the certificate it shows there.
fn served(fresh: &StoppedMember<'_>, findings: &mut Vec<Finding>) {
    let topology = &fresh.target.topology;
    for (role, _) in topology.certificates(fresh.member) {
        let Some(facts) = provided_of(fresh, role) else {
            continue;
        };
        if facts.covers(&fresh.member.address) {
            continue;
        }
        let url = if role == "peer" {
            topology.peer_url(fresh.member)
        } else {
            topology.client_url(fresh.member)
        };
        let evidence = format!(
            "the {role} certificate is valid for {}, so whoever connects to {url} refuses it",
            format_sans(&facts.sans)
        );
        findings.push(
            CERT_REFUSED
                .error(&fresh.member.name, evidence)
                .at(KeyPath::root("certificates").key("provided")),
        );
    }
}

fn peer_role(fresh: &StoppedMember<'_>) -> &'static str {
    if fresh.target.topology.shares_certificate() {
        "server"
    } else {
        "peer"
    }
}

fn provided_of<'a>(fresh: &StoppedMember<'a>, role: &str) -> Option<&'a CertFacts> {
    let name = &fresh.target.topology.certificates.files.of(role).cert;
    let artifact = fresh
        .target
        .desired(fresh.member)
        .certificates
        .iter()
        .find(|artifact| artifact.path.file_name() == *name)?;
    match &artifact.content {
        Content::Provided(source) => fresh
            .seen
            .sources
            .get(source)?
            .known()?
            .certificate
            .as_ref(),
        Content::OnHost(source) => fresh.host.certificates.get(source)?.known(),
        Content::Text(_) | Content::Ca | Content::Issued { .. } => None,
    }
}
