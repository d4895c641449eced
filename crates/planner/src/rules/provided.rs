//! Certificates that others made. etcd reads certificates again at each handshake and CA files only
//! when it starts, so that what comes must be trusted by every member as it was started; and
//! nothing that is trusted is taken away.

use etcdup_core::certificate::CertFacts;
use etcdup_core::file::{KeyPath, ProvidedFrom, TransportSecurity};
use etcdup_core::finding::{Check, Finding};
use etcdup_core::observation::{DataDir, HostView, Observation};
use etcdup_core::observed::Observed;
use etcdup_core::path::HostPath;
use etcdup_core::stage::{Artifact, Content};
use etcdup_core::topology::Member;

use crate::preflight::CERT_REFUSED;
use crate::rules::trust::{CA_OTHER, with_ca};
use crate::target::Target;
use crate::trusted::{Trust, digest_of, running_trust, short};

pub(crate) const CHECKS: &[Check] = &[ISSUER_UNTRUSTED, CLIENT_UNTRUSTED];

const ISSUER_UNTRUSTED: Check = Check {
    id: "issuer-untrusted",
    title: "a running member would refuse a certificate that is to come",
    about: "etcd reads certificates again at each handshake and CA files only when it starts. A certificate of a further CA is \
            refused by every member that has not restarted yet with a CA file which holds that CA.",
    advice: "provide the CA file that holds both CAs first, with the certificates that are in use now, and run `etcdup apply`; \
             then provide the new certificates",
};
const CLIENT_UNTRUSTED: Check = Check {
    id: "client-untrusted",
    title: "members would refuse the client certificate that etcdup shows them",
    about: "Members accept only clients whose certificate is valid, is meant for clients, and was issued by a CA that they have \
            trusted since they started. Where certificates are provided, etcdup shows that of \
            `certificates.provided.operator`, else the server certificate of the first member.",
    advice: "name a client certificate that members trust now under certificates.provided.operator; change it once a CA file \
             that holds its CA is rolled out",
};

/// What stands in the way of using the certificates that are provided.
pub(crate) fn conflicts(target: &Target, seen: &Observation) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (member, host, ca) in with_ca(target, seen) {
        let Some(wanted) = provided_facts(seen, host, ca) else {
            continue;
        };
        let place = Place {
            target,
            seen,
            member,
            host,
            wanted,
        };
        findings.extend(place.dropped(ca));
        findings.extend(place.newcomers());
    }
    findings.extend(untrusted_client(target, seen));
    findings
}

/// A member whose CA file is provided.
struct Place<'a> {
    target: &'a Target,
    seen: &'a Observation,
    member: &'a Member,
    host: &'a HostView,
    /// The CA file that it is to have.
    wanted: &'a CertFacts,
}

impl Place<'_> {
    fn refuse(&self, check: &Check, evidence: String) -> Finding {
        let at = KeyPath::root("certificates").key("provided");
        check.error(&self.member.name, evidence).at(at)
    }

    /// CAs that the member's CA file holds and the provided one does not. One whose own certificate
    /// has ended verifies nothing any more, and one that is no CA verifies nothing but itself.
    fn dropped(&self, ca: &Artifact) -> Vec<Finding> {
        let here = &self.member.host;
        let advice = |name: &str| {
            format!("provide a CA file that holds `{name}` too: clients' certificates may be of it")
        };
        let found = self
            .host
            .certificates
            .get(&ca.path)
            .and_then(Observed::known);
        let Some(found) = found else {
            // Its CA file is missing: then what it shows tells who its CA is.
            return self.shown_by_another_ca(advice).into_iter().collect();
        };
        // Where nothing that members show is of it, it may go.
        if self.shown_are_trusted(found) {
            return Vec::new();
        }
        let wanted = self.wanted.file();
        let lost = found.file().into_iter().filter(|found| {
            let kept = wanted.iter().any(|wanted| wanted.is_same_as(found));
            !kept && found.not_after > self.seen.at
        });
        lost.map(|lost| {
            let evidence = format!(
                "{} on {here} trusts `{}` (key {}), and the CA file that is provided does not hold it",
                ca.path,
                lost.name,
                short(&lost.key_id),
            );
            self.refuse(&CA_OTHER, evidence).advise(advice(&lost.name))
        })
        .collect()
    }

    /// Whether the CA file that is provided holds the issuers of all that members show. What was
    /// not seen may be of any.
    fn shown_are_trusted(&self, before: &CertFacts) -> bool {
        let topology = &self.target.topology;
        topology.members.iter().all(|member| {
            let Some(host) = self.seen.host(&member.host) else {
                return false;
            };
            let runs = host.processes.contains_key(&member.name);
            let mut pairs = self.target.pairs(member).into_iter();
            !runs
                || pairs.all(|[certificate, _]| {
                    let facts = host.certificates.get(&certificate.path);
                    let facts = facts.and_then(Observed::known);
                    facts.is_some_and(|facts| facts.is_surely_trusted_by(self.wanted, before))
                })
        })
    }

    fn shown_by_another_ca(&self, advice: impl Fn(&str) -> String) -> Option<Finding> {
        let data = self.host.data.get(&self.member.layout.data);
        let runs = self.host.processes.contains_key(&self.member.name);
        if !runs && !matches!(data, Some(DataDir::Member(_))) {
            // Nothing of a cluster is here: whatever lies at its place is replaced.
            return None;
        }
        let pairs = self.target.pairs(self.member).into_iter();
        let mut shown = pairs.filter_map(|[certificate, _]| {
            let facts = self.host.certificates.get(&certificate.path)?.known()?;
            Some((&certificate.path, facts))
        });
        let (path, facts) = shown.find(|(_, facts)| {
            facts.check_validity(self.seen.at).is_ok() && !facts.is_trusted_by(self.wanted)
        })?;
        let evidence = format!(
            "{path} on {} was issued by `{}`, and the CA file that is provided does not hold it",
            self.member.host, facts.issuer
        );
        Some(
            self.refuse(&CA_OTHER, evidence)
                .advise(advice(&facts.issuer)),
        )
    }

    /// What is wrong with the certificate that other members will see, where it is another one than
    /// the member shows now.
    fn newcomers(&self) -> Option<Finding> {
        let certificate = self.target.shown_to_peers(self.member)?;
        let coming = provided_facts(self.seen, self.host, certificate)?;
        let process = self.host.processes.get(&self.member.name);
        if process.is_some() && !coming.is_trusted_by(self.wanted) {
            let evidence = format!(
                "the new {} for {} was issued by `{}`, and the CA file that is provided does not hold it",
                certificate.path.file_name(),
                self.member.host,
                coming.issuer
            );
            let advice = "provide a certificate of a CA that the CA file holds";
            return Some(self.refuse(&CA_OTHER, evidence).advise(advice));
        }
        if self.is_in_use(certificate) {
            return None;
        }
        if process.is_some() {
            // Members that do not run yet are looked at by preflight.
            let unmet = match coming.check_validity(self.seen.at) {
                Err(unmet) => Some(unmet.to_string()),
                Ok(()) if !coming.client_auth => Some("not meant for clients".to_owned()),
                Ok(()) if !coming.server_auth => Some("not meant for servers".to_owned()),
                Ok(()) => None,
            };
            if let Some(unmet) = unmet {
                let evidence = format!("the certificate that is to replace it {unmet}");
                return Some(self.refuse(&CERT_REFUSED, evidence));
            }
        }
        let others = self.target.topology.members.iter();
        let mut others = others.filter(|other| other.name != self.member.name);
        others.find_map(|other| self.refused_by(other, certificate, coming))
    }

    fn refused_by(
        &self,
        other: &Member,
        certificate: &Artifact,
        coming: &CertFacts,
    ) -> Option<Finding> {
        let name = certificate.path.file_name();
        match trust_of(self.target, self.seen, other)? {
            Trust::Gone => None,
            Trust::Known(trust) => {
                let sure = coming.is_surely_trusted_by(trust, self.wanted);
                let evidence = || {
                    format!(
                        "{name} for {} was issued by `{}`, which {} does not trust yet",
                        self.member.name, coming.issuer, other.name
                    )
                };
                (!sure).then(|| self.refuse(&ISSUER_UNTRUSTED, evidence()))
            }
            Trust::Unknown | Trust::Elsewhere(_) => {
                // A renewal by the same issuers is accepted by whoever accepts what is there.
                let current = self.host.certificates.get(&certificate.path);
                let issuers = |facts: &CertFacts| {
                    let file = facts.file().into_iter();
                    let issuers = file.map(|link| (link.issuer, link.issuer_key_id));
                    issuers.collect::<Vec<_>>()
                };
                let same = current
                    .and_then(Observed::known)
                    .is_some_and(|current| issuers(current) == issuers(coming));
                let evidence = || {
                    format!(
                        "{name} for {} was issued by `{}`, and whether {} trusts that is not known",
                        self.member.name, coming.issuer, other.name
                    )
                };
                (!same).then(|| self.refuse(&ISSUER_UNTRUSTED, evidence()))
            }
        }
    }

    /// Whether the member shows this very certificate already, here or where the process has it
    /// from.
    fn is_in_use(&self, certificate: &Artifact) -> bool {
        let digest = match &certificate.content {
            Content::Provided(source) => {
                let source = self.seen.sources.get(source).and_then(Observed::known);
                source.map(|source| source.sha256.as_str())
            }
            Content::OnHost(source) => digest_of(self.host, source),
            Content::Text(_) | Content::Ca | Content::Issued { .. } => None,
        };
        let process = self.host.processes.get(&self.member.name);
        let shown = process.and_then(|process| {
            let flags = ["peer-cert-file", "cert-file"].into_iter();
            let mut paths = flags.filter_map(|flag| process.flags.get(flag)?.parse().ok());
            paths.next()
        });
        let path: &HostPath = shown.as_ref().unwrap_or(&certificate.path);
        digest.is_some() && digest_of(self.host, path) == digest
    }
}

/// The certificate that etcdup itself shows to members, refused by one that runs: nothing could be
/// asked, so nothing be rolled.
fn untrusted_client(target: &Target, seen: &Observation) -> Option<Finding> {
    let topology = &target.topology;
    let provided = topology.certificates.provided.as_ref()?;
    if topology.security.client_tls() != TransportSecurity::Mutual {
        return None;
    }
    let first = topology.members.first()?;
    let (path, _) = provided.client_pair()?;
    let path = path.replace("{member}", first.name.as_str());
    let shown = seen.sources.get(&path)?.known()?.certificate.as_ref()?;
    let refuse = |evidence: String| {
        let at = KeyPath::root("certificates")
            .key("provided")
            .key("operator");
        Some(CLIENT_UNTRUSTED.error("operator", evidence).at(at))
    };
    if let Err(unmet) = shown.check_validity(seen.at) {
        return refuse(format!("{path} {unmet}"));
    }
    if !shown.client_auth {
        return refuse(format!("{path} is not meant for clients"));
    }
    let wanted = || {
        seen.sources
            .get(&provided.ca)?
            .known()?
            .certificate
            .as_ref()
    };
    if provided.from == ProvidedFrom::Operator
        && wanted().is_some_and(|ca| !shown.is_trusted_by(ca))
    {
        return refuse(format!(
            "{path} was issued by `{}`, and the CA file that is provided does not hold it",
            shown.issuer
        ));
    }
    let refuses = |member: &&Member| match trust_of(target, seen, member) {
        Some(Trust::Known(trust)) => !shown.is_trusted_by(trust),
        Some(Trust::Unknown | Trust::Elsewhere(_) | Trust::Gone) | None => false,
    };
    let member = topology.members.iter().find(refuses)?;
    refuse(format!(
        "{path} was issued by `{}`, which {} does not trust yet",
        shown.issuer, member.name
    ))
}

/// What a running member trusts; where it read another file than the one that it is to have, the
/// record tells whether that is the one that is provided.
fn trust_of<'a>(target: &Target, seen: &'a Observation, member: &Member) -> Option<Trust<'a>> {
    let trust = running_trust(&target.topology, seen, member)?;
    let host = seen.host(&member.host);
    let shown = target.shown_to_peers(member).zip(host);
    let shown = shown.and_then(|(shown, host)| host.certificates.get(&shown.path)?.known());
    if shown.is_some_and(|facts| facts.not_after <= seen.at) {
        // Nor is what it shows accepted by any other.
        return Some(Trust::Gone);
    }
    let Trust::Elsewhere(elsewhere) = trust else {
        return Some(trust);
    };
    let host = host?;
    let read = elsewhere
        .parse()
        .ok()
        .and_then(|path: HostPath| digest_of(host, &path));
    let source = match &target.ca_artifact(member)?.content {
        Content::Provided(source) => seen.sources.get(source).and_then(Observed::known),
        Content::Text(_) | Content::Ca | Content::Issued { .. } | Content::OnHost(_) => None,
    };
    let same = source.filter(|source| read == Some(source.sha256.as_str()));
    let facts = same.and_then(|source| source.certificate.as_ref());
    Some(facts.map_or(Trust::Unknown, Trust::Known))
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
        Content::Text(_) | Content::Ca | Content::Issued { .. } => None,
    }
}
