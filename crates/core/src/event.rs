//! What happens during an operation, as it happens: one stream for the terminal, JSON lines and the HTTP API.

use serde::Serialize;

use crate::finding::Finding;
use crate::host::HostId;

/// One event. The first of an operation says all stages; a terminal one ends the stream; readers skip what they
/// do not know.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Event {
    /// Counts from 0 within the operation.
    pub seq: u64,
    /// When, RFC 3339.
    pub at: String,
    /// The operation's id.
    pub operation: String,
    /// What happened.
    #[serde(flatten)]
    pub body: Body,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Body {
    /// The operation begins; these stages were approved.
    Started {
        /// The format of these events.
        format: &'static str,
        /// The verb.
        verb: String,
        /// The stages' titles, in order.
        stages: Vec<String>,
    },
    /// Another holds the lease; it is waited for.
    Waiting {
        /// Who and since when.
        holder: String,
    },
    /// A stage begins.
    StageStarted {
        /// Its position, from 0.
        index: usize,
        /// Its key.
        key: String,
        /// One line for people.
        title: String,
    },
    /// A host does something within a stage.
    Host {
        /// The host.
        host: HostId,
        /// What it does, or did.
        what: String,
        /// How it stands.
        state: HostState,
    },
    /// A gate is waited for.
    Gate {
        /// What must hold.
        holds: String,
        /// Why it does not hold yet; empty when it does.
        why: String,
    },
    /// A stage ended well.
    StageDone {
        /// Its position, from 0.
        index: usize,
        /// How long it took, in milliseconds.
        elapsed_ms: u64,
    },
    /// The end: all is done.
    Done {
        /// How long all took, in milliseconds.
        elapsed_ms: u64,
    },
    /// The end: something failed.
    Failed {
        /// What, and where.
        message: String,
        /// What was found.
        findings: Vec<Finding>,
    },
    /// The end: the operator stopped it.
    Stopped {
        /// Where things stand.
        message: String,
    },
}

/// How a host stands within a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostState {
    /// It works.
    Working,
    /// It is done.
    Done,
    /// It failed.
    Failed,
}

/// The format that the first event names.
pub const EVENT_FORMAT: &str = "etcdup/events/1";
