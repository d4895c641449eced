//! What can go wrong, in words for whoever ran it.

use std::path::PathBuf;

use etcdup_core::finding::Finding;
use etcdup_core::stage::StageKey;
use etcdup_core::topology::{HostId, ParseError, ResolveError};
use etcdup_planner::Forecast;
use etcdup_render::RenderError;

use crate::release::ReleaseError;
use crate::vault::VaultError;

/// Why an operation did not reach its end.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// The topology file cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The topology file is no topology.
    #[error("{name}: {error}")]
    Parse {
        /// The file's name.
        name: String,
        /// Its text.
        text: String,
        /// What is wrong.
        error: ParseError,
    },
    /// The topology contradicts what hosts say.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// A file cannot be rendered.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// Findings stand in the way; nothing was changed since they were found.
    #[error("{} {} in the way", .0.len(), if .0.len() == 1 { "thing stands" } else { "things stand" })]
    Blocked(Vec<Finding>),
    /// What is to be done next is not in the plan that was approved.
    #[error("the plan changed: `{key}` was not in it")]
    PlanChanged {
        /// The stage that was not foreseen.
        key: StageKey,
        /// The new plan.
        forecast: Box<Forecast>,
    },
    /// A stage would run again although it ran without its effect.
    #[error("`{0}` ran and did not have its effect; run again to try once more")]
    NoEffect(StageKey),
    /// Another operation holds the lease.
    #[error("{host} is held by {who}: {verb}, since {since}")]
    Locked {
        /// The host.
        host: HostId,
        /// Who.
        who: String,
        /// What they do.
        verb: String,
        /// Since when.
        since: String,
    },
    /// The lease was lost to somebody else, or could not be renewed.
    #[error("the lease on {host} was lost: {why}")]
    LeaseLost {
        /// The host.
        host: HostId,
        /// Why.
        why: String,
    },
    /// Hosts failed; the others finished their part of the stage.
    #[error("{} of the stage's hosts failed", .0.len())]
    Hosts(Vec<HostFailure>),
    /// A gate did not hold in time.
    #[error("{holds} did not come true within {seconds} s: {why}")]
    Gate {
        /// What was to hold.
        holds: String,
        /// For so long it was waited for.
        seconds: u64,
        /// Why it does not hold.
        why: String,
        /// The last lines of the member's log.
        console: Vec<String>,
    },
    /// A call to the cluster failed.
    #[error("{what}: {why}")]
    Cluster {
        /// The call.
        what: String,
        /// What the member said.
        why: String,
    },
    /// Binaries cannot be had.
    #[error(transparent)]
    Release(#[from] ReleaseError),
    /// Keys or certificates cannot be had.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The operator stopped it.
    #[error("stopped after `{0}`; run again to go on")]
    Stopped(String),
}

/// How a host failed within a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostFailure {
    /// The host.
    pub host: HostId,
    /// The step, or what was done.
    pub step: String,
    /// What happened.
    pub why: String,
    /// The last lines it printed.
    pub lines: Vec<String>,
}
