//! An installer of one's own: `cargo run --package etcdup-deploy --example installer --
//! etcdup.toml`

use std::path::{Path, PathBuf};
use std::time::Duration;

use etcdup_core::finding::Verdict;
use etcdup_core::operation::Verb;
use etcdup_core::stage::Goal;
use etcdup_deploy::{Begin, Engine, Settings, Store, read_topology};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = PathBuf::from(std::env::args().nth(1).unwrap_or("etcdup.toml".to_owned()));
    let settings = Settings::default();
    let who = settings.operator.clone();
    let store = Store::beside(file.parent().unwrap_or(Path::new(".")));
    let engine = Engine::new(settings, store);
    let cluster = engine.cluster(read_topology(&file, &[])?, &file)?;

    // What is to come, and why; nothing has changed yet.
    let plan = cluster.plan(Goal::CONVERGE).await?;
    for stage in &plan.forecast.stages {
        println!("{}: {}", stage.title, stage.why.join("; "));
    }

    let begin = Begin {
        plan,
        approved: None,
        verb: Verb::Apply,
        who,
        token: None,
        request: None,
    };
    let operation = cluster.begin(begin).await?;
    let mut events = operation.events(0);
    while let Some(event) = events.next().await {
        println!("{:?}", event.body);
    }
    if let Err(error) = operation.ended().await.as_ref() {
        return Err(error.to_string().into());
    }
    let report = cluster.verify().await?;
    engine.close(Duration::from_secs(30)).await;
    if report.worst() == Verdict::Error {
        return Err("the cluster is unhealthy".into());
    }
    Ok(())
}
