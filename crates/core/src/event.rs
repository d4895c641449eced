//! What happens during an operation, as it happens: one stream for the terminal, JSON lines and the
//! HTTP API.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::finding::Finding;
use crate::host::HostId;
use crate::operation::{OperationId, Verb, Who};
use crate::stage::StageKey;

/// One event. The first of an operation, or the one behind a wait for its turn, says all stages; a
/// terminal one ends the stream; readers skip what they do not know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// Counts from 0 within the operation.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// The operation.
    pub operation: OperationId,
    /// What happened.
    #[serde(flatten)]
    pub body: Body,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Body {
    /// The operation begins; these stages were approved.
    Started {
        /// The format of these events.
        format: String,
        /// What the operation is for.
        verb: Verb,
        /// The stages, in order.
        stages: Vec<PlannedStage>,
    },
    /// Another process goes on with an operation whose own has died.
    Resumed {
        /// How often the operation was taken over by now.
        epoch: u64,
        /// Who goes on with it.
        who: Who,
    },
    /// Another operation is waited for: one that holds the lease, or those of the same process that
    /// have their turn first.
    Waiting {
        /// Which, and since when where that is known.
        holder: String,
    },
    /// A stage begins.
    StageStarted {
        /// Its position in the approved plan, from 0.
        index: usize,
        /// Its key.
        key: StageKey,
        /// One line for people.
        title: String,
        /// What its leg brings the cluster to, where it is the first of a leg of several.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        leg: Option<String>,
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
        /// Its position in the approved plan, from 0.
        index: usize,
        /// Its key.
        key: StageKey,
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

/// A stage of the plan that an operation was begun with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlannedStage {
    /// Its key.
    pub key: StageKey,
    /// One line for people.
    pub title: String,
    /// What its leg brings the cluster to, in a plan of several legs: `etcd 3.5.33`. Once the last
    /// stage of a leg is done, that is where the cluster stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leg: Option<String>,
}

impl Body {
    /// Whether nothing comes after it.
    #[must_use]
    pub fn is_end(&self) -> bool {
        match self {
            Body::Done { .. } | Body::Failed { .. } | Body::Stopped { .. } => true,
            Body::Started { .. }
            | Body::Resumed { .. }
            | Body::Waiting { .. }
            | Body::StageStarted { .. }
            | Body::Host { .. }
            | Body::Gate { .. }
            | Body::StageDone { .. } => false,
        }
    }
}

/// How a host stands within a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
