//! The schedule of snapshots: for every topology that says how often, one is taken when it is due.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use etcdup_core::operation::Who;
use etcdup_core::plain::chain;
use tokio::time::Instant;

use crate::blocking::blocking;
use crate::call::State;
use crate::open::open;

/// How often it is looked for what is due; the least that a file can ask for is a minute.
const LOOKS: Duration = Duration::from_secs(20);

/// How long a cluster is left alone of which none could be taken.
const AGAIN: Duration = Duration::from_secs(300);

/// In whose name they are taken.
const WHO: &str = "etcdup-serve";

/// Takes what is due until the server stops.
pub(crate) async fn keep_snapshots(state: Arc<State>) {
    let mut failed: BTreeMap<String, Instant> = BTreeMap::new();
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOKS) => {}
            () = state.stopping.cancelled() => return,
        }
        failed.retain(|_, at| at.elapsed() < AGAIN);
        let listing = Arc::clone(&state);
        let names = blocking(move || listing.topologies.list()).await;
        let Ok(Ok(names)) = names else { continue };
        for (name, _) in names {
            if failed.contains_key(&name) {
                continue;
            }
            // A file that cannot be used is shown with the cluster.
            let Ok(cluster) = open(&state, &name).await else {
                continue;
            };
            // With what clients ask for there are a few at a time.
            let keeping = async {
                match state.copy().await {
                    Ok(_turn) => Some(cluster.keep_snapshots(Who::new(WHO)).await),
                    Err(_) => None,
                }
            };
            let kept = tokio::select! {
                kept = keeping => kept,
                // What was half taken leaves nothing.
                () = state.stopping.cancelled() => return,
            };
            let Some(kept) = kept else {
                tracing::warn!(
                    cluster = name,
                    "too many snapshots are read to take one now"
                );
                continue;
            };
            match kept {
                Ok(None) => {}
                Ok(Some(kept)) => {
                    tracing::info!(
                        cluster = name,
                        snapshot = kept.taken.name,
                        deleted = kept.deleted.len(),
                        "took a snapshot that was due"
                    );
                    if let Some(why) = kept.undeleted {
                        tracing::error!(cluster = name, why, "older snapshots are not deleted");
                    }
                }
                Err(error) => {
                    let why = chain(&error);
                    tracing::error!(cluster = name, why, "no snapshot could be taken");
                    failed.insert(name, Instant::now());
                }
            }
        }
    }
}
