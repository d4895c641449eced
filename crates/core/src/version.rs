//! etcd's version numbers.

use std::fmt;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize};

use crate::name::NameError;

/// A released version of etcd, such as 3.5.30.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(into = "String")]
pub struct EtcdVersion(semver::Version);

/// The minors this release knows flag by flag.
pub const KNOWN_MINORS: [u64; 4] = [4, 5, 6, 7];

/// The newest patch of each known minor when the tables were made.
pub const NEWEST_PATCHES: [u64; 4] = [45, 33, 16, 3];

/// Major and minor of a version as etcd prints it: `3.6` of `3.6.14`.
#[must_use]
pub fn minor_of(version: &str) -> String {
    version.split('.').take(2).collect::<Vec<_>>().join(".")
}

/// What a new topology starts with: the newest patch of the minor that Kubernetes runs most.
pub const SUGGESTED: &str = "3.5.33";

impl EtcdVersion {
    /// A version from its numbers.
    #[must_use]
    pub fn new(major: u64, minor: u64, patch: u64) -> Self {
        Self(semver::Version::new(major, minor, patch))
    }

    /// The middle number.
    #[must_use]
    pub fn minor(&self) -> u64 {
        self.0.minor
    }

    /// The last number.
    #[must_use]
    pub fn patch(&self) -> u64 {
        self.0.patch
    }

    /// The column of the known minors, when this version's minor is one.
    #[must_use]
    pub fn column(&self) -> Option<usize> {
        if self.0.major != 3 {
            return None;
        }
        KNOWN_MINORS.iter().position(|minor| *minor == self.0.minor)
    }

    /// The newest patch of a minor that is known.
    #[must_use]
    pub fn newest(minor: u64) -> Option<Self> {
        let column = KNOWN_MINORS.iter().position(|known| *known == minor)?;
        Some(Self::new(3, minor, NEWEST_PATCHES[column]))
    }

    /// Whether this release has been seen when the tables were made.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.column()
            .is_some_and(|column| self.0.patch <= NEWEST_PATCHES[column])
    }
}

impl std::str::FromStr for EtcdVersion {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let bare = text.strip_prefix('v').unwrap_or(text);
        match semver::Version::parse(bare) {
            Ok(version) if version.pre.is_empty() && version.build.is_empty() => Ok(Self(version)),
            Ok(_) => Err(NameError::new(
                "etcd version",
                text,
                "is a pre-release or a private build; name a release",
            )),
            Err(_) => Err(NameError::new(
                "etcd version",
                text,
                match bare {
                    "3.4" => "is not of the form 3.5.30; the newest known patch is 3.4.45",
                    "3.5" => "is not of the form 3.5.30; the newest known patch is 3.5.33",
                    "3.6" => "is not of the form 3.5.30; the newest known patch is 3.6.16",
                    "3.7" => "is not of the form 3.5.30; the newest known patch is 3.7.3",
                    _ => "is not of the form 3.5.30",
                },
            )),
        }
    }
}

impl<'de> Deserialize<'de> for EtcdVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Release;
        impl Visitor<'_> for Release {
            type Value = EtcdVersion;

            // `etcd = 3.5` is a number to TOML and YAML, which know nothing of releases.
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a release with its patch, such as \"{SUGGESTED}\"")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<EtcdVersion, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Release)
    }
}

impl From<EtcdVersion> for String {
    fn from(version: EtcdVersion) -> String {
        version.to_string()
    }
}

impl fmt::Display for EtcdVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.to_string())
    }
}

impl schemars::JsonSchema for EtcdVersion {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "EtcdVersion".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": r"^v?3\.\d+\.\d+$", "examples": ["3.5.30"] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_order_by_number_not_by_text() {
        let version = |text: &str| text.parse::<EtcdVersion>().unwrap();
        assert!(version("3.5.9") < version("3.5.30"));
        assert!(version("v3.5.30") == version("3.5.30"));
    }

    #[test]
    fn an_incomplete_or_private_version_is_refused() {
        for bad in ["3.5", "3.5.0-rc.1", "latest", ""] {
            assert!(bad.parse::<EtcdVersion>().is_err(), "{bad:?} was accepted");
        }
    }

    /// What a tired operator writes is a number, and the answer names what is meant.
    #[test]
    fn a_number_is_answered_with_an_example() {
        let error = serde_json::from_str::<EtcdVersion>("3.5").unwrap_err();
        assert!(error.to_string().contains("such as \"3.5."), "{error}");
        assert!(serde_json::from_str::<EtcdVersion>("\"3.5.33\"").is_ok());
    }

    /// The hint is text, the table is numbers: neither is changed without the other.
    #[test]
    fn a_minor_alone_is_answered_with_its_newest_patch() {
        for (minor, patch) in KNOWN_MINORS.iter().zip(NEWEST_PATCHES) {
            let error = format!("3.{minor}").parse::<EtcdVersion>().unwrap_err();
            assert!(
                error.to_string().contains(&format!("3.{minor}.{patch}")),
                "{error}"
            );
        }
    }
}
