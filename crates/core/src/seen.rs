//! What was seen, and why something was not.

use std::fmt;

use serde::Serialize;

/// Something that was looked for. Why it was not seen is evidence, and what was not seen counts as unsafe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Seen<T> {
    /// It was seen.
    Yes(T),
    /// It was not.
    No(Unseen),
}

/// Why something was not seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unseen {
    /// The reason, such as `connection refused`.
    pub why: String,
}

impl<T> Seen<T> {
    /// Not seen, for this reason.
    #[must_use]
    pub fn no(why: impl Into<String>) -> Self {
        Seen::No(Unseen { why: why.into() })
    }

    /// What was seen.
    #[must_use]
    pub fn yes(&self) -> Option<&T> {
        match self {
            Seen::Yes(value) => Some(value),
            Seen::No(_) => None,
        }
    }

    /// What was seen, to change it.
    #[must_use]
    pub fn yes_mut(&mut self) -> Option<&mut T> {
        match self {
            Seen::Yes(value) => Some(value),
            Seen::No(_) => None,
        }
    }
}

impl fmt::Display for Unseen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}
