//! Where every key of a topology file is in its text.

use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::key_path::Part;

/// A byte range of the file's text.
pub type Span = Range<usize>;

pub(super) fn place_of(text: &str, at: &serde_saphyr::Location) -> Span {
    let line = usize::try_from(at.line()).unwrap_or(1).max(1);
    let column = usize::try_from(at.column()).unwrap_or(1).max(1);
    let start: usize = text
        .split_inclusive('\n')
        .take(line - 1)
        .map(str::len)
        .sum();
    let rest = text[start..].lines().next().unwrap_or_default();
    let offset = rest
        .char_indices()
        .nth(column - 1)
        .map_or(rest.len(), |(offset, _)| offset);
    let width = rest[offset..]
        .find(['\n', ':', ' '])
        .unwrap_or(rest.len() - offset)
        .max(1);
    start + offset..(start + offset + width).min(text.len())
}

/// The places of all keys.
#[derive(Debug, Clone)]
pub(super) enum Node {
    Table(Vec<Entry>),
    List(Vec<Entry>),
    Leaf,
}

#[derive(Debug, Clone)]
pub(super) struct Entry {
    key: String,
    pub(super) span: Span,
    at: Option<serde_saphyr::Location>,
    pub(super) node: Node,
}

impl Node {
    /// The entry of one part of a path.
    pub(super) fn entry(&self, part: &Part) -> Option<&Entry> {
        match (part, self) {
            (Part::Key(key), Node::Table(entries)) => {
                entries.iter().find(|entry| entry.key == *key)
            }
            (Part::Index(index), Node::List(entries)) => entries.get(*index),
            _ => None,
        }
    }

    pub(super) fn from_toml(value: &toml::de::DeValue<'_>) -> Self {
        let entry = |key: &str, span: Span, value: &toml::de::DeValue<'_>| Entry {
            key: key.to_owned(),
            span,
            at: None,
            node: Node::from_toml(value),
        };
        if let Some(table) = value.as_table() {
            let of = |(key, value): (&toml::Spanned<_>, &toml::Spanned<toml::de::DeValue<'_>>)| {
                let key: &toml::Spanned<std::borrow::Cow<'_, str>> = key;
                let leaf =
                    value.get_ref().as_table().is_none() && value.get_ref().as_array().is_none();
                entry(
                    key.get_ref(),
                    if leaf { value.span() } else { key.span() },
                    value.get_ref(),
                )
            };
            return Node::Table(table.iter().map(of).collect());
        }
        match value.as_array() {
            Some(list) => Node::List(
                list.iter()
                    .map(|value| entry("", value.span(), value.get_ref()))
                    .collect(),
            ),
            None => Node::Leaf,
        }
    }

    /// Turns the lines and columns that YAML gives into byte ranges.
    pub(super) fn locate(&mut self, text: &str) {
        if let Node::Table(entries) | Node::List(entries) = self {
            for entry in entries {
                if let Some(at) = &entry.at {
                    entry.span = place_of(text, at);
                }
                entry.node.locate(text);
            }
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Node;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
                let mut entries = Vec::new();
                while let Some(key) = map.next_key::<String>()? {
                    let value = map.next_value::<serde_saphyr::Spanned<Node>>()?;
                    entries.push(Entry {
                        key,
                        span: 0..0,
                        at: Some(value.referenced),
                        node: value.value,
                    });
                }
                Ok(Node::Table(entries))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
                let mut entries = Vec::new();
                while let Some(value) = seq.next_element::<serde_saphyr::Spanned<Node>>()? {
                    let key = String::new();
                    entries.push(Entry {
                        key,
                        span: 0..0,
                        at: Some(value.referenced),
                        node: value.value,
                    });
                }
                Ok(Node::List(entries))
            }
            fn visit_bool<E>(self, _: bool) -> Result<Node, E> {
                Ok(Node::Leaf)
            }
            fn visit_i64<E>(self, _: i64) -> Result<Node, E> {
                Ok(Node::Leaf)
            }
            fn visit_u64<E>(self, _: u64) -> Result<Node, E> {
                Ok(Node::Leaf)
            }
            fn visit_f64<E>(self, _: f64) -> Result<Node, E> {
                Ok(Node::Leaf)
            }
            fn visit_str<E>(self, _: &str) -> Result<Node, E> {
                Ok(Node::Leaf)
            }
            fn visit_unit<E>(self) -> Result<Node, E> {
                Ok(Node::Leaf)
            }
        }
        deserializer.deserialize_any(Any)
    }
}
