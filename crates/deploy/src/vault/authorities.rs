//! The CAs of a cluster, from their files, an environment variable or a command.

use std::path::{Path, PathBuf};

use etcdup_core::digest::sha256;
use etcdup_core::secret::Secret;
use etcdup_pki::Ca;

use super::Vault;
use super::places::place;

impl Vault {
    /// The CA's certificate.
    #[must_use]
    pub fn certificate_file(&self) -> PathBuf {
        let given = self.spec.certificates.ca.cert.as_ref();
        place(&self.spec, &self.base, given, "ca.crt")
    }

    pub(super) fn key_file(&self) -> PathBuf {
        let given = self.spec.certificates.ca.key.as_ref();
        place(&self.spec, &self.base, given, "ca.key")
    }

    /// Whether the file says where a key is to come from: then a missing certificate is a mistake,
    /// and no CA is made.
    fn names_a_key(&self) -> bool {
        let ca = &self.spec.certificates.ca;
        ca.key.is_some() || ca.key_env.is_some() || ca.key_command.is_some()
    }

    pub(super) fn load(&self) -> Result<Option<Ca>, String> {
        let path = self.certificate_file();
        let certificate = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return if self.names_a_key() {
                    Err(format!(
                        "{} is missing, although the topology names its key",
                        path.display()
                    ))
                } else {
                    Ok(None)
                };
            }
            Err(error) => return Err(format!("{}: {error}", path.display())),
        };
        check_whole(&path, &certificate)?;
        let key = self.key()?;
        Ca::load(&certificate, key.as_ref())
            .map(Some)
            .map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Why no new CA is made: the key that is left in its place is that of a CA that is trusted
    /// beside it, whose certificate alone was moved aside.
    pub(super) fn left_key(&self) -> Option<String> {
        // Elsewhere the key is not looked at: it may be a command's to print.
        if self.ca.is_some() || self.trusted.is_empty() {
            return None;
        }
        let key = self.key().ok().flatten()?;
        let mut trusted = self.trusted.iter().flatten();
        let of = |ca: &Ca| Ca::load(ca.certificate(), Some(&key)).is_ok();
        trusted.any(of).then(|| {
            format!(
                "{} is the key of a CA that certificates.trust names; move it beside that CA's certificate, ending in .key",
                self.key_file().display()
            )
        })
    }

    /// Whether more than one CA is trusted, so that a certificate of the own one may not be
    /// accepted by every member yet.
    #[must_use]
    pub fn is_between_cas(&self) -> bool {
        !self.trusted.is_empty()
    }

    /// The CAs that the file names under `trust`.
    pub(super) fn load_all_trusted(&self) -> Vec<Result<Ca, String>> {
        let written = self.trusted_file();
        let load = |path: &camino::Utf8PathBuf| match self.base.join(path) {
            path if path == written => Err(format!(
                "{}: `etcdup connect` writes to this name; give the CA's certificate another",
                path.display()
            )),
            path => load_trusted(&path),
        };
        self.spec.certificates.trust.iter().map(load).collect()
    }

    pub(super) fn trusted_file(&self) -> PathBuf {
        self.directory().join("trusted.crt")
    }

    /// SHA-256 of what a CA file is to hold, hex, where there is a CA here.
    #[must_use]
    pub fn ca_file(&self) -> Option<String> {
        let own = self.needs_ca() && self.ca.is_some();
        own.then(|| sha256(self.bundle().as_bytes()))
    }

    fn key(&self) -> Result<Option<Secret>, String> {
        let ca = &self.spec.certificates.ca;
        if let Some(variable) = &ca.key_env {
            let text = std::env::var(variable)
                .map_err(|_| format!("the variable {variable} of key-env is not set"))?;
            return Ok(Some(Secret::new(text)));
        }
        if let Some((program, arguments)) = ca
            .key_command
            .as_ref()
            .and_then(|command| command.split_first())
        {
            let output = std::process::Command::new("timeout")
                .arg("60")
                .arg(program)
                .args(arguments)
                .current_dir(&self.base)
                .output()
                .map_err(|error| format!("key-command `{program}`: {error}"))?;
            if !output.status.success() {
                let said = String::from_utf8_lossy(&output.stderr)
                    .lines()
                    .last()
                    .unwrap_or_default()
                    .to_owned();
                return Err(format!("key-command `{program}` failed: {said}"));
            }
            return Ok(Some(Secret::new(
                String::from_utf8_lossy(&output.stdout).into_owned(),
            )));
        }
        match std::fs::read_to_string(self.key_file()) {
            Ok(text) => Ok(Some(Secret::new(text))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("{}: {error}", self.key_file().display())),
        }
    }
}

/// Refuses a file that holds anything but certificates: it goes to every host as it is, and etcd
/// would not start with a key in it.
fn check_whole(path: &Path, certificate: &str) -> Result<(), String> {
    match etcdup_pki::damage(certificate) {
        Some(why) => Err(format!(
            "{}: etcd would not start with it: {why}",
            path.display()
        )),
        None => Ok(()),
    }
}

/// A CA that is trusted beside the own one; its key lies beside it where it is here.
fn load_trusted(path: &Path) -> Result<Ca, String> {
    let failed =
        |error: &dyn std::fmt::Display, path: &Path| format!("{}: {error}", path.display());
    let certificate = std::fs::read_to_string(path).map_err(|error| failed(&error, path))?;
    check_whole(path, &certificate)?;
    let beside = path.with_extension("key");
    let key = match std::fs::read_to_string(&beside) {
        Ok(text) => Some(Secret::new(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(failed(&error, &beside)),
    };
    Ca::load(&certificate, key.as_ref()).map_err(|error| failed(&error, path))
}
