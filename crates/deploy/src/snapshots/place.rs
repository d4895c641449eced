//! Where snapshots are kept: a directory, or a store of objects.

use std::fmt;
use std::path::PathBuf;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::io::AsyncRead;

use super::error::PlaceError;
use super::flow::Sink;

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

/// Something that is being written: it has no name before it is finished, and nothing is left of it
/// where it never is.
#[async_trait]
pub(super) trait Piece: Sink {
    /// Puts all of it where no power cut takes it away, and reads it back from there where that
    /// can be done before it has its name.
    async fn settle(&mut self) -> Result<Option<Box<dyn AsyncRead + Send + Unpin>>, PlaceError> {
        Ok(None)
    }

    /// Gives it its name, once it is where no power cut takes it away.
    async fn finish(self: Box<Self>) -> Result<(), PlaceError>;
}
