//! Certificates as they are asked for.

use std::collections::BTreeSet;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::url::Address;

/// A key algorithm.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// ECDSA on P-256.
    #[default]
    EcdsaP256,
    /// RSA with 2048 bits.
    Rsa2048,
    /// RSA with 4096 bits.
    Rsa4096,
}

/// What a certificate is for, and with that its extended key usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Usage {
    /// A member towards clients. etcd's gRPC gateway uses this certificate as a client of the
    /// member itself (etcd issue 9785), so it is valid for both.
    Server,
    /// A member towards its peers: server and client.
    Peer,
    /// A client.
    Client,
}

impl Usage {
    /// Whether the certificate must be valid as a server certificate.
    #[must_use]
    pub fn is_server(self) -> bool {
        matches!(self, Usage::Server | Usage::Peer)
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Usage::Server => "server",
            Usage::Peer => "peer",
            Usage::Client => "client",
        })
    }
}

/// A subject beside its common name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Subject {
    /// Two letters.
    pub country: Option<String>,
    /// State or province.
    pub state: Option<String>,
    /// City.
    pub locality: Option<String>,
    /// The organisation; Kubernetes takes it for a group.
    pub organization: Option<String>,
    /// The organisational unit.
    pub unit: Option<String>,
}

impl Subject {
    /// An organisation alone.
    #[must_use]
    pub fn organization(organization: Option<String>) -> Self {
        Self {
            organization,
            ..Self::default()
        }
    }
}

/// Which CA signs a certificate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Issuer {
    /// The cluster's own.
    #[default]
    Own,
    /// The one at this place of `certificates.trust`, while members do not trust the own one yet.
    Trusted(usize),
}

impl Issuer {
    /// Whether it is the cluster's own CA.
    #[must_use]
    pub fn is_own(&self) -> bool {
        *self == Self::Own
    }
}

/// A certificate that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CertRequest {
    /// The common name.
    pub name: String,
    /// The rest of the subject.
    pub subject: Subject,
    /// What it is for.
    pub usage: Usage,
    /// The names and addresses it is valid for.
    pub sans: BTreeSet<Address>,
    /// The key's algorithm.
    #[serde(skip)]
    pub algorithm: Algorithm,
    /// How long it is valid for, in hours.
    pub hours: u32,
    /// Which CA signs it.
    #[serde(skip_serializing_if = "Issuer::is_own")]
    pub issuer: Issuer,
}
