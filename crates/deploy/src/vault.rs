//! Keys and certificates: opened here, issued here, streamed to where they belong, wiped after.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use etcdup_client::Identities;
use etcdup_core::certificate::Algorithm;
use etcdup_core::certificate::{CertFacts, CertRequest, Issuer, Subject};
use etcdup_core::file::{ProvidedFrom, Spec, TransportSecurity};
use etcdup_core::observation::{CaView, SourceFacts};
use etcdup_core::observed::Observed;
use etcdup_core::secret::Secret;
use etcdup_core::topology::Topology;
use etcdup_pki::{Ca, CaRequest, Issued, PkiError, inspect};
use jiff::Timestamp;

use crate::vault::files::{write, write_new};

mod authorities;
pub(crate) mod cfssl;
mod error;
mod files;
mod identities;
mod places;
mod sources;

pub use error::VaultError;
pub use places::ca_certificate;
use places::own_directory;
pub(crate) use sources::inspect_binaries;
pub use sources::inspect_sources;

/// Files of a client that may ask members, on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorPair {
    /// The CA's certificate.
    pub ca: PathBuf,
    /// The client's certificate and key, where members require one.
    pub own: Option<(PathBuf, PathBuf)>,
}

/// Loads the CA and issues certificates during a run.
pub struct Vault {
    spec: Spec,
    base: PathBuf,
    ca: Option<Ca>,
    broken: Option<String>,
    /// Those of `certificates.trust`, in its order.
    trusted: Vec<Result<Ca, String>>,
    operator: Option<(Identities, Timestamp)>,
}

impl Vault {
    /// Opens what the topology names; what is broken is said when it is looked at.
    #[must_use]
    pub fn open(spec: &Spec, base: &Path) -> Self {
        let mut vault = Self {
            spec: spec.clone(),
            base: base.to_owned(),
            ca: None,
            broken: None,
            trusted: Vec::new(),
            operator: None,
        };
        if vault.spec.certificates.provided.is_none() {
            match vault.load() {
                Ok(ca) => vault.ca = ca,
                Err(why) if vault.needs_ca() => vault.broken = Some(why),
                // Members that still run with TLS are asked as long as it can be used.
                Err(why) => tracing::debug!(why, "the CA is not needed any more"),
            }
            vault.trusted = vault.load_all_trusted();
            if let Some(why) = vault.left_key() {
                vault.broken = Some(why);
            }
        }
        vault
    }

    fn needs_ca(&self) -> bool {
        let tls = self.spec.security.client_tls() != TransportSecurity::Plain
            || self.spec.security.peer != TransportSecurity::Plain;
        tls && self.spec.certificates.provided.is_none()
    }

    /// The directory of the CA and of clients' certificates.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        own_directory(&self.spec, &self.base)
    }

    /// The CA as the planner sees it.
    #[must_use]
    pub fn ca_state(&self) -> CaView {
        match (&self.ca, &self.broken) {
            _ if !self.needs_ca() => CaView::Unneeded,
            (Some(ca), _) => view_of(ca),
            (None, Some(why)) => CaView::Broken(why.clone()),
            (None, None) => CaView::Absent,
        }
    }

    /// The CAs that are trusted beside the own one, as the planner sees them.
    #[must_use]
    pub fn trusted(&self) -> Vec<CaView> {
        let view = |loaded: &Result<Ca, String>| match loaded {
            Ok(ca) => view_of(ca),
            Err(why) => CaView::Broken(why.clone()),
        };
        self.trusted.iter().map(view).collect()
    }

    /// The certificates of clients that are here, by name: those that the file names, and others
    /// that were issued beside the CA.
    #[must_use]
    pub fn clients(&self) -> BTreeMap<String, Observed<CertFacts>> {
        let one = |name: &str| match std::fs::read_to_string(
            self.directory().join(format!("{name}.crt")),
        ) {
            Err(_) => Observed::unknown("is not there"),
            Ok(text) => inspect(&text).map_or_else(
                |error| Observed::unknown(format!("cannot be used: {error}")),
                Observed::Known,
            ),
        };
        let named = self.spec.certificates.clients.iter();
        let named = named.map(|client| (client.name.to_string(), one(client.name.as_str())));
        let issued = self.issued().into_iter().map(|(file, facts)| {
            let name = file.strip_suffix(".crt").unwrap_or(&file);
            (name.to_owned(), Observed::Known(facts))
        });
        issued.chain(named).collect()
    }

    /// Certificates of clients that were issued beside the CA, by file name.
    #[must_use]
    pub fn issued(&self) -> Vec<(String, CertFacts)> {
        let entries = std::fs::read_dir(self.directory()).into_iter().flatten();
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let mut found: Vec<(String, CertFacts)> = paths
            .filter(|path| path.extension().is_some_and(|ending| ending == "crt"))
            .filter_map(|path| {
                let facts = inspect(&std::fs::read_to_string(&path).ok()?).ok()?;
                let name = path.file_name()?.to_string_lossy().into_owned();
                (!facts.is_ca).then_some((name, facts))
            })
            .collect();
        found.sort_by(|a, b| a.0.cmp(&b.0));
        found
    }

    /// What [`inspect_sources`] finds for this file.
    #[must_use]
    pub fn inspect_sources(
        &self,
        topology: Option<&Topology>,
    ) -> BTreeMap<String, Observed<SourceFacts>> {
        inspect_sources(&self.spec, &self.base, topology)
    }

    /// A provided file's content.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn provided(&self, path: &str) -> Result<Secret, VaultError> {
        let path = self.base.join(path);
        std::fs::read_to_string(&path)
            .map(Secret::new)
            .map_err(|source| VaultError::File { path, source })
    }

    /// Makes the CA: its key 0600, its certificate beside it.
    ///
    /// # Errors
    /// When files cannot be written. A CA that is there is never overwritten.
    pub fn create_ca(&mut self, now: Timestamp) -> Result<(), VaultError> {
        let certificates = &self.spec.certificates;
        let mut wanted = CaRequest {
            name: format!("{} etcd CA", self.spec.cluster),
            subject: Subject::default(),
            algorithm: Algorithm::EcdsaP256,
            days: certificates.ca.days,
        };
        if let Some(request) = &certificates.requests.ca {
            let refuse = |why| VaultError::Pki(PkiError::Make(why));
            wanted = CaRequest {
                name: request.name.clone(),
                subject: request.subject(),
                algorithm: request.algorithm().map_err(refuse)?,
                days: request.days().map_err(refuse)?,
            };
        }
        // A key alone was left by a run that was killed between the two: it is used, never
        // overwritten.
        let left = std::fs::read_to_string(self.key_file())
            .ok()
            .map(Secret::new);
        let ca = Ca::make_as(&wanted, now, left.as_ref())?;
        self.keep_out_of_git()?;
        if let (Some(key), None) = (ca.key(), &left) {
            write_new(&self.key_file(), key.reveal(), 0o600)?;
        }
        write_new(&self.certificate_file(), ca.certificate(), 0o644)?;
        self.ca = Some(ca);
        // Made before there was this CA.
        self.operator = None;
        Ok(())
    }

    /// The file of the CAs that clients should trust: the CA's certificate, or one that is written
    /// beside it where the topology trusts more.
    ///
    /// # Errors
    /// When there is no CA, or the file cannot be written.
    pub fn client_ca(&self) -> Result<PathBuf, VaultError> {
        if self.trusted.is_empty() {
            return Ok(self.certificate_file());
        }
        let path = self.trusted_file();
        write(&path, &self.ca()?, 0o644)?;
        Ok(path)
    }

    /// Keys must not be committed by a habit of `git add .`: the directory of all clusters' CAs
    /// ignores itself.
    fn keep_out_of_git(&self) -> Result<(), VaultError> {
        let path = self.base.join("pki").join(".gitignore");
        if path.exists() {
            return Ok(());
        }
        write(
            &path,
            "# Private keys of certificate authorities and clients.\n*\n",
            0o644,
        )
    }

    /// What a CA file is to hold: the own CA's certificate and those that are trusted beside it, or
    /// the provided file.
    ///
    /// # Errors
    /// When there is none.
    pub fn ca(&self) -> Result<String, VaultError> {
        if let Some(why) = &self.broken {
            return Err(VaultError::Broken(why.clone()));
        }
        if let Some(provided) = &self.spec.certificates.provided {
            let own = provided.operator.as_ref().and_then(|own| own.ca.as_ref());
            let ca = match provided.from {
                ProvidedFrom::Operator => own.unwrap_or(&provided.ca),
                ProvidedFrom::Host => own.ok_or(VaultError::NoOperatorCa)?,
            };
            return self.provided(ca).map(|ca| ca.reveal().to_owned());
        }
        match &self.ca {
            Some(_) => Ok(self.bundle()),
            None => Err(VaultError::NoCa(self.certificate_file())),
        }
    }

    /// The certificates of all CAs that are here, the own one's first.
    fn bundle(&self) -> String {
        let all = self.ca.iter().chain(self.trusted.iter().flatten());
        all.map(|ca| format!("{}\n", ca.certificate().trim_end()))
            .collect()
    }

    /// Issues a certificate with a new key.
    ///
    /// # Errors
    /// When the CA cannot issue.
    pub fn issue(&self, request: &CertRequest, now: Timestamp) -> Result<Issued, VaultError> {
        Ok(self.issuer_of(request)?.issue(request, now)?)
    }

    /// Issues a certificate for the key of one that exists (DER), as [`Ca::renew`] does. What lies
    /// on a host may be anyone's: only the key of a certificate that one of the CAs here signed is
    /// certified again.
    ///
    /// # Errors
    /// As [`Vault::issue`], and when no CA here signed the one that exists.
    pub fn renew(
        &self,
        request: &CertRequest,
        before: &[u8],
        now: Timestamp,
    ) -> Result<String, VaultError> {
        if !self.has_signed(before) {
            return Err(VaultError::NotSigned(request.name.clone()));
        }
        Ok(self.issuer_of(request)?.renew(request, before, now)?)
    }

    /// Whether the own CA or one of those that the file trusts signed a certificate (DER).
    #[must_use]
    pub fn has_signed(&self, certificate: &[u8]) -> bool {
        let mut cas = self.ca.iter().chain(self.trusted.iter().flatten());
        cas.any(|ca| ca.has_signed(certificate))
    }

    fn issuer_of(&self, request: &CertRequest) -> Result<&Ca, VaultError> {
        match request.issuer {
            Issuer::Own => self.issuer(),
            Issuer::Trusted(place) => match self.trusted.get(place) {
                Some(Ok(ca)) => Ok(ca),
                Some(Err(why)) => Err(VaultError::Broken(why.clone())),
                None => Err(VaultError::NoTrusted(place)),
            },
        }
    }

    fn issuer(&self) -> Result<&Ca, VaultError> {
        match (&self.ca, &self.broken) {
            (Some(ca), _) => Ok(ca),
            (None, Some(why)) => Err(VaultError::Broken(why.clone())),
            (None, None) => Err(VaultError::NoCa(self.certificate_file())),
        }
    }

    /// How long the CA itself is still valid for, in days.
    #[must_use]
    pub fn days_left(&self, now: Timestamp) -> Option<i64> {
        let ca = self.ca.as_ref()?;
        Some(ca.facts().remaining(now).as_hours() / 24)
    }

    /// A client's certificate and key beside the CA: those that are there and still do, else
    /// reissued.
    ///
    /// # Errors
    /// As [`Vault::issue_client`].
    pub fn ensure_client(
        &self,
        request: &CertRequest,
        now: Timestamp,
    ) -> Result<(PathBuf, PathBuf), VaultError> {
        let place = |ending: &str| self.directory().join(format!("{}.{ending}", request.name));
        let issuer = self.ca.as_ref().map(|ca| ca.facts().identity());
        let facts = std::fs::read_to_string(place("crt"))
            .ok()
            .and_then(|text| inspect(&text).ok());
        // While one CA takes another's place members accept certificates of either.
        let trusted = self.trusted.iter().flatten();
        let trusted = trusted.map(|ca| ca.facts().identity());
        let issuers: Vec<_> = issuer.into_iter().chain(trusted).collect();
        let does = facts.filter(|_| !issuers.is_empty()).is_some_and(|facts| {
            facts.satisfies(request, &issuers, now).is_ok() && place("key").exists()
        });
        if does {
            return Ok((place("crt"), place("key")));
        }
        self.issue_client(request, &self.directory(), now)
    }

    /// Issues a certificate for a person or program and writes both files, named after it, into a
    /// directory.
    ///
    /// # Errors
    /// When the CA cannot issue, or files cannot be written.
    pub fn issue_client(
        &self,
        request: &CertRequest,
        directory: &Path,
        now: Timestamp,
    ) -> Result<(PathBuf, PathBuf), VaultError> {
        let (certificate, key) = (
            directory.join(format!("{}.crt", request.name)),
            directory.join(format!("{}.key", request.name)),
        );
        let trusted = self.spec.certificates.trust.iter();
        let trusted = trusted.map(|path| self.base.join(path));
        let mut own = vec![self.certificate_file(), self.key_file()];
        own.extend(trusted.flat_map(|path| [path.with_extension("key"), path]));
        let same = |path: &Path| {
            own.iter().any(|own| {
                own == path || (own.exists() && own.canonicalize().ok() == path.canonicalize().ok())
            })
        };
        if same(&certificate) || same(&key) || ["ca", "trusted"].contains(&request.name.as_str()) {
            return Err(VaultError::ReservedName(request.name.clone()));
        }
        let issued = self.issue(request, now)?;
        write(&key, issued.key.reveal(), 0o600)?;
        write(&certificate, &issued.certificate, 0o644)?;
        Ok((certificate, key))
    }
}

/// A CA that is here, as the planner sees it.
fn view_of(ca: &Ca) -> CaView {
    let facts = ca.facts().clone();
    match ca.key() {
        Some(_) => CaView::Usable(facts),
        None => CaView::WithoutKey(facts),
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::panic,
        reason = "tests say what they expect"
    )]

    use etcdup_core::file::Document;

    use super::*;

    fn vault(base: &Path) -> Vault {
        let text = "format = 1\ncluster = \"prod\"\netcd = \"3.5.33\"\n[[member]]\nname = \"m1\"\nhost = \"10.0.0.1\"\n";
        let document = Document::parse("etcdup.toml", text, &[]).unwrap();
        Vault::open(&document.spec, base)
    }

    /// U28: what is broken is named; a certificate that is there is never said to be missing.
    #[test]
    fn a_broken_key_is_told_as_such() {
        let place = tempfile::tempdir().unwrap();
        vault(place.path()).create_ca(Timestamp::now()).unwrap();
        let key = place.path().join("pki/prod/ca.key");
        for text in [
            "",
            "no key at all",
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        ] {
            std::fs::write(&key, text).unwrap();
            let why = vault(place.path()).ca().unwrap_err().to_string();
            assert!(
                !why.contains("missing") && !why.contains("there is no"),
                "{text:?}: {why}"
            );
        }
        std::fs::remove_file(&key).unwrap();
        assert!(matches!(
            vault(place.path()).ca_state(),
            CaView::WithoutKey(_)
        ));
    }

    /// What is named under `trust` goes to every host as it is, so it holds certificates alone; and
    /// a key that was left where the old CA was makes no other CA of it.
    #[test]
    fn files_of_a_trusted_ca_are_looked_at_before_they_go_anywhere() {
        let place = tempfile::tempdir().unwrap();
        let mut first = vault(place.path());
        first.create_ca(Timestamp::now()).unwrap();
        let directory = first.directory();
        let at = |name: &str| directory.join(name);
        let text = "format = 1\ncluster = \"prod\"\netcd = \"3.5.33\"\n[certificates]\ntrust = [\"pki/prod/FILE\"]\n\
                    [[member]]\nname = \"m1\"\nhost = \"10.0.0.1\"\n";
        let trusting = |file: &str| {
            let document = Document::parse("etcdup.toml", &text.replace("FILE", file), &[]);
            Vault::open(&document.unwrap().spec, place.path())
        };
        let broken = |vault: &Vault| match (&vault.ca_state(), &vault.trusted()[..]) {
            (CaView::Broken(why), _) | (_, [CaView::Broken(why)]) => why.clone(),
            other => panic!("{other:?}"),
        };
        std::fs::rename(at("ca.crt"), at("old.crt")).unwrap();
        let why = broken(&trusting("old.crt"));
        assert!(why.contains("move it beside"), "{why}");
        std::fs::rename(at("ca.key"), at("old.key")).unwrap();
        let mut vault = trusting("old.crt");
        assert_eq!(vault.ca_state(), CaView::Absent);
        assert!(matches!(vault.trusted()[..], [CaView::Usable(_)]));
        vault.create_ca(Timestamp::now()).unwrap();
        let bundle = vault.ca().unwrap();
        assert_eq!(inspect(&bundle).unwrap().file().len(), 2);
        assert!(vault.ca_file().is_some());
        assert_eq!(
            std::fs::read_to_string(vault.client_ca().unwrap()).unwrap(),
            bundle
        );
        let why = broken(&trusting("trusted.crt"));
        assert!(why.contains("give the CA's certificate another"), "{why}");
        let both = ["old.crt", "old.key"].map(|name| std::fs::read_to_string(at(name)).unwrap());
        std::fs::write(at("both.pem"), both.concat()).unwrap();
        let why = broken(&trusting("both.pem"));
        assert!(
            why.contains("PRIVATE KEY") && !why.contains("BEGIN"),
            "{why}"
        );
        let request = CertRequest {
            name: "trusted".to_owned(),
            subject: Subject::default(),
            usage: etcdup_core::certificate::Usage::Client,
            sans: std::collections::BTreeSet::new(),
            algorithm: Algorithm::EcdsaP256,
            hours: 1,
            issuer: Issuer::Own,
        };
        let refused = vault.issue_client(&request, &directory, Timestamp::now());
        assert!(matches!(refused, Err(VaultError::ReservedName(_))));
    }

    /// A CA's key that a command prints or the environment holds is never on this disk.
    #[test]
    fn a_key_comes_from_a_command_or_the_environment() {
        let place = tempfile::tempdir().unwrap();
        let mut own = vault(place.path());
        own.create_ca(Timestamp::now()).unwrap();
        std::fs::rename(own.directory().join("ca.key"), place.path().join("secret")).unwrap();
        let with = |source: &str| {
            let text = format!(
                "format = 1\ncluster = \"prod\"\netcd = \"3.5.33\"\n[certificates.ca]\n{source}\n\
                 [[member]]\nname = \"m1\"\nhost = \"10.0.0.1\"\n"
            );
            let document = Document::parse("etcdup.toml", &text, &[]).unwrap();
            Vault::open(&document.spec, place.path())
        };
        let found = with("key-command = [\"cat\", \"secret\"]");
        assert!(matches!(found.ca_state(), CaView::Usable(_)));
        for (source, wanted) in [
            (
                "key-command = [\"cat\", \"nowhere\"]",
                "key-command `cat` failed",
            ),
            ("key-command = [\"/nowhere\"]", "key-command `/nowhere`"),
            (
                "key-env = \"ETCDUP_NO_SUCH_KEY\"",
                "ETCDUP_NO_SUCH_KEY of key-env is not set",
            ),
        ] {
            let CaView::Broken(why) = with(source).ca_state() else {
                panic!("{source}")
            };
            assert!(why.contains(wanted), "{source}: {why}");
        }
        // A variable that holds something else is read, and is no key.
        let CaView::Broken(why) = with("key-env = \"PATH\"").ca_state() else {
            panic!("PATH is no key")
        };
        assert!(!why.contains("not set"), "{why}");
    }

    /// B1: `git add .` in the directory of the topology takes no key.
    #[test]
    fn the_directory_of_keys_ignores_itself() {
        let place = tempfile::tempdir().unwrap();
        vault(place.path()).create_ca(Timestamp::now()).unwrap();
        let ignored = std::fs::read_to_string(place.path().join("pki/.gitignore")).unwrap();
        assert!(ignored.lines().any(|line| line == "*"), "{ignored}");
    }
}
