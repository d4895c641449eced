//! The server: hyper, no framework. Every request passes the same gates in the same order before a
//! handler sees it.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use etcdup_deploy::{Cancel, Engine, Limits, Settings, Store};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutWriter;
use tokio_util::task::TaskTracker;

use crate::audit::Audit;
use crate::blocking::blocking;
use crate::call::{Options, STREAMS, State};
use crate::guard::{Failures, Names};
use crate::keep::{read_files, watch_files};
use crate::keys::Keys;
use crate::metrics::Metrics;
use crate::openapi::openapi;
use crate::plans::Plans;
use crate::recent::Recent;
use crate::respond::answer;
use crate::routes::operations::resume_own;
use crate::schedule::keep_snapshots;
use crate::session::Codes;
use crate::table::TABLE;
use crate::tls::{Tls, TlsError};
use crate::token::Tokens;
use crate::topologies::Topologies;
use crate::watch::Watches;

/// How long a client may take to send its headers, and a connection may be idle.
const SLOWEST_HEADERS: Duration = Duration::from_secs(10);
/// How long a client may leave what it asked for unread.
const SLOWEST_READER: Duration = Duration::from_secs(30);
/// Headers of one request.
const MOST_HEADERS: usize = 16 << 10;
/// Requests that ask hosts at once: each opens a connection to every host of a cluster.
const LOOKS: usize = 4;
/// Snapshots that are taken or read at once.
const COPIES: usize = 2;
/// Operations that are carried out at once.
const OPERATIONS: usize = 8;
/// Operations that wait for their turn.
const QUEUED: usize = 200;
/// Connections beside streams.
const OTHERS: usize = 256;
/// Files that connections leave to hosts' links, journals and tokens.
const RESERVED: u64 = 512;
/// The longest a connection lives, whatever is under way on it: a stream ends before.
const LONGEST_CONNECTION: Duration = Duration::from_secs(3700);
/// How long what runs may take to end between two stages.
const STOPS_WITHIN: Duration = Duration::from_secs(60);

/// Why the server does not work.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address may be reached from the network, and nothing would keep tokens from whoever
    /// listens there.
    #[error("{0} can be reached from the network, which takes --tls-cert and --tls-key")]
    Plain(SocketAddr),
    /// Clients could use no name for the server that it answers to.
    #[error("{0} is no address that a client can name: give --host-name")]
    Nameless(SocketAddr),
    /// TLS cannot be served.
    #[error(transparent)]
    Tls(#[from] TlsError),
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
/// When the address is not a loopback one and there is no TLS, or it cannot be listened on.
pub async fn serve(
    options: Options,
    cancel: Cancel,
    bound: impl FnOnce(Bound),
) -> Result<(), ServeError> {
    let ip = options.listen.ip();
    if !ip.is_loopback() && options.tls.is_none() {
        return Err(ServeError::Plain(options.listen));
    }
    if ip.is_unspecified() && options.host_names.is_empty() {
        return Err(ServeError::Nameless(options.listen));
    }
    if !options.directory.is_dir() {
        return Err(ServeError::Directory(options.directory));
    }
    let tls = options.tls.clone().map(Tls::of).transpose()?.map(Arc::new);
    let failed = |error| ServeError::Listen(options.listen, error);
    let listener = TcpListener::bind(options.listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let state = Arc::new(state_of(options, cancel.clone()));
    for stored in state.engine.operations().await.unwrap_or_default() {
        state.keys.note_recorded(&stored.record);
    }
    // Before anybody is answered: what viewers are not shown is known from the files.
    if let Err(problem) = read_files(&state).await {
        tracing::error!(why = problem.document.detail, "topologies cannot be read");
    }
    let code = state.codes.make()?;
    bound(Bound { address, code });
    let resuming = Arc::clone(&state);
    state
        .tasks
        .spawn(async move { resume_own(&resuming).await });
    state.tasks.spawn(watch_files(Arc::clone(&state)));
    state.tasks.spawn(keep_snapshots(Arc::clone(&state)));
    // Connections are taken until all is left in order: whoever asks meanwhile is told that this
    // server takes no work any more.
    let closing = Cancel::new();
    let (leaving, closed) = (Arc::clone(&state), closing.clone());
    let ending = tokio::spawn(async move {
        leaving.stopping.cancelled().await;
        leaving.engine.leave(STOPS_WITHIN).await;
        closed.cancel();
    });
    let connections = Arc::new(Semaphore::new(connections()));
    loop {
        let place = Arc::clone(&connections).acquire_owned();
        let accepted = tokio::select! {
            () = closing.cancelled() => break,
            accepted = async { (place.await, listener.accept().await) } => accepted,
        };
        let (place, Ok((stream, from))) = accepted else {
            // Too many open files: do not spin.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let (served, closing, tls) = (Arc::clone(&state), closing.clone(), tls.clone());
        state.tasks.spawn(async move {
            let _place = place;
            match tls {
                None => serve_one(served, stream, from.ip(), closing).await,
                Some(tls) => {
                    let Ok(acceptor) = blocking(move || tls.acceptor()).await else {
                        return;
                    };
                    let accepted = acceptor.accept(stream);
                    let accepted = tokio::time::timeout(SLOWEST_HEADERS, accepted).await;
                    if let Ok(Ok(stream)) = accepted {
                        serve_one(served, stream, from.ip(), closing).await;
                    }
                }
            }
        });
    }
    drop(listener);
    let _ = ending.await;
    state.tasks.close();
    state.tasks.wait().await;
    Ok(())
}

/// Answers the requests of one connection, until it ends.
async fn serve_one<S: AsyncRead + AsyncWrite + Unpin>(
    state: Arc<State>,
    stream: S,
    from: IpAddr,
    cancel: Cancel,
) {
    let service = service_fn(move |request| {
        let state = Arc::clone(&state);
        async move { Ok::<_, Infallible>(answer(&state, request, from).await) }
    });
    // Whoever does not read holds a connection, and what waits to be sent on it.
    let mut stream = TimeoutWriter::new(stream);
    stream.set_timeout(Some(SLOWEST_READER));
    let stream = Box::pin(stream);
    let connection = builder().serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        // A client that does not read is not polled either: this is the end of it.
        () = tokio::time::sleep(LONGEST_CONNECTION) => return,
        () = cancel.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    let _ = tokio::time::timeout(Duration::from_secs(10), connection.as_mut()).await;
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
    let settings = Settings {
        // What this server began is left to its next start, not ended, when it stops.
        cancel: Cancel::new(),
        limits: Limits {
            operations: OPERATIONS,
            queued: QUEUED,
            ..options.settings.limits
        },
        ..options.settings
    };
    State {
        directories: own_directories(&options.directory, &settings),
        operator: settings.operator.clone(),
        engine: Engine::new(settings, store.clone()),
        topologies: Topologies::of(options.directory.clone(), store.clone()),
        store,
        openapi: openapi(TABLE),
        names: Names::of(options.host_names, options.origins, options.listen.ip()),
        tokens: Tokens::beside(&options.directory),
        failures: Failures::default(),
        codes: Codes::default(),
        audit: Audit::beside(&options.directory),
        recent: Recent::default(),
        watches: Arc::new(Watches::every(options.watch_every)),
        metrics: Metrics::default(),
        plans: Plans::default(),
        keys: Keys::default(),
        looks: Semaphore::new(LOOKS),
        turns: Semaphore::new(LOOKS),
        copies: Semaphore::new(COPIES),
        streams: Arc::new(Semaphore::new(STREAMS)),
        tasks: TaskTracker::new(),
        stopping,
    }
}

/// The directories of this machine that errors may name.
fn own_directories(served: &Path, settings: &Settings) -> Vec<PathBuf> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let own = [
        Some(served.to_owned()),
        served.canonicalize().ok(),
        Some(settings.cache.clone()),
        home.filter(|home| home.parent().is_some()),
    ];
    own.into_iter().flatten().collect()
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
