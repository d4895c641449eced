//! The plan that a person reads: `next` unfolded over `predict`.

use std::collections::BTreeSet;

use etcdup_core::finding::Finding;
use etcdup_core::observation::Observation;
use etcdup_core::stage::{Next, Stage, StageKey};

use crate::planner::Planner;
use crate::preflight::HOST_UNSEEN;
use crate::roll::RESTART_WAITS;

/// The stages to come, and how they end.
#[derive(Debug, Clone, PartialEq)]
pub struct Forecast {
    /// The stages, in order.
    pub stages: Vec<Stage>,
    /// How they end.
    pub ending: Ending,
}

/// How a forecast ends.
#[derive(Debug, Clone, PartialEq)]
pub enum Ending {
    /// The goal is reached.
    Done,
    /// Something stands in the way.
    Blocked(Vec<Finding>),
    /// A stage would come again without having had its effect: a fault of the planner.
    Circle(StageKey),
}

impl Forecast {
    /// What stands in the way of carrying it out. Hosts that are away do not: what the others need is done, and the end
    /// says what is left.
    #[must_use]
    pub fn obstacles(&self) -> Option<&[Finding]> {
        let Ending::Blocked(findings) = &self.ending else {
            return None;
        };
        let away = [HOST_UNSEEN.id, RESTART_WAITS.id];
        let bearable = findings.iter().all(|finding| away.contains(&finding.id));
        (self.stages.is_empty() || !bearable).then_some(findings)
    }

    /// Whether a stage of this key was foreseen, and with that approved.
    #[must_use]
    pub fn holds(&self, key: &StageKey) -> bool {
        self.stages.iter().any(|stage| stage.key == *key)
    }
}

impl Planner {
    /// Unfolds the plan.
    #[must_use]
    pub fn forecast(&self, seen: &Observation) -> Forecast {
        let mut world = seen.clone();
        let mut stages: Vec<Stage> = Vec::new();
        let mut keys = BTreeSet::new();
        loop {
            match self.next(&world) {
                Next::Done => {
                    return Forecast {
                        stages,
                        ending: Ending::Done,
                    };
                }
                Next::Blocked(findings) => {
                    return Forecast {
                        stages,
                        ending: Ending::Blocked(findings),
                    };
                }
                Next::Stage(stage) => {
                    if !keys.insert(stage.key.clone()) {
                        return Forecast {
                            stages,
                            ending: Ending::Circle(stage.key),
                        };
                    }
                    world = self.predict(&world, &stage);
                    stages.push(*stage);
                }
            }
        }
    }
}
