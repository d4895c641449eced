//! From one CA to another: members trust both before any certificate is of the new one, and the
//! old one goes only once no certificate is of it.

use etcdup_core::certificate::{CertFacts, CertIdentity, Issuer};
use etcdup_core::membership::ClusterView;
use etcdup_core::observation::{CaView, Observation};
use etcdup_core::observed::Observed;
use etcdup_core::stage::TrustLeg;
use etcdup_core::topology::{Member, Topology};

use crate::listed::leaving_entry;
use crate::trusted::{Trust, ca_path, holds, running_trust, shown};

/// Where the change of CAs stands, and which CA signs meanwhile; none where the file's topology is
/// next.
pub(super) fn between(topology: &Topology, seen: &Observation) -> Option<(TrustLeg, Issuer)> {
    // Provided files change as their owner has them.
    if !topology.uses_tls() || topology.certificates.provided.is_some() {
        return None;
    }
    if !topology.certificates.trust.is_empty() && !all_trust_own(topology, seen) {
        return Some(match meanwhile(topology, seen) {
            Some(issuer) => (TrustLeg::Spread, issuer),
            None => (TrustLeg::Keyless, Issuer::Own),
        });
    }
    (drops(topology, seen) && !all_reissued(topology, seen))
        .then_some((TrustLeg::Reissue, Issuer::Own))
}

/// The members that count: the file's, and those that go for as long as the cluster may list them.
fn members<'a>(topology: &'a Topology, seen: &'a Observation) -> impl Iterator<Item = &'a Member> {
    let view = ClusterView::confirmed(seen);
    let leaving = topology.leaving.iter().filter(move |leaving| {
        let view = view.as_ref();
        // Without a confirmed list it may still be a member.
        let listed = view.is_none_or(|view| leaving_entry(topology, seen, view, leaving).is_some());
        !leaving.gone && listed
    });
    topology
        .members
        .iter()
        .chain(leaving.map(|leaving| &leaving.member))
}

/// What members trust that run, or may.
fn running<'a>(
    topology: &'a Topology,
    seen: &'a Observation,
) -> impl Iterator<Item = Trust<'a>> + 'a {
    members(topology, seen).filter_map(|member| running_trust(topology, seen, member))
}

/// Whether every running member is known to trust the cluster's own CA, as it started.
pub(crate) fn all_trust_own(topology: &Topology, seen: &Observation) -> bool {
    let own = seen.ca.facts().map(CertFacts::identity);
    running(topology, seen).all(|trust| match trust {
        Trust::Known(facts) => own.as_ref().is_some_and(|own| holds(&facts.file(), own)),
        Trust::Elsewhere(_) | Trust::Unknown => false,
        Trust::Gone => true,
    })
}

/// Which CA signs what cannot wait: one that every running member trusts. Where it is not known
/// what one of them trusts, only the one that signed what all show: that is accepted already.
fn meanwhile(topology: &Topology, seen: &Observation) -> Option<Issuer> {
    let known = || {
        running(topology, seen).filter_map(|trust| match trust {
            Trust::Known(facts) => Some(facts.file()),
            Trust::Elsewhere(_) | Trust::Unknown | Trust::Gone => None,
        })
    };
    let sure = running(topology, seen).all(|trust| matches!(trust, Trust::Known(_) | Trust::Gone));
    let signs = |issuer: &Issuer| match seen.issuer(*issuer) {
        Some(CaView::Usable(facts)) => {
            let ca = facts.identity();
            facts.check_validity(seen.at).is_ok()
                && known().all(|file| holds(&file, &ca))
                && (sure || signed_all(topology, seen, &ca))
        }
        Some(CaView::Unneeded | CaView::Absent | CaView::WithoutKey(_) | CaView::Broken(_))
        | None => false,
    };
    let trusted = (0..seen.trusted.len()).map(Issuer::Trusted);
    let mut candidates: Vec<Issuer> = std::iter::once(Issuer::Own)
        .chain(trusted)
        .filter(signs)
        .collect();
    // What is in use goes on, so that nothing changes hands twice.
    candidates.sort_by_key(|issuer| {
        let facts = seen.issuer(*issuer).and_then(CaView::facts);
        !facts.is_some_and(|facts| signed_all(topology, seen, &facts.identity()))
    });
    candidates.into_iter().next()
}

/// Whether all that was seen of what running members show is of this CA, and anything was.
fn signed_all(topology: &Topology, seen: &Observation, ca: &CertIdentity) -> bool {
    let shown = members(topology, seen).flat_map(|member| {
        let host = seen
            .host(&member.host)
            .filter(|host| host.processes.contains_key(&member.name));
        let paths = shown(topology, member);
        paths.filter_map(move |path| host?.certificates.get(&path)?.known())
    });
    let mut all = shown.peekable();
    all.peek().is_some() && all.all(|facts| facts.is_issued_by(std::slice::from_ref(ca)))
}

/// Whether a member's CA file holds a CA that it is not to hold. One whose own certificate has
/// ended verifies nothing any more.
fn drops(topology: &Topology, seen: &Observation) -> bool {
    let bundle = seen.bundle();
    let held = topology.members.iter().filter_map(|member| {
        let host = seen.host(&member.host)?;
        let facts = host.certificates.get(&ca_path(topology, member)?)?;
        Some(facts.known()?.file())
    });
    held.flatten()
        .any(|ca| ca.not_after > seen.at && !holds(&bundle, &ca))
}

/// Whether no member shows a certificate of a CA that goes. One that was not seen may.
pub(crate) fn all_reissued(topology: &Topology, seen: &Observation) -> bool {
    let bundle = seen.bundle();
    members(topology, seen).all(|member| {
        let Some(host) = seen.host(&member.host) else {
            return false;
        };
        if !host.processes.contains_key(&member.name) {
            // What it starts with is reissued before it starts.
            return true;
        }
        // Nor is it known what one shows that runs with other files.
        let elsewhere = running_trust(topology, seen, member);
        if matches!(elsewhere, Some(Trust::Elsewhere(_))) {
            return false;
        }
        shown(topology, member).all(|path| {
            let facts = host.certificates.get(&path).and_then(Observed::known);
            facts.is_some_and(|facts| facts.is_issued_by(&bundle))
        })
    })
}
