//! What a look at a cluster yields: a plan, or a report.

use std::collections::BTreeSet;

use etcdup_core::finding::{Finding, Verdict, worst};
use etcdup_core::host::HostId;
use etcdup_core::observation::Observation;
use etcdup_core::stage::{Stage, TrustLeg, Work};
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

    /// What each stage's leg brings the cluster to, in the order of stages: `etcd 3.5.33`, `members
    /// trust both CAs`. Nothing where all are of one leg.
    #[must_use]
    pub fn legs(&self) -> Option<Vec<String>> {
        let several = self.releases().len() > 1;
        let stages = self.forecast.stages.iter();
        let legs: Vec<String> = stages.map(|stage| self.leg_of(stage, several)).collect();
        let first = legs.first()?;
        legs.iter().any(|leg| leg != first).then_some(legs)
    }

    fn leg_of(&self, stage: &Stage, several_releases: bool) -> String {
        let mut parts = Vec::new();
        if several_releases {
            parts.push(format!("etcd {}", self.release_of(stage)));
        }
        parts.extend(stage.key.leg.trust.map(|trust| match trust {
            TrustLeg::Spread | TrustLeg::Keyless => "members trust both CAs".to_owned(),
            TrustLeg::Reissue => "no certificate is of the CA that goes".to_owned(),
        }));
        if stage.key.leg.peers_ready {
            parts.push("peers can speak TLS, and use plain HTTP".to_owned());
        }
        if stage.key.leg.place {
            parts.push("each member where the file has it on its host".to_owned());
        }
        if parts.is_empty() {
            parts.push("as the file says".to_owned());
        }
        parts.join(", ")
    }

    /// The releases that the plan brings the cluster to, one after the other.
    #[must_use]
    pub fn releases(&self) -> Vec<&EtcdVersion> {
        let mut releases = Vec::new();
        for stage in &self.forecast.stages {
            let release = self.release_of(stage);
            if !releases.contains(&release) {
                releases.push(release);
            }
        }
        releases
    }

    fn release_of<'p>(&'p self, stage: &'p Stage) -> &'p EtcdVersion {
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
