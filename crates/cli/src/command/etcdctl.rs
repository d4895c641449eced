//! `etcdup etcdctl`: the operator's etcdctl, or the one from `[binaries]`, with endpoints and a certificate that fit.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use etcdup_core::topology::{Plane, Topology};
use etcdup_core::url::Address;
use etcdup_deploy::{DeployError, Session};

use crate::arguments::Etcdctl;
use crate::command::Context;
use crate::exit;
use crate::view;

pub(crate) async fn run(context: &Context, arguments: &Etcdctl) -> u8 {
    let session = match context.session(None, None).await {
        Ok(session) => session,
        Err(error) => return context.fail(&error),
    };
    let ended = call(&session, arguments).await;
    session.close().await;
    match ended {
        Ok(code) => code,
        Err(error) => context.fail(&error),
    }
}

async fn call(session: &Session, arguments: &Etcdctl) -> Result<u8, DeployError> {
    let topology = session.resolved().await?;
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
        anstream::eprintln!("warning: {member} cannot be reached: {why}");
    }
    if forwards.reached.is_empty() {
        view::error::plain("no member can be reached");
        return Ok(exit::FAILED);
    }
    let scheme = topology.client_scheme();
    let endpoints: Vec<String> = forwards
        .reached
        .iter()
        .map(|reached| format!("{scheme}://{}", reached.authority))
        .collect();
    let mut command = tokio::process::Command::new(&program);
    // 3.3 and older default to API 2; nothing newer needs this, and 3.6 and 3.7 warn about it.
    command
        .env_remove("ETCDCTL_API")
        .env("ETCDCTL_ENDPOINTS", endpoints.join(","));
    if topology.spec.security.client != Plane::Plain {
        if forwards.reached.iter().any(|reached| reached.forwarded)
            && let Some(why) = lacks_loopback(session, &topology)
        {
            view::error::plain(&why);
            return Ok(exit::FAILED);
        }
        // The files go when this command ends; the certificate is valid for an hour at most.
        let files = session.client_files(directory.path()).await?;
        command.env("ETCDCTL_CACERT", &files.ca);
        if let Some((cert, key)) = &files.own {
            command.env("ETCDCTL_CERT", cert).env("ETCDCTL_KEY", key);
        }
    }
    let status = command
        .args(&arguments.arguments)
        .stdin(Stdio::inherit())
        .status()
        .await;
    match status {
        Ok(status) => Ok(u8::try_from(status.code().unwrap_or(1)).unwrap_or(exit::FAILED)),
        Err(error) => {
            view::error::plain(&format!("cannot start {}: {error}", program.display()));
            Ok(exit::FAILED)
        }
    }
}

/// Through a local port a member is called 127.0.0.1: a certificate that was provided may not have that name.
fn lacks_loopback(session: &Session, topology: &Topology) -> Option<String> {
    let provided = topology.spec.certificates.provided.as_ref()?;
    let loopback = Address::Ip(std::net::Ipv4Addr::LOCALHOST.into());
    let lacking = topology.members.iter().find_map(|member| {
        let path = provided
            .server
            .cert
            .replace("{member}", member.name.as_str());
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
