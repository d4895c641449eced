//! Every cluster as it was last seen: whoever wants to know how it stands asks no host.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use etcdup_core::file::Spec;
use etcdup_core::host::HostTarget;
use etcdup_core::operation::{OperationId, OperationRecord};
use etcdup_core::plain::chain;
use etcdup_core::sources::named_outside;
use etcdup_core::topology::other_hosts;
use etcdup_deploy::{DeployError, ca_certificate, read_topology};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::{Notify, Semaphore, watch};
use tokio_util::task::AbortOnDropHandle;

use crate::veil::Veil;
use crate::watch::seen::{Seen, first_of};
use crate::watch::series::{Point, Series};
use crate::watch::summary::{ClusterHealth, Summary, Underway};

pub(crate) mod seen;
pub(crate) mod series;
pub(crate) mod summary;

/// What is older than it should be by this counts as unknown.
const LATE: Duration = Duration::from_secs(60);
/// Clusters whose members are asked at once.
const ASKED_AT_ONCE: usize = 16;
/// Names that are hidden: beyond that what comes new is not, which no sane directory reaches.
const MOST_HIDDEN: usize = 100_000;
/// Deleted clusters that streams still report.
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
    /// The cluster's own name, which plans and operations have; none where the file cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
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

/// All clusters of the directory.
pub(crate) struct Watches {
    /// How often members are asked; never where it is zero.
    pub(crate) every: Duration,
    /// What distinguishes this process from others that served the same directory.
    pub(crate) boot: String,
    kept: Mutex<Kept>,
    /// Counts changes.
    version: watch::Sender<u64>,
    /// Held while the directory is read.
    pub(crate) reading: tokio::sync::Mutex<()>,
    pub(crate) asking: Semaphore,
    /// Those of which nothing answered last time have turns of their own: each takes as long as a
    /// connection may.
    pub(crate) asking_silent: Semaphore,
}

#[derive(Default)]
struct Kept {
    clusters: BTreeMap<String, Watched>,
    gone: BTreeMap<String, u64>,
    outside: BTreeSet<String>,
    veil: Veil,
}

pub(crate) struct Watched {
    file: Stamp,
    /// What of this machine the topology names.
    outside: Vec<String>,
    /// The hosts that it names.
    hosts: Vec<HostTarget>,
    pub(crate) entry: ClusterEntry,
    /// The count of changes when this one changed.
    version: u64,
    pub(crate) seen: Option<Seen>,
    /// When it is looked at next: what was seen is as fresh as it should be until then.
    pub(crate) due: Timestamp,
    /// The newest operation on it that is known: what was seen before its end is of another day.
    last: Option<OperationId>,
    pub(crate) series: Series,
    look: Arc<Notify>,
    _task: Option<AbortOnDropHandle<()>>,
}

/// What changes when a file does, the sources that it names, or the cluster's CA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamp {
    path: PathBuf,
    /// Where the CA's certificate is, or will be; none where the file cannot be read, or names one
    /// elsewhere: a disk that hangs would keep all files from being looked at.
    ca: Option<PathBuf>,
    states: [Option<FileState>; 3],
}

/// Inode, size, and when it was written.
type FileState = (u64, u64, i64, i64);

impl Watched {
    /// What is known, which is nothing where nobody looked when somebody should have.
    fn as_of_now(&self) -> ClusterEntry {
        let mut entry = self.entry.clone();
        let late = self.seen.is_some() && Timestamp::now() > self.due + LATE;
        if let Some(summary) = entry.summary.as_mut().filter(|_| late) {
            summary.health = summary.health.min(ClusterHealth::Unknown);
            summary.reasons.insert(0, "no recent data".to_owned());
        }
        entry
    }
}

impl Stamp {
    fn of(path: &Path) -> Self {
        let sources = path.with_file_name("sources.toml");
        Self {
            path: path.to_owned(),
            ca: None,
            states: [state_of(path), state_of(&sources), None],
        }
    }

    /// The same, with what the CA's certificate is like now.
    fn beside(mut self, ca: Option<PathBuf>) -> Self {
        self.states[2] = ca.as_deref().and_then(state_of);
        Self { ca, ..self }
    }

    /// What the files are like now.
    pub(crate) fn again(&self) -> Self {
        Self::of(&self.path).beside(self.ca.clone())
    }

    /// Whether this is that file, as it was.
    pub(crate) fn still(&self, path: &Path) -> bool {
        self.path == path && self.again() == *self
    }
}

/// Whether a file is below the directory of another, as it is written.
fn is_beside(one: &Path, other: &Path) -> bool {
    let up = |part: Component<'_>| part == Component::ParentDir;
    let below = other
        .parent()
        .and_then(|beside| one.strip_prefix(beside).ok());
    below.is_some_and(|below| !below.components().any(up))
}

fn state_of(path: &Path) -> Option<FileState> {
    let data = std::fs::metadata(path).ok()?;
    Some((data.ino(), data.len(), data.mtime(), data.mtime_nsec()))
}

impl Watches {
    pub(crate) fn every(every: Duration) -> Self {
        Self {
            every,
            boot: uuid::Uuid::now_v7().simple().to_string(),
            kept: Mutex::default(),
            version: watch::Sender::new(0),
            reading: tokio::sync::Mutex::default(),
            asking: Semaphore::new(ASKED_AT_ONCE),
            asking_silent: Semaphore::new(ASKED_AT_ONCE),
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every cluster, the worst first.
    pub(crate) fn list(&self) -> Vec<ClusterEntry> {
        let kept = self.kept();
        let mut entries: Vec<ClusterEntry> =
            kept.clusters.values().map(Watched::as_of_now).collect();
        drop(kept);
        entries.sort_by_cached_key(|entry| (entry.health(), entry.name.clone()));
        entries
    }

    pub(crate) fn entry(&self, name: &str) -> Option<ClusterEntry> {
        Some(self.kept().clusters.get(name)?.as_of_now())
    }

    /// What was seen of a cluster, where that is not older than it should be by now, and the newest
    /// operation on it.
    pub(crate) fn seen(&self, name: &str) -> Option<(Seen, Option<OperationId>)> {
        let kept = self.kept();
        let watched = kept.clusters.get(name)?;
        let seen = watched.seen.clone()?;
        let fresh = Timestamp::now() < watched.due;
        fresh.then(|| (seen, watched.last.clone()))
    }

    /// Has a cluster looked at by its watch, soon.
    pub(crate) fn look_soon(&self, name: &str) {
        if let Some(watched) = self.kept().clusters.get(name) {
            watched.look.notify_one();
        }
    }

    /// Notes that an operation was begun on a cluster.
    pub(crate) fn note_begun(&self, name: &str, id: &OperationId) {
        self.change(name, |watched| watched.last = Some(id.clone()));
    }

    /// The newest operation on a cluster that is known, and whether one is carried out.
    pub(crate) fn operation(&self, name: &str) -> (Option<OperationId>, bool) {
        let kept = self.kept();
        let watched = kept.clusters.get(name);
        watched.map_or((None, false), |watched| {
            (watched.last.clone(), watched.entry.operation.is_some())
        })
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

    /// Changes what is known of a cluster by a look that was begun for it; not of a file that came
    /// in its place since.
    pub(crate) fn seen_by(
        &self,
        name: &str,
        look: &Arc<Notify>,
        change: impl FnOnce(&mut Watched),
    ) {
        let same = |watched: &Watched| Arc::ptr_eq(&watched.look, look);
        self.change_where(name, same, change);
    }

    /// Changes what is known of a cluster.
    fn change(&self, name: &str, change: impl FnOnce(&mut Watched)) {
        self.change_where(name, |_| true, change);
    }

    /// Changes what is known of a cluster, where this holds; streams send it where that differs.
    fn change_where(
        &self,
        name: &str,
        holds: impl FnOnce(&Watched) -> bool,
        change: impl FnOnce(&mut Watched),
    ) {
        let mut kept = self.kept();
        let Some(watched) = kept.clusters.get_mut(name) else {
            return;
        };
        if !holds(watched) {
            return;
        }
        let before = watched.entry.clone();
        change(watched);
        if watched.entry.differs(&before) {
            watched.version = self.count();
        }
    }

    /// The files that are known.
    pub(crate) fn files(&self) -> BTreeMap<String, Stamp> {
        let kept = self.kept();
        let clusters = kept.clusters.iter();
        let stamps = clusters.map(|(name, watched)| (name.clone(), watched.file.clone()));
        stamps.collect()
    }

    /// Names that viewers are not shown, from the next change of files on.
    pub(crate) fn hide(&self, names: Vec<String>) {
        self.kept().outside.extend(names);
    }

    /// Every host that a topology names.
    pub(crate) fn hosts(&self) -> HashSet<HostTarget> {
        let kept = self.kept();
        let hosts = kept.clusters.values().flat_map(|one| one.hosts.iter());
        hosts.cloned().collect()
    }

    /// Forgets the clusters whose files are gone.
    pub(crate) fn keep_only(&self, names: &BTreeSet<String>) {
        let mut kept = self.kept();
        let gone: Vec<String> = kept
            .clusters
            .keys()
            .filter(|name| !names.contains(*name))
            .cloned()
            .collect();
        for name in gone {
            let version = self.count();
            kept.clusters.remove(&name);
            kept.gone.insert(name, version);
            if kept.gone.len() > GONE {
                let oldest = kept.gone.iter().min_by_key(|(_, at)| **at);
                if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                    kept.gone.remove(&oldest);
                }
            }
        }
    }

    /// Takes in what was read of files that are new, or changed, with the task that keeps each in
    /// view. The task of a file that changed ends.
    pub(crate) fn add(
        &self,
        new: Vec<Read>,
        directories: &[PathBuf],
        watch: impl Fn(&str, &Arc<Notify>) -> AbortOnDropHandle<()>,
    ) {
        if new.is_empty() {
            return;
        }
        let mut kept = self.kept();
        for read in new {
            let Read {
                file,
                outside,
                hosts,
                mut entry,
            } = read;
            let (name, look) = (entry.name.clone(), Arc::new(Notify::new()));
            let usable = entry.error.is_none() && !self.every.is_zero();
            let task = usable.then(|| watch(&name, &look));
            kept.gone.remove(&name);
            // An edit makes nobody forget how the cluster stood: its age says that it was before.
            let before = kept.clusters.remove(&name);
            let before = before.filter(|old| old.entry.cluster == entry.cluster);
            let (series, last) = match before {
                Some(old) => {
                    entry.summary = old.entry.summary;
                    entry.members_seen = old.entry.members_seen;
                    entry.hosts_seen = old.entry.hosts_seen;
                    entry.operation = old.entry.operation;
                    (old.series, old.last)
                }
                None => Default::default(),
            };
            let watched = Watched {
                file,
                outside,
                hosts,
                entry,
                version: self.count(),
                seen: None,
                due: Timestamp::now(),
                last,
                series,
                look,
                _task: task,
            };
            kept.clusters.insert(name, watched);
        }
        // What files named once stays hidden: plans and operations outlive them.
        let now: Vec<String> = {
            let clusters = kept.clusters.values();
            clusters.flat_map(|one| one.outside.clone()).collect()
        };
        if kept.outside.len() < MOST_HIDDEN {
            kept.outside.extend(now);
        }
        kept.veil = Veil::of(directories, kept.outside.iter().cloned());
    }

    /// Counts a change; the count then.
    fn count(&self) -> u64 {
        self.version.send_modify(|version| *version += 1);
        *self.version.borrow()
    }

    /// Notes which operations are carried out, and has clusters looked at whose operation ended.
    pub(crate) fn note_operations(&self, records: &[OperationRecord]) {
        let names: Vec<(String, Option<String>)> = {
            let clusters = &self.kept().clusters;
            let all = clusters.iter();
            all.map(|(name, watched)| (name.clone(), watched.entry.cluster.clone()))
                .collect()
        };
        for (name, cluster) in names {
            let runs = records
                .iter()
                .find(|record| Some(record.cluster.as_str()) == cluster.as_deref());
            self.change(&name, |watched| {
                let now = runs.map(Underway::from);
                if let Some(underway) = &now {
                    watched.last = Some(underway.id.clone());
                }
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
pub(crate) struct Read {
    file: Stamp,
    outside: Vec<String>,
    hosts: Vec<HostTarget>,
    entry: ClusterEntry,
}

impl Read {
    pub(crate) fn of(name: String, path: &Path) -> Self {
        // Before it is read: what changes meanwhile is noticed by the next look at the file.
        let before = Stamp::of(path);
        let read = read_topology(path, &[]);
        let spec = read.as_ref().ok().map(|document| &document.spec);
        let ca = spec.map(|spec| ca_certificate(spec, path));
        let ca = ca.filter(|ca| is_beside(ca, path));
        // Its error names the file by its path, which viewers are not shown.
        let hidden = |error: &DeployError| {
            let shown = path.display().to_string();
            let words = match error {
                DeployError::Blocked(findings) => first_of(findings.iter()),
                _ => None,
            };
            words.unwrap_or_else(|| chain(error)).replace(&shown, &name)
        };
        Self {
            file: before.beside(ca),
            outside: spec.map_or_else(|| quoted(path), named_outside),
            hosts: spec.map(hosts_of).unwrap_or_default(),
            entry: ClusterEntry {
                etcd: spec.map(|spec| spec.etcd.to_string()),
                members: spec.map(|spec| spec.member.len()),
                error: read.as_ref().err().map(hidden),
                cluster: spec.map(|spec| spec.cluster.to_string()),
                name,
                summary: None,
                members_seen: None,
                hosts_seen: None,
                operation: None,
            },
        }
    }
}

/// The hosts that a topology names.
fn hosts_of(spec: &Spec) -> Vec<HostTarget> {
    let members = spec.member.iter();
    let members = members.map(|member| HostTarget::from_spec(&member.host, &spec.ssh));
    members.chain(other_hosts(spec)).collect()
}

/// Every word of a file that is no topology: which of them name files of this machine cannot be
/// known, and an error may quote any.
fn quoted(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let parts = text.split(|c: char| c.is_whitespace() || "\"'[]{},=".contains(c));
    parts.map(|part| part.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests say what they expect")]

    use super::*;

    #[test]
    fn a_ca_that_is_made_changes_the_file_of_its_cluster() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("etcdup.toml");
        let text = "format = 1\ncluster = \"prod\"\netcd = \"3.5.30\"\n\
                    [[member]]\nname = \"m1\"\nhost = \"10.0.0.1\"\n";
        std::fs::write(&path, text).unwrap();
        let read = Read::of("etcdup".to_owned(), &path);
        assert!(read.file.still(&path));
        // Its name is the cluster's, whatever the file is called.
        let own = place.path().join("pki/prod");
        std::fs::create_dir_all(&own).unwrap();
        std::fs::write(own.join("ca.crt"), "made").unwrap();
        assert!(!read.file.still(&path));
    }
}
