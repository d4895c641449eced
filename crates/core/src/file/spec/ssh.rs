//! `[ssh]` and `host`: how hosts are reached.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How to become root on a host.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Sudo {
    /// With sudo, without a password, when the login user is not root.
    #[default]
    Auto,
    /// Not at all: the login user does everything.
    Never,
    /// With sudo and a password, asked once.
    Password,
}

/// What to do with a host that known_hosts does not name. A changed key is always refused.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum HostKeyPolicy {
    /// Refuse it.
    #[default]
    Strict,
    /// Accept it and write its key down.
    AcceptNew,
}

/// How hosts are reached by SSH. What is not given comes from the user's own ssh configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Ssh {
    /// The login user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// A private key's file, `~` for the home directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Jump hosts, `[user@]host[:port]`, joined with commas.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jump: Option<String>,
    /// How to become root.
    pub sudo: Sudo,
    /// What to do with a host that known_hosts does not name.
    pub host_key: HostKeyPolicy,
    /// The known_hosts file; `~/.ssh/known_hosts` when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub known_hosts: Option<String>,
}

/// A host: `local`, `[user@]host[:port]`, or a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "`local`, `[user@]host[:port]`, `{ ssh = \"host\", .. }` or `{ vagrant = \"machine\" }`"
)]
pub enum HostSpec {
    /// `local` or `[user@]host[:port]`.
    Text(String),
    /// An SSH host with settings of its own.
    Ssh(SshHost),
    /// A Vagrant machine of the Vagrantfile beside the topology file.
    Vagrant(VagrantHost),
}

/// An SSH host with settings of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SshHost {
    /// The host, as `[user@]host[:port]`.
    pub ssh: String,
    /// The login user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// A private key's file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Jump hosts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jump: Option<String>,
    /// How to become root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sudo: Option<Sudo>,
}

/// A Vagrant machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct VagrantHost {
    /// The machine's name in the Vagrantfile.
    pub vagrant: String,
}
