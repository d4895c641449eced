//! `etcdup plan`.

use crate::view::print::errln;
use std::path::Path;

use etcdup_core::stage::Goal;
use etcdup_deploy::{DeployError, PlanDocument};
use etcdup_planner::Ending;

use crate::arguments::Plan;
use crate::command::context::Context;
use crate::exit;
use crate::view;

pub(crate) async fn run(context: &Context, arguments: &Plan) -> u8 {
    let goal = Goal::Converge {
        allow_outage: arguments.allow_outage,
        retry: arguments.retry,
    };
    let planned = async {
        let cluster = context.cluster(None)?;
        let plan = cluster.plan(goal).await?;
        Ok::<_, DeployError>((cluster, plan))
    };
    let (cluster, plan) = match planned.await {
        Ok(planned) => planned,
        Err(error) => return context.fail(&error),
    };
    if context.json() {
        view::json::document(&PlanDocument::new(&plan));
    } else {
        view::plan::print(&plan, cluster.document());
    }
    if let Some(out) = &arguments.out
        && plan.forecast.blockers().is_none()
        && let Err(error) = write(out, &PlanDocument::new(&plan))
    {
        view::error::plain(&format!("cannot write {}: {error}", out.display()));
        return exit::FAILED;
    }
    match plan.forecast.ending {
        Ending::Blocked(_) => exit::BLOCKED,
        Ending::Loop(_) => exit::FAILED,
        Ending::Done if arguments.detailed_exitcode && !plan.is_empty() => exit::CHANGES,
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
