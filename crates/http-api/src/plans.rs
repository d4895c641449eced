//! Plans that were shown: an operation is begun by naming the digest of one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use etcdup_core::name::ClusterName;
use etcdup_core::stage::Goal;
use etcdup_deploy::PlanDocument;
use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;

/// How long a plan is kept for whoever reads it.
pub(crate) const KEPT: Duration = Duration::from_secs(3600);
/// How many are kept: beyond that the oldest goes.
const MOST: usize = 256;

/// The plans, by their digests.
#[derive(Default)]
pub(crate) struct Plans {
    kept: Mutex<HashMap<String, (Instant, Arc<PlanDocument>)>>,
    beginning: Mutex<HashMap<ClusterName, Arc<tokio::sync::Mutex<()>>>>,
}

impl Plans {
    pub(crate) fn keep(&self, plan: Arc<PlanDocument>) {
        let mut plans = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        plans.retain(|_, (made, _)| made.elapsed() < KEPT);
        if plans.len() >= MOST {
            let oldest = plans.iter().min_by_key(|(_, (made, _))| *made);
            if let Some(oldest) = oldest.map(|(digest, _)| digest.clone()) {
                plans.remove(&oldest);
            }
        }
        plans.insert(plan.digest.clone(), (Instant::now(), plan));
    }

    /// Held while an operation on this cluster is begun: what is asked for twice at once is begun
    /// once.
    pub(crate) async fn beginning(&self, cluster: &ClusterName) -> OwnedMutexGuard<()> {
        let lock = {
            let mut all = self
                .beginning
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            all.retain(|_, lock| Arc::strong_count(lock) > 1);
            Arc::clone(all.entry(cluster.clone()).or_default())
        };
        lock.lock_owned().await
    }

    /// Whether a plan that is kept restores the snapshot in this file.
    pub(crate) fn restores(&self, path: &str) -> bool {
        let plans = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        plans.values().any(|(made, plan)| {
            let is_of = matches!(&plan.goal, Goal::Restore { order } if order.path == path);
            is_of && made.elapsed() < KEPT
        })
    }

    pub(crate) fn get(&self, digest: &str) -> Option<Arc<PlanDocument>> {
        let plans = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let (made, plan) = plans.get(digest)?;
        (made.elapsed() < KEPT).then(|| Arc::clone(plan))
    }
}
