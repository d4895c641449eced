//! `etcdup maintain`, `etcdup alarm` and `etcdup move-leader`: the care of a cluster that serves.

use etcdup_core::observation::{CORRUPT, NO_SPACE};
use etcdup_core::stage::Goal;
use etcdup_deploy::DeployError;
use serde_json::{Value, json};

use crate::arguments::{Maintain, MoveLeader};
use crate::command::apply::{self, Approve};
use crate::command::context::{Context, member_of};
use crate::command::plan;
use crate::exit;
use crate::view::{self, outln};

pub(crate) async fn maintain(context: &Context, arguments: &Maintain) -> u8 {
    let goal = Goal::Maintain {
        compact: arguments.compact,
        all: arguments.all,
        allow_outage: arguments.allow_outage,
    };
    if arguments.dry_run {
        return plan::show(context, goal).await;
    }
    let approve = Approve::Question {
        yes: arguments.yes,
        question: |_| "Carry this plan out?".to_owned(),
    };
    apply::converge(context, goal, approve).await
}

pub(crate) async fn disarm(context: &Context, yes: bool) -> u8 {
    let approve = Approve::Question {
        yes,
        question: |cluster| format!("Disarm what the plan names, in cluster {cluster}?"),
    };
    apply::converge(context, Goal::Disarm, approve).await
}

pub(crate) async fn move_leader(context: &Context, arguments: &MoveLeader) -> u8 {
    let to = match &arguments.member {
        None => None,
        Some(name) => match context.topology().await {
            Ok((topology, _)) => match member_of(&topology, name) {
                Some(member) => Some(member.name.clone()),
                None => return exit::USAGE,
            },
            Err(error) => return context.fail(&error),
        },
    };
    let approve = Approve::Question {
        yes: arguments.yes,
        question: |cluster| format!("Move leadership to another member in cluster {cluster}?"),
    };
    apply::converge(context, Goal::MoveLeader { to }, approve).await
}

/// The alarms that are raised: whose they are, and what they are called.
pub(crate) async fn alarms(context: &Context) -> u8 {
    match raised(context).await {
        Err(error) => context.fail(&error),
        Ok(raised) => {
            if context.json() {
                let one =
                    |(member, alarm): &(String, &str)| json!({ "member": member, "alarm": alarm });
                let alarms: Vec<Value> = raised.iter().map(one).collect();
                view::json::print("alarms", &json!({ "alarms": alarms }));
            } else if raised.is_empty() {
                outln!("No alarm is raised.");
            }
            if !context.json() {
                for (member, alarm) in &raised {
                    outln!("{alarm} of {member}");
                }
            }
            match raised.is_empty() {
                true => exit::DONE,
                false => exit::FAILED,
            }
        }
    }
}

async fn raised(context: &Context) -> Result<Vec<(String, &'static str)>, DeployError> {
    let session = context.session().await?;
    let (_, seen) = session.observe(Goal::Disarm).await?;
    if seen.known_members().next().is_none() {
        return Err(DeployError::Cluster {
            what: "ask for alarms".to_owned(),
            why: "no member answers".to_owned(),
        });
    }
    let of = |alarm: &'static str| {
        let ids = seen.alarms(alarm).into_iter();
        ids.map(|id| (seen.shown_name_of(id), alarm))
            .collect::<Vec<_>>()
    };
    Ok([of(NO_SPACE), of(CORRUPT)].concat())
}
