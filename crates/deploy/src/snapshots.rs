//! Snapshots of a cluster's store, as files.

mod save;
mod verify;

pub use save::{SaveError, SavedSnapshot, keep, save};
pub use verify::{SnapshotFault, verify};
