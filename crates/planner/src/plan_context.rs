//! What rules look at, and what they answer.

use etcdup_core::finding::Finding;
use etcdup_core::observation::Observation;
use etcdup_core::stage::Stage;

use crate::assess::Assessment;
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

/// Everything the rules look at.
pub(crate) struct PlanContext<'a> {
    pub(crate) target: &'a Target,
    pub(crate) seen: &'a Observation,
    pub(crate) bootstrap: Bootstrap,
    pub(crate) members: Vec<Assessment<'a>>,
    /// Hosts that were not observed: what is unknown is not touched.
    pub(crate) unseen: Vec<Finding>,
    /// Whether a restart that takes the cluster out of service is approved.
    pub(crate) allow_outage: bool,
}

impl PlanContext<'_> {
    /// Whether members of the file are on their way into the cluster, or still to be added.
    pub(crate) fn grows(&self) -> bool {
        self.members
            .iter()
            .any(|member| member.to_join || member.standing.is_learner())
    }
}
