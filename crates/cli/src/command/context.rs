//! What every verb is given, and what verbs share: settings, the topology, the session.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use etcdup_core::file::Document;
use etcdup_core::finding::Verdict;
use etcdup_core::host::HostId;
use etcdup_core::lint::lint;
use etcdup_core::topology::{Member, ResolveError, Topology, resolve};
use etcdup_core::version::SUGGESTED;
use etcdup_deploy::{
    Cancel, Cluster, DeployError, Engine, Progress, Session, Settings, Store, read_topology,
};

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
    /// Made by the first who needs it: most verbs that look at a file alone need none.
    pub(crate) engine: OnceLock<Engine>,
}

impl Context {
    /// The topology: the file, or one made of `--target`s.
    pub(crate) fn document(&self) -> Result<(Document, PathBuf), DeployError> {
        if self.global.target.is_empty() {
            let path = self.settings.file.clone();
            return Ok((read_topology(&path, &self.global.set)?, path));
        }
        let text = template("etcd", SUGGESTED, &self.global.target);
        let name = "--target".to_owned();
        match Document::parse(&name, &text, &self.global.set) {
            Ok(document) => Ok((document, PathBuf::from("etcdup.toml"))),
            Err(error) => Err(DeployError::Parse { name, text, error }),
        }
    }

    /// The topology as meant, and the directory of its file. A host is asked only where a name or
    /// address comes from it.
    pub(crate) async fn topology(&self) -> Result<(Topology, PathBuf), DeployError> {
        let (document, path) = self.document()?;
        let mut errors = lint(&document.spec);
        errors.retain(|finding| finding.verdict == Verdict::Error);
        if !errors.is_empty() {
            return Err(DeployError::Blocked(errors));
        }
        match resolve(&document.spec, |_| None) {
            Ok(topology) => Ok((topology, directory_of(&path).to_owned())),
            Err(ResolveError::NeedsHost { .. }) => {
                let engine = self.engine(directory_of(&path), None);
                let session = engine.cluster(document, &path)?.session().await;
                Ok((session.resolved().await?, session.base))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The cluster of the topology; bytes on their way are told to whoever passes a receiver.
    pub(crate) fn cluster(&self, progress: Option<Progress>) -> Result<Cluster, DeployError> {
        let (document, path) = self.document()?;
        self.engine(directory_of(&path), progress)
            .cluster(document, &path)
    }

    /// The cluster for what is done on this machine alone: the engine that reaches hosts is made by
    /// whoever shows what comes from them.
    pub(crate) fn cluster_here(&self) -> Result<Cluster, DeployError> {
        let (document, path) = self.document()?;
        let store = Store::beside(directory_of(&path));
        Engine::new(self.library_settings(None), store).cluster(document, &path)
    }

    /// The cluster with the links to its hosts.
    pub(crate) async fn session(&self) -> Result<Session, DeployError> {
        Ok(self.cluster(None)?.session().await)
    }

    /// The engine of this run, whose operations are recorded in this directory.
    pub(crate) fn engine(&self, directory: &Path, progress: Option<Progress>) -> Engine {
        let made = || Engine::new(self.library_settings(progress), Store::beside(directory));
        self.engine.get_or_init(made).clone()
    }

    /// Ends all connections.
    pub(crate) async fn close(&self) {
        if let Some(engine) = self.engine.get() {
            engine.close(Duration::from_secs(5)).await;
        }
    }

    pub(crate) fn library_settings(&self, progress: Option<Progress>) -> Settings {
        let defaults = Settings::default();
        Settings {
            prompt: Arc::new(view::ask::TerminalPrompt),
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

    /// Prints an error, its findings with their places in the file, and says which exit status it
    /// means.
    pub(crate) fn fail(&self, error: &DeployError) -> u8 {
        let document = self.document().ok().map(|(document, _)| document);
        view::error::deploy(error, document.as_ref(), self.json())
    }
}

/// The directory that relative paths in a topology file start from.
pub(crate) fn directory_of(path: &Path) -> &Path {
    path.parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// The member of this name; reports and returns none where the topology has no such member.
pub(crate) fn member_of<'a>(topology: &'a Topology, name: &str) -> Option<&'a Member> {
    let mut members = topology.members.iter();
    let found = members.find(|member| member.name.as_str() == name);
    if found.is_none() {
        let names = topology.members.iter().map(|member| member.name.as_str());
        unknown("member", name, names);
    }
    found
}

/// The host of this name; reports and returns none where the topology has no such host.
pub(crate) fn host_of<'a>(topology: &'a Topology, name: &str) -> Option<&'a HostId> {
    let found = topology.host(name);
    if found.is_none() {
        unknown("host", name, topology.hosts.keys().map(HostId::as_str));
    }
    found
}

fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str>) {
    let known: Vec<&str> = known.collect();
    let known = known.join(", ");
    view::error::plain(&format!("no {what} `{name}`; the topology has {known}"));
}
