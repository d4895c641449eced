//! What a host is.

use std::fmt;
use std::net::IpAddr;

use serde::Serialize;

/// What a host is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct HostFacts {
    /// The machine's id.
    pub machine_id: String,
    /// The id of this boot.
    pub boot_id: String,
    /// How far the host's clock is ahead of the operator's, in milliseconds, half a round trip
    /// taken off.
    pub clock_ahead_ms: i64,
    /// How exact that figure is, in milliseconds.
    pub clock_error_ms: i64,
    /// The processor.
    pub architecture: Architecture,
    /// The user that scripts run as: 0 is root.
    pub uid: u32,
    /// The host's own name.
    pub hostname: String,
    /// What runs as the first process.
    pub init: Init,
    /// Addresses by interface, link-local ones left out.
    pub addresses: Vec<(String, IpAddr)>,
    /// Tools of the host contract that it lacks.
    pub missing_tools: Vec<String>,
    /// What keeps the clock right, where that was asked for and runs.
    pub time_service: Option<String>,
    /// The resolvers of /etc/resolv.conf.
    pub resolvers: Vec<IpAddr>,
    /// The login user's home directory.
    pub home: String,
    /// System users that were asked for and exist.
    pub users: Vec<String>,
}

impl HostFacts {
    /// The first address of an interface.
    #[must_use]
    pub fn interface_address(&self, interface: &str) -> Option<IpAddr> {
        self.addresses
            .iter()
            .find(|(name, _)| name == interface)
            .map(|(_, address)| *address)
    }

    /// All addresses as a reader wants them.
    #[must_use]
    pub fn print_addresses(&self) -> String {
        let one = |(name, address): &(String, IpAddr)| format!("{name} {address}");
        self.addresses
            .iter()
            .map(one)
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// Whether an address is the host's own.
    #[must_use]
    pub fn has_address(&self, address: IpAddr) -> bool {
        address.is_loopback()
            || address.is_unspecified()
            || self.addresses.iter().any(|(_, own)| *own == address)
    }
}

/// A processor that etcd is released for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// x86-64.
    Amd64,
    /// 64-bit ARM.
    Arm64,
    /// Another, as `uname -m` calls it.
    Other(String),
}

impl Default for Architecture {
    fn default() -> Self {
        Architecture::Other(String::new())
    }
}

impl Architecture {
    /// From `uname -m`.
    #[must_use]
    pub fn from_uname(machine: &str) -> Self {
        match machine {
            "x86_64" | "amd64" => Architecture::Amd64,
            "aarch64" | "arm64" => Architecture::Arm64,
            other => Architecture::Other(other.to_owned()),
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Architecture::Amd64 => "amd64",
            Architecture::Arm64 => "arm64",
            Architecture::Other(machine) => machine,
        })
    }
}

/// What runs as the first process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Init {
    /// systemd.
    Systemd,
    /// Something else, by name.
    Other(String),
}

impl Default for Init {
    fn default() -> Self {
        Init::Other(String::new())
    }
}
