//! TLS towards members: the cluster's own CA and nothing else.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use etcdup_core::secret::Secret;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

/// How a member's client port is spoken to.
#[derive(Debug, Clone)]
pub enum Access {
    /// Plain HTTP.
    Plain,
    /// TLS, with a certificate of our own where clients must show one.
    Tls {
        /// The certificates of all CAs that a member's may be of, PEM.
        ca: String,
        /// Our own, where clients must show one.
        clients: Identities,
    },
}

/// Certificates of ours, each with its key, PEM. There is more than one while members go from one
/// CA to another: which of them a member accepts depends on the CA file that it started with, and
/// the CAs may have the same name, so that its own request for a certificate does not tell.
#[derive(Debug, Clone, Default)]
pub struct Identities {
    pairs: Arc<Vec<(String, Secret)>>,
    /// The one that was accepted last: most likely the next member accepts it too.
    accepted: Arc<AtomicUsize>,
}

impl Identities {
    /// Certificates with their keys, the likeliest first. None is shown where there is none.
    #[must_use]
    pub fn new(pairs: Vec<(String, Secret)>) -> Self {
        Self {
            pairs: Arc::new(pairs),
            accepted: Arc::default(),
        }
    }

    /// The certificate and key that was accepted last, else the first.
    #[must_use]
    pub fn likeliest(&self) -> Option<&(String, Secret)> {
        self.pairs.get(self.place())
    }

    /// The place of that one; 0 where there is none at all.
    pub(crate) fn place(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    pub(crate) fn pairs(&self) -> &[(String, Secret)] {
        &self.pairs
    }

    /// What belongs to each, with its place, in the order in which they should be tried.
    pub(crate) fn likeliest_first<'a, T>(
        &self,
        each: &'a [T],
    ) -> impl Iterator<Item = (usize, &'a T)> + use<'a, T> {
        let places = each.iter().enumerate();
        places
            .clone()
            .skip(self.place())
            .chain(places.take(self.place()))
    }

    pub(crate) fn accept(&self, place: usize) {
        self.accepted.store(place, Ordering::Relaxed);
    }
}

/// Why TLS cannot be set up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("TLS cannot be set up: {0}")]
pub struct TlsError(String);

fn tls(error: impl std::fmt::Display) -> TlsError {
    TlsError(error.to_string())
}

/// A configuration that shows our certificate, or none when `anonymous`.
pub(crate) fn config(
    ca: &str,
    client: Option<&(String, Secret)>,
    also: Vec<ServerName<'static>>,
    http2: bool,
) -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()) {
        roots.add(certificate.map_err(tls)?).map_err(tls)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), Arc::clone(&provider));
    let names = AnyName {
        inner: verifier.build().map_err(tls)?,
        also,
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(tls)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(names));
    let mut config = match client {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = CertificateDer::pem_slice_iter(certificate.as_bytes())
                .collect::<Result<Vec<_>, _>>()
                .map_err(tls)?;
            let key = PrivateKeyDer::from_pem_slice(key.reveal().as_bytes()).map_err(tls)?;
            builder.with_client_auth_cert(chain, key).map_err(tls)?
        }
    };
    // A resumed session would skip the exchange of certificates that is to be proven.
    config.resumption = Resumption::disabled();
    if http2 {
        config.alpn_protocols = vec![b"h2".to_vec()];
    }
    Ok(Arc::new(config))
}

/// Checks certificates as rustls does, for one of several names.
#[derive(Debug)]
struct AnyName {
    inner: Arc<WebPkiServerVerifier>,
    also: Vec<ServerName<'static>>,
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let check = |name: &ServerName<'_>| {
            let inner = &self.inner;
            inner.verify_server_cert(end_entity, intermediates, name, ocsp, now)
        };
        let first = check(server_name);
        let mut others = self.also.iter();
        match first {
            Err(_) if others.any(|name| check(name).is_ok()) => Ok(ServerCertVerified::assertion()),
            // The error names what was asked for first.
            first => first,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

pub(crate) fn server_name(host: &str) -> Result<ServerName<'static>, TlsError> {
    match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(ip) => Ok(ServerName::from(ip)),
        Err(_) => ServerName::try_from(host.to_owned()).map_err(tls),
    }
}
