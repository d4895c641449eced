//! What etcdup left on a host: the host record and the lease.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::path::HostPath;

/// `<state>/<cluster>.json`: a hint, never a truth. Deleting it costs a rehash, no more.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRecord {
    /// `etcdup/record/1`.
    pub format: String,
    /// Counts the stages that changed this host.
    pub generation: u64,
    /// How often the cluster was reset: the default token of the next one counts it.
    #[serde(default)]
    pub resets: u64,
    /// SHA-256 of the topology that was applied last.
    pub spec: String,
    /// What was written, by path.
    pub files: BTreeMap<HostPath, RecordedFile>,
    /// The last operations, oldest first; at most twenty.
    pub history: Vec<Operation>,
}

/// A file that etcdup wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedFile {
    /// Its SHA-256, hex.
    pub sha256: String,
}

/// One operation that changed this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Its id, a UUIDv7.
    pub id: String,
    /// When, RFC 3339.
    pub at: String,
    /// The verb.
    pub verb: String,
    /// Who, `user@machine`.
    pub who: String,
    /// The stage's key.
    pub stage: String,
}

/// A lease on a host, as its file says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseView {
    /// The operation that holds it.
    pub operation: String,
    /// The verb.
    pub verb: String,
    /// Counts holders: a later one is higher.
    pub epoch: u64,
    /// Who holds it, `user@machine`.
    pub who: String,
    /// Since when, by the holder's clock; for people only.
    pub since: String,
    /// Whether the host itself says that it has run out.
    pub expired: bool,
}
