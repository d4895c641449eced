//! What can go wrong, in words for whoever ran it.

use std::path::PathBuf;

use etcdup_core::file::ParseError;
use etcdup_core::finding::{Check, Finding};
use etcdup_core::host::HostId;
use etcdup_core::name::MemberName;
use etcdup_core::stage::{Beyond, StageKey};
use etcdup_core::topology::ResolveError;
use etcdup_core::version::EtcdVersion;
use etcdup_planner::{Forecast, VERSION_FAILED};
use etcdup_render::RenderError;

use crate::binaries::release::ReleaseError;
use crate::snapshots::{FlowError, SnapshotFault, TakeError};
use crate::store::StoreError;
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
    /// A snapshot is not whole, or not the one that was ordered.
    #[error(transparent)]
    Snapshot(#[from] SnapshotFault),
    /// No snapshot was taken, or there is none of that name.
    #[error(transparent)]
    Take(#[from] TakeError),
    /// A snapshot cannot be read or kept.
    #[error(transparent)]
    Flow(#[from] FlowError),
    /// Findings stand in the way; nothing was changed since they were found.
    #[error("blocked by {} finding{}", .0.len(), if .0.len() == 1 { "" } else { "s" })]
    Blocked(Vec<Finding>),
    /// What is to be done next is not in the plan that was approved.
    #[error("the plan changed: stage `{key}`: {beyond}")]
    PlanChanged {
        /// The stage that was not approved.
        key: Box<StageKey>,
        /// How it goes beyond what was approved.
        beyond: Beyond,
        /// The new plan.
        forecast: Box<Forecast>,
    },
    /// A stage would run again although it ran without its effect.
    #[error("stage `{0}` completed but its effect was not observed; run again to retry")]
    NoEffect(StageKey),
    /// Another operation holds the lease.
    #[error("{host} is locked by {who} ({verb}, since {since})")]
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
    /// The lease was lost to another operator, or could not be renewed.
    #[error("the lease on {host} was lost: {why}")]
    LeaseLost {
        /// The host.
        host: HostId,
        /// Why.
        why: String,
    },
    /// Most hosts do not answer.
    #[error("only {answer} of {all} hosts of members are reachable; changes need a majority")]
    FewHosts {
        /// How many answer.
        answer: usize,
        /// How many there are.
        all: usize,
    },
    /// Hosts failed; the others finished their part of the stage.
    #[error("{} host{} failed", .0.len(), if .0.len() == 1 { "" } else { "s" })]
    Hosts(Vec<HostFailure>),
    /// What a stage would stop cannot be spared, as its members say just before it.
    #[error("stage `{stage}` was not started: {why}")]
    NotPermitted {
        /// The stage.
        stage: String,
        /// Why not.
        why: String,
    },
    /// A gate did not hold in time.
    #[error("timed out after {seconds} s waiting until {holds}: {why}")]
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
    /// A member did not come up with another release, and the one before was put back.
    #[error(transparent)]
    PutBack(Box<ReleaseFailed>),
    /// A call to the cluster failed.
    #[error("{what}: {why}")]
    Cluster {
        /// The call.
        what: String,
        /// What the member said.
        why: String,
    },
    /// A stage cannot be put together.
    #[error(transparent)]
    Stage(#[from] etcdup_host::WrongSupply),
    /// Binaries cannot be had.
    #[error(transparent)]
    Release(#[from] ReleaseError),
    /// Keys or certificates cannot be had.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// Operations cannot be recorded or read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// As many operations run as the engine's limits allow.
    #[error("as many operations are being carried out as this process may have")]
    Busy,
    /// What happens could not be recorded any more, so it was stopped.
    #[error("stopped between two stages: {0}")]
    Unrecorded(String),
    /// The operator stopped it.
    #[error("{}", stopped(.0.as_deref()))]
    Stopped(Option<String>),
}

/// A member that did not come up with another release, and got the one back that it ran.
#[derive(Debug, thiserror::Error)]
#[error("{member} did not come up with etcd {failed}: {why}; {}", put_back(.ran, *.serves))]
pub struct ReleaseFailed {
    /// The member.
    pub member: MemberName,
    /// The release that failed.
    pub failed: EtcdVersion,
    /// The release that was put back.
    pub ran: EtcdVersion,
    /// Whether it serves with it.
    pub serves: bool,
    /// What was waited for in vain.
    pub why: String,
    /// The last lines of its log with the release that failed.
    pub console: Vec<String>,
}

/// What runs now, after a release failed.
fn put_back(ran: &EtcdVersion, serves: bool) -> String {
    if serves {
        format!("it runs {ran} again, and serves")
    } else {
        format!("{ran} was put back, and it does not serve with that either")
    }
}

fn stopped(done: Option<&str>) -> String {
    done.map_or_else(
        || "stopped before any change".to_owned(),
        |done| format!("stopped after {done}; run the command again to continue"),
    )
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

/// What every kind of failure means and what to do: rows for `etcdup explain`.
pub const ERRORS: &[Check] = &[
    FILE,
    TOPOLOGY,
    TEMPLATE,
    WEAK_UNIT,
    PLAN_CHANGED,
    NO_EFFECT,
    LOCKED,
    LEASE_LOST,
    HOST_FAILED,
    NOT_PERMITTED,
    GATE,
    CLUSTER_CALL,
    BINARIES,
    KEYS,
    STORE,
    crate::run::elsewhere::ELSEWHERE,
    BUSY,
    SNAPSHOT_KEPT,
    SNAPSHOT,
    STOPPED,
    crate::vault::cfssl::CFSSL,
];

const FILE: Check = Check {
    id: "file-unreadable",
    title: "the topology file cannot be read",
    about: "The file named with --file, or etcdup.toml here, is not there or may not be read.",
    advice: "`etcdup init` writes a start",
};
const TOPOLOGY: Check = Check {
    id: "topology-malformed",
    title: "the file is not a topology",
    about: "Syntax and shape are checked first, and the first fault is shown with a caret; meaning is checked after, all at once.",
    advice: "`etcdup schema` prints every key there is",
};
const TEMPLATE: Check = Check {
    id: "unit-template",
    title: "the unit template cannot be used",
    about: "A template of your own replaces the unit's. It is read back, and refused when the flags in it are not the topology's.",
    advice: "use {{ exec }} for the whole command",
};
const WEAK_UNIT: Check = Check {
    id: "unit-template-weak",
    title: "a unit template lacks recommended settings",
    about: "A template of your own is used as it is. The built-in one runs etcd as its own user in a sandbox, restarts it \
            always, raises the limit of open files, and says `existing` once the cluster has formed.",
    advice: "leave unit-template out, or compare with `etcdup render --stdout`",
};
/// The check of a plan that does not hold any more, for frontends that compare plans themselves.
pub const PLAN_CHANGED: Check = Check {
    id: "plan-changed",
    title: "the plan is no longer the one that was approved",
    about: "Between the plan and its end something changed, so that a stage would come that nobody has seen. Nothing of it was done.",
    advice: "look at the new plan, then run the same command again",
};
const NO_EFFECT: Check = Check {
    id: "stage-without-effect",
    title: "a stage ran and did not have its effect",
    about: "The next look at the hosts would have the same stage come again. It is not repeated in one run, for that could be a loop: \
            another tool may be changing the same files.",
    advice: "run again; if it recurs, look for other tools that manage the host",
};
const LOCKED: Check = Check {
    id: "locked",
    title: "another operator is at work",
    about: "Every host has one lease. Its holder renews it every 10 s; it runs out 30 s after the last time, by the host's own clock. A \
            holder that renews is not waited for.",
    advice: "nothing was changed; run again when the other operation has finished",
};
const LEASE_LOST: Check = Check {
    id: "lease-lost",
    title: "the lease was lost",
    about: "The lease on a host could not be renewed for 30 s, or could not be taken, so another operator may have started. A stage script \
            refuses without it.",
    advice: "check who is operating the cluster, then run again",
};
const HOST_FAILED: Check = Check {
    id: "host-failed",
    title: "a host could not do its part of a stage",
    about: "The other hosts finish the stage, nothing new begins, and the report names the step and its last lines. A stage that was cut \
            off before its input was whole has changed nothing; one that was whole runs to its end even when the link dies.",
    advice: "fix what the lines report, then run the same command again: it goes on from there",
};
const NOT_PERMITTED: Check = Check {
    id: "stop-not-permitted",
    title: "a stage would have stopped more members than can be spared",
    about: "Between the plan and this stage a member became unhealthy, or joined or left the cluster's own list. Members are asked \
            again just before a stop; nothing of the stage was done.",
    advice: "run `etcdup status`, bring the unhealthy members back, then run the same command again",
};
const GATE: Check = Check {
    id: "gate-not-reached",
    title: "a condition was not met in time",
    about: "After a stage a gate proves it: a read goes through each member that was started. The member's last log lines are shown.",
    advice: "look at the member's log: `etcdup logs MEMBER`; for a static pod also at the kubelet's (journalctl -u kubelet)",
};
const CLUSTER_CALL: Check = Check {
    id: "cluster-call-failed",
    title: "a call to the cluster failed",
    about: "A call that changes the cluster is made once. Whether it had its effect is seen by the next run.",
    advice: "run `etcdup status`, then `etcdup apply` again",
};
const BINARIES: Check = Check {
    id: "binaries-unavailable",
    title: "etcd binaries are unavailable",
    about: "The release could not be downloaded, or an archive is not what its checksum says. It is looked at before anything changes.",
    advice: "name a mirror, an archive or a directory under [binaries], or correct the checksum",
};
const KEYS: Check = Check {
    id: "keys-unavailable",
    title: "keys or certificates are unavailable",
    about: "The CA's files cannot be used, or a certificate cannot be issued.",
    advice: "see [certificates] in the file, and `etcdup pki show`",
};
const STORE: Check = Check {
    id: "operation-record",
    title: "an operation cannot be recorded or read",
    about: "Each operation has a directory in `.etcdup/operations` beside the topology file: what was approved, what happened, how \
            it ended. Where that cannot be written, nothing is begun.",
    advice: "make the directory of the topology file writable for whoever runs etcdup, or run it from a copy of the file",
};
const BUSY: Check = Check {
    id: "too-many-operations",
    title: "too many operations are being carried out",
    about: "A process carries out as many operations side by side as its limits allow, and refuses further ones.",
    advice: "begin it again when another has ended",
};
const SNAPSHOT_KEPT: Check = Check {
    id: "snapshot-kept",
    title: "a snapshot cannot be taken or kept",
    about: "No member sends one, or the directory, the object store or the command that encrypts cannot be used. What was half \
            taken leaves nothing.",
    advice: "run `etcdup snapshot save`, which says the same with all that it knows; `etcdup status` shows who serves",
};
const SNAPSHOT: Check = Check {
    id: "snapshot-damaged",
    title: "the snapshot is not whole, or not the one that was ordered",
    about: "A snapshot is read to its end before a host gets it, and compared with the SHA-256 that etcd appended to it. Whatever was \
            moved aside before stays where it is.",
    advice: "run `etcdup snapshot verify`, and restore one that is whole",
};
const STOPPED: Check = Check {
    id: "stopped",
    title: "the operator stopped the run",
    about: "The first Ctrl-C finishes the stage at hand and gives the lease back; the second drops the links.",
    advice: "run the same command again: it goes on from there",
};

impl DeployError {
    /// The id under which `etcdup explain` has a page.
    #[must_use]
    pub fn id(&self) -> &str {
        let check = match self {
            DeployError::File { .. } => FILE,
            DeployError::Parse { .. } | DeployError::Resolve(_) => TOPOLOGY,
            DeployError::Render(_) => TEMPLATE,
            DeployError::Blocked(findings) => {
                return findings
                    .first()
                    .map_or("blocked", |finding| finding.id.as_str());
            }
            DeployError::PlanChanged { .. } => PLAN_CHANGED,
            DeployError::NoEffect(_) => NO_EFFECT,
            DeployError::Locked { .. } => LOCKED,
            DeployError::LeaseLost { .. } | DeployError::FewHosts { .. } => LEASE_LOST,
            DeployError::Hosts(_) => HOST_FAILED,
            DeployError::NotPermitted { .. } => NOT_PERMITTED,
            DeployError::Gate { .. } => GATE,
            DeployError::PutBack(_) => VERSION_FAILED,
            DeployError::Cluster { .. } => CLUSTER_CALL,
            // A fault of this program, whose nearest page is that of the step that lacks something.
            DeployError::Stage(_) | DeployError::Release(_) => BINARIES,
            DeployError::Vault(_) => KEYS,
            DeployError::Store(_) | DeployError::Unrecorded(_) => STORE,
            DeployError::Snapshot(_) | DeployError::Flow(FlowError::Fault(_)) => SNAPSHOT,
            DeployError::Take(_) | DeployError::Flow(_) => SNAPSHOT_KEPT,
            DeployError::Busy => BUSY,
            DeployError::Stopped(_) => STOPPED,
        };
        check.id
    }
}

/// The row of the check of what a unit template lacks recommended settings.
#[must_use]
pub fn unit_weakness_check() -> Check {
    WEAK_UNIT
}

/// The row of the unit template's check, for frontends that look at it without a host.
#[must_use]
pub fn unit_template_check() -> Check {
    TEMPLATE
}
