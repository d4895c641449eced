//! Certificates as they are asked for, as they are seen, and whether the one meets the other.

mod cfssl;

pub use cfssl::{Cfssl, CfsslConfig, CfsslRequest};

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::topology::Algorithm;
use crate::url::Address;

/// What a certificate is for, and with that its extended key usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Usage {
    /// A member towards clients. etcd's gRPC gateway uses this certificate as a client of the member itself
    /// (etcd issue 9785), so it is good for both.
    Server,
    /// A member towards its peers: server and client.
    Peer,
    /// A client.
    Client,
}

impl Usage {
    /// Whether the certificate must be good for a server.
    #[must_use]
    pub fn serves(self) -> bool {
        matches!(self, Usage::Server | Usage::Peer)
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Usage::Server => "server",
            Usage::Peer => "peer",
            Usage::Client => "client",
        })
    }
}

/// A subject beside its common name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Subject {
    /// Two letters.
    pub country: Option<String>,
    /// State or province.
    pub state: Option<String>,
    /// City.
    pub locality: Option<String>,
    /// The organisation; Kubernetes takes it for a group.
    pub organization: Option<String>,
    /// The organisational unit.
    pub unit: Option<String>,
}

impl Subject {
    /// An organisation alone.
    #[must_use]
    pub fn organization(organization: Option<String>) -> Self {
        Self {
            organization,
            ..Self::default()
        }
    }
}

/// A certificate that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CertRequest {
    /// The common name.
    pub name: String,
    /// The rest of the subject.
    pub subject: Subject,
    /// What it is for.
    pub usage: Usage,
    /// The names and addresses it is good for.
    pub sans: BTreeSet<Address>,
    /// The key's algorithm.
    #[serde(skip)]
    pub algorithm: Algorithm,
    /// How long it is good for, in hours.
    pub hours: u32,
}

/// What a certificate says, as far as etcd and etcdup care.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CertFacts {
    /// The common name.
    pub name: String,
    /// The issuer's common name.
    pub issuer: String,
    /// The names and addresses it is good for. Those that are neither are in `odd_sans`.
    pub sans: BTreeSet<Address>,
    /// SANs of another kind, or unreadable ones.
    pub odd_sans: Vec<String>,
    /// Good for a server.
    pub server: bool,
    /// Good for a client.
    pub client: bool,
    /// It is a CA.
    pub authority: bool,
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
}

/// Why a certificate does not do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unmet {
    /// Another CA issued it.
    #[error("issued by `{found}`, not by this cluster's CA")]
    Issuer {
        /// Who did.
        found: String,
    },
    /// It is good for other names.
    #[error("good for {found}, not for {expected}")]
    Sans {
        /// What is wanted and missing.
        expected: String,
        /// What it is good for.
        found: String,
    },
    /// It lacks a key usage.
    #[error("not meant for a {0}")]
    Usage(&'static str),
    /// Less than a third of its life is left.
    #[error("ends at {end}: less than a third of its life is left")]
    Ending {
        /// When it ends.
        end: Timestamp,
    },
    /// It is no longer good.
    #[error("ended at {end}")]
    Ended {
        /// When it ended.
        end: Timestamp,
    },
    /// It is not good yet.
    #[error("good only from {start}")]
    TooEarly {
        /// When it begins.
        start: Timestamp,
    },
}

impl CertFacts {
    /// Whether this certificate does what was asked for, at this time, from the CA with this key id.
    ///
    /// # Errors
    /// The first reason why not.
    pub fn meets(
        &self,
        wanted: &CertRequest,
        authority_key_id: &str,
        now: Timestamp,
    ) -> Result<(), Unmet> {
        if !authority_key_id.is_empty() && self.issuer_key_id != authority_key_id {
            return Err(Unmet::Issuer {
                found: self.issuer.clone(),
            });
        }
        if wanted.usage.serves() && !self.server {
            return Err(Unmet::Usage("server"));
        }
        if !self.client {
            return Err(Unmet::Usage("client"));
        }
        let missing: Vec<_> = wanted
            .sans
            .difference(&self.sans)
            .map(ToString::to_string)
            .collect();
        if !missing.is_empty() {
            return Err(Unmet::Sans {
                expected: missing.join(", "),
                found: print_sans(&self.sans),
            });
        }
        self.in_time(now)?;
        if self.is_due(now) {
            Err(Unmet::Ending {
                end: self.not_after,
            })
        } else {
            Ok(())
        }
    }

    /// Whether it is good at this time.
    ///
    /// # Errors
    /// When it is not good yet or no longer.
    pub fn in_time(&self, now: Timestamp) -> Result<(), Unmet> {
        if now < self.not_before {
            return Err(Unmet::TooEarly {
                start: self.not_before,
            });
        }
        if now >= self.not_after {
            return Err(Unmet::Ended {
                end: self.not_after,
            });
        }
        Ok(())
    }

    /// Whether whoever connects to this address accepts it: Go compares the address or name of the URL with the SANs, a
    /// wildcard for one label, and takes no notice of the common name.
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
        self.sans.iter().any(exact) || self.odd_sans.iter().any(wildcard)
    }

    /// Whether less than a third of its life is left.
    #[must_use]
    pub fn is_due(&self, now: Timestamp) -> bool {
        let life = self.not_after.duration_since(self.not_before);
        self.not_after.duration_since(now) < life / 3
    }

    /// What is left of its life.
    #[must_use]
    pub fn left(&self, now: Timestamp) -> SignedDuration {
        self.not_after.duration_since(now)
    }
}

/// Names that peers of an address find, forward and in reverse.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lookups {
    /// Names found for an address in reverse, without the closing dot.
    pub reverse: Vec<(IpAddr, String)>,
    /// Addresses found for a name.
    pub forward: Vec<(String, IpAddr)>,
}

/// Why a peer's certificate would be refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the certificate of {subject} is good for {presented}; a peer sees it come from {address} and refuses it"
)]
pub struct PeerRefusal {
    /// The certificate's common name.
    pub subject: String,
    /// What it is good for.
    pub presented: String,
    /// The address that the peer connects from.
    pub address: IpAddr,
}

/// etcd's own rule for the certificate a peer shows when it connects (`client/pkg/transport/listener_tls.go`,
/// `checkCertSAN`; the same in 3.4 to 3.7). In this order:
///
/// 1. A certificate without any SAN passes.
/// 2. An IP SAN equal to the address the peer connects from passes.
/// 3. With DNS SANs, the address is looked up in reverse, and the names found are compared with the exact and the
///    wildcard SANs.
/// 4. Then each exact DNS SAN is looked up forward and compared with the address.
/// 5. Anything else is refused.
///
/// It is not enforced for gRPC clients.
///
/// # Errors
/// When the peer would be refused.
pub fn accept_peer(facts: &CertFacts, from: IpAddr, lookups: &Lookups) -> Result<(), PeerRefusal> {
    let refusal = || PeerRefusal {
        subject: facts.name.clone(),
        presented: print_sans(&facts.sans),
        address: from,
    };
    if facts.sans.is_empty() && facts.odd_sans.is_empty() {
        return Ok(());
    }
    if facts.sans.contains(&Address::Ip(from)) {
        return Ok(());
    }
    let names: Vec<String> = facts
        .sans
        .iter()
        .filter_map(|san| match san {
            Address::Name(name) => Some(name.as_str().to_ascii_lowercase()),
            Address::Ip(_) => None,
        })
        .chain(
            facts
                .odd_sans
                .iter()
                .filter(|san| san.starts_with("*."))
                .map(|san| san.to_ascii_lowercase()),
        )
        .collect();
    let reversed = lookups
        .reverse
        .iter()
        .filter(|(address, _)| *address == from)
        .map(|(_, name)| name);
    for found in reversed {
        let found = found.trim_end_matches('.').to_ascii_lowercase();
        let wildcard = found
            .split_once('.')
            .map(|(_, domain)| format!("*.{domain}"));
        if names
            .iter()
            .any(|name| *name == found || Some(name) == wildcard.as_ref())
        {
            return Ok(());
        }
    }
    let forward = |name: &String| {
        lookups
            .forward
            .iter()
            .any(|(asked, address)| asked.eq_ignore_ascii_case(name) && *address == from)
    };
    if names
        .iter()
        .filter(|name| !name.starts_with("*."))
        .any(forward)
    {
        Ok(())
    } else {
        Err(refusal())
    }
}

/// SANs as a reader wants them.
#[must_use]
pub fn print_sans(sans: &BTreeSet<Address>) -> String {
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

    fn facts(sans: &[&str], odd: &[&str]) -> CertFacts {
        CertFacts {
            name: "m1".into(),
            issuer: "ca".into(),
            sans: sans.iter().map(|san| san.parse().unwrap()).collect(),
            odd_sans: odd.iter().map(|san| (*san).to_owned()).collect(),
            server: true,
            client: true,
            authority: false,
            not_before: Timestamp::from_second(0).unwrap(),
            not_after: Timestamp::from_second(9000).unwrap(),
            fingerprint: String::new(),
            key_id: String::new(),
            issuer_key_id: "aa".into(),
        }
    }

    fn accepted(sans: &[&str], odd: &[&str], lookups: &Lookups) -> bool {
        accept_peer(&facts(sans, odd), "10.0.0.1".parse().unwrap(), lookups).is_ok()
    }

    #[test]
    fn a_certificate_without_names_passes() {
        assert!(accepted(&[], &[], &Lookups::default()));
    }

    #[test]
    fn the_address_itself_passes_and_another_does_not() {
        assert!(accepted(&["10.0.0.1"], &[], &Lookups::default()));
        assert!(!accepted(&["10.0.0.2"], &[], &Lookups::default()));
    }

    #[test]
    fn names_pass_by_reverse_or_forward_lookup() {
        let from = "10.0.0.1".parse().unwrap();
        let reverse = Lookups {
            reverse: vec![(from, "m1.example.com.".into())],
            forward: vec![],
        };
        let forward = Lookups {
            reverse: vec![],
            forward: vec![("m1.example.com".into(), from)],
        };
        assert!(accepted(&["m1.example.com"], &[], &reverse));
        assert!(accepted(&[], &["*.example.com"], &reverse));
        assert!(accepted(&["m1.example.com"], &[], &forward));
        assert!(!accepted(&[], &["*.example.com"], &forward));
        assert!(!accepted(&["m1.example.com"], &[], &Lookups::default()));
    }

    #[test]
    fn a_certificate_is_renewed_in_the_last_third_of_its_life() {
        let request = CertRequest {
            name: "m1".into(),
            subject: Subject::default(),
            usage: Usage::Peer,
            sans: BTreeSet::new(),
            algorithm: Algorithm::EcdsaP256,
            hours: 1,
        };
        let at =
            |second| facts(&[], &[]).meets(&request, "aa", Timestamp::from_second(second).unwrap());
        assert_eq!(at(5999), Ok(()));
        assert!(matches!(at(6001), Err(Unmet::Ending { .. })));
        assert!(matches!(at(9000), Err(Unmet::Ended { .. })));
        let other = facts(&[], &[]).meets(&request, "bb", Timestamp::from_second(1).unwrap());
        assert!(matches!(other, Err(Unmet::Issuer { .. })));
    }
}
