//! `etcdup history`: what was done to the cluster, by everyone.

use etcdup_core::host::HostId;
use etcdup_core::operation::OperationId;
use etcdup_deploy::{DeployError, HistoryDocument, PastOperation, PastState};

use crate::arguments::History;
use crate::command::context::{Context, directory_of};
use crate::exit;
use crate::view::print::errln;
use crate::view::progress::Display;
use crate::view::{self, outln};

/// How much of an ID tells operations apart: the time that is in it, to the millisecond.
const SHORT: usize = 13;

pub(crate) async fn run(context: &Context, arguments: &History) -> u8 {
    let shown = match &arguments.show {
        None => list(context, arguments.limit).await,
        Some(crate::arguments::HistoryShow::Show { id }) => show(context, id).await,
    };
    match shown {
        Ok(code) => code,
        Err(error) => context.fail(&error),
    }
}

async fn list(context: &Context, limit: usize) -> Result<u8, DeployError> {
    let mut history = context.session().await?.history().await?;
    let more = history.operations.len().saturating_sub(limit);
    history.operations.truncate(limit);
    if context.json() {
        view::json::document(&history);
        return Ok(exit::DONE);
    }
    unseen(&history);
    if history.operations.is_empty() {
        outln!("Nothing is known of cluster {}.", history.cluster);
        return Ok(exit::DONE);
    }
    let rows: Vec<Vec<String>> = history.operations.iter().map(row).collect();
    let head = [
        "operation",
        "begun",
        "took",
        "verb",
        "result",
        "who",
        "stages",
    ];
    view::table::print_fitting(&head, &rows, &["stages", "took"]);
    if more > 0 {
        errln!("and {more} before them: --limit {}", limit + more);
    }
    Ok(exit::DONE)
}

fn unseen(history: &HistoryDocument) {
    for one in &history.unseen {
        errln!("{}: its log was not read: {}", one.host, one.why);
    }
}

fn row(one: &PastOperation) -> Vec<String> {
    let took = one.ended.map(|ended| ended.duration_since(one.begun));
    let took = took.map_or_else(String::new, |took| format!("{} s", took.as_secs()));
    let events = if one.events { "" } else { " (summary)" };
    vec![
        one.id.as_str()[..SHORT].to_owned(),
        one.begun.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        took,
        one.verb.clone(),
        format!("{}{events}", words(one.state)),
        one.who.clone(),
        one.stages.join(" "),
    ]
}

fn words(state: PastState) -> &'static str {
    match state {
        PastState::Running => "running",
        PastState::Done => "done",
        PastState::Failed => "failed",
        PastState::Stopped => "stopped",
        PastState::Interrupted => "interrupted",
        PastState::Unknown => "no end noted",
    }
}

/// Replays an operation, where its events are here; else what hosts know of it.
async fn show(context: &Context, id: &str) -> Result<u8, DeployError> {
    let (_, path) = context.document()?;
    let engine = context.engine(directory_of(&path), None);
    let begins = |known: &OperationId| known.as_str().starts_with(id);
    let stored = engine.operations().await?;
    let here: Vec<&OperationId> = stored.iter().map(|one| &one.record.id).collect();
    let here: Vec<&&OperationId> = here.iter().filter(|known| begins(known)).collect();
    if let [one] = here[..] {
        Display::replay(context.json())
            .follow(engine.events(one, 0))
            .await;
        if let Some(stored) = stored.iter().find(|stored| stored.record.id == **one)
            && !context.json()
        {
            let record = &stored.record;
            let message = record.message.as_ref().map(|why| format!(": {why}"));
            errln!(
                "{} by {}, begun {}: {}{}",
                record.verb,
                record.who,
                record.begun,
                record.state,
                message.unwrap_or_default()
            );
        }
        return Ok(exit::DONE);
    }
    let history = context.session().await?.history().await?;
    let found: Vec<&PastOperation> = history
        .operations
        .iter()
        .filter(|one| begins(&one.id))
        .collect();
    match found[..] {
        [one] => {
            summary(context, one);
            Ok(exit::DONE)
        }
        [] => {
            unseen(&history);
            view::error::plain(&format!(
                "no operation `{id}` is known: see `etcdup history`"
            ));
            Ok(exit::FAILED)
        }
        _ => {
            view::error::plain(&format!("several operations begin with `{id}`"));
            Ok(exit::USAGE)
        }
    }
}

fn summary(context: &Context, one: &PastOperation) {
    if context.json() {
        view::json::document(one);
        return;
    }
    outln!(
        "{} by {}, begun {}: {}",
        one.verb,
        one.who,
        one.begun,
        words(one.state)
    );
    if let Some(ended) = one.ended {
        outln!("ended {ended}");
    }
    for stage in &one.stages {
        outln!("  {stage}");
    }
    let hosts: Vec<&str> = one.hosts.iter().map(HostId::as_str).collect();
    errln!(
        "Only this summary is known, from {}: all that happened is recorded where it was run.",
        hosts.join(", ")
    );
}
