//! Snapshots of a cluster.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which snapshots are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Snapshots {
    /// What `etcdup snapshot prune` keeps.
    pub keep: Keep,
}

/// What is kept when older snapshots are deleted: each that any of these keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Keep {
    /// So many of the newest.
    pub last: u32,
    /// The newest of each of so many hours in which there is one.
    pub hourly: u32,
    /// The newest of each of so many days, by UTC, in which there is one.
    pub daily: u32,
    /// The newest of each of so many weeks, from Monday by UTC, in which there is one.
    pub weekly: u32,
}

impl Default for Keep {
    fn default() -> Self {
        Self {
            last: 10,
            hourly: 24,
            daily: 7,
            weekly: 4,
        }
    }
}
