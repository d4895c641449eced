//! What was observed, and why something was not.

use std::fmt;

use serde::Serialize;

use crate::plain::harmless;

/// Something that was asked for. Why it is not known is evidence, and what is not known counts as
/// unsafe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Observed<T> {
    /// It was observed.
    Known(T),
    /// It was not.
    Unknown(Unobserved),
}

/// Why something is not known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unobserved {
    /// The reason, such as `connection refused`.
    pub why: String,
    /// What kind of reason that is, where it decides anything.
    #[serde(skip)]
    pub cause: Cause,
}

/// A kind of reason for which something is not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Cause {
    /// Any other.
    #[default]
    Other,
    /// etcd's own authentication refused the question: the member runs, and etcdup has no etcd user
    /// that may ask.
    Denied,
    /// Nothing answers at the host's address, or its name does not resolve.
    Unreachable,
    /// The host's key is not known, or is another one.
    HostKey,
    /// The host refuses the login.
    Login,
    /// The login works, and sudo does not.
    Sudo,
    /// The way through jump hosts, or through a ProxyCommand, cannot be taken.
    JumpHost,
    /// It was not asked: nothing is known of it, neither good nor bad.
    NotAsked,
}

/// Nothing asked for, nothing there.
impl<T> Default for Observed<Option<T>> {
    fn default() -> Self {
        Observed::Known(None)
    }
}

impl<T> Observed<T> {
    /// Not known, for this reason.
    #[must_use]
    pub fn unknown(why: impl Into<String>) -> Self {
        Self::unknown_for(Cause::Other, why)
    }

    /// Not known, since etcd's own authentication refused the question.
    #[must_use]
    pub fn denied(why: impl Into<String>) -> Self {
        Self::unknown_for(Cause::Denied, why)
    }

    /// Not known, for this reason of this kind.
    #[must_use]
    pub fn unknown_for(cause: Cause, why: impl Into<String>) -> Self {
        Observed::Unknown(Unobserved {
            // Often in a host's own words.
            why: harmless(&why.into()),
            cause,
        })
    }

    /// Why it is not known, where it is not.
    #[must_use]
    pub fn why(&self) -> Option<&str> {
        match self {
            Observed::Known(_) => None,
            Observed::Unknown(unseen) => Some(&unseen.why),
        }
    }

    /// What was observed.
    #[must_use]
    pub fn known(&self) -> Option<&T> {
        match self {
            Observed::Known(value) => Some(value),
            Observed::Unknown(_) => None,
        }
    }

    /// What was observed, to change it.
    #[must_use]
    pub fn known_mut(&mut self) -> Option<&mut T> {
        match self {
            Observed::Known(value) => Some(value),
            Observed::Unknown(_) => None,
        }
    }
}

impl Unobserved {
    /// Whether nothing is known, where the other causes say that what was asked for is not well.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        match self.cause {
            Cause::Other | Cause::Denied => false,
            Cause::Unreachable
            | Cause::HostKey
            | Cause::Login
            | Cause::Sudo
            | Cause::JumpHost
            | Cause::NotAsked => true,
        }
    }
}

impl fmt::Display for Unobserved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}
