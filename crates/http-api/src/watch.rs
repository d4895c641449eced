//! Every cluster kept in view: its members are asked every few seconds through open links, its
//! hosts every few minutes, and whoever wants to know how it stands asks no host.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use etcdup_core::operation::{OperationRecord, OperationState};
use etcdup_core::plain::chain;
use etcdup_core::sources::named_outside;
use etcdup_deploy::{
    CertificatesDocument, Cluster, DeployError, Look, StatusDocument, read_topology,
};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::call::State;
use crate::problem::Problem;
use crate::routes::clusters::open;
use crate::routes::people::blocking;
use crate::veil::Veil;
use crate::watch::series::{Point, Series};
use crate::watch::summary::{ClusterHealth, Summary, Underway};

pub(crate) mod series;
pub(crate) mod summary;

/// How often files and operations are looked at: both may be another process's doing.
const FILES_EVERY: Duration = Duration::from_secs(2);
/// How often hosts are looked at, where nothing changed.
const HOSTS_EVERY: Duration = Duration::from_secs(300);
/// How long a host is left alone that refused to let us in: some lock out who tries often.
const REFUSED: Duration = Duration::from_secs(300);
/// The longest pause between two questions to a cluster of which nothing answers.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Clusters whose members are asked at once.
const ASKED_AT_ONCE: usize = 16;
/// Deleted clusters that streams are told of.
const GONE: usize = 1000;

/// A cluster: its file, and how it stands.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ClusterEntry {
    /// Its file's name without the ending: what it is called here.
    pub name: String,
    /// The etcd version that its file asks for; none where the file cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etcd: Option<String>,
    /// How many members its file has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub members: Option<usize>,
    /// Why the file cannot be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How it stands; none where it was not looked at yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<Summary>,
    /// When its members were asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub members_seen: Option<Timestamp>,
    /// When its hosts were looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hosts_seen: Option<Timestamp>,
    /// What is carried out on it, by whomever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<Underway>,
}

/// A change of what is known of a cluster.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ClusterChange {
    /// What the cluster is called here.
    pub name: String,
    /// How it is now; none where its file was deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterEntry>,
}

/// What was seen of a cluster's members and hosts, as documents.
#[derive(Clone)]
pub(crate) struct Seen {
    pub(crate) status: Arc<StatusDocument>,
    pub(crate) certificates: Arc<CertificatesDocument>,
    pub(crate) members_at: Timestamp,
    pub(crate) hosts_at: Timestamp,
}

/// All clusters of the directory.
pub(crate) struct Watches {
    /// How often members are asked; never where it is zero.
    every: Duration,
    kept: Mutex<Kept>,
    /// Counts changes.
    version: watch::Sender<u64>,
    /// Held while the directory is read.
    reading: tokio::sync::Mutex<()>,
    asking: Semaphore,
}

#[derive(Default)]
struct Kept {
    clusters: BTreeMap<String, Watched>,
    gone: BTreeMap<String, u64>,
    veil: Veil,
}

struct Watched {
    file: Stamp,
    /// The cluster's own name, which another file may share.
    cluster: Option<String>,
    /// What of this machine the topology names.
    outside: Vec<String>,
    entry: ClusterEntry,
    /// The count of changes when this one changed.
    version: u64,
    seen: Option<Seen>,
    series: Series,
    look: Arc<Notify>,
    _task: Option<AbortOnDropHandle<()>>,
}

/// What changes when a file does, or the sources that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    path: PathBuf,
    states: Vec<Option<(u64, u64, i64, i64)>>,
}

impl Stamp {
    fn of(path: &Path) -> Self {
        let sources = path.with_file_name("sources.toml");
        let state = |path: &Path| {
            let data = std::fs::metadata(path).ok()?;
            Some((data.ino(), data.len(), data.mtime(), data.mtime_nsec()))
        };
        Self {
            path: path.to_owned(),
            states: vec![state(path), state(&sources)],
        }
    }
}

impl Watches {
    pub(crate) fn every(every: Duration) -> Self {
        Self {
            every,
            kept: Mutex::default(),
            version: watch::Sender::new(0),
            reading: tokio::sync::Mutex::default(),
            asking: Semaphore::new(ASKED_AT_ONCE),
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every cluster, the worst first.
    pub(crate) fn list(&self) -> Vec<ClusterEntry> {
        let kept = self.kept();
        let mut entries: Vec<ClusterEntry> = kept
            .clusters
            .values()
            .map(|watched| watched.entry.clone())
            .collect();
        drop(kept);
        entries.sort_by_cached_key(|entry| (entry.health(), entry.name.clone()));
        entries
    }

    pub(crate) fn entry(&self, name: &str) -> Option<ClusterEntry> {
        Some(self.kept().clusters.get(name)?.entry.clone())
    }

    /// What was seen of a cluster, where that is not older than it should be by now.
    pub(crate) fn seen(&self, name: &str) -> Option<Seen> {
        let seen = self.kept().clusters.get(name)?.seen.clone()?;
        let age = Timestamp::now().duration_since(seen.members_at);
        let fresh = age.unsigned_abs() < self.every * 2;
        fresh.then_some(seen)
    }

    pub(crate) fn series(&self, name: &str) -> Option<Vec<Point>> {
        Some(self.kept().clusters.get(name)?.series.points())
    }

    /// What viewers are not shown.
    pub(crate) fn veil(&self) -> Veil {
        self.kept().veil.clone()
    }

    /// How many changes there were; waits for more than that many.
    pub(crate) fn versions(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// What changed behind this count of changes, in order, and the count then.
    pub(crate) fn since(&self, version: u64) -> Vec<(u64, ClusterChange)> {
        let kept = self.kept();
        let here = kept.clusters.values().filter_map(|watched| {
            let change = || ClusterChange {
                name: watched.entry.name.clone(),
                cluster: Some(watched.entry.clone()),
            };
            (watched.version > version).then(|| (watched.version, change()))
        });
        let gone = kept.gone.iter().filter_map(|(name, at)| {
            let change = || ClusterChange {
                name: name.clone(),
                cluster: None,
            };
            (*at > version).then(|| (*at, change()))
        });
        let mut changes: Vec<_> = here.chain(gone).collect();
        changes.sort_by_key(|(at, _)| *at);
        changes
    }

    /// Changes what is known of a cluster; whoever watches is told where that differs.
    fn change(&self, name: &str, change: impl FnOnce(&mut Watched)) {
        let mut kept = self.kept();
        let Some(watched) = kept.clusters.get_mut(name) else {
            return;
        };
        let before = watched.entry.clone();
        change(watched);
        if watched.entry.differs(&before) {
            self.version.send_modify(|version| *version += 1);
            watched.version = *self.version.borrow();
        }
    }

    /// Reads the directory, and begins to watch what is new in it.
    pub(crate) async fn read_files(&self, state: &Arc<State>) -> Result<(), Problem> {
        let _one = self.reading.lock().await;
        let known: BTreeMap<String, Stamp> = {
            let kept = self.kept();
            let clusters = kept.clusters.iter();
            let stamps = clusters.map(|(name, watched)| (name.clone(), watched.file.clone()));
            stamps.collect()
        };
        let reading = Arc::clone(state);
        let names_and_new = blocking(move || {
            let mut names = BTreeSet::new();
            let mut new = Vec::new();
            for (name, path) in reading.topologies.list()? {
                let stamp = Stamp::of(&path);
                // Of two files with one name the first is shown: whoever opens it is told.
                let first = names.insert(name.clone());
                if first && known.get(&name) != Some(&stamp) {
                    new.push((stamp, Read::of(name, &path)));
                }
            }
            Ok::<_, Problem>((names, new))
        });
        let (names, new) = names_and_new.await??;
        let mut kept = self.kept();
        let gone: Vec<String> = kept
            .clusters
            .keys()
            .filter(|name| !names.contains(*name))
            .cloned()
            .collect();
        for name in gone {
            self.version.send_modify(|version| *version += 1);
            kept.clusters.remove(&name);
            kept.gone.insert(name, *self.version.borrow());
            if kept.gone.len() > GONE {
                let oldest = kept.gone.iter().min_by_key(|(_, at)| **at);
                if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                    kept.gone.remove(&oldest);
                }
            }
        }
        let changed = !new.is_empty();
        for (file, read) in new {
            let Read {
                cluster,
                outside,
                entry,
            } = read;
            self.version.send_modify(|version| *version += 1);
            let (name, look) = (entry.name.clone(), Arc::new(Notify::new()));
            let usable = entry.error.is_none() && !self.every.is_zero();
            let task = usable.then(|| {
                let watching = watch_one(Arc::clone(state), name.clone(), Arc::clone(&look));
                AbortOnDropHandle::new(tokio::spawn(watching))
            });
            kept.gone.remove(&name);
            let watched = Watched {
                file,
                cluster,
                outside,
                entry,
                version: *self.version.borrow(),
                seen: None,
                series: Series::default(),
                look,
                _task: task,
            };
            kept.clusters.insert(name, watched);
        }
        if changed {
            let outside = kept.clusters.values().flat_map(|one| one.outside.clone());
            kept.veil = Veil::of(state.topologies.directory(), outside);
        }
        Ok(())
    }

    /// Notes which operations are carried out, and has clusters looked at whose operation ended.
    fn note_operations(&self, records: &[OperationRecord]) {
        let names: Vec<(String, Option<String>)> = {
            let clusters = &self.kept().clusters;
            let all = clusters.iter();
            all.map(|(name, watched)| (name.clone(), watched.cluster.clone()))
                .collect()
        };
        for (name, cluster) in names {
            let runs = records
                .iter()
                .find(|record| Some(record.cluster.as_str()) == cluster.as_deref());
            self.change(&name, |watched| {
                let now = runs.map(Underway::from);
                if watched.entry.operation.is_some() && now != watched.entry.operation {
                    watched.look.notify_one();
                }
                watched.entry.operation = now;
            });
        }
    }
}

impl ClusterEntry {
    /// How it is.
    pub(crate) fn health(&self) -> ClusterHealth {
        match (&self.error, &self.summary) {
            (Some(_), _) => ClusterHealth::Broken,
            (None, Some(summary)) => summary.health,
            (None, None) => ClusterHealth::Unknown,
        }
    }

    /// Whether anything but the times of looks differs.
    fn differs(&self, other: &Self) -> bool {
        let timeless = |entry: &Self| Self {
            members_seen: None,
            hosts_seen: None,
            ..entry.clone()
        };
        timeless(self) != timeless(other)
    }
}

/// What was read of a topology file.
struct Read {
    cluster: Option<String>,
    outside: Vec<String>,
    entry: ClusterEntry,
}

impl Read {
    fn of(name: String, path: &Path) -> Self {
        let read = read_topology(path, &[]);
        let spec = read.as_ref().ok().map(|document| &document.spec);
        // Its error names the file by its path, which viewers are not shown.
        let hidden = |error: &DeployError| {
            let shown = path.display().to_string();
            chain(error).replace(&shown, &name)
        };
        Self {
            cluster: spec.map(|spec| spec.cluster.to_string()),
            outside: spec.map_or_else(|| quoted(path), named_outside),
            entry: ClusterEntry {
                etcd: spec.map(|spec| spec.etcd.to_string()),
                members: spec.map(|spec| spec.member.len()),
                error: read.as_ref().err().map(hidden),
                name,
                summary: None,
                members_seen: None,
                hosts_seen: None,
                operation: None,
            },
        }
    }
}

/// Everything in quotation marks in a file that is no topology: which of it names files of this
/// machine cannot be known, and an error may quote it.
fn quoted(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let parts = text.split(['"', '\'', '\n']);
    parts.map(|part| part.trim().to_owned()).collect()
}

/// Reads files and operations until the server stops.
pub(crate) async fn watch_files(state: Arc<State>) {
    loop {
        if let Err(problem) = state.watches.read_files(&state).await {
            tracing::error!(why = problem.document.detail, "topologies cannot be read");
        }
        match state.engine.operations().await {
            Ok(mut stored) => {
                stored
                    .retain(|one| one.record.state == OperationState::Running && !one.interrupted);
                let records: Vec<_> = stored.into_iter().map(|one| one.record).collect();
                state.watches.note_operations(&records);
            }
            Err(error) => tracing::error!(error = chain(&error), "operations cannot be read"),
        }
        tokio::select! {
            () = tokio::time::sleep(FILES_EVERY) => {}
            () = state.stopping.cancelled() => return,
        }
    }
}

/// Keeps one cluster in view, until its file changes.
async fn watch_one(state: Arc<State>, name: String, wanted: Arc<Notify>) {
    let mut view = View::default();
    loop {
        let pause = view.round(&state, &name).await;
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = wanted.notified() => view.hosts_at = None,
            () = state.stopping.cancelled() => return,
        }
    }
}

/// What a watch holds between two rounds.
#[derive(Default)]
struct View {
    cluster: Option<Cluster>,
    look: Option<Look>,
    /// When hosts were looked at; none where they are to be looked at in the next round.
    hosts_at: Option<Instant>,
    /// Rounds in which nothing answered.
    silent: u32,
}

impl View {
    /// Looks once, and returns how long to wait for the next time.
    async fn round(&mut self, state: &Arc<State>, name: &str) -> Duration {
        let every = state.watches.every;
        if let Err(problem) = self.look(state, name).await {
            let summary = Summary::unknown(problem.document.detail);
            state.watches.change(name, |watched| {
                watched.entry.summary = Some(summary);
                watched.seen = None;
            });
            self.hosts_at = None;
            return LONGEST_PAUSE;
        }
        let Some(look) = &self.look else {
            return LONGEST_PAUSE;
        };
        let seen = Seen {
            status: Arc::new(look.status()),
            certificates: Arc::new(look.certificates()),
            members_at: look.members_at(),
            hosts_at: look.hosts_at(),
        };
        let summary = Summary::of(look);
        let answers = seen.status.members.iter();
        let answered = answers.filter(|member| member.answer.is_some()).count();
        self.silent = if answered == 0 { self.silent + 1 } else { 0 };
        state.watches.change(name, |watched| {
            watched.series.add(seen.members_at, &seen.status);
            watched.entry.summary = Some(summary);
            watched.entry.members_seen = Some(seen.members_at);
            watched.entry.hosts_seen = Some(seen.hosts_at);
            watched.seen = Some(seen);
        });
        match look.was_refused() {
            true => REFUSED,
            false => {
                (every * 2_u32.saturating_pow(self.silent.min(8))).min(LONGEST_PAUSE.max(every))
            }
        }
    }

    async fn look(&mut self, state: &Arc<State>, name: &str) -> Result<(), Problem> {
        let due = self.hosts_at.is_none_or(|at| at.elapsed() >= HOSTS_EVERY);
        if let (Some(cluster), Some(look), false) = (&self.cluster, &mut self.look, due) {
            // The semaphore is never closed.
            let turn = state.watches.asking.acquire().await;
            let before = look.status();
            cluster.ask_again(look).await;
            drop(turn);
            if same_health(&before, &look.status()) {
                return Ok(());
            }
        }
        // Opened again: what its topology may name can have changed.
        let cluster = open(state, name).await?;
        let turn = state.watches.asking.acquire().await;
        let look = cluster.look().await?;
        drop(turn);
        (self.cluster, self.look) = (Some(cluster), Some(look));
        self.hosts_at = Some(Instant::now());
        Ok(())
    }
}

/// Whether the same members are healthy, and answer: where that changed, their hosts say why.
fn same_health(before: &StatusDocument, now: &StatusDocument) -> bool {
    let health = |document: &StatusDocument| -> Vec<_> {
        let members = document.members.iter();
        members
            .map(|member| (member.health, member.answer.is_some()))
            .collect()
    };
    health(before) == health(now)
}
