//! Whether a snapshot can be restored: into a member that is thrown away, on this machine or on a
//! host.

use std::fs::File;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use etcdup_core::host::{Architecture, HostId};
use etcdup_core::observed::Observed;
use etcdup_core::topology::Topology;
use etcdup_core::version::EtcdVersion;
use etcdup_host::{Body, DrillAnswer, DrillPlace, DrillRefused, Header};
use etcdup_transport::{Local, Transport, TransportError};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::directory::directory_of;
use super::error::FlowError;
use super::kept::KeptSnapshot;
use super::store::SnapshotStore;
use crate::binaries::release::{self, ReleaseError};
use crate::observe::{observe_host, state_of};
use crate::scripts::DRILL;
use crate::session::Session;
use crate::stream::stream;
use crate::tasks::blocking;

/// What a member that is thrown away read back from a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Drilled {
    /// The snapshot's name.
    pub snapshot: String,
    /// The release of etcd that was started on it.
    pub etcd: String,
    /// The host that it was restored on; `None` for the machine that etcdup runs on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<HostId>,
    /// The revision that it is at.
    pub revision: i64,
    /// How many keys are in it; `None` where authentication is on, which lets nobody count.
    pub keys: Option<i64>,
    /// How long all of it took, in milliseconds.
    pub took_ms: u64,
}

/// Why a snapshot could not be restored.
#[derive(Debug, thiserror::Error)]
pub enum DrillError {
    /// It is not whole, or cannot be read.
    #[error(transparent)]
    Snapshot(#[from] FlowError),
    /// There is no etcd for the machine.
    #[error(transparent)]
    Release(#[from] ReleaseError),
    /// Binaries do not hold what is needed.
    #[error("[binaries], or `tools` under [binaries.host], has no {0} for that machine")]
    Missing(&'static str),
    /// The directory of another topology's binaries has no usable path.
    #[error("no etcd {0} can be had by [binaries]")]
    Version(String),
    /// A file here cannot be written, or a program not be started.
    #[error("cannot use {}", path.display())]
    Here {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// This machine cannot run etcd.
    #[error("this machine does not run Linux: name a host with `--on`")]
    NoLinux,
    /// The host is not in the file, or cannot be reached.
    #[error("{host}: {why}")]
    Host {
        /// The host.
        host: HostId,
        /// Why not.
        why: String,
    },
    /// The link broke, or the script was silent.
    #[error(transparent)]
    Link(#[from] TransportError),
    /// The script did not begin, or did not come to its end.
    #[error("{0}")]
    Script(String),
    /// etcd's own tool refused it, or etcd does not come up on it.
    #[error("{name} of etcd {version} does not take it: {why}")]
    Program {
        /// The program.
        name: String,
        /// The release.
        version: String,
        /// What it said.
        why: String,
    },
    /// The programs are of another release than the file says: that proves nothing of this one.
    #[error("[binaries] holds etcd {found}, and this takes {meant}")]
    Other {
        /// The release that etcd itself names.
        found: String,
        /// The one that the file, or the snapshot's document, names.
        meant: String,
    },
    /// It holds less than its document says.
    #[error("it is at revision {found}, and was taken at {meant}")]
    Short {
        /// The revision that it is at.
        found: i64,
        /// The one that its document names.
        meant: i64,
    },
}

impl DrillError {
    /// Whether the snapshot itself cannot be restored, rather than that it could not be tried.
    #[must_use]
    pub fn is_of_snapshot(&self) -> bool {
        match self {
            Self::Snapshot(error) => error.is_damage(),
            Self::Program { .. } | Self::Short { .. } => true,
            Self::Release(_)
            | Self::Missing(_)
            | Self::Version(_)
            | Self::Here { .. }
            | Self::NoLinux
            | Self::Host { .. }
            | Self::Link(_)
            | Self::Script(_)
            | Self::Other { .. } => false,
        }
    }
}

/// What it takes; the tool that restores is etcdctl before 3.5.
const PROGRAMS: [&str; 3] = ["etcd", "etcdctl", "etcdutl"];

/// How the directory's name begins.
const PLACE: &str = ".etcdup-drill-";

/// A file in it that is locked for as long as it is used.
const LOCK: &str = "lock";

impl Session {
    /// Restores a snapshot with etcd's own tool, starts etcd on it, reads it back and deletes all
    /// of it again: beside the snapshot, or on a host of the topology, which gets etcd's programs
    /// and the snapshot for as long as this takes. Nobody reaches that etcd but by a socket in a
    /// directory of its own.
    ///
    /// # Errors
    /// Where in this it failed.
    pub async fn drill(
        &self,
        topology: &Topology,
        kept: &KeptSnapshot,
        on: Option<&HostId>,
    ) -> Result<Drilled, DrillError> {
        let begun = Instant::now();
        let link = self.machine(topology, on).await?;
        let sha256 = kept.verify().await?;
        let version = version_for(topology, kept);
        let place = self.place(topology, kept).await?;
        let programs = self.programs(topology, &version, place.path(), link.architecture);
        let programs = programs.await?;
        let file = match kept.file() {
            Some(file) => file,
            None => {
                let copy = place.path().join("copy.db");
                kept.copy_to(&copy).await?;
                copy
            }
        };
        let input = match on {
            None => Input::here(place.path(), file, programs)?,
            Some(_) => Input::sent(file, sha256, programs)?,
        };
        let state = on.map_or_else(|| "-".to_owned(), |host| state_of(topology, host));
        let header = Header {
            state: &state,
            cluster: topology.cluster.as_str(),
            operation: None,
            now: Timestamp::now(),
        };
        let answer = match input.run(link.transport, header).await? {
            Ok(answer) => answer,
            Err(DrillRefused::Script(why)) => {
                return Err(match on.cloned() {
                    Some(host) => DrillError::Host { host, why },
                    None => DrillError::Script(why),
                });
            }
            Err(DrillRefused::Program { name, why }) => {
                let version = version.to_string();
                return Err(DrillError::Program { name, version, why });
            }
        };
        let DrillAnswer {
            revision,
            keys,
            release,
        } = answer;
        let ran = release.parse::<EtcdVersion>();
        if !ran.is_ok_and(|ran| ran.minor() == version.minor()) {
            return Err(DrillError::Other {
                found: release,
                meant: version.to_string(),
            });
        }
        let meant = kept.document.as_ref().map(|document| document.revision);
        if let Some(meant) = meant.filter(|meant| *meant > revision) {
            return Err(DrillError::Short {
                found: revision,
                meant,
            });
        }
        Ok(Drilled {
            snapshot: kept.name.clone(),
            etcd: release,
            host: on.cloned(),
            revision,
            keys,
            took_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        })
    }

    /// The link to a host, or to this machine.
    async fn machine(
        &self,
        topology: &Topology,
        on: Option<&HostId>,
    ) -> Result<Machine, DrillError> {
        let Some(host) = on else {
            if !cfg!(target_os = "linux") {
                return Err(DrillError::NoLinux);
            }
            return Ok(Machine {
                transport: Arc::new(Local::new("sh")),
                architecture: release::own_architecture(),
            });
        };
        let failed = |why: String| DrillError::Host {
            host: host.clone(),
            why,
        };
        let link = self.link(host);
        let (state, cluster) = (state_of(topology, host), topology.cluster.as_str());
        let view = observe_host(host, link.clone(), &state, cluster, Vec::new()).await;
        match (link, view) {
            (Observed::Known(transport), Observed::Known(view)) => Ok(Machine {
                transport,
                architecture: view.facts.architecture,
            }),
            (Observed::Unknown(unseen), _) | (_, Observed::Unknown(unseen)) => {
                Err(failed(unseen.to_string()))
            }
        }
    }

    /// A directory of this machine for as long as it takes: beside the snapshot, where there is
    /// room for another of its size as a rule, unless another user could put programs there.
    async fn place(
        &self,
        topology: &Topology,
        kept: &KeptSnapshot,
    ) -> Result<DrillDirectory, DrillError> {
        let file = kept.file();
        let beside = file.as_deref().map(directory_of);
        let beside = match beside.filter(|beside| is_ours_alone(beside)) {
            Some(beside) => beside.to_owned(),
            None => {
                let store = SnapshotStore::of(&self.base, &topology.snapshots, &topology.cluster);
                let store = store.map_err(FlowError::from)?;
                store.scratch().await.map_err(FlowError::from)?.to_owned()
            }
        };
        let made = blocking({
            let beside = beside.clone();
            move || DrillDirectory::make_in(&beside)
        });
        made.await.map_err(here(&beside))
    }

    /// etcd's programs for a machine, as entries of what is sent.
    async fn programs(
        &self,
        topology: &Topology,
        version: &EtcdVersion,
        place: &Path,
        architecture: Architecture,
    ) -> Result<Vec<(String, Body)>, DrillError> {
        let at_version = topology
            .at_version(version)
            .map_err(|_| DrillError::Version(version.to_string()))?;
        let to = place.join("programs");
        std::fs::create_dir(&to).map_err(here(place))?;
        let from = (self.base.as_path(), self.settings.cache.as_path());
        let programs = release::unpacked(&at_version, from, &to, architecture, &PROGRAMS).await?;
        let has = |name: &str| programs.iter().any(|(known, _)| known == name);
        if let Some(missing) = ["etcd", "etcdctl"].into_iter().find(|name| !has(name)) {
            return Err(DrillError::Missing(missing));
        }
        let entry = |(name, ready): (String, release::Ready)| (name, ready.into_body());
        Ok(programs.into_iter().map(entry).collect())
    }
}

/// Where it is restored.
struct Machine {
    transport: Arc<dyn Transport>,
    architecture: Architecture,
}

/// What the script reads.
struct Input {
    /// The snapshot's file on this machine.
    file: PathBuf,
    line: String,
    entries: Vec<(String, Body)>,
}

impl Input {
    /// For this machine: the snapshot stays where it is.
    fn here(place: &Path, file: PathBuf, entries: Vec<(String, Body)>) -> Result<Self, DrillError> {
        let size = std::fs::metadata(&file).map_err(here(&file))?.len();
        // It runs in a directory of its own, from which no relative path leads there.
        let absolute = |path: &Path| std::path::absolute(path).map_err(here(path));
        let (place, snapshot) = (absolute(place)?, absolute(&file)?);
        let named = place.to_str().zip(snapshot.to_str());
        let line = named
            .and_then(|(place, snapshot)| DrillPlace::Here { place, snapshot }.line(size))
            .ok_or_else(|| here(&snapshot)(std::io::ErrorKind::InvalidFilename.into()))?;
        Ok(Self {
            file,
            line,
            entries,
        })
    }

    /// For a host: the snapshot is sent with the programs.
    fn sent(
        file: PathBuf,
        sha256: String,
        mut entries: Vec<(String, Body)>,
    ) -> Result<Self, DrillError> {
        let size = std::fs::metadata(&file).map_err(here(&file))?.len();
        let line = DrillPlace::Sent.line(size);
        let line = line.ok_or_else(|| here(&file)(std::io::ErrorKind::InvalidFilename.into()))?;
        let path = file.clone();
        entries.push(("snapshot.db".to_owned(), Body::File { path, size, sha256 }));
        Ok(Self {
            file,
            line,
            entries,
        })
    }

    /// Runs the script with it.
    async fn run(
        mut self,
        transport: Arc<dyn Transport>,
        header: Header<'_>,
    ) -> Result<Result<DrillAnswer, DrillRefused>, DrillError> {
        let end = Body::Bytes(b"end\n".to_vec().into());
        self.entries.push(("end".to_owned(), end));
        let (reader, writing) = stream(header.line() + &self.line, self.entries);
        let output = transport.run(&DRILL, Box::new(reader)).await?;
        let answer = DrillAnswer::read(&output.text(), &output.last_stderr_line());
        match (answer, writing.await) {
            // The file could not be read: that is why the input ended early.
            (Err(_), Ok(Err(source))) if source.kind() != std::io::ErrorKind::BrokenPipe => {
                Err(here(&self.file)(source))
            }
            (answer, _) => Ok(answer),
        }
    }
}

/// What a file or directory of this machine refused.
fn here(path: &Path) -> impl Fn(std::io::Error) -> DrillError + use<> {
    let path = path.to_owned();
    move |source| DrillError::Here {
        path: path.clone(),
        source,
    }
}

/// A directory that nobody else may look into, locked for as long as it is used and deleted then.
struct DrillDirectory {
    directory: tempfile::TempDir,
    _lock: File,
}

impl DrillDirectory {
    fn make_in(beside: &Path) -> std::io::Result<Self> {
        Self::sweep(beside);
        let directory = tempfile::Builder::new()
            .prefix(PLACE)
            .permissions(std::fs::Permissions::from_mode(0o700))
            .tempdir_in(beside)?;
        let lock = File::create(directory.path().join(LOCK))?;
        // Some file systems have no locks: there nothing is swept. One that another drill holds has
        // found this one between its making and here, and deletes it.
        match lock.try_lock() {
            Err(std::fs::TryLockError::WouldBlock) => {
                return Err(std::io::ErrorKind::ResourceBusy.into());
            }
            Ok(()) | Err(std::fs::TryLockError::Error(_)) => {}
        }
        Ok(Self {
            directory,
            _lock: lock,
        })
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Deletes what a process left that was killed: all of a cluster's secrets are in it.
    fn sweep(beside: &Path) {
        let entries = std::fs::read_dir(beside).into_iter().flatten().flatten();
        for entry in entries {
            if !entry.file_name().to_string_lossy().starts_with(PLACE) {
                continue;
            }
            // One without a lock is just being made, or it was killed in that very moment and holds
            // nothing. The lock is held until all is gone.
            let Ok(lock) = File::open(entry.path().join(LOCK)) else {
                continue;
            };
            if lock.try_lock().is_ok() {
                // Whoever may not delete it can do no more about it here.
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
    }
}

/// Whether nobody else may rename what is in a directory.
fn is_ours_alone(directory: &Path) -> bool {
    // The user that runs this owns what it makes: this reads its ID without any unsafe call.
    let own = std::fs::metadata("/proc/self").map(|own| own.uid());
    let about = std::fs::metadata(directory);
    about.is_ok_and(|about| own.is_ok_and(|own| own == about.uid()) && about.mode() & 0o022 == 0)
}

/// The file's own release where that is of the snapshot's minor, else the one that took it.
fn version_for(topology: &Topology, kept: &KeptSnapshot) -> EtcdVersion {
    let taken_by = kept.document.as_ref();
    let taken_by = taken_by.and_then(|document| document.etcd.parse::<EtcdVersion>().ok());
    match taken_by {
        Some(taken_by) if taken_by.minor() != topology.version.minor() => taken_by,
        Some(_) | None => topology.version.clone(),
    }
}
