//! Operations: what was begun, by whomever, and what happens in it.

use std::sync::Arc;
use std::time::Duration;

use etcdup_core::digest::sha256;
use etcdup_core::event::Event;
use etcdup_core::name::ClusterName;
use etcdup_core::operation::{OperationId, OperationRecord, OperationState, RequestDigest, Verb};
use etcdup_core::plain::chain;
use etcdup_core::stage::Goal;
use etcdup_deploy::{Begin, Cluster, PLAN_CHANGED, PlanDocument, StoredOperation};
use http::{StatusCode, header};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::blocking::blocking;
use crate::call::{Answer, Call, JSON_LINES, MOST_EVENTS, State};
use crate::open::{open, open_recorded};
use crate::problem::{Problem, RUNNING, UNCONFIRMED, UNREADY};
use crate::routes::plans::{keep_copy, unknown};
use crate::stream::{Moved, Source};
use crate::token::{Role, Token};

/// An operation to begin.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OperationRequest {
    /// What for: the plan's own verb, so that nobody resets by a digest alone.
    pub verb: Verb,
    /// The digest of the plan that is approved.
    pub plan: String,
    /// The cluster's name, as a person types it, where the plan resets it or takes it out of
    /// service.
    #[serde(default)]
    pub confirm: Option<String>,
}

/// An operation.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct OperationDocument {
    /// Its record.
    #[serde(flatten)]
    pub record: OperationRecord,
    /// Whether it is recorded as running and its process has died.
    pub interrupted: bool,
}

/// A page of operations.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct OperationList {
    /// The newest first.
    pub operations: Vec<OperationDocument>,
    /// The cursor of the next page, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<OperationId>,
}

/// Events of an operation.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct EventList {
    /// In order.
    pub events: Vec<Event>,
    /// The number of the first event that is not among them.
    pub next: u64,
}

impl From<StoredOperation> for OperationDocument {
    fn from(stored: StoredOperation) -> Self {
        Self {
            record: stored.record,
            interrupted: stored.interrupted,
        }
    }
}

pub(crate) async fn begin(call: Call) -> Result<Answer, Problem> {
    let request: OperationRequest = call.json()?;
    let state = Arc::clone(&call.state);
    let token = call.principal()?.token.clone();
    let request_digest = match call.headers.get("idempotency-key") {
        Some(key) => Some(digest_of(&key_of(key)?, &token, &call)),
        None => None,
    };
    // Whatever became of the topology since: what was begun, was begun.
    if let Some(digest) = &request_digest
        && let Some(id) = state.keys.find(digest)?
    {
        return accepted(&state, &id).await;
    }
    let cluster = open(&state, call.part("cluster")).await?;
    let name = cluster.document().spec.cluster.clone();
    let _beginning = state.plans.beginning(&name).await;
    if let Some(digest) = &request_digest
        && let Some(id) = state.keys.find(digest)?
    {
        return accepted(&state, &id).await;
    }
    let plan = state.plans.get(&request.plan);
    let plan = plan.ok_or_else(|| unknown(&request.plan))?;
    if plan.cluster != name.as_str() || Verb::of(&plan.goal) != request.verb {
        let (of, verb) = (&plan.cluster, Verb::of(&plan.goal));
        let why = format!("the plan is for {verb} of cluster {of}");
        return Err(Problem::bad_request(why));
    }
    if needs_a_word(&plan) {
        call.needs(Role::Admin)?;
        if request.confirm.as_deref() != Some(name.as_str()) {
            let why = format!("this plan needs `confirm` to be {name}");
            return Err(Problem::new(StatusCode::CONFLICT, &UNCONFIRMED, why));
        }
    }
    if state.stopping.is_cancelled() {
        let why = "the server is stopping";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, &UNREADY, why));
    }
    if let Some(other) = running(&state, &name).await? {
        let why = format!("{} {} runs on cluster {name}", other.verb, other.id);
        let mut problem = Problem::new(StatusCode::CONFLICT, &RUNNING, why);
        problem.document.operation = Some(other.id.to_string());
        return Err(problem);
    }
    let turn = state.turn().await?;
    let fresh = cluster.plan(plan.goal.clone()).await?;
    drop(turn);
    let document = Arc::new(PlanDocument::new(&fresh));
    if document.digest != plan.digest {
        keep_copy(&state, &cluster, &document.goal);
        return Err(changed(&state, &document));
    }
    let begin = Begin {
        plan: fresh,
        approved: Some((*plan).clone()),
        verb: request.verb,
        who: call.recorded_as()?,
        token: Some(token),
        request: request_digest.clone(),
    };
    let operation = cluster.begin(begin).await?;
    if let Some(digest) = request_digest {
        state.keys.note(digest, Timestamp::now(), operation.id());
    }
    state
        .watches
        .note_begun(call.part("cluster"), operation.id());
    accepted(&state, operation.id()).await
}

/// Goes on with the operations that a server of this directory began and did not end. Those that a
/// person began at a terminal are that person's to go on with.
pub(crate) async fn resume_own(state: &Arc<State>) {
    let unfinished = match state.engine.unfinished().await {
        Ok(unfinished) => unfinished,
        Err(error) => {
            tracing::error!(error = chain(&error), "operations cannot be read");
            return;
        }
    };
    for stored in unfinished {
        let record = stored.record;
        let resumed = match may_resume(state, &record, stored.cancelled).await {
            Ok(Some(cluster)) => cluster
                .resume(&record.id)
                .await
                .map_err(|error| chain(&error)),
            Ok(None) => continue,
            Err(why) => Err(why),
        };
        match resumed {
            Ok(_) => tracing::info!(operation = %record.id, "resumed"),
            Err(error) => tracing::error!(operation = %record.id, error, "not resumed"),
        }
    }
}

/// The cluster of an operation that may go on with nobody watching: what was approved is still what
/// the file says, whoever approved it still may, and nobody asked for its end.
async fn may_resume(
    state: &Arc<State>,
    record: &OperationRecord,
    cancelled: bool,
) -> Result<Option<Cluster>, String> {
    let Some(id) = record.token.clone() else {
        return Ok(None);
    };
    if cancelled {
        return Err("somebody asked for its end".to_owned());
    }
    let (reading, operation) = (Arc::clone(state), record.id.clone());
    let read = blocking(move || {
        let tokens = reading.tokens.list().map_err(|error| chain(&error))?;
        let plan = reading
            .store
            .plan(&operation)
            .map_err(|error| chain(&error))?;
        Ok::<_, String>((tokens, plan))
    });
    let (tokens, plan) = read.await.map_err(|problem| problem.document.detail)??;
    let least = match needs_a_word(&plan) {
        true => Role::Admin,
        false => Role::Operator,
    };
    let may = |token: &Token| token.id == id && token.role >= least;
    if !tokens.iter().any(may) {
        return Err(format!(
            "the token of {} has ended, or may less",
            record.who
        ));
    }
    let cluster = open_recorded(state, record).await;
    let cluster = cluster.map_err(|problem| problem.document.detail.clone())?;
    Ok(Some(cluster))
}

/// Whether a plan is one that only an admin may have carried out, and only with the name typed.
fn needs_a_word(plan: &PlanDocument) -> bool {
    let stages = plan.stages.iter();
    let reaches_far = |scope: &etcdup_core::stage::Scope| scope.outage || scope.destroys;
    matches!(
        plan.goal,
        Goal::Reset { .. }
            | Goal::Restore { .. }
            | Goal::AbortRestore { .. }
            | Goal::Recover { .. }
            | Goal::Converge {
                allow_outage: true,
                ..
            }
            | Goal::Maintain {
                allow_outage: true,
                ..
            }
    ) || stages.map(|stage| &stage.scope).any(reaches_far)
}

/// A token's key for a request to this path with this body.
fn digest_of(key: &str, token: &str, call: &Call) -> RequestDigest {
    // None of the three can contain a line break.
    let of = [token, call.part("cluster"), key].join("\n");
    RequestDigest {
        key: sha256(of.as_bytes()),
        body: sha256(&call.body),
    }
}

fn key_of(key: &http::HeaderValue) -> Result<String, Problem> {
    let text = key
        .to_str()
        .ok()
        .filter(|text| (1..=255).contains(&text.len()) && !text.contains([' ', '\t']));
    let text = text.ok_or_else(|| {
        Problem::bad_request("an Idempotency-Key has 1 to 255 visible characters")
    })?;
    Ok(text.to_owned())
}

/// The plan that was approved does not hold any more: nothing is done, and the new one is shown.
fn changed(state: &State, document: &Arc<PlanDocument>) -> Problem {
    state.plans.keep(Arc::clone(document));
    let why = "the plan changed since it was made; the one that holds now is with this answer";
    let mut problem = Problem::new(StatusCode::CONFLICT, &PLAN_CHANGED, why);
    problem.document.plan = Some((**document).clone());
    problem
}

async fn accepted(state: &Arc<State>, id: &OperationId) -> Result<Answer, Problem> {
    let stored = stored(state, id).await?;
    let place = format!("/v1/operations/{id}");
    let answer = Answer::with(StatusCode::ACCEPTED, &OperationDocument::from(stored))?;
    Ok(answer.header(header::LOCATION, &place))
}

async fn stored(state: &Arc<State>, id: &OperationId) -> Result<StoredOperation, Problem> {
    let (state, id) = (Arc::clone(state), id.clone());
    Ok(blocking(move || state.store.get(&id)).await??)
}

/// The operation that is carried out on a cluster now, by this process or another.
async fn running(
    state: &Arc<State>,
    cluster: &ClusterName,
) -> Result<Option<OperationRecord>, Problem> {
    let listed = state.engine.operations().await?;
    let runs = listed.into_iter().filter(StoredOperation::runs);
    let mut runs = runs.map(|stored| stored.record);
    Ok(runs.find(|record| record.cluster == *cluster))
}

fn id_of(call: &Call) -> Result<OperationId, Problem> {
    let id = call.part("id");
    id.parse()
        .map_err(|_| Problem::not_found(format!("there is no operation `{id}`")))
}

/// How an operation stands, as a filter names it.
fn state_of(stored: &StoredOperation) -> &'static str {
    match stored.record.state {
        OperationState::Running if stored.interrupted => "interrupted",
        OperationState::Running => "running",
        OperationState::Done => "done",
        OperationState::Failed => "failed",
        OperationState::Stopped => "stopped",
    }
}

pub(crate) async fn list(call: Call) -> Result<Answer, Problem> {
    let most = usize::try_from(call.number("limit", 50, 200)?.max(1)).unwrap_or(200);
    let after = match call.query.get("cursor") {
        None => None,
        Some(cursor) => {
            let id: Result<OperationId, _> = cursor.parse();
            Some(id.map_err(|_| Problem::bad_request("`cursor` is not one of this API's"))?)
        }
    };
    let asked = |name: &str| call.query.get(name).map(String::as_str);
    let (cluster, who) = (asked("cluster"), asked("who"));
    let (verb, state) = (asked("verb"), asked("state"));
    let mut listed = call.state.engine.operations().await?;
    listed.retain(|stored| {
        let record = &stored.record;
        let (of_verb, of_state) = (record.verb.to_string(), state_of(stored));
        let wanted = cluster.is_none_or(|name| record.cluster.as_str() == name)
            && who.is_none_or(|who| record.who.is_called(who))
            && verb.is_none_or(|verb| of_verb == verb)
            && state.is_none_or(|state| of_state == state);
        wanted && after.as_ref().is_none_or(|after| stored.record.id < *after)
    });
    let more = listed.len() > most;
    listed.truncate(most);
    let last = listed.last().map(|stored| stored.record.id.clone());
    Answer::json(&OperationList {
        operations: listed.into_iter().map(Into::into).collect(),
        next: last.filter(|_| more),
    })
}

pub(crate) async fn one(call: Call) -> Result<Answer, Problem> {
    let id = id_of(&call)?;
    let wait = Duration::from_secs(call.number("wait", 0, 60)?);
    // Unknown ones are not waited for.
    stored(&call.state, &id).await?;
    if !wait.is_zero() {
        let _place = call.state.place()?;
        let mut end = call.state.engine.events(&id, u64::MAX);
        tokio::select! {
            _ = tokio::time::timeout(wait, end.next()) => {}
            () = call.state.stopping.cancelled() => {}
        }
    }
    Answer::json(&OperationDocument::from(stored(&call.state, &id).await?))
}

pub(crate) async fn cancel(call: Call) -> Result<Answer, Problem> {
    let id = id_of(&call)?;
    let known = stored(&call.state, &id).await?;
    match call.state.engine.operation(&id) {
        Some(operation) => {
            // Before it is answered: were this process killed now, nobody must go on with it.
            let (state, noted) = (Arc::clone(&call.state), id.clone());
            blocking(move || state.store.note_cancelled(&noted)).await??;
            operation.cancel();
        }
        None => {
            let why = if known.runs() {
                "another process carries this operation out: stop it there"
            } else {
                "this operation does not run"
            };
            return Err(Problem::new(StatusCode::CONFLICT, &RUNNING, why));
        }
    }
    accepted(&call.state, &id).await
}

pub(crate) async fn events(call: Call) -> Result<Answer, Problem> {
    let id = id_of(&call)?;
    let since = call.number("since", 0, MOST_EVENTS)?;
    let most = usize::try_from(call.number("limit", 200, 200)?.max(1)).unwrap_or(200);
    let (state, asked) = (Arc::clone(&call.state), id.clone());
    let read = blocking(move || {
        state.store.get(&asked)?;
        state.store.events(&asked, since)
    });
    let mut events = read.await??;
    events.truncate(most);
    let next = events.last().map_or(since, |event| event.seq + 1);
    let accepts = call.headers.get(header::ACCEPT);
    if accepts.is_some_and(|accepts| accepts.as_bytes() == JSON_LINES.as_bytes()) {
        let lines = events
            .iter()
            .filter_map(|event| serde_json::to_string(event).ok());
        return Ok(Answer::json_lines(lines));
    }
    Answer::json(&EventList { events, next })
}

/// A cursor over the journal: a client that is slow, or gone, costs nothing.
pub(crate) async fn stream(call: Call) -> Result<Answer, Problem> {
    let id = id_of(&call)?;
    let known = stored(&call.state, &id).await?;
    let behind = match call.headers.get("last-event-id") {
        None => None,
        Some(last) => {
            let last = last.to_str().ok().and_then(|last| last.parse::<u64>().ok());
            let last = last
                .ok_or_else(|| Problem::bad_request("`Last-Event-ID` is the number of an event"))?;
            Some(last.saturating_add(1))
        }
    };
    let since = match behind {
        Some(behind) => behind,
        None => call.number("since", 0, MOST_EVENTS)?,
    };
    if !known.runs() {
        let (state, asked) = (Arc::clone(&call.state), id.clone());
        let left = blocking(move || state.store.events(&asked, since)).await??;
        if left.is_empty() {
            // Nothing will follow: a client must not come again.
            return Ok(Answer::empty());
        }
    }
    let place = call.state.place()?;
    let running = call.state.engine.operation(&id);
    let moved = running.as_ref().map(Moved::of);
    let source = Source::Operation(call.state.engine.events(&id, since), moved);
    Ok(Answer::stream(source, place))
}
