//! What a handler is given, and what it answers.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use etcdup_core::operation::Who;
use etcdup_deploy::{Cancel, Engine, Settings, Store};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::audit::Audit;
use crate::guard::{Failures, Names};
use crate::keys::Keys;
use crate::metrics::Metrics;
use crate::plans::Plans;
use crate::problem::{FORBIDDEN, Problem, TOO_MANY};
use crate::recent::Recent;
use crate::session::Codes;
use crate::stream::{Source, Streamed};
use crate::tls::TlsFiles;
use crate::token::{Role, Tokens};
use crate::topologies::Topologies;
use crate::watch::Watches;

/// How whoever has a token is called in leases and records, before the token's name.
pub(crate) const BY_TOKEN: &str = "token_";

/// Streams at once.
pub(crate) const STREAMS: usize = 2000;
/// The media type of JSON, a value a line.
pub(crate) const JSON_LINES: &str = "application/jsonl";
/// The highest number of an event: what JSON's readers hold exactly.
pub(crate) const MOST_EVENTS: u64 = 1 << 53;
/// How long a request waits for its turn.
const LONGEST_QUEUE: Duration = Duration::from_secs(30);

/// What to serve, and where.
#[derive(Clone)]
pub struct Options {
    /// The directory of topology files.
    pub directory: PathBuf,
    /// The address to listen on: a loopback one, or any with TLS.
    pub listen: SocketAddr,
    /// What TLS is served with; none where HTTP is plain.
    pub tls: Option<TlsFiles>,
    /// Names beside loopback ones and the address itself that the server answers to.
    pub host_names: Vec<String>,
    /// Other sites whose pages may ask, as `https://dashboard.example.com`; none by default.
    pub origins: Vec<String>,
    /// How often the members of each cluster are asked how they are; never where it is zero.
    pub watch_every: Duration,
    /// What the engine is made with.
    pub settings: Settings,
}

/// What requests share.
pub(crate) struct State {
    pub(crate) engine: Engine,
    /// Whose process this is, and on which machine.
    pub(crate) operator: Who,
    pub(crate) store: Store,
    /// The document that tells programs what this server takes.
    pub(crate) openapi: serde_json::Value,
    pub(crate) topologies: Topologies,
    /// This machine's own, whose names viewers are not shown.
    pub(crate) directories: Vec<PathBuf>,
    pub(crate) names: Names,
    pub(crate) tokens: Tokens,
    pub(crate) failures: Failures,
    pub(crate) codes: Codes,
    pub(crate) audit: Audit,
    pub(crate) recent: Recent,
    pub(crate) watches: Arc<Watches>,
    pub(crate) metrics: Metrics,
    pub(crate) plans: Plans,
    pub(crate) keys: Keys,
    /// Requests that only look at hosts; each opens connections to every host of a cluster.
    pub(crate) looks: tokio::sync::Semaphore,
    /// Requests that plan, or begin: whoever only looks keeps none of them waiting.
    pub(crate) turns: tokio::sync::Semaphore,
    /// Snapshots that are taken or read: each is a whole store.
    pub(crate) copies: tokio::sync::Semaphore,
    /// Streams that are open.
    pub(crate) streams: Arc<tokio::sync::Semaphore>,
    /// Connections, and what requests began, which goes on when a client hangs up.
    pub(crate) tasks: tokio_util::task::TaskTracker,
    /// The server stops: streams end, and nothing is begun.
    pub(crate) stopping: Cancel,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Principal {
    pub(crate) name: String,
    pub(crate) role: Role,
    /// The token's id.
    pub(crate) token: String,
    /// When that ends.
    pub(crate) ends: Timestamp,
}

/// A request, checked as far as its row says.
pub(crate) struct Call {
    pub(crate) state: Arc<State>,
    /// Parts of the path that have a name.
    pub(crate) path: BTreeMap<String, String>,
    /// The parameters, each known to the row.
    pub(crate) query: BTreeMap<String, String>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) from: IpAddr,
    /// Nobody on a path that is open to all.
    pub(crate) who: Option<Principal>,
}

/// What is answered.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) content: Content,
}

/// The body of an answer.
pub(crate) enum Content {
    /// JSON.
    Json(String),
    /// JSON, a value a line.
    JsonLines(String),
    /// Text of this media type.
    Text(&'static str, String),
    /// A file that is built in, of this media type.
    Bytes(&'static str, &'static [u8]),
    /// Events as they happen.
    Stream(Box<Streamed>),
    /// Nothing.
    Empty,
}

pub(crate) type Handled = Pin<Box<dyn Future<Output = Result<Answer, Problem>> + Send>>;

impl State {
    /// A place among those who watch.
    pub(crate) fn place(&self) -> Result<tokio::sync::OwnedSemaphorePermit, Problem> {
        let place = Arc::clone(&self.streams).try_acquire_owned();
        place.map_err(|_| {
            let why = "as many streams are open as this server holds";
            let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, &TOO_MANY, why);
            problem.after(Duration::from_secs(5))
        })
    }

    /// A turn among those who only look at hosts.
    pub(crate) async fn look(&self) -> Result<tokio::sync::SemaphorePermit<'_>, Problem> {
        Self::turn_of(&self.looks).await
    }

    /// A turn among those who plan, or begin.
    pub(crate) async fn turn(&self) -> Result<tokio::sync::SemaphorePermit<'_>, Problem> {
        Self::turn_of(&self.turns).await
    }

    /// A turn among those who take or read snapshots.
    pub(crate) async fn copy(&self) -> Result<tokio::sync::SemaphorePermit<'_>, Problem> {
        Self::turn_of(&self.copies).await
    }

    async fn turn_of(
        turns: &tokio::sync::Semaphore,
    ) -> Result<tokio::sync::SemaphorePermit<'_>, Problem> {
        match tokio::time::timeout(LONGEST_QUEUE, turns.acquire()).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) | Err(_) => {
                let why = "as many clusters are asked as this server asks at once";
                let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, &TOO_MANY, why);
                Err(problem.after(Duration::from_secs(5)))
            }
        }
    }
}

impl Call {
    /// A part of the path.
    pub(crate) fn part(&self, name: &str) -> &str {
        self.path.get(name).map_or("", String::as_str)
    }

    /// The same of what may be any text, which its client encodes.
    pub(crate) fn text(&self, name: &str) -> Result<String, Problem> {
        let text = percent_encoding::percent_decode_str(self.part(name)).decode_utf8();
        let broken = |_| Problem::bad_request(format!("the {name} in the path is not UTF-8"));
        Ok(text.map_err(broken)?.into_owned())
    }

    /// Who asks, on a path that asks for a token.
    pub(crate) fn principal(&self) -> Result<&Principal, Problem> {
        let none = || Problem::internal("a path without a role asks who is asking");
        self.who.as_ref().ok_or_else(none)
    }

    /// Who it is for leases and records.
    pub(crate) fn recorded_as(&self) -> Result<Who, Problem> {
        let name = format!("{BY_TOKEN}{}", self.principal()?.name);
        Ok(self.state.operator.beside(&name))
    }

    /// Refuses who has a lower role.
    pub(crate) fn needs(&self, role: Role) -> Result<(), Problem> {
        if self.principal()?.role >= role {
            return Ok(());
        }
        let why = format!("this needs the role {role}");
        Err(Problem::new(StatusCode::FORBIDDEN, &FORBIDDEN, why))
    }

    /// The body as JSON. Unknown fields are refused where the type says so.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        serde_json::from_slice(&self.body)
            .map_err(|error| Problem::bad_request(format!("the body is not as expected: {error}")))
    }

    /// A parameter that is a number.
    pub(crate) fn number(&self, name: &str, otherwise: u64, most: u64) -> Result<u64, Problem> {
        let Some(text) = self.query.get(name) else {
            return Ok(otherwise);
        };
        let number = text.parse().ok().filter(|number| *number <= most);
        number.ok_or_else(|| {
            Problem::bad_request(format!("`{name}` is a whole number of at most {most}"))
        })
    }
}

impl Answer {
    pub(crate) fn of(status: StatusCode, content: Content) -> Self {
        Self {
            status,
            headers: Vec::new(),
            content,
        }
    }

    /// Each on a line of its own.
    pub(crate) fn json_lines(lines: impl Iterator<Item = String>) -> Self {
        let lines = lines.map(|line| line + "\n").collect();
        Self::of(StatusCode::OK, Content::JsonLines(lines))
    }

    pub(crate) fn json(value: &impl Serialize) -> Result<Self, Problem> {
        Self::with(StatusCode::OK, value)
    }

    pub(crate) fn with(status: StatusCode, value: &impl Serialize) -> Result<Self, Problem> {
        let body = serde_json::to_string(value)
            .map_err(|error| Problem::internal(format!("an answer cannot be written: {error}")))?;
        Ok(Self::of(status, Content::Json(body)))
    }

    /// What it says was made.
    pub(crate) fn made(&self) -> Option<String> {
        let mut headers = self.headers.iter();
        let place = headers.find(|(name, _)| *name == http::header::LOCATION);
        place.and_then(|(_, place)| place.to_str().ok().map(str::to_owned))
    }

    /// What a stream sends, which holds this place until it ends.
    pub(crate) fn stream(source: Source, place: tokio::sync::OwnedSemaphorePermit) -> Self {
        let streamed = Streamed {
            source,
            _place: place,
        };
        Self::of(StatusCode::OK, Content::Stream(Box::new(streamed)))
    }

    pub(crate) fn empty() -> Self {
        Self::of(StatusCode::NO_CONTENT, Content::Empty)
    }

    pub(crate) fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
        self
    }

    /// How old what it says is.
    pub(crate) fn aged(self, age: Duration) -> Self {
        self.header(http::header::AGE, &age.as_secs().to_string())
    }
}
