//! The server: hyper, no framework.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use etcdup_deploy::{Cancel, Engine, Store};
use http::{Request, Response, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::call::{Call, Options};
use crate::problem::Problem;
use crate::recent::Recent;
use crate::router::{Route, find};

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
    let store = Store::beside(&options.directory);
    let server = Arc::new(Server {
        engine: Engine::new(options.settings, store),
        directory: Arc::new(options.directory),
        turns: Semaphore::new(AT_ONCE),
        recent: Recent::default(),
    });
    let tasks = TaskTracker::new();
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
        let (server, cancel) = (Arc::clone(&server), cancel.clone());
        tasks.spawn(async move {
            let mut builder = auto::Builder::new(TokioExecutor::new());
            builder
                .http1()
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(10));
            let service = service_fn(move |request| {
                let server = Arc::clone(&server);
                async move { Ok::<_, Infallible>(answer(&server, &request).await) }
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
    server.engine.close(Duration::from_secs(30)).await;
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

/// A page of another site can still send requests blindly, and each would log in to hosts with the
/// operator's agent: browsers say where a request comes from.
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

/// How many requests that ask hosts may be under way: each opens a connection to every host of a
/// cluster.
const AT_ONCE: usize = 4;

/// What requests share.
struct Server {
    engine: Engine,
    directory: Arc<PathBuf>,
    turns: Semaphore,
    recent: Recent,
}

impl Server {
    /// What a route answers, and how old that is.
    async fn call(
        &self,
        route: &Route,
        path: &str,
        cluster: String,
    ) -> Result<(Value, Duration), Problem> {
        let call = Call {
            engine: self.engine.clone(),
            directory: Arc::clone(&self.directory),
            cluster,
        };
        if !route.asks_hosts {
            return Ok(((route.handler)(call).await?, Duration::ZERO));
        }
        let ask = async {
            let _turn = self.turns.acquire().await;
            (route.handler)(call).await
        };
        self.recent.get(path, ask).await
    }
}

async fn answer(server: &Server, request: &Request<Incoming>) -> Response<Full<Bytes>> {
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
        Ok((route, cluster)) => server.call(route, &path, cluster).await,
        Err(problem) => Err(problem),
    };
    let (status, kind, body, age) = match answered {
        Ok((value, age)) => (http::StatusCode::OK, "application/json", value, age),
        Err(problem) => (
            problem.status,
            "application/problem+json",
            problem.body(&id),
            Duration::ZERO,
        ),
    };
    tracing::info!(request = id, method = %request.method(), path, status = status.as_u16(), "answered");
    let mut response = Response::new(Full::new(Bytes::from(
        serde_json::to_vec(&body).unwrap_or_default(),
    )));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    headers.insert(header::AGE, header::HeaderValue::from(age.as_secs()));
    if let Ok(id) = header::HeaderValue::from_str(&id) {
        headers.insert("x-request-id", id);
    }
    response
}
