//! The flags of one member, and the two ways etcd takes them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{AppliesAt, Kind, lookup};

/// Flag names and their values in canonical text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FlagSet(BTreeMap<String, String>);

impl FlagSet {
    /// Sets a flag; a value of the wrong kind is kept as it is, lint has spoken of it already.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        let value = value.into();
        let canonical = lookup(name)
            .and_then(|row| row.canonical(&value).ok())
            .unwrap_or(value);
        self.0.insert(name.to_owned(), canonical);
    }

    /// Sets a flag to a value that is in canonical text already, as etcdup's own are.
    pub(crate) fn put(&mut self, name: &str, value: impl Into<String>) {
        let value = value.into();
        debug_assert!(
            lookup(name).is_none_or(|row| row.canonical(&value).as_ref() == Ok(&value)),
            "--{name}={value} is not in canonical text"
        );
        self.0.insert(name.to_owned(), value);
    }

    /// A flag's value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// All flags by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As arguments: `--name=value`.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        self.iter()
            .map(|(name, value)| format!("--{name}={value}"))
            .collect()
    }

    /// As environment: `ETCD_NAME`, `value`.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        self.iter()
            .map(|(name, value)| (env_name(name), value.to_owned()))
            .collect()
    }

    /// What differs between a running process and what is wanted, for flags that count at each
    /// start: name, running value, wanted value. Flags of the first start only are left out, for
    /// etcd ignores them once a WAL exists.
    #[must_use]
    pub fn differences(&self, wanted: &FlagSet) -> Vec<FlagDifference> {
        let names: BTreeSet<&String> = self.0.keys().chain(wanted.0.keys()).collect();
        names
            .into_iter()
            .filter(|name| !equal(name, self.0.get(*name), wanted.0.get(*name)))
            .filter(|name| lookup(name).is_none_or(|row| row.when == AppliesAt::Start))
            .map(|name| FlagDifference {
                name: name.clone(),
                running: self.0.get(name).cloned(),
                wanted: wanted.0.get(name).cloned(),
            })
            .collect()
    }
}

/// Whether two values say the same: URLs may stand in any order.
fn equal(name: &str, one: Option<&String>, other: Option<&String>) -> bool {
    if one == other {
        return true;
    }
    let (Some(one), Some(other)) = (one, other) else {
        return false;
    };
    let is_list = lookup(name).is_some_and(|row| row.kind == Kind::Urls);
    is_list && BTreeSet::from_iter(one.split(',')) == BTreeSet::from_iter(other.split(','))
}

/// One flag that runs with another value than wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlagDifference {
    /// The flag.
    pub name: String,
    /// Its value in the running process; `None` is etcd's default.
    pub running: Option<String>,
    /// The value wanted; `None` is etcd's default.
    pub wanted: Option<String>,
}

impl<N: AsRef<str>, V: Into<String>> FromIterator<(N, V)> for FlagSet {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let mut set = FlagSet::default();
        for (name, value) in pairs {
            set.set(name.as_ref(), value);
        }
        set
    }
}

/// The flag that a variable of etcd's sets, whether or not etcd has it.
#[must_use]
pub fn flag_of_env(variable: &str) -> Option<String> {
    let name = variable.strip_prefix("ETCD_")?;
    let is_one = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    // etcd reads variables by their exact names.
    name.bytes()
        .all(is_one)
        .then(|| name.to_ascii_lowercase().replace('_', "-"))
}

/// The environment variable of a flag: `ETCD_QUOTA_BACKEND_BYTES`.
#[must_use]
pub fn env_name(flag: &str) -> String {
    format!("ETCD_{}", flag.to_ascii_uppercase().replace('-', "_"))
}

#[cfg(test)]
mod tests {
    use super::super::{FLAGS, FlagSource};
    use super::*;
    use proptest::prelude::*;

    fn any_flags() -> impl Strategy<Value = FlagSet> {
        let one = (0..FLAGS.len(), "[ -~]{1,30}").prop_map(|(index, text)| {
            let row = &FLAGS[index];
            let value = match row.kind {
                super::super::Kind::Bool => (text.len() % 2 == 0).to_string(),
                super::super::Kind::Uint | super::super::Kind::Int => text.len().to_string(),
                super::super::Kind::Duration => format!("{}s", text.len()),
                super::super::Kind::Urls => format!("https://10.0.0.{}:2379", text.len()),
                super::super::Kind::Value | super::super::Kind::Text => text,
            };
            (row.name, value)
        });
        proptest::collection::vec(one, 0..20).prop_map(|pairs| pairs.into_iter().collect())
    }

    proptest! {
        #[test]
        fn arguments_and_environment_say_the_same(flags in any_flags()) {
            let from_arguments = FlagSource::arguments(&flags.arguments()).flags;
            let from_environment = FlagSource::environment(flags.environment()).flags;
            prop_assert_eq!(&from_arguments, &flags);
            prop_assert_eq!(&from_environment, &flags);
        }
    }

    #[test]
    fn what_counts_at_first_start_only_is_no_difference() {
        let running: FlagSet = [
            ("initial-cluster-state", "new"),
            ("snapshot-count", "10000"),
        ]
        .into_iter()
        .collect();
        let wanted: FlagSet = [
            ("initial-cluster-state", "existing"),
            ("snapshot-count", "5000"),
        ]
        .into_iter()
        .collect();
        let names: Vec<_> = running
            .differences(&wanted)
            .into_iter()
            .map(|d| d.name)
            .collect();
        assert_eq!(names, ["snapshot-count"]);
    }
}
