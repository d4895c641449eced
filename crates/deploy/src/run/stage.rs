//! Carrying out one stage: steps on hosts side by side, one call to the cluster, or steps here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;

use etcdup_core::event::HostState;
use etcdup_core::host::HostId;
use etcdup_core::observation::{HostView, Observation, Query};
use etcdup_core::observed::Observed;
use etcdup_core::path::HostPath;
use etcdup_core::stage::{HostStep, OperatorStep, Stage, Work};
use etcdup_host::{Header, Look, query_text};
use jiff::Timestamp;

use super::context::Run;
use super::pack::pack_stage;
use super::permit::Permit;
use super::send::send_stage;
use crate::error::{DeployError, HostFailure};
use crate::lease::Asked;
use crate::observe::{provided, state_of};
use crate::tasks::run_all;
use crate::vault::VaultError;

impl Run<'_> {
    /// Carries out a stage. What hosts look like afterwards is in `seen`, even where some failed.
    pub(crate) async fn execute(
        &self,
        stage: &Stage,
        seen: &mut Observation,
        _: Permit,
    ) -> Result<(), DeployError> {
        match &stage.work {
            Work::Operator(steps) => self.operator(steps, seen).await,
            Work::Cluster(step) => self.cluster(step, seen).await,
            Work::Hosts(tasks) => self.hosts(stage, tasks, seen).await,
        }
    }

    async fn operator(
        &self,
        steps: &[OperatorStep],
        seen: &mut Observation,
    ) -> Result<(), DeployError> {
        let steps = steps.to_vec();
        let worked = self.session.with_vault(move |vault| {
            for step in &steps {
                match step {
                    OperatorStep::CreateCa => vault.create_ca(Timestamp::now())?,
                    OperatorStep::IssueClient(request) => {
                        let directory = vault.directory();
                        vault.issue_client(request, &directory, Timestamp::now())?;
                    }
                }
            }
            Ok::<_, VaultError>((vault.ca_state(), vault.ca_file(), vault.clients()))
        });
        (seen.ca, seen.ca_file, seen.clients) = worked.await?;
        Ok(())
    }

    async fn hosts(
        &self,
        stage: &Stage,
        tasks: &BTreeMap<HostId, Vec<HostStep>>,
        seen: &mut Observation,
    ) -> Result<(), DeployError> {
        let mut failures = Vec::new();
        let mut packed = Vec::new();
        // All are packed before any is sent: what cannot be packed here must not leave half of the
        // hosts at work.
        for (host, steps) in tasks {
            let link = match self.session.link(host) {
                Observed::Known(link) => link,
                Observed::Unknown(unseen) => {
                    failures.push(HostFailure {
                        host: host.clone(),
                        step: "connect".to_owned(),
                        why: unseen.why,
                        lines: Vec::new(),
                    });
                    continue;
                }
            };
            packed.push((
                host,
                link,
                pack_stage(self, stage, host, steps, seen).await?,
            ));
        }
        // What starts comes up after the script has ended: it is looked at when the gates hold.
        let look = if stage.postconditions.is_empty() {
            Look::Always
        } else {
            Look::OnFailure
        };
        let asked = Asked::now();
        let work: Vec<_> = packed
            .into_iter()
            .map(|(host, link, input)| {
                let epoch = self.leases.epochs.get(host).copied().unwrap_or(0);
                let state = state_of(self.planner.topology(), host);
                let cluster = self.planner.topology().cluster.as_str();
                let header = Header {
                    state: &state,
                    cluster,
                    operation: Some((self.session.events.operation(), epoch)),
                    now: Timestamp::now(),
                }
                .line();
                let provided = provided(self.planner, seen);
                let queries = self.planner.queries(host, &provided, false);
                let asked = Query::paths(&queries);
                let queries = query_text(&queries);
                let (host, events) = (host.clone(), self.session.events.clone());
                let also = self.session.settings.progress.as_ref();
                let progress = events.progress(also);
                let key = (host.clone(), asked);
                let ran = async move {
                    events.host(&host, "sending", HostState::Working);
                    let listeners = (progress, &events);
                    let ran =
                        send_stage(link, input, header, queries, &host, look, listeners).await;
                    let (what, state) = match &ran {
                        Ok(_) => ("done".to_owned(), HostState::Done),
                        Err(failed) => (
                            format!("{}: {}", failed.0.step, failed.0.why),
                            HostState::Failed,
                        ),
                    };
                    events.host(&host, what, state);
                    ran
                };
                (key, ran)
            })
            .collect();
        for ((host, asked), ran) in run_all(work).await {
            match ran {
                Ok(Ok(Some(view))) => merge(seen, host, view, asked),
                Ok(Ok(None)) => {}
                Ok(Err(failed)) => {
                    let (failure, view) = *failed;
                    failures.push(failure);
                    if let Some(view) = view {
                        merge(seen, host, *view, asked);
                    }
                }
                Err(why) => failures.push(HostFailure {
                    host,
                    step: "carry out the stage".to_owned(),
                    why,
                    lines: Vec::new(),
                }),
            }
        }
        self.session.keep_signed(seen).await;
        self.pairs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
        failures.sort_by(|a, b| a.host.cmp(&b.host));
        if failures.is_empty() {
            // No script runs without the lease.
            if self.leases.are_all(tasks.keys()) {
                self.leases.confirm(asked);
            }
            Ok(())
        } else {
            Err(DeployError::Hosts(failures))
        }
    }
}

/// What was measured once stays known: the clock's difference.
fn merge(seen: &mut Observation, host: HostId, mut view: HostView, asked: BTreeSet<HostPath>) {
    view.asked = asked;
    if let Some(before) = seen.host(&host) {
        view.facts.clock_ahead_ms = before.facts.clock_ahead_ms;
        view.facts.clock_error_ms = before.facts.clock_error_ms;
    }
    seen.hosts.insert(host, Observed::Known(view));
}
