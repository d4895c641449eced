//! `etcdup restore`.

use etcdup_core::plain::chain;
use etcdup_core::restore::RestoreOrder;
use etcdup_core::stage::Goal;

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
    let (bump, again) = (!arguments.no_bump_revision, arguments.again);
    let order = match order(context, &cluster, &arguments.snapshot, bump, again).await {
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
