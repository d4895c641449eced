//! Who may stop: the cluster's own list decides.

use std::collections::BTreeSet;

use etcdup_core::membership::Electorate;
use etcdup_core::name::MemberName;

use crate::plan_context::World;

/// Whether a quorum of the cluster's voters stays healthy without this member.
pub(crate) fn can_be_spared(world: &World<'_>, name: &MemberName) -> bool {
    electorate(world)
        .spare(&BTreeSet::from([name.clone()]))
        .is_ok()
}

pub(crate) fn electorate(world: &World<'_>) -> Electorate {
    Electorate::of(world.seen, &names(world))
}

/// The members of the file, which stand in for the cluster's list if no member gives one.
pub(crate) fn names(world: &World<'_>) -> Vec<MemberName> {
    let members = world.target.topology.members.iter();
    members.map(|member| member.name.clone()).collect()
}
