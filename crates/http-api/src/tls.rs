//! TLS for addresses that others can reach. The files are read again when they change, so that who
//! renews a certificate restarts nothing.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use etcdup_core::plain::chain;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

/// How often the files are looked at, at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The files that TLS is served with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate with its chain, in PEM.
    pub cert: PathBuf,
    /// Its private key, in PEM.
    pub key: PathBuf,
    /// The CA, in PEM, of the certificates that clients must show beside their tokens; none where
    /// they need not show any.
    pub client_ca: Option<PathBuf>,
}

/// Why TLS cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or is not what it should be.
    #[error("cannot use {path}")]
    Pem {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: rustls::pki_types::pem::Error,
    },
    /// There is no certificate in the file.
    #[error("there is no certificate in {0}")]
    Empty(PathBuf),
    /// Certificate and key do not go together, or cannot be used.
    #[error("the certificate and its key cannot be used")]
    Pair(#[source] rustls::Error),
    /// The CA of clients cannot be used.
    #[error("the CA of clients cannot be used: {0}")]
    ClientCa(String),
}

/// Hands out what connections are accepted with, as the files are now.
pub(crate) struct Tls {
    files: TlsFiles,
    now: Mutex<Now>,
}

struct Now {
    acceptor: TlsAcceptor,
    state: State,
    looked: Instant,
}

type State = Vec<Option<(SystemTime, u64)>>;

impl Tls {
    /// Reads the files.
    pub(crate) fn of(files: TlsFiles) -> Result<Self, TlsError> {
        let state = files.state();
        let now = Now {
            acceptor: files.read()?,
            state,
            looked: Instant::now(),
        };
        Ok(Self {
            files,
            now: Mutex::new(now),
        })
    }

    /// What the next connection is accepted with. Files that cannot be used change nothing: a
    /// certificate that is being replaced may not fit its key for a moment.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if now.looked.elapsed() >= LOOK_EVERY {
            now.looked = Instant::now();
            let state = self.files.state();
            if state != now.state {
                match self.files.read() {
                    Ok(acceptor) => {
                        now.acceptor = acceptor;
                        now.state = state;
                        tracing::info!("the certificate was read again");
                    }
                    Err(error) => {
                        let error = chain(&error);
                        tracing::error!(error, "the certificate cannot be read again");
                    }
                }
            }
        }
        now.acceptor.clone()
    }
}

impl TlsFiles {
    fn state(&self) -> State {
        let files = [Some(&self.cert), Some(&self.key), self.client_ca.as_ref()];
        let state = |path: &PathBuf| {
            let data = std::fs::metadata(path).ok()?;
            Some((data.modified().ok()?, data.len()))
        };
        files.into_iter().flatten().map(state).collect()
    }

    fn read(&self) -> Result<TlsAcceptor, TlsError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let own = certificates(&self.cert)?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|source| TlsError::Pem {
            path: self.key.clone(),
            source,
        })?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Pair)?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let mut roots = RootCertStore::empty();
                for one in certificates(path)? {
                    let added = roots.add(one);
                    added.map_err(|error| TlsError::ClientCa(chain(&error)))?;
                }
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                let refused =
                    |error: rustls::server::VerifierBuilderError| TlsError::ClientCa(chain(&error));
                builder.with_client_cert_verifier(verifier.map_err(refused)?)
            }
        };
        let mut config = builder.with_single_cert(own, key).map_err(TlsError::Pair)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |source| TlsError::Pem {
        path: path.to_owned(),
        source,
    };
    let read = CertificateDer::pem_file_iter(path).map_err(failed)?;
    let found: Vec<_> = read.collect::<Result<_, _>>().map_err(failed)?;
    if found.is_empty() {
        return Err(TlsError::Empty(path.to_owned()));
    }
    Ok(found)
}
