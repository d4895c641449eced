//! `etcdup recover`.

use etcdup_core::stage::Goal;

use crate::arguments::Recover;
use crate::command::apply;
use crate::command::apply::Approve;
use crate::command::context::Context;
use crate::command::plan;

pub(crate) async fn run(context: &Context, arguments: &Recover) -> u8 {
    let goal = Goal::Recover {
        gone: arguments.gone.clone(),
        cluster_id: arguments.cluster_id,
    };
    if arguments.dry_run {
        return plan::show(context, goal).await;
    }
    // What only the others had is lost: a habit of typing `y` is not enough.
    let approve = Approve::Name {
        typed: arguments.confirm.clone(),
        question: |cluster| {
            format!(
                "Cluster {cluster} loses what only the other members have. Type its name to go on:"
            )
        },
        loses: "what only the other members have is lost",
    };
    apply::converge(context, goal, approve).await
}
