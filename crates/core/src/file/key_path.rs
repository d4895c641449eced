//! Places in the topology, such as `member[1].flags.quota-backend-bytes`.

use std::fmt;

/// A place in the topology, such as `member[1].flags.quota-backend-bytes`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyPath(pub(super) Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
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

impl<'de> serde::Deserialize<'de> for KeyPath {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for KeyPath {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "KeyPath".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "examples": ["member[1].address"] })
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
