//! What an operator approved, and whether a stage stays within it.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ClusterStep, Impact, Rule, Stage, StageKey, Work};
use crate::host::HostId;
use crate::membership::MemberId;
use crate::name::MemberName;
use crate::topology::Topology;

/// How far a stage reaches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Scope {
    /// The hosts that it writes to.
    pub hosts: BTreeSet<HostId>,
    /// The members that it stops, if only for a moment.
    pub stops: BTreeSet<MemberName>,
    /// Whether the cluster does not serve meanwhile.
    pub outage: bool,
    /// Whether it deletes or moves data or files.
    pub destroys: bool,
    /// The members that it removes from the cluster's list, by what the list knows them by.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub removes: BTreeSet<MemberId>,
}

/// The stages of a plan that was approved, each with its scope.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Approval(BTreeMap<StageKey, Scope>);

/// How a stage goes beyond what was approved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Beyond {
    /// The stage was not in the plan.
    #[error("it was not in the plan")]
    Stage,
    /// It would write to further hosts.
    #[error("it would change {0} too")]
    Host(HostId),
    /// It would stop further members.
    #[error("it would stop {0} too")]
    Member(MemberName),
    /// It would take the cluster out of service.
    #[error("it would interrupt service")]
    Outage,
    /// It would delete or move data or files.
    #[error("it would delete or move files")]
    Destroys,
    /// It would remove another member.
    #[error("it would remove member {0}")]
    Removes(MemberId),
}

impl Scope {
    /// How far a stage reaches.
    #[must_use]
    pub fn of(stage: &Stage, topology: &Topology) -> Self {
        let tasks = match &stage.work {
            Work::Hosts(tasks) => Some(tasks),
            Work::Cluster(_) | Work::Operator(_) => None,
        };
        let steps = || tasks.into_iter().flat_map(BTreeMap::values).flatten();
        Self {
            hosts: tasks
                .into_iter()
                .flat_map(BTreeMap::keys)
                .cloned()
                .collect(),
            stops: stage.stops(topology),
            outage: matches!(stage.impact, Impact::Outage(_)),
            destroys: steps().any(super::HostStep::destroys),
            removes: match &stage.work {
                Work::Cluster(ClusterStep::Remove { id, .. }) => BTreeSet::from([*id]),
                Work::Cluster(_) | Work::Operator(_) | Work::Hosts(_) => BTreeSet::new(),
            },
        }
    }

    fn extend(&mut self, other: Scope) {
        self.hosts.extend(other.hosts);
        self.stops.extend(other.stops);
        self.outage |= other.outage;
        self.destroys |= other.destroys;
        self.removes.extend(other.removes);
    }
}

impl Approval {
    /// Approves these stages and no more.
    #[must_use]
    pub fn of<'a>(stages: impl IntoIterator<Item = &'a Stage>, topology: &Topology) -> Self {
        let stages = stages.into_iter();
        Self::of_scopes(stages.map(|stage| (stage.key.clone(), Scope::of(stage, topology))))
    }

    /// Approves stages as far as these scopes reach.
    #[must_use]
    pub fn of_scopes(scopes: impl IntoIterator<Item = (StageKey, Scope)>) -> Self {
        let mut approved: BTreeMap<StageKey, Scope> = BTreeMap::new();
        for (key, scope) in scopes {
            // A stage that comes twice was approved as far as either reaches.
            match approved.get_mut(&key) {
                Some(known) => known.extend(scope),
                None => {
                    approved.insert(key, scope);
                }
            }
        }
        Self(approved)
    }

    /// Whether a stage only starts again what an approved one had stopped, or begun to start: a run
    /// that was cut off between the two is gone on with by that.
    fn starts_again(&self, started: &StageKey, wanted: &Scope) -> bool {
        let starts = [Rule::Start, Rule::StartQuorum, Rule::FinishBootstrap];
        // Which CA is trusted or which scheme is spoken by then changes nothing of who may start.
        let same_leg = |key: &StageKey| {
            let (a, b) = (&key.leg, &started.leg);
            a.generation == b.generation && a.version == b.version
        };
        let moved = || {
            self.0.iter().filter(|(key, scope)| match key.rule {
                Rule::Reset => false,
                Rule::Bootstrap => same_leg(key),
                _ => same_leg(key) && !scope.stops.is_empty(),
            })
        };
        let reached = |host: &HostId| moved().any(|(_, scope)| scope.hosts.contains(host));
        // A start may be a restart to systemd, which counts as a stop.
        let stopped = |member: &MemberName| {
            moved().any(|(key, scope)| key.rule == Rule::Bootstrap || scope.stops.contains(member))
        };
        starts.contains(&started.rule)
            && !wanted.outage
            && !wanted.destroys
            && wanted.hosts.iter().all(reached)
            && wanted.stops.iter().all(stopped)
    }

    /// Whether a stage only moves leadership away from a member that an approved one removes,
    /// restarts or defragments: who leads when it comes to that, nobody knew.
    fn hands_over(&self, stage: &StageKey) -> bool {
        let stop = [Rule::Remove, Rule::Roll, Rule::Defragment];
        let follows = |key: &StageKey| stop.contains(&key.rule);
        stage.rule == Rule::MoveLeader && self.0.keys().any(follows)
    }

    /// Whether a stage only disarms what a snapshot holds that an approved one restores: which
    /// alarms those are is not known before members serve it.
    fn disarms(&self, stage: &StageKey) -> bool {
        stage.rule == Rule::Disarm && self.0.keys().any(|key| key.rule == Rule::EndRestore)
    }

    /// Whether a stage stays within what was approved. One that only waits needs no approval, and
    /// neither does one that starts again what an approved stage stopped, or that disarms what it
    /// restored.
    ///
    /// # Errors
    /// How it goes beyond.
    pub fn covers(&self, stage: &Stage, topology: &Topology) -> Result<(), Beyond> {
        if stage.only_waits() {
            return Ok(());
        }
        let wanted = Scope::of(stage, topology);
        let Some(approved) = self.0.get(&stage.key) else {
            return if self.starts_again(&stage.key, &wanted)
                || self.hands_over(&stage.key)
                || self.disarms(&stage.key)
            {
                Ok(())
            } else {
                Err(Beyond::Stage)
            };
        };
        if let Some(host) = wanted.hosts.difference(&approved.hosts).next() {
            return Err(Beyond::Host(host.clone()));
        }
        if let Some(member) = wanted.stops.difference(&approved.stops).next() {
            return Err(Beyond::Member(member.clone()));
        }
        if let Some(id) = wanted.removes.difference(&approved.removes).next() {
            return Err(Beyond::Removes(*id));
        }
        if wanted.outage && !approved.outage {
            return Err(Beyond::Outage);
        }
        if wanted.destroys && !approved.destroys {
            return Err(Beyond::Destroys);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::Document;
    use crate::stage::HostStep;
    use crate::topology::resolve;

    fn topology() -> Topology {
        let text = "format = 1\ncluster = \"prod\"\netcd = \"3.5.33\"\n\
                    [[member]]\nname = \"m1\"\nhost = \"10.0.0.1\"\n[[member]]\nname = \"m2\"\nhost = \"10.0.0.2\"\n";
        let document = Document::parse("etcdup.toml", text, &[]).unwrap();
        resolve(&document.spec, |_| None).unwrap()
    }

    fn stage(rule: Rule, work: &[(&str, HostStep)]) -> Stage {
        let mut tasks: BTreeMap<HostId, Vec<HostStep>> = BTreeMap::new();
        for (host, step) in work {
            tasks
                .entry(HostId::new(*host))
                .or_default()
                .push(step.clone());
        }
        Stage {
            key: StageKey::new(rule, None),
            title: String::new(),
            why: vec!["because".into()],
            impact: Impact::None,
            preconditions: Vec::new(),
            work: Work::Hosts(tasks),
            postconditions: Vec::new(),
        }
    }

    #[test]
    fn a_stage_of_the_same_name_that_reaches_further_is_not_covered() {
        let topology = topology();
        let approved = stage(Rule::Start, &[("10.0.0.1", HostStep::Reload)]);
        let approval = Approval::of([&approved], &topology);
        assert_eq!(approval.covers(&approved, &topology), Ok(()));
        let other = stage(Rule::Install, &[("10.0.0.1", HostStep::Reload)]);
        assert_eq!(approval.covers(&other, &topology), Err(Beyond::Stage));
        // A bootstrap of the next generation is not the one that was approved.
        let mut later = approved.clone();
        later.key.leg.generation = 1;
        assert_eq!(approval.covers(&later, &topology), Err(Beyond::Stage));
        let host = stage(Rule::Start, &[("10.0.0.2", HostStep::Reload)]);
        assert!(matches!(
            approval.covers(&host, &topology),
            Err(Beyond::Host(_))
        ));
        let restart = HostStep::Restart("etcd.service".into());
        let stops = stage(Rule::Start, &[("10.0.0.1", restart)]);
        assert!(matches!(
            approval.covers(&stops, &topology),
            Err(Beyond::Member(_))
        ));
        let delete = HostStep::Remove("/tmp/x".parse().unwrap());
        let destroys = stage(Rule::Start, &[("10.0.0.1", delete)]);
        assert_eq!(approval.covers(&destroys, &topology), Err(Beyond::Destroys));
        let outage = Stage {
            impact: Impact::Outage("down".into()),
            ..approved.clone()
        };
        assert_eq!(approval.covers(&outage, &topology), Err(Beyond::Outage));
    }

    #[test]
    fn what_an_approved_stage_stops_may_be_started_again() {
        let topology = topology();
        let restart = HostStep::Restart("etcd.service".into());
        let roll = stage(Rule::Roll, &[("10.0.0.1", restart)]);
        let approval = Approval::of([&roll], &topology);
        let start = stage(Rule::Start, &[("10.0.0.1", HostStep::Reload)]);
        assert_eq!(approval.covers(&start, &topology), Ok(()));
        let by_restart = HostStep::Restart("etcd.service".into());
        let start_so = stage(Rule::Start, &[("10.0.0.1", by_restart.clone())]);
        assert_eq!(approval.covers(&start_so, &topology), Ok(()));
        let other = stage(Rule::Start, &[("10.0.0.2", HostStep::Reload)]);
        assert_eq!(approval.covers(&other, &topology), Err(Beyond::Stage));
        let other = stage(Rule::Start, &[("10.0.0.2", by_restart)]);
        assert_eq!(approval.covers(&other, &topology), Err(Beyond::Stage));
        let delete = HostStep::Remove("/tmp/x".parse().unwrap());
        let destroys = stage(Rule::Start, &[("10.0.0.1", delete)]);
        assert_eq!(approval.covers(&destroys, &topology), Err(Beyond::Stage));
        let mut later = start;
        later.key.leg.generation = 1;
        assert_eq!(approval.covers(&later, &topology), Err(Beyond::Stage));
        // Whoever approves a reset wants nothing started.
        let mut reset = roll;
        reset.key.rule = Rule::Reset;
        let approval = Approval::of([&reset], &topology);
        let start = stage(Rule::Start, &[("10.0.0.1", HostStep::Reload)]);
        assert_eq!(approval.covers(&start, &topology), Err(Beyond::Stage));
    }

    /// A name may be another member's by the time that the plan is carried out.
    #[test]
    fn a_removal_is_approved_of_one_member_alone() {
        let topology = topology();
        let remove = |id| Stage {
            work: Work::Cluster(ClusterStep::Remove {
                member: "m2".parse().unwrap(),
                id: MemberId::new(id),
                snapshot: true,
            }),
            ..stage(Rule::Remove, &[])
        };
        let approval = Approval::of([&remove(7)], &topology);
        assert_eq!(approval.covers(&remove(7), &topology), Ok(()));
        let other = approval.covers(&remove(8), &topology);
        assert_eq!(other, Err(Beyond::Removes(MemberId::new(8))));
    }

    #[test]
    fn waiting_needs_no_approval() {
        let approval = Approval::default();
        assert_eq!(
            approval.covers(&stage(Rule::Wait, &[]), &topology()),
            Ok(())
        );
    }
}
