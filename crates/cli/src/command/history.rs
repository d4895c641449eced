//! `etcdup history`: what was done to the cluster, by everyone.

use etcdup_core::host::HostId;
use etcdup_core::operation::OperationId;
use etcdup_deploy::{DeployError, HistoryDocument, PastOperation, PastState, StoredOperation};

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
        let unread = !history.unseen.is_empty();
        match unread {
            true => outln!("Nothing is recorded here, and not every host's log was read."),
            false => outln!("Nothing was done to cluster {} yet.", history.cluster),
        }
        return Ok(exit::DONE);
    }
    let rows: Vec<Vec<String>> = history.operations.iter().map(row).collect();
    let head = [
        "operation",
        "begun (utc)",
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
    let took = took.map_or_else(String::new, |took| format!("{} s", took.as_secs().max(0)));
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
    let (document, path) = context.document()?;
    let engine = context.engine(directory_of(&path), None);
    let begins = |known: &OperationId| known.as_str().starts_with(id);
    let mut stored = engine.operations().await?;
    stored.retain(|one| one.record.cluster == document.spec.cluster && begins(&one.record.id));
    if let [one] = &stored[..] {
        let id = &one.record.id;
        Display::replay(context.json())
            .follow(engine.events(id, 0))
            .await;
        // It may have ended while it was followed.
        let mut ended = engine.operations().await?.into_iter();
        let ended = ended.find(|other| other.record.id == *id);
        ending(context, ended.as_ref().unwrap_or(one));
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
            let found: Vec<&str> = found.iter().map(|one| one.id.as_str()).collect();
            let found = found.join(", ");
            view::error::plain(&format!("several operations begin with `{id}`: {found}"));
            Ok(exit::USAGE)
        }
    }
}

/// How an operation ended whose events are here.
fn ending(context: &Context, stored: &StoredOperation) {
    if context.json() {
        return;
    }
    let record = &stored.record;
    let message = record.message.as_ref().map(|why| format!(": {why}"));
    errln!(
        "{} by {}, begun {}: {}{}",
        record.verb,
        record.who,
        record.begun,
        words(PastState::of(stored)),
        message.unwrap_or_default()
    );
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
        "Only this summary is known, from {}. The full record is on the machine that ran it.",
        hosts.join(", ")
    );
}
