//! What was seen, and why something was not.

use std::fmt;

use serde::Serialize;

use crate::plain::harmless;

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
    /// What kind of reason that is, where it decides anything.
    #[serde(skip)]
    pub cause: Cause,
}

/// A kind of reason for which something was not seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Cause {
    /// Any other.
    #[default]
    Other,
    /// etcd's own authentication refused the question: the member runs, and etcdup has no etcd user that may ask.
    Denied,
    /// Nothing answers at the host's address, or its name does not resolve.
    Unreachable,
    /// The host's key is not known, or is another one.
    HostKey,
    /// The host refuses the login.
    Login,
    /// The login works, and sudo does not.
    Sudo,
    /// It was not asked: nothing is known of it, neither good nor bad.
    NotAsked,
}

/// Nothing asked for, nothing there.
impl<T> Default for Seen<Option<T>> {
    fn default() -> Self {
        Seen::Yes(None)
    }
}

impl<T> Seen<T> {
    /// Not seen, for this reason.
    #[must_use]
    pub fn no(why: impl Into<String>) -> Self {
        Self::no_for(Cause::Other, why)
    }

    /// Not seen, since etcd's own authentication refused the question.
    #[must_use]
    pub fn denied(why: impl Into<String>) -> Self {
        Self::no_for(Cause::Denied, why)
    }

    /// Not seen, for this reason of this kind.
    #[must_use]
    pub fn no_for(cause: Cause, why: impl Into<String>) -> Self {
        Seen::No(Unseen {
            // Often in a host's own words.
            why: harmless(&why.into()),
            cause,
        })
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

impl Unseen {
    /// Whether nothing is known, where the other causes say that what was asked for is not well.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        match self.cause {
            Cause::Other | Cause::Denied => false,
            Cause::Unreachable | Cause::HostKey | Cause::Login | Cause::Sudo | Cause::NotAsked => {
                true
            }
        }
    }
}

impl fmt::Display for Unseen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}
