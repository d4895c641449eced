//! Where snapshots are kept: a directory, or a store of objects.

use std::fmt;
use std::path::PathBuf;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::io::AsyncRead;

use super::digest::SnapshotDigest;
use super::error::PlaceError;
use super::flow::Sink;

/// How a snapshot's file ends.
pub(super) const PLAIN: &str = ".db";
/// The same where a command encrypted it.
pub(super) const ENCRYPTED: &str = ".db.enc";
/// How its document ends.
pub(super) const DOCUMENT: &str = ".json";

/// A file that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// Its name, without any directory.
    pub(super) name: String,
    /// Its size, in bytes.
    pub(super) size: u64,
    /// When it was written.
    pub(super) written: Timestamp,
}

/// A place of files by name. A name is there whole, or not at all.
#[async_trait]
pub(super) trait Place: fmt::Debug + Send + Sync {
    /// Makes it ready to be written to.
    async fn prepare(&self) -> Result<(), PlaceError>;

    /// All that is there; nothing where there is no such place yet.
    async fn list(&self) -> Result<Vec<Found>, PlaceError>;

    /// Reads one.
    async fn read(&self, name: &str) -> Result<Box<dyn AsyncRead + Send + Unpin>, PlaceError>;

    /// Begins to write one.
    async fn write(&self, name: &str) -> Result<Box<dyn Piece>, PlaceError>;

    /// Deletes one; that it is gone already is no error.
    async fn delete(&self, name: &str) -> Result<(), PlaceError>;

    /// Where one is, or all of them are where the name is empty, as people write it.
    fn show(&self, name: &str) -> String;

    /// The file that one is, where it is one on this machine.
    fn file(&self, name: &str) -> Option<PathBuf>;
}

/// How something is read back that has no name yet.
pub(super) enum Settled {
    /// It was, piece by piece as it was written: it is to be a plain snapshot.
    ReadBack(SnapshotDigest),
    /// By this.
    Readable(Box<dyn AsyncRead + Send + Unpin>),
    /// Only once it has its name.
    Later,
}

/// Something that is being written: it has no name before it is finished, and nothing is left of it
/// where it never is.
#[async_trait]
pub(super) trait Piece: Sink {
    /// Puts all of it where no power cut takes it away. How it is read back from there.
    async fn settle(&mut self) -> Result<Settled, PlaceError> {
        Ok(Settled::Later)
    }

    /// Ends it without a name: nothing is left of it.
    async fn discard(self: Box<Self>) {}

    /// Gives it its name, once it is where no power cut takes it away.
    async fn finish(self: Box<Self>) -> Result<(), PlaceError>;
}
