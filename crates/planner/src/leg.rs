//! The way to the file's topology, in legs: complete topologies that are reached one after the
//! other. Rules compare hosts with the leg and never with the file, so a change of several steps
//! needs no executor of its own.
//!
//! Which leg comes next is derived from what was observed and remembered nowhere: a run that was
//! cut off, an edit in between and a second operator all find the same one.

use std::collections::BTreeMap;

use etcdup_core::name::MemberName;
use etcdup_core::observation::Observation;
use etcdup_core::stage::{Goal, LegTag};
use etcdup_core::topology::Topology;

use self::place::Staying;
use crate::generation::{generation, name};
use crate::restoring::{Phase, RestoredWith, phase};
use crate::roster::{add_leaving, with_recorded};

pub(crate) mod peers;
pub(crate) mod place;
pub(crate) mod trust;
pub(crate) mod version;

/// One leg.
#[derive(Debug, Clone)]
pub(crate) struct Leg {
    /// What should be, once it is reached.
    pub(crate) topology: Topology,
    /// What tells its stages from those of another leg.
    pub(crate) tag: LegTag,
    /// Members that the file has elsewhere on their hosts than they are, or that may be elsewhere.
    pub(crate) staying: BTreeMap<MemberName, Staying>,
    /// Where they go on this leg, if they do: the same with every member where the file has it.
    pub(crate) beyond: Option<Topology>,
    /// How members' data is made of a snapshot, where it is.
    pub(crate) restored_with: Option<RestoredWith>,
}

/// The first leg on the way to the file's topology that is not reached yet; the file's own where
/// nothing lies between.
pub(crate) fn leg(file: &Topology, goal: &Goal, seen: &Observation) -> Leg {
    let ordered = match goal {
        Goal::Restore { order } => Some(order),
        Goal::Converge { .. }
        | Goal::Reset { .. }
        | Goal::Maintain { .. }
        | Goal::Disarm
        | Goal::AbortRestore { .. }
        | Goal::Recover { .. }
        | Goal::MoveLeader { .. } => None,
    };
    let phase = ordered.map(|order| phase(file, seen, order));
    let (generation, token) = match &phase {
        // Whatever data says: what belongs to another one is in the way.
        Some(Phase::Restoring(record)) => (record.generation, name(file, record.generation)),
        _ => generation(file, seen),
    };
    let mut leg = Leg {
        topology: Topology {
            token,
            ..with_recorded(file, seen)
        },
        tag: LegTag {
            generation,
            ..LegTag::default()
        },
        staying: BTreeMap::new(),
        beyond: None,
        restored_with: None,
    };
    let mut meant = leg.topology.clone();
    leg.staying = place::stay(&mut leg.topology, seen);
    // By where members are: what is at the file's place may be another's.
    add_leaving(&mut leg.topology, seen);
    let leaving = place::stay_until_gone(&mut leg.topology, seen);
    leg.staying.extend(leaving);
    meant.leaving.clone_from(&leg.topology.leaving);
    meant.hosts.clone_from(&leg.topology.hosts);
    // A cluster that is to stop, or to be cared for as it is, need not become anything first.
    match &phase {
        Some(Phase::Restoring(record)) => {
            leg.restored_with = Some(RestoredWith {
                bump: record.bump,
                revision: ordered
                    .and_then(|order| order.least_revision(record))
                    .unwrap_or(1),
            });
            leg.topology.clients_kept_out = true;
            leg.tag.restore = true;
        }
        Some(Phase::Ended(_)) => {}
        None if matches!(goal, Goal::Converge { .. }) => {}
        Some(Phase::SetAside(_) | Phase::Aborted) | None => return leg,
    }
    // A path that is too long with another version in it is refused with the file's own.
    if let Some(version) = version::between(&leg.topology, seen)
        && let Ok(topology) = leg.topology.at_version(&version)
    {
        leg.topology = topology;
        leg.tag.version = Some(version);
    }
    if let Some((trust, issuer)) = trust::between(&leg.topology, seen) {
        leg.topology.trust = Some(trust);
        leg.topology.issuer = issuer;
        leg.tag.trust = Some(trust);
    }
    if let Some(security) = peers::between(&leg.topology, seen) {
        leg.topology.security.peer = security;
        leg.topology.peers_ready = true;
        leg.tag.peers_ready = true;
    }
    // Last of all: what can go wrong with a release, a CA or a scheme is over by then.
    let is_last = leg.topology.version == meant.version
        && version::is_reached(&meant, seen)
        && leg.tag.trust.is_none()
        && !leg.tag.peers_ready
        && !leg.tag.restore;
    if is_last && leg.staying.values().any(|staying| staying.goes) {
        leg.beyond = Some(meant);
        leg.tag.place = true;
    }
    leg
}
