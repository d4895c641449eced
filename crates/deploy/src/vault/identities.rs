//! What etcdup shows to members, and what it accepts of them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use etcdup_client::{Access, Identities};
use etcdup_core::certificate::{Algorithm, CertRequest, Issuer, Subject, Usage};
use etcdup_core::file::TransportSecurity;
use etcdup_core::plain::chain;
use etcdup_core::secret::Secret;
use etcdup_pki::{Ca, inspect};
use jiff::{SignedDuration, Timestamp};

use super::files::write;
use super::{OperatorPair, Vault, VaultError};

impl Vault {
    /// How members are spoken to. The operator's own certificates are issued in memory, for an
    /// hour.
    ///
    /// # Errors
    /// When there is no certificate to show and members demand one.
    pub fn access(&mut self, now: Timestamp) -> Result<Access, VaultError> {
        let wanted = self.spec.security.client_tls();
        if wanted == TransportSecurity::Plain && self.ca.is_none() {
            return Ok(Access::Plain);
        }
        // Before a new CA is made, members are known by those that they trust already.
        let ca = match self.ca() {
            Err(VaultError::NoCa(_)) if self.trusted.iter().any(Result::is_ok) => self.bundle(),
            ca => ca?,
        };
        if let Some((clients, until)) = &self.operator
            && now < *until
        {
            let clients = clients.clone();
            return Ok(Access::Tls { ca, clients });
        }
        // A member may demand what the file does not, or not any more.
        let pairs = match self.operator_pairs(now) {
            Err(_) if wanted != TransportSecurity::Mutual => Vec::new(),
            pairs => pairs?,
        };
        let clients = Identities::new(pairs);
        // Valid for an hour; a session that lives longer gets others in time.
        self.operator = Some((clients.clone(), now + SignedDuration::from_mins(50)));
        Ok(Access::Tls { ca, clients })
    }

    /// A certificate of every CA that members may trust, the own one's first.
    fn operator_pairs(&self, now: Timestamp) -> Result<Vec<(String, Secret)>, VaultError> {
        if self.spec.certificates.provided.is_some() {
            return Ok(vec![self.provided_pair()?]);
        }
        let own = self.issuer();
        let first = match &own {
            Ok(ca) => Some(self.pair_of(ca, now)),
            Err(_) => None,
        };
        let trusted = self.trusted.iter().flatten();
        let further: Vec<_> = trusted
            .filter_map(|ca| self.pair_of(ca, now).ok())
            .collect();
        match first {
            Some(Ok(pair)) => Ok(std::iter::once(pair).chain(further).collect()),
            Some(Err(error)) if further.is_empty() => Err(error),
            None if further.is_empty() => Err(own.err().unwrap_or(VaultError::NoOperator)),
            Some(Err(error)) => {
                tracing::debug!(error = chain(&error), "the CA issues no certificate");
                Ok(further)
            }
            None => Ok(further),
        }
    }

    fn provided_pair(&self) -> Result<(String, Secret), VaultError> {
        let provided = self.spec.certificates.provided.as_ref();
        let pair = provided.and_then(|provided| provided.client_pair());
        let (cert, key) = pair.ok_or(VaultError::NoOperator)?;
        let fill = |path: &str| {
            let first = self.spec.member.first();
            let name = first.and_then(|member| member.name.as_ref());
            path.replace("{member}", name.map_or("", |name| name.as_str()))
        };
        let certificate = self.provided(&fill(cert))?.reveal().to_owned();
        Ok((certificate, self.provided(&fill(key))?))
    }

    /// A certificate of this CA for etcdup itself.
    fn pair_of(&self, ca: &Ca, now: Timestamp) -> Result<(String, Secret), VaultError> {
        if ca.key().is_none()
            && let Some(pair) = self.existing_pair(ca, now)
        {
            return Ok(pair);
        }
        let request = CertRequest {
            name: "etcdup-operator".to_owned(),
            subject: Subject::default(),
            usage: Usage::Client,
            sans: BTreeSet::new(),
            algorithm: Algorithm::EcdsaP256,
            hours: 1,
            issuer: Issuer::Own,
        };
        let issued = ca.issue(&request, now)?;
        Ok((issued.certificate, issued.key))
    }

    /// A client certificate of this CA that is still valid, beside the CA: where its key is not
    /// here none can be issued, and looking at the cluster needs no more than one that exists.
    fn existing_pair(&self, ca: &Ca, now: Timestamp) -> Option<(String, Secret)> {
        let issuer = [ca.facts().identity()];
        let entries = std::fs::read_dir(self.directory()).ok()?;
        let mut names: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|ending| ending == "crt"))
            .collect();
        names.sort();
        names.into_iter().find_map(|path| {
            let certificate = std::fs::read_to_string(&path).ok()?;
            let facts = inspect(&certificate).ok()?;
            let ours = facts.client_auth && !facts.is_ca && facts.is_issued_by(&issuer);
            let key = std::fs::read_to_string(path.with_extension("key")).ok()?;
            (ours && facts.check_validity(now).is_ok()).then(|| (certificate, Secret::new(key)))
        })
    }

    /// Writes what a client needs into a directory: the CA's certificate, and the operator's own
    /// pair where members require one.
    ///
    /// # Errors
    /// As [`Vault::access`], and when files cannot be written.
    pub fn client_files(&mut self, directory: &Path) -> Result<OperatorPair, VaultError> {
        let Access::Tls { ca: text, clients } = self.access(Timestamp::now())? else {
            let ca = directory.join("ca.crt");
            write(&ca, &self.ca()?, 0o644)?;
            return Ok(OperatorPair { ca, own: None });
        };
        let ca = directory.join("ca.crt");
        write(&ca, &text, 0o644)?;
        let own = match clients.likeliest() {
            Some((certificate, key)) => {
                let (cert, private) = (directory.join("client.crt"), directory.join("client.key"));
                write(&private, key.reveal(), 0o600)?;
                write(&cert, certificate, 0o644)?;
                Some((cert, private))
            }
            None => None,
        };
        Ok(OperatorPair { ca, own })
    }
}
