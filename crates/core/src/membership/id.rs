//! Member and cluster IDs, written as etcdctl prints them: in hex, since JavaScript loses digits of
//! a number of 64 bits.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a text is no member or cluster ID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an ID: expected hex digits as etcdctl prints them, such as 8e9e05c52164694d")]
pub struct IdError(String);

macro_rules! id {
    ($(#[$about:meta])* $name:ident) => {
        $(#[$about])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(into = "String", try_from = "String")]
        #[schemars(with = "String", extend("pattern" = "^(0x)?0*[0-9a-fA-F]{1,16}$"))]
        pub struct $name(u64);

        impl $name {
            /// Wraps the number that etcd's API returned.
            #[must_use]
            pub const fn new(id: u64) -> Self {
                Self(id)
            }

            /// The number, as etcd's API takes it.
            #[must_use]
            pub const fn get(self) -> u64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(out, "{:x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(out, "{:x}", self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                // `from_str_radix` takes a sign, which no ID has.
                let digits = text.strip_prefix("0x").unwrap_or(text);
                let all_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
                let id = u64::from_str_radix(digits, 16).ok().filter(|_| all_hex);
                id.map(Self).ok_or_else(|| IdError(text.to_owned()))
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.to_string()
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }
    };
}

id! {
    /// A member's ID: what raft knows it by. Its name and its URLs may change; the ID never does,
    /// and is never used again.
    MemberId
}

id! {
    /// A cluster's ID: members of different clusters refuse each other by it.
    ClusterId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_written_as_etcdctl_prints_them() {
        let id = MemberId::new(0x8e9e_05c5_2164_694d);
        assert_eq!(id.to_string(), "8e9e05c52164694d");
        assert_eq!("8e9e05c52164694d".parse(), Ok(id));
        assert_eq!("0x8e9e05c52164694d".parse(), Ok(id));
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(json, "\"8e9e05c52164694d\"");
        assert_eq!(serde_json::from_str::<MemberId>(&json).unwrap(), id);
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for text in ["", "0x", "+1", "-1", "m1", "8e9e05c52164694d0", " 1"] {
            assert!(text.parse::<ClusterId>().is_err(), "{text:?}");
        }
    }
}
