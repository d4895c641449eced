//! Codes that sign a browser in: good once, for five minutes, in the fragment of an address, which
//! browsers send to nobody.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use etcdup_core::digest::{hex, sha256};
use tokio::time::Instant;

/// How long a code is good.
const GOOD: Duration = Duration::from_secs(300);

/// The codes that are good, by their digests.
#[derive(Default)]
pub(crate) struct Codes(Mutex<HashMap<String, Instant>>);

impl Codes {
    /// Makes a code.
    pub(crate) fn make(&self) -> Result<String, getrandom::Error> {
        let mut random = [0_u8; 16];
        getrandom::fill(&mut random)?;
        let code = hex(&random);
        let mut codes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        codes.insert(sha256(code.as_bytes()), Instant::now());
        Ok(code)
    }

    /// Whether a code is good; it is not any more afterwards.
    pub(crate) fn take(&self, code: &str) -> bool {
        let mut codes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        codes.retain(|_, made| made.elapsed() < GOOD);
        // Looked up by its digest, so that how long it takes tells nothing about the code.
        codes.remove(&sha256(code.as_bytes())).is_some()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests say what they expect")]

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_code_is_good_once_and_for_five_minutes() {
        let codes = Codes::default();
        let code = codes.make().unwrap();
        assert!(!codes.take("0123"));
        assert!(codes.take(&code));
        assert!(!codes.take(&code));
        let late = codes.make().unwrap();
        tokio::time::advance(GOOD).await;
        assert!(!codes.take(&late));
    }
}
