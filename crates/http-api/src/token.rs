//! Tokens: who may do what. They are shown once, and kept as their SHA-256 in `.etcdup/tokens.json`
//! beside the topologies.

use std::fmt;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use etcdup_core::digest::sha256;
use etcdup_deploy::{Store, StoreError};
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

/// What every token begins with, so that a scanner for secrets finds one that was committed.
const PREFIX: &str = "etcdup_";

/// What a token allows; each role allows what those before it do.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Sees clusters, plans and operations.
    Viewer,
    /// Plans and applies as well.
    Operator,
    /// Resets, accepts outages, makes tokens and reads the audit trail as well.
    Admin,
}

/// A token as it is kept, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Token {
    /// Its id, which is no secret.
    pub id: String,
    /// Who has it.
    pub name: String,
    /// What it allows.
    pub role: Role,
    /// When it was made.
    pub made: Timestamp,
    /// When it ends.
    pub ends: Timestamp,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Kept {
    #[serde(flatten)]
    token: Token,
    sha256: String,
}

/// Why tokens cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be used.
    #[error("cannot use {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file is not what etcdup writes there.
    #[error("{path} is damaged")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// Others may read or write the file.
    #[error("{0} can be read or written by others: give it mode 600, or delete it")]
    Open(PathBuf),
    /// The directory cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The name is none.
    #[error("a token's name has 1 to 60 letters, digits, `@`, `.`, `_` and `-`")]
    Name,
    /// It would end before it begins, or never.
    #[error("a token is valid for 1 to 400 days")]
    Life,
    /// There is none of this id.
    #[error("there is no token `{0}`")]
    Unknown(String),
}

/// The tokens of a directory of topologies.
#[derive(Debug, Clone)]
pub struct Tokens {
    directory: PathBuf,
    store: Store,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Admin => "admin",
        })
    }
}

impl std::str::FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let roles = [Role::Viewer, Role::Operator, Role::Admin];
        let found = roles.into_iter().find(|role| role.to_string() == text);
        found.ok_or_else(|| format!("`{text}` is none of viewer, operator and admin"))
    }
}

impl Tokens {
    /// The tokens of topologies in this directory.
    #[must_use]
    pub fn beside(directory: &Path) -> Self {
        Self {
            directory: directory.join(".etcdup"),
            store: Store::beside(directory),
        }
    }

    /// Makes a token and returns its secret, which is kept nowhere.
    ///
    /// # Errors
    /// When the name or the time is out of bounds, or the file cannot be written.
    pub fn create(
        &self,
        name: &str,
        role: Role,
        life: SignedDuration,
    ) -> Result<(Token, String), TokenError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "@._-".contains(c);
        if name.is_empty() || name.len() > 60 || !name.chars().all(plain) {
            return Err(TokenError::Name);
        }
        if life < SignedDuration::from_mins(1) || life > SignedDuration::from_hours(24 * 400) {
            return Err(TokenError::Life);
        }
        let mut random = [0_u8; 32];
        getrandom::fill(&mut random).map_err(|error| TokenError::File {
            path: "/dev/urandom".into(),
            source: std::io::Error::other(error),
        })?;
        let secret = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random));
        let now = Timestamp::now();
        let digest = sha256(secret.as_bytes());
        let token = Token {
            // Of the digest, so that it tells nothing about the secret.
            id: digest.chars().take(12).collect(),
            name: name.to_owned(),
            role,
            made: now,
            ends: now + life,
        };
        let kept = Kept {
            token: token.clone(),
            sha256: digest,
        };
        self.change(|tokens| {
            tokens.retain(|kept| kept.token.ends > now);
            tokens.push(kept);
            Ok(())
        })?;
        Ok((token, secret))
    }

    /// The tokens that have not ended, the newest last.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn list(&self) -> Result<Vec<Token>, TokenError> {
        let now = Timestamp::now();
        let tokens = self.read()?.into_iter().map(|kept| kept.token);
        Ok(tokens.filter(|token| token.ends > now).collect())
    }

    /// Ends a token.
    ///
    /// # Errors
    /// When there is none of this id, or the file cannot be written.
    pub fn revoke(&self, id: &str) -> Result<(), TokenError> {
        self.change(|tokens| {
            let before = tokens.len();
            tokens.retain(|kept| kept.token.id != id);
            if tokens.len() == before {
                return Err(TokenError::Unknown(id.to_owned()));
            }
            Ok(())
        })
    }

    /// The token whose secret this is.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn find(&self, secret: &str) -> Result<Option<Token>, TokenError> {
        let digest = sha256(secret.as_bytes());
        let is_it = |kept: &Kept| bool::from(kept.sha256.as_bytes().ct_eq(digest.as_bytes()));
        let now = Timestamp::now();
        let found = self.read()?.into_iter().filter(is_it);
        let mut found = found.map(|kept| kept.token);
        Ok(found.find(|token| token.ends > now))
    }

    fn path(&self) -> PathBuf {
        self.directory.join("tokens.json")
    }

    fn read(&self) -> Result<Vec<Kept>, TokenError> {
        let path = self.path();
        let read = || -> std::io::Result<(u32, Vec<u8>)> {
            let mut file = File::open(&path)?;
            let mode = file.metadata()?.permissions().mode();
            let mut text = Vec::new();
            file.read_to_end(&mut text)?;
            Ok((mode, text))
        };
        let (mode, text) = match read() {
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(TokenError::File { path, source }),
        };
        // One that came with a checkout, or that others may write, is not what etcdup wrote.
        if mode & 0o077 != 0 {
            return Err(TokenError::Open(path));
        }
        serde_json::from_slice(&text).map_err(|source| TokenError::Damaged { path, source })
    }

    /// Changes the file under a lock, since the server and a person at a terminal may both: it is
    /// written beside its name and renamed, for nobody but its owner to read.
    fn change(
        &self,
        change: impl FnOnce(&mut Vec<Kept>) -> Result<(), TokenError>,
    ) -> Result<(), TokenError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| TokenError::File { path, source }
        };
        self.store.prepare()?;
        let lock_path = self.directory.join("tokens.lock");
        let lock = File::create(&lock_path).map_err(failed(&lock_path))?;
        lock.lock().map_err(failed(&lock_path))?;
        let mut tokens = self.read()?;
        change(&mut tokens)?;
        let path = self.path();
        let write = || -> std::io::Result<()> {
            // Made with mode 600.
            let mut file = tempfile::NamedTempFile::new_in(&self.directory)?;
            serde_json::to_writer_pretty(&mut file, &tokens)?;
            file.write_all(b"\n")?;
            file.as_file().sync_all()?;
            file.persist(&path)?;
            Ok(())
        };
        write().map_err(failed(&path))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests say what they expect")]

    use super::*;

    #[test]
    fn a_token_is_known_until_it_ends_or_is_revoked_and_its_secret_is_kept_nowhere() {
        let place = tempfile::tempdir().unwrap();
        let tokens = Tokens::beside(place.path());
        assert_eq!(tokens.list().unwrap(), []);
        let day = SignedDuration::from_hours(24);
        let (token, secret) = tokens.create("ann@laptop", Role::Operator, day).unwrap();
        let (_, other) = tokens.create("bob", Role::Viewer, day).unwrap();
        assert_ne!(secret, other);
        assert_eq!(tokens.find(&secret).unwrap(), Some(token.clone()));
        assert_eq!(tokens.find(&secret[..secret.len() - 1]).unwrap(), None);
        assert_eq!(tokens.find("").unwrap(), None);
        let file = tokens.path();
        assert!(!std::fs::read_to_string(&file).unwrap().contains(&secret));
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        tokens.revoke(&token.id).unwrap();
        assert_eq!(tokens.find(&secret).unwrap(), None);
        assert!(matches!(
            tokens.revoke(&token.id),
            Err(TokenError::Unknown(_))
        ));
        assert_eq!(tokens.list().unwrap().len(), 1);
    }

    #[test]
    fn what_is_no_name_or_no_time_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let tokens = Tokens::beside(place.path());
        let day = SignedDuration::from_hours(24);
        for name in ["", "a b", "x\n", &"x".repeat(61)] {
            let refused = tokens.create(name, Role::Viewer, day);
            assert!(matches!(refused, Err(TokenError::Name)), "{name:?}");
        }
        for life in [SignedDuration::ZERO, SignedDuration::from_hours(24 * 401)] {
            let refused = tokens.create("ann", Role::Viewer, life);
            assert!(matches!(refused, Err(TokenError::Life)));
        }
    }

    #[test]
    fn a_damaged_file_lets_nobody_in() {
        let place = tempfile::tempdir().unwrap();
        let tokens = Tokens::beside(place.path());
        std::fs::create_dir(place.path().join(".etcdup")).unwrap();
        std::fs::write(tokens.path(), "[]").unwrap();
        assert!(matches!(tokens.find("x"), Err(TokenError::Open(_))));
        let private = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(tokens.path(), private).unwrap();
        std::fs::write(tokens.path(), "[{").unwrap();
        assert!(matches!(tokens.find("x"), Err(TokenError::Damaged { .. })));
    }
}
