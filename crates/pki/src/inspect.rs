//! Reading certificates.

use std::collections::BTreeSet;
use std::net::IpAddr;

use etcdup_core::certificate::{Algorithm, CertFacts};
use etcdup_core::digest::{hex, sha256};
use etcdup_core::url::Address;
use jiff::Timestamp;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;

/// A text that is no certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InspectError {
    /// There is no CERTIFICATE block.
    #[error("it holds no PEM block CERTIFICATE")]
    NoCertificate,
    /// The block cannot be read.
    #[error("the certificate cannot be read: {0}")]
    Unreadable(String),
}

/// What the first certificate of a PEM text says, and whose the others are.
///
/// # Errors
/// When there is none, or the first cannot be read.
pub fn inspect(pem: &str) -> Result<CertFacts, InspectError> {
    let mut all = certificates(pem).map(|der| {
        let der = der?;
        read(&parse(&der)?, &der)
    });
    let mut first = all.next().unwrap_or(Err(InspectError::NoCertificate))?;
    // One that cannot be read verifies nothing. In a CA file etcd refuses it, which `damage` finds.
    first.further = all
        .filter_map(|further| Some(further.ok()?.identity()))
        .collect();
    Ok(first)
}

/// Why etcd would not start with a text as its CA file: it reads every block as a certificate,
/// whatever the block is called.
#[must_use]
pub fn damage(pem: &str) -> Option<String> {
    let mut blocks = 0;
    for block in Pem::iter_from_buffer(pem.as_bytes()) {
        blocks += 1;
        let why = match block {
            Err(error) => error.to_string(),
            Ok(block) => match parse(&block.contents) {
                Ok(_) => continue,
                Err(_) => format!("it is {}", block.label),
            },
        };
        return Some(format!("block {blocks} is not a certificate: {why}"));
    }
    (blocks == 0).then(|| InspectError::NoCertificate.to_string())
}

pub(crate) fn first_certificate(pem: &str) -> Result<Vec<u8>, InspectError> {
    let first = certificates(pem).next();
    first.unwrap_or(Err(InspectError::NoCertificate))
}

/// The certificates of a PEM text, DER each. Keys and whatever else lies between them is left out.
fn certificates(pem: &str) -> impl Iterator<Item = Result<Vec<u8>, InspectError>> {
    Pem::iter_from_buffer(pem.as_bytes()).filter_map(|block| match block {
        Ok(block) => (block.label == "CERTIFICATE").then_some(Ok(block.contents)),
        Err(error) => Some(Err(InspectError::Unreadable(error.to_string()))),
    })
}

pub(crate) fn parse(der: &[u8]) -> Result<X509Certificate<'_>, InspectError> {
    X509Certificate::from_der(der)
        .map(|(_, certificate)| certificate)
        .map_err(|error| InspectError::Unreadable(error.to_string()))
}

pub(crate) fn read(
    certificate: &X509Certificate<'_>,
    der: &[u8],
) -> Result<CertFacts, InspectError> {
    let unreadable = |error: String| InspectError::Unreadable(error);
    let mut sans = BTreeSet::new();
    let mut other_sans = Vec::new();
    let names = certificate
        .subject_alternative_name()
        .map_err(|error| unreadable(error.to_string()))?;
    for name in names
        .iter()
        .flat_map(|extension| &extension.value.general_names)
    {
        match san(name) {
            Ok(address) => {
                sans.insert(address);
            }
            Err(odd) => other_sans.push(odd),
        }
    }
    let usage = certificate
        .extended_key_usage()
        .map_err(|error| unreadable(error.to_string()))?;
    let usage = usage.map(|usage| {
        (
            usage.value.server_auth || usage.value.any,
            usage.value.client_auth || usage.value.any,
        )
    });
    let (server, client) = usage.unwrap_or((true, true));
    let mut key_id = String::new();
    let mut issuer_key_id = String::new();
    for extension in certificate.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => key_id = hex(id.0),
            ParsedExtension::AuthorityKeyIdentifier(id) => {
                issuer_key_id = id
                    .key_identifier
                    .as_ref()
                    .map(|id| hex(id.0))
                    .unwrap_or_default();
            }
            _ => {}
        }
    }
    let time = |seconds: i64| {
        Timestamp::from_second(seconds).map_err(|error| unreadable(error.to_string()))
    };
    let common_name = |name: &x509_parser::x509::X509Name<'_>| {
        name.iter_common_name()
            .next()
            .and_then(|name| name.as_str().ok())
            .map(str::to_owned)
    };
    Ok(CertFacts {
        name: common_name(certificate.subject())
            .unwrap_or_else(|| certificate.subject().to_string()),
        issuer: common_name(certificate.issuer())
            .unwrap_or_else(|| certificate.issuer().to_string()),
        sans,
        other_sans,
        server_auth: server,
        client_auth: client,
        is_ca: certificate.is_ca(),
        not_before: time(certificate.validity().not_before.timestamp())?,
        not_after: time(certificate.validity().not_after.timestamp())?,
        fingerprint: sha256(der),
        key_id,
        issuer_key_id,
        public_key: sha256(certificate.public_key().raw),
        algorithm: algorithm_of(certificate),
        der: Some(der.into()),
        further: Vec::new(),
    })
}

/// The curve P-256 (RFC 5480, 2.1.1.1).
const P256: &str = "1.2.840.10045.3.1.7";

/// The algorithm of a certificate's key, where it is one that etcdup makes: no other is certified
/// again.
fn algorithm_of(certificate: &X509Certificate<'_>) -> Option<Algorithm> {
    let key = certificate.public_key();
    match key.parsed().ok()? {
        PublicKey::RSA(key) => match key.key_size() {
            2048 => Some(Algorithm::Rsa2048),
            4096 => Some(Algorithm::Rsa4096),
            _ => None,
        },
        PublicKey::EC(_) => {
            let curve = key.algorithm.parameters.as_ref()?.as_oid().ok()?;
            (curve.to_id_string() == P256).then_some(Algorithm::EcdsaP256)
        }
        PublicKey::DSA(_)
        | PublicKey::GostR3410(_)
        | PublicKey::GostR3410_2012(_)
        | PublicKey::Unknown(_) => None,
    }
}

fn san(name: &GeneralName<'_>) -> Result<Address, String> {
    match name {
        GeneralName::DNSName(name) => name.parse().map_err(|_| (*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let ip = <[u8; 4]>::try_from(*bytes)
                .map(IpAddr::from)
                .or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from));
            ip.map(Address::Ip).map_err(|_| hex(bytes))
        }
        other => Err(other.to_string()),
    }
}
