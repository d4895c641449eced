//! What `etcdup recover` takes.

use clap::Args;
use etcdup_core::name::MemberName;

#[derive(Debug, Args)]
pub(crate) struct Recover {
    /// Member that is lost for good; may be given several times
    #[arg(long, value_name = "MEMBER", value_delimiter = ',')]
    pub(crate) gone: Vec<MemberName>,
    /// Show the plan, and change nothing
    #[arg(long, conflicts_with = "confirm")]
    pub(crate) dry_run: bool,
    /// Cluster name, typed to confirm in a script
    #[arg(long, value_name = "NAME")]
    pub(crate) confirm: Option<String>,
}
