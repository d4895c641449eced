//! From a request to its response: gates, handler, audit trail.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use etcdup_deploy::Cancel;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use jiff::Timestamp;

use crate::audit::AuditEntry;
use crate::blocking::blocking;
use crate::call::{Answer, Content, JSON_LINES, Principal, State};
use crate::gates::checked;
use crate::problem::Problem;
use crate::stream::server_sent;
use crate::token::Role;
use crate::veil::Veil;
use crate::watch::Watches;

pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;
type Answered = Result<Answer, Problem>;

pub(crate) async fn answer(
    state: &Arc<State>,
    request: Request<Incoming>,
    from: IpAddr,
) -> Response<Body> {
    let id = uuid::Uuid::now_v7().to_string();
    let seen = Seen {
        id: id.clone(),
        from,
        verb: request.method().as_str().chars().take(16).collect(),
        path: request.uri().path().chars().take(200).collect(),
    };
    let other = state.names.other_origin(request.headers()).cloned();
    if let Some(origin) = &other
        && request.method() == Method::OPTIONS
    {
        return preflight(state, &request, origin);
    }
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
            let lost = |_| refused(Problem::internal("its task died"), &id, &Veil::default());
            work.await.unwrap_or_else(lost)
        }
        Err((problem, who)) => respond(state, &seen, who, Err(problem)).await,
    };
    let headers = response.headers_mut();
    if let Some(origin) = other {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        let read = HeaderValue::from_static("ETag, Location, Age, Retry-After");
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, read);
        headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    }
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
            // The page has its own policy, and is kept by browsers.
            headers.entry(name).or_insert(value);
        }
    }
    response
}

/// What a browser asks before a page of another site that is named may ask.
fn preflight(state: &State, request: &Request<Incoming>, origin: &HeaderValue) -> Response<Body> {
    let mut response = Response::new(full(Bytes::new()));
    let host = state
        .names
        .check(request.method(), request.headers(), request.uri());
    if host.is_err() {
        *response.status_mut() = StatusCode::FORBIDDEN;
        return response;
    }
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    let allowed = [
        (
            header::ACCESS_CONTROL_ALLOW_METHODS,
            "GET, PUT, POST, DELETE",
        ),
        (
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            "Authorization, Content-Type, If-Match, If-None-Match, Idempotency-Key, \
             Last-Event-ID, Cache-Control",
        ),
        (header::ACCESS_CONTROL_MAX_AGE, "600"),
        (header::VARY, "Origin"),
    ];
    for (name, value) in allowed {
        headers.insert(name, HeaderValue::from_static(value));
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
    state.metrics.answered(match &answered {
        Ok(answer) => answer.status,
        Err(problem) => problem.status,
    });
    // Whoever has no token learns as little.
    let sees_all = who.as_ref().is_some_and(|who| who.role > Role::Viewer);
    let veil = match sees_all {
        true => Veil::default(),
        false => state.watches.veil(),
    };
    seen.noted(state, who, &answered).await;
    match answered {
        Ok(answer) => {
            let hidden = (!sees_all).then(|| Arc::clone(&state.watches));
            shown(answer, &state.stopping, &veil, hidden)
        }
        Err(problem) => refused(problem, &seen.id, &veil),
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

fn shown(
    answer: Answer,
    stopping: &Cancel,
    veil: &Veil,
    hidden: Option<Arc<Watches>>,
) -> Response<Body> {
    let (kind, body) = match answer.content {
        Content::Json(body) => (Some("application/json"), full(veil.over(body))),
        Content::JsonLines(body) => (Some(JSON_LINES), full(veil.over(body))),
        Content::Text(kind, text) => (Some(kind), full(text)),
        Content::Bytes(kind, bytes) => (Some(kind), full(bytes)),
        Content::Empty => (None, full(Bytes::new())),
        Content::Stream(streamed) => {
            let events = server_sent(*streamed, stopping.clone(), hidden);
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

fn refused(mut problem: Problem, id: &str, veil: &Veil) -> Response<Body> {
    id.clone_into(&mut problem.document.request);
    if problem.status == StatusCode::INTERNAL_SERVER_ERROR {
        // What it was may name files of this machine.
        let shown = "the server's log has the reason, under the request's ID";
        shown.clone_into(&mut problem.document.detail);
    }
    let body = serde_json::to_string(&problem.document).unwrap_or_default();
    let mut response = Response::new(full(veil.over(body)));
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
