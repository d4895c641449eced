//! The checks of `verify`: each a row and a pure function over evidence.

mod access;
mod consistency;
mod health;
mod hosts;
mod membership;

use std::collections::BTreeMap;

use etcdup_core::finding::{Check, Finding};
use etcdup_core::name::MemberName;
use etcdup_core::observation::{ListedMember, Observation};
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
    /// What the file calls a listed member, else its own name, else its ID.
    pub(crate) fn name_of(&self, listed: &ListedMember) -> String {
        let named = self.topology.members.iter().find(|member| {
            let url = self.topology.peer_url(member).to_string();
            listed.peer_urls.contains(&url)
        });
        match named {
            Some(member) => member.name.to_string(),
            None if listed.name.is_empty() => format!("{:x}", listed.id),
            None => listed.name.clone(),
        }
    }

    /// What the file calls the member of an ID.
    pub(crate) fn name_of_id(&self, id: u64) -> String {
        let listed = self
            .answered()
            .find_map(|(_, member)| member.view.listed.iter().find(|listed| listed.id == id));
        listed.map_or_else(|| format!("{id:x}"), |listed| self.name_of(listed))
    }

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
    /// Whether it needs what members answer: where none does, nothing is known, which is not the same as well.
    asks: bool,
    find: fn(&Check, &Evidence<'_>) -> Vec<Finding>,
}

const ROWS: [Row; 15] = [
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
        check: consistency::SKEW,
        asks: true,
        find: consistency::skew,
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
pub fn judge(evidence: &Evidence<'_>) -> Vec<Finding> {
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
