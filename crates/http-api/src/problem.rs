//! Errors as RFC 9457 problem documents.

use etcdup_deploy::{DeployError, chain};
use http::StatusCode;
use serde_json::{Value, json};

/// An answer that is no success.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    pub(crate) kind: &'static str,
    pub(crate) detail: String,
    pub(crate) findings: Value,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, kind: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            kind,
            detail: detail.into(),
            findings: Value::Null,
        }
    }

    pub(crate) fn body(&self, request: &str) -> Value {
        let mut body = json!({
            "type": format!("urn:etcdup:problem:{}", self.kind),
            "title": self.kind.replace('-', " "),
            "status": self.status.as_u16(),
            "detail": self.detail,
            "request": request,
        });
        if !self.findings.is_null() {
            body["findings"] = self.findings.clone();
        }
        body
    }
}

impl From<DeployError> for Problem {
    fn from(error: DeployError) -> Self {
        match &error {
            DeployError::Blocked(findings) => {
                let findings = serde_json::to_value(findings).unwrap_or_default();
                Self {
                    findings,
                    ..Self::new(StatusCode::CONFLICT, "blocked", chain(&error))
                }
            }
            DeployError::File { .. } => {
                Self::new(StatusCode::NOT_FOUND, "no-such-cluster", chain(&error))
            }
            DeployError::Parse { .. } | DeployError::Resolve(_) | DeployError::Render(_) => {
                Self::new(
                    StatusCode::UNPROCESSABLE_ENTITY,
                    "bad-topology",
                    chain(&error),
                )
            }
            DeployError::Locked { .. } => Self::new(StatusCode::CONFLICT, "locked", chain(&error)),
            DeployError::PlanChanged { .. } => {
                Self::new(StatusCode::CONFLICT, "plan-changed", chain(&error))
            }
            DeployError::Busy => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "too-many-operations",
                chain(&error),
            ),
            DeployError::Store(_) => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "operation-record",
                chain(&error),
            ),
            DeployError::Stopped(_) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "stopped", chain(&error))
            }
            DeployError::NoEffect(_)
            | DeployError::LeaseLost { .. }
            | DeployError::FewHosts { .. }
            | DeployError::Hosts(_)
            | DeployError::NotPermitted { .. }
            | DeployError::Gate { .. }
            | DeployError::Cluster { .. }
            | DeployError::Stage(_)
            | DeployError::Release(_)
            | DeployError::Vault(_) => {
                Self::new(StatusCode::BAD_GATEWAY, "hosts-failed", chain(&error))
            }
        }
    }
}
