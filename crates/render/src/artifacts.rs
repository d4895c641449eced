//! Every file of a member, for each runtime.

use std::sync::Arc;

use etcdup_core::certificate::CertRequest;
use etcdup_core::file::{CertificateSource, Provided, ProvidedFrom, RuntimeKind};
use etcdup_core::flag::FlagSet;
use etcdup_core::path::{HostPath, Mode, Owner};
use etcdup_core::stage::{Artifact, Content, Part};
use etcdup_core::topology::{ClusterState, Member, Topology};

use crate::template::{RenderError, Renderer};
use crate::{process, static_pod, systemd};

impl Renderer {
    /// The files that a member needs on its host, certificates first and the unit or start file
    /// last.
    ///
    /// # Errors
    /// When a template cannot be filled in, or the user's own loses flags.
    pub fn artifacts(
        &self,
        topology: &Topology,
        member: &Member,
        state: ClusterState,
    ) -> Result<Vec<Artifact>, RenderError> {
        let mut artifacts = Self::certificates(topology, member)?;
        artifacts.push(self.start(topology, member, &topology.flags(member, state))?);
        Ok(artifacts)
    }

    /// A member's certificates, and what `[[file]]` puts beside them.
    ///
    /// # Errors
    /// When a path cannot be made.
    pub fn certificates(
        topology: &Topology,
        member: &Member,
    ) -> Result<Vec<Artifact>, RenderError> {
        let mut artifacts = certificates(topology, member)?;
        artifacts.extend(extra(topology, member));
        Ok(artifacts)
    }

    /// The file that starts a member with these flags: a unit or a start file.
    ///
    /// # Errors
    /// As [`Renderer::artifacts`].
    pub fn start(
        &self,
        topology: &Topology,
        member: &Member,
        flags: &FlagSet,
    ) -> Result<Artifact, RenderError> {
        let (path, mode, text, owner) = match member.layout.runtime {
            RuntimeKind::Systemd => {
                let text = systemd::unit(self, topology, member, flags)?;
                (
                    member.layout.unit_file()?,
                    Mode::PUBLIC,
                    text,
                    Some("root:root".parse()?),
                )
            }
            RuntimeKind::StaticPod => {
                let text = static_pod::manifest(topology, member, flags)?;
                let path = member.layout.manifest.clone();
                (path, Mode::PRIVATE, text, Some(Owner::root()))
            }
            RuntimeKind::Process => {
                let text = process::start_file(self, topology, member, flags)?;
                (member.layout.start_file.clone(), Mode::CLOSED, text, None)
            }
        };
        Ok(Artifact {
            path,
            mode,
            owner,
            content: Content::Text(text.into()),
        })
    }
}

fn certificates(topology: &Topology, member: &Member) -> Result<Vec<Artifact>, RenderError> {
    if !topology.uses_tls() {
        return Ok(Vec::new());
    }
    let place = Place {
        directory: &member.layout.certificates,
        owner: member.layout.certificate_owner(),
        key_mode: member.layout.key_mode(),
    };
    if let Some(provided) = &topology.certificates.provided {
        return place.provided(topology, member, provided);
    }
    let files = &topology.certificates.files;
    let mut artifacts = vec![place.file(&files.ca, Mode::PUBLIC, Content::Ca)?];
    for (role, request) in topology.certificates(member) {
        let CertificateSource { cert, key } = files.of(role);
        let request = Arc::new(request);
        artifacts.push(place.file(cert, Mode::PUBLIC, issued(&request, Part::Certificate))?);
        artifacts.push(place.file(key, place.key_mode, issued(&request, Part::Key))?);
    }
    Ok(artifacts)
}

/// The files that `[[file]]` asks for.
fn extra(topology: &Topology, member: &Member) -> impl Iterator<Item = Artifact> {
    topology.files.iter().map(|file| Artifact {
        path: file.to.clone(),
        mode: file.mode,
        owner: file.owner.clone().or_else(|| member.layout.owner()),
        content: Content::Provided(file.from.replace("{member}", member.name.as_str())),
    })
}

fn issued(request: &Arc<CertRequest>, part: Part) -> Content {
    Content::Issued {
        request: Arc::clone(request),
        part,
    }
}

struct Place<'a> {
    directory: &'a HostPath,
    owner: Option<Owner>,
    key_mode: Mode,
}

impl Place<'_> {
    fn file(&self, name: &str, mode: Mode, content: Content) -> Result<Artifact, RenderError> {
        Ok(Artifact {
            path: self.directory.join(name)?,
            mode,
            owner: self.owner.clone(),
            content,
        })
    }

    fn provided(
        &self,
        topology: &Topology,
        member: &Member,
        provided: &Provided,
    ) -> Result<Vec<Artifact>, RenderError> {
        let content = |path: &str| -> Result<Content, RenderError> {
            let path = path.replace("{member}", member.name.as_str());
            let path = match (path.strip_prefix("~/"), &member.home) {
                (Some(rest), Some(home)) => format!("{home}/{rest}"),
                _ => path,
            };
            Ok(match provided.from {
                ProvidedFrom::Operator => Content::Provided(path),
                ProvidedFrom::Host => Content::OnHost(path.parse()?),
            })
        };
        let files = &topology.certificates.files;
        let mut artifacts = vec![self.file(&files.ca, Mode::PUBLIC, content(&provided.ca)?)?];
        for (role, _) in topology.certificates(member) {
            let source = match (role, &provided.peer) {
                ("peer", Some(peer)) => peer,
                _ => &provided.server,
            };
            let CertificateSource { cert, key } = files.of(role);
            artifacts.push(self.file(cert, Mode::PUBLIC, content(&source.cert)?)?);
            artifacts.push(self.file(key, self.key_mode, content(&source.key)?)?);
        }
        Ok(artifacts)
    }
}
