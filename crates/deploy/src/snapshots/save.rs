//! Saving a snapshot: from a member's stream into a file that is whole or not there.

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use etcdup_client::{ClientError, MemberClient};
use etcdup_core::name::ClusterName;
use jiff::Timestamp;

use super::verify::{SnapshotFault, verify};
use crate::tasks::blocking;

/// What the name of a file begins with that is not whole yet.
const PIECE: &str = ".piece-";

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

/// Saves what a member sends below the directory of the topology file:
/// `snapshots/<cluster>/<cluster>-<time>.db`, readable by its owner alone.
///
/// # Errors
/// When the member, the directory or what is in the file is at fault.
pub async fn keep(
    client: &MemberClient,
    base: &Path,
    cluster: &ClusterName,
    progress: impl FnMut(u64, u64),
) -> Result<SavedSnapshot, SaveError> {
    let directory = base.join("snapshots").join(cluster.as_str());
    let made = directory.clone();
    let made = blocking(move || {
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(&made)?;
        // They hold every secret of the cluster, and topology files lie in repositories.
        let ignore = made.join(".gitignore");
        if !ignore.exists() {
            std::fs::write(ignore, "*\n")?;
        }
        sweep(&made)
    });
    made.await.map_err(|source| SaveError::File {
        path: directory.clone(),
        source,
    })?;
    let time = Timestamp::now().strftime("%Y%m%dT%H%M%S.%3fZ");
    let path = directory.join(format!("{cluster}-{time}.db"));
    save(client, &path, progress).await
}

/// How old a piece of a snapshot must be that nobody writes any more.
const LEFT: Duration = Duration::from_secs(24 * 3600);

/// Deletes what a process left that was killed while it wrote.
fn sweep(directory: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let is_piece = entry.file_name().to_string_lossy().starts_with(PIECE);
        let modified = entry.metadata().and_then(|about| about.modified());
        let old = modified.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > LEFT));
        if is_piece && old {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
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
    let made = blocking(move || {
        let file = tempfile::Builder::new()
            .prefix(PIECE)
            .tempfile_in(&directory)?;
        // It holds every secret of the cluster.
        let own = std::fs::Permissions::from_mode(0o600);
        file.as_file().set_permissions(own)?;
        Ok(file)
    });
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
