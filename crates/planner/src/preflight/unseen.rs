//! Hosts that were not observed, and what to do about each.

use etcdup_core::file::KeyPath;
use etcdup_core::finding::{Check, Finding};
use etcdup_core::observation::Observation;
use etcdup_core::observed::{Cause, Observed};

use super::hosts::HOST_UNSEEN;
use crate::target::Target;

/// Hosts that were not seen: what is unseen is not touched.
pub(crate) fn unseen_hosts(target: &Target, seen: &Observation) -> Vec<Finding> {
    let check: Check = HOST_UNSEEN;
    target
        .topology
        .hosts
        .keys()
        .filter_map(|host| match seen.hosts.get(host) {
            Some(Observed::Known(_)) => None,
            Some(Observed::Unknown(unseen)) => {
                let finding = check.error(host, unseen.why.clone());
                let local = host.as_str() == "local" && unseen.cause == Cause::Other;
                let local =
                    local.then_some("run etcdup as root on this machine, or set sudo under [ssh]");
                Some(match advice(unseen.cause).or(local) {
                    Some(advice) => finding.advise(advice),
                    None => finding,
                })
            }
            None => Some(check.error(host, "it was not queried")),
        })
        .map(|finding| {
            let member = target
                .topology
                .members
                .iter()
                .find(|member| member.host.as_str() == finding.subject);
            match member {
                Some(member) => finding.at(KeyPath::member(member.index).key("host")),
                None => finding,
            }
        })
        .collect()
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
