//! A session: what one look at a cluster, or one operation on it, holds: links to its hosts, its
//! secrets, its events.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use etcdup_core::file::Document;
use etcdup_core::host::HostId;
use etcdup_core::observation::Observation;
use etcdup_core::observed::Observed;
use etcdup_core::operation::Who;
use etcdup_planner::Planner;
use etcdup_transport::Transport;

use crate::events::Events;
use crate::links::Links;
use crate::settings::{Cancel, Settings};
use crate::tasks::blocking;
use crate::vault::Vault;

/// A cluster with the links to its hosts, for several questions in a row. Made by
/// [`Cluster::session`].
///
/// [`Cluster::session`]: crate::Cluster::session
pub struct Session {
    /// The topology file.
    pub document: Document,
    /// The directory that relative paths in it start from.
    pub base: PathBuf,
    pub(crate) settings: Settings,
    /// Stops it, between stages and while gates wait.
    pub(crate) cancel: Cancel,
    /// Who does what it does, for leases and records.
    pub(crate) who: Who,
    pub(crate) events: Events,
    pub(crate) links: Links,
    /// What the last operation saw at its end.
    pub(crate) last_look: Arc<LastLook>,
    pub(crate) vault: Arc<Mutex<Vault>>,
}

/// What an operation saw at its end, for a verification right after it: the last stage looked at
/// its hosts when all had come up, and once more would cost them as much again.
#[derive(Default)]
pub(crate) struct LastLook(Mutex<Option<(Instant, Planner, Observation)>>);

/// For so long a look at the end of an operation is as good as a new one.
const JUST_NOW: Duration = Duration::from_secs(3);

impl LastLook {
    pub(crate) fn keep(&self, planner: Planner, seen: Observation) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((Instant::now(), planner, seen));
    }

    /// Used once, and only for so long as it is fresh.
    pub(crate) fn take(&self) -> Option<(Planner, Observation)> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (at, planner, seen) = kept?;
        (at.elapsed() < JUST_NOW).then_some((planner, seen))
    }
}

impl Session {
    pub(crate) fn link(&self, host: &HostId) -> Observed<Arc<dyn Transport>> {
        self.links
            .get(host)
            .cloned()
            .unwrap_or_else(|| Observed::unknown("it is not in the file"))
    }

    /// Works with the vault where blocking is allowed: it runs commands, reads files and makes
    /// keys.
    pub(crate) async fn with_vault<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Vault) -> T + Send + 'static,
    ) -> T {
        let vault = Arc::clone(&self.vault);
        blocking(move || work(&mut vault.lock().unwrap_or_else(PoisonError::into_inner))).await
    }
}
