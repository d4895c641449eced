//! What certificates are trusted by: the CA of a running cluster is never replaced because a file
//! is missing here.

use std::collections::BTreeMap;

use etcdup_core::certificate::CertFacts;
use etcdup_core::file::KeyPath;
use etcdup_core::finding::{Check, Finding};
use etcdup_core::observation::{CaView, DataDir, HostView, Observation};
use etcdup_core::observed::Observed;
use etcdup_core::path::HostPath;
use etcdup_core::plain::harmless;
use etcdup_core::stage::{Artifact, Content, Part};
use etcdup_core::topology::Member;

use crate::target::Target;

pub(crate) const CHECKS: &[Check] = &[CA_MISSING, CA_OTHER, OPERATOR_CLOCK];

const CA_MISSING: Check = Check {
    id: "ca-missing",
    title: "the cluster's CA is not on this machine",
    about: "Hosts hold a CA certificate, member data or a running member, and this machine has no CA for the cluster. A new CA \
            would replace what every member and client trusts: no connection would be accepted any more. A new CA is made \
            only for a cluster that has never run.",
    advice: "copy the `pki/<cluster>` directory from the machine where the cluster was set up, or name the CA's files with \
             certificates.ca.cert and .key (or .key-command)",
};
pub(crate) const CA_OTHER: Check = Check {
    id: "ca-mismatch",
    title: "the hosts trust another CA than this machine has",
    about: "Members and clients accept only certificates of the CA that they started with. Writing another CA, or certificates \
            of another CA, cuts off every member and client. Where certificates are provided, a CA file that holds the old CA \
            and a further one may be rolled out, and certificates of the new CA may follow in an apply of their own. Dropping \
            the old CA is not supported yet, nor is a second CA where etcdup issues.",
    advice: "use the CA that the cluster was set up with: copy its `pki/<cluster>` directory here, or name its files under \
             [certificates]",
};
const OPERATOR_CLOCK: Check = Check {
    id: "clock-operator",
    title: "this machine's clock differs from the hosts' clocks",
    about: "Certificates are dated by the machine that issues them. More than five minutes off, they are not valid yet, or are \
            renewed too early or too late, on every host at once. A laptop whose hardware clock keeps local time is hours off.",
    advice: "set this machine's clock (chrony, ntp or systemd-timesyncd), then run again",
};

/// How far the operator's clock may be from the hosts' before nothing is issued: certificates are
/// valid from an hour before they are issued, so minutes do no harm, and Kerberos and most CAs draw
/// the line here too.
const CLOCK_LIMIT_MS: i64 = 5 * 60 * 1000;

/// What stands in the way of using the CA that is here, or of making one.
pub(crate) fn conflicts(target: &Target, seen: &Observation) -> Vec<Finding> {
    let topology = &target.topology;
    if !topology.uses_tls() {
        return Vec::new();
    }
    match &seen.ca {
        CaView::Absent => missing(target, seen).into_iter().collect(),
        CaView::Usable(facts) | CaView::WithoutKey(facts) => mismatches(target, seen, facts),
        CaView::Unneeded | CaView::Broken(_) => Vec::new(),
    }
}

/// The members whose hosts were seen, with the artifact of their CA certificate.
pub(crate) fn with_ca<'a>(
    target: &'a Target,
    seen: &'a Observation,
) -> impl Iterator<Item = (&'a Member, &'a HostView, &'a Artifact)> {
    target.topology.members.iter().filter_map(|member| {
        let host = seen.host(&member.host)?;
        Some((member, host, target.ca_artifact(member)?))
    })
}

/// There is no CA here: whether anything on the hosts says that the cluster has one.
fn missing(target: &Target, seen: &Observation) -> Option<Finding> {
    // Hosts by what they have: three times the same words say no more than once.
    let mut evidence: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (member, host, ca) in with_ca(target, seen) {
        let data = host.data.get(&member.layout.data);
        let found = match host.certificates.get(&ca.path) {
            Some(Observed::Known(facts)) => Some(format!("the certificate of `{}`", facts.name)),
            _ if host.files.contains_key(&ca.path) => Some(ca.path.to_string()),
            _ if host.processes.contains_key(&member.name) => {
                Some(format!("{} running", member.name))
            }
            _ if matches!(data, Some(DataDir::Member(_))) => {
                Some(format!("data of {}", member.name))
            }
            _ => None,
        };
        if let Some(found) = found {
            let hosts = evidence.entry(found).or_default();
            hosts.push(member.host.to_string());
        }
    }
    if evidence.is_empty() {
        return None;
    }
    let origin = origin(target, seen).map_or(String::new(), |origin| {
        format!("; the cluster was set up by {origin}")
    });
    let evidence: Vec<String> = evidence
        .iter()
        .map(|(found, hosts)| {
            let have = if hosts.len() == 1 { "has" } else { "have" };
            format!("{} {have} {found}", hosts.join(", "))
        })
        .collect();
    let evidence = format!("there is no CA here, but {}{origin}", evidence.join("; "));
    let at = KeyPath::root("certificates").key("ca");
    Some(CA_MISSING.error("ca", evidence).at(at))
}

/// Who set the cluster up, and where: the CA was made there.
fn origin(target: &Target, seen: &Observation) -> Option<String> {
    let hosts = target.topology.hosts.keys().filter_map(|id| seen.host(id));
    let records = hosts.filter_map(HostView::record);
    let mut origins: Vec<_> = records
        .filter_map(|record| record.origin.as_ref())
        .collect();
    origins.sort_by(|a, b| a.at.cmp(&b.at));
    let first = origins.first()?;
    Some(format!(
        "{} in {} on {}",
        harmless(&first.who),
        harmless(&first.directory),
        harmless(first.at.split('T').next().unwrap_or_default())
    ))
}

/// Members whose CA certificate, or whose own certificate's issuer, is not the CA that this machine
/// would use.
fn mismatches(target: &Target, seen: &Observation, wanted: &CertFacts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (member, host, ca) in with_ca(target, seen) {
        let found = host.certificates.get(&ca.path).and_then(Observed::known);
        let other = match found {
            Some(found) => !same_ca(found, wanted),
            None => issued_by_another(target, member, host, wanted),
        };
        if other {
            let name = found.map_or("another CA", |found| found.name.as_str());
            let origin = origin(target, seen).map_or(String::new(), |origin| {
                format!("; it was set up by {origin}")
            });
            let evidence = format!(
                "{} on {} is of `{name}` (key {}), and the CA here is `{}` (key {}){origin}",
                ca.path,
                member.host,
                short(found.map_or("", |found| &found.key_id)),
                wanted.name,
                short(&wanted.key_id),
            );
            let at = KeyPath::root("certificates");
            findings.push(CA_OTHER.error(&member.name, evidence).at(at));
        }
    }
    findings
}

pub(crate) fn short(key_id: &str) -> &str {
    if key_id.is_empty() {
        "unknown"
    } else {
        key_id.get(..12).unwrap_or(key_id)
    }
}

/// Whether two CA certificates are of one key: a renewed certificate of the same CA still verifies
/// what it issued.
fn same_ca(found: &CertFacts, wanted: &CertFacts) -> bool {
    found.fingerprint == wanted.fingerprint
        || (!wanted.key_id.is_empty() && found.key_id == wanted.key_id && found.name == wanted.name)
}

/// The CA's certificate is missing on the host: then its members' own certificates tell who the CA
/// is.
fn issued_by_another(
    target: &Target,
    member: &Member,
    host: &HostView,
    wanted: &CertFacts,
) -> bool {
    let issued = |artifact: &&Artifact| {
        matches!(
            artifact.content,
            Content::Issued {
                part: Part::Certificate,
                ..
            }
        )
    };
    let certificates = target.desired(member).certificates.iter().filter(issued);
    let found = certificates.filter_map(|artifact| host.certificates.get(&artifact.path)?.known());
    // A certificate made by openssl may have no key IDs: then names are all there is to compare.
    found.into_iter().any(|facts| {
        if facts.issuer_key_id.is_empty() || wanted.key_id.is_empty() {
            facts.issuer != wanted.name
        } else {
            facts.issuer_key_id != wanted.key_id
        }
    })
}

/// Refuses to issue anything by a clock that the hosts do not share.
pub(crate) fn operator_clock(target: &Target, seen: &Observation) -> Option<Finding> {
    let hosts = target.topology.hosts.keys().filter_map(|id| seen.host(id));
    let facts = hosts.map(|host| &host.facts);
    // A host whose clock could not be measured better than the limit tells nothing.
    let sure = facts.filter(|facts| facts.clock_error_ms < CLOCK_LIMIT_MS);
    let mut ahead: Vec<i64> = sure.map(|facts| facts.clock_ahead_ms).collect();
    ahead.sort_unstable();
    let median = *ahead.get(ahead.len() / 2)?;
    if median.abs() <= CLOCK_LIMIT_MS {
        return None;
    }
    let (side, seconds) = if median < 0 {
        ("ahead of", -median / 1000)
    } else {
        ("behind", median / 1000)
    };
    let evidence = format!(
        "this machine is {seconds} s {side} the hosts, and certificates would be issued by its clock"
    );
    Some(OPERATOR_CLOCK.error("operator", evidence))
}

/// Whether a member's certificate on its host keeps it from being reached at all, so that a new one
/// cannot make it worse.
pub(crate) fn is_cut_off(seen: &Observation, host: &HostView, path: &HostPath) -> bool {
    match host.certificates.get(path) {
        Some(Observed::Known(facts)) => facts.check_validity(seen.at).is_err(),
        Some(Observed::Unknown(_)) | None => true,
    }
}
