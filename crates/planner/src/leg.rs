//! The way to the file's topology, in legs: complete topologies that are reached one after the
//! other. Rules compare hosts with the leg and never with the file, so a change of several steps
//! needs no executor of its own.
//!
//! Which leg comes next is derived from what was observed and remembered nowhere: a run that was
//! cut off, an edit in between and a second operator all find the same one. One kind of step exists
//! so far: the generation of the cluster's token.

use etcdup_core::observation::Observation;
use etcdup_core::stage::LegTag;
use etcdup_core::topology::Topology;

use crate::generation::generation;
use crate::roster::with_leaving;

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
pub(crate) fn leg(file: &Topology, seen: &Observation) -> Leg {
    let (generation, token) = generation(file, seen);
    Leg {
        topology: Topology {
            token,
            ..with_leaving(file, seen)
        },
        tag: LegTag { generation },
    }
}
