//! Idempotency keys: a client that lost the answer may send its request again, also to the next
//! process of this server, since operations are recorded with what asked for them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use etcdup_core::operation::{OperationId, OperationRecord, RequestDigest};
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};

use crate::problem::{KEY_REUSED, Problem, TOO_MANY};

/// How long a key stands for its request.
const KEPT: SignedDuration = SignedDuration::from_hours(24);
/// How many are kept.
const MOST: usize = 10_000;

/// The requests that began operations, by the digests of their keys.
#[derive(Default)]
pub(crate) struct Keys(Mutex<HashMap<String, Used>>);

struct Used {
    at: Timestamp,
    body: String,
    operation: OperationId,
}

impl Keys {
    /// The operation that this request began; a problem where its key began another.
    pub(crate) fn find(&self, request: &RequestDigest) -> Result<Option<OperationId>, Problem> {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Timestamp::now();
        keys.retain(|_, used| now.duration_since(used.at) < KEPT);
        match keys.get(&request.key) {
            Some(used) if used.body == request.body => Ok(Some(used.operation.clone())),
            Some(_) => {
                let why = "this Idempotency-Key was used with another body";
                let status = StatusCode::UNPROCESSABLE_ENTITY;
                Err(Problem::new(status, &KEY_REUSED, why))
            }
            None if keys.len() >= MOST => {
                let why = "too many Idempotency-Keys are in use";
                let status = StatusCode::TOO_MANY_REQUESTS;
                Err(Problem::new(status, &TOO_MANY, why).after(Duration::from_secs(60)))
            }
            None => Ok(None),
        }
    }

    /// Notes what a request began, and when.
    pub(crate) fn note(&self, request: RequestDigest, at: Timestamp, operation: &OperationId) {
        let used = Used {
            at,
            body: request.body,
            operation: operation.clone(),
        };
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        keys.insert(request.key, used);
    }

    /// Notes what a record says of its request.
    pub(crate) fn note_recorded(&self, record: &OperationRecord) {
        if let Some(request) = &record.request {
            self.note(request.clone(), record.begun, &record.id);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests say what they expect")]

    use super::*;

    #[test]
    fn a_key_stands_for_one_request_for_a_day() {
        let keys = Keys::default();
        let id: OperationId = "01931b2e-7c2a-7d11-8a54-3f2a9c0d1e4b".parse().unwrap();
        let request = |key: &str, body: &str| RequestDigest {
            key: key.to_owned(),
            body: body.to_owned(),
        };
        let now = Timestamp::now();
        keys.note(request("a", "x"), now, &id);
        keys.note(
            request("old", "x"),
            now - SignedDuration::from_hours(25),
            &id,
        );
        assert_eq!(keys.find(&request("a", "x")).unwrap(), Some(id));
        let other = keys.find(&request("a", "y")).unwrap_err();
        assert_eq!(other.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(keys.find(&request("old", "x")).unwrap(), None);
    }
}
