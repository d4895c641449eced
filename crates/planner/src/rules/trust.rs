//! What certificates are trusted by: the CA of a running cluster is never replaced because a file is missing here.

use std::collections::BTreeMap;

use etcdup_core::certificate::CertFacts;
use etcdup_core::file::{KeyPath, TransportSecurity};
use etcdup_core::finding::{Check, Finding};
use etcdup_core::observation::{AuthorityView, DataDir, HostView, Observation};
use etcdup_core::observed::Observed;
use etcdup_core::path::HostPath;
use etcdup_core::plain::harmless;
use etcdup_core::stage::{Artifact, Content, Part};
use etcdup_core::topology::Member;

use crate::assess::{Assessment, is_applied};
use crate::target::Target;

pub(crate) const CHECKS: &[Check] = &[CA_MISSING, CA_OTHER, CLIENT_UNTRUSTED, OPERATOR_CLOCK];

const CA_MISSING: Check = Check {
    id: "ca-missing",
    title: "the cluster's CA is not on this machine",
    about: "Hosts hold a CA certificate, member data or a running member, and this machine has no CA for the cluster. A new CA \
            would replace what every member and client trusts: no connection would be accepted any more. A new CA is made \
            only for a cluster that has never run.",
    advice: "copy the `pki/<cluster>` directory from the machine where the cluster was set up, or name the CA's files with \
             certificates.authority.cert and .key (or .key-command)",
};
const CA_OTHER: Check = Check {
    id: "ca-mismatch",
    title: "the hosts trust another CA than this machine has",
    about: "Members and clients accept only certificates of the CA that they started with. Writing another CA, or certificates \
            of another CA, cuts off every member and client. Where certificates are provided, a CA file that holds the old CA \
            and a further one is rolled out, and certificates of the new CA follow. Dropping the old CA is not supported \
            yet, nor is a second CA where etcdup issues.",
    advice: "use the CA that the cluster was set up with: copy its `pki/<cluster>` directory here, or name its files under \
             [certificates]",
};
const CLIENT_UNTRUSTED: Check = Check {
    id: "client-untrusted",
    title: "members would refuse the client certificate that etcdup shows them",
    about: "Members accept only clients whose certificate was issued by a CA that they have trusted since they started. Where \
            certificates are provided, etcdup shows that of `certificates.provided.operator`, else the server certificate of the \
            first member. Until a further CA is rolled out to all members, it must be one of a CA that they trust already.",
    advice: "name a client certificate that members trust now under certificates.provided.operator; change it once the new CA \
             is rolled out",
};
const OPERATOR_CLOCK: Check = Check {
    id: "clock-operator",
    title: "this machine's clock differs from the hosts' clocks",
    about: "Certificates are dated by the machine that issues them. More than five minutes off, they are not valid yet, or are \
            renewed too early or too late, on every host at once. A laptop whose hardware clock keeps local time is hours off.",
    advice: "set this machine's clock (chrony, ntp or systemd-timesyncd), then run again",
};

/// How far the operator's clock may be from the hosts' before nothing is issued: certificates are valid from an hour before
/// they are issued, so minutes do no harm, and Kerberos and most CAs draw the line here too.
const CLOCK_LIMIT_MS: i64 = 5 * 60 * 1000;

/// What stands in the way of using the CA that is here, or of making one.
pub(crate) fn conflicts(target: &Target, seen: &Observation) -> Vec<Finding> {
    let topology = &target.topology;
    if !topology.uses_tls() {
        return Vec::new();
    }
    let provided = topology.certificates.provided.is_some();
    match &seen.authority {
        AuthorityView::Absent => missing(target, seen).into_iter().collect(),
        AuthorityView::Usable(facts) | AuthorityView::WithoutKey(facts) => {
            mismatches(target, seen, facts)
        }
        AuthorityView::Unneeded if provided => provided_mismatches(target, seen),
        AuthorityView::Unneeded | AuthorityView::Broken(_) => Vec::new(),
    }
}

/// The members whose hosts were seen, with the artifact of their CA certificate.
fn with_ca<'a>(
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
    let at = KeyPath::root("certificates").key("authority");
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

/// Members whose CA certificate, or whose own certificate's issuer, is not the CA that this machine would use.
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

fn short(key_id: &str) -> &str {
    if key_id.is_empty() {
        "unknown"
    } else {
        key_id.get(..12).unwrap_or(key_id)
    }
}

/// Whether two CA certificates are of one key: a renewed certificate of the same CA still verifies what it issued.
fn same_ca(found: &CertFacts, wanted: &CertFacts) -> bool {
    found.fingerprint == wanted.fingerprint
        || (!wanted.key_id.is_empty() && found.key_id == wanted.key_id && found.name == wanted.name)
}

/// The CA's certificate is missing on the host: then its members' own certificates tell who the CA is.
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

/// Certificates that others made: nothing that members or clients trust today may be taken from them, and no certificate may
/// come to a running member whose issuer the file's CA does not have.
fn provided_mismatches(target: &Target, seen: &Observation) -> Vec<Finding> {
    let mut findings = Vec::new();
    let at = || KeyPath::root("certificates").key("provided");
    for (member, host, ca) in with_ca(target, seen) {
        let Some(wanted) = provided_facts(seen, host, ca) else {
            continue;
        };
        let mut refuse = |evidence: String| {
            findings.push(CA_OTHER.error(&member.name, evidence).at(at()));
        };
        let (place, here) = (&ca.path, &member.host);
        // A CA whose own certificate has ended verifies nothing any more.
        let found = host.certificates.get(place).and_then(Observed::known);
        let trusted = found.map(CertFacts::file).unwrap_or_default();
        let lost = trusted.iter().filter(|found| {
            let kept = wanted
                .file()
                .iter()
                .any(|wanted| wanted.has_same_key(found));
            !kept && found.not_after > seen.at
        });
        for lost in lost {
            refuse(format!(
                "{place} on {here} trusts `{}` (key {}), and the CA file that is provided does not hold it",
                lost.name,
                short(&lost.key_id),
            ));
        }
        for [artifact, _] in target.pairs(member) {
            let on_host = host
                .certificates
                .get(&artifact.path)
                .and_then(Observed::known);
            let untrusted = |facts: &&CertFacts| !facts.is_trusted_by(wanted);
            if let Some(facts) = on_host.filter(untrusted) {
                refuse(format!(
                    "{} on {here} was issued by `{}`, and the CA file that is provided does not hold it",
                    artifact.path, facts.issuer
                ));
            }
            let running = host.processes.contains_key(&member.name);
            let coming = provided_facts(seen, host, artifact).filter(|_| running);
            if let Some(facts) = coming.filter(untrusted) {
                refuse(format!(
                    "the new {} for {here} was issued by `{}`, and the CA file that is provided does not hold it",
                    artifact.path.file_name(),
                    facts.issuer
                ));
            }
        }
    }
    findings.extend(untrusted_client(target, seen));
    findings
}

/// The certificate that etcdup itself shows to members, refused by one that runs: nothing could be asked, so nothing be rolled.
fn untrusted_client(target: &Target, seen: &Observation) -> Option<Finding> {
    let topology = &target.topology;
    let provided = topology.certificates.provided.as_ref()?;
    if topology.security.client != TransportSecurity::Mutual {
        return None;
    }
    let first = topology.members.first()?;
    let path = provided
        .client_pair()
        .0
        .replace("{member}", first.name.as_str());
    let shown = seen.sources.get(&path)?.known()?.certificate.as_ref()?;
    let refuses = |member: &&Member| {
        let ca = running_trust(target, seen, member).flatten();
        ca.is_some_and(|ca| !shown.is_trusted_by(ca))
    };
    let member = topology.members.iter().find(refuses)?;
    let evidence = format!(
        "{path} was issued by `{}`, which {} does not trust yet",
        shown.issuer, member.name
    );
    let at = KeyPath::root("certificates").key("provided");
    Some(
        CLIENT_UNTRUSTED
            .error(&member.name, evidence)
            .at(at.key("operator")),
    )
}

/// The CA file of a running member as its etcd read it: `None` where none runs, `Some(None)` where one may run and what it read
/// is not known.
fn running_trust<'a>(
    target: &Target,
    seen: &'a Observation,
    member: &Member,
) -> Option<Option<&'a CertFacts>> {
    let Some(host) = seen.host(&member.host) else {
        return Some(None);
    };
    let process = host.processes.get(&member.name)?;
    let ca = target.ca_artifact(member)?;
    let modified = host.files.get(&ca.path).and_then(|file| file.modified);
    let facts = host.certificates.get(&ca.path).and_then(Observed::known);
    Some(facts.filter(|_| is_applied(process, modified)))
}

/// What a provided certificate says, wherever it comes from. Rendered and issued files have none.
fn provided_facts<'a>(
    seen: &'a Observation,
    host: &'a HostView,
    artifact: &Artifact,
) -> Option<&'a CertFacts> {
    match &artifact.content {
        Content::Provided(source) => seen.sources.get(source)?.known()?.certificate.as_ref(),
        Content::OnHost(source) => host.certificates.get(source)?.known(),
        Content::Text(_) | Content::Authority | Content::Issued { .. } => None,
    }
}

/// Takes certificates and keys out of what is due to be written while a running member would refuse them: etcd reads
/// certificates again at each handshake, and CA files only when it starts. So a CA file that holds a further CA is rolled out to
/// all members first, and certificates that this CA issued follow; what is taken out here becomes due again after the roll.
pub(crate) fn postpone_untrusted(
    target: &Target,
    seen: &Observation,
    members: &mut [Assessment<'_>],
) {
    if target.topology.certificates.provided.is_none() {
        // What etcdup issues is of the one CA that members have trusted from the start.
        return;
    }
    let all = target.topology.members.iter();
    let trust: Vec<Option<&CertFacts>> = all
        .filter_map(|member| running_trust(target, seen, member))
        .collect();
    for member in members {
        let host = member.host;
        let refused = |certificate: &Artifact| {
            let current = host.certificates.get(&certificate.path);
            let coming = provided_facts(seen, host, certificate);
            let (Some(current), Some(coming)) = (current.and_then(Observed::known), coming) else {
                // Without a certificate that could go on serving there is nothing to wait for.
                return false;
            };
            let same_issuer =
                current.issuer == coming.issuer && current.issuer_key_id == coming.issuer_key_id;
            let accepts = |ca: &Option<&CertFacts>| ca.is_some_and(|ca| coming.is_trusted_by(ca));
            !same_issuer && !trust.iter().all(accepts)
        };
        // A certificate and its key are of no use without each other.
        let pairs = target.pairs(member.member).into_iter();
        let waiting: Vec<&Artifact> = pairs
            .filter(|[certificate, _]| refused(certificate))
            .flatten()
            .collect();
        member
            .files
            .retain(|(artifact, _)| !waiting.contains(artifact));
    }
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

/// Whether a member's certificate on its host keeps it from being reached at all, so that a new one cannot make it worse.
pub(crate) fn is_cut_off(seen: &Observation, host: &HostView, path: &HostPath) -> bool {
    match host.certificates.get(path) {
        Some(Observed::Known(facts)) => facts.in_time(seen.at).is_err(),
        Some(Observed::Unknown(_)) | None => true,
    }
}
