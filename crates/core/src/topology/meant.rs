//! The topology as meant: every name, address, path and flag is concrete. Nothing in it is the file
//! any more, so that an intermediate topology is no different from the one that the file asks for.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use camino::Utf8PathBuf;

use super::layout::{LOG, MemberLayout, Ports, loopback};
use crate::certificate::{CertRequest, CfsslRequest, Issuer, Usage};
use crate::file::{
    Binaries, Certificates, Discovery, FileSpec, Pod, RuntimeKind, Security, Snapshots, Ssh, Time,
    TransportSecurity,
};
use crate::flag::{FlagSet, Translated, translate};
use crate::host::{HostId, HostTarget};
use crate::membership::MemberId;
use crate::name::{ClusterName, ClusterToken, MemberName, NameError, UserName};
use crate::stage::TrustLeg;
use crate::url::{Address, EtcdUrl, Scheme, join_urls};
use crate::version::EtcdVersion;

/// The topology as meant: every name, address, path and flag is concrete.
#[derive(Debug, Clone, PartialEq)]
pub struct Topology {
    /// The cluster's name.
    pub cluster: ClusterName,
    /// The cluster's token, of the generation that this topology is of.
    pub token: ClusterToken,
    /// The token of the first generation. A later one appends `-gN`, after a reset or a restore.
    pub first_token: ClusterToken,
    /// The version that members run.
    pub version: EtcdVersion,
    /// The releases that a change of several minors passes through.
    pub through: Vec<EtcdVersion>,
    /// What keeps etcd running.
    pub runtime: RuntimeKind,
    /// Transport security of client and peer connections.
    pub security: Security,
    /// Who issues which certificates, and where they come from.
    pub certificates: Certificates,
    /// Which CA signs what members need.
    pub issuer: Issuer,
    /// Where a change of CAs stands, while it is under way.
    pub trust: Option<TrustLeg>,
    /// Whether peers speak plain HTTP although `security.peer` says TLS: all must have what TLS
    /// takes before the first of them listens for it.
    pub peers_ready: bool,
    /// Whether members listen for clients on their hosts' loopback alone: what was restored is not
    /// verified yet.
    pub clients_kept_out: bool,
    /// How a cluster that is bootstrapped finds its members by DNS.
    pub discovery: Option<Discovery>,
    /// Where binaries come from.
    pub binaries: Binaries,
    /// Settings of static pods.
    pub pod: Pod,
    /// More files for every host.
    pub files: Vec<FileSpec>,
    /// The user that runs etcd.
    pub user: UserName,
    /// Whether units and manifests that exist are kept until a flag changes.
    pub keep_unit: bool,
    /// The user's own template of the unit, relative to the topology file.
    pub unit_template: Option<Utf8PathBuf>,
    /// Time synchronization.
    pub time: Option<Time>,
    /// When snapshots are taken, and which are kept.
    pub snapshots: Snapshots,
    /// The members, in the file's order.
    pub members: Vec<Member>,
    /// The members that should go.
    pub leaving: Vec<Leaving>,
    /// How hosts are reached where nothing else says it.
    pub ssh: Ssh,
    /// The hosts, by the members on them; those of members that go too, unless they are gone.
    pub hosts: BTreeMap<HostId, HostTarget>,
}

/// A member as meant.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// Its position in the file.
    pub index: usize,
    /// Its name, which tells it from every other member here.
    pub name: MemberName,
    /// What it calls itself (`--name`): the same, unless it goes and another takes its name over.
    pub etcd_name: MemberName,
    /// The host it runs on.
    pub host: HostId,
    /// What peers and clients call it.
    pub address: Address,
    /// The address it listens on.
    pub listen: IpAddr,
    /// More names its certificates are valid for.
    pub names: Vec<Address>,
    /// The login user's home on its host, where the file asks for it.
    pub home: Option<String>,
    /// Its ports.
    pub ports: Ports,
    /// Where its things lie.
    pub layout: MemberLayout,
    /// The flags the user gave, those of all members and its own.
    pub(super) flags: BTreeMap<String, String>,
}

impl Member {
    /// Its own flags in the terms of a release.
    #[must_use]
    pub fn flags_on(&self, version: &EtcdVersion) -> Translated {
        translate(&self.flags, version)
    }
}

/// A member that should go.
#[derive(Debug, Clone, PartialEq)]
pub struct Leaving {
    /// The member as it was. Its name is no other member's, whatever it calls itself.
    pub member: Member,
    /// Whether its host is gone for good: it is never asked.
    pub gone: bool,
    /// Its ID, where a host record has it.
    pub id: Option<MemberId>,
    /// Whether the file still names it, as absent.
    pub in_file: bool,
}

impl Topology {
    /// The same cluster with another release of etcd: where its binaries come from and lie, and
    /// with them the flags.
    ///
    /// # Errors
    /// When the directory of its binaries has no usable path.
    pub fn at_version(&self, version: &EtcdVersion) -> Result<Self, NameError> {
        if *version == self.version {
            return Ok(self.clone());
        }
        let mut other = self.clone();
        other.version = version.clone();
        other.binaries = self.binaries.of_another(version);
        if !matches!(self.binaries, Binaries::Host(_)) {
            let leaving = other.leaving.iter_mut().map(|leaving| &mut leaving.member);
            for member in other.members.iter_mut().chain(leaving) {
                // One that keeps its place lies where it does.
                let layout = &mut member.layout;
                let own = format!("v{}", self.version);
                if layout.binaries.file_name() == own
                    && let Some(above) = layout.binaries.parent()
                {
                    layout.binaries = above.join(&format!("v{version}"))?;
                }
            }
        }
        Ok(other)
    }

    /// What names the binaries or the image of one release alone, so that no other can be had;
    /// `None` where others can.
    #[must_use]
    pub fn pinned_to_one(&self) -> Option<&'static str> {
        let pinned = |text: &str| !text.contains("{version}");
        if self.runtime == RuntimeKind::StaticPod {
            let archive = self.pod.archive.as_ref();
            if self.pod.image.as_deref().is_some_and(pinned) {
                return Some("[pod] image");
            }
            return archive
                .is_some_and(|path| pinned(path.as_str()))
                .then_some("[pod] archive");
        }
        match &self.binaries {
            Binaries::Release(_) => None,
            Binaries::Archive(archive) => {
                pinned(archive.path.as_str()).then_some("[binaries.archive] path")
            }
            Binaries::Directory(directory) => {
                pinned(directory.path.as_str()).then_some("[binaries.directory] path")
            }
            Binaries::Host(_) => Some("[binaries.host] directory"),
        }
    }

    /// What keeps a restart from running another release, whatever the file says: binaries and
    /// units that are the host's own, and an image that is named as it is.
    #[must_use]
    pub fn keeps_its_binary(&self) -> Option<&'static str> {
        if self.keep_unit {
            return Some("[layout] keep-unit");
        }
        if self.runtime == RuntimeKind::StaticPod {
            let image = self.pod.image.as_deref()?;
            let names = image.contains("{version}") || image.contains(&self.version.to_string());
            return (!names).then_some("[pod] image");
        }
        matches!(self.binaries, Binaries::Host(_)).then_some("[binaries.host]")
    }

    /// The members, then those that should go.
    pub fn everyone(&self) -> impl Iterator<Item = &Member> {
        let leaving = self.leaving.iter().map(|leaving| &leaving.member);
        self.members.iter().chain(leaving)
    }

    /// A member by its name, or one that should go.
    #[must_use]
    pub fn member(&self, name: &MemberName) -> Option<&Member> {
        self.everyone().find(|member| member.name == *name)
    }

    /// A member that should go, by its name.
    #[must_use]
    pub fn leaving(&self, name: &MemberName) -> Option<&Leaving> {
        self.leaving.iter().find(|one| one.member.name == *name)
    }

    /// The host of this name, or else the one of the member of this name: a person may think of a
    /// host by the member on it.
    #[must_use]
    pub fn host(&self, name: &str) -> Option<&HostId> {
        let host = self.hosts.keys().find(|host| host.as_str() == name);
        let member = || self.members.iter().find(|one| one.name.as_str() == name);
        host.or_else(|| Some(&member()?.host))
    }

    /// The members on a host, those that should go too.
    pub fn on_host<'a>(&'a self, host: &'a HostId) -> impl Iterator<Item = &'a Member> {
        self.everyone().filter(move |member| member.host == *host)
    }

    /// Whether a host is to run a member.
    #[must_use]
    pub fn has_member_on(&self, host: &HostId) -> bool {
        self.members.iter().any(|member| member.host == *host)
    }

    /// The hosts that are to run members; others are known because they did.
    pub fn member_hosts(&self) -> impl Iterator<Item = &HostId> {
        self.hosts.keys().filter(|host| self.has_member_on(host))
    }

    /// The scheme of the client plane.
    #[must_use]
    pub fn client_scheme(&self) -> Scheme {
        scheme(self.security.client)
    }

    /// The scheme of the peer plane.
    #[must_use]
    pub fn peer_scheme(&self) -> Scheme {
        if self.peers_ready {
            Scheme::Http
        } else {
            scheme(self.security.peer)
        }
    }

    /// `--initial-cluster`: every member's name and peer URL, in the file's order.
    #[must_use]
    pub fn initial_cluster(&self) -> String {
        let one = |member: &Member| format!("{}={}", member.name, self.peer_url(member));
        self.members.iter().map(one).collect::<Vec<_>>().join(",")
    }

    /// The URL that peers use.
    #[must_use]
    pub fn peer_url(&self, member: &Member) -> EtcdUrl {
        EtcdUrl::new(
            self.peer_scheme(),
            member.address.clone(),
            member.ports.peer,
        )
    }

    /// The URL that clients use.
    #[must_use]
    pub fn client_url(&self, member: &Member) -> EtcdUrl {
        EtcdUrl::new(
            self.client_scheme(),
            member.address.clone(),
            member.ports.client,
        )
    }

    /// All flags of a member. `state` is `new` until the cluster has formed, `existing` from then
    /// on.
    #[must_use]
    pub fn flags(&self, member: &Member, state: ClusterState) -> FlagSet {
        let mut flags = FlagSet::default();
        let security = &self.security;
        let client = self.client_scheme();
        // etcd serves both schemes on one port where a URL of each is listed.
        let also = security.client_also.map(scheme);
        let on = |ip: IpAddr| {
            let schemes = std::iter::once(client).chain(also);
            schemes.map(move |scheme| EtcdUrl::new(scheme, ip, member.ports.client))
        };
        let inside = loopback(member.listen);
        let listen = match self.clients_kept_out {
            true => kept_out(member.listen),
            false => member.listen,
        };
        let mut listen_client: Vec<EtcdUrl> = on(listen).collect();
        let wide = listen.is_unspecified() || listen.is_loopback();
        if !wide && security.loopback {
            if security.loopback_http {
                listen_client.push(EtcdUrl::new(Scheme::Http, inside, member.ports.client));
            } else {
                listen_client.extend(on(inside));
            }
        }
        flags.put("name", member.etcd_name.as_str());
        flags.put("data-dir", member.layout.data.as_str());
        if let Some(wal) = &member.layout.wal {
            flags.put("wal-dir", format!("{wal}/{LOG}"));
        }
        flags.put("listen-client-urls", join_urls(&listen_client));
        flags.put("advertise-client-urls", self.client_url(member).to_string());
        flags.put(
            "listen-peer-urls",
            EtcdUrl::new(self.peer_scheme(), member.listen, member.ports.peer).to_string(),
        );
        flags.put(
            "initial-advertise-peer-urls",
            self.peer_url(member).to_string(),
        );
        match (&self.discovery, state) {
            // Once it has formed the list is known, and no start depends on DNS any more.
            (Some(discovery), ClusterState::New) => {
                flags.put("discovery-srv", discovery.srv.as_str());
                if let Some(name) = &discovery.name {
                    flags.put("discovery-srv-name", name.as_str());
                }
            }
            _ => flags.put("initial-cluster", self.initial_cluster()),
        }
        flags.put("initial-cluster-state", state.as_str());
        flags.put("initial-cluster-token", self.token.as_str());
        if let Some(port) = member.ports.metrics {
            flags.put(
                "listen-metrics-urls",
                format!("http://{}", authority(loopback(member.listen), port)),
            );
        }
        let pod = &self.pod;
        if let (RuntimeKind::StaticPod, Some(log)) = (member.layout.runtime, &pod.log) {
            flags.put("log-outputs", format!("stderr,{log}"));
            if self.version.minor() == 4 {
                flags.put("logger", "zap");
            }
        }
        // What kubeadm writes for etcd beside the above; a manifest that is kept as it is keeps its
        // own.
        if member.layout.is_pod() && !self.keep_unit {
            let minor = self.version.minor();
            flags.put("snapshot-count", "10000");
            match minor {
                0..=4 => {}
                5 => {
                    flags.put("experimental-initial-corrupt-check", "true");
                    flags.put("experimental-watch-progress-notify-interval", "5s");
                }
                _ => {
                    flags.put("feature-gates", "InitialCorruptCheck=true");
                    flags.put("watch-progress-notify-interval", "5s");
                }
            }
        }
        self.tls_flags(member, &mut flags);
        for (flag, value) in &member.flags_on(&self.version).flags {
            match (
                flags.get(flag),
                crate::flag::lookup(flag).map(|row| row.owned),
            ) {
                // Nobody is let in by a URL of the user's either.
                _ if self.clients_kept_out && flag == "listen-client-urls" => {}
                (Some(own), Some(crate::flag::SetBy::Append)) => {
                    let joined = format!("{own},{value}");
                    flags.set(flag, joined);
                }
                // One gate that a user sets turns no other off.
                (Some(own), _) if flag == "feature-gates" => {
                    let name = |gate: &str| gate.split('=').next().unwrap_or_default().to_owned();
                    let given: Vec<String> = value.split(',').map(name).collect();
                    let kept = own.split(',').filter(|gate| !given.contains(&name(gate)));
                    let all: Vec<&str> = kept.chain(value.split(',')).collect();
                    flags.set(flag, all.join(","));
                }
                _ => flags.set(flag, value.as_str()),
            }
        }
        flags
    }

    fn tls_flags(&self, member: &Member, flags: &mut FlagSet) {
        let at = |file: &str| format!("{}/{file}", member.layout.certificates);
        let (security, files) = (&self.security, &self.certificates.files);
        let client = security.client_tls();
        if client != TransportSecurity::Plain {
            flags.put("cert-file", at(&files.server.cert));
            flags.put("key-file", at(&files.server.key));
        }
        if client == TransportSecurity::Mutual {
            flags.put("trusted-ca-file", at(&files.ca));
            flags.put("client-cert-auth", "true");
        }
        if security.peer != TransportSecurity::Plain {
            let own = if self.shares_certificate() {
                &files.server
            } else {
                &files.peer
            };
            flags.put("peer-cert-file", at(&own.cert));
            flags.put("peer-key-file", at(&own.key));
            flags.put("peer-trusted-ca-file", at(&files.ca));
        }
        if security.peer == TransportSecurity::Mutual {
            flags.put("peer-client-cert-auth", "true");
        }
    }

    /// Whether a member has one certificate for client and peer connections.
    #[must_use]
    pub fn shares_certificate(&self) -> bool {
        let both = self.security.client_tls() != TransportSecurity::Plain
            && self.security.peer != TransportSecurity::Plain;
        let provided = self.certificates.provided.as_ref();
        both && provided.map_or(self.certificates.shared, |provided| provided.peer.is_none())
    }

    /// Whether either plane uses TLS.
    #[must_use]
    pub fn uses_tls(&self) -> bool {
        self.security.client_tls() != TransportSecurity::Plain
            || self.security.peer != TransportSecurity::Plain
    }

    /// The certificates that a member needs, by role: `server` and `peer`.
    #[must_use]
    pub fn certificates(&self, member: &Member) -> Vec<(&'static str, CertRequest)> {
        let mut wanted = Vec::new();
        if self.security.client_tls() != TransportSecurity::Plain {
            let usage = if self.shares_certificate() {
                Usage::Peer
            } else {
                Usage::Server
            };
            wanted.push(("server", self.request(member, usage)));
        }
        if self.security.peer != TransportSecurity::Plain && !self.shares_certificate() {
            wanted.push(("peer", self.request(member, Usage::Peer)));
        }
        wanted
    }

    fn request(&self, member: &Member, usage: Usage) -> CertRequest {
        let certificates = &self.certificates;
        let cfssl = certificates.requests.member.as_ref();
        let mut sans: BTreeSet<Address> = member.names.iter().cloned().collect();
        // What is no name or address was refused when the request was read.
        sans.extend(
            cfssl
                .and_then(|request| request.sans().ok())
                .into_iter()
                .flatten(),
        );
        sans.insert(member.address.clone());
        if !member.listen.is_unspecified() {
            sans.insert(Address::Ip(member.listen));
        }
        let local = usage == Usage::Server || self.shares_certificate();
        if local {
            let here = ["127.0.0.1", "::1", "localhost"];
            sans.extend(here.into_iter().filter_map(|text| text.parse().ok()));
        }
        let name = cfssl
            .map(|request| &request.name)
            .filter(|name| !name.is_empty());
        CertRequest {
            name: name.cloned().unwrap_or_else(|| member.name.to_string()),
            subject: cfssl.map(CfsslRequest::subject).unwrap_or_default(),
            usage,
            sans,
            algorithm: cfssl
                .and_then(|request| request.algorithm().ok())
                .unwrap_or(certificates.algorithm),
            hours: certificates
                .requests
                .hours
                .unwrap_or(certificates.days * 24),
            issuer: self.issuer,
        }
    }
}

fn scheme(plane: TransportSecurity) -> Scheme {
    if plane == TransportSecurity::Plain {
        Scheme::Http
    } else {
        Scheme::Https
    }
}

fn authority(ip: IpAddr, port: u16) -> String {
    EtcdUrl::new(Scheme::Http, ip, port).authority()
}

/// `--initial-cluster-state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClusterState {
    /// The cluster has not formed yet.
    New,
    /// It has. A lone member that lost its disk must not boot a fresh cluster (kubespray issue
    /// 13261).
    Existing,
}

impl ClusterState {
    /// As etcd spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            ClusterState::New => "new",
            ClusterState::Existing => "existing",
        }
    }
}

/// Where a member listens that keeps clients out: not where an API server on its own host looks for
/// one. Version 6 has no other address of that kind.
#[must_use]
pub const fn kept_out(listen: IpAddr) -> IpAddr {
    match listen {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::new(127, 0, 77, 1)),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    }
}
