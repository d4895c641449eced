//! Where members lie and what runs them on their hosts: while it is elsewhere than the file says,
//! every other leg is about them as they are, and the last one takes them there one by one.
//!
//! A host's record has where its member is, and before anything moves where it goes: of the two it
//! is where its data is, or what starts it, whenever a run was cut.

use std::collections::BTreeMap;

use etcdup_core::name::MemberName;
use etcdup_core::observation::{DataDir, HostView, LogDir, Observation};
use etcdup_core::path::HostPath;
use etcdup_core::topology::{Member, MemberPlace, Topology};

use crate::roster::is_place_of;

/// A member that the file has elsewhere on its host than it is, or that may be elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Staying {
    /// Where its host's record has it.
    pub(crate) recorded: MemberPlace,
    /// Where that has it go: it may be in either place.
    pub(crate) to: Option<MemberPlace>,
    /// Whether the file has it elsewhere.
    pub(crate) goes: bool,
    /// Whether it may go there: its host's record says so.
    pub(crate) may_go: bool,
}

/// Leaves members where their hosts have them, and returns those that the file has elsewhere.
pub(super) fn stay(topology: &mut Topology, seen: &Observation) -> BTreeMap<MemberName, Staying> {
    let mut staying = BTreeMap::new();
    let file = topology.clone();
    for member in &mut topology.members {
        let Some((recorded, to)) = recorded(&file, seen, member) else {
            continue;
        };
        let place = place_of(seen, member, recorded, to);
        let own = MemberPlace::of(member);
        let goes = !place.is_kept_by(member, file.uses_tls());
        if goes {
            member.stay_in(&place);
        }
        let one = Staying {
            recorded: recorded.clone(),
            to: to.cloned(),
            goes,
            may_go: goes && to == Some(&own),
        };
        staying.insert(member.name.clone(), one);
    }
    staying
}

/// Leaves members that should go where a run that was cut has taken them.
pub(super) fn stay_until_gone(
    topology: &mut Topology,
    seen: &Observation,
) -> BTreeMap<MemberName, Staying> {
    let mut staying = BTreeMap::new();
    let file = topology.clone();
    for leaving in &mut topology.leaving {
        let member = &mut leaving.member;
        let Some((recorded, Some(to))) = recorded(&file, seen, member) else {
            continue;
        };
        let place = place_of(seen, member, recorded, Some(to));
        member.stay_in(&place);
        let one = Staying {
            recorded: recorded.clone(),
            to: Some(to.clone()),
            goes: false,
            may_go: false,
        };
        staying.insert(member.name.clone(), one);
    }
    staying
}

/// Where its own host's record has a member, and has it go; `None` where that is where the file has
/// it, and nothing was taken anywhere.
fn recorded<'a>(
    file: &Topology,
    seen: &'a Observation,
    member: &Member,
) -> Option<(&'a MemberPlace, Option<&'a MemberPlace>)> {
    let record = seen.host(&member.host)?.record()?;
    let mut roster = record.roster.iter().filter(|_| record.cluster.is_some());
    let known = roster.find(|known| is_place_of(known, member))?;
    let plain = |place: &&MemberPlace| file.may_lead_to(place) && place.is_of(member);
    let recorded = Some(&known.place).filter(plain)?;
    let to = known.to.as_ref().filter(plain);
    let stays = to.is_none() && recorded.is_kept_by(member, file.uses_tls());
    (!stays).then_some((recorded, to))
}

/// Where a member is: at one of the places that its host's record has, or where the file has it.
fn place_of(
    seen: &Observation,
    member: &Member,
    recorded: &MemberPlace,
    to: Option<&MemberPlace>,
) -> MemberPlace {
    let own = MemberPlace::of(member);
    let host = seen.host(&member.host);
    let mut others = to.into_iter().chain([&own]);
    let found = others.find(|other| host.is_some_and(|host| is_at(host, member, recorded, other)));
    let mut place = found.unwrap_or(recorded).clone();
    let logs = [Some(recorded), to, Some(&own)];
    let mut logs = logs.into_iter().flatten().map(|place| &place.wal);
    // A log that has moved while the data has not, or that goes on from where another file had it.
    let wal = host.and_then(|host| logs.find(|wal| is_log_in(host, &place, wal.as_ref())));
    if let Some(wal) = wal {
        place.wal.clone_from(wal);
    }
    place
}

/// Whether there is a log in a directory of its own, or in the data of a place.
fn is_log_in(host: &HostView, place: &MemberPlace, wal: Option<&HostPath>) -> bool {
    let holds = match wal {
        Some(wal) => Some(wal.clone()),
        None => place.data.join("member").ok(),
    };
    holds.is_some_and(|holds| host.logs.get(&holds) == Some(&LogDir::Log))
}

/// Whether a member is at another place than it was recorded at, with all that was asked of both.
fn is_at(host: &HostView, member: &Member, recorded: &MemberPlace, other: &MemberPlace) -> bool {
    let placed = |place: &MemberPlace| {
        let mut member = member.clone();
        member.stay_in(place);
        member
    };
    let (before, after) = (placed(recorded), placed(other));
    let (Ok(old), Ok(new)) = (before.layout.start(), after.layout.start()) else {
        return false;
    };
    // What was not asked of its host is not known.
    let asked = [&old, &new, &recorded.data, &other.data];
    if !asked.iter().all(|path| host.asked.contains(*path)) {
        return false;
    }
    let has_data =
        |place: &MemberPlace| matches!(host.data.get(&place.data), Some(DataDir::Member(_)));
    if recorded.data != other.data {
        let process = host.processes.get(&member.name);
        let runs_on = process.and_then(|process| process.flags.get("data-dir"));
        return has_data(other) && !has_data(recorded) && runs_on != Some(recorded.data.as_str());
    }
    let unit = host.units.get(&before.layout.unit);
    let runs = before.layout.is_systemd() && unit.is_some_and(|unit| unit.sub == "running");
    old != new && !host.files.contains_key(&old) && !runs && host.files.contains_key(&new)
}
