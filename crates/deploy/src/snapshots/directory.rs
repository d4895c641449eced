//! A directory that snapshots are kept in.

use std::collections::BTreeMap;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use etcdup_core::file::Snapshots;
use etcdup_core::name::ClusterName;
use jiff::Timestamp;
use tokio::io::AsyncRead;

use super::error::PlaceError;
use super::file_piece::{FilePiece, PIECE};
use super::place::{Found, PLAIN, Piece, Place};
use crate::tasks::blocking;

/// How old a piece of a snapshot must be that nobody writes any more.
const LEFT: Duration = Duration::from_secs(24 * 3600);

/// The directory that a cluster's snapshots are kept in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SnapshotDirectory {
    path: PathBuf,
    /// What must be there already.
    given: Option<PathBuf>,
}

impl SnapshotDirectory {
    /// That of a cluster whose topology file is in this directory.
    #[must_use]
    pub(super) fn of(base: &Path, settings: &Snapshots, cluster: &ClusterName) -> Self {
        let given = settings.to.as_ref().map(|to| base.join(to));
        let all = given.clone().unwrap_or_else(|| base.join("snapshots"));
        Self {
            path: all.join(cluster.as_str()),
            given,
        }
    }

    /// A directory of anyone's, with a snapshot in it that was given by its file.
    pub(super) fn at(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            given: None,
        }
    }

    /// One of this name in it.
    pub(super) fn below(self, name: &str) -> Self {
        Self {
            path: self.path.join(name),
            ..self
        }
    }

    /// Where it is.
    #[must_use]
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes it where it is missing, and deletes what a process left that was killed while it
    /// wrote.
    ///
    /// # Errors
    /// When it cannot be made, or other users may look into it.
    pub(super) fn make(&self) -> std::io::Result<()> {
        self.is_mounted()?;
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(&self.path)?;
        let mode = std::fs::metadata(&self.path)?.permissions().mode();
        if mode & 0o007 != 0 {
            return Err(std::io::Error::new(
                std::io::ErrorKind::PermissionDenied,
                "every user may look into it, and a snapshot holds all secrets of the cluster: `chmod 700` it",
            ));
        }
        // Topology files lie in repositories.
        let ignore = self.path.join(".gitignore");
        if !ignore.exists() {
            std::fs::write(ignore, "*\n")?;
        }
        for entry in std::fs::read_dir(&self.path)? {
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

    /// A disk that is not mounted holds no fewer snapshots for that.
    fn is_mounted(&self) -> std::io::Result<()> {
        match self.given.as_ref().filter(|given| !given.is_dir()) {
            None => Ok(()),
            Some(given) => Err(std::io::Error::new(
                std::io::ErrorKind::NotFound,
                format!("{} is no directory: mount it, or make it", given.display()),
            )),
        }
    }

    fn found(&self) -> std::io::Result<Vec<Found>> {
        self.is_mounted()?;
        let entries = match std::fs::read_dir(&self.path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry?;
            // A link to a snapshot is one.
            let Ok(about) = std::fs::metadata(entry.path()) else {
                continue;
            };
            let written = about
                .modified()
                .ok()
                .and_then(|at| Timestamp::try_from(at).ok());
            found.push(Found {
                name: entry.file_name().to_string_lossy().into_owned(),
                size: about.len(),
                written: written.unwrap_or_default(),
            });
        }
        Ok(found)
    }
}

/// A look at a directory that has not ended: each keeps a thread, for as long as its disk hangs.
struct OpenLook(PathBuf);

/// How many looks at a directory may be open.
const OPEN: usize = 32;

static OPEN_LOOKS: Mutex<BTreeMap<PathBuf, usize>> = Mutex::new(BTreeMap::new());

impl OpenLook {
    /// Another one, unless too many of them have not ended.
    fn begin(path: &Path) -> Option<Self> {
        let mut all = OPEN_LOOKS.lock().unwrap_or_else(PoisonError::into_inner);
        let open = all.entry(path.to_owned()).or_default();
        *open += 1;
        if *open > OPEN {
            *open -= 1;
            return None;
        }
        Some(Self(path.to_owned()))
    }
}

impl Drop for OpenLook {
    fn drop(&mut self) {
        let mut all = OPEN_LOOKS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = all.get_mut(&self.0) {
            *open -= 1;
            if *open == 0 {
                all.remove(&self.0);
            }
        }
    }
}

/// The directory that a file is in.
pub(super) fn directory_of(file: &Path) -> &Path {
    let parent = file.parent();
    parent
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

#[async_trait]
impl Place for SnapshotDirectory {
    async fn prepare(&self) -> Result<(), PlaceError> {
        let own = self.clone();
        let made = blocking(move || own.make()).await;
        made.map_err(|source| PlaceError::new(self.path.display(), source))
    }

    async fn list(&self) -> Result<Vec<Found>, PlaceError> {
        let own = self.clone();
        let look = OpenLook::begin(&self.path);
        let look = look.ok_or_else(|| {
            let why = "earlier looks at it have not ended: its disk hangs";
            PlaceError::new(self.path.display(), why)
        })?;
        let found = blocking(move || {
            let found = own.found();
            drop(look);
            found
        });
        let found = found.await;
        found.map_err(|source| PlaceError::new(self.path.display(), source))
    }

    async fn read(&self, name: &str) -> Result<Box<dyn AsyncRead + Send + Unpin>, PlaceError> {
        let opened = tokio::fs::File::open(self.path.join(name)).await;
        let file = opened.map_err(|source| PlaceError::new(self.show(name), source))?;
        Ok(Box::new(file))
    }

    async fn write(&self, name: &str) -> Result<Box<dyn Piece>, PlaceError> {
        let (directory, to) = (self.path.clone(), self.path.join(name));
        let piece = FilePiece::begin(directory, to, name.ends_with(PLAIN)).await?;
        Ok(Box::new(piece))
    }

    async fn delete(&self, name: &str) -> Result<(), PlaceError> {
        match tokio::fs::remove_file(self.path.join(name)).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(PlaceError::new(self.show(name), error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn show(&self, name: &str) -> String {
        match name {
            "" => self.path.display().to_string(),
            name => self.path.join(name).display().to_string(),
        }
    }

    fn file(&self, name: &str) -> Option<PathBuf> {
        Some(self.path.join(name))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests say what they expect")]

    use super::*;

    #[test]
    fn a_disk_that_hangs_keeps_no_more_than_a_few_threads() {
        let path = Path::new("/mnt/hangs");
        let mut open: Vec<OpenLook> = (0..OPEN).filter_map(|_| OpenLook::begin(path)).collect();
        assert_eq!(open.len(), OPEN);
        assert!(OpenLook::begin(path).is_none());
        assert!(OpenLook::begin(Path::new("/mnt/other")).is_some());
        open.pop();
        assert!(OpenLook::begin(path).is_some());
    }

    #[test]
    fn a_directory_that_others_may_look_into_is_refused() {
        let base = tempfile::tempdir().unwrap();
        let directory =
            SnapshotDirectory::of(base.path(), &Snapshots::default(), &"prod".parse().unwrap());
        assert!(directory.found().unwrap().is_empty());
        directory.make().unwrap();
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(directory.path(), open).unwrap();
        let refused = directory.make().unwrap_err().to_string();
        assert!(refused.contains("chmod 700"), "{refused}");
    }

    /// A disk that is not mounted must not fill the one below it.
    #[test]
    fn a_directory_that_is_named_must_be_there() {
        let base = tempfile::tempdir().unwrap();
        let settings = Snapshots {
            to: Some("backup".into()),
            ..Snapshots::default()
        };
        let directory = SnapshotDirectory::of(base.path(), &settings, &"prod".parse().unwrap());
        let refused = directory.make().unwrap_err().to_string();
        assert!(refused.contains("mount it"), "{refused}");
        let unseen = directory.found().unwrap_err().to_string();
        assert!(unseen.contains("mount it"), "{unseen}");
        std::fs::create_dir(base.path().join("backup")).unwrap();
        directory.make().unwrap();
        assert_eq!(directory.path(), base.path().join("backup/prod"));
    }

    #[tokio::test]
    async fn what_is_not_finished_leaves_nothing() {
        let base = tempfile::tempdir().unwrap();
        let directory = SnapshotDirectory::at(base.path());
        let mut piece = directory.write("a.db").await.unwrap();
        piece.take(b"some").await.unwrap();
        drop(piece);
        assert!(directory.list().await.unwrap().is_empty());
        let mut piece = directory.write("a.db").await.unwrap();
        piece.take(b"some").await.unwrap();
        piece.take(b"more").await.unwrap();
        piece.finish().await.unwrap();
        let path = base.path().join("a.db");
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(
            (std::fs::read(&path).unwrap(), mode & 0o777),
            (b"somemore".to_vec(), 0o600)
        );
        directory.delete("a.db").await.unwrap();
        directory.delete("a.db").await.unwrap();
    }
}
