//! The directory of copies: it is given up where its disk hangs, as every other place is.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use etcdup_core::file::Snapshots;
use etcdup_core::name::ClusterName;

use super::directory::SnapshotDirectory;
use super::error::PlaceError;
use super::patience::Patient;
use super::place::Place;

/// The directory below that of the cluster's snapshots for what is copied here to be restored:
/// nothing in it is kept.
const HERE: &str = ".restore";

/// Where copies of a cluster's snapshots lie on this machine.
#[derive(Debug, Clone)]
pub(super) struct CopiesDirectory {
    pub(super) path: PathBuf,
    pub(super) place: Arc<dyn Place>,
}

impl CopiesDirectory {
    /// That of a cluster whose topology file is in this directory.
    pub(super) fn of(base: &Path, cluster: &ClusterName) -> Self {
        let own = SnapshotDirectory::of(base, &Snapshots::default(), cluster).below(HERE);
        Self {
            path: own.path().to_owned(),
            place: Patient::with(Arc::new(own)),
        }
    }

    /// Makes it where it is missing, and returns its path.
    pub(super) async fn prepare(&self) -> Result<&Path, PlaceError> {
        self.place.prepare().await?;
        Ok(&self.path)
    }
}
