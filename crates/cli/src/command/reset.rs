//! `etcdup reset`.

use etcdup_core::stage::Goal;

use crate::arguments::Reset;
use crate::command::apply;
use crate::command::apply::Approve;
use crate::command::context::Context;

pub(crate) async fn run(context: &Context, arguments: &Reset) -> u8 {
    let goal = Goal::Reset {
        wipe: arguments.wipe,
        cluster_id: arguments.cluster_id,
    };
    // Deleted data does not come back, so a habit of typing `y`, or `--yes` in a script, must not
    // be enough.
    let approve = if arguments.wipe {
        Approve::Name {
            typed: arguments.confirm.clone(),
            question: |cluster| {
                format!("This DELETES the data of cluster {cluster}. Type its name to go on:")
            },
            loses: "the data is deleted",
        }
    } else {
        Approve::Question {
            yes: arguments.yes,
            question: |cluster| format!("Stop cluster {cluster} and move its data aside?"),
        }
    };
    apply::converge(context, goal, approve).await
}
