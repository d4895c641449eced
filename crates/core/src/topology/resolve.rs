//! From the topology as written to the topology as meant.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use super::layout::{MemberLayout, Ports};
use super::meant::{Leaving, Member, Topology};
use crate::certificate::Issuer;
use crate::file::{
    AddressSpec, HostSpec, Interface, KeyPath, ListenSpec, MemberSpec, ProvidedFrom, RuntimeKind,
    Spec,
};
use crate::host::{HostFacts, HostId, HostTarget, split_login};
use crate::name::{MemberName, NameError};
use crate::url::Address;

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
    let (mut members, mut leaving) = (Vec::new(), Vec::new());
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
            None if member.absent.is_gone() => name_of_gone(&host).map_err(named)?,
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
        let home = match (needs_home(spec) && !member.absent.is_gone(), facts(&host)) {
            // Nothing is read there any more.
            (false, _) if needs_home(spec) => Some("/root".to_owned()),
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
        let resolved = Member {
            index,
            etcd_name: name.clone(),
            name,
            host,
            address,
            listen,
            names: member.names.clone(),
            home,
            ports,
            layout,
            flags,
        };
        if member.absent.is_absent() {
            leaving.push(resolved);
        } else {
            members.push(resolved);
        }
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
    let gone = spec.member.iter().map(|member| member.absent.is_gone());
    let targets = ids.into_iter().zip(targets).zip(gone);
    let asked = targets.filter(|(_, gone)| !gone).map(|(target, _)| target);
    let mut hosts: BTreeMap<HostId, HostTarget> = asked.collect();
    for target in other_hosts(spec) {
        hosts.entry(target.id()).or_insert(target);
    }
    let mut topology = Topology {
        cluster: spec.cluster.clone(),
        first_token: token.clone(),
        token,
        version: spec.etcd.clone(),
        through: spec.through.clone(),
        runtime: spec.runtime,
        security: spec.security.clone(),
        certificates: spec.certificates.clone(),
        issuer: Issuer::Own,
        trust: None,
        peers_ready: false,
        clients_kept_out: false,
        discovery: spec.discovery.clone(),
        binaries: spec.binaries.clone(),
        pod: spec.pod.clone(),
        files: spec.file.clone(),
        user: spec.layout.user.clone(),
        keep_unit: spec.layout.keep_unit,
        unit_template: spec.layout.unit_template.clone(),
        time: spec.time.clone(),
        snapshots: spec.snapshots.clone(),
        members,
        leaving: Vec::new(),
        ssh: spec.ssh.clone(),
        hosts,
    };
    for mut member in leaving {
        member.name = topology.free_name(&member.etcd_name);
        topology.leaving.push(Leaving {
            gone: spec.member[member.index].absent.is_gone(),
            member,
            id: None,
            in_file: true,
        });
    }
    Ok(topology)
}

/// What to call a member without a name whose host cannot be asked for its own.
fn name_of_gone(host: &HostId) -> Result<MemberName, NameError> {
    let name = host
        .as_str()
        .replace(|c: char| !c.is_ascii_alphanumeric() && c != '.', "-");
    let name: String = name.trim_matches(['-', '.']).chars().take(63).collect();
    name.parse()
}

/// The hosts of the file that run no member.
pub fn other_hosts(spec: &Spec) -> impl Iterator<Item = HostTarget> {
    let hosts = spec.time.iter().flat_map(|time| &time.hosts);
    hosts.map(|host| HostTarget::from_spec(host, &spec.ssh))
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
    // Nobody can ask a host that is gone; the roster knows its member by more than this.
    let gone = member.absent.is_gone();
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
        Some(AddressSpec::Interface(interface)) if !gone => {
            Address::Ip(of_interface(interface, "address")?)
        }
        Some(AddressSpec::Interface(_)) | None => host_text.parse().map_err(named)?,
    };
    let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let given = match &member.listen {
        Some(ListenSpec::Given(ip)) => Some(*ip),
        Some(ListenSpec::Interface(interface)) if !gone => Some(of_interface(interface, "listen")?),
        Some(ListenSpec::Interface(_)) | None => None,
    };
    let listen = given
        .or_else(|| address.ip())
        .or_else(|| host_text.parse().ok())
        .unwrap_or(any);
    Ok((address, listen))
}

#[cfg(test)]
#[path = "resolve_tests.rs"]
mod tests;
