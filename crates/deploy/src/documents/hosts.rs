//! The hosts of a cluster as they were seen, as a document.

use std::collections::BTreeMap;

use etcdup_core::observation::{HostView, Observation};
use etcdup_core::observed::Observed;
use etcdup_planner::Planner;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The format that lists of hosts name.
pub const HOSTS_FORMAT: &str = "etcdup/hosts/1";

/// The hosts of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct HostsDocument {
    /// The format, [`HOSTS_FORMAT`].
    pub format: String,
    /// The cluster's name.
    pub cluster: String,
    /// The hosts.
    pub hosts: Vec<HostDocument>,
}

/// A host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct HostDocument {
    /// What the topology calls it.
    pub name: String,
    /// Why it could not be looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What was seen of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<HostSeen>,
}

/// What was seen of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct HostSeen {
    /// The name it calls itself.
    pub hostname: String,
    /// Its processor.
    pub architecture: String,
    /// How far its clock is ahead of this machine's, in milliseconds.
    pub clock_ahead_ms: i64,
    /// The members that run on it, and the file that each runs.
    pub runs: BTreeMap<String, String>,
    /// The units of members, each with its state in the words of systemd, such as `running`.
    pub units: BTreeMap<String, String>,
    /// What is free where members keep data, in bytes, by directory.
    pub free: BTreeMap<String, u64>,
}

impl HostsDocument {
    /// What was seen of the hosts.
    #[must_use]
    pub fn new(planner: &Planner, seen: &Observation) -> Self {
        let hosts = seen.hosts.iter().map(|(host, view)| {
            let (why, seen) = match view {
                Observed::Known(view) => (None, Some(HostSeen::new(view))),
                Observed::Unknown(unseen) => (Some(unseen.why.clone()), None),
            };
            HostDocument {
                name: host.to_string(),
                why,
                seen,
            }
        });
        Self {
            format: HOSTS_FORMAT.to_owned(),
            cluster: planner.topology().cluster.to_string(),
            hosts: hosts.collect(),
        }
    }
}

impl HostSeen {
    fn new(view: &HostView) -> Self {
        let runs = view.processes.iter();
        let units = view.units.iter();
        let disks = view.disks.iter();
        Self {
            hostname: view.facts.hostname.clone(),
            architecture: view.facts.architecture.to_string(),
            clock_ahead_ms: view.facts.clock_ahead_ms,
            runs: runs
                .map(|(member, process)| (member.to_string(), process.exe.clone()))
                .collect(),
            units: units
                .map(|(unit, view)| (unit.clone(), view.sub.clone()))
                .collect(),
            free: disks
                .map(|(path, disk)| (path.to_string(), disk.free))
                .collect(),
        }
    }
}
