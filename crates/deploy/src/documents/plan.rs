//! A plan as a document: what a person reads and approves, and what bounds the run that carries it
//! out.

use etcdup_core::digest::sha256;
use etcdup_core::finding::Finding;
use etcdup_core::plain::chain;
use etcdup_core::stage::{Approval, Goal, Impact, Scope, Stage, StageKey, Work};
use etcdup_planner::Ending;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::words::{changed_lines, describe_call, describe_step, operator_words};
use crate::plan::Plan;

/// The format that plans name.
pub const PLAN_FORMAT: &str = "etcdup/plan/1";

/// A plan: `etcdup plan -o json` prints it, `etcdup plan --out` writes it, `etcdup apply FILE`
/// carries it out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct PlanDocument {
    /// The format, [`PLAN_FORMAT`].
    pub format: String,
    /// The cluster's name.
    pub cluster: String,
    /// The release that the file asks for.
    pub etcd: String,
    /// What the plan is for.
    #[serde(flatten)]
    pub goal: Goal,
    /// Whether there is anything to do.
    pub changes: bool,
    /// SHA-256, hex, of what is approved with the plan: cluster, goal, and each stage with its
    /// steps and how far it reaches.
    pub digest: String,
    /// The stages, in order.
    pub stages: Vec<StageDocument>,
    /// How the plan ends.
    pub ending: EndingDocument,
    /// What stands in the way, where it is blocked.
    pub findings: Vec<Finding>,
    /// What lint and preflight warn of.
    pub warnings: Vec<Finding>,
}

/// How a plan ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EndingDocument {
    /// The goal is reached.
    #[default]
    Done,
    /// Something stands in the way.
    Blocked,
    /// A stage would come again without effect, which is an internal error of etcdup.
    Loop,
}

/// One stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct StageDocument {
    /// What tells it from others.
    pub key: StageKey,
    /// What its leg brings the cluster to, in a plan of several legs: `etcd 3.5.33`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leg: Option<String>,
    /// One line for people.
    pub title: String,
    /// Why, one line a subject.
    pub why: Vec<String>,
    /// What it does to the cluster's service.
    pub impact: Impact,
    /// How far it reaches: what an approval of the plan allows.
    pub scope: Scope,
    /// What is done, in order on each host.
    pub steps: Vec<StepDocument>,
    /// What must hold afterwards.
    pub gates: Vec<String>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct StepDocument {
    /// The host; `operator` for this machine, `cluster` for a call to etcd.
    pub on: String,
    /// What is done.
    pub step: String,
    /// The lines of a file that change, each behind `-` or `+`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diff: Vec<String>,
    /// SHA-256, hex, of the file that is written, where its content is known beforehand: of a file
    /// that is not there yet no line is shown, and what is in it is approved all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// Why a document cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanDocumentError {
    /// It is no plan.
    #[error("it is not a plan: {0}")]
    NotAPlan(String),
    /// It is of another format.
    #[error("it has format {0:?}, and this etcdup reads {PLAN_FORMAT:?}")]
    Format(String),
    /// It was changed after it was written.
    #[error("it was changed after it was written: its digest is not that of its stages")]
    Digest,
}

impl Default for PlanDocument {
    /// The plan of a cluster that needs nothing.
    fn default() -> Self {
        Self {
            format: PLAN_FORMAT.to_owned(),
            cluster: String::new(),
            etcd: String::new(),
            goal: Goal::CONVERGE,
            changes: false,
            digest: String::new(),
            stages: Vec::new(),
            ending: EndingDocument::Done,
            findings: Vec::new(),
            warnings: Vec::new(),
        }
    }
}

impl PlanDocument {
    /// A plan as a document.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        let (ending, findings) = match &plan.forecast.ending {
            Ending::Done => (EndingDocument::Done, Vec::new()),
            Ending::Blocked(findings) => (EndingDocument::Blocked, findings.clone()),
            Ending::Loop(_) => (EndingDocument::Loop, Vec::new()),
        };
        let legs = plan.legs();
        let leg = |index: usize| legs.as_ref().and_then(|legs| legs.get(index).cloned());
        let stages = plan.forecast.stages.iter().enumerate();
        let document = Self {
            format: PLAN_FORMAT.to_owned(),
            cluster: plan.planner.topology().cluster.to_string(),
            etcd: plan.planner.wanted_version().to_string(),
            goal: plan.planner.goal().clone(),
            changes: !plan.is_empty(),
            digest: String::new(),
            stages: stages
                .map(|(index, stage)| StageDocument::new(stage, leg(index), plan))
                .collect(),
            ending,
            findings,
            warnings: plan.warnings.clone(),
        };
        Self {
            digest: document.compute_digest(),
            ..document
        }
    }

    /// Reads a plan that was written into a file, and checks that it is still what was written.
    ///
    /// # Errors
    /// When it is none, is of another format, or was changed.
    pub fn parse(text: &str) -> Result<Self, PlanDocumentError> {
        let value: serde_json::Value = serde_json::from_str(text)
            .map_err(|error| PlanDocumentError::NotAPlan(chain(&error)))?;
        let format = value.get("format").and_then(serde_json::Value::as_str);
        if let Some(other) = format.filter(|format| *format != PLAN_FORMAT) {
            return Err(PlanDocumentError::Format(other.to_owned()));
        }
        let document: Self = serde_json::from_value(value)
            .map_err(|error| PlanDocumentError::NotAPlan(chain(&error)))?;
        if document.digest != document.compute_digest() {
            return Err(PlanDocumentError::Digest);
        }
        Ok(document)
    }

    /// What whoever approves this plan allows.
    #[must_use]
    pub fn approval(&self) -> Approval {
        let stages = self.stages.iter();
        Approval::of_scopes(stages.map(|stage| (stage.key.clone(), stage.scope.clone())))
    }

    fn compute_digest(&self) -> String {
        // Reasons, titles and findings are words about the plan: they may be told otherwise by
        // another release.
        let stages = self.stages.iter();
        let stages: Vec<_> = stages
            .map(|stage| (&stage.key, &stage.impact, &stage.scope, &stage.steps))
            .collect();
        let approved = serde_json::to_vec(&(&self.cluster, &self.etcd, &self.goal, stages));
        sha256(&approved.unwrap_or_default())
    }
}

impl StageDocument {
    fn new(stage: &Stage, leg: Option<String>, plan: &Plan) -> Self {
        let step = |on: &str, step: String| StepDocument {
            on: on.to_owned(),
            step,
            diff: Vec::new(),
            sha256: None,
        };
        let steps = match &stage.work {
            Work::Operator(steps) => {
                let words = steps.iter().map(operator_words);
                words.map(|words| step("operator", words)).collect()
            }
            Work::Cluster(call) => vec![step("cluster", describe_call(call).1)],
            Work::Hosts(tasks) => {
                let all = tasks
                    .iter()
                    .flat_map(|(host, steps)| steps.iter().map(move |step| (host, step)));
                all.map(|(host, step)| StepDocument {
                    on: host.to_string(),
                    step: describe_step(step).1,
                    diff: step
                        .artifact()
                        .map(|artifact| changed_lines(host, artifact, &plan.seen))
                        .unwrap_or_default(),
                    sha256: step
                        .artifact()
                        .and_then(|artifact| artifact.content.sha256()),
                })
                .collect()
            }
        };
        let gates = stage.postconditions.iter();
        Self {
            key: stage.key.clone(),
            leg,
            title: stage.title.clone(),
            why: stage.why.clone(),
            impact: stage.impact.clone(),
            scope: Scope::of(stage, plan.planner.topology()),
            steps,
            gates: gates.map(|gate| gate.condition.to_string()).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests say what they expect")]

    use std::collections::BTreeSet;

    use etcdup_core::host::HostId;
    use etcdup_core::stage::Rule;

    use super::*;

    fn document() -> PlanDocument {
        let stage = StageDocument {
            leg: None,
            key: StageKey::new(Rule::Roll, Some(&"m2".parse().unwrap())),
            title: "restart m2".to_owned(),
            why: vec!["m2: --snapshot-count differs".to_owned()],
            impact: Impact::Restart("m2".parse().unwrap()),
            scope: Scope {
                hosts: BTreeSet::from([HostId::new("10.0.0.2")]),
                stops: BTreeSet::from(["m2".parse().unwrap()]),
                outage: false,
                destroys: false,
                removes: BTreeSet::new(),
            },
            steps: Vec::new(),
            gates: Vec::new(),
        };
        let document = PlanDocument {
            cluster: "prod".to_owned(),
            changes: true,
            stages: vec![stage],
            ..PlanDocument::default()
        };
        PlanDocument {
            digest: document.compute_digest(),
            ..document
        }
    }

    #[test]
    fn a_plan_is_read_back_as_it_was_written_and_not_otherwise() {
        let written = serde_json::to_string_pretty(&document()).unwrap();
        assert_eq!(PlanDocument::parse(&written), Ok(document()));
        // Who edits a plan to reach further has approved nothing.
        for (from, to) in [
            ("\"outage\": false", "\"outage\": true"),
            ("10.0.0.2", "10.0.0.3"),
            ("roll:m2", "roll:m3"),
            ("\"allow-outage\": false", "\"allow-outage\": true"),
        ] {
            assert!(written.contains(from), "{from} is not in {written}");
            let edited = written.replace(from, to);
            assert_eq!(
                PlanDocument::parse(&edited),
                Err(PlanDocumentError::Digest),
                "{to}"
            );
        }
        let other = written.replace("etcdup/plan/1", "etcdup/plan/2");
        assert!(matches!(
            PlanDocument::parse(&other),
            Err(PlanDocumentError::Format(_))
        ));
        for text in ["", "{}", "[]", "{\"format\":\"etcdup/plan/1\"}"] {
            let read = PlanDocument::parse(text);
            assert!(
                matches!(read, Err(PlanDocumentError::NotAPlan(_))),
                "{text}"
            );
        }
    }
}
