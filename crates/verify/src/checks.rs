//! The checks of `verify`: each a row and a pure function over evidence.

mod access;
mod consistency;
mod health;
mod hosts;
mod membership;

use std::collections::BTreeMap;

use etcdup_core::finding::{Check, Finding};
use etcdup_core::name::MemberName;
use etcdup_core::observation::Observation;
use etcdup_core::seen::Seen;
use etcdup_core::topology::Topology;

use crate::gather::MemberEvidence;

/// All that the checks look at.
pub struct Evidence<'a> {
    /// What should be.
    pub topology: &'a Topology,
    /// What was seen of hosts.
    pub seen: &'a Observation,
    /// What members answered.
    pub members: BTreeMap<MemberName, Seen<MemberEvidence>>,
}

impl<'a> Evidence<'a> {
    /// The members that answered.
    pub(crate) fn answered(&self) -> impl Iterator<Item = (&MemberName, &MemberEvidence)> {
        self.members
            .iter()
            .filter_map(|(name, evidence)| Some((name, evidence.yes()?)))
    }
}

/// A row: the check, and the function that finds.
struct Row {
    check: Check,
    find: fn(&Check, &Evidence<'_>) -> Vec<Finding>,
}

const ROWS: [Row; 14] = [
    Row {
        check: membership::MEMBERS,
        find: membership::members,
    },
    Row {
        check: membership::STARTED,
        find: membership::started,
    },
    Row {
        check: health::LEADER,
        find: health::leader,
    },
    Row {
        check: health::HEALTH,
        find: health::health,
    },
    Row {
        check: health::LAG,
        find: health::lag,
    },
    Row {
        check: health::LEARNERS,
        find: health::learners,
    },
    Row {
        check: consistency::HASH,
        find: consistency::hash,
    },
    Row {
        check: consistency::PEERS,
        find: consistency::peers,
    },
    Row {
        check: consistency::ALARMS,
        find: consistency::alarms,
    },
    Row {
        check: consistency::SIZE,
        find: consistency::size,
    },
    Row {
        check: consistency::SKEW,
        find: consistency::skew,
    },
    Row {
        check: hosts::CERTS_END,
        find: hosts::certificates,
    },
    Row {
        check: hosts::CLOCKS,
        find: hosts::clocks,
    },
    Row {
        check: access::ANONYMOUS,
        find: access::anonymous,
    },
];

/// Every check of this crate, for `etcdup explain`.
pub const VERIFY_CHECKS: [Check; ROWS.len()] = {
    let mut checks = [ROWS[0].check; ROWS.len()];
    let mut index = 0;
    while index < ROWS.len() {
        checks[index] = ROWS[index].check;
        index += 1;
    }
    checks
};

/// What the evidence says, one finding or more a check.
#[must_use]
pub fn judge(evidence: &Evidence<'_>) -> Vec<Finding> {
    ROWS.iter()
        .flat_map(|row| (row.find)(&row.check, evidence))
        .collect()
}
