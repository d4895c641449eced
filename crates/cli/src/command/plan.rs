//! `etcdup plan`.

use etcdup_core::stage::Goal;
use etcdup_planner::Ending;

use crate::arguments::Plan;
use crate::command::context::Context;
use crate::exit;
use crate::view;

pub(crate) async fn run(context: &Context, arguments: &Plan) -> u8 {
    let session = match context.session(None, None).await {
        Ok(session) => session,
        Err(error) => return context.fail(&error),
    };
    let plan = session
        .plan(Goal::Converge {
            allow_outage: arguments.allow_outage,
        })
        .await;
    session.close().await;
    let plan = match plan {
        Ok(plan) => plan,
        Err(error) => return context.fail(&error),
    };
    if context.json() {
        view::json::print("plan", &etcdup_deploy::plan_document(&plan));
    } else {
        view::plan::print(&plan, &session.document);
    }
    match plan.forecast.ending {
        Ending::Blocked(_) => exit::BLOCKED,
        Ending::Loop(_) => exit::FAILED,
        Ending::Done if arguments.detailed_exitcode && !plan.is_empty() => exit::CHANGES,
        Ending::Done => exit::DONE,
    }
}
