//! Copies of snapshots on this machine, which restores are made of: what is kept elsewhere, or is
//! encrypted there, lies here as etcd sent it, and no longer than it is needed.

use std::collections::BTreeSet;
use std::path::PathBuf;

use etcdup_core::operation::OperationState;
use etcdup_core::plain::chain;
use etcdup_core::restore::RestoreOrder;
use etcdup_core::stage::Goal;
use jiff::{SignedDuration, Timestamp};

use super::error::{FlowError, PlaceError};
use super::kept::KeptSnapshot;
use super::place::{PLAIN, Place};
use super::store::SnapshotStore;
use crate::cluster::Cluster;
use crate::error::DeployError;
use crate::store::Store;
use crate::tasks::blocking;

/// How old a copy must be that a process left which was killed: a plan may be read for an hour
/// before it is carried out.
const LEFT: SignedDuration = SignedDuration::from_hours(2);

impl SnapshotStore {
    /// One that is kept, as a file of this machine as etcd sent it: what lies elsewhere, or is
    /// encrypted, is copied beside the topology file first, and stays there until
    /// [`Cluster::forget_copy`].
    ///
    /// # Errors
    /// When it is not whole, or cannot be copied.
    pub async fn here(&self, kept: KeptSnapshot) -> Result<KeptSnapshot, FlowError> {
        if kept.file().is_some() {
            return Ok(kept);
        }
        self.local.prepare().await?;
        let path = self.local.path().join(format!("{}{PLAIN}", kept.name));
        let failed = |source| PlaceError::new(path.display(), source);
        if path.exists() {
            // It is needed from now on, however long it has been there.
            let file = std::fs::File::open(&path).map_err(failed)?;
            let touched = file.set_modified(std::time::SystemTime::now());
            touched.map_err(failed)?;
        } else {
            kept.copy_to(&path).await?;
        }
        let here = KeptSnapshot::at(&path).map_err(failed)?;
        Ok(KeptSnapshot {
            document: kept.document,
            taken: kept.taken,
            ..here
        })
    }

    /// Deletes copies but those in use: of this order, or all that are old.
    async fn forget(&self, which: Which, in_use: BTreeSet<PathBuf>) -> Result<(), PlaceError> {
        let directory = std::path::absolute(self.local.path());
        let directory = directory.map_err(|error| PlaceError::new(self.show(), error))?;
        for found in self.local.list().await? {
            let path = directory.join(&found.name);
            let is_meant = match &which {
                Which::One(meant) => path == *meant,
                Which::Old => Timestamp::now().duration_since(found.written) > LEFT,
            };
            if is_meant && found.name.ends_with(PLAIN) && !in_use.contains(&path) {
                self.local.delete(&found.name).await?;
            }
        }
        Ok(())
    }
}

/// Which copies are deleted.
enum Which {
    One(PathBuf),
    Old,
}

/// What operations that have not ended are about to read: another process may go on with them.
fn in_use(store: &Store) -> Result<BTreeSet<PathBuf>, DeployError> {
    let records = store.list()?.into_iter().map(|stored| stored.record);
    let unfinished = records.filter(|record| record.state == OperationState::Running);
    let mut paths = BTreeSet::new();
    for record in unfinished {
        if let Goal::Restore { order } = record.goal {
            paths.insert(PathBuf::from(order.path));
        }
    }
    Ok(paths)
}

impl Cluster {
    /// An order to restore the cluster from the snapshot of this name: it was read to its end, and
    /// lies on this machine as etcd sent it. Whoever does not carry it out ends with
    /// [`Cluster::forget_copy`].
    ///
    /// # Errors
    /// As [`Cluster::snapshot`], and when it is not whole or cannot be copied here.
    pub async fn restore_order(
        &self,
        name: &str,
        bump: bool,
        again: bool,
    ) -> Result<RestoreOrder, DeployError> {
        let kept = self.snapshot(name).await?;
        let here = self.snapshot_here(kept).await?;
        Ok(here.order(bump, again).await?)
    }

    /// A snapshot that is kept, as a file of this machine as etcd sent it.
    ///
    /// # Errors
    /// When it is not whole, or cannot be copied here.
    pub async fn snapshot_here(&self, kept: KeptSnapshot) -> Result<KeptSnapshot, DeployError> {
        self.forget_old_copies().await;
        let store = self.snapshots().map_err(FlowError::from)?;
        Ok(store.here(kept).await?)
    }

    /// Deletes the copy of a snapshot that an order was to restore, where there is one and no
    /// operation goes on with it. One that ends does so itself.
    pub async fn forget_copy(&self, order: &RestoreOrder) {
        self.forget(Which::One(PathBuf::from(&order.path))).await;
    }

    /// Deletes copies that processes left which were killed.
    pub async fn forget_old_copies(&self) {
        self.forget(Which::Old).await;
    }

    /// What stays is said: it holds every secret of the cluster.
    async fn forget(&self, which: Which) {
        let forget = async {
            let store = self.operations_store();
            let in_use = blocking(move || in_use(&store)).await?;
            let store = self.snapshots().map_err(FlowError::from)?;
            store.forget(which, in_use).await.map_err(FlowError::from)?;
            Ok::<_, DeployError>(())
        };
        if let Err(error) = forget.await {
            let cluster = self.document().spec.cluster.as_str();
            let error = chain(&error);
            tracing::warn!(cluster, error, "copies of snapshots are left in .restore");
        }
    }
}
