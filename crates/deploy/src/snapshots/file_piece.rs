//! A file that is being written: it has its name once it is whole.

use std::fs::File;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use tokio::task::{JoinHandle, spawn_blocking};

use super::aligned::AlignedBuffer;
use super::digest::SnapshotDigest;
use super::error::{FlowError, PlaceError};
use super::flow::Sink;
use super::place::{Piece, Settled};
use super::stalled::{STALLED, SYNCED, in_time};
use crate::tasks::blocking;

/// How much is written at once: members send pieces of 32 KiB, and each write waits for the disk.
const AT_ONCE: usize = 1 << 20;

/// What the name of a file begins with that is not whole yet.
pub(super) const PIECE: &str = ".piece-";

/// A file that is not whole yet, for its owner alone: it holds every secret of the cluster.
pub(super) fn piece_in(directory: &Path) -> std::io::Result<tempfile::NamedTempFile> {
    let file = tempfile::Builder::new()
        .prefix(PIECE)
        .tempfile_in(directory)?;
    let own = std::fs::Permissions::from_mode(0o600);
    file.as_file().set_permissions(own)?;
    Ok(file)
}

/// A file beside its name. While some of it is written and read back, more comes.
pub(super) struct FilePiece {
    directory: PathBuf,
    to: PathBuf,
    /// Deleted with this, whoever may still be writing; none once it has its name.
    path: Option<tempfile::TempPath>,
    /// What has come and is not written yet.
    waiting: AlignedBuffer,
    state: State,
    /// How long a disk may take for what is written at once.
    stalled: Duration,
}

/// A file, and room for what comes while it is written.
type WithRoom = (Box<PartialFile>, AlignedBuffer);

enum State {
    Idle(WithRoom),
    Writing(JoinHandle<std::io::Result<WithRoom>>),
    /// It could not be written.
    Failed,
}

/// What is there of a file.
struct PartialFile {
    file: File,
    size: u64,
    /// Whether it goes past the page cache.
    direct: bool,
    /// What was read back of a snapshot.
    back: Option<SnapshotDigest>,
}

impl PartialFile {
    fn new(file: File, is_snapshot: bool) -> Self {
        // What is read back is what the disk has, and a gigabyte that nobody reads soon drives
        // nothing out of memory.
        let direct = set_direct(&file, true);
        Self {
            file,
            size: 0,
            direct,
            back: is_snapshot.then(SnapshotDigest::default),
        }
    }

    /// Appends what is in the buffer, and reads it back into it. Only the last may be less than a
    /// buffer holds.
    fn write(&mut self, buffer: &mut AlignedBuffer) -> std::io::Result<()> {
        if self.direct && !buffer.is_full() {
            self.leave_direct();
        }
        let at = self.size;
        self.either_way(|file| file.write_all_at(buffer.filled(), at))?;
        self.size += buffer.filled().len() as u64;
        if self.back.is_none() && !self.direct && self.size.is_multiple_of(SYNCED) {
            self.file.sync_data()?;
        }
        if self.back.is_some() {
            if !self.direct {
                leave_the_cache(&self.file, at)?;
            }
            self.either_way(|file| file.read_exact_at(buffer.filled_mut(), at))?;
        }
        if let Some(back) = &mut self.back {
            back.push(buffer.filled());
        }
        buffer.clear();
        Ok(())
    }

    /// Reads or writes; through the page cache where a file system took the flag and then refuses
    /// what it means, or wants another alignment.
    fn either_way(
        &mut self,
        mut act: impl FnMut(&File) -> std::io::Result<()>,
    ) -> std::io::Result<()> {
        use std::io::ErrorKind::{InvalidInput, Unsupported};
        match act(&self.file) {
            Err(error) if self.direct && matches!(error.kind(), InvalidInput | Unsupported) => {
                self.leave_direct();
                act(&self.file)
            }
            done => done,
        }
    }

    fn leave_direct(&mut self) {
        set_direct(&self.file, false);
        self.direct = false;
    }
}

/// Has the disk written, and what follows read from it.
#[cfg(target_os = "linux")]
pub(super) fn leave_the_cache(file: &File, from: u64) -> std::io::Result<()> {
    file.sync_data()?;
    Ok(rustix::fs::fadvise(
        file,
        from,
        None,
        rustix::fs::Advice::DontNeed,
    )?)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn leave_the_cache(_: &File, _: u64) -> std::io::Result<()> {
    Ok(())
}

/// Whether writes and reads of a file go past the page cache from now on, as far as its file system
/// can.
#[cfg(target_os = "linux")]
fn set_direct(file: &File, direct: bool) -> bool {
    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
    let set = fcntl_getfl(file).and_then(|mut flags| {
        flags.set(OFlags::DIRECT, direct);
        fcntl_setfl(file, flags)
    });
    direct && set.is_ok()
}

#[cfg(not(target_os = "linux"))]
fn set_direct(_: &File, _: bool) -> bool {
    false
}

impl FilePiece {
    /// Begins one that will be at `to`.
    pub(super) async fn begin(
        directory: PathBuf,
        to: PathBuf,
        is_snapshot: bool,
    ) -> Result<Self, PlaceError> {
        let show = to.display().to_string();
        let piece = blocking({
            let directory = directory.clone();
            move || piece_in(&directory)
        });
        let piece = piece
            .await
            .map_err(|source| PlaceError::new(show, source))?;
        let (file, path) = piece.into_parts();
        let file = Box::new(PartialFile::new(file, is_snapshot));
        Ok(Self {
            directory,
            to,
            path: Some(path),
            waiting: AlignedBuffer::new(AT_ONCE),
            state: State::Idle((file, AlignedBuffer::new(AT_ONCE))),
            stalled: STALLED,
        })
    }

    fn failed(&self) -> impl Fn(std::io::Error) -> PlaceError + use<> {
        let to = self.to.display().to_string();
        move |source| PlaceError::new(&to, source)
    }

    /// The file, once nothing of it is being written.
    async fn idle(&mut self) -> Result<WithRoom, PlaceError> {
        let file = match std::mem::replace(&mut self.state, State::Failed) {
            State::Idle(file) => Ok(file),
            State::Writing(writing) => {
                let (failed, limit) = (self.failed(), self.stalled);
                let written = async {
                    let written = writing.await.unwrap_or_else(|error| Err(error.into()));
                    written.map_err(failed)
                };
                return in_time(self.to.display(), limit, written).await;
            }
            State::Failed => Err(std::io::Error::other("an earlier piece was not written")),
        };
        file.map_err(self.failed())
    }

    /// Writes what waits while more comes.
    async fn begin_write(&mut self) -> Result<(), PlaceError> {
        let (mut file, room) = self.idle().await?;
        let mut full = std::mem::replace(&mut self.waiting, room);
        self.state = State::Writing(spawn_blocking(move || {
            file.write(&mut full)?;
            Ok((file, full))
        }));
        Ok(())
    }

    /// The file with all that came.
    async fn written(&mut self) -> Result<WithRoom, PlaceError> {
        if !self.waiting.filled().is_empty() {
            self.begin_write().await?;
        }
        self.idle().await
    }
}

impl Drop for FilePiece {
    /// What is stopped half-way is deleted, by a thread that may hang with its disk.
    fn drop(&mut self) {
        let path = self.path.take();
        if path.is_some() && tokio::runtime::Handle::try_current().is_ok() {
            drop(spawn_blocking(move || drop(path)));
        }
    }
}

#[async_trait]
impl Sink for FilePiece {
    async fn take(&mut self, piece: &[u8]) -> Result<(), FlowError> {
        let mut left = piece;
        while !left.is_empty() {
            left = self.waiting.fill(left);
            if self.waiting.is_full() {
                self.begin_write().await?;
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Piece for FilePiece {
    async fn settle(&mut self) -> Result<Settled, PlaceError> {
        let (mut file, room) = self.written().await?;
        let back = file.back.take();
        let failed = self.failed();
        let synced = async {
            let synced = blocking(move || {
                file.file.sync_all()?;
                // What is read next is what the disk has.
                leave_the_cache(&file.file, 0)?;
                Ok(file)
            });
            synced.await.map_err(failed)
        };
        let file = in_time(self.to.display(), self.stalled, synced).await?;
        self.state = State::Idle((file, room));
        if let Some(back) = back {
            return Ok(Settled::ReadBack(back));
        }
        let path = self.path.as_deref().unwrap_or(&self.to);
        let reader = tokio::fs::File::open(path).await;
        Ok(Settled::Readable(Box::new(reader.map_err(self.failed())?)))
    }

    async fn discard(mut self: Box<Self>) {
        let path = self.path.take();
        let deleted = async {
            blocking(move || drop(path)).await;
            Ok(())
        };
        // What a disk keeps that hangs is deleted a day later.
        let _ = in_time(self.to.display(), self.stalled, deleted).await;
    }

    async fn finish(mut self: Box<Self>) -> Result<(), PlaceError> {
        let ((file, _), failed) = (self.written().await?, self.failed());
        let (directory, to, path) = (self.directory.clone(), self.to.clone(), self.path.take());
        let finished = async {
            let finished = blocking(move || {
                file.file.sync_all()?;
                if let Some(path) = path {
                    path.persist(&to).map_err(|error| error.error)?;
                }
                File::open(directory)?.sync_all()
            });
            finished.await.map_err(failed)
        };
        in_time(self.to.display(), self.stalled, finished).await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests say what they expect")]

    use super::*;

    /// Bytes that tell their place, in pieces of a size that divides no buffer.
    async fn written(size: usize) -> (tempfile::TempDir, FilePiece, Vec<u8>) {
        let base = tempfile::tempdir().unwrap();
        let to = base.path().join("a.db");
        let mut piece = FilePiece::begin(base.path().to_owned(), to, true)
            .await
            .unwrap();
        let bytes: Vec<u8> = (0..size).map(|at| (at / 7 % 251) as u8).collect();
        for some in bytes.chunks(32_771) {
            piece.take(some).await.unwrap();
        }
        (base, piece, bytes)
    }

    #[tokio::test]
    async fn all_sizes_are_written_and_read_back() {
        // Whose last 32 bytes are compared with the digest of the others, and one that has none.
        for size in [544, AT_ONCE + 32, 3 * AT_ONCE + 544, 2 * AT_ONCE] {
            let (base, mut piece, bytes) = written(size).await;
            let Settled::ReadBack(found) = piece.settle().await.unwrap() else {
                panic!("it is read as it is written")
            };
            let mut meant = SnapshotDigest::default();
            meant.push(&bytes);
            let says = |digest: SnapshotDigest| digest.finish("it").unwrap_err().to_string();
            assert_eq!(says(found), says(meant));
            Box::new(piece).finish().await.unwrap();
            assert_eq!(std::fs::read(base.path().join("a.db")).unwrap(), bytes);
        }
    }

    #[tokio::test]
    async fn a_disk_that_hangs_is_waited_for_no_longer_than_it_may() {
        let (_base, mut piece, _) = written(AT_ONCE / 2).await;
        let (end, hangs) = std::sync::mpsc::channel::<()>();
        piece.state = State::Writing(spawn_blocking(move || {
            let _ = hangs.recv();
            Err(std::io::Error::other("the disk is back"))
        }));
        piece.stalled = Duration::from_millis(50);
        let mut taken = Ok(());
        for _ in 0..2 {
            taken = taken.and(piece.take(&vec![0; AT_ONCE]).await);
        }
        let why = etcdup_core::plain::chain(&taken.unwrap_err());
        assert!(why.ends_with("it was not done within 0.05 s"), "{why}");
        // What came is not taken for written, whatever the disk does now.
        drop(end);
        assert!(piece.settle().await.is_err());
    }
}
