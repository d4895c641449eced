//! `etcdup etcdctl`: the operator's etcdctl, or the one from `[binaries]`, with endpoints and a
//! certificate that fit.

use crate::view::print::errln;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use etcdup_core::file::{ProvidedFrom, TransportSecurity};
use etcdup_core::topology::Topology;
use etcdup_core::url::Address;
use etcdup_deploy::{DeployError, Forwards, Reached, Session};

use crate::arguments::Etcdctl;
use crate::command::context::{Context, member_of};
use crate::exit;
use crate::view;

pub(crate) async fn run(context: &Context, arguments: &Etcdctl) -> u8 {
    let session = match context.session().await {
        Ok(session) => session,
        Err(error) => return context.fail(&error),
    };
    let runs = AtomicBool::new(false);
    let stopped = async {
        context.cancel.cancelled().await;
        if runs.load(Ordering::Relaxed) {
            tokio::time::sleep(PATIENCE).await;
        }
    };
    let ended = tokio::select! {
        ended = call(&session, arguments, &runs) => ended,
        () = stopped => Ok(exit::STOPPED),
    };
    match ended {
        Ok(code) => code,
        Err(error) => context.fail(&error),
    }
}

/// How long etcdctl may take to end after a signal.
const PATIENCE: Duration = Duration::from_secs(10);

async fn call(
    session: &Session,
    arguments: &Etcdctl,
    runs: &AtomicBool,
) -> Result<u8, DeployError> {
    let topology = session.resolved().await?;
    if let Some(member) = &arguments.member
        && member_of(&topology, member).is_none()
    {
        return Ok(exit::USAGE);
    }
    let directory = tempfile::tempdir().map_err(|source| DeployError::File {
        path: std::env::temp_dir(),
        source,
    })?;
    let Some(program) = program(session, &topology, directory.path()).await? else {
        view::error::plain(
            "there is no etcdctl on PATH and none in [binaries]; install one (package etcd-client)",
        );
        return Ok(exit::FAILED);
    };
    let forwards = session.reach_clients(&topology).await;
    for (member, why) in &forwards.unreached {
        errln!("warning: {member} cannot be reached: {why}");
    }
    if forwards.restoring {
        errln!("warning: the cluster is being restored: what is written now may be lost");
    }
    if forwards.reached.is_empty() {
        view::error::plain("no member can be reached");
        return Ok(exit::FAILED);
    }
    let scheme = topology.client_scheme();
    let asked = |reached: &&Reached| {
        let member = arguments.member.as_deref();
        member.is_none_or(|member| reached.member.as_str() == member)
    };
    let words: Vec<&str> = arguments.arguments.iter().map(String::as_str).collect();
    // etcdctl saves the snapshot of one member, and takes no more than one endpoint then.
    let most = if words.windows(2).any(|pair| pair == ["snapshot", "save"]) {
        1
    } else {
        usize::MAX
    };
    let endpoints: Vec<String> = forwards
        .reached
        .iter()
        .filter(asked)
        .take(most)
        .map(|reached| format!("{scheme}://{}", reached.authority))
        .collect();
    if endpoints.is_empty() {
        view::error::plain("this member cannot be reached");
        return Ok(exit::FAILED);
    }
    // `--cluster` asks members at the URLs that they advertise, which this machine does not reach;
    // all are given already.
    let tunnels = forwards.reached.iter().any(|reached| reached.forwarded);
    let leave_out = |word: &&String| tunnels && (*word == "--cluster" || *word == "--cluster=true");
    if arguments.arguments.iter().any(|word| leave_out(&word)) {
        errln!("warning: --cluster is left out: the client ports are reached through the hosts");
    }
    // etcdctl refuses a variable beside the flag of the same name.
    let given = |flag: &str| {
        words.iter().any(|word| {
            *word == flag
                || word
                    .strip_prefix(flag)
                    .is_some_and(|rest| rest.starts_with('='))
        })
    };
    let mut command = tokio::process::Command::new(&program);
    // 3.3 and older default to API 2; nothing newer needs this, and 3.6 and 3.7 warn about it.
    command
        .env_remove("ETCDCTL_API")
        .env_remove("ETCDCTL_ENDPOINTS");
    if !given("--endpoints") {
        command.env("ETCDCTL_ENDPOINTS", endpoints.join(","));
    }
    if topology.security.client != TransportSecurity::Plain {
        if let Some(why) = lacks_loopback(session, &topology, &forwards) {
            view::error::plain(&why);
            return Ok(exit::FAILED);
        }
        // The files go when this command ends; a certificate that is issued for it is valid for an
        // hour.
        let files = session.client_files(directory.path()).await?;
        if !given("--cacert") {
            command.env("ETCDCTL_CACERT", &files.ca);
        }
        if let Some((cert, key)) = &files.own
            && !given("--cert")
            && !given("--key")
        {
            command.env("ETCDCTL_CERT", cert).env("ETCDCTL_KEY", key);
        }
    }
    runs.store(true, Ordering::Relaxed);
    let status = command
        .args(arguments.arguments.iter().filter(|word| !leave_out(word)))
        .stdin(Stdio::inherit())
        .kill_on_drop(true)
        .status()
        .await;
    match status {
        Ok(status) => {
            // As a shell has it.
            let signal = status.signal().map(|signal| 128 + signal);
            let code = status.code().or(signal).unwrap_or(1);
            Ok(u8::try_from(code).unwrap_or(exit::FAILED))
        }
        Err(error) => {
            view::error::plain(&format!("cannot start {}: {error}", program.display()));
            Ok(exit::FAILED)
        }
    }
}

/// Through a local port a member is called 127.0.0.1: a certificate that was provided may not have
/// that name.
fn lacks_loopback(session: &Session, topology: &Topology, forwards: &Forwards) -> Option<String> {
    let provided = topology.certificates.provided.as_ref();
    // Paths of certificates that lie on hosts mean nothing here.
    let provided = provided.filter(|provided| provided.from == ProvidedFrom::Operator)?;
    let loopback = Address::Ip(std::net::Ipv4Addr::LOCALHOST.into());
    let forwarded = forwards.reached.iter().filter(|reached| reached.forwarded);
    let lacking = forwarded.into_iter().find_map(|reached| {
        let path = provided
            .server
            .cert
            .replace("{member}", reached.member.as_str());
        let text = std::fs::read_to_string(session.base.join(&path)).ok()?;
        let facts = etcdup_deploy::inspect(&text).ok()?;
        (!facts.covers(&loopback)).then_some(path)
    })?;
    Some(format!(
        "{lacking} has no SAN 127.0.0.1, so a member cannot be reached through a local forward; add that SAN, or open its \
         client port to this machine"
    ))
}

/// The operator's own etcdctl, else the one of the topology's binaries.
async fn program(
    session: &Session,
    topology: &Topology,
    directory: &Path,
) -> Result<Option<PathBuf>, DeployError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let own = std::env::split_paths(&path)
        .map(|directory| directory.join("etcdctl"))
        .find(|place| is_program(place));
    match own {
        Some(own) => Ok(Some(own)),
        None => session.etcdctl(topology, directory).await,
    }
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path)
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}
