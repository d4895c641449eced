//! Streams to a member: dialled, and wrapped in TLS where the member requires it.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use etcdup_core::secret::Secret;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_rustls::TlsConnector;

use crate::dial::{BoxIo, Dial, Endpoint, Plain};
use crate::tls::{Access, Identities, TlsError, config, server_name};

/// TLS towards a member, with each certificate that we may show.
struct Tls {
    name: ServerName<'static>,
    /// One for each identity; a single one that shows nothing where there is none.
    connectors: Vec<TlsConnector>,
    /// The same for HTTP/1.1, where there is more than one to choose from; else nothing is probed.
    probes: Vec<TlsConnector>,
    clients: Identities,
    /// Whether plain HTTP is spoken where TLS is not.
    or_plain: bool,
}

/// Opens streams for a channel of HTTP/2.
#[derive(Clone)]
pub(crate) struct Connector {
    dial: Arc<dyn Dial>,
    tls: Option<Arc<Tls>>,
    first_error: FirstError,
}

impl Connector {
    pub(crate) fn new(
        endpoint: &Endpoint,
        access: &Access,
        dial: Arc<dyn Dial>,
        first_error: FirstError,
    ) -> Result<Self, TlsError> {
        let tls = tls(endpoint, access, true)?;
        Ok(Self {
            dial,
            tls,
            first_error,
        })
    }

    /// The scheme of the URLs that it serves.
    pub(crate) fn scheme(&self) -> &'static str {
        match self.tls {
            None => "http",
            Some(_) => "https",
        }
    }
}

fn tls(endpoint: &Endpoint, access: &Access, http2: bool) -> Result<Option<Arc<Tls>>, TlsError> {
    let Access::Tls { ca, clients } = access else {
        return Ok(None);
    };
    if endpoint.plain == Plain::Only {
        return Ok(None);
    }
    let connectors = |http2: bool| -> Result<Vec<TlsConnector>, TlsError> {
        let pairs = clients.pairs().iter().map(Some);
        let nothing = clients.pairs().is_empty().then_some(None);
        let connector = |pair: Option<&(String, Secret)>| {
            let also = endpoint.also.iter().map(|name| server_name(name));
            let config = config(ca, pair, also.collect::<Result<Vec<_>, _>>()?, http2)?;
            Ok(TlsConnector::from(config))
        };
        pairs.chain(nothing).map(connector).collect()
    };
    Ok(Some(Arc::new(Tls {
        name: server_name(&endpoint.server_name)?,
        connectors: connectors(http2)?,
        probes: match clients.pairs() {
            [] | [_] => Vec::new(),
            [..] => connectors(false)?,
        },
        clients: clients.clone(),
        or_plain: endpoint.plain == Plain::WithoutTls,
    })))
}

impl Tls {
    /// The place of a certificate that the member accepts; the likeliest where it accepts none.
    async fn accepted(&self, dial: &dyn Dial) -> io::Result<usize> {
        let mut silent = None;
        for (place, probe) in self.clients.likeliest_first(&self.probes) {
            let stream = dial.dial().await?;
            let asked = tokio::time::timeout(PROBE, answers(probe, &self.name, stream));
            match asked.await {
                Ok(true) => {
                    self.clients.accept(place);
                    return Ok(place);
                }
                Ok(false) => {}
                // A member that accepts connections and says nothing has refused nothing yet.
                Err(_) => silent = silent.or(Some(place)),
            }
        }
        Ok(silent.unwrap_or_else(|| self.clients.place()))
    }
}

/// How long a member has to answer a probe.
const PROBE: Duration = Duration::from_secs(1);

/// Whether a member answers whoever shows this certificate: with TLS 1.3 our side of the handshake
/// ends before the member has looked at it, so only an answer tells.
async fn answers(probe: &TlsConnector, name: &ServerName<'static>, stream: BoxIo) -> bool {
    let asked = async {
        let mut stream = probe.connect(name.clone(), stream).await?;
        let request = b"GET /version HTTP/1.1\r\nHost: member\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await?;
        stream.read(&mut [0; 1]).await
    };
    matches!(asked.await, Ok(1..))
}

/// One stream for HTTP/1.1.
pub(crate) async fn open(
    endpoint: &Endpoint,
    access: &Access,
    dial: &dyn Dial,
) -> Result<BoxIo, OpenError> {
    let tls = tls(endpoint, access, false)?;
    Ok(connect(dial, tls.as_deref()).await?)
}

/// Why a stream could not be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Connect(#[from] io::Error),
}

async fn connect(dial: &dyn Dial, tls: Option<&Tls>) -> io::Result<BoxIo> {
    let Some(tls) = tls else {
        return dial.dial().await;
    };
    let place = tls.accepted(dial).await?;
    // Places are those of this very list.
    let connector = tls
        .connectors
        .get(place)
        .ok_or(io::ErrorKind::InvalidInput)?;
    let stream = dial.dial().await?;
    match connector.connect(tls.name.clone(), stream).await {
        Err(_) if tls.or_plain => dial.dial().await,
        connected => Ok(Box::new(connected?)),
    }
}

impl tower_service::Service<http::Uri> for Connector {
    type Response = TokioIo<BoxIo>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<BoxIo>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Uri) -> Self::Future {
        let Self {
            dial,
            tls,
            first_error,
        } = self.clone();
        Box::pin(async move {
            let stream = connect(dial.as_ref(), tls.as_deref()).await?;
            Ok(TokioIo::new(Box::new(ErrorRecorder {
                inner: stream,
                first_error,
            }) as BoxIo))
        })
    }
}

/// What the first failed read of a connection said: HTTP/2 loses it, and with TLS 1.3 a refused
/// client certificate shows only there.
pub(crate) type FirstError = Arc<OnceLock<String>>;

/// A stream whose first read error is remembered.
pub(crate) struct ErrorRecorder {
    pub(crate) inner: BoxIo,
    pub(crate) first_error: FirstError,
}

impl AsyncRead for ErrorRecorder {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_read(context, buffer);
        if let Poll::Ready(Err(error)) = &polled {
            let _ = self.first_error.set(error.to_string());
        }
        polled
    }
}

impl AsyncWrite for ErrorRecorder {
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
