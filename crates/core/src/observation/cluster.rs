//! The cluster as its members describe it.

use std::time::Duration;

use serde::Serialize;

use crate::membership::{ClusterId, MemberId};
use crate::observed::Observed;

/// What a member answers on its own client port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MemberView {
    /// Its member ID.
    pub id: MemberId,
    /// The cluster's ID.
    pub cluster: ClusterId,
    /// The leader that it follows, where it follows one.
    pub leader: Option<MemberId>,
    /// The version it runs.
    pub version: String,
    /// The minor that its data is written for, such as `3.6`; empty before 3.6, which does not say.
    pub storage_version: String,
    /// The minor that the cluster is being downgraded to, where it is.
    pub downgrade: Option<String>,
    /// The raft term.
    pub term: u64,
    /// The last raft entry it has.
    pub raft_index: u64,
    /// The last raft entry it applied.
    pub applied_index: u64,
    /// The store's revision.
    pub revision: i64,
    /// The size of its database file, in bytes.
    pub db_size: i64,
    /// How much of that is in use, in bytes.
    pub db_in_use: i64,
    /// Whether it is a learner.
    pub learner: bool,
    /// Errors it speaks of itself, such as alarms.
    pub errors: Vec<String>,
    /// The members it knows.
    pub listed: Vec<ListedMember>,
    /// Whether a linearizable read of the key `health` went through, as `etcdctl endpoint health`
    /// asks.
    pub served: Observed<Served>,
}

impl MemberView {
    /// A member that serves at once and holds nothing: predictions and tests say what differs.
    #[must_use]
    pub fn serving(id: MemberId, cluster: ClusterId) -> Self {
        Self {
            id,
            cluster,
            leader: None,
            version: String::new(),
            storage_version: String::new(),
            downgrade: None,
            // The first election of a bootstrap ends in the second term.
            term: 2,
            raft_index: 1,
            applied_index: 1,
            revision: 1,
            db_size: 0,
            db_in_use: 0,
            learner: false,
            errors: Vec::new(),
            listed: Vec::new(),
            served: Observed::Known(Served {
                took: Duration::ZERO,
                denied: false,
            }),
        }
    }
}

/// The alarm that a full database raises: the cluster takes no more writes.
pub const NO_SPACE: &str = "NOSPACE";
/// The alarm that data raises that differs between members.
pub const CORRUPT: &str = "CORRUPT";

/// A database that is smaller gives nothing back that anybody would miss, in bytes.
const SMALL: i64 = 16 << 20;

impl MemberView {
    /// Whether its database is worth writing again: less than half of it is in use.
    #[must_use]
    pub fn is_fragmented(&self) -> bool {
        self.db_size >= SMALL && self.db_in_use < self.db_size / 2
    }

    /// Whose this alarm is, as the member has it among its errors: `memberID:7 alarm:NOSPACE`.
    #[must_use]
    pub fn alarms(&self, alarm: &str) -> Vec<MemberId> {
        let of = |error: &String| {
            let find = |name: &str| {
                let mut words = error.split_whitespace();
                words.find_map(|word| word.strip_prefix(name))
            };
            // Of a member that it does not know etcd says nothing, which stands for zero.
            let id = find("memberID:").map_or(Some(0), |id| id.parse().ok())?;
            (find("alarm:")? == alarm).then(|| MemberId::new(id))
        };
        self.errors.iter().filter_map(of).collect()
    }
}

/// A read that a quorum confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Served {
    /// How long it took.
    pub took: Duration,
    /// Whether etcd's own authentication kept the answer from us, after a quorum had confirmed the
    /// read: the member serves, and what needs the root role, such as moving leadership, will be
    /// refused.
    pub denied: bool,
}

/// A member as the member list has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListedMember {
    /// Its ID.
    pub id: MemberId,
    /// Its name; empty for a member that was added and never started.
    pub name: String,
    /// Its peer URLs.
    pub peer_urls: Vec<String>,
    /// Its client URLs; empty until it has started for the first time.
    pub client_urls: Vec<String>,
    /// Whether it is a learner.
    pub learner: bool,
}

impl ListedMember {
    /// Whether it has ever started.
    ///
    /// Only a member that runs publishes its client URLs, so etcd itself asks for them
    /// (`isMemberBootstrapped`). The name tells nothing: a bootstrap knows every name beforehand.
    #[must_use]
    pub fn started(&self) -> bool {
        !self.client_urls.is_empty()
    }

    /// Whether it was added to a running cluster and never started: etcdctl prints `unstarted`. It
    /// may start as `existing` only.
    #[must_use]
    pub fn added(&self) -> bool {
        self.name.is_empty() && !self.started()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alarms_are_read_as_etcd_of_every_minor_says_them() {
        let mut view = MemberView::serving(MemberId::new(1), ClusterId::new(2));
        view.errors = vec![
            "memberID:10276657743932975437 alarm:NOSPACE ".into(),
            "memberID:7  alarm:CORRUPT".into(),
            "alarm:CORRUPT ".into(),
            "etcdserver: no leader".into(),
        ];
        assert_eq!(
            view.alarms(NO_SPACE),
            [MemberId::new(10_276_657_743_932_975_437)]
        );
        let corrupt = [MemberId::new(7), MemberId::new(0)];
        assert_eq!(view.alarms(CORRUPT), corrupt);
    }
}
