//! Idempotency keys: a client that lost the answer may send its request again.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use etcdup_core::digest::sha256;
use etcdup_core::operation::OperationId;
use http::StatusCode;
use tokio::time::Instant;

use crate::problem::{KEY_REUSED, Problem, TOO_MANY};

/// How long a key stands for its request.
const KEPT: Duration = Duration::from_secs(24 * 3600);
/// How many are kept.
const MOST: usize = 10_000;

/// The keys of operations that were begun, each of one token.
#[derive(Default)]
pub(crate) struct Keys(Mutex<HashMap<(String, String), Used>>);

struct Used {
    at: Instant,
    body: String,
    operation: OperationId,
}

impl Keys {
    /// The operation that this key began; a problem where it began another.
    pub(crate) fn find(
        &self,
        token: &str,
        key: &str,
        body: &[u8],
    ) -> Result<Option<OperationId>, Problem> {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        keys.retain(|_, used| used.at.elapsed() < KEPT);
        match keys.get(&(token.to_owned(), key.to_owned())) {
            Some(used) if used.body == sha256(body) => Ok(Some(used.operation.clone())),
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

    /// Notes what a key began.
    pub(crate) fn note(&self, token: &str, key: &str, body: &[u8], operation: &OperationId) {
        let used = Used {
            at: Instant::now(),
            body: sha256(body),
            operation: operation.clone(),
        };
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        keys.insert((token.to_owned(), key.to_owned()), used);
    }
}
