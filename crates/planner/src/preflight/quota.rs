//! A quota that would be full at once.

use etcdup_core::file::KeyPath;
use etcdup_core::finding::{Check, Finding};
use etcdup_core::flag::quota_of;
use etcdup_core::observation::{HostView, Observation};
use etcdup_core::topology::{ClusterState, Member};

use crate::target::Target;

pub(super) const QUOTA_BELOW: Check = Check {
    id: "quota-below-database",
    title: "the new quota is less than the database has",
    about: "etcd compares its whole database with quota-backend-bytes, also what it does not use. A member that is restarted with \
            less raises NOSPACE at the next write, and the cluster takes no writes.",
    advice: "run `etcdup maintain --compact`, which gives back what is not in use, and apply again; or ask for a larger quota",
};

/// A quota that is lowered below what a member's database takes.
pub(super) fn below(
    target: &Target,
    seen: &Observation,
    member: &Member,
    host: &HostView,
) -> Option<Finding> {
    let process = host.processes.get(&member.name)?;
    let size = seen.member(&member.name)?.db_size;
    let wanted = quota_of(&target.topology.flags(member, ClusterState::Existing))?;
    // What is full already is no news, and a restart for another reason changes nothing of it.
    let is_lowered = quota_of(&process.flags).is_none_or(|now| wanted < now);
    (is_lowered && wanted <= size).then(|| {
        let evidence = format!(
            "its database takes {} MiB, and the file asks for a quota of {} MiB",
            size >> 20,
            wanted >> 20
        );
        let at = KeyPath::root("flags").key("quota-backend-bytes");
        QUOTA_BELOW.error(&member.name, evidence).at(at)
    })
}
