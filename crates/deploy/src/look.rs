//! A look at a cluster that is kept, and refreshed as cheaply as what changed allows: members
//! through open links, hosts by their script.

use etcdup_core::observed::{Cause, Observed};
use etcdup_core::stage::Goal;
use etcdup_planner::Ending;
use jiff::{SignedDuration, Timestamp};

use crate::cluster::Cluster;
use crate::documents::{CertificatesDocument, HostsDocument, PlanDocument, StatusDocument};
use crate::error::DeployError;
use crate::plan::Plan;

/// How often it is asked which snapshot is the newest.
const SNAPSHOTS: SignedDuration = SignedDuration::from_secs(30);

/// How a cluster stood when it was last looked at. Made by [`Cluster::look`].
pub struct Look {
    plan: Plan,
    members_at: Timestamp,
    snapshots_at: Timestamp,
}

impl Look {
    /// How members stand.
    #[must_use]
    pub fn status(&self) -> StatusDocument {
        StatusDocument::new(&self.plan.planner, &self.plan.seen)
    }

    /// The certificates that hosts had.
    #[must_use]
    pub fn certificates(&self) -> CertificatesDocument {
        CertificatesDocument::new(&self.plan.planner, &self.plan.seen)
    }

    /// The hosts.
    #[must_use]
    pub fn hosts(&self) -> HostsDocument {
        HostsDocument::new(&self.plan.planner, &self.plan.seen)
    }

    /// What an apply would do.
    #[must_use]
    pub fn plan(&self) -> PlanDocument {
        PlanDocument::new(&self.plan)
    }

    /// Whether nothing stands in the way of a plan.
    #[must_use]
    pub fn is_plannable(&self) -> bool {
        self.plan.forecast.ending == Ending::Done
    }

    /// Whether a host refused to let us in, which some answer with a ban when it is tried often.
    #[must_use]
    pub fn was_refused(&self) -> bool {
        let refused = |view: &Observed<_>| match view {
            Observed::Known(_) => false,
            Observed::Unknown(unseen) => {
                matches!(unseen.cause, Cause::Login | Cause::HostKey | Cause::Sudo)
            }
        };
        self.plan.seen.hosts.values().any(refused)
    }

    /// When hosts were looked at.
    #[must_use]
    pub fn hosts_at(&self) -> Timestamp {
        self.plan.seen.at
    }

    /// When members were asked.
    #[must_use]
    pub fn members_at(&self) -> Timestamp {
        self.members_at
    }
}

impl Cluster {
    /// Looks at hosts and members, and at what an apply would do. Takes no lease.
    ///
    /// # Errors
    /// When the topology cannot be made concrete.
    pub async fn look(&self) -> Result<Look, DeployError> {
        let plan = self.plan(Goal::CONVERGE).await?;
        let now = Timestamp::now();
        Ok(Look {
            plan,
            members_at: now,
            snapshots_at: now,
        })
    }

    /// Asks every member again, through links that are open already where they are, and now and
    /// then which snapshot is the newest. What hosts looked like, and what an apply would do, stays
    /// as it was.
    pub async fn ask_again(&self, look: &mut Look) {
        let session = self.session().await;
        let topology = look.plan.planner.topology();
        session.link_others(topology).await;
        let all = topology.everyone().map(|member| member.name.clone());
        let all = all.collect();
        session.ask_some(topology, &mut look.plan.seen, &all).await;
        look.members_at = Timestamp::now();
        // A store may count each question.
        if look.members_at.duration_since(look.snapshots_at) >= SNAPSHOTS {
            look.plan.seen.snapshot = session.newest_snapshot(topology).await;
            look.snapshots_at = look.members_at;
        }
    }
}
