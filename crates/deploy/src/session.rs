//! A session: one topology file, one connection a host, for a whole run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use etcdup_core::event::Event;
use etcdup_core::file::{Document, HostKeyPolicy, Spec, Sudo};
use etcdup_core::host::{HostId, HostTarget, SshTarget};
use etcdup_core::observed::{Cause, Observed};
use etcdup_core::topology::other_hosts;
use etcdup_transport::{
    Credential, Local, Prompt, Ssh, SshError, SshHop, SshOptions, SudoUse, Transport,
    TransportError, UnknownHosts,
};
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use crate::alive::Alive;
use crate::cfssl;
use crate::error::DeployError;
use crate::events::{Events, Progress};
use crate::tasks::run_all;
use crate::vagrant::{self, Machine};
use crate::vault::Vault;

/// Whether the operator wants to stop: read between stages and while gates wait.
pub type Cancel = tokio_util::sync::CancellationToken;

/// What a frontend brings along.
#[derive(Clone)]
pub struct Settings {
    /// Who is asked for passwords; nobody by default.
    pub prompt: Arc<dyn Prompt>,
    /// Where events go.
    pub events: Option<tokio::sync::mpsc::UnboundedSender<Event>>,
    /// Who is told of bytes on their way.
    pub progress: Option<Progress>,
    /// Stops the run between stages.
    pub cancel: Cancel,
    /// Where downloaded releases are kept.
    pub cache: PathBuf,
    /// Who runs this, for leases and records: `user@machine`.
    pub operator: String,
    /// How long connecting may take.
    pub connect_timeout: Duration,
}

struct NoPrompt;

impl Prompt for NoPrompt {
    fn ask(&self, _: &Credential) -> Option<Zeroizing<String>> {
        None
    }
}

impl Default for Settings {
    fn default() -> Self {
        let home = std::env::var_os("HOME").map_or_else(|| PathBuf::from("/tmp"), PathBuf::from);
        let user = std::env::var("USER")
            .or_else(|_| std::env::var("LOGNAME"))
            .unwrap_or_else(|_| "root".to_owned());
        let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let machine = if machine.trim().is_empty() {
            "localhost"
        } else {
            machine.trim()
        };
        Self {
            prompt: Arc::new(NoPrompt),
            events: None,
            progress: None,
            cancel: Cancel::new(),
            cache: home.join(".cache/etcdup"),
            // It goes into records of fields, and is printed by shells: nothing but what a name needs.
            operator: format!("{user}@{machine}").replace(
                |c: char| !(c.is_ascii_alphanumeric() || "@._-".contains(c)),
                "_",
            ),
            connect_timeout: Duration::from_secs(10),
        }
    }
}

impl Settings {
    /// The same without anyone to ask for passwords.
    #[must_use]
    pub fn unattended(self) -> Self {
        Self {
            prompt: Arc::new(NoPrompt),
            ..self
        }
    }
}

/// The directory that relative paths in a topology file start from.
fn directory_of(path: &Path) -> &Path {
    path.parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// How a host is reached in this session, or why it is not.
pub(crate) type Links = BTreeMap<HostId, Observed<Arc<dyn Transport>>>;

/// One topology file and the connections to its hosts.
pub struct Session {
    /// The topology file.
    pub document: Document,
    /// The directory that relative paths in it start from.
    pub base: PathBuf,
    /// What the frontend brought along.
    pub settings: Settings,
    /// Events of this session's operation.
    pub events: Events,
    pub(crate) links: Links,
    pub(crate) vault: Mutex<Vault>,
    /// Held for as long as the operation runs.
    _alive: Option<Alive>,
}

impl Session {
    /// Reads a topology file, with `--set`s, and connects to its hosts, all at once. A host that cannot be reached is no
    /// error here: it is unseen, and planning says so together with all else.
    ///
    /// # Errors
    /// When the file cannot be read or is no topology, or has mistakes that lint calls errors.
    pub async fn open(
        path: &Path,
        sets: &[String],
        settings: Settings,
    ) -> Result<Self, DeployError> {
        Self::with_document(Self::read(path, sets)?, path, settings).await
    }

    /// Reads a topology file without touching any host.
    ///
    /// # Errors
    /// When the file cannot be read or is no topology.
    pub fn read(path: &Path, sets: &[String]) -> Result<Document, DeployError> {
        let text = std::fs::read_to_string(path).map_err(|source| DeployError::File {
            path: path.to_owned(),
            source,
        })?;
        let name = path.display().to_string();
        let mut document = Document::parse(&name, &text, sets)
            .map_err(|error| DeployError::Parse { name, text, error })?;
        document.spec.certificates.requests = cfssl::read(&document.spec, directory_of(path))
            .map_err(|finding| DeployError::Blocked(vec![*finding]))?;
        Ok(document)
    }

    /// As [`Session::open`], from a document that was read already.
    ///
    /// # Errors
    /// As [`Session::open`].
    pub async fn with_document(
        document: Document,
        path: &Path,
        settings: Settings,
    ) -> Result<Self, DeployError> {
        let errors: Vec<_> = etcdup_core::lint::lint(&document.spec)
            .into_iter()
            .filter(|finding| finding.verdict == etcdup_core::finding::Verdict::Error)
            .collect();
        if !errors.is_empty() {
            return Err(DeployError::Blocked(errors));
        }
        let base = directory_of(path).to_owned();
        let vault = Mutex::new(Vault::open(&document.spec, &base));
        let operation = uuid::Uuid::now_v7().to_string();
        let alive = Alive::mark(&settings.cache, &operation);
        let events = Events::new(operation, settings.events.clone());
        let links = connect(&document.spec, &base, &settings).await;
        Ok(Self {
            document,
            base,
            settings,
            events,
            links,
            vault,
            _alive: alive,
        })
    }

    pub(crate) fn link(&self, host: &HostId) -> Observed<Arc<dyn Transport>> {
        self.links
            .get(host)
            .cloned()
            .unwrap_or_else(|| Observed::unknown("it is not in the file"))
    }

    /// Ends all connections.
    pub async fn close(&self) {
        for link in self.links.values().filter_map(Observed::known) {
            link.close().await;
        }
    }
}

async fn connect(spec: &Spec, base: &Path, settings: &Settings) -> Links {
    let targets: BTreeMap<HostId, HostTarget> = spec
        .member
        .iter()
        .map(|member| HostTarget::from_spec(&member.host, &spec.ssh))
        .chain(other_hosts(spec))
        .map(|target| (target.id(), target))
        .collect();
    let ask: Arc<dyn Prompt> = Arc::new(AskOnce::new(Arc::clone(&settings.prompt)));
    let named: Vec<String> = targets
        .values()
        .filter_map(|target| match target {
            HostTarget::Vagrant(name) => Some(name.clone()),
            HostTarget::Local { .. } | HostTarget::Ssh(_) => None,
        })
        .collect();
    let machines = match named.is_empty() {
        true => BTreeMap::new(),
        false => vagrant::machines(base, &named).await,
    };
    let machines = Arc::new(machines);
    let work = targets.into_iter().map(|(host, target)| {
        let (ask, machines, timeout) = (
            Arc::clone(&ask),
            Arc::clone(&machines),
            settings.connect_timeout,
        );
        (
            host,
            async move { one(&target, &machines, ask, timeout).await },
        )
    });
    run_all(work)
        .await
        .into_iter()
        .map(|(host, link)| (host, link.unwrap_or_else(Observed::unknown)))
        .collect()
}

async fn one(
    target: &HostTarget,
    machines: &BTreeMap<String, Result<Machine, String>>,
    ask: Arc<dyn Prompt>,
    connect: Duration,
) -> Observed<Arc<dyn Transport>> {
    match target {
        HostTarget::Local { sudo } => {
            let root = std::process::Command::new("id")
                .arg("-u")
                .output()
                .is_ok_and(|output| output.stdout.starts_with(b"0\n"));
            match sudo {
                Sudo::Password if !root => match local_sudo(ask).await {
                    Ok(local) => Observed::Known(Arc::new(local)),
                    Err(why) => Observed::unknown(why),
                },
                Sudo::Auto if !root => Observed::Known(Arc::new(Local::new("sudo -n sh"))),
                Sudo::Auto | Sudo::Never | Sudo::Password => {
                    Observed::Known(Arc::new(Local::new("sh")))
                }
            }
        }
        HostTarget::Ssh(ssh) => link(&options(ssh, ask, connect)).await,
        HostTarget::Vagrant(name) => match machines.get(name) {
            Some(Ok(machine)) => link(&of_machine(machine, ask, connect)).await,
            Some(Err(why)) => Observed::unknown(why.clone()),
            None => Observed::unknown("Vagrant was not asked"),
        },
    }
}

async fn link(options: &SshOptions) -> Observed<Arc<dyn Transport>> {
    match Ssh::connect(options).await {
        Ok(link) => Observed::Known(Arc::new(link)),
        Err(error) => Observed::unknown_for(cause(&error), error.to_string()),
    }
}

/// The kind of a reason for which a host cannot be reached.
pub(crate) fn cause(error: &TransportError) -> Cause {
    match error {
        TransportError::Sudo(_) => Cause::Sudo,
        TransportError::Ssh(SshError::Auth { .. }) => Cause::Login,
        TransportError::Ssh(SshError::HostKey(_)) => Cause::HostKey,
        TransportError::Ssh(SshError::Connect { .. }) => Cause::Unreachable,
        TransportError::Ssh(
            SshError::Jump(_) | SshError::TooManyJumps { .. } | SshError::ProxyCommand { .. },
        ) => Cause::JumpHost,
        TransportError::Ssh(SshError::Lost(_) | SshError::Protocol(_))
        | TransportError::Start { .. }
        | TransportError::Input(_)
        | TransportError::Silent { .. }
        | TransportError::TooMuch { .. } => Cause::Other,
    }
}

/// A machine as Vagrant itself would reach it.
fn of_machine(machine: &Machine, ask: Arc<dyn Prompt>, connect: Duration) -> SshOptions {
    SshOptions {
        hop: SshHop {
            host: machine.host.clone(),
            user: machine.user.clone(),
            port: machine.port,
            key: machine.key.clone(),
        },
        jump: Vec::new(),
        sudo: None,
        known_hosts: None,
        unknown_hosts: UnknownHosts::AcceptAny,
        ask,
        connect,
        dial: Duration::from_secs(2),
    }
}

async fn local_sudo(ask: Arc<dyn Prompt>) -> Result<Local, String> {
    let question = Credential::Sudo {
        user: std::env::var("USER").unwrap_or_default(),
        host: "this machine".to_owned(),
    };
    let password = tokio::task::spawn_blocking(move || ask.ask(&question))
        .await
        .ok()
        .flatten()
        .ok_or("sudo needs a password and none was given")?;
    Local::with_sudo(password)
        .await
        .map_err(|error| error.to_string())
}

fn options(ssh: &SshTarget, ask: Arc<dyn Prompt>, connect: Duration) -> SshOptions {
    SshOptions {
        hop: SshHop {
            host: ssh.host.clone(),
            user: ssh.user.clone(),
            port: ssh.port,
            key: ssh.key.clone().map(PathBuf::from),
        },
        jump: ssh.jump.clone(),
        sudo: match ssh.sudo {
            Sudo::Auto => None,
            Sudo::Never => Some(SudoUse::No),
            Sudo::Password => Some(SudoUse::Password),
        },
        known_hosts: ssh.known_hosts.clone().map(|file| {
            match (file.strip_prefix("~/"), std::env::var_os("HOME")) {
                (Some(rest), Some(home)) => PathBuf::from(home).join(rest),
                _ => PathBuf::from(file),
            }
        }),
        unknown_hosts: match ssh.host_key {
            HostKeyPolicy::Strict => UnknownHosts::Refuse,
            HostKeyPolicy::AcceptNew => UnknownHosts::AcceptNew,
        },
        ask,
        connect,
        dial: Duration::from_secs(2),
    }
}

/// Asks a person each thing once, however many hosts need it.
struct AskOnce {
    inner: Arc<dyn Prompt>,
    answers: std::sync::Mutex<Vec<(Credential, Option<Zeroizing<String>>)>>,
}

impl AskOnce {
    fn new(inner: Arc<dyn Prompt>) -> Self {
        Self {
            inner,
            answers: std::sync::Mutex::default(),
        }
    }
}

impl Prompt for AskOnce {
    fn ask(&self, question: &Credential) -> Option<Zeroizing<String>> {
        let same = |other: &Credential| match (other, question) {
            (Credential::Sudo { user: a, .. }, Credential::Sudo { user: b, .. })
            | (Credential::Password { user: a, .. }, Credential::Password { user: b, .. }) => {
                a == b
            }
            (Credential::Passphrase { file: a }, Credential::Passphrase { file: b }) => a == b,
            _ => false,
        };
        // Held while a person types, so that hosts connecting side by side wait for the one answer.
        let mut answers = self.answers.lock().ok()?;
        if let Some((_, answer)) = answers.iter().find(|(other, _)| same(other)) {
            return answer.clone();
        }
        let answer = self.inner.ask(question);
        answers.push((question.clone(), answer.clone()));
        answer
    }
}
