//! Snapshots of a cluster as a whole: taken now, or when the file says that one is due.

use etcdup_core::file::Keep;
use etcdup_core::operation::Who;
use etcdup_core::plain::chain;
use etcdup_core::stage::Goal;
use jiff::Timestamp;

use super::error::{FlowError, PlaceError, TakeError};
use super::kept::{KeptSnapshot, SnapshotDocument};
use super::prune::surplus;
use super::store::SnapshotStore;
use crate::cluster::Cluster;
use crate::error::DeployError;

/// What became of snapshots that were due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The one that was taken.
    pub taken: SnapshotDocument,
    /// The names of those that were deleted, since the rule keeps them no longer.
    pub deleted: Vec<String>,
    /// Why older ones are still there that should have been deleted.
    pub undeleted: Option<String>,
}

impl Cluster {
    /// Takes a snapshot of the member that serves clients least, in the name of `who`, and keeps
    /// it.
    ///
    /// # Errors
    /// When no member can be asked, or what it sends cannot be kept.
    pub async fn take_snapshot(&self, who: Who) -> Result<SnapshotDocument, DeployError> {
        let session = self.session_of(who).await;
        let (planner, seen) = session.observe(Goal::CONVERGE).await?;
        let taking = session.take_snapshot(planner.topology(), &seen, None, |_, _| {});
        let (_, document) = taking.await?;
        Ok(document)
    }

    /// Takes one if the newest is older than `[snapshots] every` says, and deletes what the rule
    /// keeps no longer; `None` where nothing was due. The newest that is whole is never deleted.
    ///
    /// # Errors
    /// As [`Cluster::take_snapshot`], and when it cannot be seen how old the newest is.
    pub async fn keep_snapshots(&self, who: Who) -> Result<Option<Kept>, DeployError> {
        let settings = &self.document().spec.snapshots;
        let Some(every) = settings.every else {
            return Ok(None);
        };
        let store = self.snapshots().map_err(FlowError::from)?;
        let now = Timestamp::now();
        let newest = store.newest_by(now).await.map_err(FlowError::from)?;
        let age = newest.map(|newest| now.duration_since(newest.taken));
        if age.is_some_and(|age| age < every.duration()) {
            return Ok(None);
        }
        let taken = self.take_snapshot(who).await?;
        let mut deleted = Vec::new();
        let pruned = prune(&store, &settings.keep, &taken, &mut deleted).await;
        Ok(Some(Kept {
            taken,
            deleted,
            undeleted: pruned.err().map(|error| chain(&error)),
        }))
    }

    /// The snapshot of this name, or the newest for `latest`.
    ///
    /// # Errors
    /// When those that are kept cannot be listed, or there is none of that name.
    pub async fn snapshot(&self, name: &str) -> Result<KeptSnapshot, DeployError> {
        let store = self.snapshots().map_err(FlowError::from)?;
        let found = store.find(name).await.map_err(FlowError::from)?;
        Ok(found.ok_or_else(|| TakeError::Unknown(name.to_owned()))?)
    }
}

/// Deletes what a rule does not keep, but for the one that was just taken: one of the future may be
/// the newest to the rule. The names of what was deleted are in `deleted`.
async fn prune(
    store: &SnapshotStore,
    keep: &Keep,
    taken: &SnapshotDocument,
    deleted: &mut Vec<String>,
) -> Result<(), PlaceError> {
    let gone = surplus(store.list().await?, keep).await;
    let gone = gone.into_iter().flat_map(|surplus| surplus.gone);
    for kept in gone.filter(|kept| kept.name != taken.name) {
        kept.delete().await?;
        deleted.push(kept.name);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests say what they expect")]

    use etcdup_core::file::Snapshots;

    use super::*;

    /// What was just taken stays, though a clock that was wrong has given another a later time.
    #[tokio::test]
    async fn older_ones_are_deleted_and_never_the_one_just_taken() {
        let base = tempfile::tempdir().unwrap();
        let name = "prod".parse().unwrap();
        let store = SnapshotStore::of(base.path(), &Snapshots::default(), &name).unwrap();
        let place = base.path().join("snapshots/prod");
        std::fs::create_dir_all(&place).unwrap();
        let names = [1, 2, 3, 4].map(|day| format!("prod-2026110{day}T120000Z-r7"));
        for name in &names {
            let bytes = crate::snapshots::digest::tests::snapshot(8);
            std::fs::write(place.join(format!("{name}.db")), bytes).unwrap();
        }
        let keep = Keep {
            last: 1,
            hourly: 0,
            daily: 0,
            weekly: 0,
        };
        let taken = crate::snapshots::kept::tests::document(&names[1], false);
        let mut deleted = Vec::new();
        prune(&store, &keep, &taken, &mut deleted).await.unwrap();
        assert_eq!(deleted, [names[0].clone(), names[2].clone()]);
        let left = store.list().await.unwrap();
        let left: Vec<&str> = left.iter().map(|kept| kept.name.as_str()).collect();
        assert_eq!(left, [names[1].as_str(), names[3].as_str()]);
    }
}
