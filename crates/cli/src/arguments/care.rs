//! What `etcdup maintain`, `etcdup alarm` and `etcdup move-leader` are told.

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub(crate) struct Maintain {
    /// Skip the confirmation prompt
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Drop history though no alarm demands it: what keys were before can be read no more
    #[arg(long)]
    pub(crate) compact: bool,
    /// Defragment every member, however little that gives back
    #[arg(long)]
    pub(crate) all: bool,
    /// Defragment a cluster of one or two voters, which does not serve meanwhile
    #[arg(long)]
    pub(crate) allow_outage: bool,
    /// Show the plan, and do nothing
    #[arg(long, conflicts_with = "yes")]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Alarm {
    /// Show the alarms that are raised; exit status 1 where there is one
    List,
    /// Take NOSPACE back, where there is room again; `etcdup maintain` makes some first
    Disarm {
        /// Skip the confirmation prompt
        #[arg(short, long)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct MoveLeader {
    /// The member that is to lead; whoever has most of the log where it is left out
    pub(crate) member: Option<String>,
    /// Skip the confirmation prompt
    #[arg(short, long)]
    pub(crate) yes: bool,
}
