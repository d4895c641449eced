//! Plans: what an operation would do, and what is approved with it.

use std::sync::Arc;

use etcdup_core::operation::Verb;
use etcdup_core::stage::Goal;
use etcdup_deploy::PlanDocument;
use http::{StatusCode, header};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::call::{Answer, Call};
use crate::open::open;
use crate::problem::Problem;

/// A plan to make.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct PlanRequest {
    /// What for.
    pub verb: Verb,
    /// An apply may restart members though the cluster is out of service meanwhile.
    #[serde(default)]
    pub allow_outage: bool,
    /// A reset deletes data instead of moving it aside.
    #[serde(default)]
    pub wipe: bool,
}

impl PlanRequest {
    fn goal(&self) -> Result<Goal, Problem> {
        match (self.verb, self.allow_outage, self.wipe) {
            (Verb::Apply, allow_outage, false) => Ok(Goal::Converge { allow_outage }),
            (Verb::Reset, false, wipe) => Ok(Goal::Reset {
                wipe,
                cluster_id: None,
            }),
            (Verb::Apply, _, true) => Err(Problem::bad_request("only a reset can wipe data")),
            (Verb::Reset, true, _) => Err(Problem::bad_request(
                "a reset always stops the cluster: it takes no allow-outage",
            )),
        }
    }
}

/// What an operation for this goal is called.
pub(crate) fn verb_of(goal: &Goal) -> Verb {
    match goal {
        Goal::Converge { .. } => Verb::Apply,
        Goal::Reset { .. } => Verb::Reset,
    }
}

pub(crate) async fn make(call: Call) -> Result<Answer, Problem> {
    let goal = call.json::<PlanRequest>()?.goal()?;
    let cluster = open(&call.state, call.part("cluster")).await?;
    let _turn = call.state.turn().await?;
    let plan = cluster.plan(goal).await?;
    let document = Arc::new(PlanDocument::new(&plan));
    call.state.plans.keep(Arc::clone(&document));
    let place = format!("/v1/plans/{}", document.digest);
    let made = Answer::with(StatusCode::CREATED, &*document)?;
    Ok(made.header(header::LOCATION, &place))
}

pub(crate) async fn one(call: Call) -> Result<Answer, Problem> {
    let digest = call.part("digest");
    match call.state.plans.get(digest) {
        Some(plan) => Answer::json(&*plan),
        None => Err(unknown(digest)),
    }
}

pub(crate) fn unknown(digest: &str) -> Problem {
    Problem::not_found(format!(
        "there is no plan {digest}: plans are kept for an hour"
    ))
}
