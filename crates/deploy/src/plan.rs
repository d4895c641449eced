//! What a look at a cluster yields: a plan, or a report.

use std::collections::BTreeSet;

use etcdup_core::finding::{Finding, Verdict, worst};
use etcdup_core::host::HostId;
use etcdup_core::observation::Observation;
use etcdup_core::stage::{Stage, Work};
use etcdup_core::version::EtcdVersion;
use etcdup_planner::{Ending, Forecast, Planner};

/// A plan: what was seen, what is to come, and what preflight warned of.
pub struct Plan {
    /// Decides; holds the topology.
    pub planner: Planner,
    /// What was seen.
    pub seen: Observation,
    /// What is to come.
    pub forecast: Forecast,
    /// What lint and preflight warn of.
    pub warnings: Vec<Finding>,
}

/// What verification found.
pub struct Report {
    /// One finding or more a check.
    pub findings: Vec<Finding>,
    /// What was seen.
    pub seen: Observation,
    /// What should be.
    pub planner: Planner,
}

impl Plan {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.forecast.stages.is_empty() && self.forecast.ending == Ending::Done
    }

    /// The releases that the plan brings the cluster to, one after the other: of more than one,
    /// each is a leg.
    #[must_use]
    pub fn legs(&self) -> Vec<&EtcdVersion> {
        let mut legs: Vec<&EtcdVersion> = Vec::new();
        for stage in &self.forecast.stages {
            let release = self.leg_of(stage);
            if !legs.contains(&release) {
                legs.push(release);
            }
        }
        legs
    }

    /// The release that a stage's leg brings the cluster to.
    #[must_use]
    pub fn leg_of<'p>(&'p self, stage: &'p Stage) -> &'p EtcdVersion {
        let between = stage.key.leg.version.as_ref();
        between.unwrap_or_else(|| self.planner.wanted_version())
    }

    /// The hosts that something is written to.
    pub(crate) fn writes(&self) -> BTreeSet<HostId> {
        let tasks = |stage: &Stage| match &stage.work {
            Work::Hosts(tasks) => tasks.keys().cloned().collect(),
            Work::Cluster(_) | Work::Operator(_) => Vec::new(),
        };
        self.forecast.stages.iter().flat_map(tasks).collect()
    }
}

impl Report {
    /// The weightiest verdict.
    #[must_use]
    pub fn worst(&self) -> Verdict {
        worst(&self.findings)
    }
}
