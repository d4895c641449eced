//! `[certificates]`: who issues which certificates, and what they are called.

use camino::Utf8PathBuf;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::certificate::{Algorithm, Cfssl};
use crate::name::MemberName;

/// Who issues which certificates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Certificates {
    /// The certificate authority.
    pub ca: Ca,
    /// Certificates of further CAs that members and etcdup trust beside their own, relative to the
    /// topology file: the old one while a new one takes its place, or the next one before it does.
    /// The key of each lies beside it, ending in `.key`, where it may still issue.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub trust: Vec<Utf8PathBuf>,
    /// The algorithm of the keys made.
    pub algorithm: Algorithm,
    /// How many days a member's certificate is valid for. It is renewed when a third of that is
    /// left.
    #[schemars(range(min = 1, max = 36500))]
    pub days: u32,
    /// One certificate for client and peer connections instead of two.
    pub shared: bool,
    /// Certificates for clients, written beside the CA at apply.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub clients: Vec<ClientCertificate>,
    /// Certificates that were made elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provided: Option<Provided>,
    /// What the files are called on the hosts.
    pub files: CertificateFiles,
    /// cfssl's own files, which say what to issue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cfssl: Option<CfsslFiles>,
    /// What those files ask for, once they were read.
    #[serde(skip)]
    pub requests: Cfssl,
}

/// cfssl's files, accepted as they are; paths are relative to the topology file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct CfsslFiles {
    /// The CA's request, `ca-csr.json`: its subject, key and expiry.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub ca: Option<Utf8PathBuf>,
    /// The members' request, such as `kubernetes-csr.json`: subject, key and hosts. Each member's
    /// own address is added.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub member: Option<Utf8PathBuf>,
    /// The signing policy, `ca-config.json`: how long certificates are valid for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub config: Option<Utf8PathBuf>,
    /// The policy's profile; needed where it has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
}

impl Default for Certificates {
    fn default() -> Self {
        Self {
            ca: Ca::default(),
            trust: Vec::new(),
            algorithm: Algorithm::default(),
            days: 365,
            shared: false,
            clients: Vec::new(),
            provided: None,
            files: CertificateFiles::default(),
            cfssl: None,
            requests: Cfssl::default(),
        }
    }
}

/// The certificate authority: made at the first apply when its files are not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Ca {
    /// The CA's certificate, relative to the topology file; `pki/<cluster>/ca.crt` when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub cert: Option<Utf8PathBuf>,
    /// The CA's key, relative to the topology file; `pki/<cluster>/ca.key` when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub key: Option<Utf8PathBuf>,
    /// An environment variable that holds the CA's key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_env: Option<String>,
    /// A command that prints the CA's key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_command: Option<Vec<String>>,
    /// How many days a CA that is made is valid for.
    #[schemars(range(min = 1, max = 36500))]
    pub days: u32,
}

impl Default for Ca {
    fn default() -> Self {
        Self {
            cert: None,
            key: None,
            key_env: None,
            key_command: None,
            days: 3650,
        }
    }
}

/// A certificate for a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ClientCertificate {
    /// Its common name, such as `kube-apiserver-etcd-client`; also the files' name.
    pub name: MemberName,
    /// Its organisation, such as `system:masters`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization: Option<String>,
}

/// Where provided certificates lie.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProvidedFrom {
    /// On the operator's machine, relative to the topology file.
    #[default]
    Operator,
    /// On each host, as absolute paths, or `~/` for the login user's home.
    Host,
}

/// What certificates are called on the hosts, below the layout's directory for them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct CertificateFiles {
    /// The CA's certificate.
    pub ca: String,
    /// The server's certificate and key.
    pub server: CertificateSource,
    /// The peer's certificate and key.
    pub peer: CertificateSource,
}

impl Default for CertificateFiles {
    fn default() -> Self {
        let pair = |role: &str| CertificateSource {
            cert: format!("{role}.crt"),
            key: format!("{role}.key"),
        };
        Self {
            ca: "ca.crt".to_owned(),
            server: pair("server"),
            peer: pair("peer"),
        }
    }
}

impl CertificateFiles {
    /// The files of a role, `server` or `peer`.
    #[must_use]
    pub fn of(&self, role: &str) -> &CertificateSource {
        if role == "peer" {
            &self.peer
        } else {
            &self.server
        }
    }
}

/// Certificates that were made elsewhere. `{member}` in a path stands for the member's name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Provided {
    /// Where the files lie.
    #[serde(default)]
    pub from: ProvidedFrom,
    /// The CA's certificate.
    pub ca: String,
    /// The server's certificate and key.
    pub server: CertificateSource,
    /// The peer's certificate and key; the server's when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<CertificateSource>,
    /// The operator's own client certificate and key, and the CA's certificate where members' lie
    /// on hosts: all here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<OperatorSource>,
}

/// What the operator shows to members, on the operator's machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct OperatorSource {
    /// The CA's certificate, here; needed with `from = "host"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// The client certificate's file.
    pub cert: String,
    /// Its key's file.
    pub key: String,
}

impl Provided {
    /// The files of the client certificate and key that etcdup itself shows to members: the
    /// operator's own, else the server's of the first member. `{member}` in them is not filled in.
    #[must_use]
    pub fn client_pair(&self) -> Option<(&str, &str)> {
        match (&self.operator, self.from) {
            (Some(own), _) => Some((&own.cert, &own.key)),
            (None, ProvidedFrom::Operator) => Some((&self.server.cert, &self.server.key)),
            // Those are paths on hosts: on the operator's machine they name something else.
            (None, ProvidedFrom::Host) => None,
        }
    }
}

/// A certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CertificateSource {
    /// The certificate's file.
    pub cert: String,
    /// The key's file.
    pub key: String,
}
