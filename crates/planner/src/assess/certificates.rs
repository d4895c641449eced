//! Certificates, keys and further files, compared by what they say and not only by their bytes.

use std::borrow::Cow;
use std::sync::Arc;

use etcdup_core::certificate::{CertIdentity, CertRequest};
use etcdup_core::observation::{FileKind, FileView, HostView, Observation};
use etcdup_core::observed::Observed;
use etcdup_core::path::HostPath;
use etcdup_core::stage::{Artifact, Content, Part, TrustLeg};
use etcdup_core::topology::Member;

use super::difference::{Change, Cost, Difference, DifferenceKind};
use crate::target::Target;
use crate::trusted::{is_unread, short, unmet};

fn is_key(content: &Content) -> bool {
    matches!(
        content,
        Content::Issued {
            part: Part::Key,
            ..
        }
    )
}

/// Mode and owner of a file that is there.
pub(super) fn place(file: &FileView, artifact: &Artifact) -> Option<Difference> {
    let path = artifact.path.clone();
    if file.kind != FileKind::File {
        return Some(DifferenceKind::NotAFile(path).costs(Cost::NoRestart));
    }
    if file.mode != artifact.mode {
        let kind = DifferenceKind::Mode {
            path,
            found: file.mode,
            wanted: artifact.mode,
            exposes_key: is_key(&artifact.content) && file.mode.lets_others_read(),
        };
        return Some(kind.costs(Cost::NoRestart));
    }
    let wanted = artifact.owner.clone()?;
    (file.owner.as_ref() != Some(&wanted)).then(|| {
        let kind = DifferenceKind::Owner {
            path,
            found: file.owner.clone(),
            wanted,
        };
        kind.costs(Cost::NoRestart)
    })
}

/// A certificate, a key or the CA's certificate.
pub(super) fn certificate_file(
    target: &Target,
    seen: &Observation,
    member: &Member,
    host: &HostView,
    artifact: &Artifact,
) -> Option<Difference> {
    let path = &artifact.path;
    if matches!(&artifact.content, Content::OnHost(source) if source == path) {
        // It lies there already, and belongs to whoever put it there.
        return None;
    }
    let Some(found) = host.files.get(path) else {
        let cost = match artifact.content {
            Content::Ca => Cost::Restart,
            Content::Issued { .. } => reissue_costs(target),
            Content::Text(_) | Content::Provided(_) | Content::OnHost(_) => Cost::NoRestart,
        };
        return Some(DifferenceKind::Missing(path.clone()).costs(cost));
    };
    let is_ca = target
        .ca_artifact(member)
        .is_some_and(|ca| ca.path == *path);
    let changed = |change: Change| DifferenceKind::Content {
        path: path.clone(),
        change,
    };
    let flaw = |why: String| DifferenceKind::Certificate {
        path: path.clone(),
        why,
    };
    let content = match &artifact.content {
        Content::Text(_) => (found.sha256.as_deref() != target.desired(member).sum(path))
            .then(|| changed(Change::Rendered)),
        // Its time does not tell whether it was read where another program put it there.
        Content::Ca => match other_ca(target, seen, host, artifact) {
            None => outside(host, artifact, found).or_else(|| {
                let unread = is_unread(&target.topology, host, path);
                unread.then(|| changed(Change::OutsideEtcdup))
            }),
            other => other.map(flaw),
        },
        Content::Issued {
            request,
            part: Part::Certificate | Part::Renewal(_),
        } => match host.certificates.get(path) {
            Some(Observed::Known(facts)) => {
                // One that would do and is not the one that was issued belongs to another key.
                unmet(&target.topology, seen, facts, request).map_or_else(
                    || outside(host, artifact, found),
                    |unmet| Some(flaw(unmet.to_string())),
                )
            }
            Some(Observed::Unknown(unseen)) => Some(flaw(format!("cannot be read: {unseen}"))),
            None => Some(flaw("is not a certificate".to_owned())),
        },
        Content::Issued {
            part: Part::Key, ..
        } => outside(host, artifact, found),
        Content::Provided(source) => match seen.sources.get(source).and_then(Observed::known) {
            Some(facts) if found.sha256.as_deref() == Some(&facts.sha256) => None,
            Some(_) => Some(changed(Change::Source(source.clone()))),
            None => None,
        },
        Content::OnHost(source) => match host.files.get(source) {
            Some(other) if other.sha256 == found.sha256 => None,
            Some(_) => Some(changed(Change::Source(source.to_string()))),
            None => None,
        },
    };
    let process = host.processes.get(&member.name);
    let missed = process.is_some_and(|process| !process.started_after(found.modified));
    if is_ca && content.is_none() && missed {
        return Some(DifferenceKind::NotApplied(path.clone()).costs(Cost::Restart));
    }
    match content {
        Some(kind) if is_ca => Some(kind.costs(Cost::Restart)),
        Some(kind) if request(artifact).is_some() => Some(kind.costs(reissue_costs(target))),
        Some(kind) => Some(kind.costs(Cost::NoRestart)),
        // Another mode or owner is had by writing it again, so it is reissued.
        None if request(artifact).is_some() => Some(Difference {
            cost: reissue_costs(target),
            ..place(found, artifact)?
        }),
        None => place(found, artifact),
    }
}

/// A certificate of a CA that members do not trust yet does nothing before they restart with that
/// CA.
fn reissue_costs(target: &Target) -> Cost {
    match target.topology.trust == Some(TrustLeg::Keyless) {
        true => Cost::Restart,
        false => Cost::NoRestart,
    }
}

/// etcd reads CA files at its start only.
fn other_ca(
    target: &Target,
    seen: &Observation,
    host: &HostView,
    artifact: &Artifact,
) -> Option<String> {
    // Where a CA is still to be made, what is here is not all that members are to trust.
    seen.ca.facts()?;
    let wanted = seen.bundle();
    let found = host.certificates.get(&artifact.path);
    let Some(found) = found.and_then(Observed::known) else {
        return Some("is not a certificate".to_owned());
    };
    let found = found.file();
    let in_file = |file: &[CertIdentity], one: &CertIdentity| {
        file.iter()
            .any(|other| other.fingerprint == one.fingerprint)
    };
    if let Some(lacking) = wanted.iter().find(|one| !in_file(&found, one)) {
        return Some(format!(
            "does not hold the CA `{}` (key {})",
            lacking.name,
            short(&lacking.key_id)
        ));
    }
    // While certificates of a CA that goes are replaced, members go on trusting it.
    let keeps = target.topology.trust == Some(TrustLeg::Reissue);
    let further = found.iter().find(|one| !in_file(&wanted, one));
    further.filter(|_| !keeps).map(|further| {
        format!(
            "holds the CA `{}` (key {}), which is to go",
            further.name,
            short(&further.key_id)
        )
    })
}

/// A key is compared with the digest in the host record; without a record it is taken as it is.
fn outside(host: &HostView, artifact: &Artifact, found: &FileView) -> Option<DifferenceKind> {
    let record = host.record()?.files.get(&artifact.path)?;
    (found.sha256.as_deref() != Some(&record.sha256)).then(|| DifferenceKind::Content {
        path: artifact.path.clone(),
        change: Change::OutsideEtcdup,
    })
}

/// A certificate and its key are made together, so when one is reissued the other is too, unless
/// the key is the one that belongs to the certificate: then it stays, and members serve throughout.
/// A file that only has a wrong mode or owner is written again from scratch, for its content never
/// leaves the host.
pub(super) fn couple_keys<'a>(
    target: &Target,
    host: &HostView,
    wanted: &'a [Artifact],
    files: &mut Vec<(Cow<'a, Artifact>, Difference)>,
) {
    let pairs = files.iter().filter_map(|(artifact, _)| request(artifact));
    let touched: Vec<CertRequest> = pairs.cloned().collect();
    let alone = |one: &CertRequest| touched.iter().filter(|other| *other == one).count() == 1;
    let mut kept: Vec<CertRequest> = Vec::new();
    for (artifact, _) in files.iter_mut() {
        let wanted_for = request(artifact).filter(|request| alone(request)).cloned();
        let renewed = wanted_for.and_then(|request| {
            let part = Part::Renewal(key_of(host, wanted, artifact)?);
            Some((request, part))
        });
        let Some((request, part)) = renewed else {
            continue;
        };
        kept.push(request.clone());
        let request = Arc::new(request);
        artifact.to_mut().content = Content::Issued { request, part };
    }
    let with_key = |request: &CertRequest| touched.contains(request) && !kept.contains(request);
    for artifact in wanted {
        let there = files.iter().any(|(other, _)| other.path == artifact.path);
        if !there && request(artifact).is_some_and(with_key) {
            let reissued = DifferenceKind::Reissued(artifact.path.clone());
            files.push((
                Cow::Borrowed(artifact),
                reissued.costs(reissue_costs(target)),
            ));
        }
    }
    files.sort_by(|a, b| a.0.path.cmp(&b.0.path));
}

/// A certificate on a host (DER), where it and its key are both what etcdup wrote last: those two
/// were made together. That a CA of ours signed it is looked at when it is to sign again.
fn key_of(host: &HostView, wanted: &[Artifact], certificate: &Artifact) -> Option<Arc<[u8]>> {
    let is_certificate = |artifact: &&Artifact| !is_key(&artifact.content);
    let asked = request(Some(certificate).filter(is_certificate)?)?;
    let is_its_key =
        |artifact: &&Artifact| is_key(&artifact.content) && request(artifact) == Some(asked);
    let key = wanted.iter().find(is_its_key)?;
    let as_written = |path: &HostPath| {
        let written = host.record()?.files.get(path)?;
        (host.files.get(path)?.sha256.as_deref() == Some(&written.sha256)).then_some(())
    };
    as_written(&certificate.path)?;
    as_written(&key.path)?;
    let facts = host.certificates.get(&certificate.path)?.known()?;
    // A host that was copied has another's, and another algorithm was asked for since.
    let same = facts.name == asked.name && facts.algorithm == Some(asked.algorithm);
    facts.der.clone().filter(|_| same)
}

/// What a certificate or key is issued for: the two of a pair have the same.
fn request(artifact: &Artifact) -> Option<&CertRequest> {
    match &artifact.content {
        Content::Issued { request, .. } => Some(request),
        Content::Text(_) | Content::Ca | Content::Provided(_) | Content::OnHost(_) => None,
    }
}
