//! What rules look at, and what they answer.

use etcdup_core::finding::Finding;
use etcdup_core::membership::{ClusterId, ClusterView, Standing};
use etcdup_core::observation::{DataDir, HostView, ListedMember, Observation};
use etcdup_core::stage::Stage;
use etcdup_core::topology::Leaving;

use crate::assess::{Assessment, assess};
use crate::generation::recorded_cluster;
use crate::identity::Bootstrap;
use crate::target::Target;

/// What a rule says.
pub(crate) enum Decision {
    /// Nothing to do here; ask the next rule.
    Continue,
    /// Do this.
    Run(Box<Stage>),
    /// This stands in the way.
    Block(Vec<Finding>),
}

impl Decision {
    pub(crate) fn run(stage: Stage) -> Self {
        Self::Run(Box::new(stage))
    }
}

/// A member that should go, as it stands.
pub(crate) struct LeavingPlace<'a> {
    pub(crate) leaving: &'a Leaving,
    /// Its host, where it was seen.
    pub(crate) host: Option<&'a HostView>,
    /// What a list that a quorum confirms says of it.
    pub(crate) listed: Option<&'a ListedMember>,
    /// Whether it answers under its own ID, and counts for the quorum.
    pub(crate) healthy: bool,
}

/// Everything the rules look at.
pub(crate) struct PlanContext<'a> {
    pub(crate) target: &'a Target,
    pub(crate) seen: &'a Observation,
    pub(crate) bootstrap: Bootstrap,
    /// The list that a quorum confirms.
    pub(crate) view: Option<ClusterView<'a>>,
    pub(crate) members: Vec<Assessment<'a>>,
    pub(crate) leaving: Vec<LeavingPlace<'a>>,
    /// Hosts that were not observed: what is unknown is not touched.
    pub(crate) unseen: Vec<Finding>,
    /// Whether a restart that takes the cluster out of service is approved.
    pub(crate) allow_outage: bool,
    /// Whether a release that a member did not come up with is tried once more.
    pub(crate) retry: bool,
}

/// Whether its data is this cluster's, by the records of those that stay, and what its own host's
/// record knows.
fn is_own(member: &Assessment<'_>, cluster: Option<ClusterId>) -> bool {
    let Some(DataDir::Member(data)) = member.host.data.get(&member.member.layout.data) else {
        return false;
    };
    member.host.record().is_some_and(|record| {
        let known = record.members.get(&member.member.etcd_name);
        cluster == Some(data.cluster)
            && record.cluster == cluster
            && known.is_some_and(|own| own.id == data.member)
    })
}

impl<'a> PlanContext<'a> {
    /// Members that go, have data of their own, and do not run.
    pub(crate) fn voters_that_go(&self) -> Vec<Assessment<'a>> {
        let cluster = recorded_cluster(&self.target.topology, self.seen);
        let leaving = self.target.topology.leaving.iter();
        let seen = leaving.filter(|leaving| !leaving.gone);
        seen.filter_map(|leaving| assess(self.target, self.seen, &leaving.member, self.bootstrap))
            .filter(|member| {
                let votes = matches!(member.standing, Standing::Voter { .. });
                member.process.is_none() && votes && is_own(member, cluster)
            })
            .collect()
    }

    /// Whether members of the file are on their way into the cluster, or still to be added.
    pub(crate) fn grows(&self) -> bool {
        self.members
            .iter()
            .any(|member| member.to_join || member.standing.is_learner())
    }
}
