//! Where a member's things lie on its host.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::file::{Binaries, Layout, MemberSpec, RuntimeKind, Spec};
use crate::name::{MemberName, NameError, UserName};
use crate::path::{HostPath, Mode, Owner};

/// The ports of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ports {
    /// For clients.
    pub client: u16,
    /// For peers.
    pub peer: u16,
    /// For metrics over plain HTTP on loopback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<u16>,
}

impl Ports {
    /// A member's own ports, or the layout's.
    #[must_use]
    pub fn of(member: &MemberSpec, layout: &Layout) -> Self {
        Self {
            client: member.client_port.unwrap_or(layout.client_port),
            peer: member.peer_port.unwrap_or(layout.peer_port),
            metrics: member.metrics_port.or(layout.metrics_port),
        }
    }

    /// With a metrics port for the probes of a static pod, where none is given.
    #[must_use]
    pub fn for_probes(self) -> Self {
        Self {
            metrics: self.metrics.or(Some(2381)),
            ..self
        }
    }
}

/// What etcd's write-ahead log is called in the directory that holds it.
pub const LOG: &str = "wal";

/// Where a member's things lie on its host. No two members of a host share any of the first group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberLayout {
    /// The directory of its certificates.
    pub certificates: HostPath,
    /// Its data directory.
    pub data: HostPath,
    /// The directory that holds its write-ahead log, where that is not in the data.
    pub wal: Option<HostPath>,
    /// Its systemd unit's name.
    pub unit: String,
    /// Its static pod's manifest.
    pub manifest: HostPath,
    /// Its start file, where it is no unit.
    pub start_file: HostPath,
    /// The file that holds its process id, where it is no unit.
    pub pid_file: HostPath,
    /// Its log, where it is no unit.
    pub log_file: HostPath,

    /// What keeps its etcd running.
    pub runtime: RuntimeKind,
    /// The user that runs its etcd, where that is a unit's to say.
    pub user: UserName,
    /// The directory that holds its version's binaries.
    pub binaries: HostPath,
    /// The directory that holds links to them; `None` where binaries are the host's own.
    pub links: Option<HostPath>,
    /// etcdup's own directory on the host.
    pub state: HostPath,
}

impl MemberLayout {
    /// The layout of a member; `shares` says whether other members are on its host.
    pub(super) fn of(
        spec: &Spec,
        member: &MemberSpec,
        name: &MemberName,
        shares: bool,
    ) -> Result<Self, NameError> {
        let layout = &spec.layout;
        let process = spec.runtime == RuntimeKind::Process;
        let root = match (&layout.root, process) {
            (Some(root), _) => Some(root.clone()),
            (None, true) => Some(
                "/var/lib/etcdup/process"
                    .parse::<HostPath>()?
                    .join(spec.cluster.as_str())?,
            ),
            (None, false) => None,
        };
        let place = |own: &Option<HostPath>, below_root: &str, standard: &str| match (own, &root) {
            (Some(own), _) => Ok(own.clone()),
            (None, Some(root)) => root.join(below_root),
            (None, None) => standard.parse(),
        };
        let own = |base: HostPath| {
            if shares {
                base.join(name.as_str())
            } else {
                Ok(base)
            }
        };
        let unit = layout.unit.as_ref().map_or("etcd", |unit| unit.as_str());
        let service = if shares {
            format!("{unit}-{name}")
        } else {
            unit.to_owned()
        };
        let pods = match &spec.pod.manifests {
            Some(directory) => directory.clone(),
            None => "/etc/kubernetes/manifests".parse()?,
        };
        // Where no root is asked for it is the same for every runtime, so that a host's record is
        // found whatever runs etcd there now.
        let state = match &layout.root {
            Some(root) => root.join("etcdup")?,
            None => "/var/lib/etcdup".parse()?,
        };
        let binaries = place(&layout.binaries, "opt", "/opt/etcd")?;
        let run = match &root {
            Some(root) => root.join("run")?,
            None => state.join("run")?,
        };
        Ok(Self {
            certificates: own(place(&layout.certificates, "certificates", "/etc/etcd")?)?,
            data: match &member.data {
                Some(data) => data.clone(),
                None => own(place(&layout.data, "data", "/var/lib/etcd")?)?,
            },
            wal: match (&member.wal, &layout.wal) {
                (Some(wal), _) => Some(wal.clone()),
                (None, wal) => wal.clone().map(own).transpose()?,
            },
            unit: format!("{service}.service"),
            manifest: pods.join(&format!("{service}.yaml"))?,
            start_file: run.join(&format!("{name}.sh"))?,
            pid_file: run.join(&format!("{name}.pid"))?,
            log_file: run.join(&format!("{name}.log"))?,
            runtime: spec.runtime,
            user: layout.user.clone(),
            binaries: match &spec.binaries {
                Binaries::Host(host) => host.directory.clone(),
                _ => binaries.join(&format!("v{}", spec.etcd))?,
            },
            links: match &spec.binaries {
                Binaries::Host(_) => None,
                _ => Some(place(&layout.links, "bin", "/usr/local/bin")?),
            },
            state,
        })
    }

    /// The directories that it alone writes in, by their keys in a topology file: its data, and its
    /// log where that has its own.
    pub fn own(&self) -> impl Iterator<Item = (&'static str, &HostPath)> + Clone {
        let wal = self.wal.iter().map(|wal| ("wal", wal));
        std::iter::once(("data", &self.data)).chain(wal)
    }

    /// The directory that holds its write-ahead log under the name [`LOG`].
    ///
    /// # Errors
    /// When the path of the data is too long.
    pub fn holds_log(&self) -> Result<HostPath, NameError> {
        self.log_with(self.wal.as_ref())
    }

    /// The same, were its log kept there and its data where it is.
    ///
    /// # Errors
    /// As [`MemberLayout::holds_log`].
    pub fn log_with(&self, wal: Option<&HostPath>) -> Result<HostPath, NameError> {
        match wal {
            Some(wal) => Ok(wal.clone()),
            None => self.data.join("member"),
        }
    }

    /// Whether the kubelet runs it.
    #[must_use]
    pub fn is_pod(&self) -> bool {
        self.runtime == RuntimeKind::StaticPod
    }

    /// Whether systemd runs it.
    #[must_use]
    pub fn is_systemd(&self) -> bool {
        self.runtime == RuntimeKind::Systemd
    }

    /// What starts it: its unit, its manifest or its start file.
    ///
    /// # Errors
    /// As [`MemberLayout::unit_file`].
    pub fn start(&self) -> Result<HostPath, NameError> {
        match self.runtime {
            RuntimeKind::Systemd => self.unit_file(),
            RuntimeKind::StaticPod => Ok(self.manifest.clone()),
            RuntimeKind::Process => Ok(self.start_file.clone()),
        }
    }

    /// Who owns its files; `None` where they belong to whoever runs etcdup on the host.
    #[must_use]
    pub fn owner(&self) -> Option<Owner> {
        match self.runtime {
            RuntimeKind::Systemd => Some(Owner::of(&self.user)),
            // Images run as root.
            RuntimeKind::StaticPod => Some(Owner::root()),
            RuntimeKind::Process => None,
        }
    }

    /// Who owns its certificates and keys: root, so that the user that runs etcd cannot put another
    /// file, or a link, where root writes; its group reads them.
    #[must_use]
    pub fn certificate_owner(&self) -> Option<Owner> {
        match self.runtime {
            RuntimeKind::Systemd => Some(Owner::root_for(&self.user)),
            RuntimeKind::StaticPod | RuntimeKind::Process => self.owner(),
        }
    }

    /// The mode of its private keys.
    #[must_use]
    pub fn key_mode(&self) -> Mode {
        match self.runtime {
            RuntimeKind::Systemd => Mode::GROUP,
            RuntimeKind::StaticPod | RuntimeKind::Process => Mode::PRIVATE,
        }
    }

    /// The mode of the directory of its certificates.
    #[must_use]
    pub fn certificate_directory_mode(&self) -> Mode {
        match self.runtime {
            RuntimeKind::Systemd => Mode::GROUP_DIRECTORY,
            RuntimeKind::StaticPod | RuntimeKind::Process => Mode::PROGRAM,
        }
    }

    /// Where systemd looks for the unit.
    ///
    /// # Errors
    /// When the unit's name is no file name; a member's name never makes such.
    pub fn unit_file(&self) -> Result<HostPath, NameError> {
        HostPath::try_from(format!("/etc/systemd/system/{}", self.unit))
    }

    /// etcd itself.
    ///
    /// # Errors
    /// When the directory's path is too long.
    pub fn etcd(&self) -> Result<HostPath, NameError> {
        self.binaries.join("etcd")
    }
}

/// The loopback address of the same family.
#[must_use]
pub(super) fn loopback(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
    }
}
