//! Errors as RFC 9457 problem documents. Their ids are those that `etcdup explain` knows.

use std::time::Duration;

use etcdup_core::file::{Span, line_column};
use etcdup_core::finding::{Check, Finding};
use etcdup_deploy::snapshots::{FlowError, TakeError};
use etcdup_deploy::{DeployError, PlanDocument, StoreError, chain};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;

/// What this API refuses by itself, for `etcdup explain`.
pub const CHECKS: &[Check] = &[
    BAD_REQUEST,
    UNAUTHENTICATED,
    FORBIDDEN,
    FOREIGN,
    NOT_FOUND,
    METHOD,
    MEDIA_TYPE,
    TOO_LARGE,
    TOO_MANY,
    TOO_SLOW,
    UNCONFIRMED,
    RUNNING,
    KEY_REUSED,
    AMBIGUOUS,
    NAME_DIFFERS,
    TOPOLOGY_REFUSED,
    NOT_ADOPTABLE,
    STALE,
    UNCONDITIONAL,
    UNREADY,
    INTERNAL,
];

/// The request is not one.
pub(crate) const BAD_REQUEST: Check = Check {
    id: "bad-request",
    title: "a request cannot be read",
    about: "A body that is not JSON, a field or parameter that is unknown or of the wrong type, or a cursor that this server \
            did not make. Unknown fields are refused, since a misspelt one would pass unseen.",
    advice: "compare the request with /openapi.json",
};
/// No token, or none that is known.
pub(crate) const UNAUTHENTICATED: Check = Check {
    id: "unauthenticated",
    title: "a request carries no valid token",
    about: "Every request but those for the page itself carries a token as `Authorization: Bearer`, on loopback too: another \
            user of the machine must not become root on hosts.",
    advice: "make a token with `etcdup token create`, or open the address that `etcdup serve` prints",
};
/// The token's role is too low.
pub(crate) const FORBIDDEN: Check = Check {
    id: "forbidden",
    title: "a token's role does not allow this",
    about: "A viewer sees, an operator plans and applies, an admin also restores, recovers, resets, accepts outages and makes tokens.",
    advice: "use a token with the role that the answer names",
};
/// Another site's page, or a name that is not this server's.
pub(crate) const FOREIGN: Check = Check {
    id: "foreign-request",
    title: "a request comes from another site's page",
    about: "Browsers say where a request comes from. A page of another site could otherwise make requests with what the \
            browser holds, or reach this server by a name that it made resolve to loopback.",
    advice: "use the address that `etcdup serve` printed",
};
/// Nothing is there.
pub(crate) const NOT_FOUND: Check = Check {
    id: "not-found",
    title: "nothing is at this path",
    about: "The path is not one of this server's, or names a cluster, plan, operation or token that it does not have.",
    advice: "GET /openapi.json lists the paths, GET /v1/clusters the clusters",
};
/// The path has other methods.
pub(crate) const METHOD: Check = Check {
    id: "method-not-allowed",
    title: "the path does not take this method",
    about: "The answer's `Allow` says which methods it takes.",
    advice: "use one of those methods",
};
/// The body is of another type.
pub(crate) const MEDIA_TYPE: Check = Check {
    id: "unsupported-media-type",
    title: "a body is of another type than the path takes",
    about: "JSON is taken as `application/json` only, so that a plain form of another site's page is never one.",
    advice: "send the type that /openapi.json names",
};
/// The body is too large.
pub(crate) const TOO_LARGE: Check = Check {
    id: "too-large",
    title: "a body is larger than any request needs",
    about: "64 KiB are taken from whoever has a token, 4 KiB from anybody; what is larger is refused before it is read.",
    advice: "send less",
};
/// Too many at once, or too many failures.
pub(crate) const TOO_MANY: Check = Check {
    id: "too-many-requests",
    title: "too many requests",
    about: "After ten failures to authenticate in a row an address is told so only once a second, and this server carries \
            out so many requests and streams at once.",
    advice: "wait as long as `Retry-After` says",
};
/// The body took too long.
pub(crate) const TOO_SLOW: Check = Check {
    id: "request-too-slow",
    title: "a request took too long to arrive",
    about: "Headers have 10 seconds and bodies 30: whoever sends slower would keep others out.",
    advice: "send the request again",
};
/// The cluster's name was not typed.
pub(crate) const UNCONFIRMED: Check = Check {
    id: "unconfirmed",
    title: "what cannot be undone was not confirmed",
    about: "A reset, a restore, a recovery, and a plan with an outage, need the cluster's name in `confirm`, as a person types it.",
    advice: "send the cluster's name as `confirm`",
};
/// An operation runs on the cluster.
pub(crate) const RUNNING: Check = Check {
    id: "operation-running",
    title: "an operation is running on this cluster",
    about: "One operation a cluster: the answer names it.",
    advice: "wait for it, or cancel it",
};
/// The same key with another body.
pub(crate) const KEY_REUSED: Check = Check {
    id: "idempotency-key-reused",
    title: "an Idempotency-Key was used for another request",
    about: "A key stands for one request for 24 hours, so that a client which lost the answer may send it again.",
    advice: "make a new key for a new request",
};
/// Two files of one name.
pub(crate) const AMBIGUOUS: Check = Check {
    id: "ambiguous-name",
    title: "two topology files have one name",
    about: "A cluster is called as its file is without the ending, and `prod.toml` beside `prod.yaml` leaves open which is meant. \
            Two files of one cluster would share its CA and its records.",
    advice: "delete or rename one of the files",
};
/// Called otherwise than its path.
pub(crate) const NAME_DIFFERS: Check = Check {
    id: "name-differs",
    title: "a topology is of another cluster than its path says",
    about: "A topology that is sent to `/v1/clusters/prod/topology` says `cluster = \"prod\"`.",
    advice: "send it to the path of its cluster, or correct `cluster`",
};
/// Findings stand in the way.
pub(crate) const TOPOLOGY_REFUSED: Check = Check {
    id: "topology-refused",
    title: "the topology was rejected",
    about: "Everything that is wrong with it is in `findings`, each with its place; nothing was written.",
    advice: "correct what the findings name",
};
/// No cluster of hosts can be written down.
pub(crate) const NOT_ADOPTABLE: Check = Check {
    id: "not-adoptable",
    title: "what runs on the hosts is no cluster that a topology can describe",
    about: "Every host must run one etcd of the cluster, and their flags must agree with one another.",
    advice: "name all hosts of the cluster, and its data directory where several run on one",
};
/// Changed meanwhile.
pub(crate) const STALE: Check = Check {
    id: "stale",
    title: "the topology was changed meanwhile",
    about: "The tag that was sent is not that of the file any more: somebody else, or an editor, changed it since it was read.",
    advice: "read it again, and make the change again",
};
/// No condition.
pub(crate) const UNCONDITIONAL: Check = Check {
    id: "unconditional",
    title: "a change names no condition",
    about: "`If-Match` with the tag that was read keeps two people from undoing one another's change; `If-None-Match: *` makes a \
            new topology and never replaces one.",
    advice: "send `If-Match` or `If-None-Match: *`",
};
/// The server stops or cannot record.
pub(crate) const UNREADY: Check = Check {
    id: "not-ready",
    title: "the server takes no work now",
    about: "It is stopping, or cannot write its records; nothing is begun that could not be recorded.",
    advice: "ask again later; GET /readyz says when",
};
/// A fault of this program.
pub(crate) const INTERNAL: Check = Check {
    id: "internal-error",
    title: "an internal error of etcdup",
    about: "A fault of this program; its log has the request's id.",
    advice: "report it with what the log says",
};

/// An answer that is no success.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    pub(crate) document: Box<ProblemDocument>,
    /// The methods that the path takes.
    pub(crate) allow: Option<String>,
    /// When to ask again.
    pub(crate) retry: Option<Duration>,
}

/// An error as RFC 9457 has it.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ProblemDocument {
    /// `urn:etcdup:` and the id that `etcdup explain` knows.
    #[serde(rename = "type")]
    pub kind: String,
    /// One line about the kind.
    pub title: String,
    /// The status of the answer.
    pub status: u16,
    /// What happened this time.
    pub detail: String,
    /// What to do next.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub advice: String,
    /// All that was found, where it is more than one thing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<PlacedFinding>,
    /// Where the topology that was sent cannot be read.
    #[serde(flatten)]
    pub place: Place,
    /// The plan that holds now, where one that was approved does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanDocument>,
    /// The operation that is in the way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// The request's id, as the log has it.
    pub request: String,
}

/// A place in a topology that was sent, both numbers from 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Place {
    /// The line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// The column, in characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
}

impl Place {
    /// The place of this part of a text.
    pub(crate) fn of(text: &str, span: &Span) -> Self {
        let (line, column) = line_column(text, span);
        Self {
            line: Some(line),
            column: Some(column),
        }
    }
}

/// A finding, with its place where it is about a topology that was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PlacedFinding {
    /// What was found.
    #[serde(flatten)]
    pub finding: Finding,
    /// Where.
    #[serde(flatten)]
    pub place: Place,
}

impl From<Finding> for PlacedFinding {
    fn from(finding: Finding) -> Self {
        Self {
            finding,
            place: Place::default(),
        }
    }
}

impl Problem {
    pub(crate) fn new(status: StatusCode, check: &Check, detail: impl Into<String>) -> Self {
        let document = ProblemDocument {
            kind: format!("urn:etcdup:{}", check.id),
            title: check.title.to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            advice: check.advice.to_owned(),
            findings: Vec::new(),
            place: Place::default(),
            plan: None,
            operation: None,
            request: String::new(),
        };
        Self {
            status,
            document: Box::new(document),
            allow: None,
            retry: None,
        }
    }

    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, &BAD_REQUEST, detail)
    }

    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, &NOT_FOUND, detail)
    }

    pub(crate) fn internal(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, &INTERNAL, detail)
    }

    /// A file of the directory cannot be written.
    pub(crate) fn unwritten(error: &std::io::Error) -> Self {
        Self::internal(format!("a file cannot be written: {}", chain(error)))
    }

    pub(crate) fn after(mut self, wait: Duration) -> Self {
        self.retry = Some(wait);
        self
    }

    fn of(status: StatusCode, error: &DeployError) -> Self {
        let id = error.id();
        let page = etcdup_deploy::explain(id, CHECKS);
        let mut problem = Self::new(status, &INTERNAL, chain(error));
        problem.document.kind = format!("urn:etcdup:{id}");
        problem.document.title = page
            .as_ref()
            .map_or_else(|| id.replace('-', " "), |page| page.title.to_owned());
        let advice = page.as_ref().and_then(|page| page.advice);
        problem.document.advice =
            advice.map_or_else(|| format!("etcdup explain {id}"), str::to_owned);
        problem
    }
}

impl From<DeployError> for Problem {
    fn from(error: DeployError) -> Self {
        let status = match &error {
            DeployError::File { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                StatusCode::NOT_FOUND
            }
            DeployError::File { .. } => StatusCode::INTERNAL_SERVER_ERROR,
            DeployError::Parse { .. }
            | DeployError::Resolve(_)
            | DeployError::Render(_)
            | DeployError::Snapshot(_)
            | DeployError::Flow(FlowError::Fault(_)) => StatusCode::UNPROCESSABLE_ENTITY,
            DeployError::Take(TakeError::Unknown(_)) => StatusCode::NOT_FOUND,
            DeployError::Blocked(_)
            | DeployError::Locked { .. }
            | DeployError::PlanChanged { .. } => StatusCode::CONFLICT,
            DeployError::Busy
            | DeployError::Store(_)
            | DeployError::Unrecorded(_)
            | DeployError::Stopped(_) => StatusCode::SERVICE_UNAVAILABLE,
            DeployError::NoEffect(_)
            | DeployError::LeaseLost { .. }
            | DeployError::FewHosts { .. }
            | DeployError::Hosts(_)
            | DeployError::NotPermitted { .. }
            | DeployError::Gate { .. }
            | DeployError::PutBack(_)
            | DeployError::Cluster { .. }
            | DeployError::Stage(_)
            | DeployError::Release(_)
            | DeployError::Take(_)
            | DeployError::Flow(_)
            | DeployError::Vault(_) => StatusCode::BAD_GATEWAY,
        };
        let mut problem = Self::of(status, &error);
        if let DeployError::Store(_) = &error {
            // It names files of this machine.
            tracing::error!(error = chain(&error), "operations cannot be recorded");
            "operations cannot be recorded".clone_into(&mut problem.document.detail);
        }
        match error {
            DeployError::Blocked(findings) => {
                problem.document.findings = findings.into_iter().map(Into::into).collect();
            }
            DeployError::Parse { text, error, .. } => {
                let place = error.span.as_ref().map(|span| Place::of(&text, span));
                problem.document.place = place.unwrap_or_default();
            }
            _ => {}
        }
        problem
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Unknown(_) => Self::not_found(chain(&error)),
            StoreError::Runs(_) | StoreError::Ended(_) => {
                Self::new(StatusCode::CONFLICT, &RUNNING, chain(&error))
            }
            StoreError::File { .. } | StoreError::Damaged { .. } => {
                Self::from(DeployError::Store(error))
            }
        }
    }
}
