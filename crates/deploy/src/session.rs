//! A session: what one look at a cluster, or one operation on it, holds: links to its hosts, its
//! secrets, its events.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use etcdup_core::file::Document;
use etcdup_core::host::{HostId, HostTarget};
use etcdup_core::observation::Observation;
use etcdup_core::observed::Observed;
use etcdup_core::operation::Who;
use etcdup_core::topology::Topology;
use etcdup_planner::Planner;
use etcdup_transport::Transport;

use crate::events::Events;
use crate::links::{Links, Pool};
use crate::settings::{Cancel, Settings};
use crate::store::Store;
use crate::tasks::blocking;
use crate::topology_file::read_sources;
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
    /// The connections of the process, for hosts that only records name.
    pub(crate) pool: Arc<Pool>,
    pub(crate) links: Mutex<Links>,
    /// What was done from here before.
    pub(crate) store: Store,
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
        self.open_links()
            .get(host)
            .cloned()
            .unwrap_or_else(|| Observed::unknown("it is not in the file"))
    }

    /// The hosts that there are links to.
    pub(crate) fn linked(&self) -> Vec<HostId> {
        self.open_links().keys().cloned().collect()
    }

    /// Links to the hosts of a topology that the file does not name, where there are any; which
    /// those are.
    pub(crate) async fn link_others(&self, topology: &Topology) -> Vec<HostId> {
        let known = self.linked();
        let others = topology.hosts.iter();
        let others = others.filter(|(host, _)| !known.contains(host));
        let others: BTreeMap<HostId, HostTarget> = others
            .map(|(host, target)| (host.clone(), target.clone()))
            .collect();
        if others.is_empty() {
            return Vec::new();
        }
        let hosts = others.keys().cloned().collect();
        // A server lets a topology lead to the hosts of its list alone, by whatever way.
        let base = self.base.clone();
        let sources = blocking(move || read_sources(&base)).await;
        let allowed = |host: &HostId| match &sources {
            Ok(sources) => sources.hosts.is_empty() || sources.allows_host(host),
            Err(_) => false,
        };
        let (others, refused): (BTreeMap<_, _>, BTreeMap<_, _>) =
            others.into_iter().partition(|(host, _)| allowed(host));
        let links = self.pool.links_by_record(others, &self.base).await;
        let mut open = self.open_links();
        open.extend(links);
        let why = || Observed::unknown("it is not among the hosts of sources.toml");
        open.extend(refused.into_keys().map(|host| (host, why())));
        hosts
    }

    fn open_links(&self) -> MutexGuard<'_, Links> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
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
