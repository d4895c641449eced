//! From the topology as written to the topology as meant.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use super::document::KeyPath;
use super::layout::{MemberLayout, Ports, loopback};
use super::spec::{
    AddressSpec, HostSpec, Interface, ListenSpec, MemberSpec, Plane, ProvidedFrom, RuntimeKind,
    Spec,
};
use super::target::{HostId, HostTarget, split_login};
use crate::certificate::{CertRequest, CfsslRequest, Usage};
use crate::flag::FlagSet;
use crate::name::{ClusterToken, MemberName, NameError, UserName};
use crate::observation::HostFacts;
use crate::path::{Mode, Owner};
use crate::url::{Address, EtcdUrl, Scheme, join_urls};

/// The topology as meant: every name, address, path and flag is concrete.
#[derive(Debug, Clone, PartialEq)]
pub struct Topology {
    /// The file it comes from.
    pub spec: Spec,
    /// The cluster's token.
    pub token: ClusterToken,
    /// The members, in the file's order.
    pub members: Vec<Member>,
    /// The hosts, by the members on them.
    pub hosts: BTreeMap<HostId, HostTarget>,
}

/// A member as meant.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// Its position in the file.
    pub index: usize,
    /// Its name.
    pub name: MemberName,
    /// The host it runs on.
    pub host: HostId,
    /// What peers and clients call it.
    pub address: Address,
    /// The address it listens on.
    pub listen: IpAddr,
    /// More names its certificates are good for.
    pub names: Vec<Address>,
    /// The login user's home on its host, where the file asks for it.
    pub home: Option<String>,
    /// Its ports.
    pub ports: Ports,
    /// Where its things lie.
    pub layout: MemberLayout,
    /// The flags the user gave, those of all members and its own.
    flags: BTreeMap<String, String>,
}

/// Why a topology cannot be made concrete.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// A fact of a host is needed, and it was not observed.
    #[error("{what} of host {host} is not known yet")]
    NeedsHost {
        /// The host.
        host: HostId,
        /// What must be asked of it.
        what: &'static str,
        /// The place in the file.
        at: KeyPath,
    },
    /// The host has no such interface, or it has no address.
    #[error("host {host} has no address on interface `{interface}`; it has {found}")]
    NoInterface {
        /// The host.
        host: HostId,
        /// The interface named in the file.
        interface: String,
        /// What it has.
        found: String,
        /// The place in the file.
        at: KeyPath,
    },
    /// A name is not usable.
    #[error("{error}")]
    Name {
        /// What is wrong.
        error: NameError,
        /// The place in the file.
        at: KeyPath,
    },
}

impl ResolveError {
    /// The place in the file.
    #[must_use]
    pub fn at(&self) -> &KeyPath {
        match self {
            ResolveError::NeedsHost { at, .. }
            | ResolveError::NoInterface { at, .. }
            | ResolveError::Name { at, .. } => at,
        }
    }
}

/// Makes a topology concrete, with what is known of hosts.
///
/// # Errors
/// When a fact of a host is missing or contradicts the file.
pub fn resolve<'a>(
    spec: &Spec,
    facts: impl Fn(&HostId) -> Option<&'a HostFacts>,
) -> Result<Topology, ResolveError> {
    let targets: Vec<HostTarget> = spec
        .member
        .iter()
        .map(|member| HostTarget::from_spec(&member.host, &spec.ssh))
        .collect();
    let ids: Vec<HostId> = targets.iter().map(HostTarget::id).collect();
    let mut members = Vec::new();
    for (index, member) in spec.member.iter().enumerate() {
        let host = ids[index].clone();
        let at = KeyPath::member(index);
        let shares = ids.iter().filter(|id| **id == host).count() > 1;
        let named = |error| ResolveError::Name {
            error,
            at: at.clone(),
        };
        let name = match &member.name {
            Some(name) => name.clone(),
            None => facts(&host)
                .ok_or(ResolveError::NeedsHost {
                    host: host.clone(),
                    what: "the name",
                    at: at.clone().key("name"),
                })?
                .hostname
                .parse()
                .map_err(named)?,
        };
        let (address, listen) = addresses(member, &host, &at, facts(&host))?;
        let layout = MemberLayout::of(spec, member, &name, shares).map_err(named)?;
        let mut flags: BTreeMap<String, String> = spec
            .flags
            .iter()
            .map(|(flag, value)| (flag.clone(), value.to_string()))
            .collect();
        flags.extend(
            member
                .flags
                .iter()
                .map(|(flag, value)| (flag.clone(), value.to_string())),
        );
        let ports = Ports::of(member, &spec.layout);
        let probed = spec.runtime == RuntimeKind::StaticPod && spec.pod.probes;
        let ports = if probed { ports.for_probes() } else { ports };
        let home = match (needs_home(spec), facts(&host)) {
            (false, _) => None,
            (true, Some(facts)) => Some(facts.home.clone()),
            (true, None) => {
                return Err(ResolveError::NeedsHost {
                    host: host.clone(),
                    what: "the login user's home",
                    at: KeyPath::root("certificates").key("provided"),
                });
            }
        };
        members.push(Member {
            index,
            name,
            host,
            address,
            listen,
            names: member.names.clone(),
            home,
            ports,
            layout,
            flags,
        });
    }
    let token = match &spec.token {
        Some(token) => token.clone(),
        None => spec
            .cluster
            .as_str()
            .parse()
            .map_err(|error| ResolveError::Name {
                error,
                at: KeyPath::root("cluster"),
            })?,
    };
    let mut hosts: BTreeMap<HostId, HostTarget> = ids.into_iter().zip(targets).collect();
    for target in spec.other_hosts() {
        hosts.entry(target.id()).or_insert(target);
    }
    Ok(Topology {
        spec: spec.clone(),
        token,
        members,
        hosts,
    })
}

impl Spec {
    /// The hosts that are no members.
    pub fn other_hosts(&self) -> impl Iterator<Item = HostTarget> {
        let hosts = self.time.iter().flat_map(|time| &time.hosts);
        hosts.map(|host| HostTarget::from_spec(host, &self.ssh))
    }
}

/// Whether provided certificates lie in the login user's home.
fn needs_home(spec: &Spec) -> bool {
    let Some(provided) = &spec.certificates.provided else {
        return false;
    };
    let pairs = [Some(&provided.server), provided.peer.as_ref()];
    let paths = pairs
        .into_iter()
        .flatten()
        .flat_map(|pair| [&pair.cert, &pair.key])
        .chain([&provided.ca]);
    provided.from == ProvidedFrom::Host && { paths }.any(|path| path.starts_with("~/"))
}

/// What a member is called and what it listens on.
fn addresses(
    member: &MemberSpec,
    host: &HostId,
    at: &KeyPath,
    facts: Option<&HostFacts>,
) -> Result<(Address, IpAddr), ResolveError> {
    let host_text = match &member.host {
        HostSpec::Text(text) if text == "local" => "127.0.0.1".to_owned(),
        HostSpec::Text(text) => split_login(text).1,
        HostSpec::Ssh(ssh) => split_login(&ssh.ssh).1,
        HostSpec::Vagrant(machine) => machine.vagrant.clone(),
    };
    let named = |error| ResolveError::Name {
        error,
        at: at.clone().key("host"),
    };
    let of_interface = |interface: &Interface, key: &str| {
        let at = at.clone().key(key);
        let facts = facts.ok_or(ResolveError::NeedsHost {
            host: host.clone(),
            what: "an interface's address",
            at: at.clone(),
        })?;
        let found = facts.interface_address(&interface.interface);
        found.ok_or_else(|| ResolveError::NoInterface {
            host: host.clone(),
            interface: interface.interface.clone(),
            found: facts.print_addresses(),
            at,
        })
    };
    let address = match &member.address {
        Some(AddressSpec::Given(address)) => address.clone(),
        Some(AddressSpec::Interface(interface)) => Address::Ip(of_interface(interface, "address")?),
        None => host_text.parse().map_err(named)?,
    };
    let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let given = match &member.listen {
        Some(ListenSpec::Given(ip)) => Some(*ip),
        Some(ListenSpec::Interface(interface)) => Some(of_interface(interface, "listen")?),
        None => None,
    };
    let listen = given
        .or_else(|| address.ip())
        .or_else(|| host_text.parse().ok())
        .unwrap_or(any);
    Ok((address, listen))
}

impl Topology {
    /// A member by its name.
    #[must_use]
    pub fn member(&self, name: &MemberName) -> Option<&Member> {
        self.members.iter().find(|member| member.name == *name)
    }

    /// The members on a host.
    pub fn on_host<'a>(&'a self, host: &'a HostId) -> impl Iterator<Item = &'a Member> {
        self.members
            .iter()
            .filter(move |member| member.host == *host)
    }

    /// How many voters make a quorum.
    #[must_use]
    pub fn quorum(&self) -> usize {
        self.members.len() / 2 + 1
    }

    /// Who owns a member's files; `None` where they belong to whoever runs etcdup on the host.
    #[must_use]
    pub fn owner(&self) -> Option<Owner> {
        match self.spec.runtime {
            RuntimeKind::Systemd => Some(Owner::of(&self.spec.layout.user)),
            // Images run as root.
            RuntimeKind::StaticPod => Some(Owner::root()),
            RuntimeKind::Process => None,
        }
    }

    /// Who owns a member's certificates and keys: root, so that the user that runs etcd cannot put another file, or a link,
    /// where root writes; its group reads them.
    #[must_use]
    pub fn certificate_owner(&self) -> Option<Owner> {
        match self.spec.runtime {
            RuntimeKind::Systemd => Some(Owner::root_for(&self.spec.layout.user)),
            RuntimeKind::StaticPod | RuntimeKind::Process => self.owner(),
        }
    }

    /// The mode of a member's private keys.
    #[must_use]
    pub fn key_mode(&self) -> Mode {
        match self.spec.runtime {
            RuntimeKind::Systemd => Mode::GROUP,
            RuntimeKind::StaticPod | RuntimeKind::Process => Mode::PRIVATE,
        }
    }

    /// The mode of the directory of a member's certificates.
    #[must_use]
    pub fn certificate_directory_mode(&self) -> Mode {
        match self.spec.runtime {
            RuntimeKind::Systemd => Mode::GROUP_DIRECTORY,
            RuntimeKind::StaticPod | RuntimeKind::Process => Mode::PROGRAM,
        }
    }

    /// The user that runs etcd.
    #[must_use]
    pub fn user(&self) -> &UserName {
        &self.spec.layout.user
    }

    /// The scheme of the client plane.
    #[must_use]
    pub fn client_scheme(&self) -> Scheme {
        scheme(self.spec.security.client)
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
            scheme(self.spec.security.peer),
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

    /// All flags of a member. `state` is `new` until the cluster has formed, `existing` from then on.
    #[must_use]
    pub fn flags(&self, member: &Member, state: ClusterState) -> FlagSet {
        let mut flags = FlagSet::default();
        let security = &self.spec.security;
        let client = self.client_scheme();
        let mut listen_client = vec![EtcdUrl::new(client, member.listen, member.ports.client)];
        let wide = member.listen.is_unspecified() || member.listen.is_loopback();
        if !wide && security.loopback {
            let inside = if security.loopback_http {
                Scheme::Http
            } else {
                client
            };
            listen_client.push(EtcdUrl::new(
                inside,
                loopback(member.listen),
                member.ports.client,
            ));
        }
        flags.set("name", member.name.as_str());
        flags.set("data-dir", member.layout.data.as_str());
        flags.set("listen-client-urls", join_urls(&listen_client));
        flags.set("advertise-client-urls", self.client_url(member).to_string());
        flags.set(
            "listen-peer-urls",
            EtcdUrl::new(scheme(security.peer), member.listen, member.ports.peer).to_string(),
        );
        flags.set(
            "initial-advertise-peer-urls",
            self.peer_url(member).to_string(),
        );
        match (&self.spec.discovery, state) {
            // Once it has formed the list is known, and no start depends on DNS any more.
            (Some(discovery), ClusterState::New) => {
                flags.set("discovery-srv", discovery.srv.as_str());
                if let Some(name) = &discovery.name {
                    flags.set("discovery-srv-name", name.as_str());
                }
            }
            _ => flags.set("initial-cluster", self.initial_cluster()),
        }
        flags.set("initial-cluster-state", state.as_str());
        flags.set("initial-cluster-token", self.token.as_str());
        if let Some(port) = member.ports.metrics {
            flags.set(
                "listen-metrics-urls",
                format!("http://{}", authority(loopback(member.listen), port)),
            );
        }
        let pod = &self.spec.pod;
        if let (RuntimeKind::StaticPod, Some(log)) = (self.spec.runtime, &pod.log) {
            flags.set("log-outputs", format!("stderr,{log}"));
            if self.spec.etcd.minor() == 4 {
                flags.set("logger", "zap");
            }
        }
        // What kubeadm writes for etcd beside the above; a manifest that is kept as it is keeps its own.
        if self.spec.runtime == RuntimeKind::StaticPod && !self.spec.layout.keep_unit {
            let minor = self.spec.etcd.minor();
            flags.set("snapshot-count", "10000");
            match minor {
                0..=4 => {}
                5 => {
                    flags.set("experimental-initial-corrupt-check", "true");
                    flags.set("experimental-watch-progress-notify-interval", "5s");
                }
                _ => {
                    flags.set("feature-gates", "InitialCorruptCheck=true");
                    flags.set("watch-progress-notify-interval", "5s");
                }
            }
        }
        self.tls_flags(member, &mut flags);
        for (flag, value) in &member.flags {
            match (
                flags.get(flag),
                crate::flag::lookup(flag).map(|row| row.owned),
            ) {
                (Some(own), Some(crate::flag::Owned::Append)) => {
                    let joined = format!("{own},{value}");
                    flags.set(flag, joined);
                }
                _ => flags.set(flag, value.as_str()),
            }
        }
        flags
    }

    fn tls_flags(&self, member: &Member, flags: &mut FlagSet) {
        let at = |file: &str| format!("{}/{file}", member.layout.certificates);
        let (security, files) = (&self.spec.security, &self.spec.certificates.files);
        if security.client != Plane::Plain {
            flags.set("cert-file", at(&files.server.cert));
            flags.set("key-file", at(&files.server.key));
        }
        if security.client == Plane::Mutual {
            flags.set("trusted-ca-file", at(&files.ca));
            flags.set("client-cert-auth", "true");
        }
        if security.peer != Plane::Plain {
            let own = if self.shares_certificate() {
                &files.server
            } else {
                &files.peer
            };
            flags.set("peer-cert-file", at(&own.cert));
            flags.set("peer-key-file", at(&own.key));
            flags.set("peer-trusted-ca-file", at(&files.ca));
        }
        if security.peer == Plane::Mutual {
            flags.set("peer-client-cert-auth", "true");
        }
    }

    /// Whether a member shows one certificate on both planes.
    #[must_use]
    pub fn shares_certificate(&self) -> bool {
        let both =
            self.spec.security.client != Plane::Plain && self.spec.security.peer != Plane::Plain;
        let provided = self.spec.certificates.provided.as_ref();
        both && provided.map_or(self.spec.certificates.shared, |provided| {
            provided.peer.is_none()
        })
    }

    /// Whether either plane uses TLS.
    #[must_use]
    pub fn uses_tls(&self) -> bool {
        self.spec.security.client != Plane::Plain || self.spec.security.peer != Plane::Plain
    }

    /// The certificates that a member needs, by role: `server` and `peer`.
    #[must_use]
    pub fn certificates(&self, member: &Member) -> Vec<(&'static str, CertRequest)> {
        let mut wanted = Vec::new();
        if self.spec.security.client != Plane::Plain {
            let usage = if self.shares_certificate() {
                Usage::Peer
            } else {
                Usage::Server
            };
            wanted.push(("server", self.request(member, usage)));
        }
        if self.spec.security.peer != Plane::Plain && !self.shares_certificate() {
            wanted.push(("peer", self.request(member, Usage::Peer)));
        }
        wanted
    }

    fn request(&self, member: &Member, usage: Usage) -> CertRequest {
        let certificates = &self.spec.certificates;
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
        }
    }
}

fn scheme(plane: Plane) -> Scheme {
    if plane == Plane::Plain {
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
    /// It has. A lone member that lost its disk must not boot a fresh cluster (kubespray issue 13261).
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

#[cfg(test)]
#[path = "resolve_tests.rs"]
mod tests;
