//! A topology for a cluster that runs, whoever made it.

use std::sync::Arc;

use etcdup_core::adopt::{AdoptFilter, OperatorFiles, adopt as write_topology};
use etcdup_core::file::Document;
use etcdup_core::name::ClusterName;
use etcdup_core::plain::chain;
use etcdup_core::version::SUGGESTED;
use etcdup_deploy::{DeployError, read_sources};
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::blocking::blocking;
use crate::call::{Answer, Call};
use crate::problem::{NOT_ADOPTABLE, PlacedFinding, Problem};
use crate::topologies::refuse;

/// Hosts on which a cluster runs.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AdoptRequest {
    /// What it is to be called.
    pub cluster: ClusterName,
    /// Its hosts, each as `user@host:port`; only such as `sources.toml` lists.
    pub targets: Vec<String>,
    /// How they are reached, as `ssh` in a topology.
    #[serde(default)]
    pub ssh: Option<Value>,
    /// Only the etcds on this data directory.
    #[serde(default)]
    pub data: Option<String>,
    /// The CA of the cluster, as `source:NAME`.
    #[serde(default)]
    pub ca: Option<String>,
    /// A client certificate of the cluster, as `source:NAME`.
    #[serde(default)]
    pub cert: Option<String>,
    /// Its key, as `source:NAME`.
    #[serde(default)]
    pub key: Option<String>,
}

/// A topology of a cluster that runs.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Adopted {
    /// The topology. It was not written: a `PUT` does that.
    pub topology: String,
    /// What is to be said about it.
    pub findings: Vec<PlacedFinding>,
}

pub(crate) async fn adopt(call: Call) -> Result<Answer, Problem> {
    let request: AdoptRequest = call.json()?;
    let members: Vec<Value> = request
        .targets
        .iter()
        .map(|target| json!({ "host": target }))
        .collect();
    let mut topology = json!({
        "format": 1,
        "cluster": request.cluster,
        "etcd": SUGGESTED,
        "member": members,
    });
    if let Some(ssh) = &request.ssh {
        topology["ssh"] = ssh.clone();
    }
    let state = Arc::clone(&call.state);
    // A JSON text is read as a topology by its name.
    let (name, text) = ("adopt.json".to_owned(), topology.to_string());
    let opened = blocking(move || {
        let mut document = Document::parse(&name, &text, &[])
            .map_err(|error| DeployError::Parse { name, text, error })?;
        let directory = state.topologies.directory();
        let sources = read_sources(directory)?;
        refuse(
            sources
                .forbidden(&document.spec)
                .into_iter()
                .map(Into::into)
                .collect(),
        )?;
        let ssh = document.spec.ssh.clone();
        let filled = sources.fill_in(&mut document.spec);
        filled.map_err(DeployError::Blocked)?;
        let path = directory.join("adopt.json");
        Ok::<_, Problem>((state.engine.cluster(document, &path)?, ssh))
    });
    let (cluster, ssh) = opened.await??;
    let turn = call.state.turn().await?;
    let found = cluster.session().await.instances().await?;
    drop(turn);
    let refused = |why: String| Problem::new(StatusCode::CONFLICT, &NOT_ADOPTABLE, why);
    for target in &request.targets {
        if !found.iter().any(|one| one.target == *target) {
            return Err(refused(format!("no etcd runs on {target}")));
        }
    }
    let select = AdoptFilter { data: request.data };
    let operator = OperatorFiles {
        ca: request.ca,
        cert: request.cert,
        key: request.key,
    };
    let name = request.cluster.to_string();
    let topology = write_topology(&name, &found, &select, &ssh, &operator);
    let topology = topology.map_err(|error| refused(chain(&error)))?;
    let (state, text) = (Arc::clone(&call.state), topology.clone());
    let findings = blocking(move || state.topologies.check(&name, &text)).await??;
    Answer::json(&Adopted { topology, findings })
}
