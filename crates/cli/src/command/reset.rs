//! `etcdup reset`.

use etcdup_core::stage::Goal;

use crate::arguments::Reset;
use crate::command::{Context, apply};

pub(crate) async fn run(context: &Context, arguments: &Reset) -> u8 {
    let goal = Goal::Reset {
        wipe: arguments.wipe,
    };
    let question = if arguments.wipe {
        "Stop the cluster and DELETE its data?"
    } else {
        "Stop the cluster?"
    };
    apply::converge(context, goal, "reset", arguments.yes, question).await
}
