//! Who may stop: the cluster's own list decides.

use std::collections::BTreeSet;

use etcdup_core::membership::Electorate;
use etcdup_core::name::MemberName;

use crate::plan_context::PlanContext;

/// Whether a quorum of the cluster's voters stays healthy without this member.
pub(crate) fn can_be_spared(context: &PlanContext<'_>, name: &MemberName) -> bool {
    electorate(context)
        .spare(&BTreeSet::from([name.clone()]))
        .is_ok()
}

pub(crate) fn electorate(context: &PlanContext<'_>) -> Electorate {
    Electorate::of(context.seen, &names(context))
}

/// The members of the file, which stand in for the cluster's list if no member gives one.
pub(crate) fn names(context: &PlanContext<'_>) -> Vec<MemberName> {
    let members = context.target.topology.members.iter();
    members.map(|member| member.name.clone()).collect()
}
