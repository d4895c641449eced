//! What `etcdup restore` takes.

use clap::Args;
use etcdup_core::membership::ClusterId;

#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// Name of a snapshot that is kept, `latest`, or a file
    #[arg(required_unless_present = "abort")]
    pub(crate) snapshot: Option<String>,
    /// Give up a restore that was begun, while enough members for a quorum have their own data
    #[arg(long, conflicts_with_all = ["snapshot", "no_bump_revision", "again", "cluster_id"])]
    pub(crate) abort: bool,
    /// Cluster name, typed to confirm in a script
    #[arg(long, value_name = "NAME")]
    pub(crate) confirm: Option<String>,
    /// Show the plan, and change nothing
    #[arg(long, conflicts_with = "confirm")]
    pub(crate) dry_run: bool,
    /// Leave revisions as they are: clients that watch miss what changed
    #[arg(long)]
    pub(crate) no_bump_revision: bool,
    /// Restore once more from a snapshot that the cluster was restored from already, or from
    /// another one than the restore that is under way
    #[arg(long)]
    pub(crate) again: bool,
    /// Also move aside data of this cluster ID (hex), which neither the file nor a record knows
    #[arg(long, value_name = "ID")]
    pub(crate) cluster_id: Option<ClusterId>,
}
