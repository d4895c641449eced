//! The handlers: thin calls of the library.

use std::path::PathBuf;

use etcdup_core::name::ClusterName;
use etcdup_core::plain::chain;
use etcdup_core::stage::Goal;
use etcdup_deploy::{Cluster, PlanDocument, StatusDocument, VerifyDocument, read_topology};
use http::StatusCode;
use serde_json::{Value, json};

use crate::call::Call;
use crate::problem::Problem;

pub(crate) async fn health(_: Call) -> Result<Value, Problem> {
    Ok(json!({ "format": "etcdup/health/1", "status": "ok", "version": env!("CARGO_PKG_VERSION") }))
}

pub(crate) async fn clusters(call: Call) -> Result<Value, Problem> {
    let listed = tokio::task::spawn_blocking(move || {
        let mut clusters = Vec::new();
        for (name, path) in topology_files(&call)? {
            clusters.push(match read_topology(&path, &[]) {
                Ok(document) => json!({
                    "name": name,
                    "file": path,
                    "cluster": document.spec.cluster,
                    "etcd": document.spec.etcd,
                    "members": document.spec.member.len(),
                }),
                Err(error) => json!({ "name": name, "file": path, "error": chain(&error) }),
            });
        }
        Ok(json!({ "format": "etcdup/clusters/1", "clusters": clusters }))
    });
    ended(listed.await)
}

pub(crate) async fn plan(call: Call) -> Result<Value, Problem> {
    let goal = Goal::Converge {
        allow_outage: false,
    };
    let plan = open(call).await?.plan(goal).await?;
    Ok(json!(PlanDocument::new(&plan)))
}

pub(crate) async fn status(call: Call) -> Result<Value, Problem> {
    let (planner, seen) = open(call).await?.observe().await?;
    Ok(json!(StatusDocument::new(&planner, &seen)))
}

pub(crate) async fn verify(call: Call) -> Result<Value, Problem> {
    let report = open(call).await?.verify().await?;
    Ok(json!(VerifyDocument::new(&report)))
}

/// What became of work that may block.
fn ended<T>(joined: Result<Result<T, Problem>, tokio::task::JoinError>) -> Result<T, Problem> {
    joined.unwrap_or_else(|error| {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Err(Problem::new(status, "internal", chain(&error)))
    })
}

fn topology_files(call: &Call) -> Result<Vec<(String, PathBuf)>, Problem> {
    let directory = call.directory.as_path();
    let failed = |error: std::io::Error| {
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "directory",
            format!("{}: {error}", directory.display()),
        )
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let known = path
            .extension()
            .and_then(|ending| ending.to_str())
            .is_some_and(|ending| ["toml", "yaml", "yml", "json"].contains(&ending));
        let stem = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .map(str::to_owned);
        if let (true, Some(stem)) = (known, stem) {
            files.push((stem, path));
        }
    }
    files.sort();
    Ok(files)
}

async fn open(call: Call) -> Result<Cluster, Problem> {
    ended(tokio::task::spawn_blocking(move || find(&call)).await)
}

fn find(call: &Call) -> Result<Cluster, Problem> {
    // A cluster's name is a file's name: checked by type, it cannot lead out of the directory.
    let unknown = || {
        Problem::new(
            StatusCode::NOT_FOUND,
            "no-such-cluster",
            format!("there is no cluster `{}`", call.cluster),
        )
    };
    call.cluster.parse::<ClusterName>().map_err(|_| unknown())?;
    let mut named = topology_files(call)?
        .into_iter()
        .filter(|(name, _)| *name == call.cluster)
        .map(|(_, path)| path);
    let path = named.next().ok_or_else(unknown)?;
    if let Some(other) = named.next() {
        let both = format!("{} and {} have one name", path.display(), other.display());
        return Err(Problem::new(StatusCode::CONFLICT, "ambiguous-name", both));
    }
    Ok(call.engine.cluster(read_topology(&path, &[])?, &path)?)
}
