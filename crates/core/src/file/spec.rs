//! The topology file as it is written. Every field of every table is here and nowhere else.

mod certificates;
mod pod;
mod snapshots;
mod ssh;

pub use certificates::{
    Ca, CertificateFiles, CertificateSource, Certificates, CfsslFiles, ClientCertificate,
    OperatorSource, Provided, ProvidedFrom,
};
pub use pod::{Pod, PullPolicy};
pub use snapshots::{Every, EveryError, Keep, Snapshots};
pub use ssh::{HostKeyPolicy, HostSpec, Ssh, SshHost, Sudo, VagrantHost};

use std::collections::BTreeMap;
use std::net::IpAddr;

use camino::Utf8PathBuf;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::flag::FlagValue;
use crate::name::{ClusterName, ClusterToken, DnsName, MemberName, UserName};
use crate::path::{HostPath, Mode, Owner};
use crate::url::Address;
use crate::version::EtcdVersion;

/// What an etcd cluster should be: the whole of `etcdup.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// The format of this file: 1.
    #[schemars(range(min = 1, max = 1))]
    pub format: u32,
    /// The cluster's name, used in file names on hosts and in the CA's name.
    pub cluster: ClusterName,
    /// The version of etcd to run.
    pub etcd: EtcdVersion,
    /// The releases that a change of several minors passes through, where they are not to be the
    /// newest that this etcdup knows: one of each minor.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub through: Vec<EtcdVersion>,
    /// `--initial-cluster-token`; the cluster's name when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<ClusterToken>,
    /// What runs etcd on a host.
    #[serde(default)]
    pub runtime: RuntimeKind,
    /// Where etcd's binaries come from.
    #[serde(default)]
    pub binaries: Binaries,
    /// How clients and peers are spoken to.
    #[serde(default)]
    pub security: Security,
    /// Who issues which certificates.
    #[serde(default)]
    pub certificates: Certificates,
    /// etcd flags of all members, without dashes in front.
    #[serde(default)]
    pub flags: BTreeMap<String, FlagValue>,
    /// Paths, ports and the user on a host.
    #[serde(default)]
    pub layout: Layout,
    /// How a static pod looks.
    #[serde(default)]
    pub pod: Pod,
    /// How hosts are reached by SSH.
    #[serde(default)]
    pub ssh: Ssh,
    /// How a cluster that forms finds its members by DNS instead of a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discovery: Option<Discovery>,
    /// Time synchronization, set up before anything else where none runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Time>,
    /// Snapshots of the cluster.
    #[serde(default)]
    pub snapshots: Snapshots,
    /// More files for every member's host, such as a CA that other programs there use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub file: Vec<FileSpec>,
    /// The members.
    #[serde(default)]
    pub member: Vec<MemberSpec>,
}

/// SRV discovery: members that start for the first time find each other by DNS records, which
/// `etcdup check` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Discovery {
    /// The domain, such as `example.com`.
    pub srv: DnsName,
    /// `--discovery-srv-name`: a suffix of the services' names, for several clusters in one domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<ClusterName>,
}

/// Time synchronization: a host whose chrony, ntp or systemd-timesyncd does not run has one
/// enabled, or chrony installed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Time {
    /// Hosts that are no members and have their time set right too, such as workers.
    pub hosts: Vec<HostSpec>,
}

/// What runs etcd on a host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RuntimeKind {
    /// A systemd unit.
    #[default]
    Systemd,
    /// A static pod of a kubelet.
    StaticPod,
    /// A detached process that nothing restarts: for demonstrations and tests.
    Process,
}

/// Where etcd's binaries come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Binaries {
    /// Upstream's release archive, downloaded.
    Release(Release),
    /// A release archive the operator has.
    Archive(Archive),
    /// A directory the operator has, with etcd and etcdctl in it.
    Directory(Directory),
    /// Installed on the hosts already.
    Host(HostBinaries),
}

impl Binaries {
    /// The same with `{version}` filled in, and the checksums that are given for this release.
    #[must_use]
    pub fn of(&self, version: &EtcdVersion) -> Self {
        let fill = |path: &Utf8PathBuf| Utf8PathBuf::from(fill_version(path.as_str(), version));
        let mut filled = self.clone();
        match &mut filled {
            Binaries::Archive(archive) => archive.path = fill(&archive.path),
            Binaries::Directory(directory) => {
                directory.path = fill(&directory.path);
                directory.also = directory.also.iter().map(fill).collect();
            }
            Binaries::Release(release) => {
                let own = release.sums_of(version);
                release.sha256.extend(own);
            }
            Binaries::Host(host) => *host.tools = host.tools.of(version),
        }
        filled
    }

    /// Where another release's come from: the checksums of this one do not count for it.
    #[must_use]
    pub fn of_another(&self, version: &EtcdVersion) -> Self {
        let mut other = self.clone();
        match &mut other {
            Binaries::Release(release) => release.sha256 = release.sums_of(version),
            Binaries::Archive(archive) => archive.sha256 = None,
            Binaries::Directory(_) => {}
            Binaries::Host(host) => *host.tools = host.tools.of_another(version),
        }
        other
    }

    /// Where a release's tools come from that a host does not have.
    #[must_use]
    pub fn tools(&self) -> &Self {
        match self {
            Binaries::Host(host) => &host.tools,
            Binaries::Release(_) | Binaries::Archive(_) | Binaries::Directory(_) => self,
        }
    }
}

/// A path or name with `{version}` filled in.
#[must_use]
pub fn fill_version(text: &str, version: &EtcdVersion) -> String {
    text.replace("{version}", &version.to_string())
}

impl Default for Binaries {
    fn default() -> Self {
        Binaries::Release(Release::default())
    }
}

/// A release to download.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Release {
    /// The URL above `vX.Y.Z/etcd-vX.Y.Z-linux-ARCH.tar.gz`; upstream's releases when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirror: Option<String>,
    /// Who downloads.
    pub download: Download,
    /// SHA-256 of the archive by architecture, `amd64`; from the mirror's SHA256SUMS when not
    /// given. Of a release that is passed through by `3.5.33-amd64`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sha256: BTreeMap<String, String>,
}

impl Release {
    /// The checksums that are given for a release by name, by architecture.
    fn sums_of(&self, version: &EtcdVersion) -> BTreeMap<String, String> {
        let prefix = format!("{version}-");
        let sums = self.sha256.iter();
        sums.filter_map(|(key, sum)| Some((key.strip_prefix(&prefix)?.to_owned(), sum.clone())))
            .collect()
    }
}

/// Who downloads a release.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Download {
    /// The operator's machine, once; it is cached and pushed.
    #[default]
    Operator,
    /// Each host, with curl or wget.
    Host,
}

/// A release archive the operator has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Archive {
    /// The `.tar.gz`, relative to the topology file; `{arch}` stands for amd64 or arm64,
    /// `{version}` for the release, such as 3.5.33.
    #[schemars(with = "String")]
    pub path: Utf8PathBuf,
    /// Its SHA-256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// A directory the operator has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Directory {
    /// The directory, relative to the topology file; it holds etcd and etcdctl. `{version}`
    /// stands for the release, such as 3.5.33.
    #[schemars(with = "String")]
    pub path: Utf8PathBuf,
    /// More directories to look in, where etcdctl lies apart from etcd.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub also: Vec<Utf8PathBuf>,
}

/// Binaries that are on the hosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct HostBinaries {
    /// The directory on the host that holds etcd.
    pub directory: HostPath,
    /// Where tools come from that a restore needs and the hosts lack, as under `[binaries]`;
    /// upstream's release when not given.
    #[serde(default, skip_serializing_if = "is_upstreams")]
    pub tools: Box<Binaries>,
}

fn is_upstreams(binaries: &Binaries) -> bool {
    *binaries == Binaries::default()
}

/// How a plane is protected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TransportSecurity {
    /// Plain HTTP.
    Plain,
    /// The server shows a certificate.
    Tls,
    /// Both sides show a certificate.
    #[default]
    Mutual,
}

/// How clients and peers are spoken to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Security {
    /// The client plane (2379).
    pub client: TransportSecurity,
    /// What the same port serves besides, while clients go from one to the other: `plain` beside
    /// TLS, or TLS beside `plain`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_also: Option<TransportSecurity>,
    /// The peer plane (2380).
    pub peer: TransportSecurity,
    /// Listen for clients on loopback too; true when not given.
    pub loopback: bool,
    /// Listen there for plain HTTP.
    pub loopback_http: bool,
    /// Explicitly allows that plain HTTP may be reached from the network.
    pub allow_plain: bool,
}

impl Default for Security {
    fn default() -> Self {
        Self {
            client: TransportSecurity::default(),
            client_also: None,
            peer: TransportSecurity::default(),
            loopback: true,
            loopback_http: false,
            allow_plain: false,
        }
    }
}

impl Security {
    /// How clients are spoken to with TLS: `plain` where the port serves no TLS at all.
    #[must_use]
    pub fn client_tls(&self) -> TransportSecurity {
        match (self.client, self.client_also) {
            (TransportSecurity::Plain, Some(also)) => also,
            (client, _) => client,
        }
    }
}

/// A file that is put on every member's host beside what etcd needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FileSpec {
    /// The file here, relative to the topology file; `{member}` stands for the member's name.
    pub from: String,
    /// Where it goes.
    pub to: HostPath,
    /// Its mode; `600` when not given.
    #[serde(default = "private")]
    #[schemars(with = "String")]
    pub mode: Mode,
    /// Its owner, `user:group`; the user that runs etcd when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub owner: Option<Owner>,
}

fn private() -> Mode {
    Mode::PRIVATE
}

/// Paths, ports and the user on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Layout {
    /// Everything below one directory; the default of the `process` runtime.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<HostPath>,
    /// Certificates; `/etc/etcd`, with the member's name below it where members share a host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificates: Option<HostPath>,
    /// Data; `/var/lib/etcd`, with the member's name below it where members share a host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<HostPath>,
    /// The write-ahead log, on a disk of its own: etcd keeps it in `wal` below this directory, with
    /// the member's name in between where members share a host. Within the data when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wal: Option<HostPath>,
    /// Binaries, a directory per version below it; `/opt/etcd`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub binaries: Option<HostPath>,
    /// Where links to the binaries go; `/usr/local/bin`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub links: Option<HostPath>,
    /// The unit's name without `.service`, `etcd`; a second cluster on the same hosts needs
    /// another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<ClusterName>,
    /// The user that runs etcd.
    pub user: UserName,
    /// The port for clients.
    pub client_port: u16,
    /// The port for peers.
    pub peer_port: u16,
    /// The port for metrics over plain HTTP on loopback; none when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics_port: Option<u16>,
    /// Units and manifests that are there stay as they are as long as their members run with the
    /// file's flags: for clusters that was made elsewhere.
    pub keep_unit: bool,
    /// A template that replaces the unit's, relative to the topology file.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub unit_template: Option<Utf8PathBuf>,
}

impl Default for Layout {
    fn default() -> Self {
        #[allow(clippy::expect_used, reason = "a constant that the tests parse")]
        let user = "etcd".parse().expect("`etcd` is a user name");
        Self {
            root: None,
            certificates: None,
            data: None,
            wal: None,
            binaries: None,
            links: None,
            unit: None,
            user,
            client_port: 2379,
            peer_port: 2380,
            metrics_port: None,
            keep_unit: false,
            unit_template: None,
        }
    }
}

/// One member.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct MemberSpec {
    /// The member's name; the host's own name when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<MemberName>,
    /// The host it runs on.
    pub host: HostSpec,
    /// The address or name that peers and clients use; the host's when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<AddressSpec>,
    /// The address to listen on, when `address` is a name or not the host's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen: Option<ListenSpec>,
    /// More names and addresses that certificates are valid for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub names: Vec<Address>,
    /// The port for clients, instead of the layout's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_port: Option<u16>,
    /// The port for peers, instead of the layout's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_port: Option<u16>,
    /// The port for metrics, instead of the layout's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics_port: Option<u16>,
    /// The data directory, instead of the layout's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<HostPath>,
    /// The directory of the write-ahead log, instead of the layout's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wal: Option<HostPath>,
    /// etcd flags of this member alone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub flags: BTreeMap<String, FlagValue>,
    /// Whether it should go: `true` for one whose host answers, `"gone"` for one whose host is gone
    /// for good.
    #[serde(default, skip_serializing_if = "Absent::is_default")]
    pub absent: Absent,
}

/// Whether a member should go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "`true`, or `\"gone\"` where the host is gone for good"
)]
pub enum Absent {
    /// `true` where it should go: its host is asked, and cleaned up.
    Flag(bool),
    /// Its host is gone for good, which only a person knows: it is never asked.
    Host(HostFate),
}

/// What became of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HostFate {
    /// It will never answer again.
    Gone,
}

impl Default for Absent {
    fn default() -> Self {
        Self::Flag(false)
    }
}

impl Absent {
    /// Whether the member should go.
    #[must_use]
    pub fn is_absent(self) -> bool {
        self != Self::Flag(false)
    }

    /// Whether its host is gone for good.
    #[must_use]
    pub fn is_gone(self) -> bool {
        self == Self::Host(HostFate::Gone)
    }

    #[allow(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde passes a reference"
    )]
    fn is_default(&self) -> bool {
        !self.is_absent()
    }
}

/// An address or name, or the interface to read the address of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "an address, a host name, or `{ interface = \"eth1\" }`"
)]
pub enum AddressSpec {
    /// The address or name itself.
    Given(#[schemars(with = "String")] Address),
    /// The first global address of this interface.
    Interface(Interface),
}

/// An address to listen on, or the interface to read it of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "an address, or `{ interface = \"eth1\" }`")]
pub enum ListenSpec {
    /// The address itself.
    Given(IpAddr),
    /// The first global address of this interface.
    Interface(Interface),
}

/// A network interface of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Interface {
    /// Its name, such as `eth1`.
    pub interface: String,
}
