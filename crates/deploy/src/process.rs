//! What a process has once: its settings, connections, limits and running operations.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use etcdup_core::event::Body;
use etcdup_core::operation::OperationId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;

use crate::events::Events;
use crate::links::Pool;
use crate::operation::Operation;
use crate::settings::{Cancel, Settings};
use crate::store::Store;

/// What a process has once. The engine is its face; clusters and operations use it.
pub(crate) struct Process {
    pub(crate) settings: Settings,
    pub(crate) store: Store,
    pub(crate) pool: Arc<Pool>,
    pub(crate) tasks: TaskTracker,
    /// Places of operations, those that wait for their turn included.
    places: Arc<Semaphore>,
    operations: Arc<Semaphore>,
    running: Mutex<HashMap<OperationId, Operation>>,
}

impl Process {
    pub(crate) fn new(settings: Settings, store: Store) -> Self {
        Self {
            pool: Arc::new(Pool::new(&settings)),
            places: Arc::new(Semaphore::new(
                settings.limits.operations + settings.limits.queued,
            )),
            operations: Arc::new(Semaphore::new(settings.limits.operations)),
            running: Mutex::default(),
            tasks: TaskTracker::new(),
            settings,
            store,
        }
    }

    /// A place among operations that run or wait; `None` where all are taken.
    pub(crate) fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    /// A turn among the operations that run at once, once there is one; `None` where the operation
    /// was cancelled before.
    pub(crate) async fn turn(
        &self,
        events: &Events,
        cancel: &Cancel,
    ) -> Option<OwnedSemaphorePermit> {
        if let Ok(turn) = Arc::clone(&self.operations).try_acquire_owned() {
            return Some(turn);
        }
        let most = self.settings.limits.operations;
        events.send(Body::Waiting {
            holder: format!("{most} operations of this process run first"),
        });
        tokio::select! {
            turn = Arc::clone(&self.operations).acquire_owned() => turn.ok(),
            () = cancel.cancelled() => None,
        }
    }

    pub(crate) fn add(&self, operation: &Operation) {
        let id = operation.id().clone();
        self.running().insert(id, operation.clone());
    }

    /// Forgets an operation that ended: the store has it.
    pub(crate) fn remove(&self, id: &OperationId) {
        self.running().remove(id);
    }

    pub(crate) fn running(&self) -> MutexGuard<'_, HashMap<OperationId, Operation>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
