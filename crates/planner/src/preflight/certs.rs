//! Checks of certificates before anything starts with them.

use etcdup_core::certificate::{CertFacts, Lookups, accept_peer};
use etcdup_core::finding::{Check, Finding};
use etcdup_core::observation::Observation;
use etcdup_core::seen::Seen;
use etcdup_core::stage::Content;
use etcdup_core::topology::{KeyPath, Plane};

use super::Fresh;
use crate::planner::Planner;

pub(super) const CERT_REFUSED: Check = Check {
    id: "cert-refused",
    title: "a peer would refuse a certificate",
    about: "etcd compares the address a peer connects from with the names in its certificate. A refusal in one direction \
            leaves `endpoint health` green and costs redundancy unnoticed; \"bad certificate\" is all the log says.",
    advice: "issue a certificate that names the address, or a name that resolves to it",
};
pub(super) const SOURCE_UNREADABLE: Check = Check {
    id: "source-unreadable",
    title: "a file that the topology names cannot be used",
    about: "A provided certificate, key, archive or directory is not where the file says, or is not what it should be.",
    advice: "put the file in its place, or correct the path",
};

pub(super) fn sources(planner: &Planner, seen: &Observation, findings: &mut Vec<Finding>) {
    let extra = |path: &str| {
        planner
            .topology
            .spec
            .file
            .iter()
            .position(|file| file.from == path)
    };
    let place = |path: &str| match extra(path) {
        Some(index) => KeyPath::root("file").index(index).key("from"),
        None if planner.topology.spec.certificates.provided.is_some() => {
            KeyPath::root("certificates")
        }
        None => KeyPath::root("binaries"),
    };
    for (path, source) in &seen.sources {
        if let Seen::No(unseen) = source {
            findings.push(
                SOURCE_UNREADABLE
                    .error(path, unseen.why.clone())
                    .at(place(path)),
            );
        }
    }
    for member in &planner.topology.members {
        let Some(host) = seen.host(&member.host) else {
            continue;
        };
        for artifact in &planner.wanted(member).certificates {
            if let Content::OnHost(source) = &artifact.content
                && !host.files.contains_key(source)
            {
                let evidence = format!("{source} is not on {}", member.host);
                findings.push(
                    SOURCE_UNREADABLE
                        .error(&member.name, evidence)
                        .at(KeyPath::root("certificates").key("provided")),
                );
            }
        }
    }
}

/// Whether every other member would accept this one's provided certificate. What etcdup issues names every address.
pub(super) fn peers(fresh: &Fresh<'_>, findings: &mut Vec<Finding>) {
    let topology = &fresh.planner.topology;
    let Some(facts) = provided_peer(fresh) else {
        return;
    };
    if topology.spec.security.peer == Plane::Plain {
        return;
    }
    let at = || KeyPath::root("certificates").key("provided");
    if let Err(unmet) = facts.in_time(fresh.seen.at) {
        findings.push(
            CERT_REFUSED
                .error(
                    &fresh.member.name,
                    format!("the peer certificate is {unmet}"),
                )
                .at(at()),
        );
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

fn provided_peer<'a>(fresh: &Fresh<'a>) -> Option<&'a CertFacts> {
    let topology = &fresh.planner.topology;
    let role = if topology.shares_certificate() {
        "server"
    } else {
        "peer"
    };
    let name = &topology.spec.certificates.files.of(role).cert;
    let artifact = fresh
        .planner
        .wanted(fresh.member)
        .certificates
        .iter()
        .find(|artifact| artifact.path.file_name() == *name)?;
    match &artifact.content {
        Content::Provided(source) => fresh.seen.sources.get(source)?.yes()?.certificate.as_ref(),
        Content::OnHost(source) => fresh.host.certificates.get(source)?.yes(),
        Content::Text(_) | Content::Authority | Content::Issued { .. } => None,
    }
}
