//! What a certificate says, and whether that is what was asked for.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::request::{Algorithm, CertRequest};
use crate::url::Address;

/// What a certificate says, as far as etcd and etcdup care.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CertFacts {
    /// The common name.
    pub name: String,
    /// The issuer's common name.
    pub issuer: String,
    /// The names and addresses it is valid for. Those that are neither are in `other_sans`.
    pub sans: BTreeSet<Address>,
    /// SANs of another kind, or unreadable ones.
    pub other_sans: Vec<String>,
    /// Valid as a server certificate.
    pub server_auth: bool,
    /// Valid as a client certificate.
    pub client_auth: bool,
    /// It is a CA.
    pub is_ca: bool,
    /// From when.
    pub not_before: Timestamp,
    /// Until when.
    pub not_after: Timestamp,
    /// SHA-256 of the certificate, hex.
    pub fingerprint: String,
    /// The subject key id, hex; empty when not there.
    pub key_id: String,
    /// The issuer's key id, hex; empty when not there.
    pub issuer_key_id: String,
    /// SHA-256 of the public key, hex: what makes two certificates those of one key.
    pub public_key: String,
    /// The algorithm of its key, where it is one that etcdup makes.
    #[serde(skip)]
    pub algorithm: Option<Algorithm>,
    /// The certificate itself (DER), where it was read and not made up.
    #[serde(skip)]
    pub der: Option<Arc<[u8]>>,
    /// The other certificates in the same file, in its order: those of a bundle or of a chain.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub further: Vec<CertIdentity>,
}

/// Whose a certificate is and who issued it: enough to follow a chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CertIdentity {
    /// The common name.
    pub name: String,
    /// The subject key id, hex; empty when not there.
    pub key_id: String,
    /// The issuer's common name.
    pub issuer: String,
    /// The issuer's key id, hex; empty when not there.
    pub issuer_key_id: String,
    /// SHA-256 of the public key, hex.
    pub public_key: String,
    /// SHA-256 of the certificate, hex.
    pub fingerprint: String,
    /// Until when.
    pub not_after: Timestamp,
}

/// Why a certificate does not do: what follows its name in a sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// Another CA issued it.
    #[error("is issued by `{found}`, not by the CA that issues now")]
    Issuer {
        /// Who did.
        found: String,
    },
    /// It is valid for other names.
    #[error("is valid for {found}, not for {expected}")]
    Sans {
        /// What is wanted and missing.
        expected: String,
        /// What it is valid for.
        found: String,
    },
    /// It lacks a key usage.
    #[error("is not meant for a {0}")]
    Usage(&'static str),
    /// Less than a third of its life is left.
    #[error("ends at {end}: less than a third of its life is left")]
    Ending {
        /// When it ends.
        end: Timestamp,
    },
    /// It is no longer valid.
    #[error("ended at {end}")]
    Ended {
        /// When it ended.
        end: Timestamp,
    },
    /// It is not valid yet.
    #[error("is not valid before {start}")]
    TooEarly {
        /// When it begins.
        start: Timestamp,
    },
}

impl CertFacts {
    /// Whether this certificate does what was asked for, at this time, from one of these CAs; any
    /// will do where none is known.
    ///
    /// # Errors
    /// The first reason why not.
    pub fn satisfies(
        &self,
        wanted: &CertRequest,
        issuers: &[CertIdentity],
        now: Timestamp,
    ) -> Result<(), Mismatch> {
        if !issuers.is_empty() && !self.is_issued_by(issuers) {
            return Err(Mismatch::Issuer {
                found: self.issuer.clone(),
            });
        }
        if wanted.usage.is_server() && !self.server_auth {
            return Err(Mismatch::Usage("server"));
        }
        if !self.client_auth {
            return Err(Mismatch::Usage("client"));
        }
        let missing: Vec<_> = wanted
            .sans
            .difference(&self.sans)
            .map(ToString::to_string)
            .collect();
        if !missing.is_empty() {
            return Err(Mismatch::Sans {
                expected: missing.join(", "),
                found: format_sans(&self.sans),
            });
        }
        self.check_validity(now)?;
        if self.needs_renewal(now) {
            Err(Mismatch::Ending {
                end: self.not_after,
            })
        } else {
            Ok(())
        }
    }

    /// Whether one of these CAs issued it.
    ///
    /// Go looks for an issuer by its name first: the same key under another name is another one. A
    /// certificate that does not name its issuer's key may be of another CA of that name: it is
    /// taken for this one's only where the CA has no key ID either.
    #[must_use]
    pub fn is_issued_by(&self, cas: &[CertIdentity]) -> bool {
        let issued = |ca: &CertIdentity| {
            let by_key = ca.key_id.is_empty() || ca.key_id == self.issuer_key_id;
            ca.name == self.issuer && by_key
        };
        cas.iter().any(issued)
    }

    /// Whether it is good at this time.
    ///
    /// # Errors
    /// When it is not good yet or no longer.
    pub fn check_validity(&self, now: Timestamp) -> Result<(), Mismatch> {
        if now < self.not_before {
            return Err(Mismatch::TooEarly {
                start: self.not_before,
            });
        }
        if now >= self.not_after {
            return Err(Mismatch::Ended {
                end: self.not_after,
            });
        }
        Ok(())
    }

    /// Whether whoever connects to this address accepts it: Go compares the address or name of the
    /// URL with the SANs, a wildcard for one label, and takes no notice of the common name.
    #[must_use]
    pub fn covers(&self, address: &Address) -> bool {
        let Address::Name(name) = address else {
            return self.sans.contains(address);
        };
        let exact = |san: &Address| matches!(san, Address::Name(san) if san.as_str().eq_ignore_ascii_case(name.as_str()));
        // A wildcard is no address, so it is among the odd ones.
        let parent = name.as_str().split_once('.').map(|(_, parent)| parent);
        let wildcard = |san: &String| {
            let domain = san.strip_prefix("*.");
            domain.is_some_and(|domain| {
                parent.is_some_and(|parent| parent.eq_ignore_ascii_case(domain))
            })
        };
        self.sans.iter().any(exact) || self.other_sans.iter().any(wildcard)
    }

    /// Whose this certificate is and who issued it.
    #[must_use]
    pub fn identity(&self) -> CertIdentity {
        CertIdentity {
            name: self.name.clone(),
            key_id: self.key_id.clone(),
            issuer: self.issuer.clone(),
            issuer_key_id: self.issuer_key_id.clone(),
            public_key: self.public_key.clone(),
            fingerprint: self.fingerprint.clone(),
            not_after: self.not_after,
        }
    }

    /// The certificates of its file, itself first.
    #[must_use]
    pub fn file(&self) -> Vec<CertIdentity> {
        let mut all = vec![self.identity()];
        all.extend(self.further.iter().cloned());
        all
    }

    /// Whether whoever trusts the CA file that `ca` was read from accepts this certificate, as far
    /// as names and key IDs tell: it is in that file, its issuer is, or the rest of its own file
    /// leads there by any way.
    #[must_use]
    pub fn is_trusted_by(&self, ca: &CertFacts) -> bool {
        let trusted = ca.file();
        let chain = self.file();
        let mut reached = vec![0];
        let mut next = 0;
        // Cross-signed intermediates make more than one way; each certificate is followed once, so
        // that none goes on without end.
        while let Some(link) = reached.get(next).and_then(|index| chain.get(*index)) {
            if trusted
                .iter()
                .any(|ca| ca.issued(link) || ca.is_same_as(link))
            {
                return true;
            }
            let further = (1..chain.len()).filter(|index| chain[*index].issued(link));
            let further: Vec<usize> = further.filter(|index| !reached.contains(index)).collect();
            reached.extend(further);
            next += 1;
        }
        false
    }

    /// Whether whoever trusts `known` accepts this certificate for sure, where `all` is a CA file
    /// that holds its issuer. Certificates may not name their issuer's key: then every CA of `all`
    /// that may have issued it must be known.
    #[must_use]
    pub fn is_surely_trusted_by(&self, known: &CertFacts, all: &CertFacts) -> bool {
        let (chain, known_cas) = (self.file(), known.file());
        let may_have_issued = |ca: &&CertIdentity| chain.iter().any(|link| ca.issued(link));
        let all = all.file();
        let mut issuers = all.iter().filter(may_have_issued);
        self.is_trusted_by(known)
            && issuers.all(|issuer| known_cas.iter().any(|known| known.is_same_as(issuer)))
    }

    /// Whether less than a third of its life is left.
    #[must_use]
    pub fn needs_renewal(&self, now: Timestamp) -> bool {
        let life = self.not_after.duration_since(self.not_before);
        self.not_after.duration_since(now) < life / 3
    }

    /// What is left of its life.
    #[must_use]
    pub fn remaining(&self, now: Timestamp) -> SignedDuration {
        self.not_after.duration_since(now)
    }
}

impl CertIdentity {
    /// Whether this one may have signed the other: by its name, as Go looks for issuers, and by key
    /// IDs where both have them.
    #[must_use]
    pub fn issued(&self, other: &CertIdentity) -> bool {
        let by_key = self.key_id == other.issuer_key_id;
        let unknown = self.key_id.is_empty() || other.issuer_key_id.is_empty();
        self.name == other.issuer && (by_key || unknown)
    }

    /// Whether both are certificates of one name and key: a renewed CA certificate still verifies
    /// what the old one did.
    #[must_use]
    pub fn is_same_as(&self, other: &CertIdentity) -> bool {
        self.name == other.name && self.public_key == other.public_key
    }
}

/// SANs as a reader wants them.
#[must_use]
pub fn format_sans(sans: &BTreeSet<Address>) -> String {
    if sans.is_empty() {
        return "no SANs".to_owned();
    }
    sans.iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(name: &str, issuer: &str) -> CertFacts {
        CertFacts {
            name: name.to_owned(),
            issuer: issuer.to_owned(),
            sans: BTreeSet::new(),
            other_sans: Vec::new(),
            server_auth: true,
            client_auth: true,
            is_ca: name == issuer,
            not_before: Timestamp::UNIX_EPOCH,
            not_after: Timestamp::MAX,
            fingerprint: String::new(),
            key_id: String::new(),
            issuer_key_id: String::new(),
            public_key: name.to_owned(),
            algorithm: None,
            der: None,
            further: Vec::new(),
        }
    }

    fn file(all: &[(&str, &str)]) -> CertFacts {
        let mut all = all.iter().map(|(name, issuer)| facts(name, issuer));
        let mut first = all.next().unwrap_or_else(|| facts("", ""));
        first.further = all.map(|facts| facts.identity()).collect();
        first
    }

    #[test]
    fn an_issuer_is_found_anywhere_in_a_bundle_and_at_the_end_of_a_chain() {
        let bundle = file(&[("old", "old"), ("new", "new")]);
        assert!(facts("m1", "new").is_trusted_by(&bundle));
        assert!(facts("m1", "old").is_trusted_by(&bundle));
        assert!(!facts("m1", "other").is_trusted_by(&bundle));
        let chain = file(&[("m1", "deeper"), ("middle", "new"), ("deeper", "middle")]);
        assert!(chain.is_trusted_by(&bundle));
        assert!(!chain.is_trusted_by(&facts("other", "other")));
        // Any way that leads there does, whichever stands first.
        for issuers in [["elsewhere", "old"], ["old", "elsewhere"]] {
            let [one, two] = issuers;
            let crossed = file(&[("m1", "middle"), ("middle", one), ("middle", two)]);
            assert!(crossed.is_trusted_by(&bundle), "{issuers:?}");
        }
        // One that names itself ends somewhere.
        let circle = file(&[("m1", "a"), ("a", "b"), ("b", "a")]);
        assert!(!circle.is_trusted_by(&bundle));
    }

    #[test]
    fn cas_of_one_name_are_told_apart_by_their_keys() {
        let ca = |key: &str| CertFacts {
            key_id: key.to_owned(),
            public_key: key.to_owned(),
            ..facts("ca", "ca")
        };
        let mut both = ca("1");
        both.further = vec![ca("2").identity()];
        let mut leaf = facts("m1", "ca");
        // Without its issuer's key ID it may be of either, so both must be known.
        assert!(leaf.is_trusted_by(&ca("1")));
        assert!(!leaf.is_surely_trusted_by(&ca("1"), &both));
        assert!(leaf.is_surely_trusted_by(&both, &both));
        leaf.issuer_key_id = "2".to_owned();
        assert!(!leaf.is_trusted_by(&ca("1")));
        assert!(!ca("1").identity().is_same_as(&ca("2").identity()));
        // The same key under another name is another issuer: names are compared first.
        let renamed = CertFacts {
            name: "ca 2026".to_owned(),
            ..ca("2")
        };
        assert!(!leaf.is_trusted_by(&renamed));
        assert!(!renamed.identity().is_same_as(&ca("2").identity()));
    }
}
