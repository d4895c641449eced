//! What host records keep of healthy members, so that a lost disk is never taken for a first start.

use std::collections::BTreeMap;

use etcdup_core::host::HostId;
use etcdup_core::observation::{HostView, RosterMember};
use etcdup_core::stage::{HostStep, Impact, Noted, Rule, Stage, StageKey, Work};

use crate::assess::Assessment;
use crate::identity::Bootstrap;
use crate::plan_context::{Decision, PlanContext};
use crate::rules::roster;

/// The step that notes a member on its host, where the record there does not have it yet.
///
/// Only where etcdup keeps a record already: a cluster that was adopted and never changed is left
/// as it is.
pub(crate) fn step(context: &PlanContext<'_>, member: &Assessment<'_>) -> Option<HostStep> {
    let record = member.host.record()?;
    let name = &member.member.name;
    let view = context.seen.member(name).filter(|_| member.serves)?;
    let known = record.members.get(name);
    let mark = member.host.marks.get(&member.member.layout.data);
    let same = record.cluster == Some(view.cluster)
        && known.is_some_and(|known| {
            known.id == view.id
                && known.version == view.version
                && mark.is_none_or(|mark| *mark == known.mark)
        });
    if same {
        return None;
    }
    Some(HostStep::Note(Noted {
        member: name.clone(),
        id: view.id,
        cluster: view.cluster,
        version: view.version.clone(),
        data: member.member.layout.data.clone(),
        log: member.member.layout.wal.clone(),
        mark: mark.cloned(),
    }))
}

/// Whether the roster in the record on a member's host is not what it should be. Only where etcdup
/// keeps a record already.
pub(crate) fn is_outdated(
    context: &PlanContext<'_>,
    member: &Assessment<'_>,
    roster: &[RosterMember],
    in_flux: bool,
) -> bool {
    let noted = step(context, member).is_some();
    let Some(record) = member.host.record() else {
        return false;
    };
    // A host's own record has where its members are and go; the others follow once all are there.
    let own = |roster: &[RosterMember]| -> Vec<RosterMember> {
        let own = roster
            .iter()
            .filter(|known| known.place.host == member.member.host);
        own.cloned().collect()
    };
    let is_current = if context.target.takes_members_elsewhere() {
        own(&record.roster) == own(roster)
    } else {
        roster::is_current(&record.roster, roster, in_flux)
    };
    (noted || record.cluster.is_some()) && !is_current
}

/// A quorum is healthy and a member missed the bootstrap: what is known is noted before anything
/// else is done, since from now on writes may be acknowledged that only these members have.
pub(crate) fn of_forming(context: &PlanContext<'_>) -> Decision {
    if context.bootstrap != Bootstrap::InProgress {
        return Decision::Continue;
    }
    let mut why = Vec::new();
    let mut tasks: BTreeMap<HostId, Vec<HostStep>> = BTreeMap::new();
    for member in &context.members {
        let Some(step) = step(context, member) else {
            continue;
        };
        why.push(reason(context, member));
        let host = member.member.host.clone();
        tasks.entry(host).or_default().push(step);
    }
    if tasks.is_empty() {
        return Decision::Continue;
    }
    Decision::run(Stage {
        key: StageKey::new(Rule::Record, None),
        title: "record the members that are healthy".to_owned(),
        why,
        impact: Impact::None,
        preconditions: Vec::new(),
        work: Work::Hosts(tasks),
        postconditions: Vec::new(),
    })
}

/// Why a member is noted.
pub(crate) fn reason(context: &PlanContext<'_>, member: &Assessment<'_>) -> String {
    let name = &member.member.name;
    let host = context.seen.host(&member.member.host);
    let known = host
        .and_then(HostView::record)
        .and_then(|record| record.members.get(name));
    match known {
        Some(known) => format!(
            "{name}: its host's record says member {}, etcd {}",
            known.id, known.version
        ),
        None => format!("{name}: its host has no record yet of its member ID and data directory"),
    }
}
