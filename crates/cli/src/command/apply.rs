//! `etcdup apply`: shows the plan, asks, carries it out, verifies.

use std::io::IsTerminal;

use etcdup_core::finding::Verdict;
use etcdup_core::stage::Goal;
use etcdup_deploy::{DeployError, Plan, Session, Verdicts};

use crate::arguments::Apply;
use crate::command::{Context, verify};
use crate::exit;
use crate::view;

pub(crate) async fn run(context: &Context, arguments: &Apply) -> u8 {
    let goal = Goal::Converge {
        allow_outage: arguments.allow_outage,
    };
    converge(context, goal, "apply", arguments.yes, "Apply this plan?").await
}

/// The way of every verb that changes hosts.
pub(crate) async fn converge(
    context: &Context,
    goal: Goal,
    verb: &str,
    yes: bool,
    question: &str,
) -> u8 {
    let (progress, events, showing) = view::progress::start(context.json());
    let session = match context.session(Some(events), progress).await {
        Ok(session) => session,
        Err(error) => return context.fail(&error),
    };
    let (code, verdicts) = with_session(context, &session, goal.clone(), verb, yes, question).await;
    session.close().await;
    drop(session);
    // What was verified comes after the last event.
    let _ = showing.await;
    if let Some(verdicts) = verdicts {
        if context.json() {
            view::json::line(&etcdup_deploy::verify_document(&verdicts));
        } else {
            verify::summary(&verdicts);
        }
    }
    code
}

async fn with_session(
    context: &Context,
    session: &Session,
    goal: Goal,
    verb: &str,
    yes: bool,
    question: &str,
) -> (u8, Option<Verdicts>) {
    let plan = match session.plan(goal.clone()).await {
        Ok(plan) => plan,
        Err(error) => return (context.fail(&error), None),
    };
    if let Some(findings) = plan.forecast.obstacles() {
        return (context.fail(&DeployError::Blocked(findings.to_vec())), None);
    }
    show(context, &plan, session);
    if plan.is_empty() {
        return (exit::DONE, None);
    }
    if !yes {
        if !std::io::stdin().is_terminal() {
            view::error::plain(
                "the plan needs approval and there is nobody to ask; --yes approves it",
            );
            return (exit::UNAPPROVED, None);
        }
        match view::ask::yes(question) {
            true => {}
            false => {
                anstream::eprintln!("nothing was changed");
                return (exit::UNAPPROVED, None);
            }
        }
    }
    if let Err(error) = session.execute(&plan, verb).await {
        return (context.fail(&error), None);
    }
    if matches!(goal, Goal::Reset { .. }) {
        return (exit::DONE, None);
    }
    match session.verify().await {
        Err(error) => (context.fail(&error), None),
        Ok(verdicts) if verdicts.worst() == Verdict::Error => (exit::FAILED, Some(verdicts)),
        Ok(verdicts) => (exit::DONE, Some(verdicts)),
    }
}

fn show(context: &Context, plan: &Plan, session: &Session) {
    if context.json() {
        view::json::line(&etcdup_deploy::plan_document(plan));
    } else {
        view::plan::print(plan, &session.document);
    }
}
