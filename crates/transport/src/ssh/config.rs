//! Where a host really is: the user's own ssh configuration, asked of `ssh -G` where ssh is there.

use std::path::PathBuf;
use std::time::Duration;

use tokio::process::Command;

/// A host as the topology names it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SshHop {
    /// The name, address or alias.
    pub host: String,
    /// The login user.
    pub user: Option<String>,
    /// The port.
    pub port: Option<u16>,
    /// A private key's file.
    pub key: Option<PathBuf>,
}

impl SshHop {
    /// `[user@]host[:port]`, an IPv6 address in brackets where a port follows.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (user, rest) = text
            .rsplit_once('@')
            .map_or((None, text), |(user, rest)| (Some(user.to_owned()), rest));
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
                (host, Some(port.parse().ok()?))
            }
            _ => (rest, None),
        };
        let host = host.trim_matches(['[', ']']).to_owned();
        (!host.is_empty() && !host.starts_with('-')).then_some(Self {
            host,
            user,
            port,
            key: None,
        })
    }
}

/// A host with nothing left open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Resolved {
    /// The name as given.
    pub(super) host: String,
    /// Where to connect.
    pub(super) address: String,
    pub(super) user: String,
    pub(super) port: u16,
    pub(super) keys: Vec<PathBuf>,
    /// Whether the key was named in the topology: of the agent's keys only that one is offered.
    pub(super) own_key: bool,
    /// Whether the user's configuration wants nothing but key files offered.
    pub(super) identities_only: bool,
    /// The user's own first: new keys go there.
    pub(super) known_hosts: Vec<PathBuf>,
    /// The name that known_hosts has the host under (HostKeyAlias).
    alias: Option<String>,
    /// The program that the user's configuration reaches the host through (ProxyCommand).
    pub(super) proxy_command: Option<String>,
    pub(super) jump: Vec<String>,
}

impl Resolved {
    /// What is not given comes from the user's configuration, else from ssh's own defaults.
    pub(super) fn new(hop: &SshHop, jump: &[String], settings: &Settings) -> Self {
        let one = |key: &str| {
            settings
                .iter()
                .find(|(name, _)| name == key)
                .map(|(_, value)| value.clone())
        };
        let all = |key: &str| {
            settings
                .iter()
                .filter(|(name, _)| name == key)
                .map(|(_, value)| expand(value))
                .collect::<Vec<_>>()
        };
        // `Host *` with a ProxyJump matches the jump host too, which is not reached through itself.
        let proxy_jump = one("proxyjump").filter(|jump| jump != "none" && *jump != hop.host);
        let mut keys: Vec<PathBuf> = hop
            .key
            .iter()
            .map(|key| expand(&key.to_string_lossy()))
            .collect();
        let own_key = !keys.is_empty();
        if !own_key {
            keys = all("identityfile");
            if keys.is_empty() {
                keys = ["~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa"]
                    .map(expand)
                    .to_vec();
            }
        }
        let files = |key: &str, otherwise: &str| -> Vec<PathBuf> {
            one(key)
                .unwrap_or_else(|| otherwise.to_owned())
                .split_whitespace()
                .map(expand)
                .collect()
        };
        let mut known_hosts = files("userknownhostsfile", "~/.ssh/known_hosts");
        known_hosts.extend(files("globalknownhostsfile", "/etc/ssh/ssh_known_hosts"));
        Self {
            host: hop.host.clone(),
            address: one("hostname").unwrap_or_else(|| hop.host.clone()),
            user: hop
                .user
                .clone()
                .or_else(|| one("user"))
                .or_else(|| std::env::var("USER").ok())
                .unwrap_or_else(|| "root".to_owned()),
            port: hop
                .port
                .or_else(|| one("port").and_then(|port| port.parse().ok()))
                .unwrap_or(22),
            keys,
            own_key,
            identities_only: one("identitiesonly").is_some_and(|value| value == "yes"),
            known_hosts,
            alias: one("hostkeyalias").filter(|alias| alias != "none"),
            // A jump host given in the topology takes the place of the user's own way.
            proxy_command: one("proxycommand")
                .filter(|command| jump.is_empty() && command != "none"),
            jump: if jump.is_empty() {
                proxy_jump
                    .map(|jump| jump.split(',').map(str::to_owned).collect())
                    .unwrap_or_default()
            } else {
                jump.to_vec()
            },
        }
    }

    /// The host as known_hosts spells it: `[host]:port` for another port than 22.
    pub(super) fn label(&self) -> String {
        if let Some(alias) = &self.alias {
            return alias.to_ascii_lowercase();
        }
        let address = self.address.to_ascii_lowercase();
        if self.port == 22 {
            address
        } else {
            format!("[{address}]:{}", self.port)
        }
    }
}

/// The user's configuration for a host: keys in lower case, and values.
pub(super) type Settings = Vec<(String, String)>;

/// Asks `ssh -G`, which knows the whole of ssh_config(5).
pub(super) async fn ask_ssh(hop: &SshHop) -> Option<Settings> {
    let mut command = Command::new("ssh");
    command.arg("-G");
    if let Some(user) = &hop.user {
        command.args(["-l", user]);
    }
    command
        .arg("--")
        .arg(&hop.host)
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true);
    // A `Match exec` of the user's may hang.
    let output = tokio::time::timeout(Duration::from_secs(5), command.output())
        .await
        .ok()?
        .ok()?;
    if !output.status.success() {
        return None;
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Some(
        text.lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
    )
}

fn expand(path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => PathBuf::from(home).join(rest),
        _ => PathBuf::from(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hop_is_read_with_and_without_user_and_port() {
        let hop = SshHop::parse("ops@[fd00::1]:2222").unwrap();
        assert_eq!(
            (hop.user.as_deref(), hop.host.as_str(), hop.port),
            (Some("ops"), "fd00::1", Some(2222))
        );
        assert_eq!(SshHop::parse("fd00::1").unwrap().host, "fd00::1");
        assert_eq!(SshHop::parse("h:no"), None);
        assert_eq!(SshHop::parse("-oProxyCommand=x"), None);
    }
}
