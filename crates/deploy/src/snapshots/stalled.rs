//! How long anything may take that a disk or a network does.

use std::fmt::Display;
use std::time::Duration;

use super::error::PlaceError;

/// How long a place may send nothing of what is read from it, or take nothing.
pub(super) const STALLED: Duration = Duration::from_secs(120);

/// How much is written at most before the disk must have it, in bytes: all of it at the end would
/// look like a disk that hangs.
pub(super) const SYNCED: u64 = 64 << 20;

/// What is done with `what`, unless it takes longer than this.
pub(super) async fn in_time<T>(
    what: impl Display,
    limit: Duration,
    work: impl Future<Output = Result<T, PlaceError>>,
) -> Result<T, PlaceError> {
    match tokio::time::timeout(limit, work).await {
        Ok(done) => done,
        Err(_) => {
            let why = format!("it was not done within {} s", limit.as_secs_f32());
            Err(PlaceError::new(what, why))
        }
    }
}
