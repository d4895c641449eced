//! The planner's face: what to do next, what that leads to, and the plan that follows.

use etcdup_core::certificate::CertFacts;
use etcdup_core::finding::{Check, Finding};
use etcdup_core::host::HostId;
use etcdup_core::membership::{ClusterView, Place};
use etcdup_core::observation::{Observation, Query};
use etcdup_core::stage::{Goal, Next, Stage};
use etcdup_core::topology::{Member, Topology};
use etcdup_core::version::EtcdVersion;
use etcdup_render::{RenderError, UnitTemplate};

use crate::assess::{self, assess};
use crate::forecast::{Forecast, forecast};
use crate::identity::bootstrap;
use crate::leg::version::between_all;
use crate::listed::leaving_entry;
use crate::lists::care::{self, Wanted};
use crate::lists::{abort_restore, converge, recover, reset, restore};
use crate::places::places;
use crate::predict::predict;
use crate::preflight;
use crate::questions::{hosts_to_observe_again, queries};
use crate::rules::put_back::{PutBack, put_back};
use crate::rules::{
    clean_up, conflict, grow, operator, provided, relocate, restored, roll, shrink, transition,
    trust, version, wait,
};
use crate::target::{DesiredFiles, Target};

/// Decides from what was observed. Made once a run.
#[derive(Clone)]
pub struct Planner {
    target: Target,
    goal: Goal,
}

/// Every check of the planner, for `etcdup explain`.
pub const PLANNER_CHECKS: &[&[Check]] = &[
    preflight::CHECKS,
    conflict::CHECKS,
    assess::CHECKS,
    trust::CHECKS,
    provided::CHECKS,
    relocate::CHECKS,
    transition::CHECKS,
    version::CHECKS,
    reset::CHECKS,
    restore::CHECKS,
    abort_restore::CHECKS,
    recover::CHECKS,
    care::CHECKS,
    grow::CHECKS,
    shrink::CHECKS,
    wait::CHECKS,
    &[operator::CA_BROKEN, roll::OUTAGE, roll::RESTART_WAITS],
];

/// What is left of members that the cluster removed.
fn left_over(target: &Target, seen: &Observation) -> Vec<Finding> {
    let leaving = target.topology.leaving.iter();
    let left = leaving.filter_map(|leaving| {
        let host = seen.host(&leaving.member.host)?;
        let listed = ClusterView::confirmed(seen)
            .and_then(|view| leaving_entry(&target.topology, seen, &view, leaving));
        let left = clean_up::left_over(target, seen, leaving, host);
        if listed.is_some() || left.is_empty() {
            return None;
        }
        let name = &leaving.member.name;
        let evidence = format!(
            "{name} was removed, and is not cleaned up on {}",
            leaving.member.host
        );
        Some(assess::DRIFT.warning(name, evidence))
    });
    left.collect()
}

impl Planner {
    /// A planner; `unit_template` replaces the built-in unit.
    ///
    /// # Errors
    /// When the template cannot be filled in or loses flags.
    pub fn new(
        topology: Topology,
        goal: Goal,
        unit_template: Option<&UnitTemplate>,
    ) -> Result<Self, RenderError> {
        let target = Target::new(topology, unit_template)?;
        Ok(Self { target, goal })
    }

    /// The same for the first leg that is not reached yet: after a reset, say, the default token is
    /// `-g1`, `-g2` and so on, so that a member of the old cluster that comes back by accident is
    /// refused by the new one.
    ///
    /// # Errors
    /// As [`Planner::new`].
    pub fn next_leg(self, seen: &Observation) -> Result<Self, RenderError> {
        let target = self.target.next_leg(&self.goal, seen)?;
        Ok(Self { target, ..self })
    }

    /// Whether what is planned for is still the first leg that is not reached yet.
    #[must_use]
    pub fn is_next_leg(&self, seen: &Observation) -> bool {
        self.target.is_next_leg(&self.goal, seen)
    }

    /// The release that the file asks for, whatever lies before it.
    #[must_use]
    pub fn wanted_version(&self) -> &EtcdVersion {
        &self.target.file().version
    }

    /// The releases between what runs and the file's, which are not the file's.
    #[must_use]
    pub fn releases_ahead(&self, seen: &Observation) -> Vec<EtcdVersion> {
        let file = self.target.file();
        // What names one release alone is refused for that.
        if !matches!(self.goal, Goal::Converge { .. } | Goal::Restore { .. })
            || file.pinned_to_one().is_some()
        {
            return Vec::new();
        }
        between_all(file, seen)
    }

    /// What the file asks for, with another release of etcd.
    ///
    /// # Errors
    /// When the directory of its binaries has no usable path.
    pub fn at_version(&self, version: &EtcdVersion) -> Result<Topology, RenderError> {
        Ok(self.target.file().at_version(version)?)
    }

    /// The topology that is planned for.
    #[must_use]
    pub fn topology(&self) -> &Topology {
        &self.target.topology
    }

    /// What the run is for.
    #[must_use]
    pub fn goal(&self) -> &Goal {
        &self.goal
    }

    /// The topology with the files that follow from it.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// What should be on this member's host.
    #[must_use]
    pub fn desired(&self, member: &Member) -> &DesiredFiles {
        self.target.desired(member)
    }

    /// The questions for a host. `provided` are certificates whose names peers would look up; disks
    /// are timed where `measure` says so, which takes a moment.
    #[must_use]
    pub fn queries(&self, host: &HostId, provided: &[CertFacts], measure: bool) -> Vec<Query> {
        let mut asked = queries(&self.target, host, provided, measure);
        let topology = &self.target.topology;
        if matches!(self.goal, Goal::Restore { .. }) && restored::is_hosts_own(topology) {
            let tools = topology
                .on_host(host)
                .flat_map(|member| restored::tools(member, &topology.version));
            asked.extend(tools.map(Query::File));
        }
        asked
    }

    /// Hosts to observe again before anything is decided, since their members started while others
    /// were asked.
    #[must_use]
    pub fn hosts_to_observe_again(&self, seen: &Observation) -> Vec<HostId> {
        hosts_to_observe_again(&self.target, seen)
    }

    /// What to do next.
    #[must_use]
    pub fn next(&self, seen: &Observation) -> Next {
        let under_way = self.under_way(seen);
        if !under_way.is_empty() {
            return Next::Blocked(under_way);
        }
        let mut next = match &self.goal {
            Goal::Reset { wipe, cluster_id } => reset::next(&self.target, seen, *wipe, *cluster_id),
            Goal::Restore { order } => restore::next(&self.target, seen, order),
            Goal::AbortRestore { id } => abort_restore::next(&self.target, seen, id),
            Goal::Recover { gone, cluster_id } => {
                let said = recover::Said {
                    gone,
                    cluster: *cluster_id,
                };
                recover::next(&self.target, seen, said)
            }
            Goal::Converge {
                allow_outage,
                retry,
            } => restore::agree(&self.target, seen)
                .or_else(|| recover::agree(&self.target, seen))
                .unwrap_or_else(|| converge::next(&self.target, seen, *allow_outage, *retry)),
            Goal::Maintain {
                compact,
                all,
                allow_outage,
            } => {
                let wanted = Wanted {
                    compact: *compact,
                    all: *all,
                    allow_outage: *allow_outage,
                };
                care::maintain(&self.target, seen, wanted)
            }
            Goal::Disarm => care::disarm_only(&self.target, seen),
            Goal::MoveLeader { to } => care::move_leader(&self.target, seen, to.as_ref()),
        };
        if let Next::Stage(stage) = &mut next {
            stage.key.leg = self.target.leg().clone();
        }
        next
    }

    /// What was begun on the cluster and has not ended, as far as it keeps the goal from being
    /// reached.
    fn under_way(&self, seen: &Observation) -> Vec<Finding> {
        let mut found = Vec::new();
        // A reset gives either up, and a restore begins the cluster over again.
        let goes_on = matches!(
            self.goal,
            Goal::Reset { .. } | Goal::Restore { .. } | Goal::AbortRestore { .. }
        );
        if !goes_on {
            found = restore::open(&self.target, seen);
            if found.is_empty() && !matches!(self.goal, Goal::Recover { .. }) {
                found = recover::open(&self.target, seen);
            }
        }
        found
    }

    /// What brings a member back that did not come up with another release, as it was `before`.
    #[must_use]
    pub fn put_back(
        &self,
        stage: &Stage,
        before: &Observation,
        seen: &Observation,
    ) -> Option<PutBack> {
        put_back(&self.target, stage, before, seen)
    }

    /// What the world looks like if this stage works.
    #[must_use]
    pub fn predict(&self, seen: &Observation, stage: &Stage) -> Observation {
        predict(&self.target, seen.clone(), stage)
    }

    /// Unfolds the plan.
    #[must_use]
    pub fn forecast(&self, seen: &Observation) -> Forecast {
        let leg = |planner: &Self, world: &Observation| {
            // A leg whose files cannot be rendered is met again, and refused, when it begins.
            let other = !planner.is_next_leg(world);
            other.then(|| planner.clone().next_leg(world).ok())?
        };
        forecast(self.clone(), leg, Self::next, Self::predict, seen)
    }

    /// Every member that the file or the cluster's list has, and how it stands.
    #[must_use]
    pub fn places(&self, seen: &Observation) -> Vec<Place> {
        places(&self.target, seen, bootstrap(&self.target, seen))
    }

    /// All that preflight finds on hosts whose members do not run yet, warnings too.
    #[must_use]
    pub fn preflight(&self, seen: &Observation) -> Vec<Finding> {
        preflight::preflight(&self.target, seen)
    }

    /// Every difference between hosts and topology, as findings of `drift`.
    #[must_use]
    pub fn find_drift(&self, seen: &Observation) -> Vec<Finding> {
        let check = assess::DRIFT;
        let bootstrap = bootstrap(&self.target, seen);
        let mut findings = Vec::new();
        for member in &self.target.topology.members {
            let Some(assessment) = assess(&self.target, seen, member, bootstrap) else {
                let unseen = format!("not known: {} could not be observed", member.host);
                findings.push(check.warning(&member.name, unseen));
                continue;
            };
            for difference in assessment.differences() {
                findings.push(check.warning(&member.name, difference.to_string()));
            }
        }
        // A member that came up on an emptied directory serves, and has forgotten what it voted
        // for.
        let disputed = conflict::conflicts(&self.target, seen).into_iter();
        findings.extend(disputed.filter(|finding| finding.is_of(&conflict::DISPUTED)));
        findings.extend(conflict::replaceable(&self.target, seen));
        findings.extend(left_over(&self.target, seen));
        if findings.is_empty() {
            findings.push(check.pass("cluster", "hosts match the topology file"));
        }
        findings
    }
}
