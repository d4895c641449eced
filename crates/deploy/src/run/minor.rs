//! What comes before the first member restarts with another minor: proof that all is well, and a
//! snapshot, for its data is not read by the minor before any more once all members have followed.

use etcdup_core::finding::{Finding, Verdict};
use etcdup_core::observation::Observation;
use etcdup_core::observed::Observed;
use etcdup_core::stage::{Rule, Stage};
use etcdup_core::topology::Topology;
use etcdup_core::version::EtcdVersion;
use etcdup_planner::Planner;

use super::context::Run;
use crate::error::DeployError;
use crate::session::Session;

/// What must be well, by the checks of `verify`: a member that is ill, an alarm, or stores that
/// differ get no better by another minor, and may not be told apart from it afterwards.
const WELL: [&str; 6] = [
    "leader",
    "health",
    "hash",
    "alarms",
    "members-started",
    "raft-lag",
];

/// Whether a stage is the first to restart a member with another minor than all run.
pub(super) fn changes_minor(topology: &Topology, stage: &Stage, seen: &Observation) -> bool {
    let wanted = topology.version.minor();
    let views = seen.members.values().filter_map(Observed::known);
    let mut minors =
        views.filter_map(|view| Some(view.version.parse::<EtcdVersion>().ok()?.minor()));
    stage.key.rule == Rule::Roll && minors.all(|minor| minor != wanted)
}

impl Session {
    /// Proves that all is well and keeps a verified snapshot.
    pub(super) async fn before_another_minor(
        &self,
        planner: &Planner,
        run: &Run<'_>,
        seen: &Observation,
    ) -> Result<(), DeployError> {
        let (findings, _) = self.evaluate(planner, seen.clone()).await;
        let ill = |finding: &Finding| finding.verdict == Verdict::Error && finding.is_of(&WELL);
        let ill: Vec<Finding> = findings.into_iter().filter(ill).collect();
        if !ill.is_empty() {
            return Err(DeployError::Blocked(ill));
        }
        let kept = run.keep_snapshot(None, seen).await;
        kept.map_err(|why| DeployError::Cluster {
            what: "keep a snapshot before another minor".to_owned(),
            why,
        })
    }
}
