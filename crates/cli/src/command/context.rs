//! What every verb is given, and what verbs share: settings, the topology, the session.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use etcdup_core::event::Event;
use etcdup_core::file::Document;
use etcdup_core::finding::Verdict;
use etcdup_core::lint::lint;
use etcdup_core::topology::{Member, ResolveError, Topology, resolve};
use etcdup_core::version::SUGGESTED;
use etcdup_deploy::{Cancel, DeployError, Progress, Session, Settings};
use tokio::sync::mpsc::UnboundedSender;

use crate::arguments::{Global, Output};
use crate::settings::ToolSettings;
use crate::template::template;
use crate::view;

/// What every verb is given.
pub(crate) struct Context {
    pub(crate) global: Global,
    pub(crate) settings: ToolSettings,
    /// Each setting, its value, and where it came from.
    pub(crate) origins: Vec<(String, String, String)>,
    pub(crate) cancel: Cancel,
}

impl Context {
    /// The topology: the file, or one made of `--target`s.
    pub(crate) fn document(&self) -> Result<(Document, PathBuf), DeployError> {
        if self.global.target.is_empty() {
            let path = self.settings.file.clone();
            return Ok((Session::read(&path, &self.global.set)?, path));
        }
        let text = template("etcd", SUGGESTED, &self.global.target);
        let name = "--target".to_owned();
        match Document::parse(&name, &text, &self.global.set) {
            Ok(document) => Ok((document, PathBuf::from("etcdup.toml"))),
            Err(error) => Err(DeployError::Parse { name, text, error }),
        }
    }

    /// The topology as meant, and the directory of its file. A host is asked only where a name or address comes from it.
    pub(crate) async fn topology(&self) -> Result<(Topology, PathBuf), DeployError> {
        let (document, path) = self.document()?;
        let mut errors = lint(&document.spec);
        errors.retain(|finding| finding.verdict == Verdict::Error);
        if !errors.is_empty() {
            return Err(DeployError::Blocked(errors));
        }
        match resolve(&document.spec, |_| None) {
            Ok(topology) => {
                let base = path
                    .parent()
                    .filter(|parent| !parent.as_os_str().is_empty());
                Ok((topology, base.unwrap_or(Path::new(".")).to_owned()))
            }
            Err(ResolveError::NeedsHost { .. }) => {
                let settings = self.library_settings(None, None);
                let session = Session::with_document(document, &path, settings).await?;
                let topology = session.resolved().await?;
                session.close().await;
                Ok((topology, session.base))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// A session; events and progress go to the caller that passes a receiver.
    pub(crate) async fn session(
        &self,
        events: Option<UnboundedSender<Event>>,
        progress: Option<Progress>,
    ) -> Result<Session, DeployError> {
        let (document, path) = self.document()?;
        Session::with_document(document, &path, self.library_settings(events, progress)).await
    }

    pub(crate) fn library_settings(
        &self,
        events: Option<UnboundedSender<Event>>,
        progress: Option<Progress>,
    ) -> Settings {
        let defaults = Settings::default();
        Settings {
            prompt: Arc::new(view::ask::TerminalPrompt),
            events,
            progress,
            cancel: self.cancel.clone(),
            cache: self
                .settings
                .cache
                .clone()
                .unwrap_or(defaults.cache.clone()),
            connect_timeout: Duration::from_secs(self.settings.connect_timeout),
            ..defaults
        }
    }

    pub(crate) fn json(&self) -> bool {
        self.settings.output == Output::Json
    }

    /// The same within a stream of JSON lines.
    pub(crate) fn fail_line(&self, error: &DeployError) -> u8 {
        let document = self.document().ok().map(|(document, _)| document);
        view::error::line(error, document.as_ref())
    }

    /// Prints an error, its findings with their places in the file, and says which exit status it means.
    pub(crate) fn fail(&self, error: &DeployError) -> u8 {
        let document = self.document().ok().map(|(document, _)| document);
        view::error::deploy(error, document.as_ref(), self.json())
    }
}

/// The member of this name; reports and returns none where the topology has no such member.
pub(crate) fn member_of<'a>(topology: &'a Topology, name: &str) -> Option<&'a Member> {
    let member = topology
        .members
        .iter()
        .find(|member| member.name.as_str() == name);
    if member.is_none() {
        let names: Vec<&str> = topology
            .members
            .iter()
            .map(|member| member.name.as_str())
            .collect();
        view::error::plain(&format!(
            "no member `{name}`; the topology has {}",
            names.join(", ")
        ));
    }
    member
}
