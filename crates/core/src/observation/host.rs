//! A host as its observe script describes it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::raft_log::RaftLog;
use super::record::{HostRecord, LeaseView};
use super::wal::DataIdentity;
use crate::certificate::CertFacts;
use crate::flag::FlagSet;
use crate::host::HostFacts;
use crate::membership::ClusterId;
use crate::name::MemberName;
use crate::observed::Observed;
use crate::path::{HostPath, Mode, Owner};

/// All that was seen of a host.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HostView {
    /// What it is.
    pub facts: HostFacts,
    /// The files whose text was asked for, and the data directories, whether they are there or not.
    pub asked: BTreeSet<HostPath>,
    /// The files that were looked for.
    pub files: BTreeMap<HostPath, FileView>,
    /// The certificates among them.
    pub certificates: BTreeMap<HostPath, Observed<CertFacts>>,
    /// The units that were looked for.
    pub units: BTreeMap<String, UnitView>,
    /// The etcd process of each member that runs.
    pub processes: BTreeMap<MemberName, EtcdProcess>,
    /// Every etcd that runs, where that was asked for.
    pub instances: Vec<EtcdInstance>,
    /// The data directories that were looked for.
    pub data: BTreeMap<HostPath, DataDir>,
    /// The directories that were looked at for a log.
    pub logs: BTreeMap<HostPath, LogDir>,
    /// The file systems that were looked at, by the path asked for.
    pub disks: BTreeMap<HostPath, Disk>,
    /// Who listens on the ports that were asked for.
    pub listeners: BTreeMap<u16, Listener>,
    /// What the host's resolver says of the names that were asked for.
    pub names: BTreeMap<String, Vec<IpAddr>>,
    /// Names found in reverse for the addresses that were asked for.
    pub reverse: BTreeMap<IpAddr, Vec<String>>,
    /// The images that were asked for and are there.
    pub images: BTreeSet<String>,
    /// The last lines of each member's log, where it does not run as it should.
    pub console: BTreeMap<MemberName, Console>,
    /// The host record; that it cannot be read is something else than that there is none.
    pub record: Observed<Option<HostRecord>>,
    /// The cluster IDs that etcdup recorded here under other names.
    pub others: BTreeMap<String, ClusterId>,
    /// When the newest raft snapshot in a data directory was taken, in seconds since 1970 by the
    /// host's clock; without one there is no entry.
    pub raft_snapshots: BTreeMap<HostPath, i64>,
    /// How far members' logs go, by data directory, where that was asked for.
    pub raft_logs: BTreeMap<HostPath, Observed<RaftLog>>,
    /// The marks found in data directories, by directory.
    pub marks: BTreeMap<HostPath, String>,
    /// What the last stage on this host left to be known by, and whether it `runs`, `ended` or `was
    /// cut off`; empty where none ever ran.
    pub last_stage: String,
    /// The lease on this host, where one is held.
    pub lease: Option<LeaseView>,
}

impl HostView {
    /// Whether a stage was under way when this was seen: it is neither what was nor what will be.
    #[must_use]
    pub fn is_changing(&self) -> bool {
        self.last_stage.ends_with(" runs")
    }

    /// The host record, where there is one that can be read.
    #[must_use]
    pub fn record(&self) -> Option<&HostRecord> {
        self.record.known()?.as_ref()
    }

    /// The other name under which etcdup knows a cluster here.
    #[must_use]
    pub fn other_name_of(&self, cluster: ClusterId) -> Option<&str> {
        let mut others = self.others.iter();
        others
            .find(|(_, recorded)| **recorded == cluster)
            .map(|(name, _)| name.as_str())
    }

    /// The host record, to change it.
    #[must_use]
    pub fn record_mut(&mut self) -> Option<&mut HostRecord> {
        self.record.known_mut()?.as_mut()
    }
}

/// The last lines of a log.
pub type Console = Vec<String>;

/// What kind of file it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileKind {
    /// An ordinary file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link to this target.
    Link(String),
    /// Anything else.
    Other,
}

/// A file that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileView {
    /// Its kind.
    pub kind: FileKind,
    /// Its mode.
    pub mode: Mode,
    /// Its owner; `None` where the name is not one that etcdup would write.
    pub owner: Option<Owner>,
    /// Its size in bytes.
    pub size: u64,
    /// Its SHA-256, hex; `None` for what is no ordinary file.
    pub sha256: Option<String>,
    /// Its text, where that was asked for.
    pub text: Option<String>,
    /// When its content last changed, in seconds since 1970 by the host's clock.
    pub modified: Option<i64>,
}

/// A systemd unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnitView {
    /// `running`, `start`, `auto-restart`, ...
    pub sub: String,
    /// Whether it starts at boot.
    pub enabled: bool,
    /// How often it was restarted.
    pub restarts: u32,
    /// Whether its file changed since systemd read it.
    pub needs_reload: bool,
    /// Its drop-ins.
    pub drop_ins: Vec<DropIn>,
}

/// A file that changes a unit from beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DropIn {
    /// Where it is.
    pub path: String,
    /// The directives in it, such as `ExecStart=...`.
    pub directives: Vec<String>,
}

/// A running etcd: the same for every runtime, for it is read from /proc.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EtcdProcess {
    /// The process id.
    pub pid: u32,
    /// The file it runs.
    pub exe: String,
    /// Its flags, from arguments and environment.
    pub flags: FlagSet,
    /// Whether its manifest was written after it began: the kubelet has not seen it yet.
    pub outdated: bool,
    /// When it started, in seconds since 1970 by the host's clock.
    pub since: Option<i64>,
    /// Arguments and `ETCD_*` variables that etcd does not know.
    pub unknown_flags: Vec<String>,
}

impl EtcdProcess {
    /// Whether it was started after a file was written, as far as both times are known.
    #[must_use]
    pub fn started_after(&self, modified: Option<i64>) -> bool {
        let times = self.since.zip(modified);
        // A second is as exact as either time is.
        times.is_none_or(|(since, modified)| modified <= since + 1)
    }
}

/// An etcd that runs on a host, whoever made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EtcdInstance {
    /// The process id.
    pub pid: u32,
    /// The file it runs, as its own mount namespace has it.
    pub exe: String,
    /// Its release.
    pub version: String,
    /// The user it runs as.
    pub user: String,
    /// The systemd unit that it is part of.
    pub unit: Option<String>,
    /// The static pod's manifest that names its data directory.
    pub manifest: Option<HostPath>,
    /// The manifest's image.
    pub image: Option<String>,
    /// The manifest's text.
    pub text: Option<String>,
    /// Its flags.
    pub flags: FlagSet,
}

/// A data directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DataDir {
    /// It is not there.
    Absent,
    /// It holds nothing.
    Empty,
    /// It holds an etcd member's data.
    Member(DataIdentity),
    /// It holds something else.
    Foreign,
}

/// A directory that may hold a write-ahead log, as `wal`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogDir {
    /// It is not there, or, in a data directory, has no log.
    Absent,
    /// It holds nothing.
    Empty,
    /// It holds a log.
    Log,
    /// It holds something else.
    Foreign,
}

/// A file system.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Disk {
    /// Free, in bytes, for an ordinary user.
    pub free: u64,
    /// The device, as `df` names it.
    pub device: String,
    /// How long a write with fsync takes, in microseconds, the mean of several; `None` where it was
    /// not measured.
    pub fsync_us: Option<u64>,
}

/// A process that listens on a port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listener {
    /// Its id, where it could be found.
    pub pid: Option<u32>,
    /// Its program's name, where it could be found.
    pub program: String,
    /// The systemd service it belongs to, where there is one and the process could be found.
    pub unit: Option<String>,
}
