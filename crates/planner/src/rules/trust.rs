//! What certificates are trusted by: the CA of a running cluster is never replaced because a file
//! is missing here.

use std::collections::BTreeMap;

use etcdup_core::certificate::{CertFacts, CertIdentity};
use etcdup_core::file::KeyPath;
use etcdup_core::finding::{Check, Finding};
use etcdup_core::observation::{CaView, DataDir, HostView, Observation};
use etcdup_core::observed::Observed;
use etcdup_core::path::HostPath;
use etcdup_core::plain::harmless;
use etcdup_core::stage::{Artifact, Content, Part};
use etcdup_core::topology::Member;

use crate::identity::last_flags;
use crate::leg::trust::{all_reissued, all_trust_own};
use crate::plan_context::PlanContext;
use crate::target::Target;
use crate::trusted::{Trust, digest_of, holds, running_trust, short, shown};

pub(crate) const CHECKS: &[Check] = &[
    CA_MISSING,
    CA_OTHER,
    CA_WITHOUT_KEY,
    TRUST_WAITS,
    CLIENT_LOCKED_OUT,
    CLIENTS_TRUST,
    OPERATOR_CLOCK,
];

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
            of another CA, cuts off every member and client. A new CA takes the place of the old one in steps: members trust \
            both, certificates are replaced, and the old CA goes last.",
    advice: "use the CA that the cluster was set up with: copy its `pki/<cluster>` directory here, or name its files under \
             [certificates]; where a new CA is to take its place, name the old one's certificate under certificates.trust",
};
pub(crate) const CA_WITHOUT_KEY: Check = Check {
    id: "ca-without-key",
    title: "certificates are needed and the CA's key is not here",
    about: "A certificate must be issued or renewed, and the CA's key is neither in a file, nor in the environment, nor \
            printed by a command. Where a CA must not be reachable, give certificates with [certificates.provided].",
    advice: "set key, key-env or key-command under [certificates.ca]",
};
const TRUST_WAITS: Check = Check {
    id: "trust-waits",
    title: "a change of the CA, or of peers' scheme, waits for members",
    about: "One CA takes another's place only where every member, those that are to leave included, is known to trust the new one \
            and to show nothing of the old one. A member whose host does not answer may do neither. Peers change their scheme only where \
            every member has what TLS takes.",
    advice: "bring the hosts back, or write absent = \"gone\" for members whose host is gone for good",
};
const CLIENT_LOCKED_OUT: Check = Check {
    id: "client-locked-out",
    title: "a client's certificate is of a CA that goes",
    about: "Members stop trusting a CA when they restart without it in their CA file. A client that shows a certificate of that \
            CA is refused from then on. Certificates that the file names under certificates.clients are reissued; others are not.",
    advice: "issue another with `etcdup pki issue`, or name the client under certificates.clients; keep the CA under \
             certificates.trust until no client needs it",
};
const CLIENTS_TRUST: Check = Check {
    id: "clients-must-trust",
    title: "members will show certificates of another CA",
    about: "Clients check the certificate that a member shows. Once certificates are reissued by the new CA, a client whose own \
            CA file holds the old CA alone refuses every member. `etcdup connect` writes what clients should trust meanwhile \
            into pki/<cluster>/trusted.crt.",
    advice: "give all clients a CA file that holds both CAs first. To have members trust both and change no certificate yet, \
             name the new CA under certificates.trust and keep the old one as certificates.ca",
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
pub(crate) const CLOCK_LIMIT_MS: i64 = 5 * 60 * 1000;

/// What stands in the way of using the CA that is here, or of making one.
pub(crate) fn conflicts(target: &Target, seen: &Observation) -> Vec<Finding> {
    let topology = &target.topology;
    if !topology.uses_tls() {
        return Vec::new();
    }
    match &seen.ca {
        CaView::Absent if seen.trusted.is_empty() => missing(target, seen).into_iter().collect(),
        // A new one is made, and those that members trust are named.
        CaView::Absent | CaView::Usable(_) | CaView::WithoutKey(_) => mismatches(target, seen),
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
            // A cluster that has never used TLS has no CA.
            _ if used_tls(target, member, host) == Some(false) => None,
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

/// Whether a member uses TLS, or did when it ran last, by its flags; none where nothing tells.
fn used_tls(target: &Target, member: &Member, host: &HostView) -> Option<bool> {
    let files = [
        "cert-file",
        "peer-cert-file",
        "trusted-ca-file",
        "peer-trusted-ca-file",
    ];
    let flags = last_flags(target, member, host)?;
    let mut signs = files.into_iter().chain(["auto-tls", "peer-auto-tls"]);
    Some(signs.any(|flag| flags.get(flag).is_some()))
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

/// Why the CAs that are to be trusted cannot take the place of those that are.
fn mismatches(target: &Target, seen: &Observation) -> Vec<Finding> {
    let bundle = seen.bundle();
    if let Some(finding) = alike(target, seen, &bundle) {
        return vec![finding];
    }
    let members = with_ca(target, seen);
    members
        .filter_map(|(member, host, ca)| mismatch(target, seen, &bundle, (member, host, ca)))
        .collect()
}

/// A member whose CA file, or whose own certificates where it has none, are of no CA that it is to
/// trust; or that would be cut off before its certificates are replaced.
fn mismatch(
    target: &Target,
    seen: &Observation,
    bundle: &[CertIdentity],
    (member, host, ca): (&Member, &HostView, &Artifact),
) -> Option<Finding> {
    let refuse = |evidence: String| {
        let at = KeyPath::root("certificates");
        CA_OTHER.error(&member.name, evidence).at(at)
    };
    let origin = || {
        origin(target, seen).map_or(String::new(), |origin| {
            format!("; it was set up by {origin}")
        })
    };
    let here = bundle.first()?;
    let found = host.certificates.get(&ca.path).and_then(Observed::known);
    let other = match found {
        Some(found) => !found.file().iter().any(|one| holds(bundle, one)),
        None => shows_another(target, member, host, bundle),
    };
    if other {
        return Some(refuse(format!(
            "{} on {} is of `{}` (key {}), and the CA here is `{}` (key {}){}",
            ca.path,
            member.host,
            found.map_or("another CA", |found| found.name.as_str()),
            short(found.map_or("", |found| &found.key_id)),
            here.name,
            short(&here.key_id),
            origin()
        )));
    }
    // What it reads lies elsewhere, and what it shows too.
    if let Some(Trust::Elsewhere(path)) = running_trust(&target.topology, seen, member) {
        let read = path.parse().ok();
        let read = read.and_then(|path: HostPath| digest_of(host, &path));
        let changes = match read {
            Some(read) => seen.ca_file.as_deref().is_some_and(|wanted| wanted != read),
            None => !target.topology.certificates.trust.is_empty(),
        };
        let evidence = || {
            format!(
                "{} runs with {path} and is to have {}, which holds other CAs",
                member.name, ca.path
            )
        };
        let advice = "move certificates to another place in an apply of its own, with the CAs that are trusted now";
        return changes.then(|| refuse(evidence()).advise(advice));
    }
    // From here on two CAs are trusted, and one of them goes.
    let found = found?.file();
    let gone = found
        .iter()
        .find(|one| one.not_after > seen.at && !holds(bundle, one))?;
    let topology = &target.topology;
    if all_reissued(topology, seen) || all_trust_own(topology, seen) {
        return None;
    }
    let evidence = format!(
        "{} on {} holds `{}`, which is to go, while certificates are of it and not every member trusts `{}` yet",
        ca.path, member.host, gone.name, here.name
    );
    Some(refuse(evidence).advise(format!(
        "name the certificate of `{}` under certificates.trust until `etcdup plan` has nothing to do, then take it out",
        gone.name
    )))
}

/// CAs that nothing tells apart: one named twice, or two of one name without key IDs, so that no
/// certificate says which of them issued it.
fn alike(target: &Target, seen: &Observation, bundle: &[CertIdentity]) -> Option<Finding> {
    let refuse = |evidence: String, advice: &str| {
        let at = KeyPath::root("certificates").key("trust");
        Some(
            CA_OTHER
                .error("ca", evidence)
                .advise(advice.to_owned())
                .at(at),
        )
    };
    let own = seen.ca.facts().map(CertFacts::identity);
    let mut trusted = seen.trusted.iter().zip(&target.topology.certificates.trust);
    let twice = own.as_ref().and_then(|own| {
        trusted.find(|(view, _)| {
            view.facts()
                .is_some_and(|facts| facts.identity().is_same_as(own))
        })
    });
    if let Some((_, path)) = twice {
        let evidence = format!("{path} is the CA that issues already");
        let advice = "move the old CA's certificate and key to other names, and name the certificate there: a new CA is made \
                      where certificates.ca is then not there, or is the one that it names";
        return refuse(evidence, advice);
    }
    let mut pairs = bundle.iter().enumerate();
    let (one, other) = pairs.find_map(|(index, one)| {
        let further = &bundle[index + 1..];
        let alike = |other: &&CertIdentity| {
            let keyless = one.key_id.is_empty() || other.key_id.is_empty();
            one.name == other.name && keyless && !one.is_same_as(other)
        };
        Some((one, further.iter().find(alike)?))
    })?;
    let evidence = format!(
        "two CAs are called `{}` (keys {} and {}), and a certificate would not tell which of them issued it",
        one.name,
        short(&one.key_id),
        short(&other.key_id)
    );
    refuse(
        evidence,
        "give the new CA another name, or a subject key ID",
    )
}

/// A new CA that nothing is of yet, since not every member is known to trust it.
pub(crate) fn waiting(context: &PlanContext<'_>) -> Option<Finding> {
    let topology = &context.target.topology;
    if !context.unseen.is_empty() {
        return None;
    }
    if topology.peers_ready {
        let evidence = "peers change their scheme once every member has what TLS takes";
        return Some(TRUST_WAITS.error("peers", evidence));
    }
    let evidence = "certificates of the new CA are issued once every member has been seen to trust it, and the old CA goes \
                    once no member shows a certificate of it";
    topology.trust.map(|_| TRUST_WAITS.error("ca", evidence))
}

/// The CA's certificate is missing on the host: then its members' own certificates tell who the CA
/// is.
fn shows_another(
    target: &Target,
    member: &Member,
    host: &HostView,
    bundle: &[CertIdentity],
) -> bool {
    let pairs = target.pairs(member).into_iter();
    let issued = pairs.filter(|[certificate, _]| {
        matches!(
            certificate.content,
            Content::Issued {
                part: Part::Certificate,
                ..
            }
        )
    });
    let mut found =
        issued.filter_map(|[artifact, _]| host.certificates.get(&artifact.path)?.known());
    // A certificate made by openssl may have no key IDs: then names are all there is to compare.
    found.any(|facts| {
        let may_have_issued = |ca: &CertIdentity| {
            if facts.issuer_key_id.is_empty() || ca.key_id.is_empty() {
                facts.issuer == ca.name
            } else {
                facts.issuer_key_id == ca.key_id
            }
        };
        !bundle.iter().any(may_have_issued)
    })
}

/// What to know of a change of CAs before it begins.
pub(crate) fn warnings(target: &Target, seen: &Observation) -> Vec<Finding> {
    let topology = target.file();
    if !topology.uses_tls() || topology.certificates.provided.is_some() {
        return Vec::new();
    }
    let bundle = seen.bundle();
    let named = |name: &String| {
        let mut clients = topology.certificates.clients.iter();
        clients.any(|client| client.name.as_str() == name)
    };
    let locked_out = seen.clients.iter().filter_map(|(name, facts)| {
        let facts = facts.known().filter(|facts| facts.client_auth)?;
        let valid = facts.check_validity(seen.at).is_ok();
        (valid && !named(name) && !facts.is_issued_by(&bundle)).then_some((name, facts))
    });
    let mut findings: Vec<Finding> = locked_out
        .map(|(name, facts)| {
            let evidence = format!(
                "{name} is of `{}`, which no member will trust; it is valid until {}",
                facts.issuer, facts.not_after
            );
            CLIENT_LOCKED_OUT.warning(name, evidence)
        })
        .collect();
    let own = seen.ca.facts().map(|facts| (facts.identity(), &facts.name));
    let new = own.as_ref().map_or("the new CA", |(_, name)| name.as_str());
    let own: Vec<CertIdentity> = own.iter().map(|(own, _)| own.clone()).collect();
    let of_another = |member: &Member| {
        let host = seen.host(&member.host)?;
        let mut shown = shown(topology, member);
        let path = shown.find(|path| {
            let facts = host.certificates.get(path).and_then(Observed::known);
            facts.is_some_and(|facts| !facts.is_issued_by(&own))
        })?;
        Some(format!(
            "{path} on {} is replaced by one of `{new}`",
            member.host
        ))
    };
    // What members show changes in this apply, and clients must trust it by then.
    let first = topology.members.iter().find_map(of_another);
    if let Some(evidence) = first.filter(|_| !topology.certificates.trust.is_empty()) {
        findings.push(CLIENTS_TRUST.warning("clients", evidence));
    }
    findings
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
