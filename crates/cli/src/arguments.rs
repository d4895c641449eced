//! The command line, whose doc comments are its help.

use std::path::PathBuf;

use clap::{Arg, ArgAction, Args, CommandFactory, Parser, Subcommand, ValueEnum, value_parser};

/// One file says what an etcd cluster should be; `etcdup apply` makes it so on real hosts and proves it.
#[derive(Debug, Parser)]
#[command(name = "etcdup", version, propagate_version = true, max_term_width = 100, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// The commands that read no topology: their help does not offer to name one.
const WITHOUT_TOPOLOGY: [&str; 5] = ["explain", "schema", "flags", "completions", "man"];

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
pub(crate) struct Global {
    /// The topology file: TOML, or YAML or JSON by its ending [default: etcdup.toml]
    #[arg(short, long, global = true, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Changes one value of the topology for this run, such as etcd=3.5.33 or member[0].address=10.0.0.5
    #[arg(long, global = true, value_name = "PATH=VALUE")]
    pub(crate) set: Vec<String>,
    /// A host instead of a file, `[user@]host[:port]` or `local`; several make a cluster
    #[arg(long, global = true, value_name = "HOST")]
    pub(crate) target: Vec<String>,
    /// How to print data [default: text]
    #[arg(short, long, global = true, value_name = "FORMAT")]
    pub(crate) output: Option<Output>,
    /// When to use colours [default: auto]
    #[arg(long, global = true, value_name = "WHEN")]
    pub(crate) color: Option<Color>,
    /// Says more, for debugging; twice for even more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// How to print data.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Output {
    /// For people
    #[default]
    Text,
    /// For programs; the first field names the format
    Json,
}

/// When to use colours.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Writes a commented topology file to start from
    #[command(
        after_help = "Example:\n  etcdup init --target root@10.0.1.10 --target root@10.0.1.11 --target root@10.0.1.12"
    )]
    Init(Init),
    /// Writes a topology file for a cluster that somebody else made, and plans with it; changes nothing on hosts
    #[command(
        after_help = "Example:\n  etcdup adopt --target root@10.0.1.10 --target root@10.0.1.11 --ca ca.pem --cert admin.pem --key admin-key.pem"
    )]
    Adopt(Adopt),
    /// Checks the topology file without touching a host
    #[command(after_help = "Example:\n  etcdup check -f prod.toml --output json")]
    Check,
    /// Shows every value of the topology and where it came from
    #[command(after_help = "Example:\n  etcdup show --set flags.snapshot-count=5000")]
    Show,
    /// Writes every file that would land on hosts into a directory
    #[command(
        after_help = "Examples:\n  etcdup render --out rendered\n  etcdup render --stdout m1/etcd.service"
    )]
    Render(Render),
    /// Shows what would be done, and changes nothing
    #[command(
        after_help = "Examples:\n  etcdup plan --detailed-exitcode\n  etcdup plan --out plan.json"
    )]
    Plan(Plan),
    /// Makes the cluster what the file says, after you have seen the plan
    #[command(
        after_help = "Examples:\n  etcdup apply\n  etcdup apply --yes --output json\n  etcdup apply plan.json"
    )]
    Apply(Apply),
    /// Proves that the cluster is healthy and as the file says
    #[command(after_help = "Example:\n  etcdup verify --output json")]
    Verify,
    /// Shows members in a short table
    #[command(after_help = "Example:\n  etcdup status --watch")]
    Status(Status),
    /// Lists certificates, or issues one for a client
    #[command(
        subcommand,
        after_help = "Examples:\n  etcdup pki show\n  etcdup pki issue backup --out . --days 30"
    )]
    Pki(Pki),
    /// Prints what the next program needs to use the cluster, and writes its client certificate
    #[command(
        after_help = "Examples:\n  etcdup connect kube-apiserver\n  etcdup connect kubeadm --directory /etc/kubernetes/pki/etcd"
    )]
    Connect(Connect),
    /// Print the environment that etcdctl needs, as shell exports
    #[command(after_help = "Example:\n  eval \"$(etcdup env)\" && etcdctl member list")]
    Env(Env),
    /// Run etcdctl against the cluster, through its hosts if the client ports are closed to this machine
    #[command(
        after_help = "Examples:\n  etcdup etcdctl -- member list -w table\n  etcdup etcdctl -- get --prefix / --keys-only\n  etcdup etcdctl -- snapshot save backup.db"
    )]
    Etcdctl(Etcdctl),
    /// Show the log of a member
    #[command(after_help = "Examples:\n  etcdup logs m1\n  etcdup logs m1 --follow")]
    Logs(Logs),
    /// Open a shell on a member's host, or run one command there
    #[command(after_help = "Examples:\n  etcdup ssh m1\n  etcdup ssh m1 -- systemctl status etcd")]
    Ssh(Ssh),
    /// Stops and disables the cluster; its data is kept by rename
    #[command(after_help = "Example:\n  etcdup reset --yes")]
    Reset(Reset),
    /// Tells a check, error or hazard in a page; without an id, lists them
    #[command(after_help = "Example:\n  etcdup explain port-taken")]
    Explain(Explain),
    /// Prints the JSON schema of the topology file, for editors
    #[command(after_help = "Example:\n  etcdup schema > etcdup.schema.json")]
    Schema,
    /// Lists etcd's flags: releases that have them, who sets them
    #[command(after_help = "Examples:\n  etcdup flags --etcd 3.6.14\n  etcdup flags quota")]
    Flags(Flags),
    /// Serves the read-only HTTP API over the topology files of a directory
    #[command(
        after_help = "Example:\n  etcdup serve --directory clusters & curl http://127.0.0.1:8379/v1/clusters"
    )]
    Serve(Serve),
    /// Prints completions for a shell
    #[command(after_help = "Example:\n  etcdup completions bash > /etc/bash_completion.d/etcdup")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Prints the manual page, or writes one for every command
    #[command(
        after_help = "Examples:\n  etcdup man | man -l -\n  etcdup man --out /usr/local/share/man/man1"
    )]
    Man {
        /// The directory to write every command's page to
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
    /// Overwrites a file that is there
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Adopt {
    /// The cluster's name
    #[arg(long, default_value = "prod")]
    pub(crate) cluster: String,
    /// Only the etcds on this data directory, where hosts run several
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<String>,
    /// The CA's certificate, here: what members' certificates are checked with
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<String>,
    /// A client certificate, here: what is shown to members
    #[arg(long, value_name = "FILE")]
    pub(crate) cert: Option<String>,
    /// Its key
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<String>,
    /// Overwrites a file that is there
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Render {
    /// The directory to write to; a directory for each member
    #[arg(long, value_name = "DIR", required_unless_present = "stdout")]
    pub(crate) out: Option<PathBuf>,
    /// Prints one file instead: MEMBER/FILE, such as m1/etcd.service
    #[arg(long, value_name = "MEMBER/FILE")]
    pub(crate) stdout: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Plan {
    /// Exits with 2 when there are changes
    #[arg(long)]
    pub(crate) detailed_exitcode: bool,
    /// Plans restarts that take the cluster out of service
    #[arg(long)]
    pub(crate) allow_outage: bool,
    /// Writes the plan into a file, for `etcdup apply FILE`
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Apply {
    /// A plan that `etcdup plan --out` wrote: it is carried out as far as it reaches, without a question
    #[arg(value_name = "PLAN", conflicts_with_all = ["yes", "allow_outage"])]
    pub(crate) plan: Option<PathBuf>,
    /// Does not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Allows restarts that take the cluster out of service
    #[arg(long)]
    pub(crate) allow_outage: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Refreshes until stopped
    #[arg(short, long)]
    pub(crate) watch: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Connect {
    /// The program
    pub(crate) program: ConnectProgram,
    /// The common name of its certificate, also the files' name; by custom of the program when not given
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// The directory on the program's machine where the files will lie; here, where they are, when not given
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
    /// Command to run instead of a shell, after `--`; joined with blanks for the host's shell, as ssh does
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
    #[arg(long, value_name = "ID", value_parser = cluster_id)]
    pub(crate) cluster_id: Option<u64>,
}

fn cluster_id(text: &str) -> Result<u64, String> {
    u64::from_str_radix(text.trim_start_matches("0x"), 16).map_err(|_| {
        format!(
            "`{text}` is not a cluster ID: write it as `etcdctl endpoint status` prints it, in hex"
        )
    })
}

#[derive(Debug, Subcommand)]
pub(crate) enum Pki {
    /// Lists certificates: for whom, until when
    #[command(after_help = "Example:\n  etcdup pki show --output json")]
    Show,
    /// Issues a client certificate for a person or program
    #[command(after_help = "Example:\n  etcdup pki issue backup --out . --days 30")]
    Issue {
        /// The common name
        name: String,
        /// The organisation
        #[arg(long)]
        organization: Option<String>,
        /// How many days it is valid for
        #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=36500))]
        days: u32,
        /// Where to write NAME.crt and NAME.key; beside the CA when not given
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
        /// Issues another in the place of one that is there
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
    /// Only flags whose name holds this
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
    /// The loopback address to listen on
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8379")]
    pub(crate) listen: std::net::SocketAddr,
}
