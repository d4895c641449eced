//! How each member that anyone knows of stands with the cluster.

use super::MemberId;
use crate::host::HostId;
use crate::name::MemberName;

/// A member that anyone knows of (the file, the member list, a host record, a data directory), and
/// how it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its name; `None` for a listed member that was added and has not told its name yet, and that
    /// no file names.
    pub name: Option<MemberName>,
    /// Its host; `None` where no file and no record says.
    pub host: Option<HostId>,
    /// How it stands.
    pub standing: Standing,
    /// Whether it should go.
    pub leaves: bool,
}

impl Place {
    /// Whether it went as it should, and nothing of it is left to say.
    #[must_use]
    pub fn has_left(&self) -> bool {
        self.leaves && self.standing.is_to_join()
    }
}

/// How a member stands with the cluster, by the cluster's list, its host's record and its data
/// directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// No list, record or data knows it. While the cluster has not formed it is bootstrapped with
    /// the others; afterwards it must be added before it may start.
    New,
    /// A bootstrap named it, and it never started.
    Bootstrapped(MemberId),
    /// It was added to a running cluster and never started (etcdctl: `unstarted`). It may start as
    /// `existing` only.
    Added {
        /// Its ID.
        id: MemberId,
        /// Whether it was added as a learner.
        learner: bool,
    },
    /// It has started, and follows without a vote.
    Learner {
        /// Its ID.
        id: MemberId,
        /// How many raft entries it is behind the newest that any member has; `None` while it does
        /// not answer.
        behind: Option<u64>,
    },
    /// It votes.
    Voter {
        /// Its ID.
        id: MemberId,
        /// Whether it serves, or follows a leader. What was not observed is not healthy.
        healthy: bool,
    },
    /// It has started before, and its data is gone: it has forgotten what it voted for, and must
    /// never start as it was.
    Lost {
        /// Its ID, where the list or a record has it.
        id: Option<MemberId>,
        /// What shows it, as a clause.
        why: String,
    },
    /// A record or data says that it was a member; the cluster's list no longer has it.
    Removed {
        /// Whether its etcd runs still.
        runs: bool,
        /// Whether its data is still in place.
        data: bool,
    },
    /// The cluster lists it, and neither the file nor a record knows it.
    Unmanaged(MemberId),
    /// It is not known, for this reason.
    Unknown(String),
}

impl Standing {
    /// Whether a cluster that has formed must add it before it may start: nothing of a former
    /// membership is in its way.
    #[must_use]
    pub fn is_to_join(&self) -> bool {
        let removed = Self::Removed {
            runs: false,
            data: false,
        };
        *self == Self::New || *self == removed
    }

    /// Whether it is, or was added as, a learner: it answers no read that a quorum confirms.
    #[must_use]
    pub fn is_learner(&self) -> bool {
        matches!(
            self,
            Self::Learner { .. } | Self::Added { learner: true, .. }
        )
    }
}
