//! The handlers: thin calls of the library.

use std::path::PathBuf;

use etcdup_core::name::ClusterName;
use etcdup_core::stage::Goal;
use etcdup_deploy::{Session, plan_document, status_document, verify_document};
use http::StatusCode;
use serde_json::{Value, json};

use crate::call::Call;
use crate::problem::Problem;

pub(crate) async fn health(_: Call) -> Result<Value, Problem> {
    Ok(json!({ "format": "etcdup/health/1", "status": "ok", "version": env!("CARGO_PKG_VERSION") }))
}

pub(crate) async fn clusters(call: Call) -> Result<Value, Problem> {
    let mut clusters = Vec::new();
    for (name, path) in topology_files(&call)? {
        clusters.push(match Session::read(&path, &[]) {
            Ok(document) => json!({
                "name": name, "file": path, "cluster": document.spec.cluster, "etcd": document.spec.etcd, "members": document.spec.member.len(),
            }),
            Err(error) => json!({ "name": name, "file": path, "error": error.to_string() }),
        });
    }
    Ok(json!({ "format": "etcdup/clusters/1", "clusters": clusters }))
}

pub(crate) async fn plan(call: Call) -> Result<Value, Problem> {
    let session = open(&call).await?;
    let plan = session
        .plan(Goal::Converge {
            allow_outage: false,
        })
        .await;
    session.close().await;
    Ok(plan_document(&plan?))
}

pub(crate) async fn status(call: Call) -> Result<Value, Problem> {
    let session = open(&call).await?;
    let observed = session
        .observe(Goal::Converge {
            allow_outage: false,
        })
        .await;
    session.close().await;
    let (planner, seen) = observed?;
    Ok(status_document(&planner, &seen))
}

pub(crate) async fn verify(call: Call) -> Result<Value, Problem> {
    let session = open(&call).await?;
    let verdicts = session.verify().await;
    session.close().await;
    Ok(verify_document(&verdicts?))
}

fn topology_files(call: &Call) -> Result<Vec<(String, PathBuf)>, Problem> {
    let directory = &call.options.directory;
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

async fn open(call: &Call) -> Result<Session, Problem> {
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
    Ok(Session::open(&path, &[], call.options.settings.clone()).await?)
}
