//! How a member is reached: the caller decides.

use std::io;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};

/// A stream that can be read and written.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection to a member's client port.
pub type BoxIo = Box<dyn Io>;

/// Connects to one member's client port.
#[async_trait]
pub trait Dial: Send + Sync {
    /// A new connection.
    async fn dial(&self) -> io::Result<BoxIo>;
}

/// The address of a member's client port, as TLS and HTTP use it.
#[derive(Debug, Clone, Default)]
pub struct Endpoint {
    /// `address:port`, for the request's authority.
    pub authority: String,
    /// The name or address that the member's certificate must be valid for.
    pub server_name: String,
    /// Others that do as well: a member that is being moved still shows its old certificate.
    pub also: Vec<String>,
    /// Whether it speaks plain HTTP, whatever others of its cluster do.
    pub plain: Plain,
}

/// Whether a member speaks plain HTTP.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Plain {
    /// It speaks TLS.
    #[default]
    Never,
    /// It speaks nothing else.
    Only,
    /// It goes from one to the other: TLS is tried first.
    WithoutTls,
}

/// Dials by TCP from this machine.
#[derive(Debug, Clone)]
pub struct TcpDial {
    host: String,
    port: u16,
}

impl TcpDial {
    /// To this host and port.
    #[must_use]
    pub fn new(host: &str, port: u16) -> Self {
        Self {
            host: host.to_owned(),
            port,
        }
    }
}

#[async_trait]
impl Dial for TcpDial {
    async fn dial(&self) -> io::Result<BoxIo> {
        let stream = tokio::net::TcpStream::connect((self.host.as_str(), self.port)).await?;
        stream.set_nodelay(true)?;
        Ok(Box::new(stream))
    }
}
