//! `etcdup connect`: what the next program needs, its certificate too.

use crate::view::print::errln;
use std::collections::BTreeSet;
use std::path::Path;

use etcdup_core::certificate::{CertRequest, Issuer, Subject, Usage};
use etcdup_core::file::{ProvidedFrom, Spec, TransportSecurity};
use etcdup_core::topology::Topology;
use etcdup_deploy::{DeployError, Vault, VaultError};
use etcdup_render::{ClientFiles, Program};
use jiff::Timestamp;

use crate::arguments::{Connect, ConnectProgram, Env};
use crate::command::context::Context;
use crate::exit;
use crate::view;

pub(crate) async fn run(context: &Context, arguments: &Connect) -> u8 {
    let made = async {
        let (topology, base) = context.topology().await?;
        let spec = context.document()?.0.spec;
        let program = program(arguments.program);
        let files = files(&spec, &topology, &base, arguments, program)?;
        Ok::<_, DeployError>((program.connect(&topology, files.as_ref()), files))
    };
    match made.await {
        Err(error) => context.fail(&error),
        Ok((text, files)) => {
            if context.json() {
                let files = files.map(|files| {
                    let (cert, key) = files.own.unzip();
                    serde_json::json!({ "ca": files.ca, "cert": cert, "key": key })
                });
                let parts = serde_json::json!({ "text": text, "files": files });
                view::json::print("connect", &parts);
            } else {
                view::write(&text);
            }
            exit::DONE
        }
    }
}

/// `etcdup env`: the exports that etcdctl reads.
pub(crate) async fn env(context: &Context, arguments: &Env) -> u8 {
    let connect = Connect {
        program: ConnectProgram::Etcdctl,
        name: arguments.name.clone(),
        directory: None,
    };
    run(context, &connect).await
}

fn program(name: ConnectProgram) -> Program {
    match name {
        ConnectProgram::KubeApiserver => Program::KubeApiserver,
        ConnectProgram::Kubeadm => Program::Kubeadm,
        ConnectProgram::K3s => Program::K3s,
        ConnectProgram::Etcdctl => Program::Etcdctl,
        ConnectProgram::Prometheus => Program::Prometheus,
    }
}

/// The files as the program will find them; the client's certificate is issued where it is not
/// there yet.
fn files(
    spec: &Spec,
    topology: &Topology,
    base: &Path,
    arguments: &Connect,
    program: Program,
) -> Result<Option<ClientFiles>, DeployError> {
    if topology.security.client == TransportSecurity::Plain {
        return Ok(None);
    }
    let vault = Vault::open(spec, base);
    let name = arguments.name.as_deref().unwrap_or(program.client_name());
    let name: etcdup_core::name::MemberName = name
        .parse()
        .map_err(|_| VaultError::ClientName(name.to_owned()))?;
    let here = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let (ca, own) = match &topology.certificates.provided {
        Some(provided) => {
            let operator = provided.operator.as_ref();
            let mutual = topology.security.client == TransportSecurity::Mutual;
            let lacks_ca =
                provided.from == ProvidedFrom::Host && operator.is_none_or(|own| own.ca.is_none());
            // One certificate for all, as the well-known walk-through has it, is the client's too.
            let shared = Some(&provided.server).filter(|server| {
                provided.from == ProvidedFrom::Operator && !server.cert.contains("{member}")
            });
            if lacks_ca || (mutual && operator.is_none() && shared.is_none()) {
                return Err(VaultError::NoOperator.into());
            }
            let ca = operator
                .and_then(|own| own.ca.as_ref())
                .unwrap_or(&provided.ca);
            let own = operator
                .map(|own| (&own.cert, &own.key))
                .or(shared.map(|server| (&server.cert, &server.key)))
                .map(|(cert, key)| (base.join(cert), base.join(key)));
            (base.join(ca), own)
        }
        None => {
            let request = CertRequest {
                name: name.to_string(),
                subject: Subject::default(),
                usage: Usage::Client,
                sans: BTreeSet::new(),
                algorithm: topology.certificates.algorithm,
                hours: topology.certificates.days * 24,
                issuer: Issuer::Own,
            };
            // Without client certificates none is asked for, and the CA's key need not be here.
            let own = if topology.security.client == TransportSecurity::Mutual {
                Some(vault.ensure_client(&request, Timestamp::now())?)
            } else {
                None
            };
            (vault.client_ca()?, own)
        }
    };
    let placed = |path: &Path| match &arguments.directory {
        Some(directory) => {
            let file = path.file_name().unwrap_or_default();
            errln!("copy {} to {directory}", here(path).display());
            format!("{}/{}", directory.trim_end_matches('/'), file.display())
        }
        None => here(path).display().to_string(),
    };
    let wants_own = topology.security.client == TransportSecurity::Mutual;
    Ok(Some(ClientFiles {
        ca: placed(&ca),
        own: own
            .filter(|_| wants_own)
            .map(|(cert, key)| (placed(&cert), placed(&key))),
    }))
}
