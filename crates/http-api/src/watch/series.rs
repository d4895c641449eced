//! What members answered in the last hour, for charts.

use std::collections::{BTreeMap, VecDeque};

use etcdup_deploy::StatusDocument;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

/// How many points are kept: an hour, where members are asked every ten seconds.
const MOST: usize = 360;

/// How members stood at some moment.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Point {
    /// When.
    pub at: Timestamp,
    /// How many voters were healthy.
    pub healthy: usize,
    /// The members that answered, by name.
    pub members: BTreeMap<String, MemberPoint>,
}

/// How a member stood at some moment.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct MemberPoint {
    /// The size of its database file, in bytes.
    pub db_bytes: i64,
    /// How much of that is in use, in bytes.
    pub db_in_use_bytes: i64,
    /// How many raft entries it is behind the member that has most.
    pub behind: u64,
    /// How long a read took, in milliseconds; none where none went through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_ms: Option<f64>,
}

/// Points, the oldest first.
#[derive(Default)]
pub(crate) struct Series(VecDeque<Point>);

impl Series {
    pub(crate) fn add(&mut self, at: Timestamp, status: &StatusDocument) {
        let answers = || {
            let members = status.members.iter();
            members.filter_map(|member| Some((&member.name, member.answer.as_ref()?)))
        };
        let most = answers().map(|(_, answer)| answer.raft_index).max();
        let most = most.unwrap_or_default();
        let members = answers().map(|(name, answer)| {
            let point = MemberPoint {
                db_bytes: answer.db_bytes,
                db_in_use_bytes: answer.db_in_use_bytes,
                behind: most.saturating_sub(answer.applied_index),
                read_ms: answer.read_ms,
            };
            (name.clone(), point)
        });
        let point = Point {
            at,
            healthy: status.healthy,
            members: members.collect(),
        };
        self.0.push_back(point);
        if self.0.len() > MOST {
            self.0.pop_front();
        }
    }

    pub(crate) fn points(&self) -> Vec<Point> {
        self.0.iter().cloned().collect()
    }
}
