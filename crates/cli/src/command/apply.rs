//! `etcdup apply`: shows the plan, asks, carries it out, verifies.

use std::io::IsTerminal;

use etcdup_core::finding::Verdict;
use etcdup_core::stage::{Goal, HostStep, Work};
use etcdup_deploy::{DeployError, Plan, Report, Session};

use crate::arguments::Apply;
use crate::command::context::Context;
use crate::command::verify;
use crate::exit;
use crate::view;
use crate::view::ask::Answer;

pub(crate) async fn run(context: &Context, arguments: &Apply) -> u8 {
    let goal = Goal::Converge {
        allow_outage: arguments.allow_outage,
    };
    let approve = Approve::Question {
        yes: arguments.yes,
        question: |_| "Apply this plan?".to_owned(),
    };
    converge(context, goal, "apply", approve).await
}

/// How a plan is approved.
pub(crate) enum Approve {
    /// By a yes, unless it was given already.
    Question {
        /// It was given on the command line.
        yes: bool,
        /// The question, for the cluster's name.
        question: fn(&str) -> String,
    },
    /// By the cluster's name, typed at the prompt or given on the command line.
    Name(Option<String>),
}

/// Runs any verb that changes hosts: plan, approval, execution, verification.
pub(crate) async fn converge(context: &Context, goal: Goal, verb: &str, approve: Approve) -> u8 {
    let (progress, events, showing) = view::progress::start(context.json());
    let session = match context.session(Some(events), progress).await {
        Ok(session) => session,
        Err(error) => return context.fail(&error),
    };
    let ended = with_session(context, &session, goal.clone(), verb, &approve).await;
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
                if verdicts.worst() != Verdict::Error {
                    anstream::eprintln!(
                        "use it: etcdup etcdctl -- member list, or eval \"$(etcdup env)\""
                    );
                }
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
    Verified(Box<Report>),
}

async fn with_session(
    context: &Context,
    session: &Session,
    goal: Goal,
    verb: &str,
    approve: &Approve,
) -> Result<End, DeployError> {
    let plan = session.plan(goal.clone()).await?;
    if let Some(findings) = plan.forecast.blockers() {
        return Err(DeployError::Blocked(findings.to_vec()));
    }
    if context.cancel.is_cancelled() {
        view::error::plain("stopped before any change");
        return Ok(End::Code(exit::STOPPED));
    }
    show(context, &plan, session);
    if plan.is_empty() {
        return Ok(End::Code(exit::DONE));
    }
    let cluster = session.document.spec.cluster.as_str();
    if let Some(code) = ask(approve, cluster)? {
        return Ok(End::Code(code));
    }
    session.execute(&plan, verb).await?;
    if let Goal::Reset { wipe, .. } = goal {
        closing(&plan, wipe, cluster);
        return Ok(End::Code(exit::DONE));
    }
    Ok(End::Verified(Box::new(session.verify().await?)))
}

/// What a reset left behind, and where.
fn closing(plan: &Plan, wipe: bool, cluster: &str) {
    if wipe {
        anstream::eprintln!("cluster {cluster} is stopped and its data is deleted");
        return;
    }
    let kept: Vec<String> = plan
        .forecast
        .stages
        .iter()
        .filter_map(|stage| match &stage.work {
            Work::Hosts(tasks) => Some(tasks),
            Work::Cluster(_) | Work::Operator(_) => None,
        })
        .flatten()
        .flat_map(|(host, steps)| {
            steps.iter().filter_map(move |step| match step {
                HostStep::MoveAside { path } => Some(format!("{host}:{path}")),
                _ => None,
            })
        })
        .collect();
    if kept.is_empty() {
        anstream::eprintln!("cluster {cluster} is stopped; it had no data");
        return;
    }
    // A link or a mount point stays where it is, and what was in it is kept inside it.
    anstream::eprintln!(
        "cluster {cluster} is stopped; its data was moved to <directory>.kept-<time>, inside <directory> where that is a link or \
         a mount point: {}",
        kept.join(", ")
    );
}

/// Asks for approval; an exit code where there is none.
fn ask(approve: &Approve, cluster: &str) -> Result<Option<u8>, DeployError> {
    let refuse = |why: String| {
        view::error::plain(&why);
        Ok(Some(exit::UNAPPROVED))
    };
    let terminal = std::io::stdin().is_terminal();
    let answer = match approve {
        Approve::Question { yes: true, .. } => return Ok(None),
        Approve::Name(Some(typed)) if typed == cluster => return Ok(None),
        Approve::Name(Some(typed)) => {
            return refuse(format!(
                "--confirm {typed} is not the cluster's name, `{cluster}`"
            ));
        }
        Approve::Question { .. } if !terminal => {
            return refuse("stdin is not a terminal; use --yes to approve the plan".to_owned());
        }
        Approve::Name(None) if !terminal => {
            return refuse(format!(
                "stdin is not a terminal; use --confirm {cluster} to approve deleting the data"
            ));
        }
        Approve::Question { question, .. } => view::ask::yes(&question(cluster)),
        Approve::Name(None) => view::ask::name(
            &format!("This DELETES the data of cluster {cluster}. Type its name to go on:"),
            cluster,
        ),
    };
    match answer {
        Answer::Yes => Ok(None),
        Answer::No => {
            anstream::eprintln!("nothing was changed");
            Ok(Some(exit::UNAPPROVED))
        }
        Answer::Stop => Err(DeployError::Stopped(None)),
    }
}

fn show(context: &Context, plan: &Plan, session: &Session) {
    if context.json() {
        view::json::line(&etcdup_deploy::plan_document(plan));
    } else {
        view::plan::print(plan, &session.document);
    }
}
