//! `etcdup restore`.

use etcdup_core::plain::chain;
use etcdup_core::restore::RestoreOrder;
use etcdup_core::stage::Goal;
use etcdup_deploy::Cluster;

use crate::arguments::Restore;
use crate::command::apply;
use crate::command::apply::Approve;
use crate::command::context::Context;
use crate::command::plan;
use crate::command::snapshot::order;
use crate::exit;
use crate::view;
use crate::view::print::errln;

pub(crate) async fn run(context: &Context, arguments: &Restore) -> u8 {
    let cluster = match context.cluster_here() {
        Ok(cluster) => cluster,
        Err(error) => return context.fail(&error),
    };
    let Some(snapshot) = &arguments.snapshot else {
        return abort(context, &cluster, arguments).await;
    };
    let (bump, again) = (!arguments.no_bump_revision, arguments.again);
    let order = match order(context, &cluster, snapshot, bump, again).await {
        Ok(order) => Box::new(RestoreOrder {
            cluster_id: arguments.cluster_id,
            ..order
        }),
        Err(why) => {
            view::error::plain(&why);
            return exit::FAILED;
        }
    };
    let goal = Goal::Restore {
        order: order.clone(),
    };
    let code = match arguments.dry_run {
        true => plan::show(context, goal).await,
        false => {
            // What was written since the snapshot is lost: a habit of typing `y` is not enough.
            let approve = Approve::Name {
                typed: arguments.confirm.clone(),
                question: |cluster| {
                    format!(
                        "Cluster {cluster} loses what was written since the snapshot. Type its name to go on:"
                    )
                },
                loses: "what was written since the snapshot is lost",
            };
            apply::converge(context, goal, approve).await
        }
    };
    // Where it was refused, or only shown, nothing has deleted the copy.
    if let Err(error) = cluster.forget_copy(&order).await {
        errln!("a copy is left in .restore: {}", chain(&error));
    }
    code
}

/// Gives up a restore that was begun. The name is typed here too: it is easily meant for another
/// cluster.
async fn abort(context: &Context, cluster: &Cluster, arguments: &Restore) -> u8 {
    let goal = cluster.abort_restore().await;
    if arguments.dry_run {
        return plan::show(context, goal).await;
    }
    let approve = Approve::Name {
        typed: arguments.confirm.clone(),
        question: |cluster| {
            format!("The restore of cluster {cluster} is given up. Type its name to go on:")
        },
        loses: "the restore is given up",
    };
    apply::converge(context, goal, approve).await
}
