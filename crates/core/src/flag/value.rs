//! Flag values as they are written in the topology file, and one canonical text for each.

use std::fmt;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::{FlagSpec, Kind};

/// A value as the file gives it: text, a number, a truth value, or a list that is joined with
/// commas.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum FlagValue {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Text.
    Text(String),
    /// Several texts, joined with commas for etcd.
    List(Vec<String>),
}

impl<'de> Deserialize<'de> for FlagValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = FlagValue;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text, a whole number, true, false, or a list of texts")
            }
            fn visit_bool<E: de::Error>(self, value: bool) -> Result<FlagValue, E> {
                Ok(FlagValue::Bool(value))
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<FlagValue, E> {
                Ok(FlagValue::Int(value))
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<FlagValue, E> {
                i64::try_from(value)
                    .map(FlagValue::Int)
                    .map_err(|_| E::custom("the number is too large"))
            }
            fn visit_str<E: de::Error>(self, value: &str) -> Result<FlagValue, E> {
                Ok(FlagValue::Text(value.to_owned()))
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<FlagValue, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = seq.next_element()? {
                    list.push(item);
                }
                Ok(FlagValue::List(list))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

impl schemars::JsonSchema for FlagValue {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "FlagValue".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "anyOf": [
                { "type": "boolean" }, { "type": "integer" }, { "type": "string" },
                { "type": "array", "items": { "type": "string" } },
            ]
        })
    }
}

impl fmt::Display for FlagValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FlagValue::Bool(value) => write!(f, "{value}"),
            FlagValue::Int(value) => write!(f, "{value}"),
            FlagValue::Text(value) => f.write_str(value),
            FlagValue::List(values) => f.write_str(&values.join(",")),
        }
    }
}

/// Why a value does not fit its flag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is not {wanted}")]
pub struct ValueError {
    found: String,
    wanted: &'static str,
}

impl FlagSpec {
    /// The value in one canonical text, so that `60s` and `1m0s` compare as equal.
    ///
    /// # Errors
    /// When the text is not of the flag's kind.
    pub fn canonical(&self, text: &str) -> Result<String, ValueError> {
        let refuse = |wanted| ValueError {
            found: text.to_owned(),
            wanted,
        };
        if text.chars().any(char::is_control) {
            return Err(refuse("one line of visible text"));
        }
        match self.kind {
            Kind::Bool => match text {
                "true" | "1" | "t" | "T" | "TRUE" | "True" => Ok("true".to_owned()),
                "false" | "0" | "f" | "F" | "FALSE" | "False" => Ok("false".to_owned()),
                _ => Err(refuse("true or false")),
            },
            Kind::Uint => text
                .parse::<u64>()
                .map(|n| n.to_string())
                .map_err(|_| refuse("a whole number from 0")),
            Kind::Int => text
                .parse::<i64>()
                .map(|n| n.to_string())
                .map_err(|_| refuse("a whole number")),
            Kind::Duration => go_duration(text)
                .map(print_duration)
                .ok_or_else(|| refuse("a duration such as 100ms, 10s or 1h30m")),
            Kind::Urls => text
                .split(',')
                .map(|url| {
                    url.parse::<crate::url::EtcdUrl>()
                        .map(|url| url.to_string())
                })
                .collect::<Result<Vec<_>, _>>()
                .map(|urls| urls.join(","))
                .map_err(|_| {
                    refuse("a list of URLs such as https://10.0.0.1:2379, joined with commas")
                }),
            Kind::Value | Kind::Text => Ok(text.to_owned()),
        }
    }
}

/// Nanoseconds of a Go duration.
pub(crate) fn go_duration(text: &str) -> Option<i128> {
    let (negative, mut rest) = text
        .strip_prefix('-')
        .map_or((false, text), |rest| (true, rest));
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut nanos = 0_i128;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let unit_end = rest[digits..]
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .map_or(rest.len(), |end| digits + end);
        let unit: i128 = match &rest[digits..unit_end] {
            "ns" => 1,
            "us" | "µs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        let (whole, fraction) = rest[..digits]
            .split_once('.')
            .unwrap_or((&rest[..digits], ""));
        if whole.is_empty() && fraction.is_empty()
            || fraction.contains('.')
            || whole.len() > 19
            || fraction.len() > 9
        {
            return None;
        }
        nanos += unit * whole.parse::<i128>().unwrap_or(0);
        nanos += unit * fraction.parse::<i128>().unwrap_or(0)
            / 10_i128.pow(u32::try_from(fraction.len()).ok()?);
        rest = &rest[unit_end..];
    }
    Some(if negative { -nanos } else { nanos })
}

/// The shortest text of one unit that says it exactly.
pub(super) fn print_duration(nanos: i128) -> String {
    const UNITS: [(&str, i128); 6] = [
        ("h", 3_600_000_000_000),
        ("m", 60_000_000_000),
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
        ("us", 1_000),
        ("ns", 1),
    ];
    if nanos == 0 {
        return "0s".to_owned();
    }
    let (name, unit) = UNITS
        .into_iter()
        .find(|(_, unit)| nanos % unit == 0)
        .unwrap_or(("ns", 1));
    format!("{}{name}", nanos / unit)
}

#[cfg(test)]
mod tests {
    use super::super::lookup;
    use proptest::prelude::*;

    #[test]
    fn equal_durations_have_one_text() {
        let flag = lookup("grpc-keepalive-interval").unwrap();
        let canonical = |text: &str| flag.canonical(text).unwrap();
        assert_eq!(canonical("60s"), canonical("1m0s"));
        assert_eq!(canonical("1.5h"), canonical("90m"));
        assert!(flag.canonical("10").is_err());
        assert!(flag.canonical("ten").is_err());
    }

    #[test]
    fn a_value_of_the_wrong_kind_says_what_was_wanted() {
        let error = lookup("snapshot-count")
            .unwrap()
            .canonical("-1")
            .unwrap_err();
        assert_eq!(error.to_string(), "`-1` is not a whole number from 0");
    }

    proptest! {
        #[test]
        fn canonical_is_a_fixed_point(nanos in 1_i64..i64::MAX) {
            let flag = lookup("grpc-keepalive-interval").unwrap();
            let once = flag.canonical(&format!("{nanos}ns")).unwrap();
            prop_assert_eq!(flag.canonical(&once).unwrap(), once);
        }
    }
}
