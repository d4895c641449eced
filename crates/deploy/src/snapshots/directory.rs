//! A directory that snapshots are kept in.

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use etcdup_core::file::Snapshots;
use etcdup_core::name::ClusterName;
use jiff::Timestamp;
use tokio::io::AsyncRead;
use tokio::task::{JoinHandle, spawn_blocking};

use super::digest::SnapshotDigest;
use super::error::{FlowError, PlaceError};
use super::flow::Sink;
use super::place::{Found, PLAIN, Piece, Place, Settled};
use crate::tasks::blocking;

/// What the name of a file begins with that is not whole yet.
const PIECE: &str = ".piece-";

/// How much is written at once: members send pieces of 32 KiB.
const AT_ONCE: usize = 1 << 20;

/// How much is written before the disk is asked to begin with it: at the end little is left to
/// wait for.
const SYNC_AFTER: u64 = 64 << 20;

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

/// The directory that a file is in.
pub(super) fn directory_of(file: &Path) -> &Path {
    let parent = file.parent();
    parent
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
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

#[async_trait]
impl Place for SnapshotDirectory {
    async fn prepare(&self) -> Result<(), PlaceError> {
        let own = self.clone();
        let made = blocking(move || own.make()).await;
        made.map_err(|source| PlaceError::new(self.path.display(), source))
    }

    async fn list(&self) -> Result<Vec<Found>, PlaceError> {
        let own = self.clone();
        let found = blocking(move || own.found()).await;
        found.map_err(|source| PlaceError::new(self.path.display(), source))
    }

    async fn read(&self, name: &str) -> Result<Box<dyn AsyncRead + Send + Unpin>, PlaceError> {
        let opened = tokio::fs::File::open(self.path.join(name)).await;
        let file = opened.map_err(|source| PlaceError::new(self.show(name), source))?;
        Ok(Box::new(file))
    }

    async fn write(&self, name: &str) -> Result<Box<dyn Piece>, PlaceError> {
        let failed = |source| PlaceError::new(self.show(name), source);
        let directory = self.path.clone();
        let file = blocking(move || piece_in(&directory)).await;
        let is_snapshot = name.ends_with(PLAIN);
        Ok(Box::new(FilePiece {
            to: self.path.join(name),
            waiting: Vec::new(),
            file: Some(PartialFile {
                file: file.map_err(failed)?,
                size: 0,
                synced: 0,
                syncing: None,
                back: is_snapshot.then(SnapshotDigest::default),
            }),
            writing: None,
        }))
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

/// A file beside its name. While some of it is written and read back, more comes.
struct FilePiece {
    to: PathBuf,
    /// What has come and is not written yet.
    waiting: Vec<u8>,
    /// None while some of it is written.
    file: Option<PartialFile>,
    writing: Option<JoinHandle<std::io::Result<PartialFile>>>,
}

/// What is there of a file.
struct PartialFile {
    file: tempfile::NamedTempFile,
    size: u64,
    /// How much of it was there when it was last synced.
    synced: u64,
    syncing: Option<std::thread::JoinHandle<std::io::Result<()>>>,
    /// What was read back of a snapshot.
    back: Option<SnapshotDigest>,
}

impl PartialFile {
    fn write(mut self, mut bytes: Vec<u8>) -> std::io::Result<Self> {
        self.file.write_all(&bytes)?;
        if let Some(back) = &mut self.back {
            self.file.as_file().read_exact_at(&mut bytes, self.size)?;
            back.push(&bytes);
        }
        self.size += bytes.len() as u64;
        if self.size - self.synced >= SYNC_AFTER {
            self.begin_sync()?;
        }
        Ok(self)
    }

    /// Has the disk write what is there, while more comes.
    fn begin_sync(&mut self) -> std::io::Result<()> {
        if self
            .syncing
            .as_ref()
            .is_some_and(|syncing| !syncing.is_finished())
        {
            return Ok(());
        }
        self.end_sync()?;
        let file = self.file.as_file().try_clone()?;
        self.synced = self.size;
        self.syncing = Some(std::thread::spawn(move || file.sync_data()));
        Ok(())
    }

    /// The kernel names a disk's fault once for an open file: what an earlier sync found counts.
    fn end_sync(&mut self) -> std::io::Result<()> {
        let broken = |_| Err(std::io::Error::other("it could not be synced"));
        let syncing = self.syncing.take();
        syncing.map_or(Ok(()), |syncing| syncing.join().unwrap_or_else(broken))
    }

    /// All of it is on the disk.
    fn sync(&mut self) -> std::io::Result<()> {
        self.end_sync()?;
        self.file.as_file().sync_all()
    }
}

impl FilePiece {
    fn failed(&self) -> impl Fn(std::io::Error) -> PlaceError + use<> {
        let to = self.to.display().to_string();
        move |source| PlaceError::new(&to, source)
    }

    /// The file, once nothing of it is being written.
    async fn taken(&mut self) -> Result<PartialFile, PlaceError> {
        let failed = self.failed();
        let file = match self.writing.take() {
            Some(writing) => writing.await.unwrap_or_else(|error| Err(error.into())),
            None => {
                let none = || std::io::Error::other("an earlier piece was not written");
                self.file.take().ok_or_else(none)
            }
        };
        file.map_err(failed)
    }

    /// The file with all that came.
    async fn written(&mut self) -> Result<PartialFile, PlaceError> {
        let (file, bytes) = (self.taken().await?, std::mem::take(&mut self.waiting));
        let written = blocking(move || file.write(bytes)).await;
        written.map_err(self.failed())
    }
}

#[async_trait]
impl Sink for FilePiece {
    async fn take(&mut self, piece: &[u8]) -> Result<(), FlowError> {
        self.waiting.extend_from_slice(piece);
        if self.waiting.len() >= AT_ONCE {
            let file = self.taken().await?;
            let room = Vec::with_capacity(self.waiting.len());
            let bytes = std::mem::replace(&mut self.waiting, room);
            self.writing = Some(spawn_blocking(move || file.write(bytes)));
        }
        Ok(())
    }
}

#[async_trait]
impl Piece for FilePiece {
    async fn settle(&mut self) -> Result<Settled, PlaceError> {
        let mut written = self.written().await?;
        let back = written.back.take();
        let synced = blocking(move || {
            written.sync()?;
            let reader = written.file.reopen()?;
            Ok((written, reader))
        });
        let (written, reader) = synced.await.map_err(self.failed())?;
        self.file = Some(written);
        Ok(match back {
            Some(back) => Settled::ReadBack(back),
            None => Settled::Readable(Box::new(tokio::fs::File::from_std(reader))),
        })
    }

    async fn finish(mut self: Box<Self>) -> Result<(), PlaceError> {
        let (mut written, to) = (self.written().await?, self.to.clone());
        let finished = blocking(move || {
            written.sync()?;
            written.file.persist(&to).map_err(|error| error.error)?;
            let parent = to.parent().unwrap_or(Path::new("."));
            std::fs::File::open(parent)?.sync_all()
        });
        finished.await.map_err(self.failed())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests say what they expect")]

    use super::*;

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

    /// The disk begins before all is there.
    #[tokio::test]
    async fn what_is_synced_on_the_way_is_whole() {
        let base = tempfile::tempdir().unwrap();
        let directory = SnapshotDirectory::at(base.path());
        let mut piece = directory.write("a.db").await.unwrap();
        let pieces = SYNC_AFTER as usize / AT_ONCE * 2 + 1;
        for at in 0..pieces {
            piece.take(&vec![at as u8; AT_ONCE]).await.unwrap();
        }
        piece.finish().await.unwrap();
        let read = std::fs::read(base.path().join("a.db")).unwrap();
        assert_eq!(read.len(), pieces * AT_ONCE);
        let all = read.chunks(AT_ONCE).enumerate();
        assert!(
            all.into_iter()
                .all(|(at, piece)| piece.iter().all(|byte| *byte == at as u8))
        );
    }
}
