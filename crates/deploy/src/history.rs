//! What was done to a cluster: the hosts' own logs, which are the same for every operator, and the
//! journal here, which alone has all events.

use std::collections::{BTreeMap, BTreeSet};

use etcdup_core::host::HostId;
use etcdup_core::name::ClusterName;
use etcdup_core::observed::Observed;
use etcdup_core::operation::{OperationId, OperationState};
use etcdup_core::plain::chain;
use etcdup_core::stage::StageKey;
use etcdup_core::topology::Topology;
use etcdup_host::{Header, LogEntry, LogLine, first_stages, read_log};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::DeployError;
use crate::observe::state_of;
use crate::scripts::HISTORY;
use crate::session::Session;
use crate::store::{StoreError, StoredOperation};
use crate::tasks::{blocking, run_all};

/// The format that histories name.
pub const HISTORY_FORMAT: &str = "etcdup/history/1";

/// What was done to a cluster, the newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct HistoryDocument {
    /// The format, [`HISTORY_FORMAT`].
    pub format: String,
    /// The cluster's name.
    pub cluster: ClusterName,
    /// The operations.
    pub operations: Vec<PastOperation>,
    /// Hosts whose log was not read: what only they know is missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unseen: Vec<UnseenLog>,
}

/// A host whose log was not read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UnseenLog {
    /// The host.
    pub host: HostId,
    /// Why not.
    pub why: String,
}

/// How an operation ended, as far as anyone knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PastState {
    /// A process of this machine carries it out.
    Running,
    /// It reached its goal.
    Done,
    /// It ended before its goal.
    Failed,
    /// Somebody stopped it.
    Stopped,
    /// Its process, on this machine, died.
    Interrupted,
    /// It began, and nobody noted an end: it runs elsewhere, or its process died there.
    Unknown,
}

impl PastState {
    /// How an operation stands that is recorded here.
    #[must_use]
    pub fn of(stored: &StoredOperation) -> Self {
        match stored.record.state {
            OperationState::Running if stored.interrupted => Self::Interrupted,
            OperationState::Running => Self::Running,
            OperationState::Done => Self::Done,
            OperationState::Failed => Self::Failed,
            OperationState::Stopped => Self::Stopped,
        }
    }
}

/// An operation as hosts and the journal have it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct PastOperation {
    /// Its ID.
    pub id: OperationId,
    /// What it was for: `apply`.
    pub verb: String,
    /// Who began it, and from which machine.
    pub who: String,
    /// When it began.
    pub begun: Timestamp,
    /// When it ended, where that was noted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// How it ended.
    pub state: PastState,
    /// Why it failed, where the journal is here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The stages that were approved; a last `+3` where there were three more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<String>,
    /// The hosts that know of it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub hosts: BTreeSet<HostId>,
    /// Whether its events are here: all that happened, and not only this summary.
    pub events: bool,
}

impl Session {
    /// What was done to the cluster, by everyone.
    ///
    /// # Errors
    /// When the topology cannot be made concrete, or the journal cannot be read. A host that does
    /// not answer is named in the document.
    pub async fn history(&self) -> Result<HistoryDocument, DeployError> {
        let topology = self.resolved().await?;
        let logs = self.logs_of_hosts(&topology).await;
        let (store, cluster) = (self.store.clone(), topology.cluster.clone());
        let stored = blocking(move || {
            let mut stored = store.list()?;
            stored.retain(|one| one.record.cluster == cluster);
            let with_stages = stored.into_iter().map(|one| {
                // One whose plan cannot be read happened all the same.
                let plan = store.plan(&one.record.id).unwrap_or_default();
                let stages: Vec<StageKey> = plan.stages.into_iter().map(|one| one.key).collect();
                (one, first_stages(&stages))
            });
            Ok::<_, StoreError>(with_stages.collect::<Vec<_>>())
        });
        let stored = stored.await?;
        let mut unseen = Vec::new();
        let mut lines = Vec::new();
        for (host, log) in logs {
            match log {
                Ok(log) => lines.extend(log.into_iter().map(|line| (host.clone(), line))),
                Err(why) => unseen.push(UnseenLog { host, why }),
            }
        }
        Ok(HistoryDocument {
            format: HISTORY_FORMAT.to_owned(),
            operations: merge(&topology.cluster, &lines, &stored),
            cluster: topology.cluster,
            unseen,
        })
    }

    async fn logs_of_hosts(
        &self,
        topology: &Topology,
    ) -> Vec<(HostId, Result<Vec<LogLine>, String>)> {
        let asked = topology.hosts.keys().map(|host| {
            let header = Header {
                state: &state_of(topology, host),
                cluster: topology.cluster.as_str(),
                operation: None,
                now: Timestamp::now(),
            };
            let (header, link) = (header.line(), self.link(host));
            let ask = async move {
                let link = match link {
                    Observed::Known(link) => link,
                    Observed::Unknown(unseen) => return Err(unseen.why),
                };
                let input = Box::new(std::io::Cursor::new(header));
                match link.run(&HISTORY, input).await {
                    Ok(output) => read_log(&output.text(), &output.last_stderr_line()),
                    Err(error) => Err(chain(&error)),
                }
            };
            (host.clone(), ask)
        });
        let asked: Vec<_> = asked.collect();
        let logs = run_all(asked).await.into_iter();
        logs.map(|(host, log)| (host, log.unwrap_or_else(Err)))
            .collect()
    }
}

/// What hosts and the journal know of each operation, the newest first.
fn merge(
    cluster: &ClusterName,
    lines: &[(HostId, LogLine)],
    stored: &[(StoredOperation, Vec<String>)],
) -> Vec<PastOperation> {
    let mut known: BTreeMap<OperationId, PastOperation> = BTreeMap::new();
    let mut last_begun: BTreeMap<OperationId, Timestamp> = BTreeMap::new();
    let mut ended: BTreeMap<OperationId, (Timestamp, PastState)> = BTreeMap::new();
    for (host, line) in lines {
        let Ok(id) = line.operation.parse::<OperationId>() else {
            continue;
        };
        if line.cluster != cluster.as_str() {
            continue;
        }
        match &line.what {
            LogEntry::Began { verb, who, stages } => {
                let last = last_begun.entry(id.clone()).or_insert(line.at);
                *last = (*last).max(line.at);
                let one = known.entry(id.clone()).or_insert_with(|| PastOperation {
                    id,
                    verb: verb.clone(),
                    who: who.clone(),
                    begun: line.at,
                    ended: None,
                    state: PastState::Unknown,
                    message: None,
                    stages: stages.clone(),
                    hosts: BTreeSet::new(),
                    events: false,
                });
                if line.at < one.begun {
                    one.begun = line.at;
                    one.verb.clone_from(verb);
                    one.who.clone_from(who);
                    one.stages.clone_from(stages);
                }
                one.hosts.insert(host.clone());
            }
            LogEntry::Ended { state } => {
                let state = match state.as_str() {
                    "done" => PastState::Done,
                    "failed" => PastState::Failed,
                    "stopped" => PastState::Stopped,
                    _ => continue,
                };
                let last = ended.entry(id).or_insert((line.at, state));
                if line.at > last.0 {
                    *last = (line.at, state);
                }
            }
        }
    }
    for (id, one) in &mut known {
        // One that was stopped and gone on with has not ended.
        let begun = last_begun.get(id).copied().unwrap_or(one.begun);
        if let Some((at, state)) = ended.get(id).filter(|(at, _)| *at >= begun) {
            (one.ended, one.state) = (Some(*at), *state);
        }
    }
    for (stored, stages) in stored {
        let record = &stored.record;
        let hosts = known.remove(&record.id);
        let one = PastOperation {
            id: record.id.clone(),
            verb: record.verb.to_string(),
            who: record.who.to_string(),
            begun: record.begun,
            ended: record.ended,
            state: PastState::of(stored),
            message: record.message.clone(),
            // Hosts forget in time, and those that are gone say nothing; a plan may be damaged.
            stages: match (stages.is_empty(), &hosts) {
                (true, Some(hosts)) => hosts.stages.clone(),
                (false, _) | (true, None) => stages.clone(),
            },
            hosts: hosts.map(|one| one.hosts).unwrap_or_default(),
            events: true,
        };
        known.insert(record.id.clone(), one);
    }
    let mut operations: Vec<PastOperation> = known.into_values().collect();
    operations.sort_by(|a, b| (b.begun, &b.id).cmp(&(a.begun, &a.id)));
    operations
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests say what they expect")]

    use super::*;
    use crate::store::running_record;

    const FIRST: &str = "0192f3a4-0000-7000-8000-000000000001";
    const SECOND: &str = "0192f3a4-0000-7000-8000-000000000002";

    fn began(at: i64, id: &str, cluster: &str) -> LogLine {
        let what = LogEntry::Began {
            verb: "apply".into(),
            who: "anna@laptop".into(),
            stages: vec!["roll:m2".into()],
        };
        line(at, id, cluster, what)
    }

    fn ended(at: i64, id: &str, state: &str) -> LogLine {
        line(
            at,
            id,
            "prod",
            LogEntry::Ended {
                state: state.into(),
            },
        )
    }

    fn line(at: i64, id: &str, cluster: &str, what: LogEntry) -> LogLine {
        LogLine {
            at: Timestamp::from_second(at).unwrap(),
            cluster: cluster.into(),
            operation: id.into(),
            epoch: 1,
            what,
        }
    }

    fn merged(lines: Vec<LogLine>) -> Vec<(String, PastState, usize)> {
        let hosts = ["10.0.0.1", "10.0.0.2"];
        let both = hosts.iter().flat_map(|host| {
            let lines = lines.iter().cloned();
            lines.map(|line| (HostId::new(*host), line))
        });
        let all: Vec<_> = both.collect();
        let merged = merge(&"prod".parse().unwrap(), &all, &[]);
        let one = |one: PastOperation| (one.id.to_string(), one.state, one.hosts.len());
        merged.into_iter().map(one).collect()
    }

    #[test]
    fn what_several_hosts_know_is_one_operation() {
        let lines = vec![
            began(1, FIRST, "prod"),
            ended(2, FIRST, "done"),
            began(3, SECOND, "prod"),
            began(4, "not an id", "prod"),
            began(4, "0192f3a4-0000-7000-8000-000000000003", "another"),
        ];
        let expected = vec![
            (SECOND.to_owned(), PastState::Unknown, 2),
            (FIRST.to_owned(), PastState::Done, 2),
        ];
        assert_eq!(merged(lines), expected);
    }

    #[test]
    fn what_hosts_forgot_the_journal_has() {
        let stored = StoredOperation {
            record: running_record(7),
            interrupted: false,
            cancelled: false,
        };
        let stages = vec!["roll:m1".to_owned()];
        let merged = merge(&"prod".parse().unwrap(), &[], &[(stored, stages.clone())]);
        assert_eq!((merged[0].stages.clone(), merged[0].events), (stages, true));
    }

    #[test]
    fn one_that_was_gone_on_with_has_not_ended() {
        let mut lines = vec![
            began(1, FIRST, "prod"),
            ended(2, FIRST, "stopped"),
            began(3, FIRST, "prod"),
        ];
        assert_eq!(merged(lines.clone())[0].1, PastState::Unknown);
        lines.push(ended(4, FIRST, "done"));
        assert_eq!(merged(lines)[0].1, PastState::Done);
    }
}
