//! `etcdup restore`.

use etcdup_core::plain::chain;
use etcdup_core::restore::RestoreOrder;
use etcdup_core::stage::Goal;

use crate::arguments::Restore;
use crate::command::apply;
use crate::command::apply::Approve;
use crate::command::context::Context;
use crate::command::snapshot::{Here, here};
use crate::exit;
use crate::view;

pub(crate) async fn run(context: &Context, arguments: &Restore) -> u8 {
    match order(context, arguments).await {
        Ok((mut order, found)) => {
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
            let order = Box::new(order);
            let code = apply::converge(context, Goal::Restore { order }, approve).await;
            // Until all of it has ended well the same order, or another one's, may need it again.
            if code == exit::DONE && found.is_copy {
                found.remove().await;
            }
            code
        }
        Err(why) => {
            view::error::plain(&why);
            exit::FAILED
        }
    }
}

async fn order(context: &Context, arguments: &Restore) -> Result<(RestoreOrder, Here), String> {
    let found = here(context, &arguments.snapshot).await?;
    let order = found
        .kept
        .order(!arguments.no_bump_revision, arguments.again);
    let order = order.await.map_err(|fault| chain(&fault))?;
    Ok((order, found))
}
