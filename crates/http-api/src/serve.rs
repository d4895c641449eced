//! The server: hyper, no framework. Every request passes the same gates in the same order before a
//! handler sees it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use etcdup_deploy::{Cancel, Engine, Store};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited, StreamBody};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::audit::{Audit, AuditEntry};
use crate::call::{Answer, Call, Content, Options, Principal, State};
use crate::guard::{Failures, Names};
use crate::keys::Keys;
use crate::openapi::openapi;
use crate::plans::Plans;
use crate::problem::{FORBIDDEN, MEDIA_TYPE, Problem, TOO_LARGE, TOO_MANY, UNAUTHENTICATED};
use crate::recent::Recent;
use crate::router::{Method, TABLE, Takes, find};
use crate::routes::operations::resume_own;
use crate::routes::people::blocking;
use crate::session::Codes;
use crate::stream::server_sent;
use crate::token::Tokens;
use crate::topologies::Topologies;

/// The longest body of whoever has a token.
const LONGEST_BODY: usize = 64 << 10;
/// The longest topology.
const LONGEST_TOPOLOGY: usize = 1 << 20;
/// The media types of a topology: no form of another site's page has `application/toml`, and one
/// that has `text/plain` carries no token.
const TOPOLOGY_TYPES: [&str; 4] = [
    "text/plain",
    "application/toml",
    "application/yaml",
    "application/x-yaml",
];
/// The longest body of anybody.
const LONGEST_OF_STRANGERS: usize = 4 << 10;
/// How long a client may take to send its headers, and a connection may be idle.
const SLOWEST_HEADERS: Duration = Duration::from_secs(10);
/// How long a client may take to send its body.
const SLOWEST_BODY: Duration = Duration::from_secs(30);
/// Headers of one request.
const MOST_HEADERS: usize = 16 << 10;
/// Requests that ask hosts at once: each opens a connection to every host of a cluster.
const LOOKS: usize = 4;
/// Streams at once.
const STREAMS: usize = 2000;
/// Connections beside streams.
const OTHERS: usize = 256;
/// Files that connections leave to hosts' links, journals and tokens.
const RESERVED: u64 = 512;
/// The longest a connection lives, whatever is under way on it: a stream ends before.
const LONGEST_CONNECTION: Duration = Duration::from_secs(3700);
/// How long what runs may take to end between two stages.
const STOPS_WITHIN: Duration = Duration::from_secs(60);

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Why the server does not work.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address may be reached from the network.
    #[error("{0} can be reached from the network; this release serves loopback only")]
    NotLoopback(SocketAddr),
    /// The directory of topology files is missing, or is no directory.
    #[error("{0} is not a directory")]
    Directory(PathBuf),
    /// The address cannot be listened on.
    #[error("cannot listen on {0}")]
    Listen(SocketAddr, #[source] std::io::Error),
    /// There is no randomness to make a code from.
    #[error("cannot make a code to sign in with")]
    Code(#[from] getrandom::Error),
}

/// What the caller gets once the server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// Where.
    pub address: SocketAddr,
    /// A code that signs a browser in: good once, for five minutes.
    pub code: String,
}

/// Serves until cancelled; `bound` gets the address and a code to sign in with.
///
/// # Errors
/// When the address is not a loopback one or cannot be listened on.
pub async fn serve(
    options: Options,
    cancel: Cancel,
    bound: impl FnOnce(Bound),
) -> Result<(), ServeError> {
    if !options.listen.ip().is_loopback() {
        return Err(ServeError::NotLoopback(options.listen));
    }
    if !options.directory.is_dir() {
        return Err(ServeError::Directory(options.directory));
    }
    let failed = |error| ServeError::Listen(options.listen, error);
    let listener = TcpListener::bind(options.listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let state = Arc::new(state_of(options, cancel.clone()));
    let code = state.codes.make()?;
    bound(Bound { address, code });
    let resuming = Arc::clone(&state);
    state
        .tasks
        .spawn(async move { resume_own(&resuming).await });
    let connections = Arc::new(Semaphore::new(connections()));
    loop {
        let place = Arc::clone(&connections).acquire_owned();
        let accepted = tokio::select! {
            () = cancel.cancelled() => break,
            accepted = async { (place.await, listener.accept().await) } => accepted,
        };
        let (place, Ok((stream, from))) = accepted else {
            // Too many open files: do not spin.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let (served, cancel) = (Arc::clone(&state), cancel.clone());
        state.tasks.spawn(async move {
            let _place = place;
            let service = service_fn(move |request| {
                let state = Arc::clone(&served);
                async move { Ok::<_, Infallible>(answer(&state, request, from.ip()).await) }
            });
            let connection = builder().serve_connection(TokioIo::new(stream), service);
            tokio::pin!(connection);
            tokio::select! {
                _ = connection.as_mut() => return,
                // A client that does not read is not polled either: this is the end of it.
                () = tokio::time::sleep(LONGEST_CONNECTION) => return,
                () = cancel.cancelled() => connection.as_mut().graceful_shutdown(),
            }
            let _ = tokio::time::timeout(Duration::from_secs(10), connection.as_mut()).await;
        });
    }
    drop(listener);
    state.tasks.close();
    state.tasks.wait().await;
    state.engine.close(STOPS_WITHIN).await;
    Ok(())
}

/// How many connections are held at once: never so many that an operation lacks files for its
/// hosts' links or its journal.
fn connections() -> usize {
    let wanted = (STREAMS + OTHERS) as u64;
    let limit = rlimit::increase_nofile_limit(wanted + RESERVED).unwrap_or(1024);
    let most = limit.saturating_sub(RESERVED).clamp(64, wanted);
    usize::try_from(most).unwrap_or(OTHERS)
}

fn state_of(options: Options, stopping: Cancel) -> State {
    let store = Store::beside(&options.directory);
    State {
        engine: Engine::new(options.settings, store.clone()),
        topologies: Topologies::of(options.directory.clone(), store.clone()),
        store,
        openapi: openapi(TABLE),
        names: Names(options.host_names),
        tokens: Tokens::beside(&options.directory),
        failures: Failures::default(),
        codes: Codes::default(),
        audit: Audit::beside(&options.directory),
        recent: Recent::default(),
        plans: Plans::default(),
        keys: Keys::default(),
        turns: Semaphore::new(LOOKS),
        streams: Arc::new(Semaphore::new(STREAMS)),
        tasks: TaskTracker::new(),
        stopping,
    }
}

/// HTTP/1.1 alone: browsers speak HTTP/2 over TLS only, and each connection is one request at most
/// that waits.
fn builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .max_buf_size(MOST_HEADERS)
        .header_read_timeout(SLOWEST_HEADERS);
    builder
}

async fn answer(state: &Arc<State>, request: Request<Incoming>, from: IpAddr) -> Response<Body> {
    let id = uuid::Uuid::now_v7().to_string();
    let seen = Seen {
        id: id.clone(),
        from,
        verb: request.method().to_string(),
        path: request.uri().path().chars().take(200).collect(),
    };
    let mut response = match checked(state, request, from).await {
        Ok((method, call)) => {
            // In a task of its own: a client that hangs up must not cut in half what it began, nor
            // keep it out of the audit trail.
            let (state, handler) = (Arc::clone(state), method.handler);
            let work = state.tasks.clone().spawn(async move {
                let who = call.who.clone();
                let answered = handler(call).await;
                respond(&state, &seen, who, answered).await
            });
            let lost = |_| refused(Problem::internal("its task died"), &id);
            work.await.unwrap_or_else(lost)
        }
        Err((problem, who)) => respond(state, &seen, who, Err(problem)).await,
    };
    let headers = response.headers_mut();
    let own = [
        ("x-request-id", id.as_str()),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        (
            "content-security-policy",
            "default-src 'none'; frame-ancestors 'none'",
        ),
    ];
    for (name, value) in own {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
    response
}

/// What is answered, once it is noted.
async fn respond(
    state: &Arc<State>,
    seen: &Seen,
    who: Option<Principal>,
    answered: Answered,
) -> Response<Body> {
    seen.noted(state, who, &answered).await;
    match answered {
        Ok(answer) => shown(answer, &state.stopping),
        Err(problem) => refused(problem, &seen.id),
    }
}

/// A request, for the log and the audit trail.
struct Seen {
    id: String,
    from: IpAddr,
    verb: String,
    path: String,
}

impl Seen {
    /// Logs what was answered, and notes it in the audit trail where it changes something, or was
    /// refused to somebody.
    async fn noted(&self, state: &Arc<State>, who: Option<Principal>, answered: &Answered) {
        let (status, detail, made) = match answered {
            Ok(answer) => (answer.status, None, answer.made()),
            Err(problem) => (problem.status, Some(problem.document.detail.clone()), None),
        };
        let (request, verb, path) = (&self.id, &self.verb, &self.path);
        let name = who.as_ref().map(|who| &who.name);
        if status.is_server_error() {
            tracing::error!(request, verb, path, %status, who = name, detail, "failed");
        } else {
            tracing::info!(request, verb, path, %status, who = name, "answered");
        }
        let reads = ["GET", "HEAD"].contains(&verb.as_str());
        if reads && ![401, 403, 429].contains(&status.as_u16()) {
            return;
        }
        let entry = AuditEntry {
            at: Timestamp::now(),
            who: who.as_ref().map(|who| who.name.clone()),
            token: who.map(|who| who.token),
            from: self.from.to_string(),
            method: verb.clone(),
            path: path.clone(),
            made,
            status: status.as_u16(),
            request: request.clone(),
            skipped: 0,
        };
        let state = Arc::clone(state);
        let written = blocking(move || state.audit.append(entry)).await;
        if !matches!(written, Ok(Ok(()))) {
            tracing::error!(request, "the audit trail cannot be written");
        }
    }
}

type Answered = Result<Answer, Problem>;
/// What the gates refuse, and to whom, where that is known.
type Refused = (Problem, Option<Principal>);

/// The gates: a request that passes them is one that its row takes.
async fn checked(
    state: &Arc<State>,
    request: Request<Incoming>,
    from: IpAddr,
) -> Result<(&'static Method, Call), Refused> {
    let (parts, body) = request.into_parts();
    let nobody = |problem| (problem, None);
    state
        .names
        .check(&parts.headers, &parts.uri)
        .map_err(nobody)?;
    let (method, path) = find(parts.method.as_str(), parts.uri.path()).map_err(nobody)?;
    let who = match method.role {
        None => None,
        Some(role) => {
            let found = authenticate(state, &parts.headers, from)
                .await
                .map_err(nobody)?;
            if found.role < role {
                let why = format!("this needs the role {role}");
                let problem = Problem::new(StatusCode::FORBIDDEN, &FORBIDDEN, why);
                return Err((problem, Some(found)));
            }
            Some(found)
        }
    };
    let query = parameters(method, parts.uri.query().unwrap_or_default());
    let query = query.map_err(|problem| (problem, who.clone()))?;
    let body = read(method, &parts.headers, body).await;
    let body = body.map_err(|problem| (problem, who.clone()))?;
    let call = Call {
        state: Arc::clone(state),
        path,
        query,
        headers: parts.headers,
        body,
        from,
        who,
    };
    Ok((method, call))
}

async fn authenticate(
    state: &Arc<State>,
    headers: &HeaderMap,
    from: IpAddr,
) -> Result<Principal, Problem> {
    let given = headers.get(header::AUTHORIZATION);
    let Some(given) = given.and_then(|value| value.to_str().ok()) else {
        let why = "the request carries no token";
        return Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            &UNAUTHENTICATED,
            why,
        ));
    };
    let secret = given
        .split_once(' ')
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let Some((_, secret)) = secret else {
        return Err(state
            .failures
            .failed(from, "the token comes as `Authorization: Bearer`"));
    };
    let (tokens, secret) = (state.tokens.clone(), secret.trim().to_owned());
    let found = blocking(move || tokens.find(&secret)).await??;
    let Some(token) = found else {
        return Err(state
            .failures
            .failed(from, "the token is unknown, or has ended"));
    };
    state.failures.succeeded(from);
    Ok(Principal {
        name: token.name,
        role: token.role,
        token: token.id,
    })
}

/// The query's parameters. Unknown ones are refused: a misspelt one would pass unseen.
fn parameters(method: &Method, query: &str) -> Result<BTreeMap<String, String>, Problem> {
    let mut found = BTreeMap::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if !method.parameters.iter().any(|known| known.name == name) {
            return Err(Problem::bad_request(format!(
                "there is no parameter `{name}`"
            )));
        }
        if found.insert(name.to_string(), value.into_owned()).is_some() {
            return Err(Problem::bad_request(format!("`{name}` is given twice")));
        }
    }
    Ok(found)
}

async fn read(method: &Method, headers: &HeaderMap, body: Incoming) -> Result<Bytes, Problem> {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let right = match method.takes {
        None => true,
        Some(Takes::Json(_)) => kind.eq_ignore_ascii_case("application/json"),
        Some(Takes::Topology) => TOPOLOGY_TYPES
            .iter()
            .any(|known| kind.eq_ignore_ascii_case(known)),
    };
    if !right {
        let why = match method.takes {
            Some(Takes::Topology) => {
                "the body is a topology, as `text/plain` or `application/toml`"
            }
            Some(Takes::Json(_)) | None => "the body is JSON, as `application/json`",
        };
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            &MEDIA_TYPE,
            why,
        ));
    }
    let limit = match (method.takes, method.role) {
        (None, _) => 0,
        (Some(_), None) => LONGEST_OF_STRANGERS,
        (Some(Takes::Topology), Some(_)) => LONGEST_TOPOLOGY,
        (Some(Takes::Json(_)), Some(_)) => LONGEST_BODY,
    };
    let reading = tokio::time::timeout(SLOWEST_BODY, Limited::new(body, limit).collect());
    match reading.await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() && limit == 0 => {
            Err(Problem::bad_request("this takes no body"))
        }
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let why = format!("the body is larger than {limit} bytes");
            Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, &TOO_LARGE, why))
        }
        Ok(Err(_)) => Err(Problem::bad_request("the body was cut off")),
        Err(_) => {
            let why = "the body did not come in time";
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, &TOO_MANY, why))
        }
    }
}

fn shown(answer: Answer, stopping: &Cancel) -> Response<Body> {
    let (kind, body) = match answer.content {
        Content::Json(body) => (Some("application/json"), full(body)),
        Content::Text(kind, text) => (Some(kind), full(text)),
        Content::Empty => (None, full(Bytes::new())),
        Content::Stream(streamed) => {
            let events = server_sent(*streamed, stopping.clone());
            let body = StreamBody::new(events).boxed_unsync();
            (Some("text/event-stream"), body)
        }
    };
    let mut response = Response::new(body);
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    headers.extend(answer.headers);
    if let Some(kind) = kind {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    response
}

fn refused(mut problem: Problem, id: &str) -> Response<Body> {
    id.clone_into(&mut problem.document.request);
    if problem.status == StatusCode::INTERNAL_SERVER_ERROR {
        // What it was may name files of this machine.
        let shown = "the server's log has the reason, under the request's ID";
        shown.clone_into(&mut problem.document.detail);
    }
    let body = serde_json::to_vec(&problem.document).unwrap_or_default();
    let mut response = Response::new(full(body));
    *response.status_mut() = problem.status;
    let headers = response.headers_mut();
    let kind = HeaderValue::from_static("application/problem+json");
    headers.insert(header::CONTENT_TYPE, kind);
    if problem.status == StatusCode::UNAUTHORIZED {
        let challenge = HeaderValue::from_static("Bearer realm=\"etcdup\"");
        headers.insert(header::WWW_AUTHENTICATE, challenge);
    }
    if let Some(allow) = problem
        .allow
        .as_deref()
        .and_then(|allow| HeaderValue::from_str(allow).ok())
    {
        headers.insert(header::ALLOW, allow);
    }
    if let Some(retry) = problem.retry {
        headers.insert(
            header::RETRY_AFTER,
            HeaderValue::from(retry.as_secs().max(1)),
        );
    }
    response
}

fn full(body: impl Into<Bytes>) -> Body {
    Full::new(body.into()).boxed_unsync()
}
