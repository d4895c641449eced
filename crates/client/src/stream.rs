//! Streams to a member: dialled, and wrapped in TLS where the member requires it.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::dial::{BoxIo, Dial, Endpoint};
use crate::tls::{Access, TlsError, config, server_name};

/// What a stream to a member needs besides the connection itself.
type Tls = (
    tokio_rustls::TlsConnector,
    rustls::pki_types::ServerName<'static>,
);

/// Opens streams for a channel of HTTP/2.
#[derive(Clone)]
pub(crate) struct Connector {
    dial: Arc<dyn Dial>,
    tls: Option<Tls>,
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

fn tls(endpoint: &Endpoint, access: &Access, http2: bool) -> Result<Option<Tls>, TlsError> {
    match access {
        Access::Plain => Ok(None),
        Access::Tls { ca, client } => {
            let also = endpoint.also.iter().map(|name| server_name(name));
            let also = also.collect::<Result<Vec<_>, _>>()?;
            let config = config(ca, client.as_ref(), also, http2)?;
            let name = server_name(&endpoint.server_name)?;
            Ok(Some((tokio_rustls::TlsConnector::from(config), name)))
        }
    }
}

/// One stream for HTTP/1.1.
pub(crate) async fn open(
    endpoint: &Endpoint,
    access: &Access,
    dial: &dyn Dial,
) -> Result<BoxIo, OpenError> {
    let tls = tls(endpoint, access, false)?;
    Ok(wrap(dial.dial().await?, tls).await?)
}

/// Why a stream could not be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Connect(#[from] io::Error),
}

async fn wrap(stream: BoxIo, tls: Option<Tls>) -> io::Result<BoxIo> {
    Ok(match tls {
        None => stream,
        Some((connector, name)) => Box::new(connector.connect(name, stream).await?),
    })
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
            let stream = wrap(dial.dial().await?, tls).await?;
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
