//! Hosts as they are reached.

use super::id::HostId;
use crate::file::{HostKeyPolicy, HostSpec, Ssh, Sudo};

/// How a host is reached.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HostTarget {
    /// This very machine.
    Local {
        /// How to become root.
        sudo: Sudo,
    },
    /// By SSH.
    Ssh(SshTarget),
    /// A Vagrant machine of this name.
    Vagrant(String),
}

/// An SSH host. What is `None` comes from the user's ssh configuration.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SshTarget {
    /// The name or address to connect to, or an alias of the ssh configuration.
    pub host: String,
    /// The login user.
    pub user: Option<String>,
    /// The port.
    pub port: Option<u16>,
    /// A private key's file.
    pub key: Option<String>,
    /// Jump hosts, nearest first.
    pub jump: Vec<String>,
    /// How to become root.
    pub sudo: Sudo,
    /// What to do with an unknown host key.
    pub host_key: HostKeyPolicy,
    /// The known_hosts file.
    pub known_hosts: Option<String>,
}

impl HostTarget {
    /// The target a member's `host` means under the file's `[ssh]` defaults.
    #[must_use]
    pub fn from_spec(host: &HostSpec, ssh: &Ssh) -> Self {
        match host {
            HostSpec::Text(text) if text == "local" => HostTarget::Local { sudo: ssh.sudo },
            HostSpec::Text(text) => HostTarget::Ssh(SshTarget::parse(text, ssh)),
            HostSpec::Ssh(own) => {
                let mut target = SshTarget::parse(&own.ssh, ssh);
                target.user = own.user.clone().or(target.user);
                target.port = own.port.or(target.port);
                target.key = own.key.clone().or(target.key);
                target.sudo = own.sudo.unwrap_or(target.sudo);
                if let Some(jump) = &own.jump {
                    target.jump = jumps(jump);
                }
                HostTarget::Ssh(target)
            }
            HostSpec::Vagrant(machine) => HostTarget::Vagrant(machine.vagrant.clone()),
        }
    }

    /// The target that an id means under the file's `[ssh]` defaults: what a host record keeps of a
    /// host.
    #[must_use]
    pub fn from_id(id: &HostId, ssh: &Ssh) -> Self {
        match id.as_str().strip_prefix("vagrant:") {
            Some(machine) => Self::Vagrant(machine.to_owned()),
            None => Self::from_spec(&HostSpec::Text(id.to_string()), ssh),
        }
    }

    /// The id that reports use.
    #[must_use]
    pub fn id(&self) -> HostId {
        match self {
            HostTarget::Local { .. } => HostId::new("local"),
            HostTarget::Vagrant(machine) => HostId::new(format!("vagrant:{machine}")),
            HostTarget::Ssh(ssh) => match ssh.port {
                Some(port) if port != 22 && ssh.host.contains(':') => {
                    HostId::new(format!("[{}]:{port}", ssh.host))
                }
                Some(port) if port != 22 => HostId::new(format!("{}:{port}", ssh.host)),
                _ => HostId::new(ssh.host.clone()),
            },
        }
    }
}

impl SshTarget {
    fn parse(text: &str, ssh: &Ssh) -> Self {
        let (user, host, port) = split_login(text);
        Self {
            host,
            user: user.or_else(|| ssh.user.clone()),
            port: port.or(ssh.port),
            key: ssh.key.clone(),
            jump: ssh.jump.as_deref().map(jumps).unwrap_or_default(),
            sudo: ssh.sudo,
            host_key: ssh.host_key,
            known_hosts: ssh.known_hosts.clone(),
        }
    }
}

fn jumps(text: &str) -> Vec<String> {
    text.split(',')
        .map(str::trim)
        .filter(|hop| !hop.is_empty())
        .map(str::to_owned)
        .collect()
}

/// `[user@]host[:port]`, an IPv6 address in brackets where a port follows.
pub fn split_login(text: &str) -> (Option<String>, String, Option<u16>) {
    let (user, rest) = match text.rsplit_once('@') {
        Some((user, rest)) => (Some(user.to_owned()), rest),
        None => (None, text),
    };
    if rest.parse::<std::net::Ipv6Addr>().is_ok() {
        return (user, rest.to_owned(), None);
    }
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) => match port.parse() {
            Ok(port) => (host, Some(port)),
            Err(_) => (rest, None),
        },
        None => (rest, None),
    };
    let host = host
        .strip_prefix('[')
        .and_then(|h| h.strip_suffix(']'))
        .unwrap_or(host);
    (user, host.to_owned(), port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_are_split_with_and_without_user_and_port() {
        assert_eq!(split_login("10.0.0.1"), (None, "10.0.0.1".into(), None));
        assert_eq!(
            split_login("ops@h:2222"),
            (Some("ops".into()), "h".into(), Some(2222))
        );
        assert_eq!(split_login("fd00::1"), (None, "fd00::1".into(), None));
        assert_eq!(
            split_login("u@[fd00::1]:22"),
            (Some("u".into()), "fd00::1".into(), Some(22))
        );
    }

    #[test]
    fn an_id_leads_to_the_host_that_it_is_of() {
        let ssh = Ssh {
            user: Some("ops".into()),
            ..Ssh::default()
        };
        for text in [
            "10.0.0.1",
            "db-3:2222",
            "local",
            "fd00::1",
            "[fd00::1]:2222",
        ] {
            let target = HostTarget::from_spec(&HostSpec::Text(text.into()), &ssh);
            assert_eq!(HostTarget::from_id(&target.id(), &ssh), target);
        }
        let machine = HostTarget::Vagrant("m1".into());
        assert_eq!(HostTarget::from_id(&machine.id(), &ssh), machine);
    }

    #[test]
    fn a_member_may_overrule_the_defaults() {
        let ssh = Ssh {
            user: Some("root".into()),
            jump: Some("a, b".into()),
            ..Ssh::default()
        };
        let HostTarget::Ssh(target) = HostTarget::from_spec(&HostSpec::Text("ops@h".into()), &ssh)
        else {
            panic!()
        };
        assert_eq!(target.user.as_deref(), Some("ops"));
        assert_eq!(target.jump, ["a", "b"]);
    }
}
