//! Connections to hosts: opened when they are needed, shared by everything in the process that asks
//! for the same host.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use etcdup_core::file::{HostKeyPolicy, Spec, Sudo};
use etcdup_core::host::{HostId, HostTarget, SshTarget};
use etcdup_core::observed::{Cause, Observed};
use etcdup_core::plain::chain;
use etcdup_core::topology::other_hosts;
use etcdup_transport::{
    Credential, Local, Prompt, Ssh, SshError, SshHop, SshOptions, SudoUse, Transport,
    TransportError, UnknownHosts,
};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::links::vagrant::Machine;
use crate::settings::{NoPrompt, Settings};
use crate::tasks::run_all;

mod vagrant;

/// How a host is reached, or why it is not.
pub(crate) type Links = BTreeMap<HostId, Observed<Arc<dyn Transport>>>;

/// The connections of an engine. One that has ended is opened again by the next who asks.
pub(crate) struct Pool {
    prompt: Arc<dyn Prompt>,
    timeout: Duration,
    connects: Semaphore,
    slots: Mutex<HashMap<Key, Arc<Slot>>>,
}

/// What makes two links the same: where to, and for whom, since relative paths of keys start from a
/// topology's directory.
type Key = (PathBuf, HostTarget);
type Slot = tokio::sync::Mutex<Option<Arc<dyn Transport>>>;

impl Pool {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            prompt: Arc::new(AskOnce::new(Arc::clone(&settings.prompt))),
            timeout: settings.connect_timeout,
            connects: Semaphore::new(settings.limits.connects),
            slots: Mutex::default(),
        }
    }

    /// The links to all hosts that a file names, side by side. A host that cannot be reached is
    /// unseen, with the reason; one that is gone for good is not tried.
    pub(crate) async fn links(self: &Arc<Self>, spec: &Spec, base: &Path) -> Links {
        let members = spec.member.iter();
        let targets = members
            .filter(|member| !member.absent.is_gone())
            .map(|member| HostTarget::from_spec(&member.host, &spec.ssh))
            .chain(other_hosts(spec))
            .map(|target| (target.id(), target))
            .collect();
        let prompt = Arc::clone(&self.prompt);
        self.links_to(targets, base, prompt).await
    }

    /// The links to hosts that only host records name. No password is asked for, and none that was
    /// given for another host is sent to them.
    pub(crate) async fn links_by_record(
        self: &Arc<Self>,
        targets: BTreeMap<HostId, HostTarget>,
        base: &Path,
    ) -> Links {
        self.links_to(targets, base, Arc::new(NoPrompt)).await
    }

    async fn links_to(
        self: &Arc<Self>,
        targets: BTreeMap<HostId, HostTarget>,
        base: &Path,
        prompt: Arc<dyn Prompt>,
    ) -> Links {
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
            let (pool, machines) = (Arc::clone(self), Arc::clone(&machines));
            let key = (base.to_owned(), target);
            let prompt = Arc::clone(&prompt);
            (host, async move { pool.link(key, &machines, prompt).await })
        });
        run_all(work)
            .await
            .into_iter()
            .map(|(host, link)| (host, link.unwrap_or_else(Observed::unknown)))
            .collect()
    }

    async fn link(
        &self,
        key: Key,
        machines: &BTreeMap<String, Result<Machine, String>>,
        prompt: Arc<dyn Prompt>,
    ) -> Observed<Arc<dyn Transport>> {
        let slot = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(slots.entry(key.clone()).or_default())
        };
        // Held while connecting: whoever asks for the same host meanwhile gets the same link.
        let mut slot = slot.lock().await;
        if let Some(link) = slot.as_ref().filter(|link| link.is_open()) {
            return Observed::Known(Arc::clone(link));
        }
        // The semaphore is never closed.
        let _turn = self.connects.acquire().await;
        let link = connect_to(&key.1, machines, prompt, self.timeout).await;
        *slot = link.known().cloned();
        link
    }

    /// Forgets the hosts that nothing names any more, and ends connections to them that nobody
    /// uses.
    pub(crate) async fn keep_only(&self, wanted: &HashSet<HostTarget>) {
        let gone: Vec<Arc<Slot>> = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            let gone = slots.extract_if(|(_, target), _| !wanted.contains(target));
            gone.map(|(_, slot)| slot).collect()
        };
        for slot in gone {
            let link = slot.lock().await.take();
            // An operation on it goes on: its topology was there when it began.
            if let Some(link) = link.filter(|link| Arc::strong_count(link) == 1) {
                link.close().await;
            }
        }
    }

    /// Ends all connections.
    pub(crate) async fn close(&self) {
        let slots = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *slots)
        };
        for slot in slots.into_values() {
            if let Some(link) = slot.lock().await.take() {
                link.close().await;
            }
        }
    }
}

async fn connect_to(
    target: &HostTarget,
    machines: &BTreeMap<String, Result<Machine, String>>,
    ask: Arc<dyn Prompt>,
    connect: Duration,
) -> Observed<Arc<dyn Transport>> {
    match target {
        HostTarget::Local { sudo } => {
            let id = tokio::process::Command::new("id").arg("-u").output();
            let root = id
                .await
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
        Err(error) => Observed::unknown_for(cause(&error), chain(&error)),
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
        .map_err(|error| chain(&error))
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
