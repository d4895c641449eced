//! Clusters: the topology files of the directory, and how what they describe stands.

use std::path::Path;
use std::sync::Arc;

use etcdup_core::operation::OperationRecord;
use etcdup_core::plain::chain;
use etcdup_deploy::{Cluster, DeployError, StatusDocument, VerifyDocument, read_topology};
use http::{StatusCode, header};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::call::{Answer, Call, Content, State};
use crate::problem::{PlacedFinding, Problem};
use crate::routes::people::blocking;
use crate::topologies::{Condition, tag_of};

/// The clusters.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct ClusterList {
    /// Each, by name.
    pub clusters: Vec<ClusterEntry>,
}

/// A cluster, by its file.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct ClusterEntry {
    /// Its file's name without the ending: what it is called here.
    pub name: String,
    /// The etcd version that its file asks for; none where the file cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etcd: Option<String>,
    /// How many members its file has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub members: Option<usize>,
    /// Why the file cannot be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What was found about a topology.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct CheckAnswer {
    /// Each with its place; none where nothing is to say.
    pub findings: Vec<PlacedFinding>,
}

pub(crate) async fn list(call: Call) -> Result<Answer, Problem> {
    let state = call.state;
    let clusters = blocking(move || {
        let files = state.topologies.list()?;
        let entries = files.into_iter().map(|(name, path)| entry(name, &path));
        Ok::<_, Problem>(entries.collect())
    });
    Answer::json(&ClusterList {
        clusters: clusters.await??,
    })
}

pub(crate) async fn one(call: Call) -> Result<Answer, Problem> {
    let (state, name) = (call.state.clone(), call.part("cluster").to_owned());
    let found = blocking(move || {
        let path = state.topologies.path(&name)?;
        Ok::<_, Problem>(entry(name, &path))
    });
    Answer::json(&found.await??)
}

pub(crate) async fn topology(call: Call) -> Result<Answer, Problem> {
    let (state, name) = (call.state.clone(), call.part("cluster").to_owned());
    let text = blocking(move || state.topologies.text(&name)).await??;
    let tag = tag_of(&text);
    let answer = Answer {
        status: StatusCode::OK,
        headers: Vec::new(),
        content: Content::Text("text/plain; charset=utf-8", text),
    };
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
    let answer = Answer {
        status,
        headers: Vec::new(),
        content: Content::Empty,
    };
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
        (None, None) => Ok(None),
        (Some(tag), None) => Ok(Some(Condition::Tag(tag.to_owned()))),
        (None, Some("*")) => Ok(Some(Condition::Absent)),
        (None, Some(_)) => Err(Problem::bad_request("`If-None-Match` may only be `*`")),
        (Some(_), Some(_)) => {
            let why = "`If-Match` and `If-None-Match` say opposite things";
            Err(Problem::bad_request(why))
        }
    }
}

pub(crate) async fn members(call: Call) -> Result<Answer, Problem> {
    looked(&call, "members", |cluster| async move {
        let (planner, seen) = cluster.observe().await?;
        Ok(StatusDocument::new(&planner, &seen))
    })
    .await
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
        let _turn = call.state.turn().await?;
        let document = look(cluster).await?;
        serde_json::to_value(document).map_err(|error| Problem::internal(chain(&error)))
    };
    let (value, age): (Value, _) = call.state.recent.get(&key, ask).await?;
    Ok(Answer::json(&value)?.aged(age))
}

/// The cluster of this name.
pub(crate) async fn open(state: &Arc<State>, name: &str) -> Result<Cluster, Problem> {
    let (state, name) = (Arc::clone(state), name.to_owned());
    blocking(move || {
        let (document, path) = state.topologies.open(&name)?;
        Ok(state.engine.cluster(document, &path)?)
    })
    .await?
}

/// The cluster of a record, if its file is as it was when the operation was begun.
pub(crate) async fn open_recorded(
    state: &Arc<State>,
    record: &OperationRecord,
) -> Result<Cluster, Problem> {
    let (state, record) = (Arc::clone(state), record.clone());
    blocking(move || {
        let (document, path) = state.topologies.recorded(&record)?;
        Ok(state.engine.cluster(document, &path)?)
    })
    .await?
}

fn entry(name: String, path: &Path) -> ClusterEntry {
    let read = read_topology(path, &[]);
    // Its error names the file by its path, which viewers are not shown.
    let hidden = |error: &DeployError| {
        let shown = path.display().to_string();
        chain(error).replace(&shown, &name)
    };
    let (etcd, members, error) = match &read {
        Ok(document) => (
            Some(document.spec.etcd.to_string()),
            Some(document.spec.member.len()),
            None,
        ),
        Err(error) => (None, None, Some(hidden(error))),
    };
    ClusterEntry {
        name,
        etcd,
        members,
        error,
    }
}
