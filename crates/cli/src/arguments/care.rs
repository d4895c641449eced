//! The arguments of `etcdup maintain`, `etcdup alarm` and `etcdup move-leader`.

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub(crate) struct Maintain {
    /// Skip the confirmation prompt
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Compact even without an alarm: older revisions can no longer be read
    #[arg(long)]
    pub(crate) compact: bool,
    /// Defragment every member, however little that gives back
    #[arg(long)]
    pub(crate) all: bool,
    /// Defragment even where the others are no quorum without it: one or two voters, or another
    /// member down
    #[arg(long)]
    pub(crate) allow_outage: bool,
    /// Show the plan, and do nothing
    #[arg(long, conflicts_with = "yes")]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Alarm {
    /// List the alarms that are raised; exit status 1 where there is one
    List,
    /// Disarm NOSPACE once there is room (see `etcdup maintain`), and CORRUPT of members that
    /// were removed
    Disarm {
        /// Skip the confirmation prompt
        #[arg(short, long)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct MoveLeader {
    /// The member that should lead [default: the first healthy voter in the file]
    pub(crate) member: Option<String>,
    /// Skip the confirmation prompt
    #[arg(short, long)]
    pub(crate) yes: bool,
}
