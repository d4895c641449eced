//! Snapshots of a cluster's store: taken, kept, read back.

mod aligned;
mod copies;
mod copies_directory;
mod digest;
mod directory;
mod drill;
mod due;
mod error;
mod file_piece;
mod flow;
mod kept;
mod objects;
mod patience;
mod place;
mod prune;
mod stalled;
mod store;
mod take;

pub use digest::{SnapshotDigest, SnapshotFault, verify};
pub use drill::{DrillError, Drilled};
pub use due::Kept;
pub use error::{FlowError, PlaceError, TakeError};
pub use kept::{EncryptedSnapshot, KeptSnapshot, SNAPSHOT_FORMAT, SnapshotDocument};
pub use prune::{Surplus, surplus};
pub use store::{SavedSnapshot, SnapshotStore};
pub(crate) use take::{Purpose, least_busy};
