//! From one CA to another: members trust both before any certificate is of the new one, and the
//! old one goes only once no certificate is of it.

use etcdup_core::certificate::{CertFacts, Issuer};
use etcdup_core::observation::{CaView, Observation};
use etcdup_core::observed::Observed;
use etcdup_core::stage::TrustLeg;
use etcdup_core::topology::{Member, Topology};

use crate::trusted::{Trust, ca_path, holds, running_trust, shown};

/// Where the change of CAs stands, and which CA signs meanwhile; none where the file's topology is
/// next.
pub(super) fn between(topology: &Topology, seen: &Observation) -> Option<(TrustLeg, Issuer)> {
    // Provided files change as their owner has them.
    if !topology.uses_tls() || topology.certificates.provided.is_some() {
        return None;
    }
    if !topology.certificates.trust.is_empty() && !all_trust_own(topology, seen) {
        return Some((TrustLeg::Spread, meanwhile(topology, seen)));
    }
    (drops(topology, seen) && !all_reissued(topology, seen))
        .then_some((TrustLeg::Reissue, Issuer::Own))
}

/// Members that run, or may, with what they trust.
fn running<'a>(
    topology: &'a Topology,
    seen: &'a Observation,
) -> impl Iterator<Item = Trust<'a>> + 'a {
    let gone = |member: &Member| {
        let leaving = topology.leaving(&member.name);
        leaving.is_some_and(|leaving| leaving.gone)
    };
    let members = topology.everyone().filter(move |member| !gone(member));
    members.filter_map(|member| running_trust(topology, seen, member))
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

/// Which CA signs what cannot wait: one that every running member trusts. Where its key is not
/// here, the own one signs: nothing is reissued then but what no member accepts as it is.
fn meanwhile(topology: &Topology, seen: &Observation) -> Issuer {
    let known = || {
        running(topology, seen).filter_map(|trust| match trust {
            Trust::Known(facts) => Some(facts.file()),
            Trust::Elsewhere(_) | Trust::Unknown | Trust::Gone => None,
        })
    };
    let may_sign = |view: &CaView| match view {
        CaView::Usable(facts) => {
            facts.check_validity(seen.at).is_ok()
                && known().all(|file| holds(&file, &facts.identity()))
        }
        CaView::Unneeded | CaView::Absent | CaView::WithoutKey(_) | CaView::Broken(_) => false,
    };
    let place = seen.trusted.iter().position(may_sign);
    place.map_or(Issuer::Own, Issuer::Trusted)
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
    topology.members.iter().all(|member| {
        let Some(host) = seen.host(&member.host) else {
            return false;
        };
        if !host.processes.contains_key(&member.name) {
            // What it starts with is reissued before it starts.
            return true;
        }
        shown(topology, member).all(|path| {
            let facts = host.certificates.get(&path).and_then(Observed::known);
            facts.is_some_and(|facts| facts.is_issued_by(&bundle))
        })
    })
}
