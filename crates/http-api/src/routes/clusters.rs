//! Clusters: the topology files of the directory, and how what they describe stands.

use std::sync::Arc;
use std::time::Duration;

use etcdup_core::plain::chain;
use etcdup_deploy::{
    CertificatesDocument, Cluster, DeployError, HostsDocument, StatusDocument, VerifyDocument,
};
use http::{StatusCode, header};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::blocking::blocking;
use crate::call::{Answer, Call, Content};
use crate::keep::read_files;
use crate::open::open;
use crate::problem::{PlacedFinding, Problem, STALE};
use crate::stream::{ClusterCursor, Source};
use crate::topologies::{Condition, tag_of};
use crate::watch::ClusterEntry;
use crate::watch::seen::Seen;
use crate::watch::series::Point;

/// The clusters.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct ClusterList {
    /// Each, the worst first.
    pub clusters: Vec<ClusterEntry>,
}

/// What was found about a topology.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct CheckAnswer {
    /// Each with its place; none where nothing is to say.
    pub findings: Vec<PlacedFinding>,
}

/// What members answered in the last hour.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct SeriesDocument {
    /// The oldest first.
    pub points: Vec<Point>,
}

pub(crate) async fn list(call: Call) -> Result<Answer, Problem> {
    read_files(&call.state).await?;
    let clusters = call.state.watches.list();
    Answer::json(&ClusterList { clusters })
}

pub(crate) async fn one(call: Call) -> Result<Answer, Problem> {
    Answer::json(&entry(&call).await?)
}

pub(crate) async fn series(call: Call) -> Result<Answer, Problem> {
    entry(&call).await?;
    let points = call.state.watches.series(call.part("cluster"));
    let points = points.unwrap_or_default();
    Answer::json(&SeriesDocument { points })
}

/// Every cluster as it is, then each as it changes.
pub(crate) async fn stream(call: Call) -> Result<Answer, Problem> {
    let place = call.state.place()?;
    let last = call.headers.get("last-event-id");
    let last = last.and_then(|last| last.to_str().ok());
    let source = Source::Clusters(ClusterCursor::behind(&call.state.watches, last));
    Ok(Answer::stream(source, place))
}

/// What is known of the cluster that a request names.
async fn entry(call: &Call) -> Result<ClusterEntry, Problem> {
    let (state, name) = (call.state.clone(), call.part("cluster").to_owned());
    let known = name.clone();
    // Of two files with one name neither is meant.
    blocking(move || state.topologies.path(&known)).await??;
    if let Some(entry) = call.state.watches.entry(&name) {
        return Ok(entry);
    }
    read_files(&call.state).await?;
    let entry = call.state.watches.entry(&name);
    entry.ok_or_else(|| Problem::not_found(format!("there is no cluster `{name}`")))
}

pub(crate) async fn topology(call: Call) -> Result<Answer, Problem> {
    let (state, name) = (call.state.clone(), call.part("cluster").to_owned());
    let text = blocking(move || state.topologies.text(&name)).await??;
    let tag = tag_of(&text);
    let answer = Answer::of(
        StatusCode::OK,
        Content::Text("text/plain; charset=utf-8", text),
    );
    Ok(answer.header(header::ETAG, &tag))
}

pub(crate) async fn put_topology(call: Call) -> Result<Answer, Problem> {
    let (text, condition) = (text_of(&call)?, condition_of(&call)?);
    let (state, name) = (call.state.clone(), call.part("cluster").to_owned());
    let put = blocking(move || state.topologies.put(&name, &text, condition.as_ref()));
    let (new, tag) = put.await??;
    let status = if new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let answer = Answer::of(status, Content::Empty);
    Ok(answer.header(header::ETAG, &tag))
}

pub(crate) async fn delete_topology(call: Call) -> Result<Answer, Problem> {
    let condition = condition_of(&call)?;
    let (state, name) = (call.state.clone(), call.part("cluster").to_owned());
    blocking(move || state.topologies.delete(&name, condition.as_ref())).await??;
    Ok(Answer::empty())
}

pub(crate) async fn check(call: Call) -> Result<Answer, Problem> {
    let text = text_of(&call)?;
    let (state, name) = (call.state.clone(), call.part("cluster").to_owned());
    let findings = blocking(move || state.topologies.check(&name, &text)).await??;
    Answer::json(&CheckAnswer { findings })
}

fn text_of(call: &Call) -> Result<String, Problem> {
    let text = std::str::from_utf8(&call.body);
    let text = text.map_err(|_| Problem::bad_request("the topology is no UTF-8 text"))?;
    Ok(text.to_owned())
}

/// What a change is made on the condition of.
fn condition_of(call: &Call) -> Result<Option<Condition>, Problem> {
    let value = |name: header::HeaderName| {
        let value = call.headers.get(name)?;
        Some(value.to_str().unwrap_or_default().trim())
    };
    match (value(header::IF_MATCH), value(header::IF_NONE_MATCH)) {
        (_, Some(other)) if other != "*" => {
            Err(Problem::bad_request("`If-None-Match` may only be `*`"))
        }
        (None, None) => Ok(None),
        (Some(tag), None) => Ok(Some(Condition::Tag(tag.to_owned()))),
        (None, Some(_)) => Ok(Some(Condition::Absent)),
        (Some(_), Some(_)) => {
            // No state of the file meets both.
            let why = "`If-Match` and `If-None-Match` cannot hold at once";
            let status = StatusCode::PRECONDITION_FAILED;
            Err(Problem::new(status, &STALE, why))
        }
    }
}

pub(crate) async fn members(call: Call) -> Result<Answer, Problem> {
    let kept = |seen: &Seen| (Arc::clone(&seen.status), seen.members_at);
    kept_or(&call, "members", kept, |cluster| async move {
        let (planner, seen) = cluster.observe().await?;
        Ok(StatusDocument::new(&planner, &seen))
    })
    .await
}

pub(crate) async fn certificates(call: Call) -> Result<Answer, Problem> {
    let kept = |seen: &Seen| (Arc::clone(&seen.certificates), seen.hosts_at);
    kept_or(&call, "certificates", kept, |cluster| async move {
        let (planner, seen) = cluster.observe().await?;
        Ok(CertificatesDocument::new(&planner, &seen))
    })
    .await
}

pub(crate) async fn hosts(call: Call) -> Result<Answer, Problem> {
    let kept = |seen: &Seen| (Arc::clone(&seen.hosts), seen.hosts_at);
    kept_or(&call, "hosts", kept, |cluster| async move {
        let (planner, seen) = cluster.observe().await?;
        Ok(HostsDocument::new(&planner, &seen))
    })
    .await
}

/// What an apply would do, as far as a look shows: a plan that can be approved is made by a `POST`.
pub(crate) async fn drift(call: Call) -> Result<Answer, Problem> {
    let kept = |seen: &Seen| (Arc::clone(&seen.drift), seen.hosts_at);
    kept_or(&call, "drift", kept, |cluster| async move {
        Ok(cluster.look().await?.plan())
    })
    .await
}

/// What was done to the cluster, as its hosts and the journal here have it.
pub(crate) async fn history(call: Call) -> Result<Answer, Problem> {
    looked(&call, "history", |cluster| async move {
        cluster.session().await.history().await
    })
    .await
}

/// What was seen a moment ago, with its age; else what a look at the hosts shows.
async fn kept_or<T, F>(
    call: &Call,
    what: &str,
    of_seen: impl FnOnce(&Seen) -> (Arc<T>, Timestamp),
    look: impl FnOnce(Cluster) -> F,
) -> Result<Answer, Problem>
where
    T: Serialize,
    F: Future<Output = Result<T, DeployError>>,
{
    match kept(call).await {
        Some(seen) => {
            let (document, at) = of_seen(&seen);
            Ok(Answer::json(&*document)?.aged(age_of(at)))
        }
        None => looked(call, what, look).await,
    }
}

/// What was seen of the cluster a moment ago, unless the client asks for a new look, or an
/// operation ended since.
async fn kept(call: &Call) -> Option<Seen> {
    let (state, name) = (call.state.clone(), call.part("cluster"));
    let now = call.headers.get(header::CACHE_CONTROL);
    if now.is_some_and(|value| value.as_bytes() == b"no-cache") {
        // Others, and the list, see what this look sees.
        state.watches.look_soon(name);
        return None;
    }
    let (seen, last) = state.watches.seen(name)?;
    let Some(last) = last else {
        return Some(seen);
    };
    let stored = blocking(move || state.store.get(&last)).await.ok()?;
    let ended = stored.ok()?.record.ended?;
    (ended < seen.hosts_at).then_some(seen)
}

fn age_of(at: Timestamp) -> Duration {
    // A clock that was set back makes nothing come from the future.
    Timestamp::now()
        .duration_since(at)
        .try_into()
        .unwrap_or_default()
}

pub(crate) async fn checks(call: Call) -> Result<Answer, Problem> {
    looked(&call, "checks", |cluster| async move {
        Ok(VerifyDocument::new(&cluster.verify().await?))
    })
    .await
}

/// An answer for which hosts are asked: one that is fresh is given again.
async fn looked<T, F>(
    call: &Call,
    what: &str,
    look: impl FnOnce(Cluster) -> F,
) -> Result<Answer, Problem>
where
    T: Serialize,
    F: Future<Output = Result<T, DeployError>>,
{
    let name = call.part("cluster").to_owned();
    let key = format!("{name}/{what}");
    let ask = async {
        let cluster = open(&call.state, &name).await?;
        let _turn = call.state.look().await?;
        let document = look(cluster).await?;
        serde_json::to_value(document).map_err(|error| Problem::internal(chain(&error)))
    };
    let (value, age): (Value, _) = call.state.recent.get(&key, ask).await?;
    Ok(Answer::json(&value)?.aged(age))
}
