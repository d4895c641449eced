//! What running members trust. etcd reads certificates again at each handshake, and CA files only
//! when it starts.

use etcdup_core::certificate::{CertFacts, CertIdentity, CertRequest, Mismatch};
use etcdup_core::observation::{HostView, Observation};
use etcdup_core::observed::Observed;
use etcdup_core::path::HostPath;
use etcdup_core::stage::TrustLeg;
use etcdup_core::topology::{Member, Topology};

/// What a member trusts that may be running.
pub(crate) enum Trust<'a> {
    /// The CA file that its etcd read when it started.
    Known(&'a CertFacts),
    /// It read another file than the one that it is to have.
    Elsewhere(&'a str),
    /// It could not be seen, or was replaced since.
    Unknown,
    /// It cannot be part of any quorum: all that it trusts has ended.
    Gone,
}

/// What a running member trusts; `None` where none runs.
pub(crate) fn running_trust<'a>(
    topology: &Topology,
    seen: &'a Observation,
    member: &Member,
) -> Option<Trust<'a>> {
    let Some(host) = seen.host(&member.host) else {
        return Some(Trust::Unknown);
    };
    let process = host.processes.get(&member.name)?;
    let ca = ca_path(topology, member)?;
    let ended = |facts: &CertFacts| {
        let certificates = facts.file();
        certificates.iter().all(|one| one.not_after <= seen.at)
    };
    let flags = ["peer-trusted-ca-file", "trusted-ca-file"].into_iter();
    let mut read_from = flags.filter_map(|flag| process.flags.get(flag));
    if let Some(elsewhere) = read_from.next().filter(|path| *path != ca.as_str()) {
        return Some(Trust::Elsewhere(elsewhere));
    }
    let modified = host.files.get(&ca).and_then(|file| file.modified);
    Some(match (known(host, &ca), modified) {
        (Some(facts), _) if ended(facts) => Trust::Gone,
        (Some(facts), Some(_))
            if process.started_after(modified) && !is_unread(topology, host, &ca) =>
        {
            Trust::Known(facts)
        }
        // The time of a file behind a link is not known, and one that another program wrote may
        // have an older time than it has been here for: so neither is whether it was read as it is
        // now.
        (Some(_) | None, _) => Trust::Unknown,
    })
}

/// The digest of a file on a host: as it was seen, else as etcdup recorded it when it wrote it.
pub(crate) fn digest_of<'a>(host: &'a HostView, path: &HostPath) -> Option<&'a str> {
    let seen = host.files.get(path).and_then(|file| file.sha256.as_deref());
    let recorded = || Some(host.record()?.files.get(path)?.sha256.as_str());
    seen.or_else(recorded)
}

/// Whether a CA file may have come after the start of its member, whatever its time says: it is not
/// the one that etcdup wrote, or nothing is known of that and it holds two CAs, of which one takes
/// the other's place.
pub(crate) fn is_unread(topology: &Topology, host: &HostView, path: &HostPath) -> bool {
    let written = host.record().and_then(|record| record.files.get(path));
    let found = host.files.get(path).and_then(|file| file.sha256.as_deref());
    match written {
        Some(written) => found.is_some_and(|found| found != written.sha256),
        None => {
            let several = known(host, path).is_some_and(|facts| !facts.further.is_empty());
            // One that is foretold has no digest yet.
            !topology.certificates.trust.is_empty() && several && found.is_some()
        }
    }
}

fn known<'a>(host: &'a HostView, path: &HostPath) -> Option<&'a CertFacts> {
    host.certificates.get(path).and_then(Observed::known)
}

/// The CA file of a member; none where nothing uses TLS.
pub(crate) fn ca_path(topology: &Topology, member: &Member) -> Option<HostPath> {
    let files = &topology.certificates.files;
    let path = member.layout.certificates.join(&files.ca).ok()?;
    topology.uses_tls().then_some(path)
}

/// The certificates that a member shows, without their keys.
pub(crate) fn shown<'a>(
    topology: &'a Topology,
    member: &'a Member,
) -> impl Iterator<Item = HostPath> + 'a {
    let files = &topology.certificates.files;
    let roles = topology.certificates(member).into_iter();
    roles.filter_map(move |(role, _)| member.layout.certificates.join(&files.of(role).cert).ok())
}

/// Whether a file of CAs holds one of these.
pub(crate) fn holds(file: &[CertIdentity], one: &CertIdentity) -> bool {
    file.iter().any(|other| other.is_same_as(one))
}

/// Why a certificate does not do on this leg.
pub(crate) fn unmet(
    topology: &Topology,
    seen: &Observation,
    facts: &CertFacts,
    request: &CertRequest,
) -> Option<Mismatch> {
    let spreads = topology.trust.is_some_and(TrustLeg::spreads);
    let issuers = if spreads {
        // Every CA that members are to trust will do, so that nothing is issued that a member
        // refuses which does not trust the new one yet.
        seen.bundle()
    } else {
        seen.ca
            .facts()
            .map(CertFacts::identity)
            .into_iter()
            .collect()
    };
    let unmet = facts.satisfies(request, &issuers, seen.at).err()?;
    // It is reissued by the new CA in a moment; where that takes long, it is renewed in time.
    let life = facts.not_after.duration_since(facts.not_before);
    let keyless = topology.trust == Some(TrustLeg::Keyless);
    let lasts = keyless || facts.remaining(seen.at) > life / 6;
    let waits = spreads && lasts && matches!(unmet, Mismatch::Ending { .. });
    (!waits).then_some(unmet)
}

/// What the ID of a key is called that only a stage of the plan makes.
pub(crate) const NOT_MADE: &str = "not made yet";

/// Enough of a key ID to tell it from others.
pub(crate) fn short(key_id: &str) -> &str {
    if key_id.is_empty() {
        "unknown"
    } else if key_id == NOT_MADE {
        NOT_MADE
    } else {
        key_id.get(..12).unwrap_or(key_id)
    }
}
