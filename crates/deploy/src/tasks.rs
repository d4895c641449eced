//! Work on many hosts or members side by side, with every outcome kept: a task that dies is an
//! outcome too.

use std::collections::BTreeMap;

use tokio::task::JoinSet;

/// Runs all at once. What became of each, or why its task died.
pub(crate) async fn run_all<K, V, F>(
    work: impl IntoIterator<Item = (K, F)>,
) -> BTreeMap<K, Result<V, String>>
where
    K: Ord,
    V: Send + 'static,
    F: Future<Output = V> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    let mut keys: Vec<_> = work
        .into_iter()
        .map(|(key, work)| (tasks.spawn(work).id(), key))
        .collect();
    let mut outcomes = BTreeMap::new();
    while let Some(joined) = tasks.join_next_with_id().await {
        let (id, outcome) = match joined {
            Ok((id, value)) => (id, Ok(value)),
            Err(error) => (
                error.id(),
                Err(format!("an internal error of etcdup: {error}")),
            ),
        };
        if let Some(at) = keys.iter().position(|(other, _)| *other == id) {
            outcomes.insert(keys.swap_remove(at).1, outcome);
        }
    }
    outcomes
}

/// Runs what blocks (files, commands, hashing, making keys) on a thread that may block: an async
/// worker that waits for a disk keeps every other task of its thread waiting.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime ends, and this task with it.
            Err(_) => std::future::pending().await,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_dies_leaves_its_reason() {
        let work = |host: u32| async move {
            assert!(host != 2, "host two is cursed");
            host * 10
        };
        let outcomes = run_all((1..=3).map(|host| (host, work(host)))).await;
        assert_eq!(outcomes[&1], Ok(10));
        assert_eq!(outcomes[&3], Ok(30));
        assert!(
            outcomes[&2]
                .as_ref()
                .is_err_and(|why| why.contains("cursed"))
        );
    }
}
