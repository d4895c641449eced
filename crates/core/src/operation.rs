//! An operation as data: what one run of a verb is, whoever carries it out and however often it is
//! taken over.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::name::ClusterName;
use crate::stage::Goal;

/// What an operation is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// Bring the cluster to what the topology says.
    Apply,
    /// Stop and disable the cluster.
    Reset,
    /// Free databases of what they do not use.
    Maintain,
    /// Disarm the alarm of a full database.
    Disarm,
    /// Make every member hold what a snapshot does.
    Restore,
    /// Give a restore up that was begun.
    AbortRestore,
    /// Go on with one member where too few are left.
    Recover,
    /// Let another member lead.
    MoveLeader,
}

/// Who does something: `user@machine`, or the name of a token. It goes into lines of fields on
/// hosts and is printed by shells, so it has no character but letters, digits, `@`, `.`, `_` and
/// `-`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Who(String);

impl Who {
    /// A name from any text; what it may not have becomes `_`.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let safe = |c: char| {
            if c.is_ascii_alphanumeric() || "@._-".contains(c) {
                c
            } else {
                '_'
            }
        };
        let text: String = text.chars().take(100).map(safe).collect();
        Self(if text.is_empty() {
            "unknown".to_owned()
        } else {
            text
        })
    }

    /// Someone of this name, on the same machine.
    #[must_use]
    pub fn beside(&self, name: &str) -> Self {
        match self.0.rsplit_once('@') {
            Some((_, machine)) => Self::new(&format!("{name}@{machine}")),
            None => Self::new(name),
        }
    }

    /// Whether this is their name, with or without the machine.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        let without = self.0.rsplit_once('@').map(|(own, _)| own);
        self.0 == name || without == Some(name)
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl<'de> Deserialize<'de> for Who {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::new(&String::deserialize(deserializer)?))
    }
}

/// The id of an operation: a UUID of version 7, so that ids sort by their beginning. Leases, host
/// records and events name it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct OperationId(#[schemars(regex(pattern = Self::PATTERN))] String);

impl OperationId {
    /// What every ID looks like.
    pub const PATTERN: &str = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$";
}

/// A text that is no id of an operation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not the id of an operation")]
pub struct OperationIdError(String);

/// How an operation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OperationState {
    /// It runs, or its process died: the lock beside its record tells which.
    Running,
    /// It reached its goal.
    Done,
    /// It ended before its goal.
    Failed,
    /// Somebody stopped it.
    Stopped,
}

/// A request with a key that makes it safe to be sent twice, without what is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RequestDigest {
    /// SHA-256, hex, of the key and of whose it is.
    pub key: String,
    /// SHA-256, hex, of the body.
    pub body: String,
}

/// The record of an operation: `operation.json` in its directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct OperationRecord {
    /// The format of the record, [`OPERATION_FORMAT`].
    pub format: String,
    /// Its id.
    pub id: OperationId,
    /// The cluster.
    pub cluster: ClusterName,
    /// What it is for.
    pub verb: Verb,
    /// The same with what was allowed.
    #[serde(flatten)]
    pub goal: Goal,
    /// Who began it.
    pub who: Who,
    /// When it began.
    pub begun: Timestamp,
    /// SHA-256, hex, of the topology file that it was begun with; what is in the file later was not
    /// approved with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topology: Option<String>,
    /// The ID of the token that it was begun with, where it was begun over HTTP: names may be given
    /// again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// What asked for it, where that may ask again: the same request begins nothing twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestDigest>,
    /// How often it was taken over; 1 for the process that began it.
    pub epoch: u64,
    /// How it stands.
    pub state: OperationState,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// Why it ended, where it did not reach its goal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// The format that operation records name.
pub const OPERATION_FORMAT: &str = "etcdup/operation/1";

impl Verb {
    /// What an operation for this goal is called.
    #[must_use]
    pub const fn of(goal: &Goal) -> Self {
        match goal {
            Goal::Converge { .. } => Verb::Apply,
            Goal::Reset { .. } => Verb::Reset,
            Goal::Maintain { .. } => Verb::Maintain,
            Goal::Disarm => Verb::Disarm,
            Goal::Restore { .. } => Verb::Restore,
            Goal::AbortRestore { .. } => Verb::AbortRestore,
            Goal::Recover { .. } => Verb::Recover,
            Goal::MoveLeader { .. } => Verb::MoveLeader,
        }
    }

    /// All of them, as documents and the hosts' logs spell them.
    pub const NAMES: &'static [&'static str] = &[
        Verb::Apply.as_str(),
        Verb::Reset.as_str(),
        Verb::Maintain.as_str(),
        Verb::Disarm.as_str(),
        Verb::Restore.as_str(),
        Verb::AbortRestore.as_str(),
        Verb::Recover.as_str(),
        Verb::MoveLeader.as_str(),
    ];

    /// As documents and the hosts' logs spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Verb::Apply => "apply",
            Verb::Reset => "reset",
            Verb::Maintain => "maintain",
            Verb::Disarm => "disarm",
            Verb::Restore => "restore",
            Verb::AbortRestore => "abort-restore",
            Verb::Recover => "recover",
            Verb::MoveLeader => "move-leader",
        }
    }
}

impl OperationState {
    /// As documents and the hosts' logs spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            OperationState::Running => "running",
            OperationState::Done => "done",
            OperationState::Failed => "failed",
            OperationState::Stopped => "stopped",
        }
    }
}

impl fmt::Display for OperationState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl OperationId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for OperationId {
    type Err = OperationIdError;

    /// It becomes the name of a directory and part of a line on hosts, so nothing but a UUID is
    /// one.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = |part: &str| part.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'));
        let lengths: Vec<usize> = text.split('-').map(str::len).collect();
        if lengths == [8, 4, 4, 4, 12] && text.split('-').all(digits) {
            Ok(Self(text.to_owned()))
        } else {
            Err(OperationIdError(text.to_owned()))
        }
    }
}

impl<'de> Deserialize<'de> for OperationId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verb_is_spelt_in_one_way() {
        for name in Verb::NAMES {
            let verb: Verb = serde_json::from_value((*name).into()).unwrap();
            assert_eq!(verb.to_string(), *name);
        }
    }

    #[test]
    fn a_name_forges_no_field() {
        assert_eq!(Who::new("ann@laptop").as_str(), "ann@laptop");
        assert_eq!(Who::new("CORP\\nick|x\ny").as_str(), "CORP_nick_x_y");
        assert_eq!(Who::new("").as_str(), "unknown");
    }

    #[test]
    fn an_id_is_a_uuid_and_nothing_that_leads_elsewhere() {
        let id = "01931b2e-7c2a-7d11-8a54-3f2a9c0d1e4b";
        assert_eq!(id.parse::<OperationId>().unwrap().as_str(), id);
        for wrong in [
            "",
            "..",
            "../../etc",
            "01931B2E-7c2a-7d11-8a54-3f2a9c0d1e4b",
            "x",
        ] {
            assert!(wrong.parse::<OperationId>().is_err(), "{wrong}");
        }
    }
}
