//! Looks at many clusters from one process: `fleet A.toml B.toml ...` plans them all at once,
//! twice, and prints how long each took.
//!
//! The first round connects to every host, the second goes over the same connections. Each line is
//! `ROUND CLUSTER MILLISECONDS STAGES`; the last of a round has `all` for the cluster.

use std::path::{Path, PathBuf};
use std::time::Instant;

use etcdup_core::stage::Goal;
use etcdup_deploy::{Engine, Settings, Store, read_topology};
use futures_util::future::join_all;

#[tokio::main]
#[allow(clippy::disallowed_methods, reason = "an example measures")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files: Vec<PathBuf> = std::env::args().skip(1).map(PathBuf::from).collect();
    let directory = files.first().and_then(|file| file.parent());
    let store = Store::beside(directory.unwrap_or(Path::new(".")));
    let engine = Engine::new(Settings::default().unattended(), store);
    let mut clusters = Vec::new();
    for file in &files {
        clusters.push(engine.cluster(read_topology(file, &[])?, file)?);
    }
    for round in 1..=2 {
        let start = Instant::now();
        let plans = clusters.iter().map(|cluster| async move {
            let plan = cluster.plan(Goal::CONVERGE).await;
            (cluster, plan, start.elapsed())
        });
        for (cluster, plan, took) in join_all(plans).await {
            let (name, took) = (&cluster.document().spec.cluster, took.as_millis());
            println!("{round} {name} {took} {}", plan?.forecast.stages.len());
        }
        println!("{round} all {} 0", start.elapsed().as_millis());
    }
    Ok(())
}
