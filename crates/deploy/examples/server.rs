//! What a server does with the library, without the HTTP: `server [crash|cancel] A.toml B.toml`.
//!
//! It plans two clusters at once, begins an operation on the first, reads its events from the
//! middle, and goes on with operations whose process died. `crash` ends it abruptly after the first
//! stage, `cancel` cancels the operation there; run it again to see the rest carried out.

use std::path::{Path, PathBuf};
use std::time::Duration;

use etcdup_core::event::Body;
use etcdup_core::operation::{Verb, Who};
use etcdup_core::stage::Goal;
use etcdup_deploy::{
    Begin, Cluster, Engine, Operation, PlanDocument, Settings, Store, chain, read_topology,
};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> Outcome<()> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let mode = arguments.first().cloned().unwrap_or_default();
    if ["crash", "cancel"].contains(&mode.as_str()) {
        arguments.remove(0);
    }
    let files: Vec<PathBuf> = arguments.iter().map(PathBuf::from).collect();
    let directory = files.first().and_then(|file| file.parent());
    let store = Store::beside(directory.unwrap_or(Path::new(".")));
    let engine = Engine::new(Settings::default().unattended(), store);
    let mut clusters = Vec::new();
    for file in &files {
        clusters.push(engine.cluster(read_topology(file, &[])?, file)?);
    }
    let [first, second] = clusters.as_slice() else {
        return Err("name two topology files".into());
    };

    // What another process left unfinished, within what was approved for it.
    let mut resumed = None;
    for left in engine.unfinished().await? {
        println!("resuming {} of {}", left.record.id, left.record.cluster);
        let own = [first, second].into_iter();
        let mut own = own.filter(|c| c.document().spec.cluster == left.record.cluster);
        if let Some(cluster) = own.next() {
            resumed = Some(cluster.resume(&left.record.id).await?);
        }
    }
    let operation = match resumed {
        Some(operation) => operation,
        None => begin(first, second).await?,
    };
    follow(&operation, &mode).await;
    let id = operation.id().clone();
    let outcome = operation.ended().await;

    // Anyone who joins later reads the same events, from wherever they left off.
    let mut from_the_middle = engine.events(&id, 3);
    let mut read = 0;
    while from_the_middle.next().await.is_some() {
        read += 1;
    }
    println!("read again: {read} events from 3 on");
    match outcome.as_ref() {
        Ok(()) => println!("done"),
        Err(error) => println!("ended: {}", chain(error)),
    }
    engine.close(Duration::from_secs(30)).await;
    Ok(())
}

async fn begin(first: &Cluster, second: &Cluster) -> Outcome<Operation> {
    let goal = || Goal::CONVERGE;
    // Side by side, over the same connections where they share hosts.
    let (one, other) = tokio::join!(first.plan(goal()), second.plan(goal()));
    let (plan, other) = (one?, other?);
    println!(
        "planned: {} and {} stages",
        plan.forecast.stages.len(),
        other.forecast.stages.len()
    );
    println!("digest {}", PlanDocument::new(&plan).digest);
    let begin = Begin {
        plan,
        approved: None,
        verb: Verb::Apply,
        who: Who::new("token:dashboard"),
        token: None,
        request: None,
    };
    Ok(first.begin(begin).await?)
}

/// Prints events until the end, or until the first stage is done where something is to happen
/// there.
async fn follow(operation: &Operation, mode: &str) {
    let mut events = operation.events(0);
    while let Some(event) = events.next().await {
        println!("{} {:?}", event.seq, event.body);
        if matches!(event.body, Body::StageDone { .. }) {
            match mode {
                // As a killed process ends: nothing is given back, nothing is recorded.
                "crash" => std::process::exit(9),
                "cancel" => operation.cancel(),
                _ => {}
            }
        }
    }
}
