//! What `etcdup recover` takes.

use clap::Args;
use etcdup_core::membership::ClusterId;
use etcdup_core::name::MemberName;

#[derive(Debug, Args)]
pub(crate) struct Recover {
    /// Member that is lost for good; may be given several times
    #[arg(long, value_name = "MEMBER", value_delimiter = ',')]
    pub(crate) gone: Vec<MemberName>,
    /// Also go on with data of this cluster ID (hex), which neither the file nor a record knows
    #[arg(long, value_name = "ID")]
    pub(crate) cluster_id: Option<ClusterId>,
    /// Show the plan, and change nothing
    #[arg(long, conflicts_with = "confirm")]
    pub(crate) dry_run: bool,
    /// Cluster name, typed to confirm in a script
    #[arg(long, value_name = "NAME")]
    pub(crate) confirm: Option<String>,
}
