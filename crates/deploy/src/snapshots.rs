//! Snapshots of a cluster's store, as files.

mod drill;
mod kept;
mod prune;
mod save;
mod take;
mod verify;

pub use drill::{DrillError, Drilled};
pub use kept::{KeptSnapshot, SNAPSHOT_FORMAT, SnapshotDirectory, SnapshotDocument};
pub use prune::{Surplus, surplus};
pub use save::{SaveError, SavedSnapshot, save};
pub use take::TakeError;
pub(crate) use take::least_busy;
pub use verify::{SnapshotFault, verify};
