//! Planning, carrying out and verifying: the loop round `next`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use etcdup_core::event::{Body, EVENT_FORMAT};
use etcdup_core::file::TransportSecurity;
use etcdup_core::finding::{Finding, Verdict};
use etcdup_core::host::Architecture;
use etcdup_core::host::HostId;
use etcdup_core::name::MemberName;
use etcdup_core::observation::{HostView, Observation};
use etcdup_core::observed::{Cause, Observed};
use etcdup_core::operation::{OperationRecord, OperationState};
use etcdup_core::plain::chain;
use etcdup_core::stage::{ClusterStep, Goal, HostStep, Next, Rule, Stage, Work};
use etcdup_core::version::EtcdVersion;
use etcdup_planner::{Ending, Planner};
use etcdup_verify::{Evidence, evaluate, gather};

use crate::binaries::release;
use crate::error::DeployError;
use crate::lease::{Leases, state_after};
use crate::plan::{Plan, Report};
use crate::run::approved::Approved;
use crate::session::Session;
use crate::tasks::blocking;
use context::{Prepared, Run};
use elsewhere::elsewhere;
use permit::permit;

pub(crate) mod approved;
mod context;
pub(crate) mod elsewhere;
mod gates;
mod membership;
mod minor;
mod pack;
mod permit;
mod put_back;
mod record;
mod send;
mod stage;

/// For so long what hosts answered is planned on as it is, where none of etcdup's stages ran since:
/// as long as any stage may wait between a look and its work.
const STILL_TRUE: jiff::SignedDuration = jiff::SignedDuration::from_secs(10);

/// How often a removal may turn out to be something else when it is looked at once more.
const RECONSIDERED: usize = 5;

/// How long a raft snapshot may take: it is a small file, written once the entries are applied.
const SNAPSHOTS_TAKEN: Duration = Duration::from_secs(20);

/// The longest that a stage which still runs is waited for, as stages wait for one another.
const STAGE_ENDS: Duration = Duration::from_secs(120);

impl Session {
    /// Looks, and says what is to come. Changes nothing and takes no lease.
    ///
    /// # Errors
    /// When the topology cannot be made concrete. What stands in the way is in the forecast's
    /// ending.
    pub async fn plan(&self, goal: Goal) -> Result<Plan, DeployError> {
        let (mut planner, mut seen) = self.observe(goal.clone()).await?;
        let mut forecast = planner.forecast(&seen);
        // The last stage of a run that was killed goes on to its end, and what is seen meanwhile is
        // neither what was nor what will be: a member that the others list, and no data yet.
        let start = Instant::now();
        while forecast.blockers().is_some()
            && is_changing(&seen)
            && start.elapsed() < STAGE_ENDS
            && !self.cancel.is_cancelled()
        {
            tokio::time::sleep(Duration::from_secs(1)).await;
            (planner, seen) = self.observe(goal.clone()).await?;
            forecast = planner.forecast(&seen);
        }
        let warning = |finding: &Finding| finding.verdict == Verdict::Warning;
        let mut warnings: Vec<Finding> = etcdup_core::lint::lint(&self.document.spec)
            .into_iter()
            .filter(warning)
            .collect();
        warnings.extend(planner.preflight(&seen).into_iter().filter(warning));
        let plan = Plan {
            planner,
            seen,
            forecast,
            warnings,
        };
        let store = self.store.clone();
        let (mut plan, found) = blocking(move || {
            let found = elsewhere(&plan, &store);
            (plan, found)
        })
        .await;
        if let Some(finding) = found.clone().filter(warning) {
            plan.warnings.push(finding);
        } else if let Some(finding) = found {
            plan.forecast.ending = Ending::Blocked(vec![finding]);
        }
        Ok(plan)
    }

    /// Carries out an operation, from its first event to its last. Without a plan it plans itself:
    /// it goes on where another process died.
    pub(crate) async fn carry_out(
        &self,
        plan: Option<Plan>,
        approved: &Approved,
        record: &OperationRecord,
    ) -> Result<(), DeployError> {
        let start = Instant::now();
        // Always first, whatever comes: a consumer that joins later knows from it what the
        // operation is.
        self.events.send(match record.epoch {
            1 => Body::Started {
                format: EVENT_FORMAT.to_owned(),
                verb: record.verb,
                stages: approved.stages.clone(),
            },
            epoch => Body::Resumed {
                epoch,
                who: self.settings.operator.clone(),
            },
        });
        let ran = async {
            if self.cancel.is_cancelled() {
                return Err(DeployError::Stopped(None));
            }
            let plan = match plan {
                Some(plan) => plan,
                None => self.plan_settled(record.goal.clone()).await?,
            };
            // A plan that was made earlier may be about hosts that only records name.
            self.link_others(plan.planner.topology()).await;
            let ended = self.execute_plan(&plan, approved).await?;
            if let (Some((planner, seen)), Goal::Converge { .. } | Goal::Restore { .. }) =
                (ended, &record.goal)
            {
                self.last_look.keep(planner, seen);
            }
            Ok(())
        };
        let ran: Result<(), DeployError> = ran.await;
        self.events.send(match &ran {
            Ok(()) => Body::Done {
                elapsed_ms: millis(start.elapsed()),
            },
            Err(error @ DeployError::Stopped(_)) => Body::Stopped {
                message: chain(error),
            },
            Err(DeployError::Blocked(findings)) => Body::Failed {
                message: "blocked".to_owned(),
                findings: findings.clone(),
            },
            Err(error) => Body::Failed {
                message: chain(error),
                findings: Vec::new(),
            },
        });
        ran
    }

    /// Plans once no stage runs on any host: the last one of a process that was killed goes on to
    /// its end, and a member that it restarts just now would look as if it had to be started, which
    /// nobody approved.
    async fn plan_settled(&self, goal: Goal) -> Result<Plan, DeployError> {
        let start = Instant::now();
        loop {
            let plan = self.plan(goal.clone()).await?;
            let late = start.elapsed() >= STAGE_ENDS || self.cancel.is_cancelled();
            if late || !is_changing(&plan.seen) {
                return Ok(plan);
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// What was seen at the end, by the planner of the last leg, where anything was done.
    async fn execute_plan(
        &self,
        plan: &Plan,
        approved: &Approved,
    ) -> Result<Option<(Planner, Observation)>, DeployError> {
        if let Some(findings) = plan.forecast.blockers() {
            return Err(DeployError::Blocked(findings.to_vec()));
        }
        if let Ending::Loop(key) = &plan.forecast.ending {
            return Err(DeployError::NoEffect(key.clone()));
        }
        if plan.is_empty() {
            return Ok(None);
        }
        let binaries = tokio::select! {
            prepared = self.prepare_binaries(plan) => prepared?,
            () = self.cancel.cancelled() => {
                return Err(DeployError::Stopped(None));
            }
        };
        let leases = self
            .take_leases(plan.planner.topology(), approved, &plan.writes())
            .await?;
        let ran = self.stages(plan, approved, &binaries, &leases).await;
        let ended = match &ran {
            Ok(_) => OperationState::Done,
            Err(error) => state_after(error),
        };
        leases.release(ended).await;
        ran.map(Some)
    }

    /// The binaries of every release that the plan installs: whatever is missing is missing before
    /// anything starts.
    async fn prepare_binaries(&self, plan: &Plan) -> Result<Prepared, DeployError> {
        let progress = self.events.progress(self.settings.progress.as_ref());
        let mut prepared = Prepared::new();
        for (version, architectures) in installs(plan) {
            let topology = plan.planner.at_version(&version)?;
            let binaries = release::prepare(
                topology.binaries.tools(),
                &version,
                &self.base,
                &self.settings.cache,
                &architectures,
                progress.as_ref(),
            );
            let binaries = binaries.await?;
            if matches!(plan.planner.goal(), Goal::Restore { .. }) {
                release::restores(&binaries, &version)?;
            }
            prepared.insert(version.clone(), binaries);
        }
        Ok(prepared)
    }

    /// What was seen before the first stage: as the plan saw it, where nothing happened since.
    async fn look_before(&self, plan: &Plan, leases: &Leases) -> Observation {
        let planner = &plan.planner;
        let mut seen = plan.seen.clone();
        // While a person read the plan, or another held the lease, the world went on. A plan made
        // moments ago holds where no stage ran since: then only members are asked again.
        let age = jiff::Timestamp::now().duration_since(seen.at);
        let untouched = |(host, last): (&HostId, &String)| {
            let view = seen.host(host);
            view.is_some_and(|view| view.last_stage == *last && !view.is_changing())
        };
        if age > STILL_TRUE || !leases.last_stages.iter().all(untouched) {
            let hosts: Vec<HostId> = planner.topology().hosts.keys().cloned().collect();
            self.observe_hosts(planner, &hosts, false, &mut seen).await;
        }
        self.ask_members(planner.topology(), &mut seen).await;
        self.catch_up(planner, &mut seen).await;
        seen.at = jiff::Timestamp::now();
        seen
    }

    async fn stages(
        &self,
        plan: &Plan,
        approved: &Approved,
        binaries: &Prepared,
        leases: &Leases,
    ) -> Result<(Planner, Observation), DeployError> {
        let mut seen = self.look_before(plan, leases).await;
        let mut planner = plan.planner.clone();
        let mut done: Vec<Stage> = Vec::new();
        let mut reconsidered = 0;
        loop {
            // The leg before is reached, or data that came meanwhile, by the last stage of a run
            // that was killed, is of another one. Hosts were not asked what this one needs.
            if !planner.is_next_leg(&seen) {
                planner = planner.next_leg(&seen)?;
                let hosts: Vec<HostId> = planner.topology().hosts.keys().cloned().collect();
                self.observe_hosts(&planner, &hosts, false, &mut seen).await;
                self.ask_members(planner.topology(), &mut seen).await;
                self.catch_up(&planner, &mut seen).await;
            }
            let run = Run {
                session: self,
                planner: &planner,
                leases,
                binaries,
                verb: approved.verb,
                pairs: std::sync::Mutex::default(),
                snapshot: tokio::sync::OnceCell::new(),
            };
            let topology = planner.topology();
            let stage = match planner.next(&seen) {
                // Somebody who took over while we were frozen may have done the rest: then this is
                // not our success.
                Next::Done => {
                    leases.check().await?;
                    return Ok((planner, seen));
                }
                Next::Blocked(findings) => return Err(DeployError::Blocked(findings)),
                Next::Stage(stage) => *stage,
            };
            if let Err(beyond) = approved.approval.covers(&stage, topology) {
                let forecast = Box::new(planner.forecast(&seen));
                return Err(DeployError::PlanChanged {
                    key: Box::new(stage.key),
                    beyond,
                    forecast,
                });
            }
            // The same work again would be a loop. Waiting again is not, as long as something
            // happened in between.
            let same = |earlier: &&Stage| earlier.key == stage.key && earlier.work == stage.work;
            let repeats = if stage.only_waits() {
                done.last().filter(same).is_some()
            } else {
                done.iter().any(|earlier| same(&earlier))
            };
            if repeats || done.len() > 4 * approved.stages.len() + 8 {
                return Err(DeployError::NoEffect(stage.key));
            }
            if self.cancel.is_cancelled() {
                let last = done.last().map(|stage| format!("stage `{}`", stage.title));
                return Err(DeployError::Stopped(last));
            }
            leases.held()?;
            if !stage.stops(topology).is_empty() {
                // Asked of the hosts, not of our own clock: this process may have been suspended.
                leases.check().await?;
            }
            // A removal cannot be undone: it is decided once more, on facts that are as new as
            // can be.
            if let Work::Cluster(ClusterStep::Remove { member, .. }) = &stage.work
                && !self
                    .is_still_next(&planner, &stage, member, &mut seen)
                    .await
            {
                reconsidered += 1;
                if reconsidered > RECONSIDERED {
                    return Err(DeployError::NoEffect(stage.key));
                }
                continue;
            }
            let index = approved.position(&stage.key);
            self.events.send(Body::StageStarted {
                index,
                key: stage.key.clone(),
                title: stage.title.clone(),
                leg: approved.begins(index),
            });
            self.one_stage(&run, &stage, index, &mut seen).await?;
            seen.done.insert(stage.key.clone());
            done.push(stage);
        }
    }

    /// Whether a stage about a member is still what comes next, once its host and all members were
    /// asked again.
    async fn is_still_next(
        &self,
        planner: &Planner,
        stage: &Stage,
        member: &MemberName,
        seen: &mut Observation,
    ) -> bool {
        let topology = planner.topology();
        let host = topology.member(member).map(|member| member.host.clone());
        let hosts: Vec<HostId> = host
            .into_iter()
            .filter(|host| topology.hosts.contains_key(host))
            .collect();
        self.observe_hosts(planner, &hosts, false, seen).await;
        self.ask_members(topology, seen).await;
        matches!(planner.next(seen), Next::Stage(next) if next.key == stage.key && next.work == stage.work)
    }

    async fn one_stage(
        &self,
        run: &Run<'_>,
        stage: &Stage,
        index: usize,
        seen: &mut Observation,
    ) -> Result<(), DeployError> {
        let start = Instant::now();
        let planner = run.planner;
        let topology = planner.topology();
        if minor::changes_minor(topology, stage, seen) {
            self.before_another_minor(planner, run, seen).await?;
        }
        if matches!(stage.key.rule, Rule::BeginRestore | Rule::SetAside) {
            // Nothing is stopped for a file that has changed, or is gone.
            run.snapshot().await?;
        }
        if stage.key.rule == Rule::SetAside {
            run.keep_what_serves(seen).await?;
        }
        if stage.key.rule == Rule::EndRestore {
            self.is_well(planner, seen).await?;
        }
        if minor::disarms_corrupt(planner, stage) {
            self.holds_the_same(planner, seen).await?;
        }
        self.wait(planner, &stage.preconditions, seen).await?;
        if stage.preconditions.is_empty() && !stage.stops(topology).is_empty() {
            // What is known may be as old as the last upload; whether a member can be spared is
            // asked just before.
            let all = topology.everyone().map(|member| member.name.clone());
            self.ask_some(topology, seen, &all.collect()).await;
        }
        let allowed =
            permit(topology, stage, seen).map_err(|reason| DeployError::NotPermitted {
                stage: stage.title.clone(),
                why: reason.to_string(),
            })?;
        let before = seen.clone();
        run.execute(stage, seen, allowed).await?;
        if let Err(error) = self.wait(planner, &stage.postconditions, seen).await {
            return Err(self.put_back(run, stage, &before, seen, error).await);
        }
        if let Work::Cluster(ClusterStep::RaftSnapshot { .. }) = &stage.work {
            self.see_raft_snapshots(planner, stage, seen).await;
        }
        // The script that stops them all does not read logs, which are at rest only now.
        let at_rest = matches!(stage.key.rule, Rule::BeginRecover | Rule::StopAll);
        let sets_clocks = |steps: &Vec<HostStep>| steps.contains(&HostStep::TimeSync);
        if let Work::Hosts(tasks) = &stage.work
            && (at_rest || !stage.postconditions.is_empty() || tasks.values().any(sets_clocks))
        {
            // The script looked before what it started had come up, and before clocks were set.
            let hosts: Vec<HostId> = tasks.keys().cloned().collect();
            self.observe_hosts(planner, &hosts, false, seen).await;
        }
        self.events.send(Body::StageDone {
            index,
            key: stage.key.clone(),
            elapsed_ms: millis(start.elapsed()),
        });
        Ok(())
    }

    /// Looks until hosts have the raft snapshots that were asked for: members take them beside
    /// their work.
    async fn see_raft_snapshots(&self, planner: &Planner, stage: &Stage, seen: &mut Observation) {
        let hosts: Vec<HostId> = planner.topology().hosts.keys().cloned().collect();
        let start = Instant::now();
        loop {
            self.observe_hosts(planner, &hosts, false, seen).await;
            let again = matches!(planner.next(seen), Next::Stage(next) if next.key == stage.key);
            if !again || start.elapsed() > SNAPSHOTS_TAKEN {
                return;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// Looks, gathers evidence from every member, and judges.
    ///
    /// # Errors
    /// When the topology cannot be made concrete.
    pub async fn verify(&self) -> Result<Report, DeployError> {
        let (planner, seen) = match self.last_look.take() {
            Some(fresh) => fresh,
            None => self.observe(Goal::CONVERGE).await?,
        };
        let (findings, seen) = self.evaluate(&planner, seen).await;
        Ok(Report {
            findings,
            seen,
            planner,
        })
    }

    async fn evaluate(&self, planner: &Planner, seen: Observation) -> (Vec<Finding>, Observation) {
        let topology = planner.topology();
        // Those that go are judged by what is left of them.
        let stays = |name: &MemberName| topology.members.iter().any(|one| one.name == *name);
        let (mut asked, mut unseen) = self.running(topology, &seen);
        asked.retain(|(name, ..)| stays(name));
        unseen.retain(|name, _| stays(name));
        // A port that serves plain HTTP besides answers every client, as the file says.
        let security = &topology.security;
        let demands =
            security.client == TransportSecurity::Mutual && security.client_also.is_none();
        let mut members = match self.access().await {
            Ok(access) => gather(asked, &access, demands).await,
            Err(why) => asked
                .into_iter()
                .map(|(name, ..)| {
                    (
                        name,
                        Observed::unknown_for(Cause::NotAsked, format!("not known: {why}")),
                    )
                })
                .collect(),
        };
        members.extend(
            unseen
                .into_iter()
                .map(|(name, why)| (name, Observed::Unknown(why))),
        );
        let drift = planner.find_drift(&seen);
        let findings = {
            let evidence = Evidence {
                topology,
                seen: &seen,
                members,
            };
            evaluate(&evidence)
        };
        let findings = findings.into_iter().chain(drift).collect();
        (findings, seen)
    }
}

/// The releases that a plan installs, each with the architectures of the hosts that it goes to.
fn installs(plan: &Plan) -> BTreeMap<EtcdVersion, Vec<Architecture>> {
    let mut found: BTreeMap<EtcdVersion, Vec<Architecture>> = BTreeMap::new();
    for stage in &plan.forecast.stages {
        let Work::Hosts(tasks) = &stage.work else {
            continue;
        };
        for (host, steps) in tasks {
            let Some(view) = plan.seen.host(host) else {
                continue;
            };
            for step in steps {
                if let HostStep::Binaries { version, .. } = step {
                    let known = found.entry(version.clone()).or_default();
                    if !known.contains(&view.facts.architecture) {
                        known.push(view.facts.architecture.clone());
                    }
                }
            }
        }
    }
    found
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Whether a stage was under way on any host when this was seen.
fn is_changing(seen: &Observation) -> bool {
    let mut views = seen.hosts.values().filter_map(Observed::known);
    views.any(HostView::is_changing)
}
