//! A file that is being written: it has its name once it is whole.

use std::fs::File;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use tokio::task::{JoinHandle, spawn_blocking};

use super::aligned::AlignedBuffer;
use super::digest::SnapshotDigest;
use super::error::{FlowError, PlaceError};
use super::flow::Sink;
use super::place::{Piece, Settled};
use crate::tasks::blocking;

/// How much is written at once: members send pieces of 32 KiB, and a disk is waited for each time.
const AT_ONCE: usize = 4 << 20;

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
    to: PathBuf,
    /// What has come and is not written yet.
    waiting: AlignedBuffer,
    state: State,
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
    file: tempfile::NamedTempFile,
    size: u64,
    /// Whether it goes past the page cache.
    direct: bool,
    /// What was read back of a snapshot.
    back: Option<SnapshotDigest>,
}

impl PartialFile {
    fn new(directory: &Path, is_snapshot: bool) -> std::io::Result<Self> {
        let file = piece_in(directory)?;
        // What is read back is what the disk has, a gigabyte that nobody reads soon drives nothing
        // out of memory, and two copies less are made of it.
        let direct = set_direct(file.as_file(), true);
        Ok(Self {
            file,
            size: 0,
            direct,
            back: is_snapshot.then(SnapshotDigest::default),
        })
    }

    /// Appends what is in the buffer, and reads it back into it. Only the last may be less than a
    /// buffer holds.
    fn write(&mut self, buffer: &mut AlignedBuffer) -> std::io::Result<()> {
        if self.direct && !buffer.is_full() {
            self.leave_direct();
        }
        let written = self.file.as_file().write_all_at(buffer.filled(), self.size);
        match written {
            // A file system may take the flag, and then want another alignment.
            Err(error) if self.direct && error.kind() == std::io::ErrorKind::InvalidInput => {
                self.leave_direct();
                self.file
                    .as_file()
                    .write_all_at(buffer.filled(), self.size)?;
            }
            written => written?,
        }
        if let Some(back) = &mut self.back {
            let file = self.file.as_file();
            file.read_exact_at(buffer.filled_mut(), self.size)?;
            back.push(buffer.filled());
        }
        self.size += buffer.filled().len() as u64;
        buffer.clear();
        Ok(())
    }

    fn leave_direct(&mut self) {
        set_direct(self.file.as_file(), false);
        self.direct = false;
    }

    /// All of it is where no power cut takes it away.
    fn sync(&self) -> std::io::Result<()> {
        self.file.as_file().sync_all()
    }
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
        let file = blocking(move || PartialFile::new(&directory, is_snapshot)).await;
        let file = Box::new(file.map_err(|source| PlaceError::new(show, source))?);
        Ok(Self {
            to,
            waiting: AlignedBuffer::new(AT_ONCE),
            state: State::Idle((file, AlignedBuffer::new(AT_ONCE))),
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
            State::Writing(writing) => writing.await.unwrap_or_else(|error| Err(error.into())),
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
        let synced = blocking(move || {
            file.sync()?;
            let reader = file.file.reopen()?;
            Ok((file, reader))
        });
        let (file, reader) = synced.await.map_err(self.failed())?;
        self.state = State::Idle((file, room));
        Ok(match back {
            Some(back) => Settled::ReadBack(back),
            None => Settled::Readable(Box::new(tokio::fs::File::from_std(reader))),
        })
    }

    async fn finish(mut self: Box<Self>) -> Result<(), PlaceError> {
        let ((file, _), to) = (self.written().await?, self.to.clone());
        let finished = blocking(move || {
            file.sync()?;
            file.file.persist(&to).map_err(|error| error.error)?;
            let parent = to.parent().unwrap_or(Path::new("."));
            File::open(parent)?.sync_all()
        });
        finished.await.map_err(self.failed())
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
}
