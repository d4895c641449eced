//! An installer of one's own: shows the plan, carries it out, proves the outcome.
//!
//! `cargo run --package etcdup-deploy --example installer -- etcdup.toml`

use std::error::Error;
use std::path::PathBuf;

use etcdup_core::event::Event;
use etcdup_core::finding::Verdict;
use etcdup_core::stage::Goal;
use etcdup_deploy::{Session, Settings};
use tokio::sync::mpsc::unbounded_channel;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let file = PathBuf::from(
        std::env::args()
            .nth(1)
            .unwrap_or_else(|| "etcdup.toml".to_owned()),
    );
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
    let session = Session::open(&file, &[], settings).await?;
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
        Err("the cluster is not well".into())
    } else {
        Ok(())
    }
}
