//! Saving a snapshot: from a member's stream into a file that is whole or not there.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use etcdup_client::{ClientError, MemberClient};

use super::verify::{SnapshotFault, verify};
use crate::tasks::blocking;

/// What the name of a file begins with that is not whole yet.
pub(super) const PIECE: &str = ".piece-";

/// Why a snapshot was not saved. Nothing is left of it.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// The member sends none, or not to its end.
    #[error("the member sends no whole snapshot")]
    Member(#[from] ClientError),
    /// The file cannot be written.
    #[error("cannot write {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// What was written is not what was sent.
    #[error(transparent)]
    Fault(#[from] SnapshotFault),
}

/// A snapshot that was saved, and read again to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedSnapshot {
    /// The file.
    pub path: PathBuf,
    /// Its size, in bytes.
    pub size: u64,
    /// SHA-256 of the database in it, hex.
    pub sha256: String,
}

/// A file that is not whole yet, for its owner alone: it holds every secret of the cluster.
pub(super) fn piece_in(directory: &Path) -> std::io::Result<tempfile::NamedTempFile> {
    let file = tempfile::Builder::new()
        .prefix(PIECE)
        .tempfile_in(directory)?;
    let own = std::fs::Permissions::from_mode(0o600);
    file.as_file().set_permissions(own)?;
    Ok(file)
}

/// Saves what a member sends: beside its name, readable by its owner alone, then synced, read
/// again, and renamed. `progress` receives how many bytes came, and of how many.
///
/// # Errors
/// When the member, the file or what is in it is at fault.
pub async fn save(
    client: &MemberClient,
    path: &Path,
    mut progress: impl FnMut(u64, u64),
) -> Result<SavedSnapshot, SaveError> {
    let failed = |source| SaveError::File {
        path: path.to_owned(),
        source,
    };
    let directory = path.parent().unwrap_or(Path::new(".")).to_owned();
    let made = blocking(move || piece_in(&directory));
    let mut file = made.await.map_err(failed)?;
    let mut snapshot = client.snapshot().await?;
    let mut size = 0;
    while let Some(piece) = snapshot.next().await? {
        size += piece.bytes.len() as u64;
        progress(size, size + piece.remaining);
        let written = blocking(move || file.write_all(&piece.bytes).map(|()| file));
        file = written.await.map_err(failed)?;
    }
    let kept = path.to_owned();
    blocking(move || {
        let failed = |source| SaveError::File {
            path: kept.clone(),
            source,
        };
        file.as_file().sync_all().map_err(failed)?;
        // From the disk, not from what was sent: that is what will be restored.
        let sha256 = verify(file.path())?;
        let persisted = file.persist(&kept);
        persisted.map_err(|error| failed(error.error))?;
        let parent = kept.parent().unwrap_or(Path::new("."));
        let synced = std::fs::File::open(parent).and_then(|parent| parent.sync_all());
        synced.map_err(failed)?;
        Ok(SavedSnapshot {
            path: kept,
            size,
            sha256,
        })
    })
    .await
}
