//! Copies of snapshots on this machine, which restores are made of: what is kept elsewhere, or is
//! encrypted there, lies here as etcd sent it, and no longer than it is needed.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use etcdup_core::digest::sha256;
use etcdup_core::observed::Observed;
use etcdup_core::plain::chain;
use etcdup_core::restore::RestoreOrder;
use etcdup_core::stage::Goal;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::copies_directory::CopiesDirectory;
use super::error::{FlowError, PlaceError};
use super::file_piece::PIECE;
use super::kept::KeptSnapshot;
use super::place::PLAIN;
use super::stalled::{STALLED, in_time};
use super::store::SnapshotStore;
use crate::cluster::Cluster;
use crate::error::DeployError;
use crate::store::Store;
use crate::tasks::blocking;

/// How old a copy must be that a process left which was killed: a plan may be read for an hour
/// before it is carried out.
const LEFT: SignedDuration = SignedDuration::from_hours(2);

/// How long a server may need to go on with an operation whose process died.
const RESUMED: SignedDuration = SignedDuration::from_hours(24);

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
        let path = self.copies.prepare().await?.join(self.copy_of(&kept));
        let here = match there_already(&path).await? {
            Some(here) => here,
            None => {
                let copied = kept.copy_to(&path).await;
                match (there_already(&path).await?, copied) {
                    // Where it could not be named, another command was the first to copy it.
                    (Some(here), _) => here,
                    (None, Err(error)) => return Err(error),
                    (None, Ok(())) => {
                        let why = "it was deleted meanwhile";
                        return Err(PlaceError::new(path.display(), why).into());
                    }
                }
            }
        };
        Ok(KeptSnapshot {
            document: kept.document,
            taken: kept.taken,
            ..here
        })
    }

    /// The name of a copy: files of one name in two directories are two snapshots.
    fn copy_of(&self, kept: &KeptSnapshot) -> String {
        let name = &kept.name;
        if kept.show() == self.show_one(name) {
            return format!("{name}{PLAIN}");
        }
        let which = format!("{} {} {}", kept.show(), kept.size, kept.taken);
        let digest = sha256(which.as_bytes());
        format!("{name}-{}{PLAIN}", &digest[..8])
    }

    /// The names of these copies, in use or not, and of what is left of unfinished ones.
    async fn copies(&self, which: &Which) -> Result<BTreeSet<String>, PlaceError> {
        let CopiesDirectory { path, place } = &self.copies;
        let found = place.list().await?.into_iter();
        let meant = found.filter(|found| match which {
            Which::One(meant) => is_same_copy(&path.join(&found.name), meant),
            Which::Old => Timestamp::now().duration_since(found.written) > LEFT,
        });
        let copies = meant.map(|found| found.name);
        Ok(copies
            .filter(|name| name.ends_with(PLAIN) || name.starts_with(PIECE))
            .collect())
    }
}

/// The copy at this path, where there is one. It is needed from now on, however long it has been
/// there.
async fn there_already(path: &Path) -> Result<Option<KeptSnapshot>, PlaceError> {
    let (at, shown) = (path.to_owned(), path.display());
    let look = blocking(move || {
        let file = match std::fs::File::open(&at) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        file.set_modified(std::time::SystemTime::now())?;
        match KeptSnapshot::at(&at) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            here => here.map(Some),
        }
    });
    let look = async { look.await.map_err(|source| PlaceError::new(shown, source)) };
    in_time(path.display(), STALLED, look).await
}

/// Whether two paths are of one copy, whatever leads to the topology file's directory: another
/// command may come by a link.
fn is_same_copy(one: &Path, other: &Path) -> bool {
    let mut ends = [one, other].map(|path| path.iter().rev().take(3));
    let [one, other] = &mut ends;
    one.eq(other)
}

/// Which copies are deleted.
enum Which {
    One(PathBuf),
    Old,
}

/// The highest revision that a snapshot of the cluster has which is kept: clients may have seen it,
/// whatever members are left. Those of what restores replaced count too.
async fn highest(store: &SnapshotStore) -> i64 {
    // A place that does not answer keeps no file from being restored.
    let found = store.list().await.unwrap_or_default();
    let revisions = found.iter().filter_map(|kept| kept.document.as_ref());
    revisions
        .map(|document| document.revision)
        .max()
        .unwrap_or(0)
}

/// An ID of a moment later than another's.
fn after(id: &str) -> Option<String> {
    let (seconds, nanos) = id.parse::<Uuid>().ok()?.get_timestamp()?.to_unix();
    let later = uuid::Timestamp::from_unix(uuid::NoContext, seconds + 1, nanos);
    Some(Uuid::new_v7(later).to_string())
}

/// What operations that have not ended are about to read: another process may go on with them.
fn in_use(store: &Store) -> Result<Vec<PathBuf>, DeployError> {
    let mut paths = Vec::new();
    for stored in store.list()? {
        // What was begun at a terminal and died there is begun once more by a person, with a copy
        // of its own; a server goes on with its own where nobody asked for their end.
        let may_resume = stored.record.token.is_some() && !stored.cancelled;
        let is_old = Timestamp::now().duration_since(stored.record.begun) > RESUMED;
        let goes_on = stored.runs() || stored.interrupted && may_resume && !is_old;
        if let (true, Goal::Restore { order }) = (goes_on, stored.record.goal) {
            paths.push(PathBuf::from(order.path));
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
        self.restore_order_of(kept, bump, again).await
    }

    /// The same of a snapshot that was found already.
    ///
    /// # Errors
    /// When it is not whole or cannot be copied here.
    pub async fn restore_order_of(
        &self,
        kept: KeptSnapshot,
        bump: bool,
        again: bool,
    ) -> Result<RestoreOrder, DeployError> {
        if let Err(error) = self.forget_old_copies().await {
            // They are in the way of nothing.
            tracing::warn!(error = chain(&error), "old copies of snapshots are left");
        }
        let store = self.snapshots().map_err(FlowError::from)?;
        let here = store.here(kept).await?;
        let path = here.file();
        match here.order(bump, again).await {
            Ok(order) => {
                let above = highest(&store).await;
                let id = self.after_all(order.id.clone()).await;
                Ok(RestoreOrder { id, above, ..order })
            }
            Err(error) => {
                // A copy that is wrong would be in the way of a better one; what could not be read
                // may be whole, and another plan's.
                let path = path.filter(|_| error.is_damage());
                if let Some(path) = path.and_then(|path| std::path::absolute(path).ok()) {
                    let forgotten = self.forget(Which::One(path)).await;
                    if let Err(error) = forgotten {
                        tracing::error!(error = chain(&error), "a copy that is wrong is left");
                    }
                }
                Err(error.into())
            }
        }
    }

    /// The order to give up the restore that is under way, and whatever was ordered before.
    pub async fn abort_restore(&self) -> Goal {
        let id = self.after_all(Uuid::now_v7().to_string()).await;
        Goal::AbortRestore { id }
    }

    /// This ID, or one that is later than all that hosts know: an earlier order is not carried out
    /// again, and the clock of the machine that gave one may have been wrong.
    async fn after_all(&self, id: String) -> String {
        let Ok((_, seen)) = self.observe().await else {
            return id;
        };
        let hosts = seen.hosts.values().filter_map(Observed::known);
        let restores = hosts.filter_map(|host| host.record()?.restore.as_ref());
        let last = restores.map(|restore| restore.id.as_str()).max();
        let later = last.filter(|last| id.as_str() <= *last).and_then(after);
        later.unwrap_or(id)
    }

    /// Deletes the copy of a snapshot that an order was to restore, where there is one and no
    /// operation goes on with it. One that ends does so itself.
    ///
    /// # Errors
    /// When it is left: it holds every secret of the cluster.
    pub async fn forget_copy(&self, order: &RestoreOrder) -> Result<(), DeployError> {
        self.forget(Which::One(PathBuf::from(&order.path))).await
    }

    /// Deletes copies that processes left which were killed.
    ///
    /// # Errors
    /// When one is left.
    pub async fn forget_old_copies(&self) -> Result<(), DeployError> {
        self.forget(Which::Old).await
    }

    async fn forget(&self, which: Which) -> Result<(), DeployError> {
        let snapshots = self.snapshots().map_err(FlowError::from)?;
        let CopiesDirectory { path, place } = &snapshots.copies;
        for name in snapshots.copies(&which).await.map_err(FlowError::from)? {
            // Each is looked at once more: while a slow disk deleted others, an operation may have
            // begun that needs this one, or another command have taken up one that was old.
            let store = self.operations_store();
            let in_use = blocking(move || in_use(&store)).await?;
            let copy = path.join(&name);
            let is_used = in_use.iter().any(|used| is_same_copy(&copy, used));
            let still = snapshots.copies(&which).await.map_err(FlowError::from)?;
            if !is_used && still.contains(&name) {
                place.delete(&name).await.map_err(FlowError::from)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever the clocks of the machines say on which they were given.
    #[test]
    fn an_order_is_later_than_one_of_the_future() {
        let ahead = uuid::Timestamp::from_unix(uuid::NoContext, 4_000_000_000, 0);
        let ahead = Uuid::new_v7(ahead).to_string();
        assert!(after(&ahead).is_some_and(|later| later > ahead));
        assert_eq!(after("no ID"), None);
    }

    #[test]
    fn a_copy_is_the_same_by_another_way() {
        let copy = Path::new("/srv/real/snapshots/prod/.restore/a.db");
        let same = |other: &str| is_same_copy(copy, Path::new(other));
        assert!(same("/srv/link/snapshots/prod/.restore/a.db"));
        assert!(same("snapshots/prod/.restore/a.db"));
        assert!(!same("/srv/real/snapshots/test/.restore/a.db"));
        assert!(!same("/srv/real/snapshots/prod/.restore/b.db"));
        assert!(!same("a.db"));
    }
}
