//! What host records should say of the members.

use etcdup_core::membership::ClusterView;
use etcdup_core::observation::{HostView, ListedMember, Observation, RosterMember};
use etcdup_core::topology::{Leaving, Member, MemberPlace, Topology};

use crate::listed::entry;
use crate::listed::leaving_entry;
use crate::plan_context::{LeavingPlace, PlanContext};
use crate::roster::is_place_of;
use crate::rules::clean_up::left_over;
use crate::target::Target;

/// What every host's record should say of the members: those of the file, and those that go until
/// nothing is left of them. `None` while no quorum says who is a member.
pub(crate) fn wanted(target: &Target, seen: &Observation) -> Option<Vec<RosterMember>> {
    let topology = &target.topology;
    let view = ClusterView::confirmed(seen)?;
    let known = |member: &Member, listed: Option<&ListedMember>| RosterMember {
        id: listed.map(|listed| listed.id),
        peer_url: match listed {
            // As the list has it until it has moved: that is how it is found.
            Some(listed) => listed.peer_urls.first().cloned().unwrap_or_default(),
            None => topology.peer_url(member).to_string(),
        },
        place: MemberPlace::of(member),
        to: target
            .goes(&member.name)
            .map(|(_, there)| MemberPlace::of(there)),
    };
    let members = topology.members.iter();
    let mut roster: Vec<RosterMember> = members
        .map(|member| known(member, entry(topology, seen, &view, member)))
        .collect();
    for leaving in &topology.leaving {
        let listed = leaving_entry(&target.topology, seen, &view, leaving);
        if !is_finished(target, seen, leaving, listed) {
            roster.push(known(&leaving.member, listed));
        }
    }
    sort(&mut roster);
    Some(roster)
}

/// The members of the file, before any of them runs.
pub(crate) fn of_file(topology: &Topology) -> Vec<RosterMember> {
    let known = |member: &Member| RosterMember {
        id: None,
        peer_url: topology.peer_url(member).to_string(),
        place: MemberPlace::of(member),
        to: None,
    };
    let mut roster: Vec<RosterMember> = topology.members.iter().map(known).collect();
    sort(&mut roster);
    roster
}

fn sort(roster: &mut [RosterMember]) {
    roster.sort_by(|a, b| (&a.place.name, &a.place.host).cmp(&(&b.place.name, &b.place.host)));
}

/// Whether nothing is left to do about a member that goes.
pub(crate) fn is_finished(
    target: &Target,
    seen: &Observation,
    leaving: &Leaving,
    listed: Option<&ListedMember>,
) -> bool {
    if listed.is_some() {
        return false;
    }
    if leaving.gone {
        return true;
    }
    match seen.host(&leaving.member.host) {
        // What was not asked of its host is not known.
        Some(host) if !host.data.contains_key(&leaving.member.layout.data) => false,
        Some(host) => left_over(target, seen, leaving, host).is_empty(),
        None => !is_known(target, seen, &leaving.member),
    }
}

/// Whether any record still has it in its roster.
fn is_known(target: &Target, seen: &Observation, member: &Member) -> bool {
    let hosts = target.topology.hosts.keys();
    let mut records = hosts.filter_map(|host| seen.host(host).and_then(HostView::record));
    records.any(|record| record.roster.iter().any(|known| is_place_of(known, member)))
}

/// Whether members come or go just now. Until they have, a roster that has all of them and more
/// will do: it is written once they have.
pub(crate) fn is_in_flux(context: &PlanContext<'_>) -> bool {
    let unfinished = |place: &LeavingPlace<'_>| {
        !is_finished(context.target, context.seen, place.leaving, place.listed)
    };
    context.grows() || context.leaving.iter().any(unfinished)
}

/// Whether a record's roster says what it should.
pub(crate) fn is_current(
    recorded: &[RosterMember],
    wanted: &[RosterMember],
    in_flux: bool,
) -> bool {
    let has = |one: &RosterMember| {
        let mut recorded = recorded.iter();
        recorded.any(|known| known.place == one.place && known.peer_url == one.peer_url)
    };
    if in_flux {
        wanted.iter().all(has)
    } else {
        recorded == wanted
    }
}
