//! An installer of one's own: `cargo run --package etcdup-deploy --example installer -- etcdup.toml`

use etcdup_core::{event::Event, finding::Verdict, stage::Goal};
use etcdup_deploy::{Session, Settings};
use tokio::sync::mpsc::unbounded_channel;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::args().nth(1).unwrap_or("etcdup.toml".to_owned());
    let (events, mut happening) = unbounded_channel::<Event>();
    tokio::spawn(async move {
        while let Some(event) = happening.recv().await {
            println!("{:?}", event.body);
        }
    });
    let settings = Settings {
        events: Some(events),
        ..Settings::default()
    };
    let session = Session::open(file.as_ref(), &[], settings).await?;

    // What is to come, and why; nothing has changed yet.
    let plan = session
        .plan(Goal::Converge {
            allow_outage: false,
        })
        .await?;
    for stage in &plan.forecast.stages {
        println!("{}: {}", stage.title, stage.why.join("; "));
    }

    session.execute(&plan, "install").await?;
    let verdicts = session.verify().await?;
    session.close().await;
    if verdicts.worst() == Verdict::Error {
        return Err("the cluster is not well".into());
    }
    Ok(())
}
