//! TLS towards members: the cluster's own CA and nothing else.

use std::error::Error as StdError;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use etcdup_core::secret::Secret;
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::dial::BoxIo;

/// How a member's client port is spoken to.
#[derive(Debug, Clone)]
pub enum Access {
    /// Plain HTTP.
    Plain,
    /// TLS, with a certificate of our own where clients must show one.
    Tls {
        /// The CA's certificate, PEM.
        authority: String,
        /// Our certificate and key, PEM.
        client: Option<(String, Secret)>,
    },
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
    authority: &str,
    client: Option<&(String, Secret)>,
    http2: bool,
) -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority.as_bytes()) {
        roots.add(certificate.map_err(tls)?).map_err(tls)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(tls)?
        .with_root_certificates(roots);
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

pub(crate) fn server_name(host: &str) -> Result<ServerName<'static>, TlsError> {
    match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(ip) => Ok(ServerName::from(ip)),
        Err(_) => ServerName::try_from(host.to_owned()).map_err(tls),
    }
}

/// What the first failed read of a connection said: HTTP/2 loses it, and with TLS 1.3 a refused client certificate shows
/// only there.
pub(crate) type FirstWords = Arc<OnceLock<String>>;

/// A stream whose first read error is remembered.
pub(crate) struct Tap {
    pub(crate) inner: BoxIo,
    pub(crate) words: FirstWords,
}

impl AsyncRead for Tap {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_read(context, buffer);
        if let Poll::Ready(Err(error)) = &polled {
            let _ = self.words.set(error.to_string());
        }
        polled
    }
}

impl AsyncWrite for Tap {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }
    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }
    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

/// The deepest words of a chain of errors: the ones that say what happened.
pub(crate) fn deepest(error: &(dyn StdError + 'static)) -> String {
    let mut current = error;
    while let Some(source) = current.source() {
        current = source;
    }
    current.to_string()
}
