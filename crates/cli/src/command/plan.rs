//! `etcdup plan`.

use crate::view::print::errln;
use std::path::Path;

use etcdup_core::stage::Goal;
use etcdup_deploy::{DeployError, Plan, PlanDocument};
use etcdup_planner::Ending;

use crate::arguments;
use crate::command::context::Context;
use crate::exit;
use crate::view;

pub(crate) async fn run(context: &Context, arguments: &arguments::Plan) -> u8 {
    let goal = Goal::Converge {
        allow_outage: arguments.allow_outage,
        retry: arguments.retry,
    };
    let plan = match shown(context, goal).await {
        Ok(plan) => plan,
        Err(error) => return context.fail(&error),
    };
    if let Some(out) = &arguments.out
        && plan.forecast.blockers().is_none()
        && let Err(error) = write(out, &PlanDocument::new(&plan))
    {
        view::error::plain(&format!("cannot write {}: {error}", out.display()));
        return exit::FAILED;
    }
    match exit_of(&plan) {
        exit::DONE if arguments.detailed_exitcode && !plan.is_empty() => exit::CHANGES,
        code => code,
    }
}

/// Shows what a verb would do, for its `--dry-run`.
pub(crate) async fn show(context: &Context, goal: Goal) -> u8 {
    match shown(context, goal).await {
        Ok(plan) => exit_of(&plan),
        Err(error) => context.fail(&error),
    }
}

async fn shown(context: &Context, goal: Goal) -> Result<Plan, DeployError> {
    let cluster = context.cluster(None)?;
    let plan = cluster.plan(goal).await?;
    if context.json() {
        view::json::document(&PlanDocument::new(&plan));
    } else {
        view::plan::print(&plan, cluster.document());
    }
    Ok(plan)
}

fn exit_of(plan: &Plan) -> u8 {
    match plan.forecast.ending {
        Ending::Blocked(_) => exit::BLOCKED,
        Ending::Loop(_) => exit::FAILED,
        Ending::Done => exit::DONE,
    }
}

/// A plan that is blocked is not written: there is nothing in it to approve.
fn write(out: &Path, document: &PlanDocument) -> std::io::Result<()> {
    let text = serde_json::to_string_pretty(document)? + "\n";
    std::fs::write(out, text)?;
    errln!(
        "wrote {}; carry it out with: etcdup apply {}",
        out.display(),
        out.display()
    );
    Ok(())
}
