//! Where members lie and what runs them on their hosts: while it is elsewhere than the file says,
//! every other leg is about them as they are, and the last one takes them there one by one.

use std::collections::BTreeSet;

use etcdup_core::name::MemberName;
use etcdup_core::observation::{DataDir, HostView, Observation};
use etcdup_core::topology::{Member, MemberPlace, Topology};

use crate::roster::is_place_of;

/// Leaves members where their hosts have them, and returns those that the file has elsewhere.
pub(super) fn stay(topology: &mut Topology, seen: &Observation) -> BTreeSet<MemberName> {
    let tls = topology.uses_tls();
    let places: Vec<_> = topology
        .members
        .iter()
        .map(|member| elsewhere(topology, seen, member, tls).cloned())
        .collect();
    let mut staying = BTreeSet::new();
    for (member, place) in topology.members.iter_mut().zip(places) {
        if let Some(place) = place {
            member.stay_in(&place);
            staying.insert(member.name.clone());
        }
    }
    staying
}

/// Where the record of a member's own host has it, unless that is where the file does, or nothing
/// of it is left there.
fn elsewhere<'a>(
    topology: &Topology,
    seen: &'a Observation,
    member: &Member,
    tls: bool,
) -> Option<&'a MemberPlace> {
    let host = seen.host(&member.host)?;
    let record = host.record().filter(|record| record.cluster.is_some())?;
    let known = record
        .roster
        .iter()
        .find(|known| is_place_of(known, member))?;
    let place = &known.place;
    let differs = !place.is_kept_by(member, tls) && topology.may_lead_to(place);
    (differs && is_there(host, member, place)).then_some(place)
}

/// Whether a member still is at its recorded place. A run that was cut off has renamed its data, or
/// taken away what started it, and not come to write that down.
fn is_there(host: &HostView, member: &Member, place: &MemberPlace) -> bool {
    let mut there = member.clone();
    there.stay_in(place);
    // Its host was not asked about that place yet.
    let start = there.layout.start();
    let asked = start.is_ok_and(|start| host.asked.contains(&start));
    let Some(data) = host.data.get(&place.data).filter(|_| asked) else {
        return true;
    };
    let process = host.processes.get(&member.name);
    let runs_on = process.and_then(|process| process.flags.get("data-dir"));
    if place.data != member.layout.data {
        return matches!(data, DataDir::Member(_)) || runs_on == Some(place.data.as_str());
    }
    let starts = |member: &Member| {
        let start = member.layout.start();
        start.is_ok_and(|start| host.files.contains_key(&start))
    };
    let unit = host.units.get(&there.layout.unit);
    let unit_runs = there.layout.is_systemd() && unit.is_some_and(|unit| unit.sub == "running");
    starts(&there) || unit_runs || !starts(member)
}
