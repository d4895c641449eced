//! The plan that a person reads: `next` unfolded over `predict`.

use etcdup_core::finding::Finding;
use etcdup_core::observation::Observation;
use etcdup_core::stage::{Next, Stage, StageKey};

use crate::preflight::HOST_UNSEEN;
use crate::rules::conflict::DISPUTED;
use crate::rules::roll::RESTART_WAITS;
use crate::rules::transition::VERSION_FAILED;

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
    Loop(StageKey),
}

impl Forecast {
    /// What stands in the way of carrying it out. Hosts that are away do not: what the others need
    /// is done, and the end says what is left.
    #[must_use]
    pub fn blockers(&self) -> Option<&[Finding]> {
        let Ending::Blocked(findings) = &self.ending else {
            return None;
        };
        // What comes before them is right to do whether or not they are ever resolved.
        let bearable = findings.iter().all(|finding| {
            finding.is_of(&[HOST_UNSEEN.id, RESTART_WAITS.id, VERSION_FAILED.id])
                || finding.is_of(&DISPUTED)
        });
        (self.stages.is_empty() || !bearable).then_some(findings)
    }
}

/// Unfolds `next` over `predict`, one leg after the other. `planner` is whatever plans one leg, and
/// `leg` what plans the next one where it has come to that.
pub(crate) fn forecast<P>(
    mut planner: P,
    leg: impl Fn(&P, &Observation) -> Option<P>,
    next: impl Fn(&P, &Observation) -> Next,
    predict: impl Fn(&P, &Observation, &Stage) -> Observation,
    seen: &Observation,
) -> Forecast {
    let mut world = seen.clone();
    let mut stages: Vec<Stage> = Vec::new();
    loop {
        if !stages.is_empty()
            && let Some(next) = leg(&planner, &world)
        {
            planner = next;
        }
        match next(&planner, &world) {
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
                // The same stage may come again with other work; the same work again would go on
                // without end.
                let same = |earlier: &Stage| earlier.key == stage.key && earlier.work == stage.work;
                if stages.iter().any(same) {
                    return Forecast {
                        stages,
                        ending: Ending::Loop(stage.key),
                    };
                }
                world = predict(&planner, &world, &stage);
                stages.push(*stage);
            }
        }
    }
}
