//! `etcdup apply`: shows the plan, asks, carries it out, verifies.

use std::io::IsTerminal;

use etcdup_core::finding::Verdict;
use etcdup_core::stage::Goal;
use etcdup_deploy::{DeployError, Plan, Session, Verdicts};

use crate::arguments::Apply;
use crate::command::{Context, verify};
use crate::exit;
use crate::view;
use crate::view::ask::Answer;

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
    let ended = with_session(context, &session, goal.clone(), verb, yes, question).await;
    session.close().await;
    drop(session);
    // What was verified, or what failed, comes after the last event.
    let _ = showing.await;
    match ended {
        Err(error) if context.json() => context.fail_line(&error),
        Err(error) => context.fail(&error),
        Ok(End::Code(code)) => code,
        Ok(End::Verified(verdicts)) => {
            if context.json() {
                view::json::line(&etcdup_deploy::verify_document(&verdicts));
            } else {
                verify::summary(&verdicts);
            }
            if verdicts.worst() == Verdict::Error {
                exit::FAILED
            } else {
                exit::DONE
            }
        }
    }
}

/// How a run ended that did not fail.
enum End {
    Code(u8),
    Verified(Box<Verdicts>),
}

async fn with_session(
    context: &Context,
    session: &Session,
    goal: Goal,
    verb: &str,
    yes: bool,
    question: &str,
) -> Result<End, DeployError> {
    let plan = session.plan(goal.clone()).await?;
    if let Some(findings) = plan.forecast.obstacles() {
        return Err(DeployError::Blocked(findings.to_vec()));
    }
    show(context, &plan, session);
    if plan.is_empty() {
        return Ok(End::Code(exit::DONE));
    }
    if !yes {
        if !std::io::stdin().is_terminal() {
            view::error::plain(
                "the plan needs approval and there is nobody to ask; --yes approves it",
            );
            return Ok(End::Code(exit::UNAPPROVED));
        }
        match view::ask::yes(question) {
            Answer::Yes => {}
            Answer::No => {
                anstream::eprintln!("nothing was changed");
                return Ok(End::Code(exit::UNAPPROVED));
            }
            Answer::Stop => {
                return Err(DeployError::Stopped("nothing: it was not begun".to_owned()));
            }
        }
    }
    session.execute(&plan, verb).await?;
    if matches!(goal, Goal::Reset { .. }) {
        return Ok(End::Code(exit::DONE));
    }
    Ok(End::Verified(Box::new(session.verify().await?)))
}

fn show(context: &Context, plan: &Plan, session: &Session) {
    if context.json() {
        view::json::line(&etcdup_deploy::plan_document(plan));
    } else {
        view::plan::print(plan, &session.document);
    }
}
