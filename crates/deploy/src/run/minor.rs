//! Before the first member restarts with another minor: the cluster is checked, and a verified
//! snapshot is kept, since the minor before no longer reads the data once all have followed.

use std::time::{Duration, Instant};

use etcdup_core::finding::{Finding, Verdict};
use etcdup_core::membership::ClusterView;
use etcdup_core::observation::Observation;
use etcdup_core::stage::{Alarm, ClusterStep, Goal, Rule, Stage, Work};
use etcdup_core::topology::Topology;
use etcdup_core::version::EtcdVersion;
use etcdup_planner::Planner;

use super::context::Run;
use crate::error::DeployError;
use crate::session::Session;

/// The checks of `verify` that must pass first: another minor cures no sick member, no alarm and no
/// stores that differ, and afterwards they look like its fault.
const WELL: [&str; 5] = ["leader", "health", "hash", "alarms", "members-started"];

/// The checks that must have passed, and not only found no error: the cluster's own version is a
/// few seconds behind the last restart with the minor before, and stores that could not be
/// compared, for one was just being compacted, may differ.
const PASSED: [&str; 4] = ["cluster-version", "hash", "alarms", "raft-lag"];

/// The checks whose errors time does not cure. Others are waited for: a healthy member may answer
/// late once while its host is busy.
const LASTING: [&str; 3] = ["hash", "alarms", "members-started"];

/// How long that may take: the leader looks at the cluster's version every four seconds.
const SETTLED: Duration = Duration::from_secs(30);

/// Whether a stage is the first by which a member comes to run another minor than all run, or lets
/// etcd know that it will come to that. A lone member grows before it restarts: then it is one that
/// joins.
pub(super) fn changes_minor(topology: &Topology, stage: &Stage, seen: &Observation) -> bool {
    if let Work::Cluster(ClusterStep::EnableDowngrade { .. }) = &stage.work {
        return true;
    }
    // All was well, and kept, when the downgrade began.
    if seen.downgrade().is_some() {
        return false;
    }
    let wanted = topology.version.minor();
    let mut minors = seen
        .known_members()
        .filter_map(|view| Some(view.version.parse::<EtcdVersion>().ok()?.minor()));
    let starts = matches!(stage.key.rule, Rule::Roll | Rule::Add | Rule::Join);
    starts && minors.all(|minor| minor != wanted)
}

/// Whether a stage disarms CORRUPT of a cluster that is being restored: what it was raised for may
/// be true of what was made, too.
pub(super) fn disarms_corrupt(planner: &Planner, stage: &Stage) -> bool {
    let disarms = match &stage.work {
        Work::Cluster(ClusterStep::Disarm { alarm, .. }) => *alarm == Alarm::Corrupt,
        Work::Cluster(_) | Work::Hosts(_) | Work::Operator(_) => false,
    };
    disarms && matches!(planner.goal(), Goal::Restore { .. })
}

/// Whether a finding is about a member that is still to join: nothing is wrong with it yet.
fn is_to_come(topology: &Topology, seen: &Observation, finding: &Finding) -> bool {
    let view = ClusterView::any(seen);
    topology.members.iter().any(|member| {
        let url = topology.peer_url(member).to_string();
        let listed = view.as_ref().and_then(|view| view.at_address(&url));
        let has_started = |listed| view.as_ref().is_some_and(|view| view.has_started(listed));
        let names = finding.subject == member.name.as_str()
            || listed.is_some_and(|listed| finding.subject == listed.id.to_string());
        names && !listed.is_some_and(has_started)
    })
}

/// Whether a finding stands in the way of another minor, and waiting does not help.
fn is_lasting(finding: &Finding) -> bool {
    finding.verdict == Verdict::Error && finding.is_of(&LASTING)
}

/// Whether a finding stands in the way of another minor.
fn is_ill(finding: &Finding) -> bool {
    finding.verdict == Verdict::Error && finding.is_of(&WELL)
}

/// Whether a finding stands in the way of another minor, and may pass by itself.
fn is_unsettled(finding: &Finding) -> bool {
    finding.verdict != Verdict::Pass && finding.is_of(&PASSED) && !is_ill(finding)
}

impl Session {
    /// Checks that the cluster is healthy and keeps a verified snapshot.
    pub(super) async fn before_another_minor(
        &self,
        planner: &Planner,
        run: &Run<'_>,
        seen: &Observation,
    ) -> Result<(), DeployError> {
        self.is_well(planner, seen).await?;
        let kept = run.keep_snapshot(None, seen).await;
        kept.map_err(|why| DeployError::Cluster {
            what: "keep a snapshot before another minor".to_owned(),
            why,
        })
    }

    /// Waits until the cluster is healthy, and its members hold the same.
    pub(super) async fn is_well(
        &self,
        planner: &Planner,
        seen: &Observation,
    ) -> Result<(), DeployError> {
        self.settles(planner, seen, |_| true).await
    }

    /// Waits until members hold the same, whatever else is wrong with them.
    pub(super) async fn holds_the_same(
        &self,
        planner: &Planner,
        seen: &Observation,
    ) -> Result<(), DeployError> {
        self.settles(planner, seen, |finding| finding.is_of(&["hash"]))
            .await
    }

    /// Waits until nothing stands in the way that counts.
    async fn settles(
        &self,
        planner: &Planner,
        seen: &Observation,
        counts: impl Fn(&Finding) -> bool,
    ) -> Result<(), DeployError> {
        let start = Instant::now();
        let look = async || {
            let mut found = self.in_the_way(planner, seen).await;
            found.retain(&counts);
            found
        };
        let mut found = look().await;
        while !found.is_empty() && !found.iter().any(is_lasting) && start.elapsed() < SETTLED {
            tokio::time::sleep(Duration::from_secs(1)).await;
            found = look().await;
        }
        match found.is_empty() {
            true => Ok(()),
            false => Err(DeployError::Blocked(found)),
        }
    }

    /// What of the cluster, as it is now, stands in the way of another minor.
    async fn in_the_way(&self, planner: &Planner, seen: &Observation) -> Vec<Finding> {
        let mut findings = self.evaluate(planner, seen.clone()).await.0;
        // etcd refuses a learner most questions.
        let of_learner = |finding: &Finding| {
            let mut members = seen.members.iter();
            let named = members.find(|(name, _)| finding.subject == name.as_str());
            named.is_some_and(|(_, view)| view.known().is_some_and(|view| view.learner))
        };
        findings.retain(|one| is_ill(one) || (is_unsettled(one) && !of_learner(one)));
        findings.retain(|one| !is_to_come(planner.topology(), seen, one));
        findings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each is one of `verify`'s, and an error of it is in the way.
    #[test]
    fn what_must_be_well_is_what_verify_looks_at() {
        for id in WELL.into_iter().chain(PASSED) {
            let mut checks = etcdup_verify::VERIFY_CHECKS.iter();
            let check = checks.find(|check| check.id == id);
            let check = check.unwrap_or_else(|| unreachable!("verify has no check `{id}`"));
            let (error, warning) = (check.error("m1", "ill"), check.warning("m1", "not quite"));
            assert_eq!(is_ill(&error), WELL.contains(&id), "{id}");
            assert!(is_ill(&error) || is_unsettled(&error), "{id}");
            // What could not be compared is waited for, and then in the way.
            assert_eq!(is_unsettled(&warning), PASSED.contains(&id), "{id}");
            // What no time cures is in the way at once.
            assert_eq!(is_lasting(&error), LASTING.contains(&id), "{id}");
            assert!(!is_lasting(&warning), "{id}");
            let passed = check.pass("m1", "well");
            assert!(!is_ill(&passed) && !is_unsettled(&passed), "{id}");
        }
    }
}
