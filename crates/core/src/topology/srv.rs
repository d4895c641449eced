//! SRV discovery: the records that a zone must hold, as etcd looks them up
//! (`client/pkg/srv/srv.go`).

use std::fmt;

use super::meant::Topology;
use crate::file::TransportSecurity;
use crate::url::Address;

/// One SRV record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SrvRecord {
    /// Lower ones are asked first; etcd takes no notice.
    pub priority: u16,
    /// Larger ones are asked more often; etcd takes no notice.
    pub weight: u16,
    /// The port.
    pub port: u16,
    /// The member's name, without the closing dot.
    pub target: String,
}

impl fmt::Display for SrvRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            priority,
            weight,
            port,
            target,
        } = self;
        write!(f, "{priority} {weight} {port} {target}.")
    }
}

/// The services that etcd asks for: peers with TLS, peers without.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerServices {
    /// The one that must hold every member.
    pub own: String,
    /// The one of the other scheme: etcd merges both.
    pub other: String,
}

/// The names of the peers' services; `None` without SRV discovery.
#[must_use]
pub fn peer_services(topology: &Topology) -> Option<PeerServices> {
    let secure = service(topology, "etcd-server-ssl")?;
    let plain = service(topology, "etcd-server")?;
    Some(if topology.security.peer == TransportSecurity::Plain {
        PeerServices {
            own: plain,
            other: secure,
        }
    } else {
        PeerServices {
            own: secure,
            other: plain,
        }
    })
}

fn service(topology: &Topology, service: &str) -> Option<String> {
    let discovery = topology.discovery.as_ref()?;
    let name = discovery.name.as_ref();
    let name = name.map_or_else(String::new, |name| format!("-{name}"));
    Some(format!("_{service}{name}._tcp.{}", discovery.srv))
}

/// The record of every member under the peers' service.
#[must_use]
pub fn peer_records(topology: &Topology) -> Vec<SrvRecord> {
    records(topology, |member| member.ports.peer)
}

fn records(topology: &Topology, port: impl Fn(&super::Member) -> u16) -> Vec<SrvRecord> {
    let one = |member: &super::Member| SrvRecord {
        priority: 0,
        weight: 0,
        port: port(member),
        target: member.address.to_string(),
    };
    topology.members.iter().map(one).collect()
}

/// The zone's lines: members' addresses, peers, clients. Empty without SRV discovery.
#[must_use]
pub fn zone_lines(topology: &Topology) -> Vec<String> {
    let Some(peers) = peer_services(topology) else {
        return Vec::new();
    };
    let clients = if topology.security.client == TransportSecurity::Plain {
        "etcd-client"
    } else {
        "etcd-client-ssl"
    };
    let named = topology.members.iter().filter_map(|member| {
        let Address::Name(name) = &member.address else {
            return None;
        };
        let kind = if member.listen.is_ipv6() { "AAAA" } else { "A" };
        Some(format!("{name}. 300 IN {kind} {}", member.listen))
    });
    let line = |service: &str, record: &SrvRecord| format!("{service}. 300 IN SRV {record}");
    let own = peer_records(topology);
    let theirs = records(topology, |member| member.ports.client);
    named
        .chain(own.iter().map(|record| line(&peers.own, record)))
        .chain(service(topology, clients).into_iter().flat_map(|service| {
            let lines: Vec<String> = theirs.iter().map(|record| line(&service, record)).collect();
            lines
        }))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::Document;
    use crate::topology::resolve;

    #[test]
    fn a_zone_names_every_member_for_peers_and_clients() {
        let text = "format = 1\ncluster = \"prod\"\netcd = \"3.5.33\"\ndiscovery = { srv = \"example.com\" }\n\
                    [[member]]\nname = \"m1\"\nhost = \"10.0.1.10\"\naddress = \"m1.example.com\"\n";
        let document = Document::parse("etcdup.toml", text, &[]).unwrap();
        let topology = resolve(&document.spec, |_| None).unwrap();
        assert_eq!(
            zone_lines(&topology),
            [
                "m1.example.com. 300 IN A 10.0.1.10",
                "_etcd-server-ssl._tcp.example.com. 300 IN SRV 0 0 2380 m1.example.com.",
                "_etcd-client-ssl._tcp.example.com. 300 IN SRV 0 0 2379 m1.example.com.",
            ]
        );
    }
}
