//! The command line, whose doc comments are its help.

mod care;
mod history;
mod recover;
mod restore;
mod snapshot;

pub(crate) use care::{Alarm, Maintain, MoveLeader};
pub(crate) use history::{History, HistoryShow};
pub(crate) use recover::Recover;
pub(crate) use restore::Restore;
pub(crate) use snapshot::Snapshot;

use etcdup_core::membership::ClusterId;
use std::path::PathBuf;

use clap::{Arg, ArgAction, Args, CommandFactory, Parser, Subcommand, ValueEnum, value_parser};

/// Bootstrap and maintain etcd clusters over SSH from one topology file
#[derive(Debug, Parser)]
#[command(name = "etcdup", version, propagate_version = true, max_term_width = 100, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// The commands that read no topology: their help does not offer to name one.
const WITHOUT_TOPOLOGY: [&str; 7] = [
    "explain",
    "schema",
    "flags",
    "serve",
    "token",
    "completions",
    "man",
];

/// The whole command line.
pub(crate) fn command() -> clap::Command {
    let hidden = || {
        [
            Arg::new("file")
                .short('f')
                .long("file")
                .value_parser(value_parser!(PathBuf)),
            Arg::new("set").long("set").action(ArgAction::Append),
            Arg::new("target").long("target").action(ArgAction::Append),
        ]
        .map(|argument| argument.hide(true))
    };
    let mut command = Arguments::command();
    for verb in WITHOUT_TOPOLOGY {
        command = command.mut_subcommand(verb, |command| command.args(hidden()));
    }
    command
}

const EXAMPLES: &str = "\
Examples:
  etcdup init --target root@10.0.1.10 --target root@10.0.1.11 --target root@10.0.1.12
  etcdup plan
  etcdup apply
  etcdup verify

Exit status:
  0    done, or nothing to do
  1    failed, or a check found an error
  2    there are changes (plan --detailed-exitcode)
  3    not approved, or the plan changed
  4    blocked by a check
  64   usage
  75   locked by another operator
  130  stopped";

/// Options of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Topology file (TOML, YAML or JSON, by extension) [default: etcdup.toml]
    #[arg(short, long, global = true, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Change one value of the topology for this run, such as etcd=3.5.33 or
    /// member[0].address=10.0.0.5
    #[arg(long, global = true, value_name = "PATH=VALUE")]
    pub(crate) set: Vec<String>,
    /// Use this host instead of a topology file, `[user@]host[:port]` or `local` (can be repeated;
    /// each becomes a member)
    #[arg(long, global = true, value_name = "HOST")]
    pub(crate) target: Vec<String>,
    /// How to print data [default: text]
    #[arg(short, long, global = true, value_name = "FORMAT")]
    pub(crate) output: Option<Output>,
    /// When to use colors [default: auto]
    #[arg(long, global = true, value_name = "WHEN")]
    pub(crate) color: Option<Color>,
    /// Say more, for debugging; twice for even more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// How to print data.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Output {
    /// Human-readable
    #[default]
    Text,
    /// Machine-readable; `format` names the schema version
    Json,
}

/// When to use colors.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Color {
    /// Color on a terminal unless NO_COLOR is set
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Write a commented topology file to start from
    #[command(
        after_help = "Example:\n  etcdup init --target root@10.0.1.10 --target root@10.0.1.11 --target root@10.0.1.12"
    )]
    Init(Init),
    /// Write a topology file for a cluster that exists, and plan with it; changes nothing on hosts
    #[command(
        after_help = "Example:\n  etcdup adopt --target root@10.0.1.10 --target root@10.0.1.11 --ca ca.pem --cert admin.pem --key admin-key.pem"
    )]
    Adopt(Adopt),
    /// Check the topology file without touching a host
    #[command(after_help = "Example:\n  etcdup check -f prod.toml --output json")]
    Check,
    /// Show every value of the topology and where it comes from
    #[command(after_help = "Example:\n  etcdup show --set flags.snapshot-count=5000")]
    Show,
    /// Write every file that would be written to hosts into a directory
    #[command(
        after_help = "Examples:\n  etcdup render --out rendered\n  etcdup render --stdout m1/etcd.service"
    )]
    Render(Render),
    /// Show what would be done, and change nothing
    #[command(
        after_help = "Examples:\n  etcdup plan --detailed-exitcode\n  etcdup plan --out plan.json"
    )]
    Plan(Plan),
    /// Bring the cluster to what the file says, after showing the plan
    #[command(
        after_help = "Examples:\n  etcdup apply\n  etcdup apply --yes --output json\n  etcdup apply plan.json"
    )]
    Apply(Apply),
    /// Prove that the cluster is healthy and matches the file
    #[command(after_help = "Example:\n  etcdup verify --output json")]
    Verify,
    /// Show the members in a short table
    #[command(after_help = "Example:\n  etcdup status --watch")]
    Status(Status),
    /// List certificates, or issue one for a client
    #[command(
        subcommand,
        after_help = "Examples:\n  etcdup pki show\n  etcdup pki issue backup --out . --days 30"
    )]
    Pki(Pki),
    /// Print what another program needs to use the cluster, and write its client certificate
    #[command(
        after_help = "Examples:\n  etcdup connect kube-apiserver\n  etcdup connect kubeadm --directory /etc/kubernetes/pki/etcd"
    )]
    Connect(Connect),
    /// Print the environment that etcdctl needs, as shell exports
    #[command(after_help = "Example:\n  eval \"$(etcdup env)\" && etcdctl member list")]
    Env(Env),
    /// Run etcdctl against the cluster, through its hosts if the client ports are closed to this
    /// machine
    #[command(
        after_help = "Examples:\n  etcdup etcdctl -- member list -w table\n  etcdup etcdctl -- get --prefix / --keys-only\n  etcdup etcdctl -- snapshot save backup.db"
    )]
    Etcdctl(Etcdctl),
    /// Show the log of a member
    #[command(after_help = "Examples:\n  etcdup logs m1\n  etcdup logs m1 --follow")]
    Logs(Logs),
    /// Save the cluster's store as a file, and look after what was saved
    #[command(
        subcommand,
        after_help = "Examples:\n  etcdup snapshot save\n  etcdup snapshot verify\n  etcdup snapshot get latest backup.db"
    )]
    Snapshot(Snapshot),
    /// Open a shell on a member's host, or run one command there
    #[command(after_help = "Examples:\n  etcdup ssh m1\n  etcdup ssh m1 -- systemctl status etcd")]
    Ssh(Ssh),
    /// Restore the cluster from a snapshot, on its own hosts or on new ones
    #[command(
        after_help = "Examples:\n  etcdup restore latest\n  etcdup restore backup.db --confirm prod\n  etcdup restore --abort"
    )]
    Restore(Restore),
    /// Go on with one member, where too few are left for a quorum
    #[command(after_help = "Examples:\n  etcdup recover\n  etcdup recover --gone m2 --gone m3")]
    Recover(Recover),
    /// Stop and disable the cluster; its data is moved aside
    #[command(after_help = "Example:\n  etcdup reset --yes")]
    Reset(Reset),
    /// Defragment members and clear NOSPACE, after showing the plan
    #[command(
        after_help = "Examples:\n  etcdup maintain\n  etcdup maintain --compact --all\n\nWithout an alarm, it \
                      defragments members with less than half of their database in use. Where NOSPACE is raised, \
                      it compacts, defragments every member, and disarms the alarm."
    )]
    Maintain(Maintain),
    /// List raised alarms, or disarm those that can be
    #[command(subcommand)]
    Alarm(Alarm),
    /// Move leadership to another member
    #[command(after_help = "Examples:\n  etcdup move-leader\n  etcdup move-leader m2 --yes")]
    MoveLeader(MoveLeader),
    /// What was done to the cluster: by whom, when, and how it ended
    #[command(
        after_help = "Examples:\n  etcdup history\n  etcdup history show 0192f3a4-0000\n  etcdup history --output json"
    )]
    History(History),
    /// Explain a check, an error, a rule or a known issue; without an ID, list them
    #[command(after_help = "Example:\n  etcdup explain port-taken")]
    Explain(Explain),
    /// Print the JSON schema of the topology file, for editors
    #[command(after_help = "Example:\n  etcdup schema > etcdup.schema.json")]
    Schema,
    /// List etcd's flags: the releases that have them, and who sets them
    #[command(after_help = "Examples:\n  etcdup flags --etcd 3.6.14\n  etcdup flags quota")]
    Flags(Flags),
    /// Serve the HTTP API over the topology files of a directory
    #[command(after_help = "Example:\n  etcdup serve --directory clusters")]
    Serve(Serve),
    /// Tokens of the HTTP API: who may do what
    #[command(subcommand)]
    Token(Token),
    /// Print completions for a shell
    #[command(after_help = "Example:\n  etcdup completions bash > /etc/bash_completion.d/etcdup")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write one for every command
    #[command(
        after_help = "Examples:\n  etcdup man | man -l -\n  etcdup man --out /usr/local/share/man/man1"
    )]
    Man {
        /// Directory for the man pages
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The cluster's name
    #[arg(long, default_value = "prod")]
    pub(crate) cluster: String,
    /// The version of etcd
    #[arg(long, default_value = etcdup_core::version::SUGGESTED)]
    pub(crate) etcd: String,
    /// Overwrite a file that exists
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Adopt {
    /// The cluster's name
    #[arg(long, default_value = "prod")]
    pub(crate) cluster: String,
    /// Only adopt etcd processes that use this data directory
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<String>,
    /// Local CA certificate used to verify members
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<String>,
    /// Local client certificate shown to members
    #[arg(long, value_name = "FILE")]
    pub(crate) cert: Option<String>,
    /// Its key
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<String>,
    /// Overwrite a file that exists
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Render {
    /// The directory to write to; a directory for each member
    #[arg(long, value_name = "DIR", required_unless_present = "stdout")]
    pub(crate) out: Option<PathBuf>,
    /// Print one file instead: MEMBER/FILE, such as m1/etcd.service
    #[arg(long, value_name = "MEMBER/FILE")]
    pub(crate) stdout: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Plan {
    /// Exit with 2 when there are changes
    #[arg(long)]
    pub(crate) detailed_exitcode: bool,
    /// Plan restarts that take the cluster out of service
    #[arg(long)]
    pub(crate) allow_outage: bool,
    /// Plan a release once more that a member did not come up with
    #[arg(long)]
    pub(crate) retry: bool,
    /// Write the plan into a file, for `etcdup apply FILE`
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Apply {
    /// A plan that `etcdup plan --out` wrote: it is carried out as far as it reaches, without a
    /// question
    #[arg(value_name = "PLAN", conflicts_with_all = ["yes", "allow_outage", "retry"])]
    pub(crate) plan: Option<PathBuf>,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Allow restarts that take the cluster out of service
    #[arg(long)]
    pub(crate) allow_outage: bool,
    /// Try a release once more that a member did not come up with
    #[arg(long)]
    pub(crate) retry: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Refresh until stopped
    #[arg(short, long)]
    pub(crate) watch: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Connect {
    /// The program
    pub(crate) program: ConnectProgram,
    /// Common name and file name of the certificate [default: depends on the program]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Directory that will contain the files on the program's machine [default: their local path]
    #[arg(long, value_name = "DIR")]
    pub(crate) directory: Option<String>,
}

/// A program that uses etcd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ConnectProgram {
    /// Flags of kube-apiserver
    KubeApiserver,
    /// The external-etcd stanza of kubeadm's ClusterConfiguration
    Kubeadm,
    /// Flags of k3s server
    K3s,
    /// Variables for etcdctl: that is `etcdup env`
    #[value(skip)]
    Etcdctl,
    /// A scrape job
    Prometheus,
}

#[derive(Debug, Args)]
pub(crate) struct Env {
    /// Common name and file name of the certificate [default: etcdctl]
    #[arg(long)]
    pub(crate) name: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Etcdctl {
    /// Ask this member alone; `snapshot save` asks one in any case
    #[arg(long, value_name = "MEMBER")]
    pub(crate) member: Option<String>,
    /// Arguments for etcdctl, after `--`
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "ARGS"
    )]
    pub(crate) arguments: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// Member name
    #[arg(value_name = "MEMBER")]
    pub(crate) member: String,
    /// Number of last lines to show
    #[arg(short = 'n', long, default_value_t = 100)]
    pub(crate) lines: u32,
    /// Keep printing new lines until interrupted
    #[arg(long)]
    pub(crate) follow: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Ssh {
    /// Member name
    #[arg(value_name = "MEMBER")]
    pub(crate) member: String,
    /// Command to run instead of a shell, after `--`; joined with blanks for the host's shell, as
    /// ssh does
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "COMMAND"
    )]
    pub(crate) command: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Reset {
    /// Skip the confirmation prompt
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Delete the data instead of moving it aside
    #[arg(long)]
    pub(crate) wipe: bool,
    /// Cluster name, typed to confirm `--wipe` in a script (`--yes` alone is not enough)
    #[arg(long, value_name = "NAME")]
    pub(crate) confirm: Option<String>,
    /// Also reset data of this cluster ID (hex), which neither the file nor the host record knows
    #[arg(long, value_name = "ID")]
    pub(crate) cluster_id: Option<ClusterId>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Pki {
    /// List certificates: for whom, until when
    #[command(after_help = "Example:\n  etcdup pki show --output json")]
    Show,
    /// Issue a client certificate for a person or a program
    #[command(after_help = "Example:\n  etcdup pki issue backup --out . --days 30")]
    Issue {
        /// The common name
        name: String,
        /// The organization
        #[arg(long)]
        organization: Option<String>,
        /// How many days it is valid for
        #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=36500))]
        days: u32,
        /// Directory for NAME.crt and NAME.key [default: next to the CA]
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
        /// Issue another in place of one that exists
        #[arg(long)]
        force: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The id
    pub(crate) id: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// Only flags whose name contains this text
    pub(crate) part: Option<String>,
    /// Only flags of this version
    #[arg(long, value_name = "VERSION")]
    pub(crate) etcd: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// The directory of topology files; each is a cluster
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) directory: PathBuf,
    /// The address to listen on; any but a loopback one takes --tls-cert and --tls-key
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8379")]
    pub(crate) listen: std::net::SocketAddr,
    /// The certificate to serve with, with its chain, in PEM; read again when it changes
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Its private key, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// The CA of the certificates that clients must show beside their tokens, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) client_ca: Option<PathBuf>,
    /// A name beside loopback ones that the server answers to, such as that of a proxy before it;
    /// may be given several times
    #[arg(long, value_name = "NAME")]
    pub(crate) host_name: Vec<String>,
    /// Another site whose pages may ask, such as https://dashboard.example.com; may be given
    /// several times
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) allow_origin: Vec<String>,
    /// How often the members of each cluster are asked how they are; 0 never asks by itself
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    #[arg(value_parser = clap::value_parser!(u64).range(..=3600))]
    pub(crate) watch_every: u64,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    /// Make a token; its secret is shown once
    #[command(after_help = "Example:\n  etcdup token create ann --role operator --days 30")]
    Create {
        /// Who will have it
        name: String,
        /// What it allows: viewer sees, operator applies as well, admin restores, resets and makes
        /// tokens as well
        #[arg(long, default_value = "viewer")]
        role: etcdup_http_api::Role,
        /// How many days it is valid for
        #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=400))]
        days: u16,
        /// The directory that is served
        #[arg(long, value_name = "DIR", default_value = ".")]
        directory: PathBuf,
    },
    /// List the tokens that have not ended
    List {
        /// The directory that is served
        #[arg(long, value_name = "DIR", default_value = ".")]
        directory: PathBuf,
    },
    /// End a token
    Revoke {
        /// Its ID, as `etcdup token list` shows it
        id: String,
        /// The directory that is served
        #[arg(long, value_name = "DIR", default_value = ".")]
        directory: PathBuf,
    },
}
