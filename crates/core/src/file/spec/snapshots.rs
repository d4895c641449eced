//! Snapshots of a cluster.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use camino::Utf8PathBuf;
use jiff::{SignedDuration, Span, SpanRelativeTo};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// When snapshots are taken, and which are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Snapshots {
    /// How often one is taken, by the timer of `etcdup snapshot timer`; `etcdup serve` takes one
    /// where the newest is older: `6h`, `1d`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<Every>,
    /// The directory that they are kept in, each cluster's in one of its own name; relative to the
    /// topology file, and `snapshots` beside it where it is left out. It must exist: a disk that is
    /// not mounted is no place for a backup. Or an object store: `s3://bucket/prefix`,
    /// `gs://bucket/prefix`, `az://container/prefix`.
    #[schemars(with = "Option<String>")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Utf8PathBuf>,
    /// How an object store is reached, by the names that the Rust crate `object_store` gives them:
    /// `region`, `endpoint`, `allow_http`. Nothing secret.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
    /// A file of lines `AWS_SECRET_ACCESS_KEY=...` that say who asks an object store, relative to
    /// the topology file. Nobody else may read it. Without it the environment says so, or what the
    /// machine is in its cloud.
    #[schemars(with = "Option<String>")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Utf8PathBuf>,
    /// A command, word by word, that a snapshot is piped through before it is kept: `["age",
    /// "--recipients-file", "recipients.txt"]`. It runs in the topology file's directory.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub encrypt: Vec<String>,
    /// A command that turns what `encrypt` made into what it was.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub decrypt: Vec<String>,
    /// What `etcdup snapshot prune` keeps.
    pub keep: Keep,
}

impl Snapshots {
    /// What the URL of an object store begins with: S3 and what speaks as it does, Google Cloud
    /// Storage, Azure Blob Storage.
    pub const SCHEMES: [&str; 3] = ["s3", "gs", "az"];

    /// The object store that they are kept in, where it is one.
    #[must_use]
    pub fn url(&self) -> Option<&str> {
        let to = self.to.as_ref().map(|to| to.as_str());
        to.filter(|to| to.contains("://"))
    }
}

/// What is kept when older snapshots are deleted: each that any of these keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Keep {
    /// So many of the newest.
    pub last: u32,
    /// The newest of each of so many hours in which there is one.
    pub hourly: u32,
    /// The newest of each of so many days, by UTC, in which there is one.
    pub daily: u32,
    /// The newest of each of so many weeks, from Monday by UTC, in which there is one.
    pub weekly: u32,
}

impl Default for Keep {
    fn default() -> Self {
        Self {
            last: 10,
            hourly: 24,
            daily: 7,
            weekly: 4,
        }
    }
}

/// A time between two snapshots, from a minute to a year: `30m`, `6h`, `1d`, a day being 24 hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Every(SignedDuration);

/// A text that is no time between two snapshots.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no time between two snapshots: write `30m`, `6h` or `1d`, from 1m to 366d")]
pub struct EveryError(String);

impl Every {
    /// The time itself.
    #[must_use]
    pub const fn duration(self) -> SignedDuration {
        self.0
    }
}

impl FromStr for Every {
    type Err = EveryError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let span = text.parse::<Span>().ok();
        let days = SpanRelativeTo::days_are_24_hours();
        let time = span.and_then(|span| span.to_duration(days).ok());
        let (least, most) = (
            SignedDuration::from_mins(1),
            SignedDuration::from_hours(366 * 24),
        );
        match time.filter(|time| (least..=most).contains(time)) {
            Some(time) => Ok(Self(time)),
            None => Err(EveryError(text.to_owned())),
        }
    }
}

impl fmt::Display for Every {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let minutes = self.0.as_mins();
        match minutes {
            _ if minutes % (24 * 60) == 0 => write!(f, "{}d", minutes / (24 * 60)),
            _ if minutes % 60 == 0 => write!(f, "{}h", minutes / 60),
            _ => write!(f, "{minutes}m"),
        }
    }
}

impl Serialize for Every {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Every {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Every {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Every".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "examples": ["30m", "6h", "1d"] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_and_written_as_people_do() {
        for (text, written) in [
            ("30m", "30m"),
            ("6h", "6h"),
            ("1d", "1d"),
            ("24h", "1d"),
            ("90m", "90m"),
            ("1 week", "7d"),
            ("1h 30m", "90m"),
            ("59s", ""),
            ("-6h", ""),
            ("6", ""),
            ("400d", ""),
            ("", ""),
        ] {
            let read = text.parse::<Every>();
            let shown = read.map(|every| every.to_string()).unwrap_or_default();
            assert_eq!(shown, written, "{text}");
        }
    }
}
