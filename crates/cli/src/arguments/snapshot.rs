//! What `etcdup snapshot` takes.

use std::path::PathBuf;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum Snapshot {
    /// Take a snapshot of a follower, verify it, and keep it
    #[command(after_help = "Example:\n  etcdup snapshot save --member m2")]
    Save {
        /// The member that sends it [default: one that serves, and does not lead]
        #[arg(long, value_name = "NAME")]
        member: Option<String>,
    },
    /// List the snapshots that are kept, the newest first
    #[command(after_help = "Example:\n  etcdup snapshot list --output json")]
    List,
    /// Read snapshots to their end, and compare them with the SHA-256 that etcd put behind them
    #[command(
        after_help = "Examples:\n  etcdup snapshot verify\n  etcdup snapshot verify latest\n  etcdup snapshot verify /mnt/backup.db"
    )]
    Verify {
        /// Names, `latest`, or files [default: all that are kept]
        #[arg(value_name = "SNAPSHOT")]
        snapshots: Vec<String>,
    },
    /// Restore a snapshot into a member that is thrown away, and read it back
    #[command(
        after_help = "Examples:\n  etcdup snapshot drill\n  etcdup snapshot drill latest --on spare"
    )]
    Drill {
        /// Its name, `latest`, or a file
        #[arg(default_value = "latest")]
        snapshot: String,
        /// The host that does it, with room for the snapshot twice [default: this machine]
        #[arg(long, value_name = "HOST")]
        on: Option<String>,
    },
    /// Copy a snapshot that is whole into a file that nobody else may read
    #[command(after_help = "Example:\n  etcdup snapshot get latest backup.db")]
    Get {
        /// Its name, or `latest`
        snapshot: String,
        /// The file, which must not exist, or a directory
        #[arg(value_name = "FILE")]
        to: PathBuf,
    },
    /// Delete what `[snapshots] keep` does not keep; the newest that is whole always stays
    #[command(after_help = "Example:\n  etcdup snapshot prune --dry-run")]
    Prune {
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
        /// Only show what would be deleted
        #[arg(long)]
        dry_run: bool,
    },
    /// Print a systemd service and timer that save and prune snapshots every `[snapshots] every`
    #[command(after_help = "Example:\n  etcdup snapshot timer --install")]
    Timer {
        /// Install and start it on this machine: for the system as root, else for this user
        #[arg(long)]
        install: bool,
    },
}
