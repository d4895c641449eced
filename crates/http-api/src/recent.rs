//! Recent answers: a dashboard that asks every second, or in ten windows, must not log in to every
//! host as often.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::problem::Problem;

/// How long an answer about hosts is given again. etcd elects a leader within a second or so, and
/// people read no faster.
const FRESH: Duration = Duration::from_secs(2);

/// The latest answer to each path that asks hosts.
#[derive(Default)]
pub(crate) struct Recent {
    answers: Mutex<HashMap<String, Arc<Slot>>>,
}

type Slot = tokio::sync::Mutex<Option<(Instant, Result<Value, Problem>)>>;

impl Recent {
    /// The answer to this path with its age: one that is fresh, else a new one. Requests for the
    /// same path that come meanwhile wait for it instead of asking once more. A problem is told to
    /// those who waited for it and is not kept: whoever fixed it must see that.
    ///
    /// # Errors
    /// The problem that `ask` met.
    pub(crate) async fn get(
        &self,
        path: &str,
        ask: impl Future<Output = Result<Value, Problem>>,
    ) -> Result<(Value, Duration), Problem> {
        let slot = {
            let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
            // Paths are clusters' names: those of files that are gone must not gather.
            answers.retain(|known, slot| {
                known == path || Arc::strong_count(slot) > 1 || is_fresh(slot)
            });
            Arc::clone(answers.entry(path.to_owned()).or_default())
        };
        let came = Instant::now();
        let mut slot = slot.lock().await;
        match slot.as_ref() {
            Some((at, Ok(value))) if at.elapsed() < FRESH => {
                return Ok((value.clone(), at.elapsed()));
            }
            Some((at, Err(problem))) if *at >= came => return Err(problem.clone()),
            _ => {}
        }
        let answer = ask.await;
        *slot = Some((Instant::now(), answer.clone()));
        answer.map(|value| (value, Duration::ZERO))
    }
}

fn is_fresh(slot: &Slot) -> bool {
    let answer = slot.try_lock().ok();
    answer.is_some_and(|answer| answer.as_ref().is_some_and(|(at, _)| at.elapsed() < FRESH))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_question_serves_all_who_ask_within_two_seconds() {
        let recent = Recent::default();
        let asked = AtomicU32::new(0);
        let ask = || async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok(Value::from(asked.fetch_add(1, Ordering::Relaxed)))
        };
        let answers = tokio::join!(
            recent.get("prod", ask()),
            recent.get("prod", ask()),
            recent.get("test", ask()),
        );
        let value =
            |answer: Result<(Value, Duration), Problem>| answer.map(|(value, _)| value).ok();
        assert_eq!(value(answers.0), value(answers.1));
        assert_eq!(asked.load(Ordering::Relaxed), 2, "once for each cluster");
        tokio::time::advance(Duration::from_millis(1500)).await;
        let (_, age) = recent.get("prod", ask()).await.ok().unwrap_or_default();
        assert_eq!(age, Duration::from_millis(1500));
        tokio::time::advance(FRESH).await;
        let (_, age) = recent.get("prod", ask()).await.ok().unwrap_or_default();
        assert_eq!((age, asked.load(Ordering::Relaxed)), (Duration::ZERO, 3));
        let known = recent
            .answers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len();
        assert_eq!(known, 1, "what nobody asks for any more is forgotten");
    }

    #[tokio::test]
    async fn a_problem_is_not_kept() {
        let recent = Recent::default();
        let problem = Problem::not_found("there is none");
        assert!(recent.get("prod", async { Err(problem) }).await.is_err());
        let answer = recent.get("prod", async { Ok(Value::Null) }).await;
        assert!(answer.is_ok());
    }
}
