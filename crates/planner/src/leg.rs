//! The way to the file's topology, in legs: complete topologies that are reached one after the
//! other. Rules compare hosts with the leg and never with the file, so a change of several steps
//! needs no executor of its own.
//!
//! Which leg comes next is derived from what was observed and remembered nowhere: a run that was
//! cut off, an edit in between and a second operator all find the same one.

use etcdup_core::file::Security;
use etcdup_core::observation::Observation;
use etcdup_core::stage::{Goal, LegTag};
use etcdup_core::topology::Topology;

use crate::generation::generation;
use crate::roster::with_leaving;

mod peers;
pub(crate) mod trust;
pub(crate) mod version;

/// One leg.
#[derive(Debug, Clone)]
pub(crate) struct Leg {
    /// What should be, once it is reached.
    pub(crate) topology: Topology,
    /// What tells its stages from those of another leg.
    pub(crate) tag: LegTag,
}

/// The first leg on the way to the file's topology that is not reached yet; the file's own where
/// nothing lies between.
pub(crate) fn leg(file: &Topology, goal: &Goal, seen: &Observation) -> Leg {
    let (generation, token) = generation(file, seen);
    let topology = Topology {
        token,
        ..with_leaving(file, seen)
    };
    // Whoever stops a cluster does not care what it would have become.
    let between = match goal {
        Goal::Converge { .. } => version::between(&topology, seen),
        Goal::Reset { .. } => None,
    };
    // A path that is too long with another version in it is refused with the file's own.
    let at_version =
        between.and_then(|version| Some((topology.at_version(&version).ok()?, version)));
    let (topology, version) = match at_version {
        Some((topology, version)) => (topology, Some(version)),
        None => (topology, None),
    };
    let between = match goal {
        Goal::Converge { .. } => trust::between(&topology, seen),
        Goal::Reset { .. } => None,
    };
    let (trust, issuer) = between.unzip();
    let peers = match goal {
        Goal::Converge { .. } => peers::between(&topology, seen),
        Goal::Reset { .. } => None,
    };
    let security = Security {
        peer: peers.unwrap_or(topology.security.peer),
        ..topology.security.clone()
    };
    let peers_ready = peers.is_some();
    Leg {
        topology: Topology {
            security,
            peers_ready,
            trust,
            issuer: issuer.unwrap_or_default(),
            ..topology
        },
        tag: LegTag {
            generation,
            version,
            trust,
            peers_ready,
        },
    }
}
