//! Which verb runs, and what Ctrl-C does to it.

mod adopt;
mod apply;
mod care;
mod check;
mod connect;
mod context;
mod etcdctl;
mod explain;
mod flags;
mod generate;
mod history;
mod init;
mod logs;
mod pki;
mod plan;
mod recover;
mod render;
mod reset;
mod restore;
mod serve;
mod show;
mod snapshot;
mod ssh;
pub(crate) mod status;
mod timer;
mod token;
pub(crate) mod verify;

use crate::view::print::errln;
use std::future::Future;
use std::sync::OnceLock;
use std::time::Duration;

use etcdup_deploy::Cancel;
use tokio::signal::unix::{SignalKind, signal};

use crate::arguments::{Alarm, Arguments, Color, Pki, Verb};
use crate::exit;
use crate::settings::{Loaded, load};
use crate::view;

use context::Context;

/// What Ctrl-C does to a verb.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Interrupt {
    /// It changes nothing, so it ends at once.
    StopAtOnce,
    /// It changes hosts, so a stage that has begun comes to its end first.
    FinishStage,
    /// It sees to that itself.
    LeftToVerb,
}

/// Runs a verb; the exit status.
pub(crate) fn run(arguments: Arguments) -> u8 {
    let Arguments { global, verb } = arguments;
    let Loaded { settings, origins } = match load(&global) {
        Ok(loaded) => loaded,
        Err(message) => {
            view::error::plain(&message);
            return exit::USAGE;
        }
    };
    match settings.color {
        Color::Auto => {}
        Color::Always => anstream::ColorChoice::Always.write_global(),
        Color::Never => anstream::ColorChoice::Never.write_global(),
    }
    // `init` and `adopt` write a file for these hosts; everything else reads either the one or the
    // other.
    let writes = matches!(verb, Verb::Init(_) | Verb::Adopt(_));
    if global.file.is_some() && !global.target.is_empty() && !writes {
        view::error::plain("--file and --target exclude each other: the hosts are in the file");
        return exit::USAGE;
    }
    // A server has no one at its terminal to ask: what happens is in its journal.
    listen_to_tracing(global.verbose, matches!(verb, Verb::Serve(_)));
    dispatch(
        &Context {
            global,
            settings,
            origins,
            cancel: Cancel::new(),
            engine: OnceLock::new(),
        },
        verb,
    )
}

/// One exhaustive match: a verb that is forgotten here does not compile.
fn dispatch(context: &Context, verb: Verb) -> u8 {
    use Interrupt::{FinishStage, LeftToVerb, StopAtOnce};
    match verb {
        Verb::Init(init) => init::run(context, &init),
        Verb::Check => check::run(context),
        Verb::Show => show::run(context),
        Verb::Explain(explain) => explain::run(context, &explain),
        Verb::Schema => generate::schema(),
        Verb::Flags(flags) => flags::run(context, &flags),
        Verb::Completions { shell } => generate::completions(shell),
        Verb::Man { out } => generate::manual(out.as_deref()),
        Verb::Pki(Pki::Issue {
            name,
            organization,
            days,
            out,
            force,
        }) => pki::issue(context, &name, organization, days, out, force),
        Verb::Token(token) => token::run(context, &token),
        Verb::Pki(Pki::Show) => on_runtime(context, StopAtOnce, pki::show(context)),
        Verb::Render(render) => on_runtime(context, StopAtOnce, render::run(context, &render)),
        Verb::Snapshot(snapshot) => {
            on_runtime(context, FinishStage, snapshot::run(context, &snapshot))
        }
        Verb::Plan(plan) => on_runtime(context, StopAtOnce, plan::run(context, &plan)),
        Verb::Verify => on_runtime(context, StopAtOnce, verify::run(context)),
        Verb::Status(status) => on_runtime(context, StopAtOnce, status::run(context, &status)),
        Verb::Connect(connect) => on_runtime(context, StopAtOnce, connect::run(context, &connect)),
        Verb::Env(env) => on_runtime(context, StopAtOnce, connect::env(context, &env)),
        // etcdctl hears Ctrl-C itself and may have something to give back, such as a lock.
        Verb::Etcdctl(etcdctl) => on_runtime(context, LeftToVerb, etcdctl::run(context, &etcdctl)),
        Verb::Logs(logs) => on_runtime(context, StopAtOnce, logs::run(context, &logs)),
        Verb::Ssh(ssh) => on_runtime(context, StopAtOnce, ssh::run(context, &ssh)),
        Verb::Adopt(adopt) => on_runtime(context, StopAtOnce, adopt::run(context, &adopt)),
        Verb::Apply(apply) => on_runtime(context, FinishStage, apply::run(context, &apply)),
        Verb::Recover(recover) => on_runtime(context, FinishStage, recover::run(context, &recover)),
        Verb::Restore(restore) => on_runtime(context, FinishStage, restore::run(context, &restore)),
        Verb::Reset(reset) => on_runtime(context, FinishStage, reset::run(context, &reset)),
        Verb::History(history) => on_runtime(context, StopAtOnce, history::run(context, &history)),
        Verb::Maintain(maintain) => {
            on_runtime(context, FinishStage, care::maintain(context, &maintain))
        }
        Verb::Alarm(Alarm::List) => on_runtime(context, StopAtOnce, care::alarms(context)),
        Verb::Alarm(Alarm::Disarm { yes }) => {
            on_runtime(context, FinishStage, care::disarm(context, yes))
        }
        Verb::MoveLeader(moved) => {
            on_runtime(context, FinishStage, care::move_leader(context, &moved))
        }
        // It answers requests that are under way before it ends.
        Verb::Serve(serve) => on_runtime(context, LeftToVerb, serve::run(context, &serve)),
    }
}

fn on_runtime(context: &Context, interrupt: Interrupt, verb: impl Future<Output = u8>) -> u8 {
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            view::error::plain(&format!("cannot start the async runtime: {error}"));
            return exit::FAILED;
        }
    };
    let code = runtime.block_on(async {
        tokio::spawn(stop_on_signal(context.cancel.clone(), interrupt));
        let code = tokio::select! {
            code = verb => code,
            () = context.cancel.cancelled(), if interrupt == Interrupt::StopAtOnce => exit::STOPPED,
        };
        context.close().await;
        code
    });
    // A task that still dials must not hold the end up.
    runtime.shutdown_timeout(Duration::from_millis(100));
    code
}

/// The first Ctrl-C finishes the stage; the second drops the links.
async fn stop_on_signal(cancel: Cancel, interrupt: Interrupt) {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return;
    };
    let mut hangup = match is_hangup_ignored() {
        true => None,
        false => signal(SignalKind::hangup()).ok(),
    };
    for count in 0.. {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
            // The terminal is gone. The shell and the kernel may both say so: once is enough.
            () = hung_up(hangup.as_mut()) => hangup = None,
        }
        cancel.cancel();
        if count > 0 {
            std::process::exit(i32::from(exit::STOPPED));
        }
        if interrupt == Interrupt::FinishStage {
            errln!(
                "stopping; a stage that has begun is finished first (press Ctrl-C again to abort)"
            );
        }
    }
}

async fn hung_up(hangup: Option<&mut tokio::signal::unix::Signal>) {
    match hangup {
        Some(hangup) => {
            hangup.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// Whether whoever started this wants it to outlive its terminal, as `nohup` does; also where the
/// system does not say.
fn is_hangup_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // Its number is 1.
    mask.is_none_or(|mask| mask & 1 == 1)
}

fn listen_to_tracing(verbose: u8, serves: bool) {
    let level = match verbose {
        0 if serves => "etcdup_http_api=info,warn",
        0 => return,
        1 => {
            "etcdup=debug,etcdup_deploy=debug,etcdup_transport=debug,etcdup_client=debug,etcdup_verify=debug,warn"
        }
        _ => "debug",
    };
    let filter = tracing_subscriber::EnvFilter::new(level);
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .try_init();
}
