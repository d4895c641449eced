//! `etcdup restore`.

use etcdup_core::plain::chain;
use etcdup_core::stage::Goal;

use crate::arguments::Restore;
use crate::command::apply;
use crate::command::apply::Approve;
use crate::command::context::Context;
use crate::command::snapshot::kept;
use crate::exit;
use crate::view;

pub(crate) async fn run(context: &Context, arguments: &Restore) -> u8 {
    let order = kept(context, &arguments.snapshot).and_then(|found| {
        let order = found.order(!arguments.no_bump_revision, arguments.again);
        order.map_err(|fault| chain(&fault))
    });
    match order {
        Ok(mut order) => {
            order.cluster_id = arguments.cluster_id;
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
            apply::converge(
                context,
                Goal::Restore {
                    order: Box::new(order),
                },
                approve,
            )
            .await
        }
        Err(why) => {
            view::error::plain(&why);
            exit::FAILED
        }
    }
}
