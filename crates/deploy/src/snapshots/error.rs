//! Why a snapshot could not be read, kept or moved.

use std::fmt;

use etcdup_client::ClientError;
use etcdup_core::name::MemberName;

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

impl FlowError {
    /// Whether the snapshot itself is at fault, rather than the way to it.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Fault(_))
    }
}

fn in_parentheses(why: &Option<String>) -> String {
    why.as_ref()
        .map_or_else(String::new, |why| format!(" ({why})"))
}

/// Why no snapshot was taken. Nothing is left of it.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// None of that name is kept.
    #[error("there is no snapshot `{0}`")]
    Unknown(String),
    /// There is none to take it of.
    #[error("no member serves to take a snapshot of{}", in_parentheses(.why))]
    Nobody {
        /// Why the first of them is not known to, where that is so.
        why: Option<String>,
    },
    /// The member that was asked for does not serve.
    #[error("{member} does not serve, so no snapshot is taken of it{}", in_parentheses(.why))]
    Unhealthy {
        /// The member.
        member: MemberName,
        /// Why it is not known to, where that is so.
        why: Option<String>,
    },
    /// The alarm CORRUPT of the member that was asked for is raised.
    #[error("the alarm CORRUPT of {0} is raised: its data differs from the others'")]
    Corrupt(MemberName),
    /// What members hold now is about to be replaced, or was not verified yet.
    #[error("the cluster is being restored from {0}: no snapshot is taken before that has ended")]
    Restoring(String),
    /// The member cannot be reached.
    #[error("{member} cannot be asked: {why}")]
    Unreachable {
        /// The member.
        member: MemberName,
        /// Why not.
        why: String,
    },
    /// It was not saved.
    #[error("no snapshot of {member}")]
    Save {
        /// The member.
        member: MemberName,
        /// Why not.
        source: FlowError,
    },
}
