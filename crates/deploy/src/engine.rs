//! The engine: what a process has once, however many clusters it looks at and however many
//! operations it carries out.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use etcdup_core::file::Document;
use etcdup_core::host::HostTarget;
use etcdup_core::operation::OperationId;

use crate::cluster::Cluster;
use crate::error::DeployError;
use crate::operation::{EventStream, Operation};
use crate::process::Process;
use crate::settings::Settings;
use crate::store::{Store, StoreError, StoredOperation};
use crate::tasks::blocking;

/// A process's connections, limits and operations. Clones are handles of the same engine.
#[derive(Clone)]
pub struct Engine {
    process: Arc<Process>,
}

impl Engine {
    /// An engine whose operations are recorded in this store. Does no I/O.
    #[must_use]
    pub fn new(settings: Settings, store: Store) -> Self {
        Self {
            process: Arc::new(Process::new(settings, store)),
        }
    }

    /// The cluster of a topology. `path` is its file: relative paths in it start from there. Does
    /// no I/O.
    ///
    /// # Errors
    /// What lint calls errors.
    pub fn cluster(&self, document: Document, path: &Path) -> Result<Cluster, DeployError> {
        Cluster::new(Arc::clone(&self.process), document, path)
    }

    /// Forgets all hosts but these, and ends connections to the others that nobody uses: what was
    /// taken off a list is left alone.
    pub async fn keep_hosts(&self, wanted: &HashSet<HostTarget>) {
        self.process.pool.keep_only(wanted).await;
    }

    /// An operation of this process; `None` where it has none of that id.
    #[must_use]
    pub fn operation(&self, id: &OperationId) -> Option<Operation> {
        self.process.running().get(id).cloned()
    }

    /// The operations that the store has, the newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn operations(&self) -> Result<Vec<StoredOperation>, StoreError> {
        let store = self.process.store.clone();
        blocking(move || store.list()).await
    }

    /// The operations whose processes died. Each is left to [`Cluster::resume`].
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn unfinished(&self) -> Result<Vec<StoredOperation>, StoreError> {
        let mut listed = self.operations().await?;
        listed.retain(|stored| stored.interrupted);
        Ok(listed)
    }

    /// The events of any operation that the store has, from this number on.
    #[must_use]
    pub fn events(&self, id: &OperationId, since: u64) -> EventStream {
        match self.operation(id) {
            Some(operation) => operation.events(since),
            None => EventStream::stored(self.process.store.clone(), id.clone(), since),
        }
    }

    /// Leaves every operation between two of its stages, as a killed process would, so that another
    /// process of the same store goes on with it; waits for that, and ends all connections. One
    /// that was cancelled ends.
    pub async fn leave(&self, within: Duration) {
        for operation in self.process.running().values() {
            operation.leave();
        }
        self.close(within).await;
    }

    /// Stops every operation between two of its stages, waits for them, and ends all connections.
    /// What is not done in time is left as a killed process would leave it: another can go on with
    /// it.
    pub async fn close(&self, within: Duration) {
        for operation in self.process.running().values() {
            operation.cancel();
        }
        self.process.tasks.close();
        let _ = tokio::time::timeout(within, self.process.tasks.wait()).await;
        self.process.pool.close().await;
    }
}
