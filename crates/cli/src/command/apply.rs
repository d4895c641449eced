//! `etcdup apply`: shows the plan, asks, carries it out, verifies.

use crate::view::print::errln;
use std::io::IsTerminal;
use std::path::Path;

use etcdup_core::finding::Verdict;
use etcdup_core::operation::Verb;
use etcdup_core::stage::{Goal, HostStep, Work};
use etcdup_deploy::{
    Begin, Cluster, DeployError, Outcome, Plan, PlanDocument, Report, VerifyDocument,
};

use crate::arguments::Apply;
use crate::command::context::Context;
use crate::command::verify;
use crate::exit;
use crate::view;
use crate::view::ask::Answer;

pub(crate) async fn run(context: &Context, arguments: &Apply) -> u8 {
    let Some(file) = &arguments.plan else {
        let goal = Goal::Converge {
            allow_outage: arguments.allow_outage,
            retry: arguments.retry,
        };
        let approve = Approve::Question {
            yes: arguments.yes,
            question: |_| "Apply this plan?".to_owned(),
        };
        return converge(context, goal, approve).await;
    };
    let approved = match read_plan(context, file) {
        Ok(approved) => approved,
        Err(why) => {
            view::error::plain(&format!("{}: {why}", file.display()));
            return exit::USAGE;
        }
    };
    let goal = approved.goal.clone();
    converge(context, goal, Approve::Plan(Box::new(approved))).await
}

/// A plan that was written by `etcdup plan --out`, if it is one of this cluster.
fn read_plan(context: &Context, file: &Path) -> Result<PlanDocument, String> {
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    let plan = PlanDocument::parse(&text).map_err(|error| error.to_string())?;
    if !matches!(plan.goal, Goal::Converge { .. }) {
        let verb = Verb::of(&plan.goal);
        return Err(format!(
            "it is the plan of another command, `etcdup {verb}`"
        ));
    }
    // What is wrong with the topology is told by what reads it next.
    let Ok((document, _)) = context.document() else {
        return Ok(plan);
    };
    let (cluster, etcd) = (
        document.spec.cluster.as_str(),
        document.spec.etcd.to_string(),
    );
    if cluster != plan.cluster {
        return Err(format!(
            "it is a plan for cluster `{}`, and the topology is of `{cluster}`",
            plan.cluster
        ));
    }
    // A restart with another release is another matter than the one that was approved.
    if etcd != plan.etcd {
        return Err(format!(
            "it is a plan for etcd {}, and the topology wants {etcd}",
            plan.etcd
        ));
    }
    Ok(plan)
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
    Name {
        /// What was typed on the command line.
        typed: Option<String>,
        /// The question, for the cluster's name.
        question: fn(&str) -> String,
        /// What is lost by it, in a clause.
        loses: &'static str,
    },
    /// By whoever wrote this plan into a file, and no further than it reaches.
    Plan(Box<PlanDocument>),
}

/// Runs any verb that changes hosts: plan, approval, operation, verification.
pub(crate) async fn converge(context: &Context, goal: Goal, approve: Approve) -> u8 {
    match carry_out(context, goal, approve).await {
        Err(error) => fail(context, &error),
        Ok(End::Code(code)) => code,
        Ok(End::Failed(outcome)) => match outcome.as_ref() {
            Err(error) => fail(context, error),
            Ok(()) => exit::DONE,
        },
        Ok(End::Verified(verdicts)) => {
            if context.json() {
                view::json::line(&VerifyDocument::new(&verdicts));
            } else {
                verify::summary(&verdicts);
                if verdicts.worst() != Verdict::Error {
                    errln!("use it: etcdup etcdctl -- member list, or eval \"$(etcdup env)\"");
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

/// In a stream of JSON lines an error is a line too.
fn fail(context: &Context, error: &DeployError) -> u8 {
    if context.json() {
        context.fail_line(error)
    } else {
        context.fail(error)
    }
}

/// How a run ended that was not refused.
enum End {
    Code(u8),
    Failed(Outcome),
    Verified(Box<Report>),
}

/// How often a plan is made again for whoever approved any plan beforehand.
const PLANS: usize = 3;

async fn carry_out(context: &Context, goal: Goal, approve: Approve) -> Result<End, DeployError> {
    // What an earlier run left at work may change the world between a plan and its stages. Whoever
    // said yes to any plan is not asked again; a plan that a person read, or wrote into a file, is
    // never replaced by another.
    let mut left = match approve {
        Approve::Question { yes: true, .. } => PLANS,
        Approve::Question { yes: false, .. } | Approve::Name { .. } | Approve::Plan(_) => 1,
    };
    loop {
        left -= 1;
        let end = carry_out_once(context, goal.clone(), &approve).await?;
        let changed = match &end {
            End::Failed(outcome) => {
                matches!(outcome.as_ref(), Err(DeployError::PlanChanged { .. }))
            }
            End::Code(_) | End::Verified(_) => false,
        };
        if left == 0 || !changed {
            return Ok(end);
        }
        errln!("the plan changed meanwhile; planning again");
    }
}

async fn carry_out_once(
    context: &Context,
    goal: Goal,
    approve: &Approve,
) -> Result<End, DeployError> {
    let display = view::progress::Display::new(context.json());
    let cluster = context.cluster(display.progress())?;
    let plan = cluster.plan(goal.clone()).await?;
    if let Some(findings) = plan.forecast.blockers() {
        return Err(DeployError::Blocked(findings.to_vec()));
    }
    if context.cancel.is_cancelled() {
        view::error::plain("stopped before any change");
        return Ok(End::Code(exit::STOPPED));
    }
    show(context, &plan, &cluster);
    if plan.is_empty() {
        return Ok(End::Code(exit::DONE));
    }
    let name = cluster.document().spec.cluster.as_str();
    if let Some(code) = ask(approve, name)? {
        return Ok(End::Code(code));
    }
    let kept = kept_places(&plan);
    let begin = Begin {
        plan,
        approved: match approve {
            Approve::Plan(document) => Some(document.as_ref().clone()),
            Approve::Question { .. } | Approve::Name { .. } => None,
        },
        verb: Verb::of(&goal),
        who: context.library_settings(None).operator,
        token: None,
        request: None,
    };
    let operation = cluster.begin(begin).await?;
    display.follow(operation.events(0)).await;
    let outcome = operation.ended().await;
    if outcome.is_err() {
        return Ok(End::Failed(outcome));
    }
    if let Goal::Reset { wipe, .. } = goal {
        closing(&kept, wipe, name);
        return Ok(End::Code(exit::DONE));
    }
    if let Goal::Recover { .. } = goal {
        errln!(
            "cluster {name} serves again, with one member: take those that are gone out of {}, put others in their place, \
             and run `etcdup apply`",
            cluster.document().name
        );
        return Ok(End::Code(exit::DONE));
    }
    if let Goal::AbortRestore { .. } = goal {
        errln!("the restore of cluster {name} is given up: `etcdup apply` starts what was stopped");
        return Ok(End::Code(exit::DONE));
    }
    Ok(End::Verified(Box::new(cluster.verify().await?)))
}

/// The data directories that a reset moves aside, each with its host.
fn kept_places(plan: &Plan) -> Vec<String> {
    let tasks = plan
        .forecast
        .stages
        .iter()
        .filter_map(|stage| match &stage.work {
            Work::Hosts(tasks) => Some(tasks),
            Work::Cluster(_) | Work::Operator(_) => None,
        });
    let moved = tasks.flatten().flat_map(|(host, steps)| {
        steps.iter().filter_map(move |step| match step {
            HostStep::MoveAside { path } => Some(format!("{host}:{path}")),
            _ => None,
        })
    });
    moved.collect()
}

/// What a reset left behind, and where.
fn closing(kept: &[String], wipe: bool, cluster: &str) {
    if wipe {
        errln!("cluster {cluster} is stopped and its data is deleted");
        return;
    }
    if kept.is_empty() {
        errln!("cluster {cluster} is stopped; it had no data");
        return;
    }
    // A link or a mount point stays where it is, and what was in it is kept inside it.
    errln!(
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
        Approve::Question { yes: true, .. } | Approve::Plan(_) => return Ok(None),
        Approve::Name {
            typed: Some(typed), ..
        } if typed == cluster => return Ok(None),
        Approve::Name {
            typed: Some(typed), ..
        } => {
            return refuse(format!(
                "--confirm {typed} is not the cluster's name, `{cluster}`"
            ));
        }
        Approve::Question { .. } if !terminal => {
            return refuse("stdin is not a terminal; use --yes to approve the plan".to_owned());
        }
        Approve::Name { loses, .. } if !terminal => {
            return refuse(format!(
                "stdin is not a terminal; use --confirm {cluster} to approve that {loses}"
            ));
        }
        Approve::Question { question, .. } => view::ask::yes(&question(cluster)),
        Approve::Name { question, .. } => view::ask::name(&question(cluster), cluster),
    };
    match answer {
        Answer::Yes => Ok(None),
        Answer::No => {
            errln!("nothing was changed");
            Ok(Some(exit::UNAPPROVED))
        }
        Answer::Stop => Err(DeployError::Stopped(None)),
    }
}

fn show(context: &Context, plan: &Plan, cluster: &Cluster) {
    if context.json() {
        view::json::line(&PlanDocument::new(plan));
    } else {
        view::plan::print(plan, cluster.document());
    }
}
