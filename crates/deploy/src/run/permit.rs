//! Whether a stage may stop what it stops, on facts gathered just before.

use etcdup_core::membership::Electorate;
use etcdup_core::name::MemberName;
use etcdup_core::observation::Observation;
use etcdup_core::stage::{Impact, Reason, Stage};
use etcdup_core::topology::Topology;

/// The gates before a stage were checked just now and hold. Only [`permit`] makes one, nothing is
/// stopped without, and it goes with the stage that it was made for.
pub(super) struct Permit(());

/// Checks the gates before a stage once more, and that no member that serves is stopped without
/// one, unless the stage says that it is an outage, which was approved as such.
pub(super) fn permit(
    topology: &Topology,
    stage: &Stage,
    seen: &Observation,
) -> Result<Permit, Reason> {
    for gate in &stage.preconditions {
        gate.check(seen)?;
    }
    if matches!(stage.impact, Impact::Outage(_)) {
        return Ok(Permit(()));
    }
    // Judged together: each alone may be spared where two at once may not.
    let mut stop = stage.stops(topology);
    stop.retain(|member| seen.is_healthy_voter(member));
    if !stop.is_empty() {
        let members: Vec<MemberName> = topology
            .everyone()
            .map(|member| member.name.clone())
            .collect();
        Electorate::of(seen, &members).spare(&stop)?;
    }
    Ok(Permit(()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests say what they expect")]

    use std::collections::BTreeMap;

    use etcdup_core::file::Document;
    use etcdup_core::membership::{ClusterId, MemberId};
    use etcdup_core::observation::{ListedMember, MemberView};
    use etcdup_core::observed::Observed;
    use etcdup_core::stage::{Condition, Gate, HostStep, Rule, StageKey, Work, limits};
    use etcdup_core::topology::resolve;

    use super::*;

    fn three() -> Topology {
        let members = (1..=3)
            .map(|index| format!("[[member]]\nname = \"m{index}\"\nhost = \"10.0.0.{index}\"\n"));
        let text = format!(
            "format = 1\ncluster = \"c\"\netcd = \"3.5.33\"\n{}",
            members.collect::<String>()
        );
        let document = Document::parse("etcdup.toml", &text, &[]).unwrap();
        resolve(&document.spec, |_| None).unwrap()
    }

    /// A cluster of the file's three members of which these serve.
    fn seen(topology: &Topology, serving: &[usize]) -> Observation {
        let ids = || (1..).map(MemberId::new);
        let listed: Vec<ListedMember> = topology
            .members
            .iter()
            .zip(ids())
            .map(|(member, id)| ListedMember {
                id,
                name: member.name.to_string(),
                peer_urls: vec![topology.peer_url(member).to_string()],
                client_urls: vec![topology.client_url(member).to_string()],
                learner: false,
            })
            .collect();
        let mut seen = Observation::new(jiff::Timestamp::UNIX_EPOCH);
        for (index, (member, id)) in topology.members.iter().zip(ids()).enumerate() {
            let view = MemberView {
                leader: Some(MemberId::new(1)),
                listed: listed.clone(),
                ..MemberView::serving(id, ClusterId::new(7))
            };
            let answer = if serving.contains(&index) {
                Observed::Known(view)
            } else {
                Observed::unknown("connection refused")
            };
            seen.members.insert(member.name.clone(), answer);
        }
        seen
    }

    /// A stage that restarts these members.
    fn restarts(topology: &Topology, members: &[usize], impact: Impact) -> Stage {
        let mut tasks: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for member in members.iter().map(|index| &topology.members[*index]) {
            let step = HostStep::Restart(member.layout.unit.clone());
            tasks.entry(member.host.clone()).or_default().push(step);
        }
        Stage {
            key: StageKey::new(Rule::Roll, None),
            title: "restart".into(),
            why: Vec::new(),
            impact,
            preconditions: Vec::new(),
            work: Work::Hosts(tasks),
            postconditions: Vec::new(),
        }
    }

    #[test]
    fn a_member_that_the_others_can_spare_may_stop() {
        let topology = three();
        let stage = restarts(&topology, &[2], Impact::None);
        assert!(permit(&topology, &stage, &seen(&topology, &[0, 1, 2])).is_ok());
    }

    #[test]
    fn the_last_spare_voter_may_not() {
        let topology = three();
        let stage = restarts(&topology, &[2], Impact::None);
        let refused = permit(&topology, &stage, &seen(&topology, &[1, 2])).err();
        assert!(
            matches!(refused, Some(Reason::QuorumLost(_))),
            "{refused:?}"
        );
    }

    /// Each alone could be spared.
    #[test]
    fn two_members_of_one_stage_are_judged_together() {
        let topology = three();
        let stage = restarts(&topology, &[1, 2], Impact::None);
        assert!(permit(&topology, &stage, &seen(&topology, &[0, 1, 2])).is_err());
    }

    /// What does not vote costs no vote.
    #[test]
    fn members_that_do_not_serve_may_start_together() {
        let topology = three();
        let stage = restarts(&topology, &[0, 1, 2], Impact::None);
        assert!(permit(&topology, &stage, &seen(&topology, &[])).is_ok());
    }

    #[test]
    fn an_approved_outage_is_permitted_and_its_gates_hold_all_the_same() {
        let topology = three();
        let outage = Impact::Outage("no quorum while m3 restarts".into());
        let mut stage = restarts(&topology, &[1, 2], outage);
        let world = seen(&topology, &[1, 2]);
        assert!(permit(&topology, &stage, &world).is_ok());
        stage.preconditions.push(Gate {
            condition: Condition::NotLeader(topology.members[0].name.clone()),
            within: limits::LEADER_MOVED,
        });
        let world = seen(&topology, &[0, 1, 2]);
        assert!(permit(&topology, &stage, &world).is_err(), "m1 leads");
    }
}
