//! The arguments of `etcdup history`.

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct History {
    /// How many operations are shown, the newest first
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 20)]
    pub(crate) limit: usize,
    #[command(subcommand)]
    pub(crate) show: Option<HistoryShow>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum HistoryShow {
    /// Replay an operation, where its events are here; else show what hosts know of it
    Show {
        /// Its ID, or the beginning of it
        id: String,
    },
}
