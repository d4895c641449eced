//! Plans: what an operation would do, and what is approved with it.

use std::sync::Arc;
use std::time::Duration;

use etcdup_core::membership::ClusterId;
use etcdup_core::name::MemberName;
use etcdup_core::plain::chain;
use etcdup_core::restore::RestoreOrder;
use etcdup_core::stage::Goal;
use etcdup_deploy::{Cluster, DeployError, PlanDocument};
use http::{StatusCode, header};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::call::{Answer, Call, State};
use crate::open::open;
use crate::plans::KEPT;
use crate::problem::Problem;

/// How long it may take to make a plan, and how often it is asked whether one is still kept.
const LATER: Duration = Duration::from_secs(60);

/// A plan to make.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(tag = "verb", deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) enum PlanRequest {
    /// What an apply would do.
    #[serde(rename_all = "kebab-case")]
    Apply {
        /// Whether members may be restarted though the cluster is out of service meanwhile.
        #[serde(default)]
        allow_outage: bool,
        /// Whether a release is tried once more that a member did not come up with.
        #[serde(default)]
        retry: bool,
    },
    /// What a reset would do.
    #[serde(rename_all = "kebab-case")]
    Reset {
        /// Whether data is deleted instead of moved aside.
        #[serde(default)]
        wipe: bool,
        /// A cluster ID whose data is this cluster's too.
        #[serde(default)]
        cluster_id: Option<ClusterId>,
    },
    /// What would defragment members, and clear NOSPACE.
    #[serde(rename_all = "kebab-case")]
    Maintain {
        /// Whether history is dropped though nothing demands it.
        #[serde(default)]
        compact: bool,
        /// Whether every member is defragmented, however little that gives back.
        #[serde(default)]
        all: bool,
        /// Whether a member may pause though the cluster is out of service meanwhile.
        #[serde(default)]
        allow_outage: bool,
    },
    /// What would disarm NOSPACE once there is room, and CORRUPT of members that were removed.
    // A unit would take members that no schema knows: serde refuses them of structs only.
    Disarm {},
    /// What would restore a snapshot into all members.
    #[serde(rename_all = "kebab-case")]
    Restore {
        /// The snapshot's name, or `latest`.
        snapshot: String,
        /// Whether revisions stay as they are, so that clients that watch miss what changed.
        #[serde(default)]
        no_bump_revision: bool,
        /// Whether a cluster that was restored from it already is restored once more.
        #[serde(default)]
        again: bool,
        /// A cluster ID whose data is this cluster's too.
        #[serde(default)]
        cluster_id: Option<ClusterId>,
    },
    /// What would give up a restore that was begun, while enough members have their own data.
    AbortRestore {},
    /// What would go on with one member, where too few are left for a quorum.
    #[serde(rename_all = "kebab-case")]
    Recover {
        /// Members that are lost for good.
        #[serde(default)]
        gone: Vec<MemberName>,
        /// A cluster ID whose data is this cluster's too.
        #[serde(default)]
        cluster_id: Option<ClusterId>,
    },
    /// What would make another member lead.
    MoveLeader {
        /// Who; the first healthy voter in the file where it is left open.
        #[serde(default)]
        to: Option<MemberName>,
    },
}

impl PlanRequest {
    /// What it is for. A snapshot is looked up, and read to its end.
    async fn goal(self, cluster: &Cluster) -> Result<Goal, DeployError> {
        Ok(match self {
            PlanRequest::Restore {
                snapshot,
                no_bump_revision,
                again,
                cluster_id,
            } => {
                let order = cluster.restore_order(&snapshot, !no_bump_revision, again);
                let order = RestoreOrder {
                    cluster_id,
                    ..order.await?
                };
                Goal::Restore {
                    order: Box::new(order),
                }
            }
            PlanRequest::AbortRestore {} => cluster.abort_restore().await,
            PlanRequest::Recover { gone, cluster_id } => Goal::Recover { gone, cluster_id },
            PlanRequest::Apply {
                allow_outage,
                retry,
            } => Goal::Converge {
                allow_outage,
                retry,
            },
            PlanRequest::Reset { wipe, cluster_id } => Goal::Reset { wipe, cluster_id },
            PlanRequest::Maintain {
                compact,
                all,
                allow_outage,
            } => Goal::Maintain {
                compact,
                all,
                allow_outage,
            },
            PlanRequest::Disarm {} => Goal::Disarm,
            PlanRequest::MoveLeader { to } => Goal::MoveLeader { to },
        })
    }
}

pub(crate) async fn make(call: Call) -> Result<Answer, Problem> {
    let request = call.json::<PlanRequest>()?;
    let cluster = open(&call.state, call.part("cluster")).await?;
    let goal = match &request {
        // It may be read from afar: whoever plans meanwhile is not kept waiting.
        PlanRequest::Restore { .. } => {
            let _copy = call.state.copy().await?;
            request.goal(&cluster).await?
        }
        _ => request.goal(&cluster).await?,
    };
    // Whatever comes of it, what was copied for it is not left.
    keep_copy(&call.state, &cluster, &goal);
    let _turn = call.state.turn().await?;
    let plan = cluster.plan(goal).await?;
    let document = Arc::new(PlanDocument::new(&plan));
    call.state.plans.keep(Arc::clone(&document));
    let place = format!("/v1/plans/{}", document.digest);
    let made = Answer::with(StatusCode::CREATED, &*document)?;
    Ok(made.header(header::LOCATION, &place))
}

/// Keeps what was copied of a snapshot for as long as a plan means it, and no longer: an encrypted
/// one lies there in plain text.
pub(crate) fn keep_copy(state: &Arc<State>, cluster: &Cluster, goal: &Goal) {
    let Goal::Restore { order } = goal else {
        return;
    };
    let (state, cluster, order) = (Arc::clone(state), cluster.clone(), order.clone());
    let tasks = state.tasks.clone();
    tasks.spawn(async move {
        // A plan is kept from when it is made, which is a little later.
        let mut pause = KEPT + LATER;
        while !state.stopping.is_cancelled() {
            tokio::select! {
                () = tokio::time::sleep(pause) => pause = LATER,
                // Plans are gone with the server.
                () = state.stopping.cancelled() => {}
            }
            // Planned again meanwhile, it is kept for as long as that plan.
            if !state.plans.restores(&order.path) {
                break;
            }
        }
        if let Err(error) = cluster.forget_copy(&order).await {
            tracing::error!(error = chain(&error), "the copy of a snapshot is left");
        }
    });
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::PlanRequest;

    #[test]
    fn what_no_verb_knows_is_refused() {
        let verbs = [
            "apply",
            "reset",
            "maintain",
            "disarm",
            "recover",
            "move-leader",
        ];
        for verb in verbs {
            let plain = serde_json::from_value::<PlanRequest>(json!({ "verb": verb }));
            assert!(plain.is_ok(), "{verb}: {plain:?}");
            let odd = json!({ "verb": verb, "allow-outag": true });
            let odd = serde_json::from_value::<PlanRequest>(odd);
            assert!(odd.is_err(), "{verb}: {odd:?}");
        }
        let restore = serde_json::from_value::<PlanRequest>(json!({ "verb": "restore" }));
        assert!(restore.is_err(), "it names no snapshot");
    }
}
