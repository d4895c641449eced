//! Names that end up in file names, flags and unit names, so their characters are limited by type.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} `{found}` {why}")]
pub struct NameError {
    what: &'static str,
    found: String,
    why: &'static str,
}

impl NameError {
    pub(crate) fn new(what: &'static str, found: &str, why: &'static str) -> Self {
        Self {
            what,
            found: found.to_owned(),
            why,
        }
    }
}

/// Defines a checked string newtype: parse, display, serde and JSON schema, all through one rule.
macro_rules! checked_text {
    ($(#[$doc:meta])* $name:ident, $what:literal, $pattern:literal, $check:path) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                match $check(&text) {
                    Ok(()) => Ok(Self(text)),
                    Err(why) => Err(NameError::new($what, &text, why)),
                }
            }
        }

        impl std::str::FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::try_from(text.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "pattern": $pattern })
            }
        }
    };
}
pub(crate) use checked_text;

checked_text! {
    /// The name of an etcd member: 1 to 63 letters, digits, `.`, `_` or `-`, starting with a letter
    /// or digit.
    ///
    /// etcd itself accepts more, but `=` and `,` break `--initial-cluster`, and the name becomes
    /// part of paths.
    MemberName, "member name", "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$", check_member
}
checked_text! {
    /// The name of a cluster: 1 to 40 lower-case letters, digits or `-`, starting with a letter or
    /// digit.
    ClusterName, "cluster name", "^[a-z0-9][a-z0-9-]{0,39}$", check_cluster
}
checked_text! {
    /// `--initial-cluster-token`: what keeps two clusters on the same addresses apart. 1 to 128
    /// visible characters.
    ClusterToken, "cluster token", "^[!-~]{1,128}$", check_token
}
checked_text! {
    /// A name a resolver answers for: letters, digits, `-` and `.`, at most 253 characters.
    DnsName, "host name", "^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$", check_dns
}
checked_text! {
    /// A login or system user on a host.
    UserName, "user name", "^[a-z_][a-z0-9_-]{0,31}$", check_user
}

fn check_member(text: &str) -> Result<(), &'static str> {
    let starts = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    let holds = text
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    if !starts || !holds {
        return Err(
            "may hold only letters, digits, `.`, `_` and `-`, and starts with a letter or digit",
        );
    }
    at_most(text, 63)
}

fn check_cluster(text: &str) -> Result<(), &'static str> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if !text.starts_with(plain) || !text.chars().all(|c| plain(c) || c == '-') {
        return Err(
            "may hold only lower-case letters, digits and `-`, and starts with a letter or digit",
        );
    }
    at_most(text, 40)
}

fn check_token(text: &str) -> Result<(), &'static str> {
    if text.is_empty() || !text.chars().all(|c| c.is_ascii_graphic()) {
        return Err("needs one or more visible characters and no blanks");
    }
    at_most(text, 128)
}

fn check_dns(text: &str) -> Result<(), &'static str> {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if !text.split('.').all(label) {
        return Err("is not a host name: dot-separated labels of letters, digits and `-`");
    }
    at_most(text, 253)
}

fn check_user(text: &str) -> Result<(), &'static str> {
    let starts = text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    let holds = text
        .chars()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c));
    if !starts || !holds {
        return Err(
            "may hold only lower-case letters, digits, `_` and `-`, and starts with a letter or `_`",
        );
    }
    at_most(text, 32)
}

fn at_most(text: &str, most: usize) -> Result<(), &'static str> {
    if text.len() > most {
        Err("is too long")
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_name_that_would_break_initial_cluster_is_refused() {
        for bad in ["", "a=b", "a,b", "-a", "a b", "ä"] {
            assert!(bad.parse::<MemberName>().is_err(), "{bad:?} was accepted");
        }
        assert!("m1.example_x-2".parse::<MemberName>().is_ok());
    }

    #[test]
    fn the_error_names_what_was_refused_and_why() {
        let error = "Prod".parse::<ClusterName>().unwrap_err().to_string();
        assert!(
            error.starts_with("cluster name `Prod` may hold only lower-case"),
            "{error}"
        );
    }
}
