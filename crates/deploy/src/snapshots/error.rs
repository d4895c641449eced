//! Why a snapshot could not be read, kept or moved.

use std::fmt;

use etcdup_client::ClientError;

use super::digest::SnapshotFault;

/// Why something of a place could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {what}")]
pub struct PlaceError {
    /// The file, directory or object.
    pub what: String,
    /// Why not.
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

impl PlaceError {
    pub(super) fn new(
        what: impl fmt::Display,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self {
            what: what.to_string(),
            source: source.into(),
        }
    }
}

/// Why a snapshot did not get to where it was to go.
#[derive(Debug, thiserror::Error)]
pub enum FlowError {
    /// The member sends none, or not to its end.
    #[error("the member sends no whole snapshot")]
    Member(#[from] ClientError),
    /// It cannot be read or written where it is kept.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// A command that encrypts or decrypts failed.
    #[error("`{command}` {why}")]
    Command {
        /// The program.
        command: String,
        /// How it ended, and what it said.
        why: String,
    },
    /// It is not whole.
    #[error(transparent)]
    Fault(#[from] SnapshotFault),
}
