//! Work that may wait for a disk.

use etcdup_core::plain::chain;

use crate::problem::Problem;

/// Work that waits for the disk.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    let joined = tokio::task::spawn_blocking(work).await;
    joined.map_err(|error| Problem::internal(chain(&error)))
}
