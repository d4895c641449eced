//! Checks of names and of the way from host to host.

use etcdup_core::file::KeyPath;
use etcdup_core::finding::{Check, Finding};
use etcdup_core::observation::{HostView, Reach};
use etcdup_core::topology::Member;
use etcdup_core::url::Address;

use super::stopped::StoppedMember;
use crate::target::Target;

pub(super) const NAME_UNRESOLVED: Check = Check {
    id: "name-unresolved",
    title: "a name does not resolve",
    about: "A member is called by a name that a host's resolver does not know. One deleted DNS record stops a restart years \
            later (etcd issue 7798).",
    advice: "add the name to DNS or to /etc/hosts of that host, or use an address",
};
pub(super) const PEER_UNREACHABLE: Check = Check {
    id: "peer-unreachable",
    title: "a host cannot reach a peer's port",
    about: "The port was dialled from that host and nothing answered: a firewall drops it (kubespray issues 2767, 6240, \
            10251). A refused connection would have been fine: the port is reachable and nothing listens yet.",
    advice: "open the peer port between all hosts: firewalld, nftables, security groups",
};
pub(super) const REACH_UNKNOWN: Check = Check {
    id: "reach-unknown",
    title: "connectivity between hosts could not be tested",
    about: "A peer's port is dialled from the host by its sshd. Where that forwards no TCP connections \
            (AllowTcpForwarding no), or cannot say what happened, a firewall between hosts shows only when etcd starts.",
    advice: "allow TCP forwarding for the login user, or verify it manually",
};

pub(super) fn resolve(fresh: &StoppedMember<'_>, findings: &mut Vec<Finding>) {
    findings.extend(unresolved(fresh.target, fresh.member, fresh.host));
}

/// The names of members that this member's host does not resolve: looked at before any start or
/// restart.
pub(crate) fn unresolved(target: &Target, member: &Member, host: &HostView) -> Vec<Finding> {
    let one = |other: &Member| {
        let Address::Name(name) = &other.address else {
            return None;
        };
        if name.as_str() == "localhost" || !host.names.get(name.as_str())?.is_empty() {
            return None;
        }
        let evidence = format!(
            "{} does not resolve `{name}`, the address of {}",
            member.host, other.name
        );
        let at = KeyPath::member(other.index).key("address");
        Some(NAME_UNRESOLVED.error(&member.name, evidence).at(at))
    };
    target.topology.members.iter().filter_map(one).collect()
}

pub(super) fn reach(fresh: &StoppedMember<'_>, findings: &mut Vec<Finding>) {
    let mut unknown: Option<String> = None;
    // A host that is away answers nobody, which is said already.
    let members = fresh.target.topology.members.iter();
    for other in members.filter(|other| fresh.seen.host(&other.host).is_some()) {
        let target = fresh.target.topology.peer_url(other).authority();
        match fresh
            .seen
            .reach
            .get(&(fresh.member.host.clone(), target.clone()))
        {
            Some(Reach::TimedOut) => {
                let evidence = format!(
                    "{} gets no answer from {target}, the peer port of {}",
                    fresh.member.host, other.name
                );
                findings.push(
                    PEER_UNREACHABLE
                        .error(&fresh.member.name, evidence)
                        .at(KeyPath::member(other.index)),
                );
            }
            Some(Reach::ForwardingDenied) => {
                unknown = Some(format!(
                    "the sshd of {} does not allow TCP forwarding",
                    fresh.member.host
                ));
            }
            Some(Reach::Unknown(why)) => {
                unknown = Some(format!(
                    "{} could not dial {target}: {why}",
                    fresh.member.host
                ));
            }
            Some(Reach::Reachable | Reach::Refused) | None => {}
        }
    }
    let own = fresh.target.topology.peer_url(fresh.member).authority();
    let others = fresh.target.topology.members.iter();
    // Those that are yet to start say it of themselves.
    let running = others.filter(|other| {
        let host = fresh.seen.host(&other.host);
        host.is_some_and(|host| host.processes.contains_key(&other.name))
    });
    for other in running {
        let dialed = fresh.seen.reach.get(&(other.host.clone(), own.clone()));
        if let Some(Reach::TimedOut) = dialed {
            let evidence = format!(
                "{} gets no answer from {own}, the peer port of {}",
                other.host, fresh.member.name
            );
            let at = KeyPath::member(fresh.member.index);
            findings.push(PEER_UNREACHABLE.error(&fresh.member.name, evidence).at(at));
        }
    }
    if let Some(evidence) = unknown {
        findings.push(REACH_UNKNOWN.warning(&fresh.member.name, evidence));
    }
}
