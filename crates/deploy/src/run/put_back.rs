//! Putting the release back that a member ran, where it does not come up with another.

use etcdup_core::observation::Observation;
use etcdup_core::plain::chain;
use etcdup_core::stage::Stage;

use super::context::Run;
use super::permit::permit;
use crate::error::{DeployError, ReleaseFailed};
use crate::session::Session;

impl Session {
    /// What a roll that failed ends with: the release before is put back, where it changed.
    pub(super) async fn put_back(
        &self,
        run: &Run<'_>,
        stage: &Stage,
        before: &Observation,
        seen: &mut Observation,
        error: DeployError,
    ) -> DeployError {
        let DeployError::Gate { why, console, .. } = &error else {
            return error;
        };
        let (why, console) = (why.clone(), console.clone());
        if let Some(subject) = &stage.key.subject
            && let Some(member) = run.planner.topology().member(subject)
        {
            // With its log.
            let hosts = [member.host.clone()];
            self.observe_hosts(run.planner, &hosts, false, seen).await;
        }
        let Some(back) = run.planner.put_back(stage, before, seen) else {
            return error;
        };
        let Ok(allowed) = permit(run.planner.topology(), &back.stage, seen) else {
            return error;
        };
        tracing::warn!(member = %back.member, "{}", back.stage.title);
        if let Err(failed) = run.execute(&back.stage, seen, allowed).await {
            tracing::warn!(member = %back.member, "not put back: {}", chain(&failed));
            return error;
        }
        let waited = self
            .wait(run.planner, &back.stage.postconditions, seen)
            .await;
        if let Err(failed) = &waited {
            tracing::warn!(member = %back.member, "{}", chain(failed));
        }
        DeployError::PutBack(Box::new(ReleaseFailed {
            member: back.member,
            failed: back.failed,
            ran: back.ran,
            serves: waited.is_ok(),
            why,
            console,
        }))
    }
}
