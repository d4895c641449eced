//! `cargo xtask`: set-up, tests and benchmarks, a file a command.

mod bench;
mod ci;
mod dashboard;
mod demo;
mod docs;
mod e2e;
mod hosts;
mod lab;
mod outcome;
mod programs;
mod reconnects;
mod running;
mod serving;
mod setup;
mod test;
mod tidy;
mod writer;

use std::process::ExitCode;

use clap::Parser;

/// What this workspace can do with itself.
#[derive(Parser)]
#[command(name = "cargo xtask")]
enum Task {
    /// Makes a three-member TLS cluster on this machine, verifies it, says how to use it
    Demo {
        /// Stops the demo's cluster and deletes it
        #[arg(long)]
        stop: bool,
    },
    /// Installs what the tests need and runs all of them
    Test,
    /// Gets etcd's binaries from Debian's suites, makes a release mirror, builds the hosts' root
    Fixtures,
    /// Boots real hosts to play with
    Hosts {
        /// How many; 0 takes them down
        #[arg(default_value_t = 3)]
        count: u32,
    },
    /// Runs every scenario through the real binary on real hosts
    E2e {
        /// Only scenarios whose name holds one of these
        filters: Vec<String>,
        /// Leaves the hosts of a failed scenario up
        #[arg(long)]
        keep: bool,
        /// Carries out in full what is otherwise a sample
        #[arg(long)]
        long: bool,
    },
    /// Measures against a floor in the same run
    Bench {
        /// Only this part
        #[arg(value_enum)]
        part: Option<bench::Part>,
    },
    /// Builds the page that `etcdup serve` shows
    Dashboard,
    /// Checks the repository's own rules
    Tidy,
    /// Writes the generated pages
    Docs {
        /// Only says what is stale
        #[arg(long)]
        check: bool,
    },
    /// What continuous integration runs
    Ci,
}

fn main() -> ExitCode {
    let outcome = match Task::parse() {
        Task::Demo { stop } => demo::run(stop),
        Task::Test => test::run(),
        Task::Fixtures => setup::fixtures(),
        Task::Hosts { count } => hosts::run(count),
        Task::E2e {
            filters,
            keep,
            long,
        } => e2e::run(&filters, keep, long),
        Task::Bench { part } => bench::run(part),
        Task::Dashboard => dashboard::run(),
        Task::Tidy => tidy::run(),
        Task::Docs { check } => docs::run(check),
        Task::Ci => ci::run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}
