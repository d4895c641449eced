//! What a frontend brings along.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use etcdup_core::operation::Who;
use etcdup_transport::{Credential, Prompt};
use zeroize::Zeroizing;

use crate::events::Progress;

/// Whether the operator wants to stop: read between stages and while gates wait.
pub type Cancel = tokio_util::sync::CancellationToken;

/// What a frontend brings along.
#[derive(Clone)]
pub struct Settings {
    /// Who is asked for passwords; nobody by default.
    pub prompt: Arc<dyn Prompt>,
    /// Who is told of bytes on their way.
    pub progress: Option<Progress>,
    /// Stops every operation of the engine, each between two of its stages.
    pub cancel: Cancel,
    /// Where downloaded releases are kept.
    pub cache: PathBuf,
    /// Who runs this, for leases and records.
    pub operator: Who,
    /// How long connecting to a host may take.
    pub connect_timeout: Duration,
    /// How much may be under way at once.
    pub limits: Limits,
}

/// How much an engine does at once. What is beyond waits, or is refused where it says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Hosts that are being connected to: each costs a key exchange, which is most of the time on a
    /// small machine.
    pub connects: usize,
    /// Operations that are carried out; one more waits for its turn.
    pub operations: usize,
    /// Operations that wait for their turn; one more is refused.
    pub queued: usize,
}

/// Asks nobody.
pub(crate) struct NoPrompt;

impl Prompt for NoPrompt {
    fn ask(&self, _: &Credential) -> Option<Zeroizing<String>> {
        None
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connects: 64,
            operations: 200,
            queued: 200,
        }
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
            progress: None,
            cancel: Cancel::new(),
            cache: home.join(".cache/etcdup"),
            operator: Who::new(&format!("{user}@{machine}")),
            connect_timeout: Duration::from_secs(10),
            limits: Limits::default(),
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
