//! The schedule of snapshots: for every topology that says how often, one is taken when it is due.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use etcdup_core::plain::chain;
use tokio::sync::Semaphore;
use tokio::task::{Id, JoinSet};
use tokio::time::Instant;

use crate::blocking::blocking;
use crate::call::State;
use crate::open::open;

/// How often it is looked for what is due; the least that a file can ask for is a minute.
const LOOKS: Duration = Duration::from_secs(20);

/// How long a cluster is left alone of which none could be taken.
const AGAIN: Duration = Duration::from_secs(300);

/// How often copies are looked for that a process left which was killed.
const SWEEPS: Duration = Duration::from_secs(3600);

/// How many are taken at once: each reads a whole store, and one whose disk hangs waits for it.
const AT_ONCE: usize = 4;

/// In whose name they are taken.
const WHO: &str = "etcdup-serve";

/// Takes what is due until the server stops. Each cluster is looked at by itself: what holds one up
/// holds up no other.
pub(crate) async fn keep_snapshots(state: Arc<State>) {
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let mut failed: BTreeMap<String, Instant> = BTreeMap::new();
    let mut swept: BTreeMap<String, Instant> = BTreeMap::new();
    let mut busy: BTreeMap<Id, String> = BTreeMap::new();
    // With this one they end as well: what was half taken leaves nothing.
    let mut work: JoinSet<bool> = JoinSet::new();
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOKS) => {}
            () = state.stopping.cancelled() => return,
        }
        while let Some(ended) = work.try_join_next_with_id() {
            let (id, well) = match ended {
                Ok((id, well)) => (id, well),
                Err(died) => {
                    tracing::error!(why = %died, "a scheduled snapshot died");
                    (died.id(), false)
                }
            };
            if let (Some(name), false) = (busy.remove(&id), well) {
                failed.insert(name, Instant::now());
            }
        }
        failed.retain(|_, at| at.elapsed() < AGAIN);
        swept.retain(|_, at| at.elapsed() < SWEEPS);
        for name in names(&state).await {
            if failed.contains_key(&name) || busy.values().any(|other| *other == name) {
                continue;
            }
            let sweeps = !swept.contains_key(&name);
            swept.entry(name.clone()).or_insert_with(Instant::now);
            let (state, turns, own) = (Arc::clone(&state), Arc::clone(&turns), name.clone());
            let work = work.spawn(async move { keep_one(&state, &turns, &own, sweeps).await });
            busy.insert(work.id(), name);
        }
    }
}

async fn names(state: &Arc<State>) -> Vec<String> {
    let listing = Arc::clone(state);
    let listed = blocking(move || listing.topologies.list()).await;
    let listed = listed.ok().and_then(Result::ok).unwrap_or_default();
    listed.into_iter().map(|(name, _)| name).collect()
}

/// Takes one of a cluster if it is due; whether nothing went wrong.
async fn keep_one(state: &Arc<State>, turns: &Semaphore, name: &str, sweeps: bool) -> bool {
    // A file that cannot be used is shown with the cluster.
    let Ok(cluster) = open(state, name).await else {
        return true;
    };
    if sweeps && let Err(error) = cluster.forget_old_copies().await {
        let error = chain(&error);
        tracing::error!(cluster = name, error, "old copies of snapshots are left");
    }
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
