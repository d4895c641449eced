//! The server: hyper, no framework.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use etcdup_deploy::Cancel;
use http::{Request, Response, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::call::{Call, Options};
use crate::problem::Problem;
use crate::router::find;

/// Why the server does not work.
#[derive(Debug)]
pub enum ServeError {
    /// The address may be reached from the network.
    NotLoopback(SocketAddr),
    /// The directory of topology files is missing, or is no directory.
    Directory(PathBuf),
    /// The address cannot be listened on.
    Listen(SocketAddr, std::io::Error),
}

impl std::fmt::Display for ServeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ServeError::NotLoopback(address) => write!(
                f,
                "{address} can be reached from the network; this release serves loopback only"
            ),
            ServeError::Directory(path) => {
                write!(f, "{} is not a directory", path.display())
            }
            ServeError::Listen(address, error) => write!(f, "cannot listen on {address}: {error}"),
        }
    }
}

impl std::error::Error for ServeError {}

/// Serves until cancelled; `bound` is told the address.
///
/// # Errors
/// When the address is not a loopback one or cannot be listened on.
pub async fn serve(
    options: Options,
    cancel: Cancel,
    bound: impl FnOnce(SocketAddr),
) -> Result<(), ServeError> {
    if !options.listen.ip().is_loopback() {
        return Err(ServeError::NotLoopback(options.listen));
    }
    if !options.directory.is_dir() {
        return Err(ServeError::Directory(options.directory));
    }
    let failed = |error| ServeError::Listen(options.listen, error);
    let listener = TcpListener::bind(options.listen).await.map_err(failed)?;
    bound(listener.local_addr().map_err(failed)?);
    let options = Arc::new(options);
    let tasks = TaskTracker::new();
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        let accepted = tokio::select! {
            () = cancel.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            // Too many open files: do not spin.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let (options, cancel) = (Arc::clone(&options), cancel.clone());
        let turns = Arc::clone(&turns);
        tasks.spawn(async move {
            let mut builder = auto::Builder::new(TokioExecutor::new());
            builder
                .http1()
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(10));
            let service = service_fn(move |request| {
                let (options, turns) = (Arc::clone(&options), Arc::clone(&turns));
                async move { Ok::<_, Infallible>(answer(&options, &turns, &request).await) }
            });
            let connection = builder.serve_connection(TokioIo::new(stream), service);
            tokio::pin!(connection);
            tokio::select! {
                _ = connection.as_mut() => return,
                () = cancel.cancelled() => connection.as_mut().graceful_shutdown(),
            }
            let _ = tokio::time::timeout(Duration::from_secs(10), connection.as_mut()).await;
        });
    }
    tasks.close();
    tasks.wait().await;
    Ok(())
}

/// A page of another site must not be able to ask by a name that it made resolve to loopback.
fn is_local(request: &Request<Incoming>) -> bool {
    let host = request
        .headers()
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .or_else(|| request.uri().host());
    let Some(host) = host else { return false };
    let bare = host
        .rsplit_once(':')
        .filter(|(_, port)| port.chars().all(|c| c.is_ascii_digit()))
        .map_or(host, |(host, _)| host);
    bare == "localhost"
        || bare
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback())
}

/// A page of another site can still send requests blindly, and each would log in to hosts with the operator's agent: browsers
/// say where a request comes from.
fn is_cross_site(request: &Request<Incoming>) -> bool {
    let value = |name: &str| {
        let value = request.headers().get(name);
        value.and_then(|value| value.to_str().ok())
    };
    let fetched =
        value("sec-fetch-site").is_some_and(|site| !["same-origin", "none"].contains(&site));
    let own = |origin: &str| {
        value("host").is_some_and(|host| origin.strip_prefix("http://") == Some(host))
    };
    fetched || value("origin").is_some_and(|origin| !own(origin))
}

/// How many requests that ask hosts may be under way: each opens a connection to every host of a cluster.
const AT_ONCE: usize = 4;

async fn answer(
    options: &Arc<Options>,
    turns: &Arc<Semaphore>,
    request: &Request<Incoming>,
) -> Response<Full<Bytes>> {
    let id = uuid::Uuid::now_v7().to_string();
    let path = request.uri().path().to_owned();
    let refuse = |kind: &'static str, why: &'static str| {
        Err(Problem::new(http::StatusCode::FORBIDDEN, kind, why))
    };
    let found = if !is_local(request) {
        refuse("foreign-host", "this server answers to loopback names only")
    } else if is_cross_site(request) {
        refuse(
            "foreign-origin",
            "requests from pages of other sites are refused",
        )
    } else {
        find(request.method(), &path)
    };
    let answered = match found {
        Ok((route, cluster)) => {
            let _turn = turns.acquire().await;
            (route.handler)(Call {
                options: Arc::clone(options),
                cluster,
            })
            .await
        }
        Err(problem) => Err(problem),
    };
    let (status, kind, body) = match answered {
        Ok(value) => (http::StatusCode::OK, "application/json", value),
        Err(problem) => (
            problem.status,
            "application/problem+json",
            problem.body(&id),
        ),
    };
    tracing::info!(request = id, method = %request.method(), path, status = status.as_u16(), "answered");
    let mut response = Response::new(Full::new(Bytes::from(
        serde_json::to_vec(&body).unwrap_or_default(),
    )));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    if let Ok(id) = header::HeaderValue::from_str(&id) {
        headers.insert("x-request-id", id);
    }
    response
}
