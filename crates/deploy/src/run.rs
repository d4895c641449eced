//! Planning, carrying out and verifying: the loop round `next`.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use etcdup_core::event::{Body, EVENT_FORMAT};
use etcdup_core::finding::{Finding, Verdict, worst};
use etcdup_core::host::Architecture;
use etcdup_core::host::HostId;
use etcdup_core::name::MemberName;
use etcdup_core::observation::Observation;
use etcdup_core::observed::{Cause, Observed};
use etcdup_core::stage::{Approval, Condition, Gate, Goal, HostStep, Next, Stage, Work};
use etcdup_planner::{Ending, Forecast, Planner};
use etcdup_verify::{Evidence, evaluate, gather};

use crate::error::DeployError;
use crate::execute::{Run, permit};
use crate::lease::Leases;
use crate::release;
use crate::session::Session;

/// How often gates are looked at.
const POLL: Duration = Duration::from_millis(100);

/// A plan: what was seen, what is to come, and what preflight warned of.
pub struct Plan {
    /// Decides; holds the topology.
    pub planner: Planner,
    /// What was seen.
    pub seen: Observation,
    /// What is to come.
    pub forecast: Forecast,
    /// What lint and preflight warn of.
    pub warnings: Vec<Finding>,
}

/// What verification found.
pub struct Report {
    /// One finding or more a check.
    pub findings: Vec<Finding>,
    /// What was seen.
    pub seen: Observation,
    /// What should be.
    pub planner: Planner,
}

impl Plan {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.forecast.stages.is_empty() && self.forecast.ending == Ending::Done
    }

    /// The hosts that something is written to.
    fn writes(&self) -> BTreeSet<HostId> {
        let tasks = |stage: &Stage| match &stage.work {
            Work::Hosts(tasks) => tasks.keys().cloned().collect(),
            Work::Cluster(_) | Work::Operator(_) => Vec::new(),
        };
        self.forecast.stages.iter().flat_map(tasks).collect()
    }
}

impl Session {
    /// Looks, and says what is to come. Changes nothing and takes no lease.
    ///
    /// # Errors
    /// When the topology cannot be made concrete. What stands in the way is in the forecast's ending.
    pub async fn plan(&self, goal: Goal) -> Result<Plan, DeployError> {
        let (planner, seen) = self.observe(goal).await?;
        let forecast = planner.forecast(&seen);
        let warning = |finding: &Finding| finding.verdict == Verdict::Warning;
        let mut warnings: Vec<Finding> = etcdup_core::lint::lint(&self.document.spec)
            .into_iter()
            .filter(warning)
            .collect();
        warnings.extend(planner.preflight(&seen).into_iter().filter(warning));
        Ok(Plan {
            planner,
            seen,
            forecast,
            warnings,
        })
    }

    /// Carries out an approved plan. An empty one takes no lease.
    ///
    /// # Errors
    /// When anything stands in the way; the state of the hosts is then whole, and the next run goes on from it.
    pub async fn execute(&self, plan: &Plan, verb: &str) -> Result<(), DeployError> {
        let start = Instant::now();
        // Always first, whatever comes: a consumer that joins later knows from it what the operation is.
        self.events.send(Body::Started {
            format: EVENT_FORMAT,
            verb: verb.to_owned(),
            stages: plan
                .forecast
                .stages
                .iter()
                .map(|stage| stage.title.clone())
                .collect(),
        });
        let ran = self.execute_plan(plan, verb).await;
        self.events.send(match &ran {
            Ok(()) => Body::Done {
                elapsed_ms: millis(start.elapsed()),
            },
            Err(error @ DeployError::Stopped(_)) => Body::Stopped {
                message: error.to_string(),
            },
            Err(DeployError::Blocked(findings)) => Body::Failed {
                message: "blocked".to_owned(),
                findings: findings.clone(),
            },
            Err(error) => Body::Failed {
                message: error.to_string(),
                findings: Vec::new(),
            },
        });
        ran
    }

    async fn execute_plan(&self, plan: &Plan, verb: &str) -> Result<(), DeployError> {
        if let Some(findings) = plan.forecast.blockers() {
            return Err(DeployError::Blocked(findings.to_vec()));
        }
        if let Ending::Loop(key) = &plan.forecast.ending {
            return Err(DeployError::NoEffect(key.clone()));
        }
        if plan.is_empty() {
            return Ok(());
        }
        let architectures = architectures(plan);
        let preparing = release::prepare(
            &plan.planner.topology().binaries,
            &plan.planner.topology().version,
            &self.base,
            &self.settings.cache,
            &architectures,
            self.settings.progress.as_ref(),
        );
        let binaries = tokio::select! {
            prepared = preparing => prepared?,
            () = self.settings.cancel.cancelled() => {
                return Err(DeployError::Stopped(None));
            }
        };
        let leases = self
            .take_leases(plan.planner.topology(), verb, &plan.writes())
            .await?;
        let run = Run {
            session: self,
            planner: &plan.planner,
            leases: &leases,
            binaries: &binaries,
            verb,
        };
        let ran = self.stages(plan, &run, &leases).await;
        leases.release().await;
        ran
    }

    async fn stages(&self, plan: &Plan, run: &Run<'_>, leases: &Leases) -> Result<(), DeployError> {
        let planner = &plan.planner;
        let mut seen = plan.seen.clone();
        // While a person read the plan, or another held the lease, the world went on.
        let hosts: Vec<HostId> = planner.topology().hosts.keys().cloned().collect();
        self.observe_hosts(planner, &hosts, false, &mut seen).await;
        self.ask_members(planner.topology(), &mut seen).await;
        self.catch_up(planner, &mut seen).await;
        seen.at = jiff::Timestamp::now();
        let members = &planner.topology().members;
        let approval = Approval::of(&plan.forecast.stages, members);
        let mut done: Vec<Stage> = Vec::new();
        loop {
            let stage = match planner.next(&seen) {
                // Somebody who took over while we were frozen may have done the rest: then this is not our success.
                Next::Done => return leases.check().await,
                Next::Blocked(findings) => return Err(DeployError::Blocked(findings)),
                Next::Stage(stage) => *stage,
            };
            if let Err(beyond) = approval.covers(&stage, members) {
                let forecast = Box::new(planner.forecast(&seen));
                return Err(DeployError::PlanChanged {
                    key: stage.key,
                    beyond,
                    forecast,
                });
            }
            // The same work again would be a loop. Waiting again is not, as long as something happened in between.
            let same = |earlier: &&Stage| earlier.key == stage.key && earlier.work == stage.work;
            let repeats = if stage.only_waits() {
                done.last().filter(same).is_some()
            } else {
                done.iter().any(|earlier| same(&earlier))
            };
            if repeats || done.len() > 4 * plan.forecast.stages.len() + 8 {
                return Err(DeployError::NoEffect(stage.key));
            }
            if self.settings.cancel.is_cancelled() {
                let last = done.last().map(|stage| format!("stage `{}`", stage.title));
                return Err(DeployError::Stopped(last));
            }
            leases.held()?;
            if !stage.stops(members).is_empty() {
                // Asked of the hosts, not of our own clock: this process may have been suspended.
                leases.check().await?;
            }
            let index = plan.forecast.position(&stage.key);
            let index = index.unwrap_or(plan.forecast.stages.len());
            self.one_stage(plan, run, &stage, index, &mut seen).await?;
            done.push(stage);
        }
    }

    async fn one_stage(
        &self,
        plan: &Plan,
        run: &Run<'_>,
        stage: &Stage,
        index: usize,
        seen: &mut Observation,
    ) -> Result<(), DeployError> {
        let start = Instant::now();
        let title = stage.title.clone();
        self.events.send(Body::StageStarted {
            index,
            key: stage.key.to_string(),
            title,
        });
        self.wait(&plan.planner, &stage.preconditions, seen).await?;
        let topology = plan.planner.topology();
        if stage.preconditions.is_empty() && !stage.stops(&topology.members).is_empty() {
            // What is known may be as old as the last upload; whether a member can be spared is asked just before.
            let all = topology.members.iter().map(|member| member.name.clone());
            self.ask_some(topology, seen, &all.collect()).await;
        }
        let allowed = permit(plan.planner.topology(), stage, seen).map_err(|reason| {
            DeployError::NotPermitted {
                stage: stage.title.clone(),
                why: reason.to_string(),
            }
        })?;
        run.execute(stage, seen, allowed).await?;
        self.wait(&plan.planner, &stage.postconditions, seen)
            .await?;
        let sets_clocks = |steps: &Vec<HostStep>| steps.contains(&HostStep::TimeSync);
        if let Work::Hosts(tasks) = &stage.work
            && (!stage.postconditions.is_empty() || tasks.values().any(sets_clocks))
        {
            // The script looked before what it started had come up, and before clocks were set.
            let hosts: Vec<HostId> = tasks.keys().cloned().collect();
            self.observe_hosts(&plan.planner, &hosts, false, seen).await;
        }
        self.events.send(Body::StageDone {
            index,
            elapsed_ms: millis(start.elapsed()),
        });
        Ok(())
    }

    /// Polls gates until all hold. Each has its own time.
    async fn wait(
        &self,
        planner: &Planner,
        gates: &[Gate],
        seen: &mut Observation,
    ) -> Result<(), DeployError> {
        let start = Instant::now();
        let mut told = BTreeSet::new();
        let mut looked = Instant::now();
        loop {
            let hosts = looked_at_by(gates, seen);
            if !hosts.is_empty() {
                self.observe_hosts(planner, &hosts, false, seen).await;
            }
            let asked = asked_by(gates, planner);
            if !asked.is_empty() {
                self.ask_some(planner.topology(), seen, &asked).await;
            }
            let mut open = Vec::new();
            for (index, gate) in gates.iter().enumerate() {
                match gate.check(seen) {
                    Ok(()) => {
                        if told.insert(index) {
                            tracing::debug!(gate = %gate.condition, elapsed_ms = start.elapsed().as_millis(), "holds");
                            self.events.send(Body::Gate {
                                holds: gate.condition.to_string(),
                                why: String::new(),
                            });
                        }
                    }
                    Err(reason) => open.push((gate, reason)),
                }
            }
            let Some((gate, reason)) = open.first() else {
                return Ok(());
            };
            if start.elapsed() > gate.within {
                let console = self.console(planner, seen, &gate.condition).await;
                return Err(not_reached(&open, start.elapsed(), console));
            }
            // A pod may take minutes, and the kubelet knows within seconds that it never will.
            if gate.within > PATIENCE && looked.elapsed() > LOOK {
                looked = Instant::now();
                let hosts = hosts_of(&open, planner);
                self.observe_hosts(planner, &hosts, false, seen).await;
                if let Some(console) = hopeless(&open, planner, seen) {
                    return Err(not_reached(&open, start.elapsed(), console));
                }
            }
            if self.settings.cancel.is_cancelled() {
                let waiting = format!("the steps of a stage, waiting because {reason}");
                return Err(DeployError::Stopped(Some(waiting)));
            }
            // Looking at a host costs it a script.
            tokio::time::sleep(if hosts.is_empty() { POLL } else { POLL * 10 }).await;
        }
    }

    /// The last lines of the log of the member that a gate is about.
    async fn console(
        &self,
        planner: &Planner,
        seen: &Observation,
        holds: &Condition,
    ) -> Vec<String> {
        let name = match holds {
            Condition::Serves(name)
            | Condition::NotLeader(name)
            | Condition::Listens { member: name, .. }
            | Condition::PodReplaced { member: name, .. } => name,
            Condition::QuorumWithout { stop, .. } => match stop.first() {
                Some(name) => name,
                None => return Vec::new(),
            },
        };
        let Ok((_, fresh)) = self.observe(planner.goal().clone()).await else {
            return Vec::new();
        };
        let of = |seen: &Observation| {
            let member = planner.topology().member(name)?;
            seen.host(&member.host)?.console.get(name).cloned()
        };
        of(&fresh).or_else(|| of(seen)).unwrap_or_default()
    }

    /// Looks, gathers evidence from every member, and judges.
    ///
    /// # Errors
    /// When the topology cannot be made concrete.
    pub async fn verify(&self) -> Result<Report, DeployError> {
        let (planner, seen) = self
            .observe(Goal::Converge {
                allow_outage: false,
            })
            .await?;
        let (findings, seen) = self.evaluate(&planner, seen).await;
        Ok(Report {
            findings,
            seen,
            planner,
        })
    }

    async fn evaluate(&self, planner: &Planner, seen: Observation) -> (Vec<Finding>, Observation) {
        let topology = planner.topology();
        let (asked, unseen) = self.running(topology, &seen);
        let demands = topology.security.client == etcdup_core::file::TransportSecurity::Mutual;
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

/// Gates that are waited for longer than this are of pods, whose hosts are observed meanwhile.
const PATIENCE: Duration = Duration::from_secs(120);

/// How often a pod's host is observed while its gate is waited for: often enough to end soon after the kubelet gives up on an
/// image, seldom enough to cost nothing.
const LOOK: Duration = Duration::from_secs(10);

/// What the kubelet says of a pod that will not start however long it is waited for.
const HOPELESS: [&str; 7] = [
    "FailedCreatePodSandBox",
    "ErrImagePull",
    "ImagePullBackOff",
    "ErrImageNeverPull",
    "InvalidImageName",
    "CreateContainerConfigError",
    "hostPath type check failed",
];

/// The error of gates that did not hold, all of them: each names a member of its own.
fn not_reached(
    open: &[(&Gate, etcdup_core::stage::Reason)],
    waited: Duration,
    console: Vec<String>,
) -> DeployError {
    let holds: Vec<String> = open
        .iter()
        .map(|(gate, _)| gate.condition.to_string())
        .collect();
    let why: Vec<String> = open.iter().map(|(_, reason)| reason.to_string()).collect();
    DeployError::Gate {
        holds: holds.join(", "),
        seconds: waited.as_secs(),
        why: why.join("; "),
        console,
    }
}

/// The member that an open gate waits for.
fn waits_for(gate: &Gate) -> Option<&MemberName> {
    match &gate.condition {
        Condition::Serves(name) | Condition::PodReplaced { member: name, .. } => Some(name),
        Condition::Listens { .. } | Condition::QuorumWithout { .. } | Condition::NotLeader(_) => {
            None
        }
    }
}

fn hosts_of(open: &[(&Gate, etcdup_core::stage::Reason)], planner: &Planner) -> Vec<HostId> {
    let members = open.iter().filter_map(|(gate, _)| waits_for(gate));
    let hosts: BTreeSet<HostId> = members
        .filter_map(|name| Some(planner.topology().member(name)?.host.clone()))
        .collect();
    hosts.into_iter().collect()
}

/// The log of a member that is waited for in vain.
fn hopeless(
    open: &[(&Gate, etcdup_core::stage::Reason)],
    planner: &Planner,
    seen: &Observation,
) -> Option<Vec<String>> {
    let members = open.iter().filter_map(|(gate, _)| waits_for(gate));
    let mut consoles = members.filter_map(|name| {
        let host = seen.host(&planner.topology().member(name)?.host)?;
        if host.processes.contains_key(name) {
            return None;
        }
        host.console.get(name)
    });
    consoles.find(|lines| is_hopeless(lines)).cloned()
}

fn is_hopeless(lines: &[String]) -> bool {
    let mut lines = lines.iter();
    lines.any(|line| HOPELESS.iter().any(|word| line.contains(word)))
}

/// The members that gates ask.
fn asked_by(gates: &[Gate], planner: &Planner) -> BTreeSet<MemberName> {
    let all = || {
        planner
            .topology()
            .members
            .iter()
            .map(|member| member.name.clone())
    };
    gates
        .iter()
        .flat_map(|gate| match &gate.condition {
            Condition::Serves(member) => vec![member.clone()],
            Condition::QuorumWithout { .. } | Condition::NotLeader(_) => all().collect(),
            // Seen on the host, not asked of the member.
            Condition::PodReplaced { .. } | Condition::Listens { .. } => Vec::new(),
        })
        .collect()
}

/// The hosts that gates look at which do not hold yet.
fn looked_at_by(gates: &[Gate], seen: &Observation) -> Vec<HostId> {
    gates
        .iter()
        .filter(|gate| gate.check(seen).is_err())
        .filter_map(|gate| match &gate.condition {
            Condition::PodReplaced { host, .. } | Condition::Listens { host, .. } => {
                Some(host.clone())
            }
            Condition::Serves(_) | Condition::QuorumWithout { .. } | Condition::NotLeader(_) => {
                None
            }
        })
        .collect()
}

fn architectures(plan: &Plan) -> Vec<Architecture> {
    let mut found: Vec<Architecture> = Vec::new();
    for stage in &plan.forecast.stages {
        let Work::Hosts(tasks) = &stage.work else {
            continue;
        };
        for (host, steps) in tasks {
            let needs = steps
                .iter()
                .any(|step| matches!(step, HostStep::Binaries { .. }));
            if let Some(view) = plan.seen.host(host).filter(|_| needs)
                && !found.contains(&view.facts.architecture)
            {
                found.push(view.facts.architecture.clone());
            }
        }
    }
    found
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Report {
    /// The weightiest verdict.
    #[must_use]
    pub fn worst(&self) -> Verdict {
        worst(&self.findings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// K2: lines as a kubelet writes them.
    #[test]
    fn a_pod_that_can_never_start_is_not_waited_for() {
        for line in [
            "err=\"failed to \\\"StartContainer\\\" for \\\"etcd\\\" with ErrImagePull: \\\"not found\\\"\" pod=\"kube-system/etcd-m1\"",
            "Error syncing pod, skipping: failed to \"StartContainer\" for \"etcd\" with ImagePullBackOff",
            "Warning FailedCreatePodSandBox: Failed to create pod sandbox: rpc error: code = Unknown",
            "Error: container has runAsNonRoot and image will run as root (CreateContainerConfigError)",
            "MountVolume.SetUp failed: hostPath type check failed: /var/lib/etcd is not a directory",
        ] {
            assert!(is_hopeless(&[line.to_owned()]), "{line}");
        }
        for line in [
            "back-off 10s restarting failed container=etcd pod=etcd-m1",
            "{\"level\":\"warn\",\"msg\":\"dial tcp 10.0.0.2:2380: connect: connection refused\"}",
        ] {
            assert!(!is_hopeless(&[line.to_owned()]), "{line}");
        }
    }
}
