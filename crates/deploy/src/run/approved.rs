//! What an operation may do, and whether a plan stays within it.

use etcdup_core::event::PlannedStage;
use etcdup_core::operation::Verb;
use etcdup_core::stage::{Approval, StageKey};

use crate::documents::PlanDocument;
use crate::error::DeployError;
use crate::plan::Plan;

/// What an operation may do.
pub(crate) struct Approved {
    pub(crate) approval: Approval,
    pub(crate) stages: Vec<PlannedStage>,
    pub(crate) verb: Verb,
}

impl Approved {
    /// What whoever approved this plan allowed.
    pub(crate) fn new(document: &PlanDocument, verb: Verb) -> Self {
        let stages = document.stages.iter().map(|stage| PlannedStage {
            key: stage.key.clone(),
            title: stage.title.clone(),
            leg: stage.leg.clone(),
        });
        Self {
            approval: document.approval(),
            stages: stages.collect(),
            verb,
        }
    }

    /// Whether a plan stays within it.
    pub(crate) fn check(&self, plan: &Plan) -> Result<(), DeployError> {
        let topology = plan.planner.topology();
        for stage in &plan.forecast.stages {
            if let Err(beyond) = self.approval.covers(stage, topology) {
                return Err(DeployError::PlanChanged {
                    key: Box::new(stage.key.clone()),
                    beyond,
                    forecast: Box::new(plan.forecast.clone()),
                });
            }
        }
        Ok(())
    }

    /// What the leg of a stage brings the cluster to, where the stage is the first of it.
    pub(crate) fn begins(&self, index: usize) -> Option<String> {
        let leg = self.stages.get(index)?.leg.as_ref()?;
        let before = index
            .checked_sub(1)
            .and_then(|index| self.stages.get(index));
        let goes_on = before.is_some_and(|before| before.leg.as_ref() == Some(leg));
        (!goes_on).then(|| leg.clone())
    }

    /// The place of a stage in what was approved; behind all for one that only waits and was not
    /// foreseen.
    pub(crate) fn position(&self, key: &StageKey) -> usize {
        let position = self.stages.iter().position(|stage| stage.key == *key);
        position.unwrap_or(self.stages.len())
    }
}
