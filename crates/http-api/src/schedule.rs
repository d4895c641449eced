//! The schedule of snapshots: for every topology that says how often, one is taken when it is due.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use etcdup_core::plain::chain;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::blocking::blocking;
use crate::call::State;
use crate::open::open;

/// How often it is looked for what is due; the least that a file can ask for is a minute.
const LOOKS: Duration = Duration::from_secs(20);

/// How long a cluster is left alone of which none could be taken.
const AGAIN: Duration = Duration::from_secs(300);

/// How many are taken at once: each reads a whole store, and one whose disk hangs waits for it.
const AT_ONCE: usize = 4;

/// In whose name they are taken.
const WHO: &str = "etcdup-serve";

/// Takes what is due until the server stops. Each cluster is looked at by itself: what holds one up
/// holds up no other.
pub(crate) async fn keep_snapshots(state: Arc<State>) {
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let mut failed: BTreeMap<String, Instant> = BTreeMap::new();
    let mut busy: BTreeSet<String> = BTreeSet::new();
    // With this one they end as well: what was half taken leaves nothing.
    let mut work: JoinSet<(String, bool)> = JoinSet::new();
    forget_copies(&state).await;
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOKS) => {}
            () = state.stopping.cancelled() => return,
        }
        while let Some(ended) = work.try_join_next() {
            // One that died stays busy: its reason would come again.
            let Ok((name, well)) = ended else { continue };
            busy.remove(&name);
            if !well {
                failed.insert(name, Instant::now());
            }
        }
        failed.retain(|_, at| at.elapsed() < AGAIN);
        for name in names(&state).await {
            if !failed.contains_key(&name) && busy.insert(name.clone()) {
                let (state, turns) = (Arc::clone(&state), Arc::clone(&turns));
                work.spawn(async move {
                    let well = keep_one(&state, &turns, &name).await;
                    (name, well)
                });
            }
        }
    }
}

async fn names(state: &Arc<State>) -> Vec<String> {
    let listing = Arc::clone(state);
    let listed = blocking(move || listing.topologies.list()).await;
    let listed = listed.ok().and_then(Result::ok).unwrap_or_default();
    listed.into_iter().map(|(name, _)| name).collect()
}

/// What a server left that was killed.
async fn forget_copies(state: &Arc<State>) {
    for name in names(state).await {
        if let Ok(cluster) = open(state, &name).await {
            cluster.forget_old_copies().await;
        }
    }
}

/// Takes one of a cluster if it is due; whether nothing went wrong.
async fn keep_one(state: &Arc<State>, turns: &Semaphore, name: &str) -> bool {
    // A file that cannot be used is shown with the cluster.
    let Ok(cluster) = open(state, name).await else {
        return true;
    };
    if cluster.document().spec.snapshots.every.is_none() {
        return true;
    }
    let Ok(_turn) = turns.acquire().await else {
        return true;
    };
    match cluster.keep_snapshots(state.operator.beside(WHO)).await {
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
            return false;
        }
    }
    true
}
