//! Whether a snapshot can be restored: into a member that is thrown away, on this machine.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use etcdup_client::{Access, ClientError, Endpoint, MemberClient, Plain, TcpDial};
use etcdup_core::plain::chain;
use etcdup_core::topology::Topology;
use etcdup_core::version::EtcdVersion;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::process::{Child, Command};

use super::error::FlowError;
use super::kept::KeptSnapshot;
use super::store::SnapshotStore;
use crate::binaries::release::{self, ReleaseError};
use crate::session::Session;

/// What a member that is thrown away read back from a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Drilled {
    /// The snapshot's name.
    pub snapshot: String,
    /// The release of etcd that was started on it.
    pub etcd: String,
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
    /// There is no etcd for this machine.
    #[error(transparent)]
    Release(#[from] ReleaseError),
    /// Binaries are the hosts' own, or do not hold what is needed.
    #[error(
        "[binaries] has no {0} for this machine: let it name a release, an archive or a directory"
    )]
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
    /// etcd's own tool refused it.
    #[error("{tool} does not restore it: {why}")]
    Tool {
        /// The tool.
        tool: &'static str,
        /// Its last line.
        why: String,
    },
    /// etcd does not come up on it.
    #[error("etcd {version} does not serve what was restored: {why}")]
    Silent {
        /// The release.
        version: String,
        /// Its last lines, or what a client was answered.
        why: String,
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

/// How long the tool may take: some minutes a gigabyte on a slow disk.
const LIMIT: Duration = Duration::from_secs(1200);

/// Becomes the program, which is killed once standard input ends: when it is not needed any more,
/// and when this process was killed. That it is still the same one its directory says.
const WATCHED: &str = "exec 3<&0; (cat <&3 >/dev/null; \
                       [ \"$(readlink /proc/$$/cwd)\" = \"$PWD\" ] && kill -KILL $$) >/dev/null 2>&1 & \
                       exec \"$@\" </dev/null 3<&-";

/// How long etcd may take to serve.
const SERVES: Duration = Duration::from_secs(120);

/// How old a directory must be that nobody uses any more: the tool and etcd have their limits.
const LEFT: Duration = Duration::from_secs(3600);

/// How the directory's name begins.
const PLACE: &str = ".drill-";

impl Session {
    /// Restores a snapshot beside itself with etcd's own tool, starts etcd on it, reads it back and
    /// deletes all of it again. etcd listens on this machine's loopback alone.
    ///
    /// # Errors
    /// Where in this it failed.
    pub async fn drill(
        &self,
        topology: &Topology,
        kept: &KeptSnapshot,
    ) -> Result<Drilled, DrillError> {
        let begun = Instant::now();
        kept.verify().await?;
        let version = version_for(topology, kept);
        let topology = topology
            .at_version(&version)
            .map_err(|_| DrillError::Version(version.to_string()))?;
        let store = SnapshotStore::of(&self.base, &topology.snapshots, &topology.cluster);
        let store = store.map_err(FlowError::from)?;
        let file = kept.file();
        let beside = match file.as_deref().and_then(Path::parent) {
            Some(beside) => beside,
            None => store.scratch().await.map_err(FlowError::from)?,
        };
        sweep(beside);
        let place = tempfile::Builder::new().prefix(PLACE).tempdir_in(beside);
        let place = place.map_err(|source| DrillError::Here {
            path: beside.to_owned(),
            source,
        })?;
        let file = match file {
            Some(file) => file,
            None => {
                let copy = place.path().join("snapshot.db");
                kept.copy_to(&copy).await?;
                copy
            }
        };
        let program = async |name: &'static str| {
            let (base, cache) = (&self.base, &self.settings.cache);
            let found = release::program(&topology, base, cache, place.path(), name).await?;
            // It runs in a directory of its own, from which no relative path leads there.
            let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
            Ok::<_, DrillError>(found.map(absolute))
        };
        let etcd = program("etcd").await?.ok_or(DrillError::Missing("etcd"))?;
        let (tool, name) = match program("etcdutl").await? {
            Some(tool) => (tool, "etcdutl"),
            None => {
                let tool = program("etcdctl").await?;
                (tool.ok_or(DrillError::Missing("etcdutl"))?, "etcdctl")
            }
        };
        let member = ThrownAway::new(place.path(), etcd)?;
        member.restore(&tool, name, &file).await?;
        let (revision, keys) = member.read_back(&version).await?;
        let meant = kept.document.as_ref().map(|document| document.revision);
        if let Some(meant) = meant.filter(|meant| *meant > revision) {
            return Err(DrillError::Short {
                found: revision,
                meant,
            });
        }
        Ok(Drilled {
            snapshot: kept.name.clone(),
            etcd: version.to_string(),
            revision,
            keys,
            took_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        })
    }
}

/// Deletes what a process left that was killed: all of a cluster's secrets are in it.
fn sweep(beside: &Path) {
    let entries = std::fs::read_dir(beside).into_iter().flatten().flatten();
    for entry in entries {
        let left = entry.file_name().to_string_lossy().starts_with(PLACE);
        let modified = entry.metadata().and_then(|about| about.modified());
        let old = modified.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > LEFT));
        if left && old {
            // Whoever may not delete it can do no more about it here.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
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

/// A member on this machine, in a directory that goes with it.
struct ThrownAway<'a> {
    place: &'a Path,
    etcd: PathBuf,
    client: u16,
    peer: u16,
}

impl<'a> ThrownAway<'a> {
    fn new(place: &'a Path, etcd: PathBuf) -> Result<Self, DrillError> {
        let here = |source| DrillError::Here {
            path: place.to_owned(),
            source,
        };
        // Both at once, so that they differ; free until etcd takes them, as a rule.
        let client = std::net::TcpListener::bind(("127.0.0.1", 0)).map_err(here)?;
        let peer = std::net::TcpListener::bind(("127.0.0.1", 0)).map_err(here)?;
        let port = |listener: &std::net::TcpListener| listener.local_addr().map(|at| at.port());
        Ok(Self {
            place,
            etcd,
            client: port(&client).map_err(here)?,
            peer: port(&peer).map_err(here)?,
        })
    }

    /// A program of etcd's, which does not outlive this process.
    fn run(&self, program: &Path) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", WATCHED, "sh"]).arg(program);
        let path = std::env::var_os("PATH").unwrap_or_default();
        // No variable of the caller's changes what it does.
        command
            .env_clear()
            .env("PATH", path)
            .env("ETCDCTL_API", "3");
        command.current_dir(self.place).stdin(Stdio::piped());
        command.kill_on_drop(true);
        command
    }

    /// What both etcd and its tool must be given alike.
    fn identity(&self) -> [String; 6] {
        let url = format!("http://127.0.0.1:{}", self.peer);
        [
            "--name".to_owned(),
            "drill".to_owned(),
            "--initial-cluster".to_owned(),
            format!("drill={url}"),
            "--initial-advertise-peer-urls".to_owned(),
            url,
        ]
    }

    async fn restore(
        &self,
        tool: &Path,
        name: &'static str,
        snapshot: &Path,
    ) -> Result<(), DrillError> {
        let snapshot = std::path::absolute(snapshot).unwrap_or_else(|_| snapshot.to_owned());
        let mut command = self.run(tool);
        command.args(["snapshot", "restore"]).arg(snapshot);
        command.args(["--data-dir", "data"]).args(self.identity());
        let here = |source| DrillError::Here {
            path: tool.to_owned(),
            source,
        };
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(here)?;
        let watched = child.stdin.take();
        let ran = tokio::time::timeout(LIMIT, child.wait_with_output()).await;
        drop(watched);
        let failed = |why| DrillError::Tool { tool: name, why };
        let ran = ran.map_err(|_| failed(format!("it did not end within {} s", LIMIT.as_secs())));
        let ran = ran?.map_err(here)?;
        match ran.status.success() {
            true => Ok(()),
            false => Err(failed(first_line(&ran.stderr))),
        }
    }

    /// Starts etcd, and asks it for its revision and how many keys it has.
    async fn read_back(&self, version: &EtcdVersion) -> Result<(i64, Option<i64>), DrillError> {
        let here = |path: PathBuf| move |source| DrillError::Here { path, source };
        let log = self.place.join("log");
        let output = std::fs::File::create(&log).map_err(here(log.clone()))?;
        let errors = output.try_clone().map_err(here(log.clone()))?;
        let url = format!("http://127.0.0.1:{}", self.client);
        let mut command = self.run(&self.etcd);
        command.args(["--data-dir", "data"]).args(self.identity());
        command.args([
            "--listen-client-urls",
            &url,
            "--advertise-client-urls",
            &url,
        ]);
        let peer = format!("http://127.0.0.1:{}", self.peer);
        command.args(["--listen-peer-urls", &peer]);
        let mut child = command
            .stdout(output)
            .stderr(errors)
            .spawn()
            .map_err(here(self.etcd.clone()))?;
        let read = self.ask(&mut child).await;
        // Its data goes with the directory: nothing has to be written any more.
        let _ = child.kill().await;
        read.map_err(|why| DrillError::Silent {
            version: version.to_string(),
            why: format!(
                "{why}: {}",
                last_line(&std::fs::read(&log).unwrap_or_default())
            ),
        })
    }

    async fn ask(&self, child: &mut Child) -> Result<(i64, Option<i64>), String> {
        let authority = format!("127.0.0.1:{}", self.client);
        let endpoint = Endpoint {
            authority,
            plain: Plain::Only,
            ..Endpoint::default()
        };
        let dial = Arc::new(TcpDial::new("127.0.0.1", self.client));
        let client = MemberClient::new(&endpoint, &Access::Plain, dial);
        let client = client.map_err(|error| chain(&error))?;
        let start = Instant::now();
        loop {
            let denied = |error: &ClientError| matches!(error, ClientError::Denied(_));
            match client.keys().await {
                Ok((revision, keys)) => return Ok((revision, Some(keys))),
                Err(error) if denied(&error) => {
                    let view = client.view().await.map_err(|error| chain(&error))?;
                    return Ok((view.revision, None));
                }
                Err(error) if start.elapsed() > SERVES => return Err(chain(&error)),
                Err(_) => {}
            }
            if let Ok(Some(status)) = child.try_wait() {
                return Err(format!("it ended with {status}"));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// What a program says first is why it ended: a panic is followed by where.
fn first_line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    // etcd's tools say what they do before, as JSON or with a time.
    let why = lines.clone().find(|line| {
        let line = line.to_lowercase();
        line.starts_with("error") || line.starts_with("panic") || line.starts_with("unexpected")
    });
    let why = why.or_else(|| lines.next_back());
    why.unwrap_or("it says nothing").trim().to_owned()
}

fn last_line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let last = text.lines().rfind(|line| !line.trim().is_empty());
    last.unwrap_or("it says nothing").trim().to_owned()
}
