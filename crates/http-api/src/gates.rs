//! The gates: every request passes the same ones, in the same order, before a handler sees it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;

use crate::blocking::blocking;
use crate::call::{Call, Principal, State};
use crate::problem::{FORBIDDEN, MEDIA_TYPE, Problem, TOO_LARGE, TOO_SLOW, UNAUTHENTICATED};
use crate::router::find;
use crate::row::{Method, Parameter, ParameterPlace, ParameterValue, Takes};

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
/// How long a client may take to send its body.
const SLOWEST_BODY: Duration = Duration::from_secs(30);

/// What the gates refuse, and to whom, where that is known.
pub(crate) type Refused = (Problem, Option<Principal>);

/// The gates: a request that passes them is one that its row takes.
pub(crate) async fn checked(
    state: &Arc<State>,
    request: Request<Incoming>,
    from: IpAddr,
) -> Result<(&'static Method, Call), Refused> {
    let (parts, body) = request.into_parts();
    let nobody = |problem| (problem, None);
    state
        .names
        .check(&parts.method, &parts.headers, &parts.uri)
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
        ends: token.ends,
    })
}

/// The query's parameters. Unknown ones are refused: a misspelt one would pass unseen.
fn parameters(method: &Method, query: &str) -> Result<BTreeMap<String, String>, Problem> {
    let mut found = BTreeMap::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let known = method
            .parameters
            .iter()
            .find(|known: &&Parameter| known.name == name && known.place == ParameterPlace::Query);
        let Some(known) = known else {
            let why = format!("there is no parameter `{name}`");
            return Err(Problem::bad_request(why));
        };
        if let ParameterValue::OneOf(values) = known.value
            && !values.contains(&&*value)
        {
            let why = format!("`{name}` is one of {}", values.join(", "));
            return Err(Problem::bad_request(why));
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
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, &TOO_SLOW, why))
        }
    }
}
