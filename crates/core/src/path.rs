//! Paths, modes and owners on a host.
//!
//! Their characters exclude the record separator `|`, quotes, blanks and control characters, so the
//! scripts that read them have nothing to quote.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::name::{NameError, UserName, checked_text};

checked_text! {
    /// An absolute path on a host: letters, digits and `._/@:+,=-`, no `..`, no trailing slash.
    HostPath, "path", "^(/[A-Za-z0-9._@:+,=-]+)+$", check_path
}

impl HostPath {
    /// The path below this one. `name` is a file name or a relative path of safe characters.
    ///
    /// # Errors
    /// When `name` holds a character that no path on a host may hold.
    pub fn join(&self, name: &str) -> Result<Self, NameError> {
        Self::try_from(format!("{}/{name}", self.0))
    }

    /// The directory that holds this path; of `/x` that is `/`, which is no `HostPath`, hence
    /// `None`.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let (parent, _) = self.0.rsplit_once('/')?;
        (!parent.is_empty()).then(|| Self(parent.to_owned()))
    }

    /// The last part of the path.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// Whether this path is `other` or lies below it.
    #[must_use]
    pub fn is_within(&self, other: &HostPath) -> bool {
        self == other
            || self
                .0
                .strip_prefix(&other.0)
                .is_some_and(|rest| rest.starts_with('/'))
    }
}

fn check_path(text: &str) -> Result<(), &'static str> {
    if !text.starts_with('/') {
        return Err("is not absolute");
    }
    if text.len() > 1 && text.ends_with('/') {
        return Err("ends with a slash");
    }
    if text.split('/').any(|part| part == ".." || part == ".") {
        return Err("holds `.` or `..`");
    }
    if text == "/" || text.contains("//") {
        return Err("names no file or directory");
    }
    if text.len() > 1024 {
        return Err("is too long");
    }
    let safe = |c: char| c.is_ascii_alphanumeric() || "._/@:+,=-".contains(c);
    if text.chars().all(safe) {
        Ok(())
    } else {
        Err("may hold only letters, digits and `._/@:+,=-`")
    }
}

/// Permission bits, printed as `chmod` wants them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mode(u16);

impl Mode {
    /// `rw-------`: private keys.
    pub const PRIVATE: Mode = Mode(0o600);
    /// `rw-r--r--`: what everybody may read.
    pub const PUBLIC: Mode = Mode(0o644);
    /// `rwxr-xr-x`: programs and open directories.
    pub const PROGRAM: Mode = Mode(0o755);
    /// `rw-r-----`: private keys that a service's group reads and only root writes.
    pub const GROUP: Mode = Mode(0o640);
    /// `rwxr-x---`: a directory that a service's group reads and only root writes.
    pub const GROUP_DIRECTORY: Mode = Mode(0o750);
    /// `rwx------`: a directory for its owner alone.
    pub const CLOSED: Mode = Mode(0o700);

    /// Returns whether users other than the owner and its group may read.
    #[must_use]
    pub fn lets_others_read(self) -> bool {
        self.0 & 0o004 != 0
    }
}

impl TryFrom<String> for Mode {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl std::str::FromStr for Mode {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        match u16::from_str_radix(text, 8) {
            Ok(bits) if bits <= 0o7777 => Ok(Mode(bits)),
            _ => Err(NameError::new(
                "mode",
                text,
                "is not an octal number up to 7777",
            )),
        }
    }
}

impl From<Mode> for String {
    fn from(mode: Mode) -> String {
        mode.to_string()
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:o}", self.0)
    }
}

/// A user and a group of the same host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Owner {
    user: UserName,
    group: UserName,
}

impl Owner {
    /// The user and the group of that user's name.
    #[must_use]
    pub fn of(user: &UserName) -> Self {
        Self {
            user: user.clone(),
            group: user.clone(),
        }
    }
}

impl Owner {
    /// `root`, with the group of a service's user: it reads, and only root writes.
    #[must_use]
    pub fn root_for(user: &UserName) -> Self {
        Self {
            user: Self::root().user,
            group: user.clone(),
        }
    }

    /// `root:root`.
    #[must_use]
    pub fn root() -> Self {
        #[allow(clippy::expect_used, reason = "a constant that the tests parse")]
        let root: UserName = "root".parse().expect("`root` is a user name");
        Self::of(&root)
    }
}

impl std::str::FromStr for Owner {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let (user, group) = text.split_once(':').unwrap_or((text, text));
        Ok(Self {
            user: user.parse()?,
            group: group.parse()?,
        })
    }
}

impl TryFrom<String> for Owner {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<Owner> for String {
    fn from(owner: Owner) -> String {
        owner.to_string()
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.user, self.group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_would_need_quoting_is_refused() {
        for bad in [
            "", "/", "a/b", "/a b", "/a|b", "/a\n", "/a/../b", "/a/", "/a'b", "/a$b",
        ] {
            assert!(bad.parse::<HostPath>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn within_compares_whole_parts() {
        let path = |text: &str| text.parse::<HostPath>().unwrap();
        assert!(path("/var/lib/etcd/m1").is_within(&path("/var/lib/etcd")));
        assert!(!path("/var/lib/etcd2").is_within(&path("/var/lib/etcd")));
    }
}
