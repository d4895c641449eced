//! The checks of `verify`: each a row and a pure function over evidence.

mod access;
mod consistency;
mod evidence;
mod health;
mod hosts;
mod membership;

pub use evidence::Evidence;

use etcdup_core::finding::{Check, Finding};

/// A row: the check, and the function that finds.
struct Row {
    check: Check,
    /// Whether it needs what members answer: where none does, nothing is known, which is not the
    /// same as well.
    asks: bool,
    find: fn(&Check, &Evidence<'_>) -> Vec<Finding>,
}

const ROWS: [Row; 19] = [
    Row {
        check: membership::MEMBERS,
        asks: true,
        find: membership::members,
    },
    Row {
        check: membership::STARTED,
        asks: true,
        find: membership::started,
    },
    Row {
        check: membership::ROSTER,
        asks: true,
        find: membership::roster,
    },
    Row {
        check: health::LEADER,
        asks: false,
        find: health::leader,
    },
    Row {
        check: health::HEALTH,
        asks: false,
        find: health::health,
    },
    Row {
        check: health::LAG,
        asks: true,
        find: health::lag,
    },
    Row {
        check: health::LEARNERS,
        asks: true,
        find: health::learners,
    },
    Row {
        check: consistency::HASH,
        asks: true,
        find: consistency::hash,
    },
    Row {
        check: consistency::PEERS,
        asks: true,
        find: consistency::peers,
    },
    Row {
        check: consistency::ALARMS,
        asks: true,
        find: consistency::alarms,
    },
    Row {
        check: consistency::SIZE,
        asks: true,
        find: consistency::size,
    },
    Row {
        check: consistency::FRAGMENTED,
        asks: true,
        find: consistency::fragmented,
    },
    Row {
        check: consistency::SKEW,
        asks: true,
        find: consistency::skew,
    },
    Row {
        check: consistency::CLUSTER_VERSION,
        asks: true,
        find: consistency::cluster_version,
    },
    Row {
        check: hosts::SNAPSHOT_AGE,
        asks: false,
        find: hosts::snapshot,
    },
    Row {
        check: hosts::CERTS_END,
        asks: false,
        find: hosts::certificates,
    },
    Row {
        check: hosts::CLOCKS,
        asks: false,
        find: hosts::clocks,
    },
    Row {
        check: hosts::DISK,
        asks: false,
        find: hosts::disk,
    },
    Row {
        check: access::ANONYMOUS,
        asks: true,
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
pub fn evaluate(evidence: &Evidence<'_>) -> Vec<Finding> {
    let silent = evidence.answered().next().is_none();
    ROWS.iter()
        .flat_map(|row| {
            if silent && row.asks {
                vec![row.check.warning("cluster", "not known: no member answers")]
            } else {
                (row.find)(&row.check, evidence)
            }
        })
        .collect()
}
