//! Whether the member that goes on can be reached once it runs: nobody else could say how it is,
//! and the recovery would wait for it without an end.

use etcdup_core::certificate::Mismatch;
use etcdup_core::file::TransportSecurity;
use etcdup_core::finding::Finding;
use etcdup_core::observation::{CaView, HostView, Observation};
use etcdup_core::path::HostPath;
use etcdup_core::stage::{Artifact, Content};
use etcdup_core::topology::Member;

use super::checks::{RECOVER_CERTIFICATE, RECOVER_CLOCK};
use crate::assess::certificates_to_write;
use crate::rules::operator::CA_BROKEN;
use crate::rules::trust::{CA_WITHOUT_KEY, CLOCK_LIMIT_MS};
use crate::target::Target;

/// What it is to have before it starts, because what it shows is valid no more, and why.
pub(super) struct Due {
    pub(super) artifacts: Vec<Artifact>,
    pub(super) why: Vec<String>,
    /// What has ended and is not for etcdup to replace.
    kept: Vec<String>,
}

/// Certificates and keys that are written before it starts, where one has ended.
pub(super) fn due(target: &Target, seen: &Observation, member: &Member, host: &HostView) -> Due {
    let ended: Vec<(&HostPath, Mismatch)> = target
        .pairs(member)
        .into_iter()
        .filter_map(|[shown, _]| {
            let facts = host.certificates.get(&shown.path)?.known()?;
            Some((&shown.path, facts.check_validity(seen.at).err()?))
        })
        .collect();
    let mut artifacts = Vec::new();
    if !ended.is_empty() {
        artifacts = certificates_to_write(target, seen, member, host);
        // etcd reads the CA file when it starts only, and that is for `apply` to see to.
        artifacts.retain(|artifact| artifact.content != Content::Ca);
    }
    let said =
        |(path, mismatch): &(&HostPath, Mismatch)| format!("{}: {path} {mismatch}", member.name);
    let is_replaced = |(path, _): &&(&HostPath, Mismatch)| {
        artifacts.iter().any(|artifact| artifact.path == **path)
    };
    let (replaced, kept): (Vec<_>, Vec<_>) = ended.iter().partition(is_replaced);
    Due {
        why: replaced.into_iter().map(said).collect(),
        kept: kept.into_iter().map(said).collect(),
        artifacts,
    }
}

/// What keeps it from being reached, and is to be put right first.
pub(super) fn unfit(target: &Target, seen: &Observation, member: &Member) -> Vec<Finding> {
    let mut findings = Vec::new();
    let Some(host) = seen.host(&member.host) else {
        return findings;
    };
    if target.topology.security.client_tls() == TransportSecurity::Plain {
        return findings;
    }
    // Measured worse than the limit it says nothing.
    let facts = &host.facts;
    let limit = CLOCK_LIMIT_MS.saturating_add(facts.clock_error_ms);
    if facts.clock_ahead_ms.abs() > limit {
        let seconds = facts.clock_ahead_ms.abs() / 1000;
        let side = match facts.clock_ahead_ms > 0 {
            true => "ahead of",
            false => "behind",
        };
        let evidence = format!("its clock is {seconds} s {side} this machine's");
        findings.push(RECOVER_CLOCK.error(&member.host, evidence));
    }
    let ended = |mismatch: Mismatch| {
        let finding = CA_BROKEN.error("ca", format!("its certificate {mismatch}"));
        finding.advise("nothing that it signs is accepted: restore a snapshot with another CA")
    };
    let ca = seen.ca.facts().map(|facts| facts.check_validity(seen.at));
    findings.extend(ca.and_then(Result::err).map(ended));
    let Due {
        artifacts,
        why,
        kept,
    } = due(target, seen, member, host);
    let kept = kept.into_iter();
    findings.extend(kept.map(|why| RECOVER_CERTIFICATE.error(&member.name, why)));
    let issued = |artifact: &Artifact| matches!(artifact.content, Content::Issued { .. });
    let issuer = seen.issuer(target.topology.issuer);
    if artifacts.iter().any(issued) && !matches!(issuer, Some(CaView::Usable(_))) {
        findings.push(CA_WITHOUT_KEY.error("ca", why.join("; ")));
    }
    findings
}
