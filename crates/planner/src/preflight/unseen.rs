//! Hosts that were not observed, and what to do about each.

use etcdup_core::file::KeyPath;
use etcdup_core::finding::{Check, Finding};
use etcdup_core::host::HostId;
use etcdup_core::membership::ClusterView;
use etcdup_core::observation::Observation;
use etcdup_core::observed::{Cause, Observed};

use etcdup_core::topology::Leaving;

use super::hosts::HOST_UNSEEN;
use crate::listed::leaving_entry;
use crate::rules::roster::is_finished;
use crate::target::Target;

/// Hosts that were not seen: what is unseen is not touched.
pub(crate) fn unseen_hosts(target: &Target, seen: &Observation) -> Vec<Finding> {
    let check: Check = HOST_UNSEEN;
    let hosts = target.topology.hosts.keys();
    hosts
        .filter(|host| !is_of_none(target, seen, host))
        .filter_map(|host| match seen.hosts.get(host) {
            Some(Observed::Known(_)) => None,
            Some(Observed::Unknown(unseen)) => {
                let finding = check.error(host, unseen.why.clone());
                let local = host.as_str() == "local" && unseen.cause == Cause::Other;
                let local =
                    local.then_some("run etcdup as root on this machine, or set sudo under [ssh]");
                let leaves = !target.topology.has_member_on(host)
                    && target.topology.on_host(host).next().is_some();
                let silent = unseen.cause == Cause::Unreachable;
                let leaves = leaves.then_some(if silent { LEAVES } else { LEAVES_BY_NAME });
                Some(match leaves.or(advice(unseen.cause)).or(local) {
                    Some(advice) => finding.advise(advice),
                    None => finding,
                })
            }
            None => Some(check.error(host, "it was not queried")),
        })
        .map(|finding| {
            let member = target
                .topology
                .everyone()
                .find(|member| member.host.as_str() == finding.subject);
            match member {
                // One that only host records name has no place in the file.
                Some(member) if member.index < usize::MAX => {
                    finding.at(KeyPath::member(member.index).key("host"))
                }
                Some(_) | None => finding,
            }
        })
        .collect()
}

/// What to do about the host of a member that goes.
const LEAVES: &str = "a member that should go is on it: bring it back; if it is gone for good, name the member in the file with \
                      absent = \"gone\" until it is removed";

/// The same where the host answers, and does not let us in.
const LEAVES_BY_NAME: &str = "a member that should go is on it: give it its [[member]] back, with absent = true and the way to its host \
                              (user, key, jump), until it is removed";

/// Whether a host is there for a member alone that goes and of which nothing is left to do.
fn is_of_none(target: &Target, seen: &Observation, host: &HostId) -> bool {
    let topology = &target.topology;
    let leaving = || {
        let leaving = topology.leaving.iter();
        leaving.filter(|leaving| leaving.member.host == *host)
    };
    let Some(view) = ClusterView::confirmed(seen) else {
        return false;
    };
    let is_done = |leaving: &Leaving| {
        let listed = leaving_entry(&target.topology, seen, &view, leaving);
        is_finished(target, seen, leaving, listed)
    };
    seen.host(host).is_none()
        && !topology.has_member_on(host)
        && leaving().next().is_some()
        && leaving().all(is_done)
}

/// What to do about a host that was not observed, where the kind of reason is known.
fn advice(cause: Cause) -> Option<&'static str> {
    match cause {
        Cause::Unreachable => {
            Some("check that the host is up, and that its address and port are right")
        }
        Cause::HostKey => Some(
            "if the host was reinstalled, remove its old key from known_hosts; otherwise find out why its key changed before \
             connecting",
        ),
        Cause::Login => Some(
            "check the login user and the key: ssh.user, ssh.key or the host's own `user` and `key`, your SSH agent, and the \
             host's authorized_keys",
        ),
        Cause::Sudo => Some(
            "set sudo = \"password\" under [ssh] to be asked for the password, or let the user run sudo without one",
        ),
        Cause::JumpHost => Some(
            "name the hosts on the way with ssh.jump, the host's own `jump`, or ProxyJump in the SSH configuration",
        ),
        Cause::Denied | Cause::NotAsked | Cause::Other => None,
    }
}
