//! Waiting for gates: polled until all hold, each within its own time.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use etcdup_core::event::Body;
use etcdup_core::finding::Finding;
use etcdup_core::host::HostId;
use etcdup_core::name::MemberName;
use etcdup_core::observation::Observation;
use etcdup_core::observed::{Cause, Observed};
use etcdup_core::stage::{Condition, Gate, Reason};
use etcdup_planner::{AUTH_DENIED, Planner};

use crate::error::DeployError;
use crate::session::Session;

/// How long all members may refuse etcdup, by etcd's own authentication, before that counts as
/// lasting: one that has just started may still be behind.
const DENIED: Duration = Duration::from_secs(5);

/// How often gates are looked at.
const POLL: Duration = Duration::from_millis(100);

impl Session {
    /// Polls gates until all hold. Each has its own time.
    pub(super) async fn wait(
        &self,
        planner: &Planner,
        gates: &[Gate],
        seen: &mut Observation,
    ) -> Result<(), DeployError> {
        let start = Instant::now();
        let mut told = BTreeSet::new();
        let mut looked = Instant::now();
        let (mut spoke, mut spoken) = (Instant::now(), String::new());
        // A learner may take as long as it needs while it comes nearer.
        let (mut nearest, mut progress) = (u64::MAX, Instant::now());
        // Since when all that is waited for has been refused.
        let mut refused: Option<Instant> = None;
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
            let lags = open.iter().filter_map(|(_, reason)| reason.behind());
            if let Some(lag) = lags.min().filter(|lag| *lag < nearest) {
                (nearest, progress) = (lag, Instant::now());
            }
            let waited = if matches!(gate.condition, Condition::CaughtUp(_)) {
                progress.elapsed()
            } else {
                start.elapsed()
            };
            let (quiet, why) = (speaks_after(&gate.condition), reason.to_string());
            if start.elapsed() > quiet && spoke.elapsed() > quiet && why != spoken {
                spoke = Instant::now();
                spoken.clone_from(&why);
                let holds = gate.condition.to_string();
                self.events.send(Body::Gate { holds, why });
            }
            let findings = denied(&open, seen);
            refused = findings
                .as_ref()
                .and(refused.or_else(|| Some(Instant::now())));
            if let (Some(findings), Some(since)) = (findings, refused)
                && since.elapsed() > DENIED
            {
                return Err(DeployError::Blocked(findings));
            }
            if waited > gate.within {
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
            if self.cancel.is_cancelled() {
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
            | Condition::CaughtUp(name)
            | Condition::Removable { member: name, .. }
            | Condition::Unlisted { member: name, .. }
            | Condition::Listed { member: name, .. }
            | Condition::Listens { member: name, .. }
            | Condition::PodReplaced { member: name, .. } => name,
            Condition::QuorumWithout { stop, .. } => match stop.first() {
                Some(name) => name,
                None => return Vec::new(),
            },
            Condition::StoredFor(_) | Condition::DowngradeEnded | Condition::AlarmOver(_) => {
                return Vec::new();
            }
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
}

/// Gates that are waited for longer than this are of pods, whose hosts are observed meanwhile.
const PATIENCE: Duration = Duration::from_secs(120);

/// How often a pod's host is observed while its gate is waited for: often enough to end soon after
/// the kubelet gives up on an image, seldom enough to cost nothing.
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

/// How long a wait is normal, and after that how often it is said why it goes on: a restart takes a
/// second or two, and a learner's lag is all there is to see of minutes.
fn speaks_after(condition: &Condition) -> Duration {
    match condition {
        Condition::CaughtUp(_) => Duration::from_secs(1),
        Condition::Serves(_)
        | Condition::QuorumWithout { .. }
        | Condition::Listens { .. }
        | Condition::Listed { .. }
        | Condition::Removable { .. }
        | Condition::Unlisted { .. }
        | Condition::NotLeader(_)
        | Condition::StoredFor(_)
        | Condition::DowngradeEnded
        | Condition::AlarmOver(_)
        | Condition::PodReplaced { .. } => Duration::from_secs(5),
    }
}

/// The error of gates that did not hold, all of them: each names a member of its own.
fn not_reached(open: &[(&Gate, Reason)], waited: Duration, console: Vec<String>) -> DeployError {
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
        Condition::Serves(name)
        | Condition::CaughtUp(name)
        | Condition::PodReplaced { member: name, .. } => Some(name),
        Condition::Listens { .. }
        | Condition::Listed { .. }
        | Condition::Removable { .. }
        | Condition::Unlisted { .. }
        | Condition::QuorumWithout { .. }
        | Condition::StoredFor(_)
        | Condition::DowngradeEnded
        | Condition::AlarmOver(_)
        | Condition::NotLeader(_) => None,
    }
}

fn hosts_of(open: &[(&Gate, Reason)], planner: &Planner) -> Vec<HostId> {
    let members = open.iter().filter_map(|(gate, _)| waits_for(gate));
    let hosts: BTreeSet<HostId> = members
        .filter_map(|name| Some(planner.topology().member(name)?.host.clone()))
        .collect();
    hosts.into_iter().collect()
}

/// Who refuses etcdup by etcd's own authentication, where that is all that is waited for and no
/// member lets it in: one that is behind may not know of a user that the others have.
fn denied(open: &[(&Gate, Reason)], seen: &Observation) -> Option<Vec<Finding>> {
    if seen.members.keys().any(|name| seen.serves(name)) {
        return None;
    }
    let refused = |(gate, _): &(&Gate, Reason)| {
        // Whose pod is to be replaced is not asked meanwhile.
        let pod = matches!(gate.condition, Condition::PodReplaced { .. });
        let name = waits_for(gate).filter(|_| !pod)?;
        match seen.members.get(name)? {
            Observed::Unknown(unseen) if unseen.cause == Cause::Denied => {
                Some(AUTH_DENIED.error(name, unseen.why.clone()))
            }
            Observed::Known(_) | Observed::Unknown(_) => None,
        }
    };
    open.iter().map(refused).collect()
}

/// The log of a member that is waited for in vain.
fn hopeless(
    open: &[(&Gate, Reason)],
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
            .everyone()
            .map(|member| member.name.clone())
    };
    gates
        .iter()
        .flat_map(|gate| match &gate.condition {
            Condition::Serves(member) => vec![member.clone()],
            Condition::QuorumWithout { .. }
            | Condition::NotLeader(_)
            | Condition::StoredFor(_)
            | Condition::DowngradeEnded
            | Condition::AlarmOver(_)
            | Condition::Listed { .. }
            | Condition::Removable { .. }
            | Condition::Unlisted { .. }
            | Condition::CaughtUp(_) => all().collect(),
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
            Condition::Serves(_)
            | Condition::QuorumWithout { .. }
            | Condition::NotLeader(_)
            | Condition::StoredFor(_)
            | Condition::DowngradeEnded
            | Condition::AlarmOver(_)
            | Condition::Listed { .. }
            | Condition::Removable { .. }
            | Condition::Unlisted { .. }
            | Condition::CaughtUp(_) => None,
        })
        .collect()
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
