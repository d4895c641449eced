//! What a stage sends to a host: its steps with what the plan does not hold, then the host record.

use std::sync::{Arc, PoisonError};

use etcdup_core::certificate::CertRequest;
use etcdup_core::host::HostId;
use etcdup_core::observation::{HostView, Observation};
use etcdup_core::stage::{Artifact, Content, HostStep, Part, Stage};
use etcdup_core::version::EtcdVersion;
use etcdup_host::{StageInput, Stamp, Supply};
use etcdup_pki::Issued;
use jiff::Timestamp;
use zeroize::Zeroizing;

use super::context::Run;
use super::record::add_record;
use crate::binaries::release::{self, Binary, Ready};
use crate::error::DeployError;
use crate::tasks::blocking;
use crate::vault::Vault;

pub(super) async fn pack_stage(
    run: &Run<'_>,
    stage: &Stage,
    host: &HostId,
    steps: &[HostStep],
    seen: &Observation,
) -> Result<StageInput, DeployError> {
    let view = seen.host(host);
    let stamp = Stamp {
        operation: run.session.events.operation().to_owned(),
        time: Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string(),
    };
    let mut input = StageInput::default();
    for step in steps {
        let supply = supply(run, host, view, step).await?;
        input.add(step, supply, &stamp)?;
    }
    if !steps.is_empty() {
        add_record(run, &mut input, host, view, stage)?;
    }
    Ok(input)
}

/// What a step needs that the plan does not hold.
async fn supply(
    run: &Run<'_>,
    host: &HostId,
    view: Option<&HostView>,
    step: &HostStep,
) -> Result<Supply, DeployError> {
    let architecture = || {
        view.map(|view| view.facts.architecture.to_string())
            .unwrap_or_default()
    };
    match step {
        HostStep::File(artifact) | HostStep::Pod(artifact) => content(run, host, artifact).await,
        HostStep::LoadImage { archive, .. } => {
            let path = archive.replace("{arch}", &architecture());
            let path = run.session.base.join(path);
            let ready = blocking(move || release::ready(&path)).await?;
            Ok(Supply::Archive(ready.into_body()))
        }
        HostStep::Restore(_) => Ok(match run.snapshot().await? {
            Some(ready) => Supply::Archive(ready.into_body()),
            None => Supply::Nothing,
        }),
        HostStep::Binaries { version, .. } => Ok(match ready_for(run, version, &architecture()) {
            Some(Binary::Archive(ready)) => Supply::Archive(ready.clone().into_body()),
            Some(Binary::Files(files)) => {
                let body =
                    |(name, ready): &(String, Ready)| (name.clone(), ready.clone().into_body());
                Supply::Binaries(files.iter().map(body).collect())
            }
            Some(Binary::Fetch { url, sha256 }) => Supply::Download {
                url: url.clone(),
                sha256: sha256.clone(),
            },
            None => Supply::Nothing,
        }),
        HostStep::User { .. }
        | HostStep::Directory { .. }
        | HostStep::Links { .. }
        | HostStep::TimeSync
        | HostStep::Reload
        | HostStep::Enable(_)
        | HostStep::Restart(_)
        | HostStep::Disable(_)
        | HostStep::Spawn { .. }
        | HostStep::StopProcess { .. }
        | HostStep::BouncePod { .. }
        | HostStep::StopPod { .. }
        | HostStep::Note(_)
        | HostStep::Roster(_)
        | HostStep::Place(_)
        | HostStep::NoteFailed { .. }
        | HostStep::ForgetMember(_)
        | HostStep::NoteRestore(_)
        | HostStep::NoteRecover(_)
        | HostStep::CheckForce(_)
        | HostStep::ForceNew(_)
        | HostStep::Forget
        | HostStep::CheckRoom { .. }
        | HostStep::MoveData { .. }
        | HostStep::MoveAside { .. }
        | HostStep::Remove(_) => Ok(Supply::Nothing),
    }
}

fn ready_for<'r>(
    run: &'r Run<'_>,
    version: &EtcdVersion,
    architecture: &str,
) -> Option<&'r Binary> {
    run.binaries.get(version)?.get(architecture)
}

async fn content(run: &Run<'_>, host: &HostId, artifact: &Artifact) -> Result<Supply, DeployError> {
    let bytes = match &artifact.content {
        Content::OnHost(_) => return Ok(Supply::Nothing),
        Content::Text(text) => text.as_bytes().to_vec(),
        Content::Ca => run
            .session
            .with_vault(|vault| vault.ca())
            .await?
            .into_bytes(),
        Content::Provided(source) => {
            let source = source.clone();
            let read = run
                .session
                .with_vault(move |vault| vault.provided(&source))
                .await?;
            read.reveal().as_bytes().to_vec()
        }
        Content::Issued { request, part } => match part {
            Part::Certificate => pair(run, host, request).await?.certificate.into_bytes(),
            Part::Key => {
                let issued = pair(run, host, request).await?;
                issued.key.reveal().as_bytes().to_vec()
            }
            Part::Renewal(before) => {
                let (wanted, before) = (Arc::clone(request), Arc::clone(before));
                let now = Timestamp::now();
                let renew = move |vault: &mut Vault| vault.renew(&wanted, &before, now);
                run.session.with_vault(renew).await?.into_bytes()
            }
        },
    };
    Ok(Supply::Content(Zeroizing::new(bytes)))
}

/// The certificate and key for a place on a host: issued once a stage.
async fn pair(run: &Run<'_>, host: &HostId, request: &CertRequest) -> Result<Issued, DeployError> {
    let place = format!("{host}:{}:{}", request.name, request.usage);
    let known = || {
        let pairs = run.pairs.lock().unwrap_or_else(PoisonError::into_inner);
        pairs.get(&place).cloned()
    };
    if let Some(issued) = known() {
        return Ok(issued);
    }
    let wanted = request.clone();
    let issue = move |vault: &mut Vault| vault.issue(&wanted, Timestamp::now());
    let issued = run.session.with_vault(issue).await?;
    let mut pairs = run.pairs.lock().unwrap_or_else(PoisonError::into_inner);
    pairs.insert(place, issued.clone());
    Ok(issued)
}
