//! etcd's own rule for which peers it accepts.

use std::net::IpAddr;

use super::facts::{CertFacts, format_sans};
use crate::url::Address;

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
    "the certificate of {subject} is valid for {presented}; a peer sees it come from {address} and refuses it"
)]
pub struct PeerRefusal {
    /// The certificate's common name.
    pub subject: String,
    /// What it is valid for.
    pub presented: String,
    /// The address that the peer connects from.
    pub address: IpAddr,
}

/// etcd's own rule for the certificate a peer shows when it connects
/// (`client/pkg/transport/listener_tls.go`, `checkCertSAN`; the same in 3.4 to 3.7). In this order:
///
/// 1. A certificate without any SAN passes.
/// 2. An IP SAN equal to the address the peer connects from passes.
/// 3. With DNS SANs, the address is looked up in reverse, and the names found are compared with the
///    exact and the wildcard SANs.
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
        presented: format_sans(&facts.sans),
        address: from,
    };
    if facts.sans.is_empty() && facts.other_sans.is_empty() {
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
                .other_sans
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use jiff::Timestamp;

    use super::*;
    use crate::certificate::{
        Algorithm, CertIdentity, CertRequest, Issuer, Mismatch, Subject, Usage,
    };

    fn facts(sans: &[&str], odd: &[&str]) -> CertFacts {
        CertFacts {
            name: "m1".into(),
            issuer: "ca".into(),
            sans: sans.iter().map(|san| san.parse().unwrap()).collect(),
            other_sans: odd.iter().map(|san| (*san).to_owned()).collect(),
            server_auth: true,
            client_auth: true,
            is_ca: false,
            not_before: Timestamp::from_second(0).unwrap(),
            not_after: Timestamp::from_second(9000).unwrap(),
            fingerprint: String::new(),
            key_id: String::new(),
            issuer_key_id: "aa".into(),
            public_key: "aa".into(),
            algorithm: None,
            der: None,
            further: Vec::new(),
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
            issuer: Issuer::Own,
        };
        let ca = |key: &str| CertIdentity {
            name: "ca".into(),
            key_id: key.into(),
            ..facts(&[], &[]).identity()
        };
        let at = |second| {
            let now = Timestamp::from_second(second).unwrap();
            facts(&[], &[]).satisfies(&request, &[ca("aa")], now)
        };
        assert_eq!(at(5999), Ok(()));
        assert!(matches!(at(6001), Err(Mismatch::Ending { .. })));
        assert!(matches!(at(9000), Err(Mismatch::Ended { .. })));
        let now = Timestamp::from_second(1).unwrap();
        let other = facts(&[], &[]).satisfies(&request, &[ca("bb")], now);
        assert!(matches!(other, Err(Mismatch::Issuer { .. })));
    }
}
