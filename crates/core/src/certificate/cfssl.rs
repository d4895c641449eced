//! cfssl's JSON requests, accepted as they are: `ca-csr.json`, `kubernetes-csr.json` and
//! `ca-config.json`.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::request::{Algorithm, Subject};
use crate::url::Address;

/// A certificate request as cfssl writes it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct CfsslRequest {
    /// The common name.
    #[serde(rename = "CN")]
    pub name: String,
    /// The names and addresses it is valid for.
    pub hosts: Vec<String>,
    /// The key.
    pub key: Option<CfsslKey>,
    /// The rest of the subject; only the first counts.
    pub names: Vec<CfsslName>,
    /// How long a CA is valid for.
    pub ca: Option<CfsslCa>,
}

/// A key as cfssl asks for it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct CfsslKey {
    algo: String,
    size: u32,
}

/// A subject as cfssl writes it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct CfsslName {
    #[serde(rename = "C")]
    country: Option<String>,
    #[serde(rename = "ST")]
    state: Option<String>,
    #[serde(rename = "L")]
    locality: Option<String>,
    #[serde(rename = "O")]
    organization: Option<String>,
    #[serde(rename = "OU")]
    unit: Option<String>,
}

/// How long a CA is valid for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct CfsslCa {
    expiry: String,
}

/// cfssl's signing policy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct CfsslConfig {
    signing: Signing,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Signing {
    default: Profile,
    profiles: BTreeMap<String, Profile>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Profile {
    expiry: Option<String>,
    usages: Vec<String>,
}

/// What cfssl's files ask for, read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cfssl {
    /// The request of the CA.
    pub ca: Option<CfsslRequest>,
    /// The request of the members.
    pub member: Option<CfsslRequest>,
    /// How long members' certificates are valid for, in hours.
    pub hours: Option<u32>,
}

impl CfsslRequest {
    /// The subject beside the common name.
    #[must_use]
    pub fn subject(&self) -> Subject {
        let first = self.names.first().cloned().unwrap_or_default();
        Subject {
            country: first.country,
            state: first.state,
            locality: first.locality,
            organization: first.organization,
            unit: first.unit,
        }
    }

    /// The key's algorithm; cfssl's own default is ECDSA P-256.
    ///
    /// # Errors
    /// When etcdup makes no such keys.
    pub fn algorithm(&self) -> Result<Algorithm, String> {
        match &self.key {
            None => Ok(Algorithm::EcdsaP256),
            Some(key) => match (key.algo.as_str(), key.size) {
                ("ecdsa", 256) => Ok(Algorithm::EcdsaP256),
                ("rsa", 2048) => Ok(Algorithm::Rsa2048),
                ("rsa", 4096) => Ok(Algorithm::Rsa4096),
                (algo, size) => Err(format!(
                    "no {algo} keys of {size} bits are made: use ecdsa 256, rsa 2048 or rsa 4096"
                )),
            },
        }
    }

    /// How long a CA is valid for, in days; five years as cfssl has it.
    ///
    /// # Errors
    /// When the expiry is no duration.
    pub fn days(&self) -> Result<u32, String> {
        self.ca
            .as_ref()
            .map_or(Ok(5 * 365), |ca| Ok(hours(&ca.expiry)? / 24))
    }

    /// The names and addresses of `hosts`.
    ///
    /// # Errors
    /// When one is neither.
    pub fn sans(&self) -> Result<Vec<Address>, String> {
        self.hosts
            .iter()
            .filter(|host| !host.is_empty())
            .map(|host| {
                host.parse()
                    .map_err(|error| format!("`{host}` in hosts: {error}"))
            })
            .collect()
    }
}

impl CfsslConfig {
    /// How long certificates of a profile are valid for, in hours.
    ///
    /// # Errors
    /// When there is no such profile, its expiry is no duration, or members could not use its
    /// certificates.
    pub fn hours(&self, profile: Option<&str>) -> Result<u32, String> {
        let own = match profile {
            None if self.signing.profiles.len() == 1 => self.signing.profiles.values().next(),
            None => None,
            Some(name) => {
                let found = self.signing.profiles.get(name);
                let names = || {
                    let names: Vec<_> = self.signing.profiles.keys().cloned().collect();
                    names.join(", ")
                };
                Some(found.ok_or_else(|| {
                    format!("there is no profile `{name}`; there are {}", names())
                })?)
            }
        };
        let used = own.unwrap_or(&self.signing.default);
        for usage in ["server auth", "client auth"] {
            if !used.usages.is_empty() && !used.usages.iter().any(|found| found == usage) {
                return Err(format!(
                    "the profile lacks the usage `{usage}`, which a member needs"
                ));
            }
        }
        match used
            .expiry
            .as_ref()
            .or(self.signing.default.expiry.as_ref())
        {
            Some(text) => hours(text),
            None => Ok(365 * 24),
        }
    }
}

/// A Go duration in whole hours.
fn hours(text: &str) -> Result<u32, String> {
    crate::flag::go_duration(text)
        .and_then(|nanos| u32::try_from(nanos / 3_600_000_000_000).ok())
        .filter(|hours| *hours > 0)
        .ok_or_else(|| format!("`{text}` is no expiry such as 8760h"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_the_well_known_walk_through_are_accepted_as_they_are() {
        let config: CfsslConfig = serde_json::from_str(
            r#"{"signing":{"default":{"expiry":"8760h"},
                "profiles":{"kubernetes":{"usages":["signing","key encipherment","server auth","client auth"],"expiry":"8760h"}}}}"#,
        )
        .unwrap();
        assert_eq!(config.hours(Some("kubernetes")), Ok(8760));
        assert!(
            config
                .hours(Some("typo"))
                .unwrap_err()
                .contains("there are kubernetes")
        );
        let request: CfsslRequest = serde_json::from_str(
            r#"{"CN":"kubernetes","hosts":["10.32.0.1","127.0.0.1","kubernetes.default"],
                "key":{"algo":"rsa","size":2048},"names":[{"C":"US","L":"Portland","O":"Kubernetes","OU":"Hard Way","ST":"Oregon"}]}"#,
        )
        .unwrap();
        assert_eq!(request.algorithm(), Ok(Algorithm::Rsa2048));
        assert_eq!(request.sans().unwrap().len(), 3);
        assert_eq!(request.subject().unit.as_deref(), Some("Hard Way"));
    }

    #[test]
    fn a_profile_without_client_auth_is_refused() {
        let config: CfsslConfig = serde_json::from_str(
            r#"{"signing":{"profiles":{"server":{"usages":["server auth"],"expiry":"1h"}}}}"#,
        )
        .unwrap();
        assert!(config.hours(None).unwrap_err().contains("client auth"));
    }
}
