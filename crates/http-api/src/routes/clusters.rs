//! Clusters: the topology files of the directory, and how what they describe stands.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use etcdup_core::digest::sha256;
use etcdup_core::name::ClusterName;
use etcdup_core::operation::OperationRecord;
use etcdup_core::plain::chain;
use etcdup_deploy::{Cluster, DeployError, StatusDocument, VerifyDocument, read_topology};
use http::{StatusCode, header};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::call::{Answer, Call, Content, State};
use crate::problem::{BAD_REQUEST, Problem};
use crate::routes::people::blocking;

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

pub(crate) async fn list(call: Call) -> Result<Answer, Problem> {
    let state = call.state;
    let clusters = blocking(move || {
        let files = topology_files(&state.directory)?;
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
        let path = file_of(&state.directory, &name)?;
        Ok::<_, Problem>(entry(name, &path))
    });
    Answer::json(&found.await??)
}

/// The file as it is written, with a tag over its content: who edits it by hand changes the tag.
pub(crate) async fn topology(call: Call) -> Result<Answer, Problem> {
    let (state, name) = (call.state.clone(), call.part("cluster").to_owned());
    let read = blocking(move || {
        let path = file_of(&state.directory, &name)?;
        std::fs::read_to_string(&path)
            .map_err(|source| Problem::from(DeployError::File { path, source }))
    });
    let text = read.await??;
    let tag = format!("\"{}\"", sha256(text.as_bytes()));
    let answer = Answer {
        status: StatusCode::OK,
        headers: Vec::new(),
        content: Content::Text("text/plain; charset=utf-8", text),
    };
    Ok(answer.header(header::ETAG, &tag))
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
        let path = file_of(&state.directory, &name)?;
        Ok(state.engine.cluster(read_topology(&path, &[])?, &path)?)
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
        for (_, path) in topology_files(&state.directory)? {
            let Ok(document) = read_topology(&path, &[]) else {
                continue;
            };
            let same = Some(sha256(document.text.as_bytes())) == record.topology;
            if same && document.spec.cluster == record.cluster {
                return Ok(state.engine.cluster(document, &path)?);
            }
        }
        let name = &record.cluster;
        Err(Problem::not_found(format!(
            "no file of cluster `{name}` is as it was when the operation was begun"
        )))
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

fn topology_files(directory: &Path) -> Result<Vec<(String, PathBuf)>, Problem> {
    let failed = |error: std::io::Error| {
        Problem::internal(format!(
            "the directory of topologies cannot be read: {error}"
        ))
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let known = path
            .extension()
            .and_then(|ending| ending.to_str())
            .is_some_and(|ending| ["toml", "yaml", "yml", "json"].contains(&ending));
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        // What is no cluster's name is no topology: plans and notes lie beside them.
        let name = stem.filter(|stem| stem.parse::<ClusterName>().is_ok());
        if let (true, Some(name)) = (known, name) {
            files.push((name.to_owned(), path.clone()));
        }
    }
    files.sort();
    Ok(files)
}

fn file_of(directory: &Path, name: &str) -> Result<PathBuf, Problem> {
    // A cluster's name is a file's name: checked by type, it cannot lead out of the directory.
    let unknown = || Problem::not_found(format!("there is no cluster `{name}`"));
    name.parse::<ClusterName>().map_err(|_| unknown())?;
    let files = topology_files(directory)?;
    let mut named = files.into_iter().filter(|(other, _)| other == name);
    let (_, path) = named.next().ok_or_else(unknown)?;
    if named.next().is_some() {
        let why = format!("two files of this directory are called `{name}`");
        return Err(Problem::new(StatusCode::CONFLICT, &BAD_REQUEST, why));
    }
    Ok(path)
}
