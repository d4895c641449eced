//! known_hosts: strict by default, `@revoked` and hashed names honored, a changed key refused with
//! both fingerprints.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Mutex;

use hmac::{Hmac, KeyInit, Mac};
use russh::keys::ssh_key::known_hosts::{Entry, HostPatterns, Marker};
use russh::keys::{Algorithm, HashAlg, PublicKey};
use sha1::Sha1;

use super::config::Resolved;
use super::options::{SshOptions, UnknownHosts};
use crate::error::{HostKeyError, SshError};

pub(super) struct KnownHosts {
    files: Vec<(PathBuf, String)>,
    policy: UnknownHosts,
    learning: Mutex<()>,
}

impl KnownHosts {
    pub(super) fn load(options: &SshOptions, hop: &Resolved) -> Result<Self, SshError> {
        let paths = options
            .known_hosts
            .clone()
            .map_or_else(|| hop.known_hosts.clone(), |file| vec![file]);
        let mut files = Vec::new();
        for path in paths {
            let text = match std::fs::read(&path) {
                Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
                Err(error) => {
                    return Err(HostKeyError::File {
                        file: path.display().to_string(),
                        why: error.to_string(),
                    }
                    .into());
                }
            };
            files.push((path, text));
        }
        Ok(Self {
            files,
            policy: options.unknown_hosts,
            learning: Mutex::new(()),
        })
    }

    /// The kinds of key that are written down for a host.
    pub(super) fn recorded(&self, label: &str) -> Vec<Algorithm> {
        let entries = self.files.iter().flat_map(|(_, text)| entries(text));
        entries
            .filter(|(_, entry)| entry.marker().is_none() && matches(entry.host_patterns(), label))
            .map(|(_, entry)| entry.public_key().algorithm())
            .collect()
    }

    pub(super) fn check(&self, label: &str, key: &PublicKey) -> Result<(), HostKeyError> {
        let fingerprint = key.fingerprint(HashAlg::Sha256).to_string();
        let mut trusted = false;
        let mut changed = None;
        let mut known_by_another = false;
        for (path, text) in &self.files {
            for (line, entry) in
                entries(text).filter(|(_, entry)| matches(entry.host_patterns(), label))
            {
                let same = entry.public_key().key_data() == key.key_data();
                let file = path.display().to_string();
                match entry.marker() {
                    Some(Marker::Revoked) if same => {
                        return Err(HostKeyError::Revoked {
                            host: label.to_owned(),
                            file,
                            line,
                            fingerprint,
                        });
                    }
                    Some(_) => {}
                    None if same => trusted = true,
                    None if entry.public_key().algorithm() == key.algorithm() => {
                        let known = entry.public_key().fingerprint(HashAlg::Sha256).to_string();
                        changed = Some(HostKeyError::Changed {
                            host: label.to_owned(),
                            file,
                            line,
                            known,
                            fingerprint: fingerprint.clone(),
                        });
                    }
                    // A host that is known by another kind of key and does not show that one is not
                    // new.
                    None => known_by_another = true,
                }
            }
        }
        match (trusted, changed, self.policy) {
            (true, _, _) | (_, _, UnknownHosts::AcceptAny) => Ok(()),
            (false, Some(changed), _) => Err(changed),
            (false, None, UnknownHosts::AcceptNew) if !known_by_another => self.learn(label, key),
            (false, None, UnknownHosts::AcceptNew | UnknownHosts::Refuse) => {
                let file = self
                    .files
                    .first()
                    .map(|(path, _)| path.display().to_string())
                    .unwrap_or_default();
                Err(HostKeyError::Unknown {
                    host: label.to_owned(),
                    file,
                    fingerprint,
                })
            }
        }
    }

    fn learn(&self, label: &str, key: &PublicKey) -> Result<(), HostKeyError> {
        let _one = self.learning.lock();
        let Some((path, text)) = self.files.first() else {
            return Ok(());
        };
        let refuse = |why: String| HostKeyError::File {
            file: path.display().to_string(),
            why,
        };
        let key = key
            .to_openssh()
            .map_err(|error| refuse(error.to_string()))?;
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(|error| refuse(error.to_string()))?;
        }
        let mut options = std::fs::OpenOptions::new();
        options.create(true).append(true);
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options
            .open(path)
            .map_err(|error| refuse(error.to_string()))?;
        let gap = if text.is_empty() || text.ends_with('\n') {
            ""
        } else {
            "\n"
        };
        file.write_all(format!("{gap}{label} {key}\n").as_bytes())
            .map_err(|error| refuse(error.to_string()))
    }
}

fn entries(text: &str) -> impl Iterator<Item = (usize, Entry)> {
    text.lines().enumerate().filter_map(|(index, line)| {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return None;
        }
        let one_space = line.split_whitespace().collect::<Vec<_>>().join(" ");
        Some((index + 1, one_space.parse().ok()?))
    })
}

fn matches(patterns: &HostPatterns, label: &str) -> bool {
    match patterns {
        HostPatterns::HashedName { salt, hash } => Hmac::<Sha1>::new_from_slice(salt)
            .is_ok_and(|mac| mac.chain_update(label).verify_slice(hash).is_ok()),
        HostPatterns::Patterns(list) => {
            let mut hit = false;
            for pattern in list {
                let (negated, pattern) = pattern
                    .strip_prefix('!')
                    .map_or((false, pattern.as_str()), |rest| (true, rest));
                if glob(pattern.to_ascii_lowercase().as_bytes(), label.as_bytes()) {
                    if negated {
                        return false;
                    }
                    hit = true;
                }
            }
            hit
        }
    }
}

fn glob(pattern: &[u8], text: &[u8]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some((b'*', rest)) => (0..=text.len()).any(|skip| glob(rest, &text[skip..])),
        Some((b'?', rest)) => !text.is_empty() && glob(rest, &text[1..]),
        Some((first, rest)) => text.first() == Some(first) && glob(rest, &text[1..]),
    }
}

#[cfg(test)]
#[path = "host_key_tests.rs"]
mod tests;
