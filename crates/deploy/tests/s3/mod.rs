//! A server that speaks as S3 does, on loopback, with a directory for its objects.

use std::net::SocketAddr;
use std::path::Path;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// Who may ask, and with what secret.
pub(crate) const KEY: &str = "AKETCDUP";
pub(crate) const SECRET: &str = "hush-hush";

/// The server. Connections end with it.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    _serving: JoinSet<()>,
}

/// Serves the buckets below a directory; at any free port where the address names port 0.
pub(crate) async fn serve(root: &Path, address: &str) -> Result<Server, String> {
    let files = FileSystem::new(root).map_err(|error| format!("{error:?}"))?;
    let mut builder = S3ServiceBuilder::new(files);
    builder.set_auth(SimpleAuth::from_single(KEY, SECRET));
    let service = builder.build();
    let listener = TcpListener::bind(address).await;
    let listener = listener.map_err(|error| error.to_string())?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((socket, _)) = listener.accept().await {
            let service = service.clone();
            connections.spawn(async move {
                let builder = Builder::new(TokioExecutor::new());
                let served = builder.serve_connection(TokioIo::new(socket), service);
                let _ = served.await;
            });
        }
    });
    Ok(Server {
        address,
        _serving: serving,
    })
}
