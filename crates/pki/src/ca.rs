//! The certificate authority.

use etcdup_core::certificate::{Algorithm, CertFacts, CertRequest, Subject};
use etcdup_core::secret::Secret;
use etcdup_core::url::Address;
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber, SubjectPublicKeyInfo,
};
use time::OffsetDateTime;

use crate::error::PkiError;
use crate::inspect::{first_certificate, inspect, parse, read};
use crate::keys;

/// A certificate authority, with or without its key.
pub struct Ca {
    certificate: String,
    facts: CertFacts,
    issuer: Option<Issuer<'static, KeyPair>>,
    key: Option<Secret>,
}

/// A CA that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaRequest {
    /// Its common name.
    pub name: String,
    /// The rest of its subject.
    pub subject: Subject,
    /// Its key's algorithm.
    pub algorithm: Algorithm,
    /// How many days it is valid for.
    pub days: u32,
}

/// A certificate and its key.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The certificate, PEM.
    pub certificate: String,
    /// The key, PEM (PKCS#8).
    pub key: Secret,
}

/// Issuers' clocks run ahead of members' now and then (cluster-api issue 4304).
const BACKDATED: SignedDuration = SignedDuration::from_hours(1);

impl Ca {
    /// Makes a CA that is valid for this many days, with a fresh key or the one given.
    ///
    /// # Errors
    /// When the key or the certificate cannot be made.
    pub fn make(
        name: &str,
        days: u32,
        now: Timestamp,
        given: Option<&Secret>,
    ) -> Result<Self, PkiError> {
        let request = CaRequest {
            name: name.to_owned(),
            subject: Subject::default(),
            algorithm: Algorithm::EcdsaP256,
            days,
        };
        Self::make_as(&request, now, given)
    }

    /// Makes a CA as it is asked for, with a fresh key or the one given.
    ///
    /// # Errors
    /// When the key or the certificate cannot be made.
    pub fn make_as(
        request: &CaRequest,
        now: Timestamp,
        given: Option<&Secret>,
    ) -> Result<Self, PkiError> {
        let key = given.map_or_else(|| keys::make(request.algorithm), keys::load)?;
        let life = SignedDuration::from_hours(i64::from(request.days) * 24);
        let mut params = params(&request.name, &request.subject, now, life)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).map_err(made)?.pem();
        let secret = given
            .cloned()
            .unwrap_or_else(|| Secret::new(key.serialize_pem()));
        Self::load(&certificate, Some(&secret))
    }

    /// Loads a CA: its certificate and, where issuing is wanted, its key. RSA and EC keys in
    /// PKCS#8, PKCS#1 and SEC1 are read, as openssl and cfssl write them.
    ///
    /// # Errors
    /// When either cannot be read, they do not belong together, or the certificate is no CA's.
    pub fn load(certificate: &str, key: Option<&Secret>) -> Result<Self, PkiError> {
        let der = first_certificate(certificate)?;
        let parsed = parse(&der)?;
        // A CA file may hold more than its own certificate, such as the root behind it.
        let facts = inspect(certificate)?;
        if !facts.is_ca {
            return Err(PkiError::NotACa(facts.name));
        }
        let issuer = match key {
            None => None,
            Some(key) => {
                let pair = keys::load(key)?;
                let same = parsed.public_key().raw == pair.subject_public_key_info().as_slice()
                    || parsed.public_key().subject_public_key.data[..] == *pair.public_key_raw();
                if !same {
                    return Err(PkiError::KeyMismatch(facts.name));
                }
                let der: Vec<u8> = der.clone();
                Some(Issuer::from_ca_cert_der(&der.into(), pair).map_err(made)?)
            }
        };
        Ok(Self {
            certificate: certificate.to_owned(),
            facts,
            issuer,
            key: key.cloned(),
        })
    }

    /// The CA's certificate, PEM.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// What it says.
    #[must_use]
    pub fn facts(&self) -> &CertFacts {
        &self.facts
    }

    /// The CA's key, PEM, where it is here: for the file that keeps it.
    #[must_use]
    pub fn key(&self) -> Option<&Secret> {
        self.key.as_ref()
    }

    /// Issues a certificate with a fresh key. It ends no later than the CA does.
    ///
    /// # Errors
    /// When the CA has no key or is out of its time, or the request cannot be met.
    pub fn issue(&self, request: &CertRequest, now: Timestamp) -> Result<Issued, PkiError> {
        let key = keys::make(request.algorithm)?;
        Ok(Issued {
            certificate: self.certify(request, &key, now)?,
            key: Secret::new(key.serialize_pem()),
        })
    }

    /// Issues a certificate for the key of another one (DER), which is of the same name. It ends no
    /// later than the CA does.
    ///
    /// # Errors
    /// As [`Ca::issue`], and when the other is of another name, or of another algorithm than is
    /// asked for.
    pub fn renew(
        &self,
        request: &CertRequest,
        before: &[u8],
        now: Timestamp,
    ) -> Result<String, PkiError> {
        let before = parse(before).map_err(made)?;
        let facts = read(&before, before.as_raw()).map_err(made)?;
        if facts.name != request.name || facts.algorithm != Some(request.algorithm) {
            return Err(made(
                "the certificate that is there is of another name or algorithm",
            ));
        }
        let key = SubjectPublicKeyInfo::from_der(before.public_key().raw).map_err(made)?;
        self.certify(request, &key, now)
    }

    /// Whether this CA's key signed a certificate (DER): names and key IDs anyone can write.
    #[must_use]
    pub fn has_signed(&self, certificate: &[u8]) -> bool {
        let own = first_certificate(&self.certificate);
        let (Ok(own), Ok(other)) = (&own, parse(certificate)) else {
            return false;
        };
        parse(own).is_ok_and(|own| other.verify_signature(Some(own.public_key())).is_ok())
    }

    fn certify(
        &self,
        request: &CertRequest,
        key: &impl PublicKeyData,
        now: Timestamp,
    ) -> Result<String, PkiError> {
        let issuer = self
            .issuer
            .as_ref()
            .ok_or_else(|| PkiError::NoKey(self.facts.name.clone()))?;
        self.facts
            .check_validity(now)
            .map_err(|error| PkiError::OutOfTime {
                name: self.facts.name.clone(),
                why: error.to_string(),
            })?;
        let life =
            SignedDuration::from_hours(i64::from(request.hours)).min(self.facts.remaining(now));
        let mut params = params(&request.name, &request.subject, now, life)?;
        params.is_ca = IsCa::ExplicitNoCa;
        // Else it is made of the key, and the next certificate of a key that stays would have it
        // too.
        params.serial_number = Some(serial()?);
        for san in &request.sans {
            params.subject_alt_names.push(match san {
                Address::Ip(ip) => SanType::IpAddress(*ip),
                Address::Name(name) => SanType::DnsName(name.as_str().try_into().map_err(made)?),
            });
        }
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyEncipherment,
        ];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if request.usage.is_server() {
            params
                .extended_key_usages
                .push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        params.use_authority_key_identifier_extension = true;
        Ok(params.signed_by(key, issuer).map_err(made)?.pem())
    }
}

/// 126 random bits: positive, and of the same length always.
fn serial() -> Result<SerialNumber, PkiError> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(made)?;
    random[0] = random[0] & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&random))
}

fn params(
    name: &str,
    subject: &Subject,
    now: Timestamp,
    life: SignedDuration,
) -> Result<CertificateParams, PkiError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let parts = [
        (DnType::CountryName, &subject.country),
        (DnType::StateOrProvinceName, &subject.state),
        (DnType::LocalityName, &subject.locality),
        (DnType::OrganizationName, &subject.organization),
        (DnType::OrganizationalUnitName, &subject.unit),
    ];
    for (kind, value) in parts {
        if let Some(value) = value.as_deref().filter(|value| !value.is_empty()) {
            params.distinguished_name.push(kind, value);
        }
    }
    params.distinguished_name.push(DnType::CommonName, name);
    let at = |time: Timestamp| OffsetDateTime::from_unix_timestamp(time.as_second()).map_err(made);
    params.not_before = at(now - BACKDATED)?;
    params.not_after = at(now + life)?;
    Ok(params)
}

fn made(error: impl std::fmt::Display) -> PkiError {
    PkiError::Make(error.to_string())
}
