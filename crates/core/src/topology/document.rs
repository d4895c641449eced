//! The topology file as text: parsing it, changing it by `--set`, and finding the place of a key in it.

use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::spec::Spec;

/// A byte range of the file's text.
pub type Span = Range<usize>;

/// A place in the topology, such as `member[1].flags.quota-backend-bytes`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyPath(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Key(String),
    Index(usize),
}

impl KeyPath {
    /// The place of a top-level key.
    #[must_use]
    pub fn root(key: &str) -> Self {
        Self(vec![Part::Key(key.to_owned())])
    }

    /// The place of the member with this index in the file.
    #[must_use]
    pub fn member(index: usize) -> Self {
        Self(vec![Part::Key("member".to_owned()), Part::Index(index)])
    }

    /// The place of an element of this list.
    #[must_use]
    pub fn index(mut self, index: usize) -> Self {
        self.0.push(Part::Index(index));
        self
    }

    /// The place of a key below this one.
    #[must_use]
    pub fn key(mut self, key: &str) -> Self {
        self.0.push(Part::Key(key.to_owned()));
        self
    }
}

impl serde::Serialize for KeyPath {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, part) in self.0.iter().enumerate() {
            match part {
                Part::Key(key) if position > 0 => write!(f, ".{key}")?,
                Part::Key(key) => f.write_str(key)?,
                Part::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

impl std::str::FromStr for KeyPath {
    type Err = SetError;
    fn from_str(text: &str) -> Result<Self, SetError> {
        let malformed = || SetError::Malformed(text.to_owned());
        let mut parts = Vec::new();
        for word in text.split('.') {
            let (key, mut rest) = word.split_at(word.find('[').unwrap_or(word.len()));
            if !key.is_empty() {
                parts.push(Part::Key(key.to_owned()));
            }
            while let Some(inner) = rest.strip_prefix('[') {
                let (index, tail) = inner.split_once(']').ok_or_else(malformed)?;
                parts.push(Part::Index(index.parse().map_err(|_| malformed())?));
                rest = tail;
            }
            if !rest.is_empty() || word.is_empty() {
                return Err(malformed());
            }
        }
        Ok(Self(parts))
    }
}

/// A `--set` that cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    /// It is not of the form `path=value`.
    #[error("`--set {0}` is not of the form path=value, such as member[0].address=10.0.0.5")]
    Malformed(String),
    /// The path leads through something that holds no such part.
    #[error("`--set {path}` does not exist: no such key: `{part}`")]
    Nowhere {
        /// The path as given.
        path: String,
        /// The part that is missing.
        part: String,
    },
}

/// A file that is not a topology.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ParseError {
    /// What is wrong, without the place.
    pub message: String,
    /// Where it is wrong.
    pub span: Option<Span>,
    /// What to do next.
    pub help: Option<String>,
}

/// A topology file's text and what it says.
///
/// ```
/// let text = "format = 1\ncluster = \"prod\"\netcd = \"3.5.30\"\n[[member]]\nname = \"m1\"\nhost = \"10.0.1.10\"\n";
/// let document = etcdup_core::topology::Document::parse("etcdup.toml", text, &[])?;
/// assert_eq!(document.spec.member.len(), 1);
/// # Ok::<(), etcdup_core::topology::ParseError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Document {
    /// The file's name, for messages.
    pub name: String,
    /// Its text.
    pub text: String,
    /// What it says.
    pub spec: Spec,
    /// What `--set` changed, as given.
    pub sets: Vec<String>,
    places: Node,
}

impl Document {
    /// Parses TOML, or YAML (so JSON too) where the name ends in `.yaml`, `.yml` or `.json`; then applies `sets`,
    /// each `path=value`.
    ///
    /// # Errors
    /// At the first fault of syntax or shape, with its place.
    pub fn parse(name: &str, text: &str, sets: &[String]) -> Result<Self, ParseError> {
        let yaml = [".yaml", ".yml", ".json"]
            .iter()
            .any(|ending| name.ends_with(ending));
        check_format(name, text, yaml)?;
        let (mut spec, places) = if yaml {
            parse_yaml(text)?
        } else {
            parse_toml(text)?
        };
        if !sets.is_empty() {
            spec = with_sets(&spec, sets)?;
        }
        Ok(Self {
            name: name.to_owned(),
            text: text.to_owned(),
            spec,
            sets: sets.to_vec(),
            places,
        })
    }

    /// The place of a key: its own, or that of the nearest table around it.
    #[must_use]
    pub fn find(&self, path: &KeyPath) -> Option<Span> {
        let mut node = &self.places;
        let mut span = None;
        for part in &path.0 {
            let next = match (part, node) {
                (Part::Key(key), Node::Table(entries)) => {
                    entries.iter().find(|entry| entry.key == *key)
                }
                (Part::Index(index), Node::List(entries)) => entries.get(*index),
                _ => None,
            };
            let Some(entry) = next else { return span };
            span = Some(entry.span.clone());
            node = &entry.node;
        }
        span
    }

    /// The `--set` that gave this key its value, as it was given.
    #[must_use]
    pub fn set_by(&self, path: &KeyPath) -> Option<&str> {
        self.sets
            .iter()
            .rev()
            .find(|set| {
                let given = set.split_once('=').and_then(|(set, _)| set.parse().ok());
                given.is_some_and(|given: KeyPath| path.0.starts_with(&given.0))
            })
            .map(String::as_str)
    }

    /// Whether the file itself holds this key, and `--set` has not overruled it.
    #[must_use]
    pub fn says(&self, path: &KeyPath) -> bool {
        if self.set_by(path).is_some() {
            return false;
        }
        let mut node = &self.places;
        for part in &path.0 {
            let next = match (part, node) {
                (Part::Key(key), Node::Table(entries)) => {
                    entries.iter().find(|entry| entry.key == *key)
                }
                (Part::Index(index), Node::List(entries)) => entries.get(*index),
                _ => None,
            };
            let Some(entry) = next else { return false };
            node = &entry.node;
        }
        true
    }

    /// Line and column of a place, both from 1.
    #[must_use]
    pub fn line_column(&self, span: &Span) -> (usize, usize) {
        line_column(&self.text, span)
    }
}

/// Line and column of a place in a text, both from 1.
#[must_use]
pub fn line_column(text: &str, span: &Span) -> (usize, usize) {
    let before = &text[..span.start.min(text.len())];
    let line = before.matches('\n').count() + 1;
    let column = before
        .rsplit('\n')
        .next()
        .map_or(0, |tail| tail.chars().count())
        + 1;
    (line, column)
}

/// `format` is looked at before the rest, so that a file of a later format says so and nothing else.
fn check_format(name: &str, text: &str, yaml: bool) -> Result<(), ParseError> {
    let value: Option<Value> = if yaml {
        serde_saphyr::from_str(text).ok()
    } else {
        toml::from_str(text).ok()
    };
    let Some(value) = value else { return Ok(()) };
    let line = if yaml { "format: 1" } else { "format = 1" };
    let (message, help) = match value.get("format") {
        Some(format) if format == 1 => return Ok(()),
        Some(format) => (
            format!("{name} has format {format}; this etcdup reads format 1"),
            "use the etcdup release that wrote the file".to_owned(),
        ),
        // TOML is one long text to a YAML reader.
        None if yaml && value.is_string() => (
            format!("{name} looks like TOML, and is read as YAML because of its extension"),
            "rename the file so that it ends in .toml".to_owned(),
        ),
        None if text.trim().is_empty() => (
            format!("{name} is empty"),
            "`etcdup init --force` writes a commented topology to start from".to_owned(),
        ),
        None => (
            format!("{name} lacks the key `format`"),
            format!("add the line `{line}` at the top of the file"),
        ),
    };
    // A key, not the first place where the word happens to be.
    let span = text
        .lines()
        .scan(0, |offset, line| {
            let start = *offset;
            *offset += line.len() + 1;
            Some((start, line))
        })
        .find(|(_, line)| {
            line.trim_start_matches(['"', '{', ' '])
                .starts_with("format")
        })
        .filter(|_| value.get("format").is_some())
        .map(|(start, line)| start..start + line.len());
    Err(ParseError {
        message,
        span,
        help: Some(help),
    })
}

fn parse_toml(text: &str) -> Result<(Spec, Node), ParseError> {
    let error = |error: toml::de::Error| ParseError {
        message: plain_words(&error.message().trim().replace('\n', "; ")),
        span: error.span(),
        help: help_for(error.message()),
    };
    let spec = toml::from_str(text).map_err(error)?;
    let tree = toml::de::DeTable::parse(text).map_err(error)?;
    Ok((
        spec,
        Node::from_toml(&toml::de::DeValue::Table(tree.into_inner())),
    ))
}

fn parse_yaml(text: &str) -> Result<(Spec, Node), ParseError> {
    let error = |error: serde_saphyr::Error| ParseError {
        message: first_line(&error.without_snippet().to_string()),
        span: error.location().map(|at| place_of(text, &at)),
        help: help_for(&error.to_string()),
    };
    let options = || serde_saphyr::options! { strict_booleans: true };
    let spec = serde_saphyr::from_str_with_options(text, options()).map_err(error)?;
    let mut places: Node = serde_saphyr::from_str_with_options(text, options()).map_err(error)?;
    places.locate(text);
    Ok((spec, places))
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim().to_owned()
}

fn help_for(message: &str) -> Option<String> {
    if message.contains("duplicate entry") || message.contains("duplicate mapping key") {
        return Some("remove one of the two; only one value can be meant".to_owned());
    }
    let rest = message.split_once("unknown field `")?.1;
    let (found, expected) = rest.split_once('`')?;
    // serde lists the keys that there are, each in backquotes.
    let near = expected
        .split('`')
        .skip(1)
        .step_by(2)
        .map(|key| (strsim::jaro_winkler(key, found), key))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    Some(match (found, near) {
        ("members", _) => "write [[member]], once for each member".to_owned(),
        (_, Some((_, key))) => format!("did you mean `{key}`?"),
        (_, None) => {
            "`etcdup schema` prints all keys; `etcdup init` writes a commented topology".to_owned()
        }
    })
}

/// A library's message without its advice to programmers, and with ranges that a reader knows.
fn plain_words(message: &str) -> String {
    let message = message
        .split(", set DuplicateKeyPolicy")
        .next()
        .unwrap_or_default();
    let message = message
        .split("; set DuplicateKeyPolicy")
        .next()
        .unwrap_or_default();
    message
        .replace("expected u16", "expected a number from 0 to 65535")
        .replace("expected u32", "expected a number from 0 to 4294967295")
        .replace("expected i64", "expected a whole number")
}

fn place_of(text: &str, at: &serde_saphyr::Location) -> Span {
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

fn with_sets(spec: &Spec, sets: &[String]) -> Result<Spec, ParseError> {
    let plain = |message: String| ParseError {
        message,
        span: None,
        help: None,
    };
    let mut value = serde_json::to_value(spec).map_err(|error| plain(error.to_string()))?;
    for set in sets {
        let mut read = value.clone();
        apply_set(&mut read, set, set_value).map_err(|error| plain(error.to_string()))?;
        if Spec::deserialize(read.clone()).is_err() {
            // A text that looks like a number, such as a token of digits.
            let mut text = value.clone();
            let as_text = |text: &str| Value::String(text.to_owned());
            apply_set(&mut text, set, as_text).map_err(|error| plain(error.to_string()))?;
            if Spec::deserialize(text.clone()).is_ok() {
                read = text;
            }
        }
        value = read;
    }
    Spec::deserialize(value).map_err(|error| ParseError {
        message: format!("after --set {}: {error}", sets.join(" --set ")),
        span: None,
        help: help_for(&error.to_string()),
    })
}

fn apply_set(root: &mut Value, set: &str, read: impl Fn(&str) -> Value) -> Result<(), SetError> {
    let (path, text) = set
        .split_once('=')
        .ok_or_else(|| SetError::Malformed(set.to_owned()))?;
    let parts = path.parse::<KeyPath>()?.0;
    let nowhere = |part: &Part| SetError::Nowhere {
        path: path.to_owned(),
        part: KeyPath(vec![part.clone()]).to_string(),
    };
    let mut place = root;
    for part in &parts {
        place = match part {
            Part::Key(key) => {
                if place.is_null() {
                    *place = Value::Object(serde_json::Map::new());
                }
                let table = place.as_object_mut().ok_or_else(|| nowhere(part))?;
                table.entry(key.clone()).or_insert(Value::Null)
            }
            Part::Index(index) => place.get_mut(*index).ok_or_else(|| nowhere(part))?,
        };
    }
    *place = read(text);
    Ok(())
}

/// A TOML value where the text is one, text otherwise: `5`, `true`, `["a"]`, `10.0.0.5`.
fn set_value(text: &str) -> Value {
    toml::from_str::<Value>(&format!("v = {text}"))
        .ok()
        .and_then(|table| table.get("v").cloned())
        .unwrap_or_else(|| Value::String(text.to_owned()))
}

/// The places of all keys.
#[derive(Debug, Clone)]
enum Node {
    Table(Vec<Entry>),
    List(Vec<Entry>),
    Leaf,
}

#[derive(Debug, Clone)]
struct Entry {
    key: String,
    span: Span,
    at: Option<serde_saphyr::Location>,
    node: Node,
}

impl Node {
    fn from_toml(value: &toml::de::DeValue<'_>) -> Self {
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
    fn locate(&mut self, text: &str) {
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

#[cfg(test)]
#[path = "document_tests.rs"]
mod tests;
