//! Whom most checks are about.

use etcdup_core::observation::{HostView, Observation};
use etcdup_core::topology::Member;

use crate::target::Target;

/// A member that does not run yet, and its host.
pub(super) struct StoppedMember<'a> {
    pub(super) target: &'a Target,
    pub(super) seen: &'a Observation,
    pub(super) member: &'a Member,
    pub(super) host: &'a HostView,
}
